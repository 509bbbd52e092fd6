//! The gate `prometheus` as it is shipped, in the real host and over the real HTTP adapter, against a
//! real Prometheus with a history of its own.
//!
//! Two versions of a shop serve 600 requests a minute each. Of those of 1.3.0, 0.5 % fail, of those of
//! 1.4.0, 2 %. Counters are straight lines from half an hour ago to half an hour from now, so that it
//! doesn't matter when a query is asked.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the suite starts a server and writes its files"
)]

#[path = "prometheus/gate.rs"]
mod gate;
#[path = "prometheus/server.rs"]
mod server;

use phasegate_core::failure::Kind;
use phasegate_core::verdict::{Measurement, Status, Verdict};
use serde_json::{Value, json};

use gate::Gate;
use server::{Family, LOCKED, OPEN, Server};

/// Share of failed requests in percent.
const ERRORS: &str = "100 * sum(rate(http_requests_total{version=\"{{version}}\",code=~\"5..\"}[{{window}}])) \
                      / sum(rate(http_requests_total{version=\"{{version}}\"}[{{window}}]))";

fn history() -> Vec<Family> {
    let gauge = |name: &'static str, series: &str, value: server::Value| Family {
        name,
        kind: "gauge",
        series: vec![(series.to_owned(), value)],
    };
    let requests = |version: &str, code: &str| {
        format!("http_requests_total{{version=\"{version}\",code=\"{code}\"}}")
    };
    vec![
        Family {
            name: "http_requests",
            kind: "counter",
            series: vec![
                (requests("1.3.0", "200"), |t| {
                    Some((t + 1_800) as f64 * 9.95)
                }),
                (requests("1.3.0", "500"), |t| {
                    Some((t + 1_800) as f64 * 0.05)
                }),
                (requests("1.4.0", "200"), |t| Some((t + 1_800) as f64 * 9.8)),
                (requests("1.4.0", "500"), |t| Some((t + 1_800) as f64 * 0.2)),
                (requests("1.4.0+rc.1", "200"), |t| {
                    Some((t + 1_800) as f64 * 10.0)
                }),
                (requests("1.4.0+rc.1", "500"), |t| {
                    Some((t + 1_800) as f64 * 0.0)
                }),
            ],
        },
        // 100 messages more in each second.
        gauge("lag", "lag{topic=\"orders\"}", |t| {
            Some((t + 1_800) as f64 * 100.0)
        }),
        // It was scraped for the last time ten minutes ago.
        gauge("gone", "gone", |t| (t < -600).then_some(1.0)),
        // It rose from 10 to 20 ten minutes ago.
        gauge("depth", "depth", |t| {
            Some(if t < -600 { 10.0 } else { 20.0 })
        }),
        // Over the limit of 5 for one minute in two.
        gauge("wave", "wave", |t| {
            Some(if t.rem_euclid(120) < 60 { 9.0 } else { 1.0 })
        }),
    ]
}

async fn started() -> (Server, Gate) {
    let server = Server::start(&history(), OPEN).await;
    let gate = Gate::of(&server);
    (server, gate)
}

fn only(verdict: &Verdict) -> &Measurement {
    assert_eq!(verdict.measurements.len(), 1, "{verdict:?}");
    &verdict.measurements[0]
}

/// Rates of straight lines are exact but for rounding.
fn about(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
}

