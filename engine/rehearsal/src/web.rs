//! The simulated network outside the API server: what HTTP requests of plugins are answered.
//!
//! A scenario's rules come first. Where none fits and the host is that of a Service, or of a route that
//! leads to one, an application answers for one of its ready endpoints - as the data plane sees them,
//! in turn - with the version that the endpoint runs. Behind some hosts a scripted Prometheus answers.
//! Everything else is unreachable.

mod place;
mod prometheus;
mod promql;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::Pair;
use phasegate_runtime::ports::{HttpError, HttpRequest, HttpResponse};
use serde_json::json;

use self::place::{Place, Turns};
use self::prometheus::{Query, Script};
use crate::cluster::{Cluster, Endpoint, Kind, glob, parse_query, tag};
use crate::scenario::series::{self, Moment};
use crate::scenario::{HttpRule, Scenario, Series};

/// Most requests that are kept for the observer.
pub const MAX_EXCHANGES: usize = 20_000;
/// How long an answer takes where no rule says it.
const LATENCY: Span = Span::from_millis(20);

/// A request as the observer sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Exchange {
    /// When it was sent.
    pub at: Timestamp,
    /// Its method.
    pub method: String,
    /// Its address.
    pub url: String,
    /// Its body, as text.
    pub body: String,
    /// The status of the answer; none where there was no answer.
    pub status: Option<u16>,
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This, after so long.
    Response(HttpResponse, Span),
    /// Nothing, at once.
    Error(HttpError),
    /// Nothing, ever.
    Hang,
}

/// The simulated network.
#[derive(Debug)]
pub struct Web {
    start: Timestamp,
    rules: Vec<(HttpRule, u32)>,
    series: BTreeMap<String, Series>,
    prometheus: Vec<Script>,
    turns: BTreeMap<String, usize>,
    routes: Turns,
    exchanges: Vec<Exchange>,
}

impl Web {
    /// The network of a scenario.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            start: scenario.start(),
            rules: scenario.http.iter().map(|rule| (rule.clone(), 0)).collect(),
            series: scenario.series.clone(),
            prometheus: scenario
                .prometheus
                .iter()
                .map(|(host, rules)| Script::new(host, rules))
                .collect(),
            turns: BTreeMap::new(),
            routes: Turns::default(),
            exchanges: Vec::new(),
        }
    }

    /// The requests so far.
    #[must_use]
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Answers a request. The cluster is at the present time.
    pub fn answer(&mut self, cluster: &Cluster, request: &HttpRequest) -> Answer {
        let answer = self.decide(cluster, request);
        if self.exchanges.len() < MAX_EXCHANGES {
            self.exchanges.push(Exchange {
                at: cluster.now(),
                method: request.method.clone(),
                url: request.url.clone(),
                body: request
                    .body
                    .as_deref()
                    .map(|body| String::from_utf8_lossy(body).into_owned())
                    .unwrap_or_default(),
                status: match &answer {
                    Answer::Response(response, _) => Some(response.status),
                    Answer::Error(_) | Answer::Hang => None,
                },
            });
        }
        answer
    }

    fn decide(&mut self, cluster: &Cluster, request: &HttpRequest) -> Answer {
        let Ok(uri) = request.url.parse::<http::Uri>() else {
            return Answer::Error(HttpError::Invalid(format!(
                "`{}` is not an address",
                request.url
            )));
        };
        let Some(authority) = uri.authority().map(ToString::to_string) else {
            return Answer::Error(HttpError::Invalid(format!(
                "`{}` names no host",
                request.url
            )));
        };
        let host = uri.host().unwrap_or_default().to_owned();
        let scripted = self
            .prometheus
            .iter()
            .position(|script| script.is_at(&host, &authority));
        let place = match scripted {
            Some(_) => Place::Elsewhere,
            None => self.routes.place(cluster, request, &host),
        };
        let endpoint = match &place {
            Place::Service {
                namespace, name, ..
            } => self.endpoint(cluster, namespace, name),
            Place::Elsewhere | Place::Refused(..) => None,
        };
        let version = endpoint
            .as_ref()
            .map(|endpoint| tag(&endpoint.image).to_owned());
        // The application is asked only where a pod is there to answer for it.
        let reachable = matches!(place, Place::Elsewhere) || endpoint.is_some();
        let wanted = Wanted {
            method: &request.method,
            host: &host,
            authority: &authority,
            path: uri.path(),
            version: version.as_deref(),
        };
        if reachable && let Some(rule) = self.rule(cluster.now(), &wanted) {
            return self.by_rule(cluster, &rule, request, &uri, version.as_deref());
        }
        if let Some(host) = scripted {
            return self.by_prometheus(cluster, request, host);
        }
        let alive = endpoint.as_ref().is_some_and(|endpoint| endpoint.alive);
        by_application(
            &place,
            version.filter(|_| alive),
            endpoint.is_some(),
            request,
        )
        .unwrap_or_else(|| {
            Answer::Error(HttpError::Unreachable(format!(
                "nothing answers at {authority}"
            )))
        })
    }

    fn rule(&mut self, now: Timestamp, wanted: &Wanted<'_>) -> Option<HttpRule> {
        let elapsed = now.since(self.start);
        for (rule, used) in &mut self.rules {
            if !wanted.fits(rule, elapsed) {
                continue;
            }
            *used = used.saturating_add(1);
            let turn = used.saturating_sub(rule.skip);
            if *used > rule.skip && rule.count.is_none_or(|count| turn <= count) {
                return Some(rule.clone());
            }
        }
        None
    }

    /// What figures are to be of a time, for what is asked.
    fn moment(&self, cluster: &Cluster, at: Timestamp, asked: Vec<(String, String)>) -> Moment {
        Moment {
            start: self.start,
            at,
            changed: cluster.template_changed(at),
            shifted: cluster.traffic_shifted(at),
            share: cluster.candidate_share(at).map(|share| share * 100.0),
            asked,
        }
    }

    fn by_prometheus(&mut self, cluster: &Cluster, request: &HttpRequest, host: usize) -> Answer {
        let now = cluster.now();
        let query = Query::read(request, now);
        let rule = match &query {
            Ok(query) => self
                .prometheus
                .get_mut(host)
                .and_then(|script| script.rule(query, now.since(self.start))),
            Err(_) => None,
        };
        let (status, body) = match query {
            Ok(query) => query.answer(rule.as_ref(), &|name, at| {
                let moment = self.moment(cluster, at, query.asked.clone());
                series::figure(&self.series, name, &moment)
            }),
            Err(refusal) => refusal,
        };
        let after = rule.and_then(|rule| rule.after).unwrap_or(LATENCY);
        let json = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        let body = body.to_string().into_bytes();
        Answer::Response(
            response(status, &json, body, request.max_body, after),
            after,
        )
    }

    fn by_rule(
        &self,
        cluster: &Cluster,
        rule: &HttpRule,
        request: &HttpRequest,
        uri: &http::Uri,
        version: Option<&str>,
    ) -> Answer {
        let now = cluster.now();
        if rule.hang {
            return Answer::Hang;
        }
        if rule.unreachable {
            return Answer::Error(HttpError::Unreachable(
                "the scenario cuts the connection".to_owned(),
            ));
        }
        let mut asked = uri.query().map(parse_query).unwrap_or_default();
        asked.extend(version.map(|version| ("version".to_owned(), version.to_owned())));
        let moment = self.moment(cluster, now, asked);
        let figure = |name: &str| series::figure(&self.series, name, &moment);
        let after = rule.after.unwrap_or(LATENCY);
        let body = rule.body(&figure);
        Answer::Response(
            response(
                rule.status.unwrap_or(200),
                &rule.headers,
                body,
                request.max_body,
                after,
            ),
            after,
        )
    }

    /// The next of the ready endpoints, in turn.
    fn endpoint(&mut self, cluster: &Cluster, namespace: &str, service: &str) -> Option<Endpoint> {
        let ready = cluster.ready_endpoints(namespace, service);
        let turn = self
            .turns
            .entry(format!("{namespace}/{service}"))
            .or_default();
        let chosen = ready.get(turn.checked_rem(ready.len())?).cloned();
        *turn = turn.wrapping_add(1);
        chosen
    }
}

