//! What the data plane does with the requests of a route: which rule fits a request, and where it
//! sends them.

mod ingress;
mod mesh;

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{at, int, list, text};
use super::store::Key;

pub(super) use self::ingress::is_canary;

/// A route as the data plane has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    hostnames: Vec<String>,
    pub(super) rules: Vec<Rule>,
    /// Whether the first rule that fits is taken, and not the one that says most.
    ordered: bool,
}

/// One rule of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rule {
    matches: Vec<Match>,
    pub(super) backends: Vec<Backend>,
    pub(super) mirrors: Vec<Mirror>,
}

/// Where a rule sends requests, and how many of them by weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backend {
    /// The name of a Service in the route's namespace.
    pub(crate) service: String,
    pub(crate) weight: u64,
    /// Whether the Service is there; what would go to one that isn't is answered with an error.
    pub(crate) valid: bool,
}

/// Where a rule sends copies of requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mirror {
    pub(super) service: String,
    /// Of how many parts.
    pub(super) part: u64,
    pub(super) whole: u64,
}

/// How much a match says about a request.
type Rank = (bool, usize, bool, usize, usize);

#[derive(Clone, Debug, Default, PartialEq)]
struct Match {
    path: Path,
    method: Option<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    /// What this data plane can't do (regular expressions): it never fits.
    foreign: bool,
}

/// What a match says of the path.
#[derive(Clone, Debug, PartialEq)]
enum Path {
    /// It is all of it.
    Exact(String),
    /// The path begins with these whole elements: `/a` is no prefix of `/ab`.
    Elements(String),
    /// The path begins with these letters.
    Letters(String),
}

impl Default for Path {
    fn default() -> Self {
        Self::Elements("/".to_owned())
    }
}

/// A request, as far as routes look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Where a route sends a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Routed {
    pub(crate) namespace: String,
    pub(crate) route: String,
    /// Which of its rules fits; none where none does.
    pub(crate) rule: Option<usize>,
    /// The Services of that rule, by weight; those without weight are left out.
    pub(crate) backends: Vec<Backend>,
}

impl Asked {
    /// A GET of the root, which is what a request is that nothing is said about.
    pub(crate) fn plain() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            ..Self::default()
        }
    }
}

impl Table {
    /// Reads the spec of a route.
    pub(super) fn of(route: &Value, exists: impl Fn(&Key) -> bool) -> Self {
        let namespace = text(route, &["metadata", "namespace"]);
        let hostnames = list(route, &["spec", "hostnames"]).iter();
        Self {
            hostnames: hostnames
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            rules: list(route, &["spec", "rules"])
                .iter()
                .map(|rule| Rule::of(rule, namespace, &exists))
                .collect(),
            ordered: false,
        }
    }

    /// Whether a Service is among the backends or gets copies.
    pub(super) fn leads_to(&self, service: &str) -> bool {
        self.rules.iter().any(|rule| {
            let mut backends = rule.backends.iter();
            let mut mirrors = rule.mirrors.iter();
            backends.any(|backend| backend.service == service)
                || mirrors.any(|mirror| mirror.service == service)
        })
    }

    /// How much of a host a name of the route is: all of it, or as many letters after the star.
    pub(super) fn hosts(&self, host: &str) -> Option<usize> {
        let fits = |name: &String| match name.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix).then_some(suffix.len()),
            None => (name == host).then_some(usize::MAX),
        };
        self.hostnames.iter().filter_map(fits).max()
    }

    /// The rule that fits a request best, as the Gateway API ranks them: an exact path, then the longest
    /// one, then a method, then the most headers, then the most query parameters, then the first; or just the
    /// first where the order counts. With its place.
    pub(super) fn rule_at(&self, asked: &Asked) -> Option<(usize, &Rule)> {
        if self.ordered {
            let fits = |rule: &Rule| rule.matches.iter().any(|wanted| wanted.fits(asked));
            return self.rules.iter().enumerate().find(|(_, rule)| fits(rule));
        }
        let mut best: Option<(Rank, (usize, &Rule))> = None;
        for (index, rule) in self.rules.iter().enumerate() {
            for wanted in rule.matches.iter().filter(|wanted| wanted.fits(asked)) {
                let rank = wanted.rank();
                if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                    best = Some((rank, (index, rule)));
                }
            }
        }
        best.map(|(_, found)| found)
    }
}

impl Rule {
    fn of(rule: &Value, namespace: &str, exists: &impl Fn(&Key) -> bool) -> Self {
        let weight = |backend: &Value| {
            u64::try_from(int(backend, &["weight"]).unwrap_or(1)).unwrap_or_default()
        };
        let backends = list(rule, &["backendRefs"]).iter().map(|backend| {
            let name = text(backend, &["name"]);
            let elsewhere = text(backend, &["namespace"]);
            Backend {
                service: name.to_owned(),
                weight: weight(backend),
                valid: text(backend, &["kind"]) == "Service"
                    && (elsewhere.is_empty() || elsewhere == namespace)
                    && exists(&Key::new(namespace, name)),
            }
        });
        Self {
            matches: list(rule, &["matches"]).iter().map(Match::of).collect(),
            backends: backends.collect(),
            mirrors: list(rule, &["filters"])
                .iter()
                .filter(|filter| text(filter, &["type"]) == "RequestMirror")
                .map(|filter| Mirror::of(at(filter, &["requestMirror"])))
                .collect(),
        }
    }

