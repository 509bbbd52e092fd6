//! One exchange with the API server: a request with its limits, and what came of it.

use std::error::Error;
use std::sync::Arc;

use ::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use ::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use phasegate_core::time::Span;
use phasegate_runtime::ports::Clock;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::{Fault, Refusal, Subject};
use crate::connect::unspoken::{about_credentials, causes, instead};

/// Most bytes of an answer that are read. A page of 500 pods is about 4 MiB.
pub const MAX_ANSWER: usize = 16 << 20;
/// Most bytes of one line of a watch: an object, far larger than etcd takes any.
const MAX_LINE: usize = 8 << 20;
/// Most bytes of the remark in the `User-Agent` header.
const MAX_REMARK: usize = 256;
/// The longest time that `Retry-After` is believed.
const MAX_RETRY_AFTER: Span = Span::from_mins(5);

/// What the API server is asked.
pub(super) struct Call {
    pub(super) method: Method,
    /// The path with its query, percent-encoded.
    pub(super) target: String,
    /// What is wanted back, where it isn't plain JSON.
    pub(super) accept: Option<&'static str>,
    pub(super) content_type: Option<&'static str>,
    /// Goes into the `User-Agent`, and so into the audit log: on whose behalf.
    pub(super) remark: Option<String>,
    pub(super) body: Option<Value>,
    pub(super) subject: Subject,
}

impl Call {
    pub(super) fn new(method: Method, target: String, subject: Subject) -> Self {
        Self {
            method,
            target,
            accept: None,
            content_type: None,
            remark: None,
            body: None,
            subject,
        }
    }

    pub(super) fn body(mut self, content_type: &'static str, body: Value) -> Self {
        self.content_type = Some(content_type);
        self.body = Some(body);
        self
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = Some(accept);
        self
    }

    pub(super) fn remark(mut self, remark: String) -> Self {
        self.remark = Some(remark);
        self
    }
}

/// Sends calls, each within a time by the clock of the world that the cluster is in.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) client: kube::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Span,
    pub(super) agent: String,
}

impl Transport {
    /// What the answer's JSON says.
    pub(super) async fn read<T: DeserializeOwned>(&self, call: Call) -> Result<T, Fault> {
        parsed(&self.bytes(call).await?)
    }

    /// The answer as text, for logs.
    pub(super) async fn text(&self, call: Call) -> Result<String, Fault> {
        let bytes = self.bytes(call).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The answer as it came.
    pub(super) async fn bytes(&self, call: Call) -> Result<Vec<u8>, Fault> {
        let request = self.request(call)?;
        let deadline = self.clock.now().plus(self.timeout);
        tokio::select! {
            biased;
            answer = self.exchange(request) => answer,
            () = self.clock.sleep_until(deadline) => Err(Fault::TimedOut(self.timeout)),
        }
    }

    /// Begins an exchange whose answer has no end of its own. The time is that for the first word of it.
    pub(super) async fn open(&self, call: Call) -> Result<Lines, Fault> {
        let request = self.request(call)?;
        let deadline = self.clock.now().plus(self.timeout);
        let begun = async {
            let response = self.client.send(request).await.map_err(|e| broken(&e))?;
            if response.status().is_success() {
                return Ok(Lines {
                    body: response.into_body(),
                    read: Vec::new(),
                });
            }
            answered(response).await.map(|_| Lines {
                body: Body::empty(),
                read: Vec::new(),
            })
        };
        tokio::select! {
            biased;
            begun = begun => begun,
            () = self.clock.sleep_until(deadline) => Err(Fault::TimedOut(self.timeout)),
        }
    }

    fn request(&self, call: Call) -> Result<Request<Body>, Fault> {
        let agent = match &call.remark {
            Some(remark) => format!("{} ({})", self.agent, printable(remark)),
            None => self.agent.clone(),
        };
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(ACCEPT, call.accept.unwrap_or("application/json"));
        if let Ok(agent) = HeaderValue::from_str(&agent) {
            request = request.header(USER_AGENT, agent);
        }
        if let Some(content_type) = call.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let body = match &call.body {
            Some(body) => Body::from(
                serde_json::to_vec(body).map_err(|error| Fault::NotSent(error.to_string()))?,
            ),
            None => Body::empty(),
        };
        request
            .body(body)
            .map_err(|error| Fault::NotSent(format!("not a request that can be sent: {error}")))
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Vec<u8>, Fault> {
        let response = self.client.send(request).await.map_err(|e| broken(&e))?;
        answered(response).await
    }
}

/// What JSON says.
pub(super) fn parsed<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(answer)
        .map_err(|error| Fault::Lost(format!("the answer is not JSON: {error}")))
}

/// The whole answer; a refusal is a fault.
async fn answered(response: Response<Body>) -> Result<Vec<u8>, Fault> {
    let (parts, body) = response.into_parts();
    let bytes = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                Fault::Lost(format!("the answer has more than {MAX_ANSWER} bytes"))
            } else {
                Fault::Lost(format!("the answer broke off: {}", chain(&*error)))
            }
        })?
        .to_bytes();
    if parts.status.is_success() {
        return Ok(bytes.into());
    }
    let told = parts.headers.get(RETRY_AFTER).and_then(seconds);
    Err(Fault::Refused(refusal(parts.status, told, &bytes)))
}

/// An answer that comes line by line.
pub(super) struct Lines {
    body: Body,
    read: Vec<u8>,
}

impl Lines {
    /// The next line; none where the answer has ended. A line that broke off is none.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end.saturating_add(1));
                return Ok(Some(std::mem::replace(&mut self.read, rest)));
            }
            if self.read.len() > MAX_LINE {
                return Err(Fault::Lost(format!(
                    "a line has more than {MAX_LINE} bytes"
                )));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(Fault::Lost(format!(
                        "the answer broke off: {}",
                        chain(&error)
                    )));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn seconds(value: &HeaderValue) -> Option<Span> {
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Span::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn refusal(status: StatusCode, retry_after: Option<Span>, body: &[u8]) -> Refusal {
    let parsed: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| {
        let text = parsed.get(name).and_then(Value::as_str).unwrap_or_default();
        printable_long(text)
    };
    let in_body = parsed
        .pointer("/details/retryAfterSeconds")
        .and_then(Value::as_u64)
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Span::from_secs(seconds).min(MAX_RETRY_AFTER));
    Refusal {
        status: status.as_u16(),
        reason: text("reason"),
        message: text("message"),
        retry_after: retry_after.or(in_body),
    }
}

/// Tells a request that never left from one that may have arrived. One whose credentials can't be had never did.
fn broken(error: &kube::Error) -> Fault {
    let unsent = |cause: &(dyn Error + 'static)| {
        let refused = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
        let unconnected = cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        refused || unconnected
    };
    if about_credentials(error).is_some() || causes(error).any(unsent) {
        Fault::NotSent(chain(error))
    } else {
        Fault::Lost(chain(error))
    }
}

/// The messages of an error and of those beneath it, without repetitions, and without what may be a secret.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    if let Some(told) = instead(error) {
        return printable_long(&told);
    }
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        // Many libraries print the cause with the error; the innermost says it shortest.
        parts.retain(|earlier| !earlier.contains(&text));
        parts.push(text);
    }
    printable_long(&parts.join(": "))
}

fn printable(text: &str) -> String {
    let visible = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.chars().take(MAX_REMARK).map(visible).collect()
}

/// A server's own words, without control characters and cut to a length that fits a journal.
pub(crate) fn printable_long(text: &str) -> String {
    const MAX_WORDS: usize = 1000;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_WORDS).map(visible).collect()
}
