use super::*;

/// The verdict on the candidate's figure beside stable's.
fn compared(limits: Value, candidate: Value, stable: Value) -> Verdict {
    let query = "q{v=\"{{version}}\"}";
    let config =
        json!({ "url": URL, "name": "latency", "unit": "s", "candidate": query, "stable": query });
    let mut world = Fake::new()
        .http(&get("q{v=\"1.4.0\"}"), 200, candidate)
        .http(&get("q{v=\"1.3.0\"}"), 200, stable);
    judge(&mut world, with(config, limits)).unwrap()
}

fn status(limits: Value, candidate: &str, stable: &str) -> Status {
    compared(limits, value(candidate), value(stable)).status
}

#[test]
fn the_candidate_may_be_worse_by_less_than_the_limit() {
    let points = || json!({ "deltaMax": 1 });
    for (candidate, stable, expected) in [
        ("0.2", "0.1", Status::Pass),
        ("1.0999", "0.1", Status::Pass),
        ("1.1", "0.1", Status::Fail),
        ("1.4", "0.4", Status::Fail),
        ("0", "5", Status::Pass),
    ] {
        assert_eq!(
            status(points(), candidate, stable),
            expected,
            "{candidate} {stable}"
        );
    }
    let percent = || json!({ "deltaPercent": 10 });
    for (candidate, stable, expected) in [
        ("1.09", "1", Status::Pass),
        ("1.1", "1", Status::Fail),
        ("0.9", "1", Status::Pass),
        ("0", "0", Status::Pass),
        ("0.001", "0", Status::Fail),
        ("1", "-1", Status::Inconclusive),
    ] {
        assert_eq!(
            status(percent(), candidate, stable),
            expected,
            "{candidate} {stable}"
        );
    }
    let ratio = || json!({ "ratioMax": 1.5 });
    assert_eq!(status(ratio(), "1.49", "1"), Status::Pass);
    assert_eq!(status(ratio(), "1.5", "1"), Status::Fail);
    let no_worse = || json!({ "deltaMax": 0 });
    assert_eq!(status(no_worse(), "1", "1"), Status::Pass);
    assert_eq!(status(no_worse(), "1.001", "1"), Status::Fail);
}

#[test]
fn of_two_limits_any_or_all_must_hold() {
    let limits = |need: &str| json!({ "deltaMax": 1, "deltaPercent": 10, "need": need });
    for (candidate, stable, any, all) in [
        ("1.05", "1", Status::Pass, Status::Pass),
        ("1.5", "1", Status::Pass, Status::Fail),
        ("21.5", "20", Status::Pass, Status::Fail),
        ("22.5", "20", Status::Fail, Status::Fail),
    ] {
        assert_eq!(
            status(limits("any"), candidate, stable),
            any,
            "{candidate} {stable}"
        );
        assert_eq!(
            status(limits("all"), candidate, stable),
            all,
            "{candidate} {stable}"
        );
    }
}

#[test]
fn where_lower_is_worse_it_is_the_other_way_round() {
    let limits = |more: Value| with(json!({ "worse": "lower" }), more);
    for (more, candidate, stable, expected) in [
        (json!({ "deltaMax": 1 }), "98.5", "99", Status::Pass),
        (json!({ "deltaMax": 1 }), "98", "99", Status::Fail),
        (json!({ "deltaMax": 1 }), "100", "99", Status::Pass),
        (json!({ "deltaPercent": 10 }), "91", "100", Status::Pass),
        (json!({ "deltaPercent": 10 }), "90", "100", Status::Fail),
        (json!({ "ratioMax": 2 }), "51", "100", Status::Pass),
        (json!({ "ratioMax": 2 }), "50", "100", Status::Fail),
    ] {
        let found = status(limits(more.clone()), candidate, stable);
        assert_eq!(found, expected, "{more} {candidate} {stable}");
    }
    let verdict = compared(limits(json!({ "ratioMax": 2 })), value("40"), value("100"));
    assert_eq!(verdict.measurements[0].limit, "> stable / 2");
}

#[test]
fn the_table_holds_both_sides() {
    let limits = json!({ "deltaMax": 1, "deltaPercent": 10, "need": "any", "max": 5 });
    let verdict = compared(limits.clone(), value("0.42"), value("0.35"));
    let measured = &verdict.measurements[0];
    assert_eq!(
        (measured.candidate, measured.stable),
        (Some(0.42), Some(0.35))
    );
    assert_eq!(measured.limit, "<= 5; < stable + 1 s or < stable + 10 %");
    assert_eq!(verdict.reason, "latency: 0.42 s on 1.4.0, 0.35 s on 1.3.0");

    let verdict = compared(limits.clone(), value("2"), value("0.35"));
    assert_eq!(
        verdict.reason,
        "latency: 2 s on 1.4.0, 0.35 s on 1.3.0, must be < stable + 1 s or < stable + 10 %"
    );
    assert_eq!(verdict.measurements[0].band, "alert");
    let url = &verdict.links[0].url;
    assert!(url.contains("g0.expr=q%7Bv%3D%221.4.0%22%7D"), "{url}");
    assert!(url.contains("g1.expr=q%7Bv%3D%221.3.0%22%7D"), "{url}");
}

