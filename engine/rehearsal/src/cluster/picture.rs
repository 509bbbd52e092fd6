//! What serves at a moment, and what clients' writes do to it: for whoever judges those writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phasegate_core::time::Timestamp;
use serde_json::Value;

use super::Cluster;
use super::json::{at, int, text};
use super::kinds::Kind;
use super::pods;
use super::rollout;
use super::routing::Table;
use super::store::Key;
use super::watch::is_leaving;
use super::writes::{controller_of, selects};

/// Most writes that are kept.
pub const MAX_MOVES: usize = 10_000;

/// What serves in a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Deployments by name.
    pub deployments: BTreeMap<String, Strength>,
    /// Services by name.
    pub services: BTreeMap<String, Reach>,
    /// What the specs of routes say, by [`route_name`].
    pub wanted: BTreeMap<String, Vec<Shares>>,
    /// What the data plane makes of them.
    pub live: BTreeMap<String, Vec<Shares>>,
}

/// How many pods a Deployment is to have, and how it replaces them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strength {
    /// The wanted number.
    pub replicas: u32,
    /// Whether all of them may be missing during a rollout.
    pub all_at_once: bool,
}

/// The pods behind a Service, counted by the Deployment that they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that its selector chooses, without those on their way out.
    pub chosen: BTreeMap<String, u32>,
    /// Those among them that are ready.
    pub ready: BTreeMap<String, u32>,
    /// Those to which the data plane sends its requests, which follows later.
    pub routed: BTreeMap<String, u32>,
}

impl Reach {
    /// How many ready pods there are.
    #[must_use]
    pub fn strength(&self) -> u32 {
        self.ready.values().sum()
    }
}

/// How one rule of a route shares requests: weights by Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Whether the rule is for requests that carry something special.
    pub marked: bool,
    /// The weights.
    pub weights: BTreeMap<String, u64>,
}

/// A write of a client to something that makes pods or leads to them.
#[derive(Clone, Debug)]
pub struct Move {
    /// The number of the request in the log.
    pub seq: u64,
    /// When it came.
    pub at: Timestamp,
    /// The kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The object before; none where it was created.
    pub before: Option<Arc<Value>>,
    /// The object after; none where it is gone or on its way out.
    pub after: Option<Arc<Value>>,
    /// What served in its namespace before the write.
    pub scene_before: Arc<Picture>,
    /// What did right after.
    pub scene_after: Arc<Picture>,
}

/// The writes so far, and the one under way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    kept: Vec<Move>,
    /// Whether a client's request is being answered.
    asking: bool,
    touched: Vec<(Kind, Key, Option<Arc<Value>>)>,
    scene: Option<Arc<Picture>>,
}

const WATCHED: [Kind; 6] = [
    Kind::Deployment,
    Kind::Service,
    Kind::HttpRoute,
    Kind::Ingress,
    Kind::VirtualService,
    Kind::HorizontalPodAutoscaler,
];

