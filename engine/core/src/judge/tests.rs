use proptest::prelude::*;

use super::*;
use crate::diagnostic::codes;
use crate::failure::Kind;
use crate::verdict::Measurement;

fn policy() -> GatePolicy {
    GatePolicy {
        interval: Span::from_secs(30),
        initial_delay: Span::ZERO,
        sustained: Span::ZERO,
        failure_limit: 0,
        inconclusive_limit: 1,
        error_limit: 1,
        timeout: Span::from_secs(10),
        bands: BTreeMap::new(),
        hold: Span::from_mins(10),
    }
}

fn sustained() -> GatePolicy {
    GatePolicy {
        sustained: Span::from_mins(5),
        ..policy()
    }
}

fn banded() -> GatePolicy {
    let bands = [
        ("normal", BandAction::Continue),
        ("warn", BandAction::Warn),
        ("between", BandAction::Hold),
        ("alert", BandAction::RollBack),
    ];
    GatePolicy {
        bands: bands
            .into_iter()
            .map(|(band, action)| (band.to_owned(), action))
            .collect(),
        ..policy()
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1000)
}

fn figure(band: &str, status: Status) -> Measurement {
    Measurement {
        name: "error ratio".to_owned(),
        unit: "%".to_owned(),
        candidate: Some(1.2),
        stable: None,
        samples: None,
        limit: "< 1%".to_owned(),
        band: band.to_owned(),
        status,
    }
}

fn said(status: Status, measurements: Vec<Measurement>) -> Verdict {
    Verdict {
        status,
        reason: "error ratio 1.2%".to_owned(),
        measurements,
        links: Vec::new(),
        needs: None,
        memory: None,
        extra: serde_json::Value::Null,
    }
}

fn bare(status: Status) -> Verdict {
    said(status, Vec::new())
}

fn in_band(band: &str, status: Status) -> Verdict {
    said(status, vec![figure(band, status)])
}

fn error(kind: Kind) -> Failure {
    Failure::new(kind, codes::CLUSTER_UNREACHABLE, "no answer")
}

/// What a table writes: at this second, this came in.
#[derive(Clone, Debug)]
enum In {
    Said(Status),
    Band(&'static str, Status),
    Error(Kind),
    Nothing,
    Retry,
}

fn judge(policy: &GatePolicy, table: &[(u64, In)]) -> Judge {
    let mut judge = Judge::new(policy, at(0));
    for (second, came) in table {
        let now = at(*second);
        judge.tick(now);
        match came {
            In::Said(status) => judge.verdict(policy, now, bare(*status)),
            In::Band(band, status) => judge.verdict(policy, now, in_band(band, *status)),
            In::Error(kind) => judge.error(policy, now, &error(*kind)),
            In::Nothing => {}
            In::Retry => judge.retry(now),
        }
    }
    judge
}

fn word(judge: &Judge) -> &'static str {
    match judge.decision() {
        Decision::Going => "going",
        Decision::Passing => "passing",
        Decision::Hold { .. } => "hold",
        Decision::Failed { .. } => "failed",
    }
}

/// The same input every 30 s, first and last second included.
fn every_30(from: u64, to: u64, came: &In) -> Vec<(u64, In)> {
    (from..=to)
        .step_by(30)
        .map(|second| (second, came.clone()))
        .collect()
}

const PASS: In = In::Said(Status::Pass);
const FAIL: In = In::Said(Status::Fail);
const NO_DATA: In = In::Said(Status::Inconclusive);

