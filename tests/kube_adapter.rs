//! The Kubernetes adapter against the simulated cluster: what the engine relies on holds for both.
//!
//! Time is the test's: it goes on only where a test says so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "kube_adapter/line.rs"]
mod line;
#[path = "kube_adapter/watches.rs"]
mod watches;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Slot;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::{Baseline, Observation, Rollout, Target};
use phasegate_rehearsal::cluster::{
    Cluster as Simulated, Config, Crash, Effect, Fault, Kind as Object, PodRule, Reply, Request,
};
use phasegate_rehearsal::server::{ClusterService, Now, SharedCluster};
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Clock, Cluster, Holder, LEASE_DURATION, LeaseError, Leases,
    ObjectError, ObjectRef, Objects, Stamp, Writer,
};
use phasegate_world::connect::client_from_service;
use phasegate_world::kubernetes::{KubeCluster, Options};
use serde_json::{Value, json};

/// Time that goes on by hand.
#[derive(Clone)]
struct Hand(Arc<Mutex<Timestamp>>);

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// Every request of these tests is answered, so that no time-out ever comes.
    async fn sleep_until(&self, _: Timestamp) {
        std::future::pending().await
    }
}

#[async_trait]
impl Now for Hand {
    fn now(&self) -> Timestamp {
        Clock::now(self)
    }

    async fn sleep_until(&self, at: Timestamp) {
        Clock::sleep_until(self, at).await;
    }
}

/// A simulated cluster with its time.
#[derive(Clone)]
struct World {
    simulated: SharedCluster,
    hand: Hand,
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const REPLICAS: u32 = 3;
/// How often a test looks, and how long it waits at most.
const LOOK: Span = Span::from_millis(500);
const LOOKS: u32 = 400;

impl World {
    fn new(rules: Vec<PodRule>) -> Self {
        let config = Config {
            pods: rules,
            ..Config::default()
        };
        let now = config.start;
        let mut simulated = Simulated::new(config);
        simulated.seed(&scene()).unwrap();
        let hand = Hand(Arc::new(Mutex::new(now)));
        Self {
            simulated: SharedCluster::new(simulated, Arc::new(hand.clone())),
            hand,
        }
    }

    fn kube(&self) -> KubeCluster {
        let service = ClusterService::new(self.simulated.clone());
        let client = client_from_service(service, "shop");
        KubeCluster::new(client, Arc::new(self.hand.clone()), Options::default())
    }

    fn now(&self) -> Timestamp {
        Clock::now(&self.hand)
    }

    fn pass(&self, span: Span) {
        let later = self.now().plus(span);
        *self.hand.0.lock().unwrap() = later;
    }

    fn fault(&self, fault: Fault) {
        assert!(self.simulated.with(|cluster| cluster.add_fault(fault)));
    }

    /// A fault of the next request of this kind.
    fn next(&self, method: &str, kind: &str, effect: Effect) {
        self.fault(Fault {
            method: Some(method.to_owned()),
            kind: Some(kind.to_owned()),
            ..Fault::next(effect)
        });
    }

    /// What another client does to the Deployment.
    fn edit(&self, merge: &Value) {
        let mut request = Request::new("PATCH", &format!("{DEPLOYMENT}?fieldManager=kubectl-edit"));
        request.content_type = "application/merge-patch+json".to_owned();
        let request = request.json(merge);
        let Reply::Answer(answer) = self.simulated.handle(&request) else {
            panic!("no answer");
        };
        assert_eq!(answer.status, 200);
    }

    fn stored(&self) -> Value {
        let found = self
            .simulated
            .with(|cluster| cluster.get(Object::Deployment, "shop", "web"));
        Value::clone(&found.unwrap())
    }

    fn image(&self) -> String {
        let stored = self.stored();
        let image = stored.pointer("/spec/template/spec/containers/0/image");
        image.unwrap().as_str().unwrap().to_owned()
    }

