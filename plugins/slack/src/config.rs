//! What a release file sets.

use phasegate_plugin::{Duration, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

/// Slack's Web API.
const API: &str = "https://slack.com/api";
/// Hosts of Slack's incoming webhooks, whose addresses are secrets.
const HOOKS: [&str; 2] = ["https://hooks.slack.com", "https://hooks.slack-gov.com"];

/// Where notices go: a channel through Slack's Web API, or an incoming webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// The channel: its id (`C0123456789`), or its name.
    #[serde(default)]
    pub(crate) channel: Option<String>,
    /// Name of the credential that the engine adds: the bot's token.
    #[serde(default)]
    pub(crate) credential: Option<String>,
    /// The Web API, for whom it is elsewhere: `https://slack-gov.com/api`.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Instead of `channel`: an incoming webhook, without threads. Of one whose address is a secret, as Slack's
    /// own are, the host only (`https://hooks.slack.com`), with a `credential` that holds the whole.
    #[serde(default)]
    pub(crate) webhook: Option<String>,
    /// How long Slack may take.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Duration,
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// What follows the host of an address, where that is the host.
fn beneath<'a>(url: &'a str, host: &str) -> Option<&'a str> {
    let longer = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let rest = url.strip_prefix(host)?;
    (!rest.starts_with(longer)).then_some(rest)
}

/// Where a message is posted.
pub(crate) enum Target<'a> {
    Channel { url: String, channel: &'a str },
    Webhook { url: &'a str },
}

impl Slack {
    /// None where the config has problems.
    pub(crate) fn target(&self) -> Option<Target<'_>> {
        match (&self.channel, &self.webhook) {
            (Some(channel), None) => {
                let base = self.url.as_deref().unwrap_or(API).trim_end_matches('/');
                let url = format!("{base}/chat.postMessage");
                Some(Target::Channel { url, channel })
            }
            (None, Some(url)) => Some(Target::Webhook { url }),
            _ => None,
        }
    }

    /// Faults that the schema can't express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut fault = |pointer: &str, message: &str| {
            problems.push(Problem::new(pointer, message));
        };
        match (&self.channel, &self.webhook) {
            (None, None) => fault("", "give a `channel` and a `credential`, or a `webhook`"),
            (Some(_), Some(_)) => fault("/webhook", "give either a `channel` or a `webhook`"),
            (Some(channel), None) if channel.trim().is_empty() => {
                fault("/channel", "a channel has a name or an id");
            }
            (Some(_), None) if self.credential.is_none() => {
                fault("", "a channel needs a `credential` with the bot's token");
            }
            (None, Some(_)) if self.url.is_some() => {
                fault("/url", "a webhook is an address by itself");
            }
            _ => {}
        }
        for (pointer, url) in [("/url", &self.url), ("/webhook", &self.webhook)] {
            let Some(url) = url else {
                continue;
            };
            let lower = url.to_ascii_lowercase();
            if !lower.starts_with("http://") && !lower.starts_with("https://") {
                fault(pointer, "it is neither http:// nor https://");
            } else if let Some(path) = HOOKS.iter().find_map(|hooks| beneath(&lower, hooks)) {
                if !["", "/", ":443", ":443/"].contains(&path) {
                    let message = "this address is a secret by itself and would stand in plan and \
                                   journal; give the host only, and the whole as a `credential` with `url: true`";
                    fault(pointer, message);
                } else if self.credential.is_none() {
                    fault(pointer, "its `credential` has to hold the whole address");
                }
            }
        }
        if self.timeout == Duration::ZERO {
            fault("/timeout", "Slack needs some time");
        }
        problems
    }
}
