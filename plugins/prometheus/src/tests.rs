//! The answers have the shapes that Prometheus 2.42 gave to such queries (`/api/v1/query` and
//! `/api/v1/query_range`; see <https://prometheus.io/docs/prometheus/2.42/querying/api/>).

mod compare;
mod ranges;
mod refusals;

use phasegate_plugin::testing::{Fake, question};
use phasegate_plugin::{Question, Result, Status, Verdict};
use serde_json::{Value, json};

use super::PLUGIN;
use super::server::encode;

const URL: &str = "http://prometheus.monitoring.svc:9090";
/// When the fake world's questions end: 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn asked(config: Value) -> Question {
    question("prometheus", config)
}

fn judge(world: &mut Fake, config: Value) -> Result<Verdict> {
    world.run(|| PLUGIN.evaluate(&asked(config)))
}

/// The request of an instant query.
fn get(query: &str) -> String {
    format!(
        "GET {URL}/api/v1/query?query={}&timeout=5000ms",
        encode(query)
    )
}

/// The one series that an instant query gives.
fn value(value: &str) -> Value {
    json!({ "status": "success", "data": { "resultType": "vector", "result": [
        { "metric": {}, "value": [NOW, value] },
    ] } })
}

fn nothing() -> Value {
    json!({ "status": "success", "data": { "resultType": "vector", "result": [] } })
}

/// The config with more settings.
fn with(mut config: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    config
}

/// The verdict on one figure.
fn figure(limits: Value, answer: Value) -> Verdict {
    let config = with(
        json!({ "url": URL, "query": "q", "name": "errors", "unit": "%" }),
        limits,
    );
    judge(&mut Fake::new().http(&get("q"), 200, answer), config).unwrap()
}

#[test]
fn a_figure_is_held_against_its_limits() {
    for (found, status, band) in [
        ("0.1", Status::Pass, "normal"),
        ("1", Status::Pass, "normal"),
        ("1.0000001", Status::Fail, "alert"),
        ("-0.1", Status::Fail, "alert"),
    ] {
        let verdict = figure(json!({ "max": 1, "min": 0 }), value(found));
        let measured = &verdict.measurements[0];
        assert_eq!(verdict.status, status, "{found}");
        assert_eq!((measured.band.as_str(), measured.status), (band, status));
        assert_eq!(measured.candidate, found.parse().ok());
        assert_eq!(
            (measured.name.as_str(), measured.unit.as_str()),
            ("errors", "%")
        );
        assert_eq!(measured.limit, ">= 0 and <= 1");
    }
    let verdict = figure(json!({ "max": 1 }), value("10.199999999999998"));
    assert_eq!(verdict.reason, "errors: 10.2 %, must be <= 1");
    let verdict = figure(json!({ "max": 20 }), value("10.199999999999998"));
    assert_eq!(verdict.reason, "errors: 10.2 %");
}

#[test]
fn a_figure_is_told_of_a_version_only_where_it_is_one_versions() {
    for (query, sent, reason) in [
        ("lag", "lag", "value: 3"),
        ("x{ns=\"{{namespace}}\"}", "x{ns=\"shop\"}", "value: 3"),
        (
            "x{v=\"{{version}}\"}",
            "x{v=\"1.4.0\"}",
            "value: 3 on 1.4.0",
        ),
    ] {
        let config = json!({ "url": URL, "query": query, "max": 5 });
        let verdict = judge(&mut Fake::new().http(&get(sent), 200, value("3")), config).unwrap();
        assert_eq!(verdict.reason, reason);
    }
}

#[test]
fn a_figure_between_normal_and_alert_is_in_warn() {
    let bands = json!({ "normal": { "above": 99 }, "alert": { "below": 98 }, "name": "payments" });
    for (found, band, status) in [
        ("99.5", "normal", Status::Pass),
        ("99", "warn", Status::Pass),
        ("98.5", "warn", Status::Pass),
        ("98", "warn", Status::Pass),
        ("97.9", "alert", Status::Fail),
    ] {
        let verdict = figure(bands.clone(), value(found));
        assert_eq!(verdict.measurements[0].band, band, "{found}");
        assert_eq!(verdict.status, status, "{found}");
    }
    let warn = figure(bands.clone(), value("98.5"));
    let reason = "payments: 98.5 %, in band warn (normal > 99, alert < 98)";
    assert_eq!(warn.reason, reason);
    let alert = figure(bands, value("97"));
    let reason = "payments: 97 %, must be not in alert (normal > 99, alert < 98)";
    assert_eq!(alert.reason, reason);
}

