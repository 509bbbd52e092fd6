//! The HTTP API of Prometheus over scripted answers: instant and range queries, by GET or by a form.

use std::collections::BTreeMap;

use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::HttpRequest;
use serde_json::{Value, json};

use super::promql;
use crate::cluster::{glob, parse_query};
use crate::scenario::prometheus::{Figure, PromRule, Sample, Special};

/// Most points of one series in an answer, as in Prometheus.
const MAX_POINTS: u64 = 11_000;

/// What the queries at one host are answered.
#[derive(Debug)]
pub(super) struct Script {
    host: String,
    rules: Vec<(PromRule, u32)>,
}

impl Script {
    pub(super) fn new(host: &str, rules: &[PromRule]) -> Self {
        Self {
            host: host.to_owned(),
            rules: rules.iter().map(|rule| (rule.clone(), 0)).collect(),
        }
    }

    pub(super) fn is_at(&self, host: &str, authority: &str) -> bool {
        glob(&self.host, host) || glob(&self.host, authority)
    }

    /// The rule for a query so long after the beginning.
    pub(super) fn rule(&mut self, query: &Query, elapsed: Span) -> Option<PromRule> {
        for (rule, used) in &mut self.rules {
            let now = rule.from.is_none_or(|from| elapsed >= from)
                && rule.until.is_none_or(|until| elapsed < until);
            if !now || !rule.fits(&query.text) {
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
}

/// A query, as it came.
pub(super) struct Query {
    /// What is asked.
    pub(super) text: String,
    /// The labels that it selects by, and the other parameters.
    pub(super) asked: Vec<(String, String)>,
    kind: Kind,
}

enum Kind {
    Instant(Timestamp),
    Range {
        start: Timestamp,
        end: Timestamp,
        step: Span,
    },
}

/// An answer: its status and its document.
pub(super) type Reply = (u16, Value);

fn error(status: u16, message: &str) -> Reply {
    let kind = match status {
        400 => "bad_data",
        404 => "not_found",
        422 => "execution",
        499 => "canceled",
        503 => "timeout",
        _ => "internal",
    };
    let body = json!({"status": "error", "errorType": kind, "error": message});
    (status, body)
}

impl Query {
    /// Reads a request.
    ///
    /// # Errors
    /// What Prometheus answers to a request that is none.
    pub(super) fn read(request: &HttpRequest, now: Timestamp) -> Result<Self, Reply> {
        let uri = request.url.parse::<http::Uri>().ok();
        let path = uri.as_ref().map_or("", |uri| uri.path());
        let range = match path {
            "/api/v1/query" => false,
            "/api/v1/query_range" => true,
            _ => return Err(error(404, "page not found")),
        };
        let mut parameters =
            parse_query(uri.as_ref().and_then(|uri| uri.query()).unwrap_or_default());
        match request.method.as_str() {
            "GET" => {}
            "POST" => parameters.extend(form(request)),
            _ => return Err(error(405, "method not allowed")),
        }
        let given = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let text = given("query").unwrap_or_default();
        let labels = promql::labels(&text)
            .map_err(|why| error(400, &format!("invalid parameter \"query\": {why}")))?;
        let time = |name: &str| -> Result<Option<Timestamp>, Reply> {
            let Some(value) = given(name) else {
                return Ok(None);
            };
            let parsed = timestamp(&value).ok_or_else(|| {
                let why = format!("cannot parse \"{value}\" to a valid timestamp");
                error(400, &format!("invalid parameter \"{name}\": {why}"))
            })?;
            Ok(Some(parsed))
        };
        let kind = if range {
            let needed = |name: &str| {
                let why =
                    format!("invalid parameter \"{name}\": cannot parse \"\" to a valid timestamp");
                time(name)?.ok_or_else(|| error(400, &why))
            };
            let (start, end) = (needed("start")?, needed("end")?);
            let step = step(&given("step").unwrap_or_default())?;
            check_range(start, end, step)?;
            Kind::Range { start, end, step }
        } else {
            Kind::Instant(time("time")?.unwrap_or(now))
        };
        const OWN: [&str; 7] = ["query", "time", "start", "end", "step", "timeout", "limit"];
        let others = parameters
            .into_iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()));
        Ok(Self {
            text,
            asked: labels.into_iter().chain(others).collect(),
            kind,
        })
    }

    /// Answers it by a rule; where there is none, there is no data. `figure` gives a series' figure at a time.
    pub(super) fn answer(
        &self,
        rule: Option<&PromRule>,
        figure: &dyn Fn(&str, Timestamp) -> Option<f64>,
    ) -> Reply {
        if let Some(status) = rule.and_then(|rule| rule.error) {
            return error(status, "the scenario says so");
        }
        let single = rule
            .and_then(|rule| rule.value.clone())
            .map(|value| Sample {
                labels: BTreeMap::new(),
                value,
            });
        let samples: Vec<&Sample> = rule
            .into_iter()
            .flat_map(|rule| rule.samples.iter())
            .chain(single.as_ref())
            .collect();
        let at = |sample: &Sample, time: Timestamp| -> Option<Value> {
            let text = match &sample.value {
                Figure::Number(number) => text(*number),
                Figure::Special(Special::NaN) => "NaN".to_owned(),
                Figure::Special(Special::Infinite) => "+Inf".to_owned(),
                Figure::Special(Special::NegativeInfinite) => "-Inf".to_owned(),
                Figure::Series { series } => text(figure(series, time)?),
            };
            Some(json!([seconds(time), text]))
        };
        let (kind, result): (&str, Vec<Value>) = match &self.kind {
            Kind::Instant(time) => (
                "vector",
                samples
                    .iter()
                    .filter_map(|sample| {
                        let value = at(sample, *time)?;
                        Some(json!({"metric": sample.labels, "value": value}))
                    })
                    .collect(),
            ),
            Kind::Range { start, end, step } => (
                "matrix",
                samples
                    .iter()
                    .filter_map(|sample| {
                        let times = times(*start, *end, *step);
                        let values: Vec<Value> =
                            times.filter_map(|time| at(sample, time)).collect();
                        (!values.is_empty())
                            .then(|| json!({"metric": sample.labels, "values": values}))
                    })
                    .collect(),
            ),
        };
        let data = json!({"resultType": kind, "result": result});
        (200, json!({"status": "success", "data": data}))
    }
}

fn times(start: Timestamp, end: Timestamp, step: Span) -> impl Iterator<Item = Timestamp> {
    std::iter::successors(Some(start), move |time| Some(time.plus(step)))
        .take_while(move |time| *time <= end)
}

/// The parameters of a form in the body.
fn form(request: &HttpRequest) -> Vec<(String, String)> {
    let is_form = request.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("content-type")
            && header
                .value
                .starts_with("application/x-www-form-urlencoded")
    });
    let body = request.body.as_deref().filter(|_| is_form);
    parse_query(&String::from_utf8_lossy(body.unwrap_or_default()))
}

