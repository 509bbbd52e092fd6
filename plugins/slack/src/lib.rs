//! Notifier `slack`: posts notices to a channel, all of a run in one thread.

mod config;
mod message;

use phasegate_plugin::http::{self, Answer};
use phasegate_plugin::{Ask, Call, Error, Notice, Notifier, Problem, Result, notifier::Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use config::Slack;
use config::Target;

/// What Slack says where the message that is answered isn't there any more.
const THREAD_LOST: [&str; 3] = [
    "cannot_reply_to_message",
    "message_not_found",
    "thread_not_found",
];

/// Where the run's first message is.
#[derive(Debug, Deserialize, Serialize)]
struct Thread {
    /// By its id, whatever the config calls it.
    channel: String,
    ts: String,
}

/// What the Web API answers, with status 200 whether it worked or not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reply {
    ok: bool,
    channel: String,
    ts: String,
    error: String,
    needed: String,
    response_metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    messages: Vec<String>,
}

impl Notifier for Slack {
    const NAME: &'static str = "slack";
    const SUMMARY: &'static str = "posts notices to a channel of Slack, a thread for each run";

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    fn notify(&self, call: &Call, notice: &Notice) -> Result<Option<Value>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let body = message::body(call, notice);
        match self.target() {
            Some(Target::Channel { url, channel }) => self.post(&url, channel, body, notice),
            Some(Target::Webhook { url }) => self.hook(url, &body),
            None => Err(Error::misconfigured("", "there is no channel")),
        }
    }
}

impl Slack {
    /// Posts by the Web API, into the run's thread where there is one.
    fn post(
        &self,
        url: &str,
        channel: &str,
        mut body: Value,
        notice: &Notice,
    ) -> Result<Option<Value>> {
        let thread = notice.thread.as_deref();
        // What another notifier left is no thread here.
        let thread = thread.and_then(|thread| serde_json::from_str::<Thread>(thread).ok());
        let mut set = |name: &str, value: Value| {
            if let Some(body) = body.as_object_mut() {
                body.insert(name.to_owned(), value);
            }
        };
        set("channel", json!(channel));
        if let Some(thread) = &thread {
            set("channel", json!(thread.channel));
            set("thread_ts", json!(thread.ts));
            // Whoever reads the channel must not miss it.
            set(
                "reply_broadcast",
                json!(notice.severity == Severity::Critical),
            );
        }
        let reply = reply(&self.send(url, &body)?)?;
        if reply.ok {
            let new = Thread {
                channel: reply.channel,
                ts: reply.ts,
            };
            let known = thread.is_some() || new.ts.is_empty();
            return Ok(if known { None } else { Some(json!(new)) });
        }
        if thread.is_some() && THREAD_LOST.contains(&reply.error.as_str()) {
            // Somebody removed the first message; what comes now begins a new thread.
            let mut notice = notice.clone();
            notice.thread = None;
            if let Some(body) = body.as_object_mut() {
                body.remove("thread_ts");
                body.remove("reply_broadcast");
            }
            return self.post(url, channel, body, &notice);
        }
        Err(refusal(&reply))
    }

    /// Posts to an incoming webhook, which answers in words.
    fn hook(&self, url: &str, body: &Value) -> Result<Option<Value>> {
        let answer = self.send(url, body)?;
        let status = answer.status();
        if answer.is_success() {
            return Ok(None);
        }
        let message = format!("the webhook answered {status}: {}", answer.excerpt());
        Err(match status {
            429 | 500..=599 => later(&answer, message),
            403 | 404 | 410 => Error::misconfigured("/webhook", message),
            _ => Error::permanent(message),
        })
    }

    fn send(&self, url: &str, body: &Value) -> Result<Answer> {
        let mut request = http::post(url)
            .timeout(self.timeout)
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_string());
        if let Some(credential) = &self.credential {
            request = request.credential(credential);
        }
        Ok(request.send()?)
    }
}

/// What the Web API says, where it says anything.
fn reply(answer: &Answer) -> Result<Reply> {
    let status = answer.status();
    let message = || format!("Slack answered {status}: {}", answer.excerpt());
    match status {
        429 | 500..=599 => Err(later(answer, message())),
        200..=299 => answer.json().map_err(|_| Error::permanent(message())),
        _ => Err(Error::permanent(message())),
    }
}

fn later(answer: &Answer, message: String) -> Error {
    Error::Retryable {
        message,
        after: answer.retry_after(),
    }
}

/// What it means that the Web API did not post.
fn refusal(reply: &Reply) -> Error {
    let mut message = format!("Slack refuses the message: {}", reply.error);
    if !reply.needed.is_empty() {
        message.push_str(&format!(", needs {}", reply.needed));
    }
    for more in &reply.response_metadata.messages {
        message.push_str(&format!("; {more}"));
    }
    match reply.error.as_str() {
        "ratelimited"
        | "rate_limited"
        | "service_unavailable"
        | "internal_error"
        | "fatal_error"
        | "request_timeout"
        | "team_added_to_org" => Error::retryable(message),
        "channel_not_found" | "not_in_channel" | "is_archived" | "messages_tab_disabled" => {
            Error::misconfigured("/channel", format!("{message}; is the bot in the channel?"))
        }
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "missing_scope"
        | "not_allowed_token_type"
        | "no_permission" => Error::misconfigured("/credential", message),
        _ => Error::permanent(message),
    }
}

phasegate_plugin::export! {
    name: "slack",
    summary: "Posts notices to Slack",
    notifiers: [Slack],
    asks: [
        Ask::Http("slack.com:443"),
        Ask::HttpFromConfig("/url"),
        Ask::HttpFromConfig("/webhook"),
    ],
}

#[cfg(test)]
mod tests;
