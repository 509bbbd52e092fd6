//! The requests to Prometheus, and what its refusals mean.

use phasegate_plugin::http::{self, Answer};
use phasegate_plugin::{Duration, Error, Problem, Result};

use crate::answer::{Found, Reply};
use crate::config::Prometheus;

/// Longer addresses are sent as a form: servers and proxies take 8 KB at least, and some cut earlier.
const LONGEST_GET: usize = 2_000;

/// Where a query stands in the config, and the query with its placeholders filled in.
pub(crate) struct Query {
    pub(crate) pointer: &'static str,
    pub(crate) text: String,
}

/// When a query is evaluated.
pub(crate) enum When {
    /// By the server's own clock, so that clocks that differ can't lead to old data.
    Now,
    /// At this time, in milliseconds since the Unix epoch.
    At(u64),
    /// At each step from one time to another.
    Range {
        start: u64,
        end: u64,
        step: Duration,
    },
}

/// What came back, and what the server warned of.
pub(crate) struct Told {
    pub(crate) found: Found,
    pub(crate) warnings: Vec<String>,
}

impl Told {
    fn no_data(reason: String) -> Self {
        Self {
            found: Found::NoData(reason),
            warnings: Vec::new(),
        }
    }
}

/// Asks one query.
pub(crate) fn ask(config: &Prometheus, query: &Query, when: &When) -> Result<Told> {
    let answer = send(config, query, when)?;
    let status = answer.status();
    let reply: Option<Reply> = answer.json().ok();
    match (status, reply) {
        (200..=299, Some(reply)) if reply.status == "success" => read(query, when, reply),
        (200..=299, _) => Ok(Told::no_data(format!(
            "the answer is not one of Prometheus' API: {}{}",
            answer.excerpt(),
            if answer.truncated() { ", cut off" } else { "" },
        ))),
        // What the query joins changes while pods come and go, so that it may succeed again.
        (422, Some(reply)) => Ok(Told::no_data(format!(
            "Prometheus can't carry the query out: {}",
            reply.error
        ))),
        (400, Some(reply)) if reply.error_type == "bad_data" => {
            let message = format!("Prometheus refuses the query: {}", reply.error);
            Err(Error::misconfigured(query.pointer, message))
        }
        (_, reply) => Err(refusal(&answer, reply)),
    }
}

fn send(config: &Prometheus, query: &Query, when: &When) -> Result<Answer> {
    let mut fields = vec![
        ("query", query.text.clone()),
        ("timeout", format!("{}ms", config.timeout.as_millis())),
    ];
    let path = match when {
        When::Now => "query",
        When::At(at) => {
            fields.push(("time", seconds(*at)));
            "query"
        }
        When::Range { start, end, step } => {
            fields.push(("start", seconds(*start)));
            fields.push(("end", seconds(*end)));
            fields.push(("step", seconds(u64::from(step.as_millis()))));
            "query_range"
        }
    };
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let form = pairs.join("&");
    let address = format!("{}/api/v1/{path}", config.url.trim_end_matches('/'));
    let whole = format!("{address}?{form}");
    let mut request = if whole.len() <= LONGEST_GET {
        http::get(whole)
    } else {
        http::post(address)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
    };
    request = request.timeout(config.timeout);
    for (name, value) in &config.headers {
        request = request.header(name, value);
    }
    if let Some(credential) = &config.credential {
        request = request.credential(credential);
    }
    Ok(request.send()?)
}

fn read(query: &Query, when: &When, reply: Reply) -> Result<Told> {
    let Some(data) = reply.data else {
        return Ok(Told::no_data("the answer holds no data".to_owned()));
    };
    if data.is_matrix() && !matches!(when, When::Range { .. }) {
        let message = "it gives points over time: use a function such as rate() or \
                       last_over_time(), or set `range`";
        return Err(Error::misconfigured(query.pointer, message));
    }
    let found = match data.read() {
        Ok(found) => found,
        Err(error) => Found::NoData(format!("the answer can't be read: {error}")),
    };
    if let Found::WrongKind(message) = found {
        return Err(Error::misconfigured(query.pointer, message));
    }
    Ok(Told {
        found,
        warnings: reply.warnings,
    })
}

/// Why there is no verdict.
fn refusal(answer: &Answer, reply: Option<Reply>) -> Error {
    let status = answer.status();
    let said = match reply {
        Some(reply) if !reply.error.is_empty() => reply.error,
        _ => answer.excerpt(),
    };
    match status {
        429 | 500..=599 => Error::Retryable {
            message: format!("Prometheus answered {status}: {said}"),
            after: answer.retry_after(),
        },
        404 => Error::Misconfigured(vec![Problem::new(
            "/url",
            format!("there is no API of Prometheus (404): {said}"),
        )]),
        401 | 403 => Error::permanent(format!(
            "Prometheus refuses access ({status}); the credential is missing or not the right one: {said}"
        )),
        300..=399 => Error::permanent(format!(
            "Prometheus answered {status} and leads to {}; redirects aren't followed",
            answer.header("location").unwrap_or("nowhere")
        )),
        _ => Error::permanent(format!("Prometheus answered {status}: {said}")),
    }
}

/// `1795611502.491`.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Percent-encodes what isn't unreserved (RFC 3986), for addresses and forms.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
