//! What watches tell of a target: what a run looks at again and again, in virtual time.

use std::sync::Arc;

use phasegate_core::failure::Kind;
use phasegate_core::time::Span;
use phasegate_core::workload::{Beside, Observation, Target};
use phasegate_rehearsal::cluster::{Cluster as Simulated, Config, Request};
use phasegate_rehearsal::server::{ClusterService, SharedCluster, VirtualClock};
use phasegate_runtime::ports::{Clock, Cluster};
use phasegate_world::connect::client_from_service;
use phasegate_world::kubernetes::{KubeCluster, Options};
use serde_json::json;

use crate::line::{Line, Mode};
use crate::world::{REPLICAS, scene, target};

/// Stable's Deployment, its pods, and the autoscalers: of each there is a watch.
const WATCHES: usize = 3;

struct World {
    simulated: SharedCluster,
    clock: VirtualClock,
    line: Line<ClusterService>,
    kube: KubeCluster,
}

impl World {
    fn new(config: Config) -> Self {
        let clock = VirtualClock::starting_at(config.start);
        let mut simulated = Simulated::new(config);
        simulated.seed(&scene()).unwrap();
        let simulated = SharedCluster::new(simulated, Arc::new(clock.clone()));
        let line = Line::new(ClusterService::new(simulated.clone()));
        let client = client_from_service(line.clone(), "shop");
        let options = Options {
            watches: true,
            ..Options::default()
        };
        Self {
            kube: KubeCluster::new(client, Arc::new(clock.clone()), options),
            simulated,
            clock,
            line,
        }
    }

    /// A world whose target is watched.
    async fn watched() -> Self {
        let world = Self::new(Config::default());
        world.settled().await;
        world
    }

    /// Looks until all that is to be watched is.
    async fn settled(&self) {
        for _ in 0..100 {
            if self.glance().await.watched && self.line.open() == WATCHES {
                return;
            }
            self.pass(Span::from_secs(1)).await;
        }
        panic!("it is never watched: {} watches", self.line.open());
    }

    async fn pass(&self, span: Span) {
        let later = Clock::now(&self.clock).plus(span);
        Clock::sleep_until(&self.clock, later).await;
    }

    async fn glance(&self) -> Observation {
        self.kube.glance(&target()).await.unwrap()
    }

    /// What there is, as somebody reads it who doesn't watch.
    async fn truth(&self) -> Observation {
        let service = ClusterService::new(self.simulated.clone());
        let client = client_from_service(service, "shop");
        let clock = Arc::new(self.clock.clone());
        let kube = KubeCluster::new(client, clock, Options::default());
        kube.observe(&target()).await.unwrap()
    }

    fn requests(&self) -> u64 {
        self.simulated
            .with(|cluster| cluster.requests().last().map_or(0, |last| last.seq))
    }

    fn scale(&self, replicas: u32) {
        let path = "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=kubectl";
        let mut request = Request::new("PATCH", path);
        request.content_type = "application/merge-patch+json".to_owned();
        let scaled = request.json(&json!({"spec": {"replicas": replicas}}));
        let _ = self.simulated.handle(&scaled);
    }
}

