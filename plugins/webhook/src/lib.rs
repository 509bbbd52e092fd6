//! Notifier `webhook`: posts every notice as JSON to a URL.

use std::collections::BTreeMap;

use phasegate_plugin::http::{self, Answer};
use phasegate_plugin::{Ask, Call, Duration, Error, Notice, Notifier, Pair, Problem, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where notices go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Where they are posted.
    url: String,
    /// Name of the credential that the engine adds to the request.
    #[serde(default)]
    credential: Option<String>,
    /// Headers, by name. What is secret belongs into `credential`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The shape of the body.
    #[serde(default)]
    format: Format,
    /// How long the receiver may take.
    #[serde(default = "default_timeout")]
    timeout: Duration,
}

/// The shape of the body.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Format {
    /// One JSON object, described in the plugin's README.
    #[default]
    Json,
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

impl Notifier for Webhook {
    const NAME: &'static str = "webhook";
    const SUMMARY: &'static str = "posts every notice as JSON to a URL";

    fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            let message = format!("`{}` is neither http:// nor https://", self.url);
            problems.push(Problem::new("/url", message));
        }
        for name in self.headers.keys() {
            if name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("cookie") {
                let message = "a secret does not belong into a release file; name a `credential`";
                problems.push(Problem::new(format!("/headers/{name}"), message));
            }
        }
        if self.timeout == Duration::ZERO {
            problems.push(Problem::new("/timeout", "the receiver needs some time"));
        }
        problems
    }

    fn notify(&self, call: &Call, notice: &Notice) -> Result<Option<Value>> {
        let problems = self.validate();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let body = match self.format {
            Format::Json => body(call, notice),
        };
        let mut request = http::post(&self.url)
            .timeout(self.timeout)
            .header("idempotency-key", &call.key)
            .json(&body)?;
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(credential) = &self.credential {
            request = request.credential(credential);
        }
        judge(&request.send()?)
    }
}

/// What is posted. Members are only ever added.
fn body(call: &Call, notice: &Notice) -> Value {
    let release = &call.release;
    let fields: Vec<_> = notice.fields.iter().map(field).collect();
    let links = notice.links.iter();
    let links: Vec<_> = links
        .map(|link| json!({ "title": link.title, "url": link.url }))
        .collect();
    json!({
        "event": notice.event,
        "severity": notice.severity.as_str(),
        "title": notice.title,
        "text": notice.text,
        "fields": fields,
        "links": links,
        "key": call.key,
        "run": release.run,
        "release": release.name,
        "version": release.version,
        "previousVersion": release.previous_version,
        "environment": release.environment,
    })
}

fn field(pair: &Pair) -> Value {
    json!({ "name": pair.name, "value": pair.value })
}

fn judge(answer: &Answer) -> Result<Option<Value>> {
    let status = answer.status();
    if answer.is_success() {
        return Ok(None);
    }
    let excerpt = answer.excerpt();
    let colon = if excerpt.is_empty() { "" } else { ": " };
    let message = format!("the receiver answered {status}{colon}{excerpt}");
    if status != 429 && !(500..600).contains(&status) {
        return Err(Error::Permanent(message));
    }
    Err(Error::Retryable {
        message,
        after: answer.retry_after(),
    })
}

phasegate_plugin::export! {
    name: "webhook",
    summary: "Posts notices to a URL",
    notifiers: [Webhook],
    asks: [Ask::HttpFromConfig("/url")],
}

#[cfg(test)]
mod tests;