impl Cluster {
    /// The writes of clients to what makes pods or leads to them, oldest first, since history is recorded.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves.kept
    }

    pub(super) fn begin_move(&mut self) {
        self.moves.asking = self.history.is_some();
    }

    /// An object is about to change. What served before the first change of a request counts.
    pub(super) fn touch(&mut self, kind: Kind, key: &Key) {
        if !self.moves.asking || !WATCHED.contains(&kind) {
            return;
        }
        if self.moves.scene.is_none() {
            self.moves.scene = Some(Arc::new(self.picture(&key.namespace)));
        }
        let before = self.store.get(kind, key).cloned();
        self.moves.touched.push((kind, key.clone(), before));
    }

    pub(super) fn end_move(&mut self, seq: u64) {
        self.moves.asking = false;
        let Some(scene_before) = self.moves.scene.take() else {
            return;
        };
        let touched = std::mem::take(&mut self.moves.touched);
        let namespace = touched.first().map(|(_, key, _)| key.namespace.clone());
        let scene_after = Arc::new(self.picture(&namespace.unwrap_or_default()));
        for (kind, key, before) in touched {
            if self.moves.kept.len() >= MAX_MOVES {
                return;
            }
            let after = self.store.get(kind, &key).cloned();
            self.moves.kept.push(Move {
                seq,
                at: self.now,
                kind,
                name: key.name,
                before,
                after: after.filter(|object| !is_leaving(object)),
                scene_before: Arc::clone(&scene_before),
                scene_after: Arc::clone(&scene_after),
            });
        }
    }

    /// What serves in a namespace now.
    #[must_use]
    pub fn picture(&self, namespace: &str) -> Picture {
        let owners: BTreeMap<&str, String> = self
            .store
            .list(Kind::Pod, namespace)
            .map(|(key, pod)| (key.name.as_str(), self.deployment_of(key, pod)))
            .collect();
        let deployments = self.store.list(Kind::Deployment, namespace);
        let services = self.store.list(Kind::Service, namespace);
        let routes = self.all_routes(namespace).into_iter();
        Picture {
            deployments: deployments
                .filter(|(_, deployment)| !is_leaving(deployment))
                .map(|(key, deployment)| (key.name.clone(), strength(deployment)))
                .collect(),
            services: services
                .map(|(key, service)| (key.name.clone(), self.reach(key, service, &owners)))
                .collect(),
            wanted: routes
                .filter_map(|route| {
                    let table = self.said_by(&route, |_| true)?;
                    Some((route_name(route.0, &route.1.name), shares(&table)))
                })
                .collect(),
            live: self
                .routing
                .tables()
                .filter(|((_, key), _)| key.namespace == namespace)
                .map(|((kind, key), table)| (route_name(*kind, &key.name), shares(table)))
                .collect(),
        }
    }

    fn reach(&self, key: &Key, service: &Value, owners: &BTreeMap<&str, String>) -> Reach {
        let mut reach = Reach::default();
        let of = |pod: &str| owners.get(pod).cloned().unwrap_or_default();
        for (pod_key, pod) in self.store.list(Kind::Pod, &key.namespace) {
            if is_leaving(pod) || !selects(service, at(pod, &["metadata", "labels"])) {
                continue;
            }
            *reach.chosen.entry(of(&pod_key.name)).or_default() += 1;
            if pods::is_ready(pod) {
                *reach.ready.entry(of(&pod_key.name)).or_default() += 1;
            }
        }
        for endpoint in self.routes.endpoints(key) {
            *reach.routed.entry(of(&endpoint.pod)).or_default() += 1;
        }
        reach
    }

    /// The Deployment that a pod belongs to, or whatever else controls it, or the pod itself.
    fn deployment_of(&self, key: &Key, pod: &Value) -> String {
        let Some(owner) = controller_of(pod) else {
            return key.name.clone();
        };
        let name = text(owner, &["name"]);
        let set = Key::new(key.namespace.as_str(), name);
        self.store
            .get(Kind::ReplicaSet, &set)
            .and_then(|set| controller_of(set))
            .map_or(name, |owner| text(owner, &["name"]))
            .to_owned()
    }
}

/// What a route is called among others: an HTTPRoute by its name, others by their kind too.
#[must_use]
pub fn route_name(kind: Kind, name: &str) -> String {
    match kind {
        Kind::HttpRoute => name.to_owned(),
        other => format!("{} {name}", other.info().name),
    }
}

fn strength(deployment: &Value) -> Strength {
    let replicas = int(deployment, &["spec", "replicas"]).unwrap_or(1);
    let recreates = text(deployment, &["spec", "strategy", "type"]) == "Recreate";
    let missing = rollout::bounds(deployment).unavailable;
    Strength {
        replicas: u32::try_from(replicas).unwrap_or_default(),
        all_at_once: recreates || (replicas > 0 && missing >= replicas),
    }
}

fn shares(table: &Table) -> Vec<Shares> {
    let rules = table.rules.iter().map(|rule| {
        let mut weights = BTreeMap::new();
        for backend in &rule.backends {
            *weights.entry(backend.service.clone()).or_default() += backend.weight;
        }
        Shares {
            marked: rule.is_marked(),
            weights,
        }
    });
    rules.collect()
}

impl Picture {
    /// The Services that a route leads to, by its spec or in the data plane, with some weight.
    #[must_use]
    pub fn backends(&self, route: &str) -> BTreeSet<&str> {
        [&self.wanted, &self.live]
            .into_iter()
            .filter_map(|routes| routes.get(route))
            .flatten()
            .flat_map(|shares| shares.weights.iter())
            .filter(|(_, weight)| **weight > 0)
            .map(|(service, _)| service.as_str())
            .collect()
    }
}