fn check_range(start: Timestamp, end: Timestamp, step: Span) -> Result<(), Reply> {
    if end < start {
        let why = "invalid parameter \"end\": end timestamp must not be before start time";
        return Err(error(400, why));
    }
    let points = end.since(start).as_millis() / step.as_millis().max(1);
    if points > MAX_POINTS {
        let why = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(error(400, why));
    }
    Ok(())
}

fn step(text: &str) -> Result<Span, Reply> {
    let span = match text.parse::<f64>() {
        Ok(seconds) => millis(seconds).map(Span::from_millis),
        Err(_) => text.parse::<Span>().ok(),
    };
    match span {
        Some(span) if span > Span::ZERO => Ok(span),
        Some(_) => Err(error(
            400,
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        )),
        None => Err(error(
            400,
            &format!("invalid parameter \"step\": cannot parse \"{text}\" to a valid duration"),
        )),
    }
}

/// Seconds since the epoch with a fraction, or RFC 3339.
fn timestamp(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(seconds) => millis(seconds).map(Timestamp::from_millis),
        Err(_) => text.parse().ok(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what doesn't fit is refused before"
)]
fn millis(seconds: f64) -> Option<u64> {
    let millis = (seconds * 1000.0).round();
    (0.0..9e15).contains(&millis).then_some(millis as u64)
}

/// As Prometheus writes times: seconds, with as much of a fraction as there is.
fn seconds(time: Timestamp) -> Value {
    let millis = time.as_millis();
    if millis.is_multiple_of(1000) {
        json!(millis / 1000)
    } else {
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
        let seconds = millis as f64 / 1000.0;
        json!(seconds)
    }
}

/// As Prometheus writes figures: text, the shortest that reads back.
fn text(figure: f64) -> String {
    if figure.is_nan() {
        "NaN".to_owned()
    } else if figure.is_infinite() {
        if figure > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        figure.to_string()
    }
}