    /// The writes that changed something, as method and agent.
    fn changes(&self, kind: &str) -> Vec<(String, String)> {
        self.simulated.with(|cluster| {
            cluster
                .requests()
                .iter()
                .filter(|r| r.changed && r.path.contains(kind))
                .map(|r| (r.method.clone(), r.user_agent.clone()))
                .collect()
        })
    }
}

/// A namespace with a workload, and a pod that isn't of it.
fn scene() -> [Value; 4] {
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop"},
            "stringData": {"token": "hunter2"},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [
                        {"name": "app", "image": "shop/web:1.0"},
                        {"name": "proxy", "image": "shop/proxy:1"},
                    ]},
                },
            },
        }),
        // Carries the same labels, and is nobody's.
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "stray", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "shop/web:0.1"}]},
        }),
    ]
}

fn target() -> Target {
    Target {
        cluster: "simulated".to_owned(),
        namespace: "shop".to_owned(),
        workload: "web".to_owned(),
        deployment: "web".to_owned(),
        container: "app".to_owned(),
        service: None,
        config_maps: Vec::new(),
        secrets: vec!["keys".to_owned()],
        beside: None,
    }
}

fn stamp(epoch: u64, key: &str) -> Stamp {
    Stamp {
        run: "r-1".to_owned(),
        epoch,
        key: key.to_owned(),
    }
}

/// To another image, with everything else as it was.
fn change(baseline: &Baseline, image: &str) -> Change {
    Change {
        slot: Slot::Stable,
        fields: Fields {
            configs: Vec::new(),
            image: Some(image.to_owned()),
            replicas: Some(baseline.settings.replicas),
            rollout: Some(baseline.settings.rollout.clone()),
        },
        uid: baseline.uid.clone(),
        expected_image: Some(baseline.settings.image.clone()),
        marked: true,
    }
}

/// Looks until something holds.
async fn until(
    world: &World,
    kube: &KubeCluster,
    holds: impl Fn(&Observation) -> bool,
) -> Vec<Observation> {
    let mut seen = Vec::new();
    for _ in 0..LOOKS {
        let found = kube.observe(&target()).await.unwrap();
        let done = holds(&found);
        seen.push(found);
        if done {
            return seen;
        }
        world.pass(LOOK);
    }
    panic!("it never held; last seen: {:?}", seen.last());
}

#[tokio::test]
async fn a_rolling_update_is_seen_from_its_baseline_to_its_end() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    assert_eq!(baseline.settings.image, "shop/web:1.0");
    assert_eq!(
        (baseline.version.as_str(), baseline.ready),
        ("1.0", REPLICAS)
    );
    assert_eq!((baseline.revision, baseline.autoscaler), (1, None));
    let rollout = Rollout::RollingUpdate {
        surge: "1".to_owned(),
        unavailable: "0".to_owned(),
    };
    assert_eq!(
        (baseline.settings.replicas, &baseline.settings.rollout),
        (REPLICAS, &rollout)
    );
    let before = kube.observe(&target()).await.unwrap();
    assert!(before.settled(), "{before:?}");
    assert_eq!(
        before.pods.len(),
        3,
        "the stray pod is not counted: {before:?}"
    );
    assert_eq!(before.template_digest, baseline.template_digest);

    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "r-1/deploy/1"))
        .await
        .unwrap();
    let seen = until(&world, &kube, Observation::settled).await;
    let first = seen.first().unwrap();
    assert!(first.observed_generation < first.generation, "{first:?}");
    for observation in &seen {
        assert!(observation.ready >= REPLICAS, "{observation:?}");
        assert!(observation.total <= REPLICAS + 1, "{observation:?}");
        assert_eq!(observation.template_digest, baseline.template_digest);
    }
    let last = seen.last().unwrap();
    assert_eq!(last.settings.image, "shop/web:1.1");
    assert_eq!(last.marks.effect.as_deref(), Some("r-1/deploy/1"));
    let running: Vec<_> = last.pods.iter().filter(|pod| !pod.terminating).collect();
    assert!(
        running
            .iter()
            .all(|pod| pod.image == "shop/web:1.1" && pod.ready),
        "{last:?}"
    );
    let changes = world.changes("deployments");
    assert_eq!(changes.len(), 1);
    assert!(
        changes[0].1.ends_with("(effect r-1/deploy/1)"),
        "{changes:?}"
    );
}