#[test]
fn decisions_follow_from_what_came_in() {
    let lenient = GatePolicy {
        failure_limit: 2,
        ..policy()
    };
    let at_once = GatePolicy {
        hold: Span::ZERO,
        ..policy()
    };
    let errors = In::Error(Kind::Retryable);
    type Case<'a> = (&'a str, &'a GatePolicy, Vec<(u64, In)>, &'a str);
    let cases: &[Case<'_>] = &[
        ("nothing yet", &policy(), vec![], "going"),
        ("a pass", &policy(), vec![(0, PASS)], "passing"),
        ("a fail", &policy(), vec![(0, FAIL)], "failed"),
        ("no data", &policy(), vec![(0, NO_DATA)], "going"),
        (
            "no data after a pass",
            &policy(),
            vec![(0, PASS), (30, NO_DATA)],
            "going",
        ),
        (
            "no data twice",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA)],
            "hold",
        ),
        (
            "no data, a pass, no data",
            &policy(),
            vec![(0, NO_DATA), (30, PASS), (60, NO_DATA)],
            "going",
        ),
        (
            "a hold and a pass",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA), (60, PASS)],
            "passing",
        ),
        (
            "a hold and an error",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA), (60, errors.clone())],
            "hold",
        ),
        (
            "a hold and a fail",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA), (60, FAIL)],
            "failed",
        ),
        (
            "a hold until its time",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA), (629, In::Nothing)],
            "hold",
        ),
        (
            "a hold over its time",
            &policy(),
            vec![(0, NO_DATA), (30, NO_DATA), (630, In::Nothing)],
            "failed",
        ),
        (
            "no time to hold",
            &at_once,
            vec![(0, NO_DATA), (30, NO_DATA)],
            "failed",
        ),
        ("an error", &policy(), vec![(0, errors.clone())], "going"),
        (
            "an error after a pass",
            &policy(),
            vec![(0, PASS), (30, errors.clone())],
            "going",
        ),
        (
            "errors in a row",
            &policy(),
            vec![(0, errors.clone()), (30, errors.clone())],
            "hold",
        ),
        (
            "errors apart",
            &policy(),
            vec![(0, errors.clone()), (30, PASS), (60, errors.clone())],
            "going",
        ),
        (
            "an error that can't pass",
            &policy(),
            vec![(0, In::Error(Kind::Misconfigured))],
            "hold",
        ),
        (
            "a retry",
            &policy(),
            vec![(0, errors.clone()), (30, errors), (40, In::Retry)],
            "going",
        ),
        (
            "fails let pass",
            &lenient,
            vec![(0, FAIL), (30, FAIL)],
            "going",
        ),
        (
            "fails let pass, then a pass",
            &lenient,
            vec![(0, FAIL), (30, FAIL), (60, PASS)],
            "passing",
        ),
        (
            "one fail more",
            &lenient,
            vec![(0, FAIL), (30, PASS), (60, FAIL), (90, FAIL)],
            "failed",
        ),
        (
            "a pass after it failed",
            &policy(),
            vec![(0, FAIL), (30, PASS)],
            "failed",
        ),
        (
            "a normal figure",
            &banded(),
            vec![(0, In::Band("normal", Status::Fail))],
            "passing",
        ),
        (
            "a warning",
            &banded(),
            vec![(0, In::Band("warn", Status::Fail))],
            "passing",
        ),
        (
            "between the bands",
            &banded(),
            vec![(0, In::Band("between", Status::Fail))],
            "hold",
        ),
        (
            "an alert",
            &banded(),
            vec![(0, In::Band("alert", Status::Pass))],
            "failed",
        ),
        (
            "a band without a rule",
            &banded(),
            vec![(0, In::Band("odd", Status::Fail))],
            "failed",
        ),
        (
            "a band never makes data",
            &banded(),
            vec![(0, In::Band("normal", Status::Inconclusive))],
            "going",
        ),
        (
            "leaving a band that holds",
            &banded(),
            vec![(0, In::Band("between", Status::Fail)), (30, PASS)],
            "passing",
        ),
    ];
    for (name, policy, table, wanted) in cases {
        assert_eq!(word(&judge(policy, table)), *wanted, "{name}");
    }
}

/// Scenario 40: 1.2% for four minutes and then recovery doesn't roll back; five minutes do.
#[test]
fn only_a_breach_that_lasts_counts() {
    let mut short = every_30(0, 240, &FAIL);
    short.push((270, PASS));
    assert_eq!(word(&judge(&sustained(), &short)), "passing");
    assert_eq!(
        word(&judge(&sustained(), &every_30(0, 270, &FAIL))),
        "going"
    );
    assert_eq!(
        word(&judge(&sustained(), &every_30(0, 300, &FAIL))),
        "failed"
    );
    short.extend(every_30(300, 570, &FAIL));
    assert_eq!(word(&judge(&sustained(), &short)), "going", "it began anew");
}

