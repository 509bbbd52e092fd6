use phasegate_plugin::http::Error as HttpError;
use phasegate_plugin::testing::{Fake, question};
use phasegate_plugin::{Duration, Error, Problem, Result, Status, Verdict};
use serde_json::{Value, json};

use super::PLUGIN;

const URL: &str = "http://shop.shop.svc/health";
const GET: &str = "GET http://shop.shop.svc/health";

fn judge(world: &mut Fake, config: Value) -> Result<Verdict> {
    world.run(|| PLUGIN.evaluate(&question("http", config)))
}

/// The verdict on an answer of 200 with this body, for one figure.
fn figure(figure: Value, body: Value) -> Verdict {
    let config = json!({ "url": URL, "json": [figure] });
    judge(&mut Fake::new().http(GET, 200, body), config).unwrap()
}

fn problems(config: Value) -> Vec<Problem> {
    PLUGIN.validate("gate", "http", &config.to_string())
}

#[test]
fn an_expected_status_passes_and_another_fails() {
    let mut world = Fake::new().http(GET, 200, "ok");
    let verdict = judge(&mut world, json!({ "url": URL })).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(verdict.reason, "answered 200 within 0 ms");

    for code in [404, 500, 503] {
        let mut world = Fake::new().http(GET, code, "");
        let verdict = judge(&mut world, json!({ "url": URL })).unwrap();
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.reason, format!("answered {code} instead of 200"));
        assert_eq!(verdict.measurements[0].candidate, Some(f64::from(code)));
    }

    let mut world = Fake::new().http(GET, 204, "");
    let verdict = judge(
        &mut world,
        json!({ "url": URL, "expectStatus": [200, 204] }),
    )
    .unwrap();
    assert_eq!(verdict.status, Status::Pass);
}

#[test]
fn the_request_is_as_configured() {
    let url = "https://metrics.example/{namespace}/{service}?v={version}";
    let asked = "HEAD https://metrics.example/shop/shop?v=1.4.0%2Bbuild.7";
    let mut world = Fake::new().http(asked, 200, "");
    let config = json!({
        "url": url, "method": "HEAD", "headers": { "x-tenant": "a" },
        "credential": "metrics", "timeout": "2s",
    });
    let mut question = question("http", config);
    question.candidate.version = "1.4.0+build.7".to_owned();
    let verdict = world.run(|| PLUGIN.evaluate(&question)).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    let sent = &world.sent()[0];
    assert_eq!(sent.header("X-Tenant"), Some("a"));
    assert_eq!(sent.credential.as_deref(), Some("metrics"));
    assert_eq!(sent.timeout, Duration::from_secs(2));
}

#[test]
fn every_variable_that_is_filled_in_is_allowed() {
    let url = "http://{candidateService}.{namespace}.svc/{service}/{version}";
    let config = json!({ "url": url });
    assert!(problems(config.clone()).is_empty());
    let mut question = question("http", config);
    question.candidate.service = "shop-candidate".to_owned();
    let asked = "GET http://shop-candidate.shop.svc/shop/1.4.0";
    let mut world = Fake::new().http(asked, 200, "");
    let verdict = world.run(|| PLUGIN.evaluate(&question)).unwrap();
    assert_eq!(verdict.status, Status::Pass);
}

#[test]
fn silence_fails_unless_told_otherwise() {
    for (error, words) in [
        (
            HttpError::Unreachable("connection refused".to_owned()),
            "unreachable: connection refused",
        ),
        (HttpError::TimedOut, "no answer in time"),
    ] {
        let mut world = Fake::new().http_error(GET, error);
        let verdict = judge(&mut world, json!({ "url": URL })).unwrap();
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.reason, format!("{URL}: {words}"));
        let config = json!({ "url": URL, "unreachable": "inconclusive" });
        assert_eq!(
            judge(&mut world, config).unwrap().status,
            Status::Inconclusive
        );
    }
}

#[test]
fn a_request_that_is_not_granted_is_no_verdict() {
    let refusal = HttpError::Denied("grant http shop.shop.svc:80".to_owned());
    let mut world = Fake::new().http_error(GET, refusal);
    let message = "the request is not granted: grant http shop.shop.svc:80";
    assert_eq!(
        judge(&mut world, json!({ "url": URL })),
        Err(Error::permanent(message))
    );
}

