//! A Gateway controller: it says of each route whether a Gateway takes it and whether its backends
//! are there, and hands what it says to the data plane. Both take their time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::Cluster;
use super::conditions::{self, Said};
use super::json::{at, int, list, set, text};
use super::kinds::{GATEWAY_GROUP, Kind};
use super::queue::Work;
use super::routing::{Asked, Routed, Table};
use super::store::Key;
use super::watch::is_leaving;

/// As the controller calls itself in the status of routes.
const CONTROLLER: &str = "phasegate.dev/simulated-gateway";
/// Most changes of one route that are on their way to the data plane; the oldest arrives early then.
const MAX_UNDER_WAY: usize = 1_000;

/// A route that the data plane is to have from a time on; none where there is none any more.
type UnderWay = (Timestamp, Option<Arc<Value>>);

/// What is known of routes: when each changed, what of it is under way, and what the data plane has.
#[derive(Debug, Default)]
pub(super) struct Routing {
    changed: BTreeMap<Key, Timestamp>,
    under_way: BTreeMap<Key, VecDeque<UnderWay>>,
    tables: BTreeMap<Key, Table>,
}

impl Routing {
    /// What the data plane does with the requests of all routes, by name.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&Key, &Table)> {
        self.tables.iter()
    }

    /// What the data plane does with the requests of a route; none where it knows no such route.
    pub(super) fn table(&self, route: &Key) -> Option<&Table> {
        self.tables.get(route)
    }
}

impl Cluster {
    /// What the data plane does with a request to a host; none where no route has it.
    pub(crate) fn routed(&self, host: &str, asked: &Asked) -> Option<Routed> {
        let mut best: Option<(usize, &Key, &Table)> = None;
        for (key, table) in &self.routing.tables {
            if let Some(length) = table.hosts(host)
                && best.is_none_or(|(known, ..)| length > known)
            {
                best = Some((length, key, table));
            }
        }
        let (_, key, table) = best?;
        let found = table.rule_at(asked);
        let backends = found.map(|(_, rule)| rule.backends.iter());
        Some(Routed {
            namespace: key.namespace.clone(),
            route: key.name.clone(),
            rule: found.map(|(index, _)| index),
            backends: backends
                .into_iter()
                .flatten()
                .filter(|backend| backend.weight > 0)
                .cloned()
                .collect(),
        })
    }
}

/// Whether a route is taken by one parent, and by what it is called.
struct Acceptance {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Cluster {
    /// A route is another one, or what it depends on is.
    pub(super) fn route_changed(&mut self, key: &Key) {
        let object = self.store.get(Kind::HttpRoute, key).cloned();
        self.routing.changed.insert(key.clone(), self.now);
        let arrives = self.now.plus(self.config.route_delay);
        let under_way = self.routing.under_way.entry(key.clone()).or_default();
        under_way.push_back((arrives, object));
        if under_way.len() > MAX_UNDER_WAY {
            under_way.pop_front();
        }
        self.after(self.config.route_status_lag, Work::RouteStatus(key.clone()));
        self.after(self.config.route_delay, Work::RouteTable(key.clone()));
    }

    /// The routes that may have to do with an object: all of a namespace, or of the cluster.
    pub(super) fn wake_routes(&mut self, namespace: &str, concerns: impl Fn(&Value) -> bool) {
        let keys: Vec<Key> = self
            .store
            .list(Kind::HttpRoute, namespace)
            .filter(|(_, route)| concerns(route))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.route_changed(&key);
        }
    }

    /// The data plane takes what has had the time to arrive.
    pub(super) fn sync_route_table(&mut self, key: &Key) {
        let mut arrived = None;
        if let Some(under_way) = self.routing.under_way.get_mut(key) {
            while let Some((at, _)) = under_way.front() {
                if *at > self.now {
                    self.queue.schedule(*at, Work::RouteTable(key.clone()));
                    break;
                }
                arrived = under_way.pop_front();
            }
            if under_way.is_empty() {
                self.routing.under_way.remove(key);
            }
        }
        let Some((_, route)) = arrived else { return };
        let table = route
            .filter(|route| {
                let parents = list(route, &["spec", "parentRefs"]);
                let taken = |parent| self.acceptance(key, parent).is_some_and(|a| a.holds);
                parents.iter().any(taken)
            })
            .map(|route| Table::of(&route, |service| self.is_service(service)));
        let before = match table {
            Some(table) => self.routing.tables.insert(key.clone(), table),
            None => self.routing.tables.remove(key),
        };
        if before.as_ref() != self.routing.tables.get(key) {
            self.plane_changed();
        }
    }

    fn is_service(&self, key: &Key) -> bool {
        self.store.get(Kind::Service, key).is_some()
    }

    /// Says in the status of a route what becomes of it.
    pub(super) fn sync_route_status(&mut self, key: &Key) {
        let Some(route) = self.store.get(Kind::HttpRoute, key).cloned() else {
            self.routing.changed.remove(key);
            return;
        };
        let changed = self.routing.changed.get(key).copied().unwrap_or_default();
        let sees = changed.plus(self.config.route_status_lag);
        if self.now < sees {
            self.queue.schedule(sees, Work::RouteStatus(key.clone()));
            return;
        }
        let generation = int(&route, &["metadata", "generation"]);
        let missing = self.missing_backend(key, &route);
        let mut parents = Vec::new();
        for parent in list(&route, &["spec", "parentRefs"]) {
            let Some(accepted) = self.acceptance(key, parent) else {
                continue;
            };
            let known = list(&route, &["status", "parents"])
                .iter()
                .find(|known| at(known, &["parentRef"]) == parent);
            let mut conditions = known
                .map(|known| list(known, &["conditions"]).to_vec())
                .unwrap_or_default();
            let (resolved, reason, message) = match &missing {
                None => (true, "ResolvedRefs", "All references are resolved"),
                Some((reason, message)) => (false, *reason, message.as_str()),
            };
            for said in [
                Said {
                    kind: "Accepted",
                    holds: accepted.holds,
                    reason: accepted.reason,
                    message: &accepted.message,
                    generation,
                },
                Said {
                    kind: "ResolvedRefs",
                    holds: resolved,
                    reason,
                    message,
                    generation,
                },
            ] {
                conditions::put(&mut conditions, &said, self.now);
            }
            parents.push(json!({
                "parentRef": parent,
                "controllerName": CONTROLLER,
                "conditions": conditions,
            }));
        }
        self.put_status(Kind::HttpRoute, key, json!({ "parents": parents }));
    }