#[tokio::test]
async fn the_last_write_takes_the_marks_off_and_keeps_the_fields() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    let last = Change {
        expected_image: Some("shop/web:1.1".to_owned()),
        marked: false,
        ..new
    };
    kube.change(&target(), &last, &stamp(1, "k2"))
        .await
        .unwrap();
    let stored = world.stored();
    let annotations = stored
        .pointer("/metadata/annotations")
        .cloned()
        .unwrap_or_default();
    assert!(
        !annotations.to_string().contains("phasegate.dev"),
        "{annotations}"
    );
    let (marks, in_place) = kube.changed(&target(), &last).await.unwrap();
    assert_eq!((marks.run, marks.effect, in_place), (None, None, true));
    assert_eq!(stored.pointer("/spec/replicas"), Some(&json!(REPLICAS)));
    let sidecar = stored.pointer("/spec/template/spec/containers/1/image");
    assert_eq!(sidecar, Some(&json!("shop/proxy:1")));
}

#[tokio::test]
async fn recreate_and_back_again_leave_a_valid_deployment() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let mut recreate = change(&baseline, "shop/web:1.1");
    recreate.fields.rollout = Some(Rollout::Recreate);
    kube.change(&target(), &recreate, &stamp(1, "k1"))
        .await
        .unwrap();
    let strategy = world.stored().pointer("/spec/strategy").cloned();
    assert_eq!(strategy, Some(json!({"type": "Recreate"})));
    let seen = until(&world, &kube, Observation::settled).await;
    assert!(seen.iter().any(|o| o.ready == 0), "recreate has an outage");

    let (marks, in_place) = kube.changed(&target(), &recreate).await.unwrap();
    assert_eq!((marks.effect.as_deref(), in_place), (Some("k1"), true));

    // The next run of the same kind, whose last write takes the marks off.
    let last = Change {
        expected_image: None,
        marked: false,
        ..recreate
    };
    kube.change(&target(), &last, &stamp(1, "k2"))
        .await
        .unwrap();
    let (marks, in_place) = kube.changed(&target(), &last).await.unwrap();
    assert_eq!(
        (marks.run, marks.epoch, marks.effect, in_place),
        (None, None, None, true)
    );

    let back = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    kube.change(&target(), &back, &stamp(1, "k3"))
        .await
        .unwrap();
    until(&world, &kube, Observation::settled).await;
    let unmarked = Change {
        marked: false,
        ..back
    };
    kube.change(&target(), &unmarked, &stamp(1, "k4"))
        .await
        .unwrap();
    let (marks, in_place) = kube.changed(&target(), &unmarked).await.unwrap();
    assert_eq!(
        (marks.run, marks.epoch, marks.effect, in_place),
        (None, None, None, true)
    );
    assert_eq!(world.changes("deployments").len(), 4);
    let after = kube.baseline(&target()).await.unwrap();
    assert_eq!(after.settings, baseline.settings);
}

#[tokio::test]
async fn a_write_that_meets_a_newer_version_looks_again() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    world.next("PATCH", "Deployment", Effect::Status(409));
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    assert_eq!(world.image(), "shop/web:1.1");
    assert_eq!(world.changes("deployments").len(), 1);
}