fn with(mut config: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

#[tokio::test]
async fn a_figure_is_held_against_its_limits() {
    let (server, gate) = started().await;
    let config = json!({ "query": ERRORS, "name": "errors", "unit": "%" });
    let verdict = gate
        .judge(with(config.clone(), json!({ "max": 3 })))
        .await
        .unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    about(only(&verdict).candidate, 2.0);
    assert_eq!(verdict.reason, "errors: 2 % on 1.4.0");
    let graph = format!("{}/graph?g0.expr=100%20%2A%20sum", server.url());
    assert!(
        verdict.links[0].url.starts_with(&graph),
        "{:?}",
        verdict.links
    );

    let verdict = gate
        .judge(with(config.clone(), json!({ "max": 1 })))
        .await
        .unwrap();
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(verdict.reason, "errors: 2 % on 1.4.0, must be <= 1");
    let bands = json!({ "normal": { "below": 1 }, "alert": { "above": 5 } });
    let verdict = gate.judge(with(config, bands)).await.unwrap();
    assert_eq!(
        (verdict.status, only(&verdict).band.as_str()),
        (Status::Pass, "warn")
    );
}

#[tokio::test]
async fn the_candidate_is_held_against_stable_with_its_samples() {
    let (_server, gate) = started().await;
    let config = |limits: Value| {
        let count = "sum(increase(http_requests_total{version=\"{{version}}\"}[{{window}}]))";
        let config = json!({
            "candidate": ERRORS, "stable": ERRORS, "name": "errors", "unit": "%",
            "minimumSamples": { "query": count, "atLeast": 500 },
        });
        with(config, limits)
    };
    let verdict = gate.judge(config(json!({ "deltaMax": 2 }))).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    let measured = only(&verdict);
    about(measured.candidate, 2.0);
    about(measured.stable, 0.5);
    // 10 requests a second in the window of a minute.
    let samples = measured.samples.unwrap();
    assert!((590..=610).contains(&samples), "{samples}");
    assert_eq!(measured.limit, "< stable + 2 %");

    let verdict = gate.judge(config(json!({ "deltaMax": 1 }))).await.unwrap();
    assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    let verdict = gate
        .judge(config(json!({ "deltaPercent": 10 })))
        .await
        .unwrap();
    assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    let any = json!({ "deltaMax": 2, "deltaPercent": 10, "need": "any" });
    assert_eq!(gate.judge(config(any)).await.unwrap().status, Status::Pass);

    let few = with(
        config(json!({ "deltaMax": 2 })),
        json!({
            "minimumSamples": { "query": "sum(increase(http_requests_total[{{window}}]))", "atLeast": 1_000_000 },
        }),
    );
    let verdict = gate.judge(few).await.unwrap();
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    assert!(verdict.needs.is_some());
}

#[tokio::test]
async fn no_data_is_never_a_pass() {
    let (_server, gate) = started().await;
    for (query, reason) in [
        (
            "sum(rate(http_requests_total{version=\"9.9.9\"}[1m]))",
            "no series matches",
        ),
        ("gone", "no series matches"),
        ("lag / 0", "it is not a finite number"),
        ("0 / 0", "it is not a finite number"),
        ("-1 / 0", "it is not a finite number"),
        (
            "http_requests_total{version=\"{{version}}\"}",
            "2 series where one is expected; they differ in code",
        ),
        (
            "http_requests_total",
            "6 series where one is expected; they differ in code, version",
        ),
        (
            "lag * on() group_left http_requests_total",
            "many-to-many matching not allowed",
        ),
    ] {
        let verdict = gate
            .judge(json!({ "query": query, "max": 1e9 }))
            .await
            .unwrap();
        assert_eq!(verdict.status, Status::Inconclusive, "{query}");
        assert!(
            verdict.reason.contains(reason),
            "{query}: {}",
            verdict.reason
        );
        assert_eq!(only(&verdict).candidate, None, "{query}");
    }
    // One side is enough to tell nothing.
    let config = json!({ "candidate": "lag", "stable": "gone", "deltaMax": 1e9 });
    let verdict = gate.judge(config).await.unwrap();
    assert_eq!(verdict.status, Status::Inconclusive);
    assert_eq!(
        verdict.reason,
        "no data of value on 1.3.0: no series matches"
    );
}

#[tokio::test]
async fn a_query_that_prometheus_refuses_is_a_fault_at_its_place() {
    let (_server, gate) = started().await;
    for (config, pointer, said) in [
        (
            json!({ "query": "sum((" }),
            "/query",
            "1:6: parse error: unclosed left parenthesis",
        ),
        (
            json!({ "query": "sum(rate(lag))" }),
            "/query",
            "expected type range vector",
        ),
        (
            json!({ "query": "lag[1m]" }),
            "/query",
            "it gives points over time",
        ),
        (
            json!({ "query": "\"text\"" }),
            "/query",
            "it gives a string",
        ),
        (
            json!({ "query": "lag", "minimumSamples": { "query": "count(", "atLeast": 1 } }),
            "/minimumSamples/query",
            "parse error",
        ),
        (
            json!({ "query": "lag", "url": format!("{}/elsewhere", gate.url) }),
            "/url",
            "404 page not found",
        ),
    ] {
        let failure = gate
            .judge(with(config.clone(), json!({ "max": 1 })))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, Kind::Misconfigured, "{config}: {failure:?}");
        assert_eq!(failure.problems[0].pointer, pointer, "{config}");
        let message = &failure.problems[0].message;
        assert!(message.contains(said), "{config}: {message}");
    }
}

