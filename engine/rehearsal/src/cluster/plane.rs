//! The data plane: it does what routes say, each change after its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::Value;

use super::Cluster;
use super::json::at;
use super::kinds::{Kind, ROUTES};
use super::queue::Work;
use super::routing::{Asked, Routed, Table, is_canary};
use super::store::Key;

/// The default of how long the data plane lags behind the spec of a route.
pub(super) const TABLE_DELAY: Span = Span::from_secs(1);
/// Most changes of one route that are on their way to the data plane; the oldest arrives early then.
const MAX_UNDER_WAY: usize = 1_000;

/// A route: its kind and its name.
pub(super) type RouteKey = (Kind, Key);

/// A route, and before it what takes a part of its requests (canaries of an Ingress); nothing where there is none.
type Parts = Vec<Arc<Value>>;

/// What is known of routes: when each changed, what of it is under way, and what the data plane has.
#[derive(Debug, Default)]
pub(super) struct Routing {
    changed: BTreeMap<Key, Timestamp>,
    under_way: BTreeMap<RouteKey, VecDeque<(Timestamp, Parts)>>,
    tables: BTreeMap<RouteKey, Table>,
}

impl Routing {
    /// What the data plane does with the requests of all routes.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&RouteKey, &Table)> {
        self.tables.iter()
    }

    /// What the data plane does with the requests of a route; none where it knows no such route.
    pub(super) fn table(&self, route: &RouteKey) -> Option<&Table> {
        self.tables.get(route)
    }

    /// When an HTTPRoute last changed.
    pub(super) fn changed(&self, route: &Key) -> Timestamp {
        self.changed.get(route).copied().unwrap_or_default()
    }

    /// An HTTPRoute is gone.
    pub(super) fn forget(&mut self, route: &Key) {
        self.changed.remove(route);
    }
}

impl Cluster {
    /// What the data plane does with a request to a host; none where no route has it.
    pub(crate) fn routed(&self, host: &str, asked: &Asked) -> Option<Routed> {
        let mut best: Option<(usize, &Key, &Table)> = None;
        for ((_, key), table) in &self.routing.tables {
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

    /// All routes of a namespace, or of the cluster. A canary of an Ingress is no route of its own.
    pub(super) fn all_routes(&self, namespace: &str) -> Vec<RouteKey> {
        let of_kind = |kind| {
            let routes = self.store.list(kind, namespace);
            let own = routes.filter(move |(_, route)| kind != Kind::Ingress || !is_canary(route));
            own.map(move |(key, _)| (kind, key.clone()))
        };
        ROUTES.into_iter().flat_map(of_kind).collect()
    }

    fn parts(&self, (kind, key): &RouteKey) -> Parts {
        let Some(route) = self.store.get(*kind, key) else {
            return Vec::new();
        };
        if *kind != Kind::Ingress {
            return vec![Arc::clone(route)];
        }
        if is_canary(route) {
            return Vec::new();
        }
        let canaries = self.store.list(Kind::Ingress, &key.namespace);
        let canaries = canaries.map(|(_, ingress)| ingress);
        let canaries = canaries
            .filter(|ingress| is_canary(ingress))
            .map(Arc::clone);
        canaries.chain([Arc::clone(route)]).collect()
    }

    /// What a route says now; none where there is none.
    pub(super) fn said_by(&self, route: &RouteKey, exists: impl Fn(&Key) -> bool) -> Option<Table> {
        table_of(route.0, &self.parts(route), exists)
    }

    /// A route is another one, or what it depends on is.
    pub(super) fn route_changed(&mut self, route: RouteKey) {
        let parts = self.parts(&route);
        if route.0 == Kind::HttpRoute {
            self.routing.changed.insert(route.1.clone(), self.now);
            let status = Work::RouteStatus(route.1.clone());
            self.after(self.config.route_status_lag, status);
        }
        let arrives = self.now.plus(self.config.route_delay);
        let under_way = self.routing.under_way.entry(route.clone()).or_default();
        under_way.push_back((arrives, parts));
        if under_way.len() > MAX_UNDER_WAY {
            under_way.pop_front();
        }
        let (kind, key) = route;
        self.after(self.config.route_delay, Work::RouteTable(kind, key));
    }

    /// An Ingress is another one: so is what it takes a part of, if it is a canary.
    pub(super) fn ingress_changed(
        &mut self,
        key: &Key,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let annotations = ["metadata", "annotations"];
        let same = |before: &Value, after: &Value| {
            at(before, &["spec"]) == at(after, &["spec"])
                && at(before, &annotations) == at(after, &annotations)
        };
        if let (Some(before), Some(after)) = (before, after)
            && same(before, after)
        {
            return;
        }
        let canary = [before, after].into_iter().flatten().any(is_canary);
        self.route_changed((Kind::Ingress, key.clone()));
        if canary {
            let others = self.all_routes(&key.namespace);
            for route in others
                .into_iter()
                .filter(|(kind, _)| *kind == Kind::Ingress)
            {
                self.route_changed(route);
            }
        }
    }

    /// The routes that may have to do with a Service.
    pub(super) fn wake_routes_to(&mut self, service: &Key) {
        for route in self.all_routes(&service.namespace) {
            let table = self.said_by(&route, |_| true);
            if table.is_some_and(|table| table.leads_to(&service.name)) {
                self.route_changed(route);
            }
        }
    }

    /// The HTTPRoutes that may have to do with an object.
    pub(super) fn wake_http_routes(&mut self, concerns: impl Fn(&Value) -> bool) {
        let keys: Vec<Key> = self
            .store
            .list(Kind::HttpRoute, "")
            .filter(|(_, route)| concerns(route))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.route_changed((Kind::HttpRoute, key));
        }
    }

    /// The data plane takes what has had the time to arrive.
    pub(super) fn sync_route_table(&mut self, route: RouteKey) {
        let mut arrived = None;
        if let Some(under_way) = self.routing.under_way.get_mut(&route) {
            while let Some((at, _)) = under_way.front() {
                if *at > self.now {
                    let (kind, key) = route.clone();
                    self.queue.schedule(*at, Work::RouteTable(kind, key));
                    break;
                }
                arrived = under_way.pop_front();
            }
            if under_way.is_empty() {
                self.routing.under_way.remove(&route);
            }
        }
        let Some((_, mut parts)) = arrived else {
            return;
        };
        if route.0 == Kind::HttpRoute {
            parts.retain(|part| self.is_taken(&route.1, part));
        }
        let table = table_of(route.0, &parts, |service| self.is_service(service));
        let before = self.routing.tables.remove(&route);
        let other = before != table;
        if let Some(table) = table {
            self.routing.tables.insert(route, table);
        }
        if other {
            self.plane_changed();
        }
    }
}

fn table_of(kind: Kind, parts: &[Arc<Value>], exists: impl Fn(&Key) -> bool) -> Option<Table> {
    let (route, canaries) = parts.split_last()?;
    Some(match kind {
        Kind::Ingress => Table::of_ingress(route, canaries, exists),
        Kind::VirtualService => Table::of_mesh(route, exists),
        _ => Table::of(route, exists),
    })
}