#[test]
fn a_side_without_data_is_no_pass() {
    let limits = || json!({ "deltaMax": 1, "max": 5 });
    let verdict = compared(limits(), value("0.1"), nothing());
    assert_eq!(verdict.status, Status::Inconclusive);
    assert_eq!(
        verdict.reason,
        "no data of latency on 1.3.0: no series matches"
    );
    assert_eq!(verdict.measurements[0].candidate, Some(0.1));

    let verdict = compared(limits(), value("NaN"), value("0.1"));
    assert_eq!(verdict.status, Status::Inconclusive);
    assert_eq!(verdict.measurements[0].stable, Some(0.1));

    // What is too much by itself is so whatever stable does.
    let verdict = compared(limits(), value("6"), nothing());
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(verdict.reason, "latency: 6 s on 1.4.0, must be <= 5");
}

#[test]
fn stable_can_be_looked_at_before_the_run() {
    let config = json!({
        "url": URL, "candidate": "q[{{window}}]", "stable": "q[{{window}}]", "stableAt": "baseline",
        "deltaMax": 1,
    });
    let at = format!("{}&time={}.000", get("q[300s]"), NOW - 300);
    let answer = json!({ "status": "success", "data": { "resultType": "vector", "result": [
        { "metric": {}, "value": [NOW - 300, "0.1"] },
    ] } });
    let mut world = Fake::new()
        .http(&get("q[60s]"), 200, value("0.2"))
        .http(&at, 200, answer);
    let verdict = judge(&mut world, config).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(
        verdict.reason,
        "value: 0.2 on 1.4.0, 0.1 on 1.3.0 before the run"
    );
}

#[test]
fn too_few_samples_prove_nothing() {
    let config = |stable: bool| {
        let one = json!({ "url": URL, "query": "q", "max": 1 });
        let two = json!({ "url": URL, "candidate": "q", "stable": "q", "deltaMax": 1 });
        let query = "n{v=\"{{version}}\"}";
        let minimum = json!({ "minimumSamples": { "query": query, "atLeast": 100 } });
        with(if stable { two } else { one }, minimum)
    };
    let world = |figure: &str, candidate: Value, stable: Value| {
        Fake::new()
            .http(&get("q"), 200, value(figure))
            .http(&get("n{v=\"1.4.0\"}"), 200, candidate)
            .http(&get("n{v=\"1.3.0\"}"), 200, stable)
    };
    for figure in ["0", "50"] {
        let mut world = world(figure, value("40.2"), value("1000"));
        let verdict = judge(&mut world, config(false)).unwrap();
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!(verdict.reason, "40 samples on 1.4.0, 100 are needed");
        // 40 in the minute so far, so that 60 more take one and a half.
        assert_eq!(verdict.needs_ms, Some(90_000));
        assert_eq!(verdict.measurements[0].samples, Some(40));
    }
    let verdict = judge(&mut world("0", nothing(), nothing()), config(false)).unwrap();
    assert_eq!(verdict.status, Status::Inconclusive);
    assert_eq!(
        verdict.reason,
        "no number of samples on 1.4.0: no series matches"
    );

    let verdict = judge(&mut world("0", value("100"), value("99")), config(true)).unwrap();
    assert_eq!(verdict.reason, "99 samples on 1.3.0, 100 are needed");
    let verdict = judge(&mut world("0", value("100"), value("300")), config(true)).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(verdict.measurements[0].samples, Some(100));
}

#[test]
fn a_window_that_grows_no_longer_is_said_to() {
    let config = json!({
        "url": URL, "query": "q", "max": 1, "window": { "min": "30s", "max": "30s" },
        "minimumSamples": { "query": "n", "atLeast": 100 },
    });
    let mut world = Fake::new()
        .http(&get("q"), 200, value("0"))
        .http(&get("n"), 200, value("0"));
    let verdict = judge(&mut world, config).unwrap();
    assert_eq!(
        verdict.reason,
        "0 samples, 100 are needed; the window of 30s grows no longer"
    );
    assert_eq!(verdict.needs_ms, Some(30_000));
}