/// What the application answers, or whoever stands in front of it; none where nobody does. The version
/// is that of the pod that is asked, if one answers.
fn by_application(
    place: &Place,
    version: Option<String>,
    sent: bool,
    request: &HttpRequest,
) -> Option<Answer> {
    let answer = |status: u16, body: String| {
        let headers = BTreeMap::new();
        let body = body.into_bytes();
        Answer::Response(
            response(status, &headers, body, request.max_body, LATENCY),
            LATENCY,
        )
    };
    let (namespace, name, by_gateway) = match place {
        Place::Elsewhere => return None,
        Place::Refused(status, why) => return Some(answer(*status, why.clone())),
        Place::Service {
            namespace,
            name,
            by_gateway,
        } => (namespace, name, *by_gateway),
    };
    if let Some(version) = version {
        let body = json!({"status": "ok", "version": version});
        return Some(answer(200, body.to_string()));
    }
    let why = if sent {
        "the pod is gone, and the data plane does not know it yet".to_owned()
    } else {
        format!("no ready endpoint behind {name}.{namespace}")
    };
    Some(if by_gateway {
        answer(503, why)
    } else {
        Answer::Error(HttpError::Unreachable(why))
    })
}

struct Wanted<'a> {
    method: &'a str,
    host: &'a str,
    authority: &'a str,
    path: &'a str,
    version: Option<&'a str>,
}

impl Wanted<'_> {
    fn fits(&self, rule: &HttpRule, elapsed: Span) -> bool {
        rule.host
            .as_deref()
            .is_none_or(|host| glob(host, self.host) || glob(host, self.authority))
            && rule
                .path
                .as_deref()
                .is_none_or(|path| glob(path, self.path))
            && rule
                .method
                .as_deref()
                .is_none_or(|method| method.eq_ignore_ascii_case(self.method))
            && rule
                .version
                .as_deref()
                .is_none_or(|version| self.version == Some(version))
            && rule.from.is_none_or(|from| elapsed >= from)
            && rule.until.is_none_or(|until| elapsed < until)
    }
}

fn response(
    status: u16,
    headers: &BTreeMap<String, String>,
    mut body: Vec<u8>,
    most: usize,
    took: Span,
) -> HttpResponse {
    let truncated = body.len() > most;
    body.truncate(most);
    let headers = headers
        .iter()
        .map(|(name, value)| Pair::new(name, value))
        .collect();
    HttpResponse {
        status,
        headers,
        body,
        truncated,
        took,
    }
}

/// The Service that a host names: `name`, `name.namespace`, `name.namespace.svc…`.
fn service_of(cluster: &Cluster, host: &str) -> Option<(String, String)> {
    let mut parts = host.split('.');
    let name = parts.next()?;
    let namespace = parts.next().unwrap_or("default");
    let rest = parts.collect::<Vec<_>>().join(".");
    let known = ["", "svc", "svc.cluster.local"];
    (known.contains(&rest.as_str()) && cluster.get(Kind::Service, namespace, name).is_some())
        .then(|| (namespace.to_owned(), name.to_owned()))
}