/// What was seen, however and whenever.
fn plain(seen: &Observation) -> Observation {
    let mut seen = seen.clone();
    seen.at = phasegate_core::time::Timestamp::ZERO;
    seen.watched = false;
    seen
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_what_there_is_and_costs_no_request() {
    let world = World::watched().await;
    let before = world.requests();
    for _ in 0..20 {
        world.pass(Span::from_secs(1)).await;
        let told = world.glance().await;
        assert!(told.watched);
        assert_eq!(told.at, Clock::now(&world.clock));
        assert_eq!(
            told.pods.len(),
            REPLICAS as usize,
            "the stray pod is not counted"
        );
    }
    assert_eq!(world.requests(), before);
    assert_eq!(plain(&world.glance().await), plain(&world.truth().await));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_told_from_change_to_change() {
    let world = World::watched().await;
    world.scale(REPLICAS + 1);
    let begun = Clock::now(&world.clock);
    let mut told = Vec::new();
    while !told
        .last()
        .is_some_and(|seen: &Observation| seen.settled() && seen.settings.replicas == REPLICAS + 1)
    {
        world.kube.stirred(&target()).await;
        told.push(world.glance().await);
        assert!(told.len() < 100, "{told:#?}");
    }
    assert!(told.iter().all(|seen| seen.watched), "{told:#?}");
    for pair in told.windows(2) {
        assert_ne!(
            plain(&pair[0]),
            plain(&pair[1]),
            "it stirs for what has changed"
        );
    }
    assert_eq!(plain(told.last().unwrap()), plain(&world.truth().await));
    let took = Clock::now(&world.clock).since(begun);
    assert!(took < Span::from_secs(5), "{took}");
}

#[tokio::test(start_paused = true)]
async fn nothing_stirs_where_nothing_changes() {
    let world = World::watched().await;
    let target = target();
    let stirred = world.kube.stirred(&target);
    let quiet = world.pass(Span::from_mins(20));
    tokio::select! {
        () = stirred => panic!("it stirred"),
        () = quiet => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let world = World::watched().await;
    let before = world.requests();
    world.line.cut();
    world.scale(REPLICAS + 1);
    world.pass(Span::from_secs(15)).await;
    let told = world.glance().await;
    assert!(told.watched);
    assert_eq!(plain(&told), plain(&world.truth().await));
    assert_eq!(told.settings.replicas, REPLICAS + 1);
    let new = world.requests() - before;
    // `truth` and the scaling are requests too: 4 and 1.
    assert_eq!(
        new,
        WATCHES as u64 + 5,
        "each was opened again, and nothing was read"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_is_read_and_watched_from_there() {
    let config = Config {
        watch_history: 1,
        ..Config::default()
    };
    let world = World::new(config);
    world.settled().await;
    world.line.set(Mode::Refused(503, None));
    world.line.cut();
    world.scale(REPLICAS + 2);
    world.pass(Span::from_secs(10)).await;
    world.line.set(Mode::Well);
    world.pass(Span::from_secs(40)).await;
    world.settled().await;
    let told = world.glance().await;
    assert_eq!(plain(&told), plain(&world.truth().await));
    assert_eq!(told.pods.len(), REPLICAS as usize + 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_believed_for_a_limited_time() {
    let world = World::watched().await;
    world.line.set(Mode::Silent);
    world.scale(REPLICAS + 1);
    world.pass(Span::from_secs(5)).await;
    let old = world.glance().await;
    assert!(old.watched, "an old word is marked as one");
    assert_eq!(old.settings.replicas, REPLICAS);
    // What is read is what there is, at any time.
    let read = world.kube.observe(&target()).await.unwrap();
    assert!(!read.watched);
    assert_eq!(read.settings.replicas, REPLICAS + 1);
    // From now on it is known that the watch lags behind.
    assert!(!world.glance().await.watched);
    world.pass(Span::from_secs(6)).await;
    assert!(!world.glance().await.watched);
    world.line.set(Mode::Well);
    world.pass(Span::from_mins(2)).await;
    world.settled().await;
    assert_eq!(plain(&world.glance().await), plain(&world.truth().await));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_nothing_is_told_of_is_read_from_time_to_time() {
    let world = World::watched().await;
    world.line.set(Mode::Silent);
    world.scale(REPLICAS + 1);
    let begun = Clock::now(&world.clock);
    while world.glance().await.settings.replicas == REPLICAS {
        world.pass(Span::from_secs(1)).await;
        let age = Clock::now(&world.clock).since(begun);
        assert!(age <= Span::from_secs(31), "it still goes by the old word");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_which_nothing_is_told_are_read_when_no_bookmark_comes() {
    let world = World::watched().await;
    // A pod whose Deployment stays as it is: only the pods' watch could tell of it.
    world.line.set(Mode::Silent);
    let name = world.truth().await.pods[0].name.clone();
    let path = format!("/api/v1/namespaces/shop/pods/{name}");
    let _ = world.simulated.handle(&Request::new("DELETE", &path));
    let begun = Clock::now(&world.clock);
    while world.glance().await.pods.iter().any(|pod| pod.name == name) {
        world.pass(Span::from_secs(1)).await;
        let age = Clock::now(&world.clock).since(begun);
        assert!(age <= Span::from_secs(80), "it still goes by the old word");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_the_target_is_read_at_each_look() {
    let world = World::new(Config::default());
    world.line.set(Mode::Refused(403, None));
    for replicas in 1..=5 {
        world.scale(replicas);
        world.pass(Span::from_mins(3)).await;
        let seen = world.glance().await;
        assert!(!seen.watched);
        assert_eq!(seen.settings.replicas, replicas);
    }
    assert_eq!(world.line.asked(), WATCHES, "each is asked for once");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_again_and_again_is_left_alone_for_a_while() {
    let world = World::new(Config::default());
    world.line.set(Mode::Refused(503, None));
    for _ in 0..200 {
        assert!(!world.glance().await.watched);
        world.pass(Span::from_secs(1)).await;
    }
    let asked = world.line.asked();
    assert!(asked <= WATCHES * 6, "{asked} in 200 s");
    world.line.set(Mode::Well);
    world.pass(Span::from_mins(5)).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is_for_as_long_as_it_says() {
    let world = World::new(Config::default());
    world.line.set(Mode::Refused(429, Some(50)));
    world.glance().await;
    world.pass(Span::from_secs(49)).await;
    assert_eq!(world.line.asked(), WATCHES);
    world.line.set(Mode::Well);
    world.pass(Span::from_secs(2)).await;
    assert_eq!(world.line.open(), WATCHES);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_nothing_but_its_watches_is_looked_at_for_a_while() {
    let world = World::watched().await;
    world.line.set(Mode::Busy(503, None));
    world.pass(Span::from_secs(20)).await;
    assert!(world.glance().await.watched);
    world.pass(Span::from_secs(20)).await;
    let failure = world.kube.glance(&target()).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Retryable, "{failure}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_watched_when_nobody_looks_any_more() {
    let world = World::watched().await;
    world.kube.look_away();
    world.pass(Span::from_secs(1)).await;
    assert_eq!(world.line.open(), 0);
    world.settled().await;
    drop(world.kube);
    let later = Clock::now(&world.clock).plus(Span::from_secs(1));
    Clock::sleep_until(&world.clock, later).await;
    assert_eq!(world.line.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_target_takes_the_place_of_the_one_before() {
    let world = World::watched().await;
    let beside = json!({"deployment": "web-candidate", "labels": {}});
    let beside: Beside = serde_json::from_value(beside).unwrap();
    let other = Target {
        beside: Some(beside),
        ..target()
    };
    let seen = world.kube.glance(&other).await.unwrap();
    assert!(!seen.watched && seen.beside.is_none());
    world.pass(Span::from_secs(2)).await;
    world.kube.glance(&other).await.unwrap();
    // The candidate's Deployment is watched before it is there.
    assert_eq!(world.line.open(), WATCHES + 1);
}