#[tokio::test]
async fn points_over_time_become_one_figure() {
    let (_server, gate) = started().await;
    let range =
        |query: &str, range: Value, max: f64| json!({ "query": query, "range": range, "max": max });
    // 100 in each second, for ten minutes.
    let growth = json!({ "reduce": "growth", "over": "10m" });
    let verdict = gate.judge(range("lag", growth, 10_000.0)).await.unwrap();
    assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    about(only(&verdict).candidate, 60_000.0);
    let growth = json!({ "reduce": "growth", "over": "25m" });
    let verdict = gate.judge(range("depth", growth, 10.0)).await.unwrap();
    about(only(&verdict).candidate, 10.0);
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");

    let breaches =
        |tolerate: u32| json!({ "reduce": "breaches", "over": "20m", "tolerate": tolerate });
    let verdict = gate.judge(range("wave", breaches(55), 5.0)).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    let verdict = gate.judge(range("wave", breaches(45), 5.0)).await.unwrap();
    assert_eq!(verdict.status, Status::Fail, "{verdict:?}");

    for (reduce, expected) in [("max", 9.0), ("min", 1.0)] {
        let over = json!({ "reduce": reduce, "over": "5m" });
        let verdict = gate.judge(range("wave", over, 9.0)).await.unwrap();
        about(only(&verdict).candidate, expected);
    }
    let over = json!({ "reduce": "max", "over": "29m", "coverage": 1 });
    let verdict = gate.judge(range("gone", over, 9.0)).await.unwrap();
    assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    assert!(
        verdict.reason.contains("there is none since"),
        "{}",
        verdict.reason
    );
}

#[tokio::test]
async fn stable_can_be_looked_at_before_the_run() {
    let (_server, gate) = started().await;
    let config = json!({
        "candidate": "depth", "stable": "depth", "stableAt": "baseline", "deltaMax": 5,
    });
    let verdict = gate.judge(config).await.unwrap();
    assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    let measured = only(&verdict);
    assert_eq!(
        (measured.candidate, measured.stable),
        (Some(20.0), Some(10.0))
    );
}

#[tokio::test]
async fn a_version_is_looked_for_as_it_is_written() {
    let (_server, gate) = started().await;
    let config = |matcher: &str| {
        let query = format!("count(http_requests_total{{version{matcher}}})");
        json!({ "query": query, "max": 9 })
    };
    // A plus means itself in a regular expression too, and the dots of 1.4.0 mean no other version.
    let candidate = gate.of_version("1.4.0+rc.1");
    for matcher in [
        "=\"{{version}}\"",
        "=~\"{{version}}\"",
        "=~'{{version}}.*'",
        "=~`{{version}}`",
    ] {
        let verdict = candidate.judge(config(matcher)).await.unwrap();
        assert_eq!(
            only(&verdict).candidate,
            Some(2.0),
            "{matcher}: {verdict:?}"
        );
    }
    // What would close the quotes finds nothing instead of everything.
    let hostile = gate.of_version("1.4.0\"} or {version=~\".+");
    for matcher in ["=\"{{version}}\"", "=~\"{{version}}\"", "='{{version}}'"] {
        let verdict = hostile.judge(config(matcher)).await.unwrap();
        assert!(
            verdict.reason.contains("no series matches"),
            "{matcher}: {verdict:?}"
        );
    }
}

#[tokio::test]
async fn a_long_query_is_understood() {
    let (_server, gate) = started().await;
    let topics = (0..1_000).map(|n| format!("topic-{n}")).collect::<Vec<_>>();
    let query = format!("sum(lag{{topic=~\"orders|{}\"}}) * 0", topics.join("|"));
    assert!(query.len() > 8_000);
    let verdict = gate
        .judge(json!({ "query": query, "max": 0 }))
        .await
        .unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
}

#[tokio::test]
async fn a_credential_opens_and_an_end_is_tried_again() {
    let mut server = Server::start(&history(), LOCKED).await;
    let gate = Gate::of(&server);
    let config = json!({ "query": "lag", "min": 0 });
    let failure = gate.judge(config.clone()).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Permanent, "{failure:?}");
    assert!(
        failure.message.contains("refuses access (401)"),
        "{failure:?}"
    );

    let named = with(config, json!({ "credential": "metrics" }));
    let verdict = gate.judge(named.clone()).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    assert!(!format!("{verdict:?}").contains(server::LOGIN));

    server.end();
    let failure = gate.judge(named).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Retryable, "{failure:?}");
}
