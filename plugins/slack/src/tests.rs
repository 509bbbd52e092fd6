//! The exchanges have the shapes that Slack documents for chat.postMessage
//! (<https://docs.slack.dev/reference/methods/chat.postMessage>), its rate limits
//! (<https://docs.slack.dev/apis/web-api/rate-limits>) and its incoming webhooks
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>).

use phasegate_plugin::http::Error as HttpError;
use phasegate_plugin::notifier::Severity;
use phasegate_plugin::testing::{Fake, call, notice};
use phasegate_plugin::{Duration, Error, Link, Notice, Pair, Result};
use serde_json::{Value, json};

use super::PLUGIN;

const POST: &str = "POST https://slack.com/api/chat.postMessage";
const HOOK: &str = "https://chat.example/hooks/releases";

fn config() -> Value {
    json!({ "channel": "#releases", "credential": "slack" })
}

fn posted() -> Value {
    json!({
        "ok": true, "channel": "C123ABC456", "ts": "1503435956.000247",
        "message": {
            "text": "shop 1.4.0 was rolled back", "username": "phasegate", "bot_id": "B123ABC456",
            "type": "message", "subtype": "bot_message", "ts": "1503435956.000247",
        },
    })
}

fn rolled_back() -> Notice {
    let mut notice = notice(
        "rolled-back",
        Severity::Critical,
        "shop 1.4.0 was rolled back",
    );
    notice.text = "gate <latency> failed".to_owned();
    notice.fields = vec![Pair::new("phase", "deploy"), Pair::new("by", "R&D")];
    notice.links = vec![Link::new(
        "dashboard",
        "https://grafana.example/d/1?a=1&b=2",
    )];
    notice
}

fn notify(world: &mut Fake, config: Value, notice: &Notice) -> Result<Option<Value>> {
    world.run(|| PLUGIN.notify(&call("slack", config), notice))
}