#[test]
fn latency_is_measured_and_limited() {
    let config = json!({ "url": URL, "maxLatency": "250ms" });
    for (ms, status) in [(250, Status::Pass), (251, Status::Fail)] {
        let mut world = Fake::new()
            .http(GET, 200, "")
            .taking(GET, Duration::from_millis(ms));
        let verdict = judge(&mut world, config.clone()).unwrap();
        assert_eq!(verdict.status, status);
        let latency = &verdict.measurements[1];
        assert_eq!(latency.candidate, Some(f64::from(ms)));
        assert_eq!(
            (latency.unit.as_str(), latency.limit.as_str()),
            ("ms", "<= 250 ms")
        );
        assert_eq!(latency.status, status);
    }
    let mut world = Fake::new()
        .http(GET, 200, "")
        .taking(GET, Duration::from_secs(6));
    assert_eq!(
        judge(&mut world, config).unwrap().reason,
        format!("{URL}: no answer in time")
    );
}

#[test]
fn a_version_must_be_the_one_that_is_released() {
    let wanted = json!({ "pointer": "/build/version", "equals": "{version}", "name": "version" });
    let verdict = figure(wanted.clone(), json!({ "build": { "version": "1.4.0" } }));
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(verdict.measurements[2].limit, r#"= "1.4.0""#);
    assert_eq!(verdict.measurements[2].status, Status::Pass);

    let verdict = figure(wanted, json!({ "build": { "version": "1.3.0" } }));
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(verdict.reason, r#"version is "1.3.0" instead of "1.4.0""#);
}

#[test]
fn a_verdict_that_passes_tells_its_figures() {
    let below = json!({ "pointer": "/percent", "name": "errors", "unit": "%", "below": 5 });
    let verdict = figure(below, json!({ "percent": 1.2 }));
    assert_eq!(
        verdict.reason,
        "errors is 1.2 %, must be < 5; answered 200 within 0 ms"
    );
    let bands = json!({ "pointer": "/p", "warn": { "above": 1 }, "alert": { "above": 5 } });
    let verdict = figure(bands, json!({ "p": 2 }));
    assert_eq!(
        verdict.reason,
        "/p is 2, which is warn; answered 200 within 0 ms"
    );
    let version = json!({ "pointer": "/version", "equals": "{version}" });
    let verdict = figure(version, json!({ "version": "1.4.0" }));
    assert_eq!(
        verdict.reason,
        r#"/version is "1.4.0"; answered 200 within 0 ms"#
    );
}

#[test]
fn equal_numbers_are_equal_however_written() {
    let wanted = json!({ "pointer": "/lag", "equals": 0 });
    assert_eq!(
        figure(wanted.clone(), json!({ "lag": 0.0 })).status,
        Status::Pass
    );
    assert_eq!(
        figure(wanted.clone(), json!({ "lag": 1 })).status,
        Status::Fail
    );
    assert_eq!(figure(wanted, json!({ "lag": "0" })).status, Status::Fail);

    let great = json!({ "pointer": "/id", "equals": 9_007_199_254_740_993_u64 });
    let other = json!({ "id": 9_007_199_254_740_992_u64 });
    assert_eq!(figure(great, other).status, Status::Fail);
}

#[test]
fn limits_are_exact() {
    for (limit, good, bad) in [
        (json!({ "below": 5 }), 4.9, 5.0),
        (json!({ "above": 5 }), 5.1, 5.0),
        (json!({ "atMost": 5 }), 5.0, 5.1),
        (json!({ "atLeast": 5 }), 5.0, 4.9),
    ] {
        let mut wanted = limit;
        wanted["pointer"] = json!("/rate");
        assert_eq!(
            figure(wanted.clone(), json!({ "rate": good })).status,
            Status::Pass
        );
        assert_eq!(figure(wanted, json!({ "rate": bad })).status, Status::Fail);
    }
    let wanted = json!({ "pointer": "/rate", "below": 1, "name": "errors", "unit": "%" });
    let verdict = figure(wanted, json!({ "rate": 2.5 }));
    assert_eq!(verdict.reason, "errors is 2.5 %, must be < 1");
    let measured = &verdict.measurements[2];
    assert_eq!(
        (measured.limit.as_str(), measured.band.as_str()),
        ("< 1", "alert")
    );
}

#[test]
fn no_data_is_never_a_pass() {
    for body in [
        json!({}),
        json!({ "rate": null }),
        json!({ "rate": "NaN" }),
        json!({ "rate": "0.5" }),
        json!({ "rate": [] }),
        json!([]),
    ] {
        let verdict = figure(json!({ "pointer": "/rate", "below": 1 }), body.clone());
        assert_eq!(verdict.status, Status::Inconclusive, "{body}");
        assert!(
            verdict.reason.starts_with("no data: /rate is"),
            "{}",
            verdict.reason
        );
        assert_eq!(verdict.measurements[2].candidate, None);
        assert_eq!(verdict.measurements[2].status, Status::Inconclusive);
    }
    let missing = figure(json!({ "pointer": "/version", "equals": "1" }), json!({}));
    assert_eq!(missing.status, Status::Inconclusive);

    for body in ["", "<html>", "{\"rate\": NaN}", "{\"rate\": 0.1"] {
        let config = json!({ "url": URL, "json": [{ "pointer": "/rate", "below": 1 }] });
        let verdict = judge(&mut Fake::new().http(GET, 200, body), config).unwrap();
        assert_eq!(verdict.status, Status::Inconclusive, "{body}");
    }
}

#[test]
fn bands_are_told_apart() {
    let all = json!({
        "pointer": "/p99", "normal": { "below": 200 }, "warn": { "atLeast": 200, "below": 500 },
        "alert": { "atLeast": 500 },
    });
    let normal_only = json!({ "pointer": "/p99", "normal": { "below": 200 } });
    let gap = json!({ "pointer": "/p99", "normal": { "below": 200 }, "alert": { "above": 500 } });
    let alert_only = json!({ "pointer": "/p99", "alert": { "above": 500 } });
    for (bands, value, band, status) in [
        (&all, 100, "normal", Status::Pass),
        (&all, 200, "warn", Status::Pass),
        (&all, 500, "alert", Status::Fail),
        (&normal_only, 199, "normal", Status::Pass),
        (&normal_only, 200, "alert", Status::Fail),
        (&gap, 300, "warn", Status::Pass),
        (&gap, 501, "alert", Status::Fail),
        (&alert_only, 300, "normal", Status::Pass),
        (&alert_only, 501, "alert", Status::Fail),
    ] {
        let verdict = figure(bands.clone(), json!({ "p99": value }));
        assert_eq!(verdict.measurements[2].band, band, "{bands} {value}");
        assert_eq!(verdict.status, status, "{bands} {value}");
    }
}

#[test]
fn too_few_samples_are_inconclusive() {
    let config = json!({
        "url": URL, "json": [{ "pointer": "/rate", "below": 1 }],
        "requireSamples": { "pointer": "/count", "atLeast": 100 },
    });
    for (body, status) in [
        (json!({ "rate": 0.1, "count": 100 }), Status::Pass),
        (json!({ "rate": 0.1, "count": 99 }), Status::Inconclusive),
        (json!({ "rate": 0.1 }), Status::Inconclusive),
        (json!({ "rate": 2, "count": 100 }), Status::Fail),
    ] {
        let verdict = judge(
            &mut Fake::new().http(GET, 200, body.clone()),
            config.clone(),
        )
        .unwrap();
        assert_eq!(verdict.status, status, "{body}");
        assert_eq!(verdict.measurements[2].samples, body["count"].as_u64());
    }
}

#[test]
fn a_metrics_server_in_trouble_can_be_inconclusive() {
    let figure = json!([{ "pointer": "/rate", "below": 1 }]);
    let mut world = Fake::new().http(GET, 502, "bad gateway");
    let config = json!({ "url": URL, "json": figure, "errorStatus": "inconclusive" });
    assert_eq!(
        judge(&mut world, config).unwrap().status,
        Status::Inconclusive
    );
    let config = json!({ "url": URL, "json": figure });
    assert_eq!(judge(&mut world, config).unwrap().status, Status::Fail);
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    for (config, pointer) in [
        (json!({}), ""),
        (json!({ "url": "ftp://x" }), "/url"),
        (json!({ "url": "http://{host}/" }), "/url"),
        (json!({ "url": "http://{service/" }), "/url"),
        (json!({ "url": URL, "method": "DELETE" }), "/method"),
        (
            json!({ "url": URL, "headers": { "Authorization": "x" } }),
            "/headers/Authorization",
        ),
        (json!({ "url": URL, "expectStatus": [] }), "/expectStatus"),
        (
            json!({ "url": URL, "timeout": "1s", "maxLatency": "2s" }),
            "/maxLatency",
        ),
        (
            json!({ "url": URL, "errorStatus": "inconclusive" }),
            "/errorStatus",
        ),
        (
            json!({ "url": URL, "json": [{ "pointer": "/a" }] }),
            "/json/0",
        ),
        (
            json!({ "url": URL, "json": [{ "pointer": "a", "below": 1 }] }),
            "/json/0/pointer",
        ),
        (
            json!({ "url": URL, "json": [{ "pointer": "/a", "below": "1" }] }),
            "/json/0/below",
        ),
        (
            json!({ "url": URL, "json": [{ "pointer": "/a", "warn": {} }] }),
            "/json/0/warn",
        ),
        (
            json!({ "url": URL, "json": [{ "pointer": "/a", "equals": 1, "below": 1 }] }),
            "/json/0/equals",
        ),
    ] {
        let found = problems(config.clone());
        assert_eq!(
            found.first().map(|p| p.pointer.as_str()),
            Some(pointer),
            "{config}"
        );
    }
    assert!(problems(json!({ "url": URL })).is_empty());
}
