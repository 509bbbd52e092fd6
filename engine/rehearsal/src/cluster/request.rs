//! What is asked of the API server, and what comes back.

use serde_json::Value;

use super::status::Failure;
use super::watch::WatchId;

/// A request to the API server.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The HTTP method in capitals.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The header `Accept`.
    pub accept: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without body; the query stands behind `?` in the target, percent-encoded.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_owned(),
            path: decode(path, false),
            query: parse_query(query),
            ..Self::default()
        }
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        if self.content_type.is_empty() {
            "application/json".clone_into(&mut self.content_type);
        }
        self
    }

    /// The first value of a query parameter, or the empty text.
    pub(super) fn param(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// Who owns what this request writes.
    pub(super) fn manager(&self) -> &str {
        match self.param("fieldManager") {
            "" => match self.user_agent.split(['/', ' ']).next() {
                Some("") | None => "unknown",
                Some(agent) => agent,
            },
            manager => manager,
        }
    }
}

/// Splits and decodes a query.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    };
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

/// Undoes percent-encoding; in queries `+` is a space.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.clone().take(2).collect();
                let code = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                match code {
                    Some(code) if digits.len() == 2 => {
                        out.push(code);
                        bytes.nth(1);
                    }
                    _ => out.push(byte),
                }
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An HTTP response.
    Answer(Answer),
    /// The connection drops without an answer, because a fault says so.
    Dropped,
    /// There will never be an answer; the connection stays open.
    Held,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The header `Retry-After` in seconds, if it is to be sent.
    pub retry_after_s: Option<u32>,
    /// What the response carries.
    pub body: Body,
}

/// The body of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it.
    Full(Vec<u8>),
    /// A stream of changes, to be taken with [`Cluster::drain_watch`].
    Watch(WatchId),
}

impl Answer {
    /// A JSON document.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::raw(status, value.to_string().into_bytes())
    }

    pub(super) fn raw(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            retry_after_s: None,
            body: Body::Full(body),
        }
    }

    pub(super) fn text(body: String) -> Self {
        Self {
            status: 200,
            content_type: "text/plain",
            retry_after_s: None,
            body: Body::Full(body.into_bytes()),
        }
    }

    pub(super) fn failure(failure: &Failure) -> Self {
        Self {
            retry_after_s: failure.retry_after_s,
            ..Self::json(failure.code, &failure.to_value())
        }
    }
}