#[tokio::test]
async fn an_image_that_another_manager_set_is_drift_and_the_rest_is_in_the_digest() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    world.edit(&json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "shop/web:hotfix", "env": [{"name": "DEBUG", "value": "1"}]},
        {"name": "proxy", "image": "shop/proxy:1"},
    ]}}}}));
    let new = change(&baseline, "shop/web:1.1");
    let refused = kube.change(&target(), &new, &stamp(1, "k1")).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::CONFLICT)
    );
    for part in ["`shop/web:1.0`", "`shop/web:hotfix`", "kubectl-edit"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!(world.image(), "shop/web:hotfix");
    let seen = kube.observe(&target()).await.unwrap();
    assert_ne!(seen.template_digest, baseline.template_digest);

    // A rollback takes its own fields by force, whoever owns them now.
    let back = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    kube.change(&target(), &back, &stamp(1, "k2"))
        .await
        .unwrap();
    assert_eq!(world.image(), "shop/web:1.0");
}

#[tokio::test]
async fn a_lost_answer_is_found_out_by_a_probe_and_a_repetition_changes_nothing() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");

    world.next("PATCH", "Deployment", Effect::RequestLost);
    let lost = kube.change(&target(), &new, &stamp(1, "k1")).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    let (marks, in_place) = kube.changed(&target(), &new).await.unwrap();
    assert_eq!((marks.effect, in_place), (None, false));

    world.next("PATCH", "Deployment", Effect::AnswerLost);
    let lost = kube.change(&target(), &new, &stamp(1, "k1")).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    let (marks, in_place) = kube.changed(&target(), &new).await.unwrap();
    assert_eq!((marks.effect.as_deref(), in_place), (Some("k1"), true));

    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    assert_eq!(world.changes("deployments").len(), 1);
}

#[tokio::test]
async fn refusals_that_pass_are_told_from_those_that_do_not() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    for (status, kind) in [
        (429, Kind::Retryable),
        (503, Kind::Retryable),
        (403, Kind::Denied),
    ] {
        world.next("PATCH", "Deployment", Effect::Status(status));
        let refused = kube.change(&target(), &new, &stamp(1, "k1")).await;
        let Err(ChangeError::Failed(failure)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(failure.kind, kind, "{failure}");
        let after = (status == 429).then(|| Span::from_secs(1));
        assert_eq!(failure.after, after);
    }
    let mut impossible = new;
    impossible.fields.rollout = Some(Rollout::RollingUpdate {
        surge: "0".to_owned(),
        unavailable: "0".to_owned(),
    });
    let refused = kube.change(&target(), &impossible, &stamp(1, "k1")).await;
    assert!(
        matches!(&refused, Err(ChangeError::Failed(f)) if f.kind == Kind::Permanent),
        "{refused:?}"
    );
    assert!(world.changes("deployments").is_empty());
}

fn holder(engine: &str, seat: &str) -> Holder {
    Holder {
        engine: engine.to_owned(),
        seat: seat.to_owned(),
        run: "r-1".to_owned(),
    }
}

