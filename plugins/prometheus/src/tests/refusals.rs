use phasegate_plugin::http::Error as HttpError;
use phasegate_plugin::{Duration, Error, Problem};

use super::*;

fn config() -> Value {
    json!({ "url": URL, "query": "q", "max": 1 })
}

fn refused(status: u16, headers: &[(&str, &str)], body: Value) -> Error {
    let mut world = Fake::new().http_with(&get("q"), status, headers, body);
    judge(&mut world, config()).unwrap_err()
}

fn error(kind: &str, message: &str) -> Value {
    json!({ "status": "error", "errorType": kind, "error": message })
}

#[test]
fn a_query_that_prometheus_refuses_is_a_fault_of_the_config() {
    let said = "invalid parameter \"query\": 1:6: parse error: unclosed left parenthesis";
    let expected = |pointer: &str| {
        Error::misconfigured(pointer, format!("Prometheus refuses the query: {said}"))
    };
    assert_eq!(
        refused(400, &[], error("bad_data", said)),
        expected("/query")
    );

    let samples = json!({ "minimumSamples": { "query": "n", "atLeast": 1 } });
    let mut world =
        Fake::new()
            .http(&get("q"), 200, value("0"))
            .http(&get("n"), 400, error("bad_data", said));
    let refusal = judge(&mut world, with(config(), samples)).unwrap_err();
    assert_eq!(refusal, expected("/minimumSamples/query"));

    let two = json!({ "url": URL, "candidate": "q", "stable": "r", "deltaMax": 1 });
    let mut world =
        Fake::new()
            .http(&get("q"), 200, value("0"))
            .http(&get("r"), 400, error("bad_data", said));
    assert_eq!(judge(&mut world, two).unwrap_err(), expected("/stable"));
}

#[test]
fn a_query_that_never_gives_a_number_is_a_fault_of_the_config() {
    let matrix = json!({ "status": "success", "data": { "resultType": "matrix", "result": [
        { "metric": { "__name__": "lag" }, "values": [[NOW, "1"]] },
    ] } });
    let text =
        json!({ "status": "success", "data": { "resultType": "string", "result": [NOW, "x"] } });
    for (answer, said) in [(matrix, "points over time"), (text, "gives a string")] {
        let Error::Misconfigured(problems) = refused(200, &[], answer) else {
            panic!("the query is at fault");
        };
        assert_eq!(problems[0].pointer, "/query");
        assert!(
            problems[0].message.contains(said),
            "{}",
            problems[0].message
        );
    }
}

#[test]
fn a_query_that_cannot_be_carried_out_now_is_no_pass() {
    let said = "found duplicate series for the match group {}";
    let mut world = Fake::new().http(&get("q"), 422, error("execution", said));
    let verdict = judge(&mut world, config()).unwrap();
    assert_eq!(verdict.status, Status::Inconclusive);
    assert!(verdict.reason.ends_with(said), "{}", verdict.reason);
}

