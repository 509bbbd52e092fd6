//! A Gateway controller: it says of each route whether a Gateway takes it and whether its backends
//! are there. That takes its time.

use phasegate_core::time::Span;
use serde_json::{Value, json};

use super::Cluster;
use super::conditions::{self, Said};
use super::json::{at, int, list, set, text};
use super::kinds::{GATEWAY_GROUP, Kind};
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;

/// As the controller calls itself in the status of routes.
const CONTROLLER: &str = "phasegate.dev/simulated-gateway";
/// Whether a route is taken by one parent, and by what it is called.
struct Acceptance {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Cluster {
    pub(super) fn is_service(&self, key: &Key) -> bool {
        self.store.get(Kind::Service, key).is_some()
    }

    /// Says in the status of a route what becomes of it.
    pub(super) fn sync_route_status(&mut self, key: &Key) {
        let Some(route) = self.store.get(Kind::HttpRoute, key).cloned() else {
            self.routing.forget(key);
            return;
        };
        let changed = self.routing.changed(key);
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

    /// Whether a Gateway takes the route.
    pub(super) fn is_taken(&self, key: &Key, route: &Value) -> bool {
        let parents = list(route, &["spec", "parentRefs"]);
        let taken = |parent| self.acceptance(key, parent).is_some_and(|a| a.holds);
        parents.iter().any(taken)
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

/// Whether a route names a Gateway among its parents.
pub(super) fn names_parent(route: &Value, gateway: &str) -> bool {
    list(route, &["spec", "parentRefs"])
        .iter()
        .any(|parent| text(parent, &["name"]) == gateway)
}

/// The default of how long the status of a route lags behind its spec.
pub(super) const STATUS_LAG: Span = Span::from_millis(200);
