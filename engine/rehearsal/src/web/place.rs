//! Where a request goes: to a Service by its name, or through a Gateway by a host of a route.

use std::collections::BTreeMap;

use phasegate_runtime::ports::HttpRequest;

use super::service_of;
use crate::cluster::{Asked, Cluster, Routed, parse_query};

/// Where a request goes.
pub(super) enum Place {
    /// The host is neither a Service's nor a route's.
    Elsewhere,
    /// To the endpoints of a Service.
    Service {
        namespace: String,
        name: String,
        /// A Gateway that finds nobody there says so; without one there is no connection.
        by_gateway: bool,
    },
    /// A Gateway refuses it.
    Refused(u16, String),
}

/// Whose turn it is, for each rule of each route: weighted and smooth, so that one of ten is every tenth.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<(String, String, usize), Vec<(String, i128)>>);

impl Turns {
    pub(super) fn place(&mut self, cluster: &Cluster, request: &HttpRequest, host: &str) -> Place {
        if let Some((namespace, name)) = service_of(cluster, host) {
            return Place::Service {
                namespace,
                name,
                by_gateway: false,
            };
        }
        let Some(routed) = cluster.routed(host, &asked(request)) else {
            return Place::Elsewhere;
        };
        let Some(rule) = routed.rule else {
            return Place::Refused(404, format!("no rule of route {} fits", routed.route));
        };
        match self.next(&routed, rule) {
            Some(service) if is_valid(&routed, &service) => Place::Service {
                namespace: routed.namespace,
                name: service,
                by_gateway: true,
            },
            Some(service) => Place::Refused(500, format!("there is no service {service}")),
            None => Place::Refused(500, "no backend has any weight".to_owned()),
        }
    }

    /// Each backend gains its weight at every turn; the one with the most is taken, and pays for all.
    fn next(&mut self, routed: &Routed, rule: usize) -> Option<String> {
        let key = (routed.namespace.clone(), routed.route.clone(), rule);
        let credit = self.0.entry(key).or_default();
        let mut present: Vec<(String, i128)> = Vec::new();
        for backend in &routed.backends {
            let known = credit.iter().find(|(name, _)| *name == backend.service);
            let before = known.map_or(0, |(_, credit)| *credit);
            present.push((backend.service.clone(), before + i128::from(backend.weight)));
        }
        let total: i128 = routed.backends.iter().map(|b| i128::from(b.weight)).sum();
        let most = present.iter().map(|(_, credit)| *credit).max()?;
        let chosen = present.iter_mut().find(|(_, credit)| *credit == most)?;
        chosen.1 -= total;
        let name = chosen.0.clone();
        *credit = present;
        Some(name)
    }
}

fn is_valid(routed: &Routed, service: &str) -> bool {
    let mut backends = routed.backends.iter();
    backends.any(|backend| backend.service == service && backend.valid)
}

fn asked(request: &HttpRequest) -> Asked {
    let uri = request.url.parse::<http::Uri>().ok();
    let headers = request.headers.iter();
    Asked {
        method: request.method.clone(),
        path: uri.as_ref().map_or("/", |uri| uri.path()).to_owned(),
        query: parse_query(uri.as_ref().and_then(|uri| uri.query()).unwrap_or_default()),
        headers: headers
            .map(|pair| (pair.name.clone(), pair.value.clone()))
            .collect(),
    }
}