#[test]
fn no_data_is_never_a_pass() {
    let of = |result: Value| json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
    let series = |metric: Value, value: &str| json!({ "metric": metric, "value": [NOW, value] });
    let several = of(json!([
        series(json!({ "code": "200", "version": "1.4.0" }), "1"),
        series(json!({ "code": "500", "version": "1.4.0" }), "1"),
    ]));
    let old = of(json!([{ "metric": {}, "value": [NOW - 600, "0"] }]));
    let early = of(json!([{ "metric": {}, "value": [NOW + 600, "0"] }]));
    let apart = "a wrong clock";
    for (answer, reason) in [
        (nothing(), "no series matches"),
        (value("NaN"), "it is not a finite number"),
        (value("+Inf"), "it is not a finite number"),
        (value("-Inf"), "it is not a finite number"),
        (value(""), "it is not a finite number"),
        (
            several,
            "2 series where one is expected; they differ in code",
        ),
        (old, apart),
        (early, apart),
        (json!({ "status": "success" }), "the answer holds no data"),
        (
            json!({ "status": "success", "data": { "resultType": "vector", "result": 1 } }),
            "can't be read",
        ),
        (
            json!({ "status": "warming up" }),
            "not one of Prometheus' API",
        ),
        (json!("<html>Sign in</html>"), "not one of Prometheus' API"),
    ] {
        let verdict = figure(json!({ "max": 1 }), answer.clone());
        assert_eq!(verdict.status, Status::Inconclusive, "{answer}");
        let begin = "no data of errors: ";
        assert!(verdict.reason.starts_with(begin), "{}", verdict.reason);
        assert!(
            verdict.reason.ends_with(reason) || verdict.reason.contains(reason),
            "{}",
            verdict.reason
        );
        assert_eq!(verdict.measurements[0].candidate, None);
        assert_eq!(verdict.measurements[0].status, Status::Inconclusive);
    }
}

#[test]
fn a_scalar_is_a_figure_too() {
    let scalar =
        json!({ "status": "success", "data": { "resultType": "scalar", "result": [NOW, "0.5"] } });
    assert_eq!(figure(json!({ "max": 1 }), scalar).status, Status::Pass);
}

#[test]
fn the_request_is_as_configured() {
    let query = "sum(rate(x{version=\"{{version}}\",env=\"{{environment}}\",d=\"{{deployment}}\"}[{{window}}]))";
    let filled = "sum(rate(x{version=\"1.4.0\",env=\"production\",d=\"shop\"}[60s]))";
    let request = format!(
        "GET https://metrics.example/prom/api/v1/query?query={}&timeout=2000ms",
        encode(filled)
    );
    let config = json!({
        "url": "https://metrics.example/prom/", "query": query, "max": 1, "timeout": "2s",
        "headers": { "x-scope-orgid": "shop" }, "credential": "metrics",
    });
    let mut world = Fake::new().http(&request, 200, value("0"));
    assert_eq!(judge(&mut world, config).unwrap().status, Status::Pass);
    let sent = &world.sent()[0];
    assert_eq!(sent.credential.as_deref(), Some("metrics"));
    assert_eq!(sent.header("x-scope-orgid"), Some("shop"));
    assert_eq!(sent.timeout.as_millis(), 2000);
    assert_eq!(sent.body, None);
}

#[test]
fn a_long_query_is_sent_as_a_form() {
    let query = format!("x{{pod=~\"{}\"}}", "a|".repeat(1500));
    let post = format!("POST {URL}/api/v1/query");
    let mut world = Fake::new().http(&post, 200, value("0"));
    let config = json!({ "url": URL, "query": query, "max": 1 });
    assert_eq!(judge(&mut world, config).unwrap().status, Status::Pass);
    let sent = &world.sent()[0];
    assert_eq!(
        sent.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let form = format!("query={}&timeout=5000ms", encode(&query));
    assert_eq!(sent.body.as_deref(), Some(form.as_bytes()));
}

#[test]
fn the_window_is_since_traffic_changed_within_its_bounds() {
    for (since_change_s, window) in [(5, "30s"), (30, "30s"), (95, "95s"), (3600, "300s")] {
        let config = json!({
            "url": URL, "query": "x[{{window}}]", "max": 1,
            "window": { "min": "30s", "max": "5m" },
        });
        let mut question = asked(config);
        question.window.since = question.window.until - since_change_s * 1000;
        let mut world = Fake::new().http(&get(&format!("x[{window}]")), 200, value("0"));
        let verdict = world.run(|| PLUGIN.evaluate(&question)).unwrap();
        assert_eq!(verdict.status, Status::Pass);
    }
}

#[test]
fn a_graph_of_the_query_is_linked() {
    let limits = json!({ "max": 1, "externalUrl": "https://prometheus.example/" });
    let verdict = figure(limits, value("0"));
    assert_eq!(verdict.links.len(), 1);
    assert_eq!(verdict.links[0].title, "errors in Prometheus");
    assert_eq!(
        verdict.links[0].url,
        "https://prometheus.example/graph?g0.expr=q&g0.tab=0&g0.range_input=1h&g0.end_input=2026-01-01%2000%3A00%3A00"
    );
    let own = figure(json!({ "max": 1 }), value("0"));
    assert!(
        own.links[0]
            .url
            .starts_with(&format!("{URL}/graph?g0.expr=q&"))
    );
}

#[test]
fn what_prometheus_warns_of_is_shown() {
    let mut answer = value("0");
    answer["warnings"] = json!(["a store did not answer"]);
    let mut world = Fake::new().http(&get("q"), 200, answer);
    let config = json!({ "url": URL, "query": "q", "max": 1 });
    let verdict = judge(&mut world, config).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    let reason = "value: 0 (Prometheus warns: a store did not answer)";
    assert_eq!(verdict.reason, reason);
    assert_eq!(world.logged()[0].level, "warn");
}
