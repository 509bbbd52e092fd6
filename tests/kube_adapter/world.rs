//! A simulated cluster with a workload, whose time goes on only where a test says so.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::strategy::Slot;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::{Baseline, Observation, Target};
use phasegate_rehearsal::cluster::{
    Cluster as Simulated, Config, Effect, Fault, Kind as Object, PodRule, Reply, Request,
};
use phasegate_rehearsal::server::{ClusterService, Now, SharedCluster};
use phasegate_runtime::ports::{Clock, Cluster, Stamp};
use phasegate_world::connect::client_from_service;
use phasegate_world::kubernetes::{KubeCluster, Options};
use serde_json::{Value, json};

/// Time that goes on by hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<Mutex<Timestamp>>);

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
pub(crate) struct World {
    pub(crate) simulated: SharedCluster,
    pub(crate) hand: Hand,
}

pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
pub(crate) const REPLICAS: u32 = 3;
/// How often a test looks, and how long it waits at most.
pub(crate) const LOOK: Span = Span::from_millis(500);
pub(crate) const LOOKS: u32 = 400;

impl World {
    pub(crate) fn new(rules: Vec<PodRule>) -> Self {
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

    pub(crate) fn kube(&self) -> KubeCluster {
        let service = ClusterService::new(self.simulated.clone());
        let client = client_from_service(service, "shop");
        KubeCluster::new(client, Arc::new(self.hand.clone()), Options::default())
    }

    pub(crate) fn now(&self) -> Timestamp {
        Clock::now(&self.hand)
    }

    pub(crate) fn pass(&self, span: Span) {
        let later = self.now().plus(span);
        *self.hand.0.lock().unwrap() = later;
    }

    pub(crate) fn fault(&self, fault: Fault) {
        assert!(self.simulated.with(|cluster| cluster.add_fault(fault)));
    }

    /// A fault of the next request of this kind.
    pub(crate) fn next(&self, method: &str, kind: &str, effect: Effect) {
        self.fault(Fault {
            method: Some(method.to_owned()),
            kind: Some(kind.to_owned()),
            ..Fault::next(effect)
        });
    }

    /// What another client does to the Deployment.
    pub(crate) fn edit(&self, merge: &Value) {
        let mut request = Request::new("PATCH", &format!("{DEPLOYMENT}?fieldManager=kubectl-edit"));
        request.content_type = "application/merge-patch+json".to_owned();
        let request = request.json(merge);
        let Reply::Answer(answer) = self.simulated.handle(&request) else {
            panic!("no answer");
        };
        assert_eq!(answer.status, 200);
    }

    pub(crate) fn stored(&self) -> Value {
        let found = self
            .simulated
            .with(|cluster| cluster.get(Object::Deployment, "shop", "web"));
        Value::clone(&found.unwrap())
    }

    pub(crate) fn image(&self) -> String {
        let stored = self.stored();
        let image = stored.pointer("/spec/template/spec/containers/0/image");
        image.unwrap().as_str().unwrap().to_owned()
    }

    /// The writes that changed something, as method and agent.
    pub(crate) fn changes(&self, kind: &str) -> Vec<(String, String)> {
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
pub(crate) fn scene() -> [Value; 4] {
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

pub(crate) fn target() -> Target {
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

pub(crate) fn stamp(epoch: u64, key: &str) -> Stamp {
    Stamp {
        run: "r-1".to_owned(),
        epoch,
        key: key.to_owned(),
    }
}

/// To another image, with everything else as it was.
pub(crate) fn change(baseline: &Baseline, image: &str) -> Change {
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
pub(crate) async fn until(
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
