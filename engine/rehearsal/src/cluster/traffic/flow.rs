//! Where requests go: from the entry point over weights and endpoints to pods that answer or don't.

use std::collections::BTreeMap;
use std::fmt;

use super::{Flow, Inlet};
use crate::cluster::Cluster;
use crate::cluster::plane::RouteKey;
use crate::cluster::routing::{Asked, Rule};
use crate::cluster::store::Key;

/// Where requests come in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Service(Key),
    Route(RouteKey),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "service {}", key.name),
            Self::Route((_, key)) => write!(f, "route {}", key.name),
        }
    }
}

impl Flow {
    fn fail(&mut self, share: f64, why: impl FnOnce() -> String) {
        self.failed += share;
        if self.why.is_none() {
            self.why = Some(why());
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "weights and numbers of endpoints are far below 2^53"
)]
fn part(count: u64, whole: u64) -> f64 {
    count as f64 / whole as f64
}

impl Cluster {
    /// What the data plane does with the requests of a source now.
    pub(super) fn flow_of(&self, inlet: &Inlet) -> Flow {
        let mut flow = Flow::default();
        for (share, asked) in &inlet.parts {
            self.enter(&inlet.entry, asked, *share, &mut flow);
        }
        flow
    }

    /// What the data plane does with plain requests to a route now.
    pub(in crate::cluster) fn flow_of_route(&self, route: &RouteKey) -> Flow {
        let mut flow = Flow::default();
        self.enter(
            &Entry::Route(route.clone()),
            &Asked::plain(),
            1.0,
            &mut flow,
        );
        flow
    }

    fn enter(&self, entry: &Entry, asked: &Asked, share: f64, flow: &mut Flow) {
        match entry {
            Entry::Service(key) => self.to_service(key, share, flow),
            Entry::Route(route) => {
                let (_, key) = route;
                let table = self.routing.table(route);
                match table.and_then(|table| table.rule_at(asked)) {
                    Some((_, rule)) => self.by_rule(rule, &key.namespace, share, flow),
                    None => flow.fail(share, || format!("no rule of route {} fits", key.name)),
                }
            }
        }
    }

    fn by_rule(&self, rule: &Rule, namespace: &str, share: f64, flow: &mut Flow) {
        let total = rule.total();
        if total == 0 {
            flow.fail(share, || "no backend has any weight".to_owned());
        }
        for backend in rule.backends.iter().filter(|backend| backend.weight > 0) {
            let share = share * part(backend.weight, total);
            if backend.valid {
                let key = Key::new(namespace, backend.service.as_str());
                self.to_service(&key, share, flow);
            } else {
                *flow.backends.entry(backend.service.clone()).or_default() += share;
                flow.fail(share, || format!("there is no service {}", backend.service));
            }
        }
        for mirror in &rule.mirrors {
            let copies = share * part(mirror.part, mirror.whole);
            *flow.mirrored.entry(mirror.service.clone()).or_default() += copies;
        }
    }

    fn to_service(&self, key: &Key, share: f64, flow: &mut Flow) {
        *flow.backends.entry(key.name.clone()).or_default() += share;
        let endpoints = self.routes.endpoints(key);
        let all = u64::try_from(endpoints.len()).unwrap_or(u64::MAX);
        if all == 0 {
            flow.fail(share, || {
                format!("no ready endpoint behind service {}", key.name)
            });
            return;
        }
        // By version and not by pod, so that six sixths are a whole.
        let mut answered = BTreeMap::<&str, u64>::new();
        for endpoint in endpoints {
            let pod = Key::new(key.namespace.as_str(), endpoint.pod.as_str());
            if self.kubelet.serves(&pod) {
                *answered.entry(&endpoint.version).or_default() += 1;
                *flow.pods.entry(pod).or_default() += share * part(1, all);
            } else {
                flow.fail(share * part(1, all), || {
                    format!("pod {} gets requests and serves none", endpoint.pod)
                });
            }
        }
        for (version, count) in answered {
            *flow.versions.entry(version.to_owned()).or_default() += share * part(count, all);
        }
    }
}
