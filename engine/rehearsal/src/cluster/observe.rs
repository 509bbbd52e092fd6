//! What somebody outside sees of a cluster, for transcripts and assertions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Cluster;
use super::endpoints::Endpoint;
use super::json::{at, int, list, text};
use super::kinds::Kind;

/// The state of a cluster at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When, in milliseconds since the epoch.
    pub at: phasegate_core::time::Timestamp,
    /// By namespace and name.
    pub deployments: Vec<ObservedDeployment>,
    /// By namespace and name.
    pub services: Vec<ObservedService>,
    /// By namespace and name.
    pub routes: Vec<ObservedRoute>,
}

/// A Deployment as its status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedDeployment {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The images of its template, in the order of the containers.
    pub images: Vec<String>,
    /// The number of pods asked for.
    pub wanted: i64,
    /// The number of pods there are.
    pub replicas: i64,
    /// Those of the newest template.
    pub updated: i64,
    /// Those that are ready.
    pub ready: i64,
    /// Those that have been ready for long enough.
    pub available: i64,
    /// Those missing.
    pub unavailable: i64,
    /// Counts the changes of its spec.
    pub generation: i64,
    /// The generation the status is about.
    pub observed_generation: i64,
    /// The rollout's number.
    pub revision: String,
}

/// A Service as the data plane treats it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many endpoints get traffic, by image.
    pub endpoints: BTreeMap<String, usize>,
    /// How many of those don't run any more, although the data plane still sends them traffic.
    pub gone: usize,
}

/// An HTTPRoute, an Ingress or a VirtualService as the data plane treats it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRoute {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many of ten thousand plain requests are answered, by version.
    pub versions: BTreeMap<String, u32>,
    /// How many are not answered.
    pub failed: u32,
    /// The Services that it leads to, with weight or without.
    pub backends: BTreeSet<String>,
}

/// A share of 1 out of ten thousand.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is between nothing and all"
)]
fn parts(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() as u32
}

/// Most observations that are remembered.
pub const MAX_HISTORY: usize = 200_000;

impl Cluster {
    /// Remembers from now on whatever an observer could see, each time that it changes.
    pub fn record_history(&mut self) {
        self.history = Some(vec![self.observe()]);
    }

    /// What was remembered, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Observation] {
        self.history.as_deref().unwrap_or_default()
    }

    pub(super) fn remember(&mut self) {
        let Some(last) = self.history.as_ref().and_then(|history| history.last()) else {
            return;
        };
        let seen = self.observe();
        let same = seen.deployments == last.deployments
            && seen.services == last.services
            && seen.routes == last.routes;
        if let Some(history) = &mut self.history
            && !same
            && history.len() < MAX_HISTORY
        {
            history.push(seen);
        }
    }

    fn observed_routes(&self) -> Vec<ObservedRoute> {
        let routes = self.all_routes("").into_iter().map(|route| {
            let flow = self.flow_of_route(&route);
            let said = self.said_by(&route, |_| true);
            let rules = said.iter().flat_map(|table| &table.rules);
            let backends = rules.flat_map(|rule| &rule.backends);
            ObservedRoute {
                backends: backends.map(|backend| backend.service.clone()).collect(),
                namespace: route.1.namespace,
                name: route.1.name,
                versions: flow
                    .versions
                    .iter()
                    .map(|(version, share)| (version.clone(), parts(*share)))
                    .collect(),
                failed: parts(flow.failed),
            }
        });
        routes.collect()
    }

    /// What somebody outside sees now.
    #[must_use]
    pub fn observe(&self) -> Observation {
        let deployments = self.store.list(Kind::Deployment, "").map(|(key, object)| {
            let status = |field: &str| int(object, &["status", field]).unwrap_or_default();
            let images = list(object, &["spec", "template", "spec", "containers"]).iter();
            ObservedDeployment {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                images: images
                    .map(|container| text(container, &["image"]).to_owned())
                    .collect(),
                wanted: int(object, &["spec", "replicas"]).unwrap_or_default(),
                replicas: status("replicas"),
                updated: status("updatedReplicas"),
                ready: status("readyReplicas"),
                available: status("availableReplicas"),
                unavailable: status("unavailableReplicas"),
                generation: int(object, &["metadata", "generation"]).unwrap_or_default(),
                observed_generation: status("observedGeneration"),
                revision: text(
                    object,
                    &[
                        "metadata",
                        "annotations",
                        "deployment.kubernetes.io/revision",
                    ],
                )
                .to_owned(),
            }
        });
        let services = self
            .store
            .list(Kind::Service, "")
            .filter(|(_, s)| !at(s, &["spec", "selector"]).is_null());
        let services = services.map(|(key, _)| {
            let mut endpoints = BTreeMap::new();
            let routed: Vec<Endpoint> = self.ready_endpoints(&key.namespace, &key.name);
            let gone = routed.iter().filter(|endpoint| !endpoint.alive).count();
            for endpoint in routed {
                *endpoints.entry(endpoint.image).or_default() += 1;
            }
            ObservedService {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                endpoints,
                gone,
            }
        });
        Observation {
            at: self.now,
            deployments: deployments.collect(),
            services: services.collect(),
            routes: self.observed_routes(),
        }
    }
}