    /// The sum of the weights.
    pub(super) fn total(&self) -> u64 {
        self.backends.iter().map(|backend| backend.weight).sum()
    }

    /// Whether it is only for requests that carry something special.
    pub(super) fn is_marked(&self) -> bool {
        self.matches
            .iter()
            .all(|wanted| !wanted.headers.is_empty() || !wanted.query.is_empty())
    }
}

impl Mirror {
    fn of(mirror: &Value) -> Self {
        let number = |path: &[&str]| int(mirror, path).and_then(|n| u64::try_from(n).ok());
        let (part, whole) = match (number(&["percent"]), number(&["fraction", "numerator"])) {
            (Some(percent), _) => (percent, 100),
            (None, Some(part)) => (part, number(&["fraction", "denominator"]).unwrap_or(100)),
            (None, None) => (1, 1),
        };
        Self {
            service: text(mirror, &["backendRef", "name"]).to_owned(),
            part,
            whole: whole.max(1),
        }
    }
}

impl Match {
    fn of(wanted: &Value) -> Self {
        let mut foreign = text(wanted, &["path", "type"]) == "RegularExpression";
        let mut pairs = |field: &str| -> Vec<(String, String)> {
            let mut out = Vec::new();
            for pair in list(wanted, &[field]) {
                foreign |= text(pair, &["type"]) == "RegularExpression";
                out.push((
                    text(pair, &["name"]).to_owned(),
                    text(pair, &["value"]).to_owned(),
                ));
            }
            out
        };
        let (headers, query) = (pairs("headers"), pairs("queryParams"));
        let path = text(wanted, &["path", "value"]).to_owned();
        Self {
            path: match text(wanted, &["path", "type"]) {
                "Exact" => Path::Exact(path),
                _ => Path::Elements(path),
            },
            method: at(wanted, &["method"]).as_str().map(str::to_owned),
            headers,
            query,
            foreign,
        }
    }

    fn fits(&self, asked: &Asked) -> bool {
        let has = |(name, value): &(String, String)| {
            asked
                .headers
                .iter()
                .any(|(known, held)| known.eq_ignore_ascii_case(name) && held == value)
        };
        !self.foreign
            && self.path.fits(&asked.path)
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == asked.method)
            && self.headers.iter().all(has)
            && self.query.iter().all(|pair| asked.query.contains(pair))
    }

    fn rank(&self) -> Rank {
        (
            matches!(self.path, Path::Exact(_)),
            self.path.text().len(),
            self.method.is_some(),
            self.headers.len(),
            self.query.len(),
        )
    }
}

impl Path {
    fn text(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Elements(path) | Self::Letters(path) => path,
        }
    }

    fn fits(&self, asked: &str) -> bool {
        match self {
            Self::Exact(path) => asked == path,
            Self::Letters(prefix) => asked.starts_with(prefix.as_str()),
            Self::Elements(prefix) => asked
                .strip_prefix(prefix.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(path: &str, headers: &[(&str, &str)]) -> Asked {
        Asked {
            path: path.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Asked::plain()
        }
    }

    #[test]
    fn the_rule_that_says_most_about_a_request_has_it() {
        let rule = |wanted: Value, service: &str| json!({"matches": [wanted], "backendRefs": [{"kind": "Service", "name": service, "weight": 1}]});
        let prefix = |path: &str| json!({"path": {"type": "PathPrefix", "value": path}});
        let header = json!({
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "Exact", "name": "X-Canary", "value": "always"}],
        });
        let loose = json!({
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "RegularExpression", "name": "X-Canary", "value": ".*"}],
        });
        let route = json!({"spec": {"rules": [
            rule(prefix("/"), "all"),
            rule(header, "canary"),
            rule(loose, "never"),
            rule(prefix("/shop"), "shop"),
            rule(json!({"path": {"type": "Exact", "value": "/shop/cart"}}), "cart"),
        ]}});
        let table = Table::of(&route, |_| true);
        for (asked, service) in [
            (asked("/", &[]), "all"),
            (asked("/shopping", &[]), "all"),
            (asked("/shop/", &[]), "shop"),
            (asked("/shop/cart", &[]), "cart"),
            (asked("/", &[("x-canary", "always")]), "canary"),
            (asked("/", &[("x-canary", "never")]), "all"),
        ] {
            let (_, rule) = table.rule_at(&asked).unwrap();
            assert_eq!(rule.backends[0].service, service, "{asked:?}");
        }
        let post = Table::of(
            &json!({"spec": {"rules": [rule(json!({"path": {"type": "PathPrefix", "value": "/"}, "method": "POST"}), "a")]}}),
            |_| true,
        );
        assert!(post.rule_at(&Asked::plain()).is_none());
    }
}