#[tokio::test]
async fn a_lease_is_taken_over_when_it_expires_and_fences_who_had_it() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (one, two) = (holder("e-1", "laptop"), holder("e-2", "ci"));
    let first = kube.acquire(&target(), &one).await.unwrap();
    assert_eq!(
        (first.epoch, first.expires),
        (1, world.now().plus(LEASE_DURATION))
    );
    let held = kube.acquire(&target(), &two).await;
    assert!(matches!(held, Err(LeaseError::Held { .. })), "{held:?}");

    world.pass(Span::from_secs(10));
    let renewed = kube.renew(&target(), &one, &first).await.unwrap();
    world.pass(Span::from_secs(10));
    let held = kube.acquire(&target(), &two).await;
    assert!(matches!(held, Err(LeaseError::Held { .. })), "{held:?}");

    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(renewed.epoch, "k1"))
        .await
        .unwrap();
    world.pass(Span::from_secs(6));
    let second = kube.acquire(&target(), &two).await.unwrap();
    assert_eq!(second.epoch, 2);
    assert_eq!(
        kube.renew(&target(), &one, &renewed).await,
        Err(LeaseError::Lost)
    );

    let late = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    let fenced = kube
        .change(&target(), &late, &stamp(renewed.epoch, "k2"))
        .await;
    let Err(ChangeError::Failed(failure)) = fenced else {
        panic!("{fenced:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Fenced, codes::STALE_EPOCH)
    );
    assert_eq!(world.image(), "shop/web:1.1");
    kube.change(&target(), &late, &stamp(second.epoch, "k2"))
        .await
        .unwrap();

    // The same seat needs not wait, and one that was given back is free; the epoch goes on.
    let third = kube.acquire(&target(), &holder("e-3", "ci")).await.unwrap();
    assert_eq!(third.epoch, 3);
    kube_release(&kube, "e-3", &third).await;
    assert_eq!(kube.holder(&target()).await, Ok(None));
    assert_eq!(kube.acquire(&target(), &one).await.unwrap().epoch, 4);

    // Even where the lease was deleted, the mark on the object fences.
    let gone = world.simulated.handle(&Request::new(
        "DELETE",
        "/apis/coordination.k8s.io/v1/namespaces/shop/leases/phasegate-web",
    ));
    assert!(matches!(gone, Reply::Answer(answer) if answer.status == 200));
    let fenced = kube.change(&target(), &late, &stamp(1, "k3")).await;
    assert!(
        matches!(&fenced, Err(ChangeError::Failed(f)) if f.kind == Kind::Fenced),
        "{fenced:?}"
    );
    assert!(kube.acquire(&target(), &two).await.unwrap().epoch > second.epoch);
}

async fn kube_release(kube: &KubeCluster, engine: &str, grant: &phasegate_runtime::ports::Grant) {
    Leases::release(kube, &target(), &holder(engine, "ci"), grant)
        .await
        .unwrap();
}

fn claim(run: &str) -> (ClaimRecord, Stamp) {
    let claim = ClaimRecord {
        run: run.to_owned(),
        plan: "sha256:0".to_owned(),
        started_by: "ada".to_owned(),
        key: format!("{run}/claim"),
        handed_over_by: None,
    };
    let stamp = Stamp {
        run: run.to_owned(),
        epoch: 1,
        key: format!("{run}/claim"),
    };
    (claim, stamp)
}

#[tokio::test]
async fn of_two_runs_one_has_the_claim_and_the_other_is_told_which() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (ours, our_stamp) = claim("r-1");
    let (theirs, their_stamp) = claim("r-2");
    world.next("POST", "ConfigMap", Effect::AnswerLost);
    let lost = kube.claim(&target(), &ours, &our_stamp).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(ours.clone()));
    kube.claim(&target(), &ours, &our_stamp).await.unwrap();

    let refused = kube.claim(&target(), &theirs, &their_stamp).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::TARGET_BUSY)
    );
    assert!(
        failure.message.contains("`r-1`") && failure.message.contains("ada"),
        "{failure}"
    );

    Cluster::release(&kube, &target(), &their_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(ours));
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), None);
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    kube.claim(&target(), &theirs, &their_stamp).await.unwrap();
    let methods: Vec<String> = world
        .changes("configmaps")
        .into_iter()
        .map(|(m, _)| m)
        .collect();
    assert!(
        !methods.iter().any(|m| m == "PUT" || m == "PATCH"),
        "{methods:?}"
    );
}