/// Scenario 39: no data is inconclusive, never a pass, and neither resets nor completes a breach.
#[test]
fn no_data_neither_resets_nor_completes_a_breach() {
    let patient = GatePolicy {
        inconclusive_limit: 100,
        ..sustained()
    };
    let mut table = every_30(0, 240, &FAIL);
    table.extend(every_30(270, 600, &NO_DATA));
    assert_eq!(word(&judge(&patient, &table)), "going", "not completed");
    table.push((630, FAIL));
    assert_eq!(word(&judge(&patient, &table)), "failed", "not reset");
    let silent = judge(&patient, &every_30(0, 1200, &NO_DATA));
    assert_eq!(word(&silent), "going");
    assert_eq!(silent.measured(), Span::ZERO);
}

/// Scenario 43: a band that holds goes back when its time is over, however often it is looked at.
#[test]
fn a_hold_by_band_runs_out() {
    let between = In::Band("between", Status::Fail);
    let policy = banded();
    assert_eq!(word(&judge(&policy, &every_30(0, 570, &between))), "hold");
    assert_eq!(word(&judge(&policy, &every_30(0, 600, &between))), "failed");
    let mut eased = every_30(0, 540, &between);
    eased.push((570, PASS));
    eased.extend(every_30(600, 1170, &between));
    assert_eq!(word(&judge(&policy, &eased)), "hold", "the time began anew");
}

#[test]
fn the_worst_band_of_several_figures_decides() {
    let policy = banded();
    for (first, second, wanted) in [
        ("normal", "warn", "passing"),
        ("warn", "between", "hold"),
        ("alert", "normal", "failed"),
        ("between", "alert", "failed"),
    ] {
        let mut judge = Judge::new(&policy, at(0));
        let figures = vec![figure(first, Status::Pass), figure(second, Status::Fail)];
        judge.verdict(&policy, at(0), said(Status::Fail, figures));
        assert_eq!(word(&judge), wanted, "{first}, {second}");
    }
}

#[test]
fn a_band_speaks_for_its_own_figure_only() {
    let policy = banded();
    let mut judge = Judge::new(&policy, at(0));
    let figures = vec![figure("normal", Status::Pass), figure("", Status::Fail)];
    judge.verdict(&policy, at(0), said(Status::Fail, figures));
    assert_eq!(word(&judge), "failed", "the other figure failed");
    let mut judge = Judge::new(&policy, at(0));
    judge.verdict(
        &policy,
        at(0),
        said(Status::Fail, vec![figure("normal", Status::Pass)]),
    );
    assert_eq!(
        word(&judge),
        "failed",
        "the gate failed for a reason of its own"
    );
}

#[test]
fn a_warning_is_told_once_while_it_lasts() {
    let policy = banded();
    let mut judge = Judge::new(&policy, at(0));
    let mut told = Vec::new();
    for (second, band) in [(0, "warn"), (30, "warn"), (60, "normal"), (90, "warn")] {
        judge.verdict(&policy, at(second), in_band(band, Status::Pass));
        told.push(judge.take_warning().is_some());
        assert_eq!(judge.take_warning(), None);
    }
    assert_eq!(told, [true, false, false, true]);
}

#[test]
fn time_counts_only_where_verdicts_follow_closely() {
    let measured = |table: &[(u64, In)]| judge(&policy(), table).measured();
    assert_eq!(measured(&[(0, PASS)]), Span::ZERO);
    assert_eq!(
        measured(&[(0, PASS), (30, PASS), (60, PASS)]),
        Span::from_secs(60)
    );
    assert_eq!(
        measured(&[(0, PASS), (60, PASS)]),
        Span::from_secs(60),
        "one was missed"
    );
    assert_eq!(
        measured(&[(0, PASS), (61, PASS)]),
        Span::ZERO,
        "more than two intervals"
    );
    assert_eq!(
        measured(&[(0, PASS), (30, NO_DATA), (60, PASS)]),
        Span::from_secs(60)
    );
    assert_eq!(
        measured(&[(0, PASS), (30, PASS), (500, PASS), (530, PASS)]),
        Span::from_secs(60),
        "the gap adds nothing, what comes after it does"
    );
}

