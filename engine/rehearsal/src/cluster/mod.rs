//! The simulated Kubernetes cluster: a state machine without clock, threads or I/O.
//!
//! [`Cluster::handle`] answers API requests as `kube-apiserver` would; [`Cluster::advance`] lets the
//! controllers (Deployment, ReplicaSet, Job, EndpointSlice, Gateway, autoscaler, garbage collector) and a kubelet do what
//! is due by a moment; [`Cluster::next_due`] says when there is something to do next. Time and
//! randomness come in as data, so that the same configuration and the same calls give the same bytes.
//!
//! Start reading at [`Cluster`]; `api` is the front door, `changes` what changes an object that is
//! there, `writes` what every change goes through, and the controllers are in `deployment`,
//! `replicaset`, `kubelet`, `job`, `endpoints`, `gateway`, `autoscaler` and
//! `garbage`.

mod api;
mod autoscaler;
mod changes;
mod conditions;
mod config;
mod defaults;
mod deployment;
mod discovery;
mod endpoints;
mod events;
mod faults;
mod fields;
mod garbage;
mod gateway;
mod ids;
mod job;
mod json;
mod kinds;
mod kubelet;
mod managers;
mod merge;
mod observe;
mod picture;
mod plane;
mod pods;
mod protobuf;
mod queue;
mod replicaset;
mod request;
mod request_log;
mod rollout;
mod routing;
mod scale;
mod selector;
mod status;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod wakes;
mod watch;
mod writes;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

pub use self::autoscaler::{AutoscalerRule, Count};
pub(crate) use self::config::glob;
pub use self::config::{Config, Crash, PodRule, Pull};
pub use self::endpoints::Endpoint;
pub(crate) use self::endpoints::tag;
pub use self::faults::{Effect, Fault};
pub use self::kinds::{Info, KINDS, Kind};
pub use self::observe::{
    MAX_HISTORY, Observation, ObservedDeployment, ObservedRoute, ObservedService,
};
pub use self::picture::{MAX_MOVES, Move, Picture, Reach, Shares, Strength, route_name};
pub(crate) use self::request::parse_query;
pub use self::request::{Answer, Body, Reply, Request};
pub use self::request_log::LoggedRequest;
pub(crate) use self::routing::{Asked, Routed};
pub use self::traffic::{Flow, MAX_STRETCHES, Marked, Source, Stream, Stretch};
pub use self::watch::WatchId;

use self::queue::{Queue, Work};
use self::store::{Key, Store};

/// How many things controllers may do in one call of [`Cluster::advance`]; the rest waits for the next.
const STEPS_LIMIT: usize = 1_000_000;

/// How long before the start seeded objects came to be.
const SEEDED_BEFORE: Span = Span::from_mins(60);

/// A simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    now: Timestamp,
    store: Store,
    queue: Queue,
    ids: ids::Ids,
    kubelet: kubelet::Kubelet,
    rollouts: BTreeMap<String, deployment::Memo>,
    routes: endpoints::Routes,
    routing: plane::Routing,
    /// Counts the changes of what the data plane does, or of the pods that it sends to.
    plane: u64,
    /// The version of what is shown and the count of the plane when somebody last looked around.
    seen: (u64, u64),
    traffic: traffic::Traffic,
    moves: picture::Moves,
    recommendations: autoscaler::Recommendations,
    recorder: events::Recorder,
    watches: watch::Watches,
    log: request_log::RequestLog,
    faults: Vec<Fault>,
    /// What was to be seen from outside, whenever it changed; none where nobody asked for it.
    history: Option<Vec<Observation>>,
    template_changes: Vec<Timestamp>,
    /// The pods of each Job that failed or were deleted before they succeeded, by uid.
    job_failures: BTreeMap<String, BTreeSet<String>>,
}

/// Why a manifest could not be put into the cluster directly.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ManifestError {
    /// What the API server would answer.
    pub message: String,
    /// The HTTP status it would answer with.
    pub code: u16,
    /// Which of several manifests it is, from 0.
    pub index: usize,
}

