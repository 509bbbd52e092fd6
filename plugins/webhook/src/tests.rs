use phasegate_plugin::http::Error as HttpError;
use phasegate_plugin::notifier::Severity;
use phasegate_plugin::testing::{Fake, call, notice};
use phasegate_plugin::{Duration, Error, Link, Notice, Pair, Result};
use serde_json::{Value, json};

use super::PLUGIN;

const URL: &str = "https://hooks.example/phasegate";
const POST: &str = "POST https://hooks.example/phasegate";

fn rolled_back() -> Notice {
    let mut notice = notice(
        "rolled-back",
        Severity::Critical,
        "shop 1.4.0 was rolled back",
    );
    notice.text = "gate latency failed".to_owned();
    notice.fields = vec![Pair::new("phase", "deploy")];
    notice.links = vec![Link::new("dashboard", "https://grafana.example/d/1")];
    notice
}

fn notify(world: &mut Fake, config: Value) -> Result<Option<Value>> {
    world.run(|| PLUGIN.notify(&call("webhook", config), &rolled_back()))
}

#[test]
fn the_body_tells_what_happened_and_to_which_release() {
    let mut world = Fake::new().http(POST, 202, "");
    assert_eq!(notify(&mut world, json!({ "url": URL })), Ok(None));
    let sent = &world.sent()[0];
    let expected = json!({
        "event": "rolled-back", "severity": "critical", "title": "shop 1.4.0 was rolled back",
        "text": "gate latency failed", "fields": [{ "name": "phase", "value": "deploy" }],
        "links": [{ "title": "dashboard", "url": "https://grafana.example/d/1" }],
        "key": "run-1/deploy/1", "run": "run-1", "release": "shop", "version": "1.4.0",
        "previousVersion": "1.3.0", "environment": "production",
    });
    assert_eq!(sent.json(), expected);
    assert_eq!(sent.header("content-type"), Some("application/json"));
}

#[test]
fn a_repetition_can_be_told_by_its_key() {
    let mut world = Fake::new().http(POST, 200, "");
    notify(&mut world, json!({ "url": URL })).unwrap();
    notify(&mut world, json!({ "url": URL })).unwrap();
    let keys: Vec<_> = world
        .sent()
        .iter()
        .map(|sent| sent.header("idempotency-key"))
        .collect();
    assert_eq!(keys, [Some("run-1/deploy/1"), Some("run-1/deploy/1")]);
    assert_eq!(world.sent()[0].json()["key"], world.sent()[1].json()["key"]);
}

#[test]
fn headers_and_credential_go_with_it() {
    let mut world = Fake::new().http(POST, 200, "");
    let config = json!({ "url": URL, "credential": "hooks", "headers": { "x-team": "shop" } });
    notify(&mut world, config).unwrap();
    let sent = &world.sent()[0];
    assert_eq!(sent.credential.as_deref(), Some("hooks"));
    assert_eq!(sent.header("x-team"), Some("shop"));
}

#[test]
fn a_receiver_in_trouble_is_asked_again_when_it_says() {
    for (status, header, after) in [
        (429, "7", Some(Duration::from_secs(7))),
        (503, "0", Some(Duration::ZERO)),
        (500, "Wed, 21 Oct 2026 07:28:00 GMT", None),
    ] {
        let mut world = Fake::new().http_with(POST, status, &[("Retry-After", header)], "busy\n");
        let message = format!("the receiver answered {status}: busy");
        let expected = Err(Error::Retryable { message, after });
        assert_eq!(notify(&mut world, json!({ "url": URL })), expected);
    }
    for error in [
        HttpError::TimedOut,
        HttpError::Unreachable("refused".to_owned()),
    ] {
        let mut world = Fake::new().http_error(POST, error.clone());
        let expected = Err(Error::retryable(error.to_string()));
        assert_eq!(notify(&mut world, json!({ "url": URL })), expected);
    }
}

#[test]
fn a_receiver_that_refuses_is_not_asked_again() {
    let mut world = Fake::new().http(POST, 404, "");
    let expected = Err(Error::permanent("the receiver answered 404"));
    assert_eq!(notify(&mut world, json!({ "url": URL })), expected);
    for status in [301, 400, 401, 404, 410] {
        let mut world = Fake::new().http(POST, status, "no");
        let expected = Err(Error::permanent(format!(
            "the receiver answered {status}: no"
        )));
        assert_eq!(notify(&mut world, json!({ "url": URL })), expected);
    }
    let mut world = Fake::new().http_error(POST, HttpError::Denied("line".to_owned()));
    let expected = Err(Error::permanent("the request is not granted: line"));
    assert_eq!(notify(&mut world, json!({ "url": URL })), expected);
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    for (config, pointer) in [
        (json!({}), ""),
        (json!({ "url": "hooks.example" }), "/url"),
        (json!({ "url": URL, "format": "slack" }), "/format"),
        (json!({ "url": URL, "timeout": "0s" }), "/timeout"),
        (
            json!({ "url": URL, "headers": { "authorization": "x" } }),
            "/headers/authorization",
        ),
    ] {
        let found = PLUGIN.validate("notifier", "webhook", &config.to_string());
        let found: Vec<_> = found
            .iter()
            .map(|problem| problem.pointer.as_str())
            .collect();
        assert_eq!(found, [pointer], "{config}");
    }
}
