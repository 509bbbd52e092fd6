//! What a VirtualService of Istio says: its HTTP routes, of which the first that fits is taken.

use serde_json::Value;

use super::{Backend, Match, Mirror, Path, Rule, Table};
use crate::cluster::json::{at, int, list, map, text};
use crate::cluster::store::Key;

/// Parts of a percentage that is counted to the hundredth.
const PARTS: f64 = 100.0;
/// What matches may ask for that this data plane knows nothing of.
const FOREIGN: [&str; 5] = [
    "authority",
    "scheme",
    "sourceLabels",
    "sourceNamespace",
    "withoutHeaders",
];

impl Table {
    /// Reads the spec of a VirtualService.
    pub(in crate::cluster) fn of_mesh(service: &Value, exists: impl Fn(&Key) -> bool) -> Self {
        let namespace = text(service, &["metadata", "namespace"]);
        let hosts = list(service, &["spec", "hosts"]).iter();
        let routes = list(service, &["spec", "http"]).iter();
        Self {
            hostnames: hosts
                .filter_map(|host| host.as_str().map(str::to_owned))
                .collect(),
            rules: routes
                .map(|route| rule(route, namespace, &exists))
                .collect(),
            ordered: true,
        }
    }
}

fn rule(route: &Value, namespace: &str, exists: &impl Fn(&Key) -> bool) -> Rule {
    let to = list(route, &["route"]);
    // One destination has all of the traffic; one of several without a weight has none.
    let weight = |to: &Value| match list(route, &["route"]).len() {
        1 => 1,
        _ => u64::try_from(int(to, &["weight"]).unwrap_or_default()).unwrap_or_default(),
    };
    let backends = to.iter().map(|to| {
        let host = text(to, &["destination", "host"]);
        let found = service_of(host, namespace);
        Backend {
            service: found.unwrap_or(host).to_owned(),
            weight: weight(to),
            valid: found.is_some_and(|name| exists(&Key::new(namespace, name))),
        }
    });
    let matches = list(route, &["match"]);
    Rule {
        matches: match matches {
            [] => vec![Match::default()],
            matches => matches.iter().map(wanted).collect(),
        },
        backends: backends.collect(),
        mirrors: mirrors(route, namespace),
    }
}

/// The Service of the namespace that a host is; none where it is another one's.
fn service_of<'a>(host: &'a str, namespace: &str) -> Option<&'a str> {
    let Some((name, domain)) = host.split_once('.') else {
        return Some(host);
    };
    let beyond = domain.strip_prefix(namespace)?;
    let own = beyond.is_empty() || beyond == ".svc" || beyond.starts_with(".svc.");
    own.then_some(name)
}

fn mirrors(route: &Value, namespace: &str) -> Vec<Mirror> {
    let mirror = |host: &str, percentage: &Value| Mirror {
        service: service_of(host, namespace).unwrap_or(host).to_owned(),
        part: hundredths(at(percentage, &["value"]).as_f64().unwrap_or(PARTS)),
        whole: hundredths(PARTS),
    };
    let one = map(route, &["mirror"]).map(|_| {
        mirror(
            text(route, &["mirror", "host"]),
            at(route, &["mirrorPercentage"]),
        )
    });
    let several = list(route, &["mirrors"]).iter().map(|each| {
        let host = text(each, &["destination", "host"]);
        mirror(host, at(each, &["percentage"]))
    });
    one.into_iter().chain(several).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage is between nothing and a hundred"
)]
fn hundredths(percent: f64) -> u64 {
    (percent.clamp(0.0, PARTS) * PARTS).round() as u64
}

fn wanted(found: &Value) -> Match {
    let mut foreign = FOREIGN.iter().any(|name| !at(found, &[name]).is_null());
    let mut pairs = |field: &str| -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (name, wanted) in map(found, &[field]).into_iter().flatten() {
            foreign |= at(wanted, &["exact"]).is_null();
            out.push((name.clone(), text(wanted, &["exact"]).to_owned()));
        }
        out
    };
    let (headers, query) = (pairs("headers"), pairs("queryParams"));
    let uri = at(found, &["uri"]);
    let path = match (at(uri, &["exact"]).as_str(), at(uri, &["prefix"]).as_str()) {
        (Some(path), _) => Path::Exact(path.to_owned()),
        (None, Some(prefix)) => Path::Letters(prefix.to_owned()),
        (None, None) => {
            foreign |= !uri.is_null();
            Path::default()
        }
    };
    let method = at(found, &["method"]);
    foreign |= !method.is_null() && at(method, &["exact"]).is_null();
    Match {
        path,
        method: at(method, &["exact"]).as_str().map(str::to_owned),
        headers,
        query,
        foreign,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Asked;
    use super::*;

    #[test]
    fn the_first_route_that_fits_has_the_request() {
        let to = |host: &str, weight: u64| json!({"destination": {"host": host}, "weight": weight});
        let service = json!({
            "metadata": {"namespace": "shop"},
            "spec": {"hosts": ["shop.example"], "http": [
                {"match": [{"headers": {"x-canary": {"exact": "yes"}}}], "route": [to("new", 0)]},
                {"match": [{"uri": {"regex": ".*"}}], "route": [to("never", 1)]},
                {"match": [{"uri": {"prefix": "/ca"}}, {"uri": {"exact": "/x"}}], "route": [to("cart", 0)]},
                {"match": [{"uri": {"exact": "/cart"}}], "route": [to("late", 1)]},
                {
                    "route": [to("shop.shop.svc.cluster.local", 90), to("shop.other", 10)],
                    "mirrors": [{"destination": {"host": "new"}, "percentage": {"value": 2.5}}],
                },
            ]},
        });
        let table = Table::of_mesh(&service, |_| true);
        for (path, header, expected) in [
            ("/", true, vec![("new", 1, true)]),
            ("/cart", false, vec![("cart", 1, true)]),
            ("/x", false, vec![("cart", 1, true)]),
            (
                "/",
                false,
                vec![("shop", 90, true), ("shop.other", 10, false)],
            ),
        ] {
            let mut asked = Asked {
                path: path.to_owned(),
                ..Asked::plain()
            };
            if header {
                asked.headers = [("X-Canary".to_owned(), "yes".to_owned())].into();
            }
            let (_, rule) = table.rule_at(&asked).unwrap();
            let found = rule.backends.iter();
            let found: Vec<_> = found
                .map(|backend| (backend.service.as_str(), backend.weight, backend.valid))
                .collect();
            assert_eq!(found, expected, "{path}");
        }
        let mirror = &table.rules[4].mirrors[0];
        assert_eq!((mirror.part, mirror.whole), (250, 10_000));
        assert!(table.hosts("shop.example").is_some() && table.leads_to("new"));
    }
}