    /// None where the parent is nothing that this controller knows: it says nothing then, as real ones do.
    fn acceptance(&self, route: &Key, parent: &Value) -> Option<Acceptance> {
        if text(parent, &["kind"]) != "Gateway" || text(parent, &["group"]) != GATEWAY_GROUP {
            return None;
        }
        let namespace = match text(parent, &["namespace"]) {
            "" => route.namespace.as_str(),
            namespace => namespace,
        };
        let key = Key::new(namespace, text(parent, &["name"]));
        let gateway = self.store.get(Kind::Gateway, &key)?;
        if is_leaving(gateway) {
            return None;
        }
        let section = text(parent, &["sectionName"]);
        let listeners: Vec<&Value> = list(gateway, &["spec", "listeners"])
            .iter()
            .filter(|listener| section.is_empty() || text(listener, &["name"]) == section)
            .collect();
        let allowed = |listener: &&Value| {
            let from = text(listener, &["allowedRoutes", "namespaces", "from"]);
            from == "All" || (from == "Same" && route.namespace == namespace)
        };
        Some(if listeners.is_empty() {
            Acceptance {
                holds: false,
                reason: "NoMatchingParent",
                message: format!("the Gateway has no listener `{section}`"),
            }
        } else if !listeners.iter().any(allowed) {
            Acceptance {
                holds: false,
                reason: "NotAllowedByListeners",
                message: "no listener allows routes of this namespace".to_owned(),
            }
        } else {
            Acceptance {
                holds: true,
                reason: "Accepted",
                message: "Route is accepted".to_owned(),
            }
        })
    }

    /// The first backend that can't be resolved: why, in a word and in a sentence.
    fn missing_backend(&self, key: &Key, route: &Value) -> Option<(&'static str, String)> {
        let rules = list(route, &["spec", "rules"]).iter();
        let backends = rules.flat_map(|rule| {
            let mirrors = list(rule, &["filters"])
                .iter()
                .map(|filter| at(filter, &["requestMirror", "backendRef"]))
                .filter(|backend| backend.is_object());
            list(rule, &["backendRefs"]).iter().chain(mirrors)
        });
        for backend in backends {
            let (group, kind) = (text(backend, &["group"]), text(backend, &["kind"]));
            let name = text(backend, &["name"]);
            if !group.is_empty() || kind != "Service" {
                return Some((
                    "InvalidKind",
                    format!("backend {kind} {name} is no Service"),
                ));
            }
            let namespace = text(backend, &["namespace"]);
            if !namespace.is_empty() && namespace != key.namespace {
                let message = format!("backend {namespace}/{name} needs a ReferenceGrant");
                return Some(("RefNotPermitted", message));
            }
            if !self.is_service(&Key::new(key.namespace.as_str(), name)) {
                return Some(("BackendNotFound", format!("service \"{name}\" not found")));
            }
        }
        None
    }

    /// A Gateway is ready as soon as it is seen.
    pub(super) fn sync_gateway(&mut self, key: &Key) {
        let Some(gateway) = self.store.get(Kind::Gateway, key).cloned() else {
            return;
        };
        let generation = int(&gateway, &["metadata", "generation"]);
        let mut conditions = list(&gateway, &["status", "conditions"]).to_vec();
        for kind in ["Accepted", "Programmed"] {
            let said = Said {
                kind,
                holds: true,
                reason: kind,
                message: "",
                generation,
            };
            conditions::put(&mut conditions, &said, self.now);
        }
        let mut status = json!({"conditions": conditions});
        let address = json!([{"type": "Hostname", "value": format!("{}.{}.gateway.local", key.name, key.namespace)}]);
        set(&mut status, &["addresses"], address);
        self.put_status(Kind::Gateway, key, status);
    }
}

/// Whether a route names a Service among its backends or mirrors.
pub(super) fn leads_to(route: &Value, service: &str) -> bool {
    list(route, &["spec", "rules"]).iter().any(|rule| {
        let named = |backend: &Value| text(backend, &["name"]) == service;
        list(rule, &["backendRefs"]).iter().any(named)
            || list(rule, &["filters"])
                .iter()
                .any(|filter| named(at(filter, &["requestMirror", "backendRef"])))
    })
}

/// Whether a route names a Gateway among its parents.
pub(super) fn names_parent(route: &Value, gateway: &str) -> bool {
    list(route, &["spec", "parentRefs"])
        .iter()
        .any(|parent| text(parent, &["name"]) == gateway)
}

/// The default of how long the status of a route lags behind its spec.
pub(super) const STATUS_LAG: Span = Span::from_millis(200);
/// The default of how long the data plane lags behind the spec of a route.
pub(super) const TABLE_DELAY: Span = Span::from_secs(1);