#[tokio::test]
async fn a_claim_that_is_handed_over_is_free_at_no_time() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (ours, our_stamp) = claim("r-1");
    let (next, next_stamp) = claim("r-2");
    let kept = ClaimRecord {
        handed_over_by: Some(ours.run.clone()),
        ..next.clone()
    };
    kube.claim(&target(), &ours, &our_stamp).await.unwrap();
    world.next("PUT", "ConfigMap", Effect::AnswerLost);
    let lost = kube.hand_over(&target(), &kept, &our_stamp).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(kept.clone()));
    // Once more does no harm, and neither does the old run's release.
    kube.hand_over(&target(), &kept, &our_stamp).await.unwrap();
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(kept));

    let (third, third_stamp) = claim("r-3");
    let refused = kube.claim(&target(), &third, &third_stamp).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(failure.code, codes::TARGET_BUSY);
    assert!(failure.message.contains("kept for run `r-2`"), "{failure}");

    kube.claim(&target(), &next, &next_stamp).await.unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(next));
    let changes = world.changes("configmaps");
    let methods: Vec<&str> = changes.iter().map(|(m, _)| &**m).collect();
    assert!(!methods.contains(&"DELETE"), "{methods:?}");
}

#[tokio::test]
async fn a_pod_that_crashes_again_and_again_is_seen_and_its_last_words_are_kept() {
    let rule = PodRule {
        crash: Some(Crash {
            after: Span::from_millis(200),
            exit_code: 3,
            restarts_before_ok: None,
            log: vec!["cannot open the database".to_owned()],
        }),
        ..PodRule::for_image("shop/web:1.1")
    };
    let world = World::new(vec![rule]);
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    let seen = until(&world, &kube, |o| o.broken_pod().is_some()).await;
    let last = seen.last().unwrap();
    let (pod, reason) = last.broken_pod().unwrap();
    assert_eq!(reason, "CrashLoopBackOff");
    assert!(last.ready >= REPLICAS, "the old pods still serve");
    let found = kube.diagnose(&target()).await.unwrap();
    let line = format!("{pod}: cannot open the database");
    assert!(found.logs.contains(&line), "{found:?}");
    assert!(
        found
            .events
            .iter()
            .any(|e| e.starts_with("BackOff") && e.contains(pod)),
        "{found:?}"
    );
    assert!(found.events.len() <= 30 && found.logs.len() <= 60);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    for (missing, name) in [
        (
            Target {
                deployment: "wbe".to_owned(),
                ..target()
            },
            "`wbe`",
        ),
        (
            Target {
                container: "main".to_owned(),
                ..target()
            },
            "`main`",
        ),
        (
            Target {
                service: Some("front".to_owned()),
                ..target()
            },
            "`front`",
        ),
        (
            Target {
                secrets: vec!["kyes".to_owned()],
                ..target()
            },
            "`kyes`",
        ),
    ] {
        let failure = kube.baseline(&missing).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
        );
        assert!(failure.message.contains(name), "{failure}");
    }
}

#[tokio::test]
async fn plugins_reach_objects_and_meet_the_owners_of_fields() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let flags = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "flags", "namespace": "shop", "labels": {"kind": "flags"}},
        "data": {"new-checkout": "off"},
    });
    let named = ObjectRef {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "flags".to_owned(),
    };
    assert_eq!(kube.get(&named).await, Err(ObjectError::NotFound));
    kube.apply(&writer("plugin-a"), &flags).await.unwrap();
    let mut other = flags;
    other["data"]["new-checkout"] = "on".into();
    let refused = kube.apply(&writer("plugin-b"), &other).await;
    assert!(
        matches!(&refused, Err(ObjectError::Conflict(why)) if why.contains("plugin-a")),
        "{refused:?}"
    );
    let merge = json!({"data": {"new-checkout": "on"}});
    kube.patch(&writer("plugin-b"), &named, &merge)
        .await
        .unwrap();
    let selector = Some("kind=flags");
    let found = kube
        .find("v1", "ConfigMap", Some("shop"), selector, 10)
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["data"]["new-checkout"], "on");
    let anybody = writer("plugin-b");
    Objects::remove(&kube, &anybody, &named).await.unwrap();
    let again = Objects::remove(&kube, &anybody, &named).await;
    assert_eq!(again, Err(ObjectError::NotFound));
}

/// A plugin outside a run.
fn writer(manager: &str) -> Writer {
    Writer {
        manager: manager.to_owned(),
        effect: None,
    }
}
