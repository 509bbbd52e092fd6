//! HTTP through the engine: only to granted hosts, redirects not followed, credentials added by the
//! engine.
//!
//! ```
//! # use phasegate_plugin::{http, testing::Fake};
//! # let mut world = Fake::new().http("GET https://shop.example/health", 200, r#"{"version":"1.4.0"}"#);
//! # world.run(|| -> phasegate_plugin::Result<()> {
//! let answer = http::get("https://shop.example/health").send()?;
//! let health: serde_json::Value = answer.json()?;
//! assert_eq!(health["version"], "1.4.0");
//! # Ok(())
//! # }).unwrap();
//! ```

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::phasegate::host::http::HttpError;
use crate::bindings::imports::phasegate::host::http::Request as Sent;
use crate::bindings::imports::phasegate::host::http::Response;
use crate::{Duration, Pair, host};

/// How long an answer may take where the plugin says nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The header by which a request over `wasi:http` names its credential. The engine takes it out and
/// adds the credential's own header; a request of this module says [`Request::credential`] instead.
pub const CREDENTIAL_HEADER: &str = "phasegate-credential";

/// How much of an answer's text is quoted in a message, in characters.
const QUOTED_CHARS: usize = 200;

/// Begins a `GET`.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Begins a `POST`.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A request that is being put together.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request(Sent);

impl Request {
    /// Begins a request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self(Sent {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            credential: None,
            timeout_ms: DEFAULT_TIMEOUT.as_millis(),
        })
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push(Pair::new(name, value));
        self
    }

    /// Names the credential that the engine adds. The plugin never sees its value.
    pub fn credential(mut self, name: impl Into<String>) -> Self {
        self.0.credential = Some(name.into());
        self
    }

    /// Replaces [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = timeout.as_millis();
        self
    }

    /// The body as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = Some(body.into());
        self
    }

    /// The body as JSON, with its content type.
    ///
    /// # Errors
    ///
    /// What can't be written as JSON is [`Error::Invalid`].
    pub fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Sends it and waits for the answer. Any status is an answer.
    ///
    /// # Errors
    ///
    /// There was no answer, or the engine didn't let the request through.
    pub fn send(self) -> Result<Answer, Error> {
        host::send(&self.0).map(Answer).map_err(Error::from)
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer(Response);

impl Answer {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status is 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.headers.iter();
        headers
            .find(|pair| pair.name.eq_ignore_ascii_case(name))
            .map(|pair| pair.value.as_str())
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// Whether the engine cut the body at its limit.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.0.truncated
    }

    /// The body as text; what isn't UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.body).into_owned()
    }

    /// The beginning of the body on one line, to be quoted in a message.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let text = self.text();
        let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((cut, _)) = words.char_indices().nth(QUOTED_CHARS) {
            words.truncate(cut);
            words.push('…');
        }
        words
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] says what was found instead.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.0.body).map_err(|error| {
            let cut = if self.0.truncated { ", cut off" } else { "" };
            Error::Invalid(format!(
                "the answer is not the expected JSON ({error}{cut}): {}",
                self.excerpt()
            ))
        })
    }

    /// How long the server asks to be left alone: `Retry-After` in seconds. A date is ignored,
    /// since a plugin's clock need not be the server's.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The operator didn't grant this host; the text is the line that would.
    Denied(String),
    /// No connection, or it broke before the answer was complete.
    Unreachable(String),
    /// The answer took longer than the timeout.
    TimedOut,
    /// The request can't be made, or the answer can't be read.
    Invalid(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "the request is not granted: {text}"),
            Self::Unreachable(text) => write!(f, "unreachable: {text}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(text) => Self::Denied(text),
            HttpError::Unreachable(text) => Self::Unreachable(text),
            HttpError::TimedOut => Self::TimedOut,
            HttpError::Invalid(text) => Self::Invalid(text),
        }
    }
}

impl From<Error> for crate::Error {
    /// Asking again helps where nobody answered, and nowhere else.
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(_) | Error::TimedOut => Self::retryable(error.to_string()),
            Error::Denied(_) | Error::Invalid(_) => Self::permanent(error.to_string()),
        }
    }
}
