use super::*;

fn get_range(query: &str, over: u64, step: u64) -> String {
    let (start, end) = (NOW - over, NOW);
    format!(
        "GET {URL}/api/v1/query_range?query={}&timeout=5000ms&start={start}.000&end={end}.000&step={step}.000",
        encode(query)
    )
}

/// A series whose last point is of now.
fn series(step: u64, values: &[&str]) -> Value {
    let first = NOW - step * (values.len() as u64 - 1);
    let points: Vec<_> = (0..)
        .zip(values)
        .map(|(n, value)| json!([first + step * n, value]))
        .collect();
    json!({ "status": "success", "data": { "resultType": "matrix", "result": [
        { "metric": { "__name__": "lag", "topic": "orders" }, "values": points },
    ] } })
}

fn lag(range: Value, limits: Value, values: &[&str]) -> Verdict {
    let config =
        json!({ "url": URL, "query": "lag", "name": "lag", "unit": "messages", "range": range });
    let mut world = Fake::new().http(&get_range("lag", 60, 15), 200, series(15, values));
    judge(&mut world, with(config, limits)).unwrap()
}

#[test]
fn growth_over_the_window_is_held_against_its_limit() {
    let growth = || json!({ "reduce": "growth" });
    let limit = || json!({ "max": 10_000 });
    let verdict = lag(growth(), limit(), &["400", "3000", "7000", "9000", "10900"]);
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(verdict.reason, "lag: 10500 messages, must be <= 10000");
    let verdict = lag(growth(), limit(), &["4900", "4900", "8000", "9000", "9900"]);
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(verdict.measurements[0].candidate, Some(5000.0));
    let shrinks = lag(
        growth(),
        limit(),
        &["90000", "70000", "60000", "50000", "1"],
    );
    assert_eq!(shrinks.status, Status::Pass);
}

#[test]
fn the_share_of_breaches_is_held_against_what_is_tolerated() {
    let range = |tolerate: f64| json!({ "reduce": "breaches", "tolerate": tolerate });
    let values = ["1", "9", "2", "8", "1"];
    let verdict = lag(range(40.0), json!({ "max": 5 }), &values);
    assert_eq!(verdict.status, Status::Pass);
    let measured = &verdict.measurements[0];
    assert_eq!(
        (measured.candidate, measured.unit.as_str()),
        (Some(40.0), "%")
    );
    let verdict = lag(range(39.0), json!({ "max": 5 }), &values);
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(
        verdict.reason,
        "lag: 40 %, must be <= 39 % of points outside of <= 5"
    );
    let bands = lag(range(0.0), json!({ "alert": { "above": 8 } }), &values);
    assert_eq!(bands.measurements[0].candidate, Some(20.0));
    assert_eq!(bands.status, Status::Fail);
}

#[test]
fn a_range_with_too_little_data_is_no_pass() {
    let last = || json!({ "reduce": "last" });
    let limit = || json!({ "max": 5 });
    let few = lag(last(), limit(), &["1", "1"]);
    assert_eq!(few.status, Status::Inconclusive);
    assert_eq!(
        few.reason,
        "no data of lag: 2 of 5 points have data, 4 are needed"
    );
    assert_eq!(few.needs_ms, Some(30_000));
    let ended = lag(last(), limit(), &["1", "1", "NaN", "NaN", "NaN"]);
    assert_eq!(
        ended.reason,
        "no data of lag: there is none since 23:59:15 UTC"
    );
    assert_eq!(
        lag(last(), limit(), &["1", "1", "NaN", "1", "1"]).status,
        Status::Pass
    );
}

#[test]
fn how_far_back_can_be_given() {
    let config = json!({
        "url": URL, "query": "lag", "range": { "over": "30m", "step": "10m", "reduce": "max" }, "max": 5,
    });
    let request = get_range("lag", 1800, 600);
    let mut world = Fake::new().http(&request, 200, series(600, &["1", "9", "1", "1"]));
    assert_eq!(judge(&mut world, config).unwrap().status, Status::Fail);
}