#[test]
fn a_gate_is_asked_again_in_bounded_time() {
    let policy = GatePolicy {
        interval: Span::ZERO,
        initial_delay: Span::from_secs(20),
        ..policy()
    };
    let mut judge = Judge::new(&policy, at(0));
    assert_eq!(judge.due(), at(20));
    judge.verdict(&policy, at(20), bare(Status::Pass));
    assert!(
        judge.due() > at(20),
        "an interval of nothing would be a busy loop"
    );
    let year = error(Kind::Retryable).again_after(Some(Span::from_mins(60 * 24 * 365)));
    judge.error(&policy, at(21), &year);
    assert!(judge.due() <= at(21 + 300), "no failure silences a gate");
    judge.error(
        &policy,
        at(22),
        &error(Kind::Retryable).again_after(Some(Span::ZERO)),
    );
    assert!(judge.due() > at(22));
}

#[test]
fn what_is_not_a_number_is_no_data() {
    for figure_of in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut judge = Judge::new(&policy(), at(0));
        let mut verdict = in_band("normal", Status::Pass);
        verdict.measurements[0].candidate = Some(figure_of);
        judge.verdict(&policy(), at(0), verdict);
        assert_eq!(word(&judge), "going");
        let last = judge.last().unwrap();
        assert_eq!(last.measurements[0].candidate, None);
        assert_eq!(last.status, Status::Inconclusive);
    }
}

proptest! {
    /// Whatever comes in: only a pass makes a gate pass, failed stays failed, and it is asked again later.
    #[test]
    fn rules_hold_for_any_history(
        steps in prop::collection::vec((0u64..200, 0usize..8), 0..60),
        lasting in any::<bool>(),
    ) {
        let policy = if lasting { GatePolicy { bands: banded().bands, ..sustained() } } else { banded() };
        let inputs = [
            PASS, FAIL, NO_DATA,
            In::Band("warn", Status::Pass), In::Band("between", Status::Fail), In::Band("alert", Status::Fail),
            In::Error(Kind::Timeout), In::Retry,
        ];
        let mut judge = Judge::new(&policy, at(0));
        let mut now = 0;
        let mut failed = false;
        for (wait, which) in steps {
            now += wait;
            judge.tick(at(now));
            let before = judge.measured();
            match &inputs[which] {
                In::Said(status) => judge.verdict(&policy, at(now), bare(*status)),
                In::Band(band, status) => judge.verdict(&policy, at(now), in_band(band, *status)),
                In::Error(kind) => judge.error(&policy, at(now), &error(*kind)),
                In::Retry => judge.retry(at(now)),
                In::Nothing => {}
            }
            prop_assert!(!failed || word(&judge) == "failed");
            failed = word(&judge) == "failed";
            if word(&judge) == "passing" && !matches!(inputs[which], In::Retry) {
                prop_assert!(matches!(inputs[which], In::Said(Status::Pass) | In::Band("warn", _)));
            }
            prop_assert!(judge.measured() >= before);
            prop_assert!(judge.measured() <= at(now).since(at(0)));
            if !matches!(inputs[which], In::Retry) {
                prop_assert!(judge.due() > at(now));
            }
            let text = serde_json::to_string(&judge).unwrap();
            prop_assert_eq!(serde_json::from_str::<Judge>(&text).unwrap(), judge.clone());
        }
    }
}

#[test]
fn a_band_that_makes_a_failure_of_a_pass_is_named() {
    for (status, reason) in [
        (Status::Pass, "in band `alert`: error ratio 1.2%"),
        (Status::Fail, "error ratio 1.2%"),
    ] {
        let judge = judge(&banded(), &[(0, In::Band("alert", status))]);
        let Decision::Failed { reason: found } = judge.decision() else {
            panic!("{:?}", judge.decision());
        };
        assert_eq!(found, reason);
    }
}