fn threaded(mut notice: Notice) -> Notice {
    notice.thread = Some(r#"{"channel":"C123ABC456","ts":"1503435956.000247"}"#.to_owned());
    notice
}

#[test]
fn the_message_tells_what_happened() {
    let mut world = Fake::new().http(POST, 200, posted());
    notify(&mut world, config(), &rolled_back()).unwrap();
    let sent = &world.sent()[0];
    assert_eq!(sent.credential.as_deref(), Some("slack"));
    assert_eq!(
        sent.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let mrkdwn = |text: &str| json!({ "type": "mrkdwn", "text": text });
    let expected = json!({
        "channel": "#releases",
        "text": "shop 1.4.0 was rolled back",
        "unfurl_links": false,
        "unfurl_media": false,
        "metadata": { "event_type": "phasegate_notice", "event_payload": {
            "key": "run-1/deploy/1", "run": "run-1", "event": "rolled-back", "severity": "critical",
        } },
        "attachments": [{
            "color": "#e01e5a",
            "fallback": "shop 1.4.0 was rolled back",
            "blocks": [
                { "type": "section", "text": mrkdwn("gate &lt;latency&gt; failed") },
                { "type": "section", "fields": [mrkdwn("*phase*\ndeploy"), mrkdwn("*by*\nR&amp;D")] },
                { "type": "section", "text": mrkdwn("<https://grafana.example/d/1?a=1&amp;b=2|dashboard>") },
            ],
        }],
    });
    assert_eq!(sent.json(), expected);
}

#[test]
fn severities_differ_in_colour() {
    let colours: Vec<_> = [
        Severity::Info,
        Severity::Success,
        Severity::Warning,
        Severity::Critical,
    ]
    .map(|severity| {
        let mut world = Fake::new().http(POST, 200, posted());
        let notice = Notice {
            severity,
            ..rolled_back()
        };
        notify(&mut world, config(), &notice).unwrap();
        world.sent()[0].json()["attachments"][0]["color"].clone()
    })
    .into();
    assert_eq!(colours, ["#439fe0", "#2eb67d", "#ecb22e", "#e01e5a"]);
}

#[test]
fn the_first_message_of_a_run_begins_its_thread() {
    let mut world = Fake::new().http(POST, 200, posted());
    let thread = notify(&mut world, config(), &rolled_back())
        .unwrap()
        .unwrap();
    assert_eq!(
        thread,
        json!({ "channel": "C123ABC456", "ts": "1503435956.000247" })
    );
    let first = world.sent()[0].json();
    assert_eq!(
        (first.get("thread_ts"), first.get("reply_broadcast")),
        (None, None)
    );

    let mut critical = rolled_back();
    critical.thread = Some(thread.to_string());
    assert_eq!(notify(&mut world, config(), &critical), Ok(None));
    let reply = world.sent()[1].json();
    assert_eq!(reply["thread_ts"], "1503435956.000247");
    assert_eq!(reply["channel"], "C123ABC456");
    assert_eq!(reply["reply_broadcast"], true);

    for severity in [Severity::Info, Severity::Success, Severity::Warning] {
        let notice = Notice {
            severity,
            ..critical.clone()
        };
        notify(&mut world, config(), &notice).unwrap();
        let sent = world.sent().last().unwrap().json();
        assert_eq!(sent["thread_ts"], "1503435956.000247");
        assert_eq!(sent["reply_broadcast"], false);
    }
}

#[test]
fn a_thread_that_is_gone_is_begun_anew() {
    let lost = json!({ "ok": false, "error": "cannot_reply_to_message" });
    let mut world = Fake::new()
        .http(POST, 200, lost.clone())
        .http(POST, 200, posted());
    let thread = notify(&mut world, config(), &threaded(rolled_back())).unwrap();
    assert_eq!(thread.unwrap()["ts"], "1503435956.000247");
    let again = world.sent()[1].json();
    assert_eq!(again["channel"], "#releases");
    assert_eq!(
        (again.get("thread_ts"), again.get("reply_broadcast")),
        (None, None)
    );

    // Said of a message that answers none, it is a refusal, and not asked again for ever.
    let mut world = Fake::new().http(POST, 200, lost);
    let refusal = notify(&mut world, config(), &threaded(rolled_back()));
    assert!(matches!(refusal, Err(Error::Permanent(_))), "{refusal:?}");
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn what_another_notifier_left_is_no_thread() {
    let mut world = Fake::new().http(POST, 200, posted());
    let mut notice = rolled_back();
    notice.thread = Some(r#"{"id":7}"#.to_owned());
    assert!(notify(&mut world, config(), &notice).unwrap().is_some());
    assert_eq!(world.sent()[0].json().get("thread_ts"), None);
}

#[test]
fn an_error_within_a_200_is_an_error() {
    for (error, pointer) in [
        ("channel_not_found", "/channel"),
        ("not_in_channel", "/channel"),
        ("is_archived", "/channel"),
        ("invalid_auth", "/credential"),
        ("token_revoked", "/credential"),
    ] {
        let mut world = Fake::new().http(POST, 200, json!({ "ok": false, "error": error }));
        let Err(Error::Misconfigured(problems)) = notify(&mut world, config(), &rolled_back())
        else {
            panic!("{error} is a fault of the config");
        };
        assert_eq!(problems[0].pointer, pointer, "{error}");
        let message = format!("Slack refuses the message: {error}");
        assert!(
            problems[0].message.starts_with(&message),
            "{}",
            problems[0].message
        );
    }
    let scope = json!({
        "ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "identify",
    });
    let mut world = Fake::new().http(POST, 200, scope);
    let message = "Slack refuses the message: missing_scope, needs chat:write";
    let expected = Err(Error::misconfigured("/credential", message));
    assert_eq!(notify(&mut world, config(), &rolled_back()), expected);

    let blocks = json!({
        "ok": false, "error": "invalid_blocks",
        "response_metadata": { "messages": ["[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"] },
    });
    let mut world = Fake::new().http(POST, 200, blocks);
    let Err(Error::Permanent(message)) = notify(&mut world, config(), &rolled_back()) else {
        panic!("asking again can't help");
    };
    assert!(
        message.contains("json-pointer:/blocks/0/text/text"),
        "{message}"
    );
}

#[test]
fn slack_in_trouble_is_asked_again_when_it_says() {
    let limited = json!({ "ok": false, "error": "ratelimited" });
    let mut world = Fake::new().http_with(POST, 429, &[("Retry-After", "30")], limited.clone());
    let answer = notify(&mut world, config(), &rolled_back());
    let Err(Error::Retryable { after, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(after, Some(Duration::from_secs(30)));

    for (status, body) in [
        (200, limited),
        (200, json!({ "ok": false, "error": "internal_error" })),
        (200, json!({ "ok": false, "error": "service_unavailable" })),
        (503, json!("upstream connect error")),
    ] {
        let mut world = Fake::new().http(POST, status, body.clone());
        let answer = notify(&mut world, config(), &rolled_back());
        assert!(
            matches!(answer, Err(Error::Retryable { .. })),
            "{body}: {answer:?}"
        );
    }
    for error in [
        HttpError::TimedOut,
        HttpError::Unreachable("refused".to_owned()),
    ] {
        let mut world = Fake::new().http_error(POST, error.clone());
        let expected = Err(Error::retryable(error.to_string()));
        assert_eq!(notify(&mut world, config(), &rolled_back()), expected);
    }
}

#[test]
fn what_is_not_slack_is_no_success() {
    for (status, body) in [(200, "<html>Sign in</html>"), (302, ""), (403, "blocked")] {
        let mut world = Fake::new().http(POST, status, body);
        let answer = notify(&mut world, config(), &rolled_back());
        assert!(
            matches!(answer, Err(Error::Permanent(_))),
            "{status}: {answer:?}"
        );
    }
}

#[test]
fn a_message_keeps_within_slacks_limits() {
    let mut notice = rolled_back();
    notice.title = "<".repeat(5_000);
    notice.text = "&".repeat(5_000);
    notice.fields = (0..95)
        .map(|n| Pair::new(format!("field {n}").repeat(100), ">".repeat(3_000)))
        .collect();
    notice.links = (0..200)
        .map(|n| Link::new(format!("link {n}"), format!("https://g.example/{n}?a&b")))
        .collect();
    let mut world = Fake::new().http(POST, 200, posted());
    notify(&mut world, config(), &notice).unwrap();
    let body = world.sent()[0].json();
    let length = |value: &Value| value.as_str().unwrap().chars().count();
    assert!(length(&body["text"]) <= 4_000);
    let blocks = body["attachments"][0]["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        if let Some(text) = block.get("text") {
            assert!(length(&text["text"]) <= 3_000);
        }
        for field in block
            .get("fields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            assert!(length(&field["text"]) <= 2_000);
        }
        let fields = block.get("fields").and_then(Value::as_array).map(Vec::len);
        assert!(fields.is_none_or(|fields| fields <= 10));
    }
}

#[test]
fn a_bare_notice_has_no_empty_blocks() {
    let mut world = Fake::new().http(POST, 200, posted());
    let bare = notice("started", Severity::Info, "shop 1.4.0");
    notify(&mut world, config(), &bare).unwrap();
    assert_eq!(world.sent()[0].json().get("attachments"), None);
}

#[test]
fn an_incoming_webhook_has_no_threads() {
    let post = format!("POST {HOOK}");
    let mut world = Fake::new().http(&post, 200, "ok");
    let config = || json!({ "webhook": HOOK });
    assert_eq!(
        notify(&mut world, config(), &threaded(rolled_back())),
        Ok(None)
    );
    let body = world.sent()[0].json();
    assert_eq!(body["text"], "shop 1.4.0 was rolled back");
    assert_eq!((body.get("channel"), body.get("thread_ts")), (None, None));
    assert_eq!(world.sent()[0].credential, None);

    for (status, said, expected) in [
        (400, "invalid_payload", "permanent"),
        (403, "action_prohibited", "/webhook"),
        (404, "channel_not_found", "/webhook"),
        (404, "no_service", "/webhook"),
        (410, "channel_is_archived", "/webhook"),
        (429, "rate_limited", "retryable"),
        (500, "rollup_error", "retryable"),
    ] {
        let mut world = Fake::new().http_with(&post, status, &[("Retry-After", "1")], said);
        let error = notify(&mut world, config(), &rolled_back()).unwrap_err();
        let found = match &error {
            Error::Permanent(_) => "permanent",
            Error::Misconfigured(problems) => &problems[0].pointer,
            Error::Retryable { .. } | Error::Pending(_) => "retryable",
        };
        assert_eq!(found, expected, "{said}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.to_string().contains("hooks"), "no address: {error}");
    }
}

#[test]
fn the_api_can_be_elsewhere() {
    let request = "POST https://slack-gov.com/api/chat.postMessage";
    let mut world = Fake::new().http(request, 200, posted());
    let config =
        json!({ "channel": "C1", "credential": "slack", "url": "https://slack-gov.com/api/" });
    assert!(notify(&mut world, config, &rolled_back()).is_ok());
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    let with = |name: &str, value: Value| {
        let mut config = config();
        config[name] = value;
        config
    };
    let secret = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
    for (config, pointer) in [
        (json!({}), ""),
        (json!({ "channel": "#releases" }), ""),
        (with("channel", json!(" ")), "/channel"),
        (with("webhook", json!(HOOK)), "/webhook"),
        (with("url", json!("slack.com")), "/url"),
        (with("timeout", json!("0s")), "/timeout"),
        (with("token", json!("x")), "/token"),
        (json!({ "webhook": "hooks" }), "/webhook"),
        (
            json!({ "webhook": HOOK, "url": "https://slack.com/api" }),
            "/url",
        ),
        (json!({ "webhook": secret }), "/webhook"),
        (
            json!({ "webhook": secret.replace("https://hooks", "HTTPS://Hooks") }),
            "/webhook",
        ),
        (
            json!({ "webhook": secret.replace(".com/", ".com:443/"), "credential": "hook" }),
            "/webhook",
        ),
        (json!({ "webhook": "https://hooks.slack.com" }), "/webhook"),
    ] {
        let found = PLUGIN.validate("notifier", "slack", &config.to_string());
        let first = found.first().map(|problem| problem.pointer.as_str());
        assert_eq!(first, Some(pointer), "{config}: {found:?}");
        let shown = format!("{found:?}");
        assert!(
            !shown.contains("XXXX"),
            "the secret is not repeated: {shown}"
        );
    }
    let own = |url: &str| json!({ "webhook": url, "credential": "hook" });
    for config in [
        config(),
        own("https://hooks.slack.com"),
        own("https://hooks.slack.com:443/"),
        json!({ "webhook": "https://hooks.slack.company/relay" }),
    ] {
        let found = PLUGIN.validate("notifier", "slack", &config.to_string());
        assert!(found.is_empty(), "{config}: {found:?}");
    }
}

#[test]
fn a_webhook_of_slacks_own_is_posted_to_by_its_credential() {
    let mut world = Fake::new().http("POST https://hooks.slack.com", 200, "ok");
    let config = json!({ "webhook": "https://hooks.slack.com", "credential": "hook" });
    assert!(notify(&mut world, config, &rolled_back()).is_ok());
    let sent = world.sent().last().unwrap();
    assert_eq!(sent.credential.as_deref(), Some("hook"));
}