#[test]
fn a_server_in_trouble_is_asked_again_when_it_says() {
    for (status, header, after) in [
        (429, Some("7"), Some(Duration::from_secs(7))),
        (503, None, None),
        (500, None, None),
        (504, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
    ] {
        let headers: Vec<_> = header
            .map(|value| ("Retry-After", value))
            .into_iter()
            .collect();
        let message = format!("Prometheus answered {status}: query timed out in query execution");
        let body = error("timeout", "query timed out in query execution");
        assert_eq!(
            refused(status, &headers, body),
            Error::Retryable { message, after }
        );
    }
    for silence in [
        HttpError::TimedOut,
        HttpError::Unreachable("refused".to_owned()),
    ] {
        let mut world = Fake::new().http_error(&get("q"), silence.clone());
        let expected = Err(Error::retryable(silence.to_string()));
        assert_eq!(judge(&mut world, config()), expected);
    }
}

#[test]
fn a_server_that_lets_nobody_in_is_not_asked_again() {
    for status in [401, 403, 302, 400, 418] {
        let refusal = refused(
            status,
            &[("Location", "https://login.example")],
            json!("no"),
        );
        assert!(
            matches!(refusal, Error::Permanent(_)),
            "{status}: {refusal}"
        );
    }
    let Error::Misconfigured(problems) = refused(404, &[], json!("404 page not found")) else {
        panic!("the address is at fault");
    };
    assert_eq!(problems[0].pointer, "/url");
}

#[test]
fn a_placeholder_without_a_value_is_a_fault_of_the_config() {
    let mut question = asked(json!({ "url": URL, "query": "up{{{labels}}}", "max": 1 }));
    question.candidate.labels.clear();
    let refusal = Fake::new().run(|| PLUGIN.evaluate(&question)).unwrap_err();
    let expected = "`{{labels}}`: no label is known of this side";
    assert_eq!(refusal, Error::misconfigured("/query", expected));
}

fn problems(config: Value) -> Vec<Problem> {
    PLUGIN.validate("gate", "prometheus", &config.to_string())
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    let two = || json!({ "url": URL, "candidate": "q", "stable": "q" });
    let range = |range: Value| with(config(), json!({ "range": range }));
    for (config, pointer) in [
        (json!({ "query": "q", "max": 1 }), ""),
        (with(config(), json!({ "url": "prometheus:9090" })), "/url"),
        (
            with(config(), json!({ "url": format!("{URL}/api/v1/") })),
            "/url",
        ),
        (with(config(), json!({ "url": "http://{service}" })), "/url"),
        (
            with(config(), json!({ "externalUrl": "x" })),
            "/externalUrl",
        ),
        (
            with(config(), json!({ "headers": { "authorization": "x" } })),
            "/headers/authorization",
        ),
        (with(config(), json!({ "timeout": "0s" })), "/timeout"),
        (
            with(config(), json!({ "query": "q{v=\"{{release}}\"}" })),
            "/query",
        ),
        (with(config(), json!({ "stable": "q" })), "/query"),
        (json!({ "url": URL, "max": 1 }), ""),
        (json!({ "url": URL, "candidate": "q", "deltaMax": 1 }), ""),
        (json!({ "url": URL, "query": "q" }), ""),
        (with(config(), json!({ "min": 2 })), "/min"),
        (with(config(), json!({ "alert": {} })), "/alert"),
        (with(config(), json!({ "deltaMax": 1 })), "/deltaMax"),
        (with(two(), json!({ "max": 1 })), "/stable"),
        (with(two(), json!({ "deltaMax": -1 })), "/deltaMax"),
        (with(two(), json!({ "ratioMax": 0.5 })), "/ratioMax"),
        (
            with(two(), json!({ "ratioMax": 2, "deltaPercent": 1 })),
            "/ratioMax",
        ),
        (with(two(), json!({ "ratioMax": 2, "deltaMax": 1 })), ""),
        (
            with(two(), json!({ "ratioMax": 2, "need": "any" })),
            "/need",
        ),
        (
            with(config(), json!({ "window": { "min": "0s" } })),
            "/window/min",
        ),
        (
            with(config(), json!({ "window": { "min": "1h" } })),
            "/window/max",
        ),
        (range(json!({})), "/range"),
        (
            range(json!({ "reduce": "last", "step": "100ms" })),
            "/range/step",
        ),
        (
            range(json!({ "reduce": "last", "step": "2m" })),
            "/range/step",
        ),
        (
            range(json!({ "reduce": "last", "over": "1d", "step": "1s" })),
            "/range/step",
        ),
        (
            range(json!({ "reduce": "last", "tolerate": 5 })),
            "/range/tolerate",
        ),
        (
            range(json!({ "reduce": "last", "coverage": 0 })),
            "/range/coverage",
        ),
        (
            range(json!({ "reduce": "breaches", "tolerate": 100 })),
            "/range/tolerate",
        ),
        (
            with(
                two(),
                json!({ "deltaMax": 1, "max": 1, "range": { "reduce": "breaches" } }),
            ),
            "/range/reduce",
        ),
        (
            with(
                config(),
                json!({ "minimumSamples": { "query": "n", "atLeast": 0 } }),
            ),
            "/minimumSamples/atLeast",
        ),
    ] {
        let found = problems(config.clone());
        let first = found.first().map(|problem| problem.pointer.as_str());
        assert_eq!(first, Some(pointer), "{config}");
    }
    assert!(problems(config()).is_empty());
    assert!(problems(with(two(), json!({ "deltaMax": 0 }))).is_empty());
    let breaches = json!({ "reduce": "breaches", "tolerate": 20 });
    assert!(problems(range(breaches)).is_empty());
}
