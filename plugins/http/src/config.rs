//! What a release file sets.

use std::collections::BTreeMap;

use phasegate_plugin::{Duration, Problem, Status};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::figure::Figure;
use crate::template;

/// A URL, and what it must answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// What is asked. `{namespace}`, `{service}`, `{candidateService}` and `{version}` stand for those of the release.
    pub(crate) url: String,
    /// How it is asked. A gate changes nothing: POST is for queries.
    #[serde(default)]
    pub(crate) method: Method,
    /// Headers, by name. What is secret belongs into `credential`.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Name of the credential that the engine adds to the request.
    #[serde(default)]
    pub(crate) credential: Option<String>,
    /// How long an answer may take before it counts as none.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Duration,
    /// Statuses of which one must come.
    #[serde(default = "default_status")]
    #[schemars(length(min = 1), inner(range(min = 100, max = 599)))]
    pub(crate) expect_status: Vec<u16>,
    /// How long an answer may take at most.
    #[serde(default)]
    pub(crate) max_latency: Option<Duration>,
    /// What the answer's JSON must say.
    #[serde(default)]
    pub(crate) json: Vec<Figure>,
    /// How many observations the figures must stand on before they count.
    #[serde(default)]
    pub(crate) require_samples: Option<RequiredSamples>,
    /// What it means when nobody answers, or not in time.
    #[serde(default)]
    pub(crate) unreachable: WhenSilent,
    /// What a status means that isn't expected. `inconclusive` is for asking a metrics server, whose
    /// own troubles say nothing about the release; it needs `json`.
    #[serde(default)]
    pub(crate) error_status: WhenSilent,
}

/// How a URL is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Post,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// What silence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WhenSilent {
    #[default]
    Fail,
    Inconclusive,
}

impl WhenSilent {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Fail => Status::Fail,
            Self::Inconclusive => Status::Inconclusive,
        }
    }
}

/// Where the answer says how many observations it stands on, and how many are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RequiredSamples {
    /// JSON pointer to the number.
    pub(crate) pointer: String,
    /// The least that is needed.
    pub(crate) at_least: u64,
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_status() -> Vec<u16> {
    vec![200]
}

impl Http {
    /// Faults that the schema can't express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut fault = |pointer: &str, message: String| {
            problems.push(Problem::new(pointer, message));
        };
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            fault(
                "/url",
                format!("`{}` is neither http:// nor https://", self.url),
            );
        }
        if let Err(message) = template::check(&self.url) {
            fault("/url", message);
        }
        for name in self.headers.keys() {
            if name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("cookie") {
                // Not an RFC 6901 escape: a header's name has neither `~` nor `/` here.
                let message = "a secret does not belong into a release file; name a `credential`";
                fault(&format!("/headers/{name}"), message.to_owned());
            }
        }
        if self.expect_status.is_empty() {
            fault("/expectStatus", "no status is expected at all".to_owned());
        }
        if self.timeout == Duration::ZERO {
            fault("/timeout", "an answer needs some time".to_owned());
        }
        if let Some(max) = self.max_latency
            && max > self.timeout
        {
            let message = format!("{max} is longer than the timeout of {}", self.timeout);
            fault("/maxLatency", message);
        }
        if self.error_status == WhenSilent::Inconclusive && self.json.is_empty() {
            let message = "without `json` an unexpected status is the answer itself";
            fault("/errorStatus", message.to_owned());
        }
        if let Some(required) = &self.require_samples
            && !is_pointer(&required.pointer)
        {
            let message = format!(
                "`{}` is not a JSON pointer such as /count",
                required.pointer
            );
            fault("/requireSamples/pointer", message);
        }
        for (index, figure) in self.json.iter().enumerate() {
            for (pointer, message) in figure.problems() {
                fault(&format!("/json/{index}{pointer}"), message);
            }
        }
        problems
    }
}

/// Whether a text is a JSON pointer (RFC 6901).
pub(crate) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}