impl Cluster {
    /// An empty cluster with the namespaces that every cluster has.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut cluster = Self {
            now: config.start,
            store: Store::new(config.watch_history),
            queue: Queue::default(),
            ids: ids::Ids::new(config.seed),
            kubelet: kubelet::Kubelet::new(&config.pods),
            rollouts: BTreeMap::new(),
            routes: endpoints::Routes::default(),
            routing: plane::Routing::default(),
            plane: 0,
            seen: (0, 0),
            traffic: traffic::Traffic::default(),
            moves: picture::Moves::default(),
            recommendations: autoscaler::Recommendations::default(),
            recorder: events::Recorder::default(),
            watches: watch::Watches::default(),
            log: request_log::RequestLog::new(config.request_log),
            faults: Vec::new(),
            history: None,
            template_changes: Vec::new(),
            job_failures: BTreeMap::new(),
            config,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            cluster.insert(Kind::Namespace, namespace);
        }
        cluster
    }

    /// The moment up to which the cluster has come.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What the cluster was told at its beginning.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs everything that is due by `now`, in the order of time; ties in the order they were asked for.
    pub fn advance(&mut self, now: Timestamp) {
        for _ in 0..STEPS_LIMIT {
            let Some((at, work)) = self.queue.pop(now) else {
                break;
            };
            self.now = self.now.max(at);
            self.perform(work);
            self.look_around();
        }
        self.now = self.now.max(now);
    }

    /// When something is due next; nothing changes by itself before.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.next_due()
    }

    fn perform(&mut self, work: Work) {
        match work {
            Work::Deployment(key) => self.sync_deployment(&key),
            Work::ReplicaSet(key) => self.sync_replica_set(&key),
            Work::Job(key) => self.sync_job(&key),
            Work::Pod(key) => self.sync_pod(&key),
            Work::Endpoints(key) => self.sync_endpoints(&key),
            Work::Route(key) => self.sync_route(&key),
            Work::Autoscaler(key) => self.sync_autoscaler(&key),
            Work::Gateway(key) => self.sync_gateway(&key),
            Work::RouteStatus(key) => self.sync_route_status(&key),
            Work::RouteTable(kind, key) => self.sync_route_table((kind, key)),
            Work::Orphans(uid) => self.collect_orphans(&uid),
            Work::Foreground(kind, key) => self.delete_dependents(kind, &key),
            Work::Namespace(name) => self.empty_namespace(&name),
        }
    }

    /// Notes what has changed for traffic and for whoever looks from outside, if anything has.
    fn look_around(&mut self) {
        let state = (self.store.shown(), self.plane);
        if state == self.seen {
            return;
        }
        if state.1 != self.seen.1 {
            self.turn_traffic();
        }
        self.seen = state;
        self.remember();
    }

    fn plane_changed(&mut self) {
        self.plane = self.plane.wrapping_add(1);
    }

    fn after(&mut self, delay: Span, work: Work) {
        let at = self.now.plus(delay);
        self.queue.schedule(at, work);
    }

    fn react(&mut self, work: Work) {
        self.after(self.config.reaction, work);
    }

    /// Creates an object, or makes an existing one what the manifest says, for setting a scene.
    /// It takes no part in the request log, and managed fields name `scenario`.
    ///
    /// # Errors
    /// What the API server would refuse.
    pub fn apply_manifest(
        &mut self,
        now: Timestamp,
        manifest: &Value,
    ) -> Result<(), ManifestError> {
        self.advance(now);
        self.write_manifest(manifest)
            .map_err(|failure| ManifestError {
                message: failure.message,
                code: failure.code,
                index: 0,
            })
    }

    /// Puts objects in as if they had been there for an hour when the cluster began: Deployments are
    /// rolled out, endpoints known. To be called before anything else.
    ///
    /// # Errors
    /// What the API server would refuse.
    pub fn seed(&mut self, manifests: &[Value]) -> Result<(), ManifestError> {
        let start = self.now;
        let early = start.as_millis().saturating_sub(SEEDED_BEFORE.as_millis());
        self.now = Timestamp::from_millis(early);
        let mut outcome = Ok(());
        for (index, manifest) in manifests.iter().enumerate() {
            outcome = self
                .write_manifest(manifest)
                .map_err(|failure| ManifestError {
                    message: failure.message,
                    code: failure.code,
                    index,
                });
            if outcome.is_err() {
                break;
            }
        }
        self.advance(start);
        outcome
    }

    /// An object as it is stored.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store.get(kind, &Key::new(namespace, name)).cloned()
    }

    /// The objects of a kind in a namespace (in all, if empty), by name.
    #[must_use]
    pub fn list(&self, kind: Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.store
            .list(kind, namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Puts a rule before all others; pods that exist already keep their behaviour.
    pub fn add_pod_rule(&mut self, rule: PodRule) {
        self.kubelet.add_rule(rule);
    }

    /// Forgets the history of changes: every watch that goes on from an older version gets 410.
    pub fn expire_watches(&mut self) {
        self.store.compact();
    }

    /// The newest resource version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// When a Deployment's pod template last changed up to then, or one came beside those of the beginning.
    #[must_use]
    pub fn template_changed(&self, before: Timestamp) -> Option<Timestamp> {
        let upto = self.template_changes.partition_point(|at| *at <= before);
        self.template_changes.get(..upto)?.last().copied()
    }

    /// What clients asked, oldest first, as far back as the log goes.
    #[must_use]
    pub fn requests(&self) -> &[LoggedRequest] {
        self.log.entries()
    }
}
