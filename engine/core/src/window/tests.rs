use super::*;
use crate::spec::policy;

const POLICY: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Policy
windows:
  - {environments: [production], zone: America/New_York, days: [tue, wed, thu], from: "10:00", to: "14:00", reason: office hours}
  - {environments: [staging], zone: Europe/Berlin, days: [mon, tue, wed, thu], from: "08:00", to: "18:00"}
  - {environments: [staging], zone: Europe/Berlin, days: [fri], from: "08:00", to: "12:00"}
  - {environments: [night], zone: Europe/Berlin, days: [sat, sun], from: "22:00", to: "24:00"}
  - {environments: [night], zone: Europe/Berlin, days: [sun, mon], from: "00:00", to: "04:00"}
  - {environments: [gap], zone: America/New_York, days: [sun], from: "02:00", to: "03:00"}
holidays: [2026-11-26, 2026-12-25]
denyDayBeforeHoliday: true
freezes:
  - {from: "2026-12-15T00:00:00Z", to: "2027-01-05T00:00:00Z", reason: year's end, environments: [production]}
"#;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn policy() -> Policy {
    policy::load("policy.yaml", POLICY.as_bytes())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy
}

fn evaluate_at(now: &str, environment: &str) -> Decision {
    evaluate(&policy(), at(now), environment, Change::Minor)
}

#[test]
fn scenario_8_friday_afternoon_and_the_day_before_a_holiday_are_denied() {
    let cases = [
        // Friday: morning open in staging, afternoon closed until Monday.
        ("2026-11-20T09:00:00+01:00", "staging", None),
        (
            "2026-11-20T15:00:00+01:00",
            "staging",
            Some(("outside of", "2026-11-23T08:00:00+01:00")),
        ),
        (
            "2026-11-20T15:00:00-05:00",
            "production",
            Some(("outside of", "2026-11-24T10:00:00-05:00")),
        ),
        // Wednesday before Thanksgiving, and the day itself.
        (
            "2026-11-25T11:00:00-05:00",
            "production",
            Some((
                "2026-11-25 is the day before a holiday",
                "2026-12-01T10:00:00-05:00",
            )),
        ),
        (
            "2026-11-26T11:00:00-05:00",
            "production",
            Some(("2026-11-26 is a holiday", "2026-12-01T10:00:00-05:00")),
        ),
        (
            "2026-11-25T11:00:00+01:00",
            "staging",
            Some(("day before", "2026-11-27T08:00:00+01:00")),
        ),
        // The edges belong to the side that they begin.
        (
            "2026-11-24T09:59:59-05:00",
            "production",
            Some((
                "outside of tue wed thu 10:00-14:00 America/New_York (office hours)",
                "2026-11-24T10:00:00-05:00",
            )),
        ),
        ("2026-11-24T10:00:00-05:00", "production", None),
        ("2026-11-24T13:59:59-05:00", "production", None),
        // The next day is the one before Thanksgiving, so it is a week.
        (
            "2026-11-24T14:00:00-05:00",
            "production",
            Some(("outside of", "2026-12-01T10:00:00-05:00")),
        ),
    ];
    for (now, environment, closed) in cases {
        match (evaluate_at(now, environment), closed) {
            (Decision::Open { .. }, None) => {}
            (Decision::Closed { reason, opens_at }, Some((expected, opens))) => {
                assert!(reason.contains(expected), "{now}: {reason}");
                assert_eq!(opens_at, Some(at(opens)), "{now}");
            }
            (decision, _) => panic!("{now} in {environment}: {decision:?}"),
        }
    }
}

#[test]
fn scenario_9_tuesday_eleven_in_new_york_is_allowed_on_both_sides_of_a_clock_change() {
    // The clocks go forward on 8 March and back on 1 November 2026.
    for (day, utc_hour) in [
        ("2026-03-03", 16),
        ("2026-03-10", 15),
        ("2026-10-27", 15),
        ("2026-11-03", 16),
    ] {
        let now = format!("{day}T{utc_hour}:00:00Z");
        let until = at(&format!("{day}T{}:00:00Z", utc_hour + 3));
        assert_eq!(
            evaluate_at(&now, "production"),
            Decision::Open { until: Some(until) },
            "{now}"
        );
        // The same hour by UTC is an hour off on the other side: 09:00 there, which is too early.
        let early = format!("{day}T{}:00:00Z", utc_hour - 2);
        assert!(!evaluate_at(&early, "production").is_open(), "{early}");
    }
}

#[test]
fn windows_that_touch_at_midnight_are_one() {
    let until = Some(at("2026-11-22T04:00:00+01:00"));
    assert_eq!(
        evaluate_at("2026-11-21T23:00:00+01:00", "night"),
        Decision::Open { until }
    );
    assert_eq!(
        evaluate_at("2026-11-22T00:00:00+01:00", "night"),
        Decision::Open { until }
    );
}

#[test]
fn a_window_that_the_clocks_jump_over_is_not_open_that_day() {
    // On 8 March 2026 there is no 02:30 in New York.
    match evaluate_at("2026-03-08T06:30:00Z", "gap") {
        Decision::Closed { opens_at, .. } => {
            assert_eq!(opens_at, Some(at("2026-03-15T02:00:00-04:00")))
        }
        open @ Decision::Open { .. } => panic!("{open:?}"),
    }
}

#[test]
fn a_freeze_closes_what_is_open_and_says_why() {
    match evaluate_at("2026-12-16T11:00:00-05:00", "production") {
        Decision::Closed { reason, opens_at } => {
            assert!(reason.contains("year's end"), "{reason}");
            assert_eq!(opens_at, Some(at("2027-01-05T10:00:00-05:00")));
        }
        open @ Decision::Open { .. } => panic!("{open:?}"),
    }
    assert!(
        evaluate_at("2026-12-16T11:00:00+01:00", "staging").is_open(),
        "the freeze is production's"
    );
}

#[test]
fn a_freeze_to_come_ends_what_is_open() {
    let mut policy = Policy {
        windows: Vec::new(),
        holidays: Vec::new(),
        ..policy()
    };
    let decision = evaluate(
        &policy,
        at("2026-12-01T00:00:00Z"),
        "production",
        Change::Minor,
    );
    assert_eq!(
        decision,
        Decision::Open {
            until: Some(at("2026-12-15T00:00:00Z"))
        }
    );
    policy.freezes.clear();
    let decision = evaluate(
        &policy,
        at("2026-12-01T00:00:00Z"),
        "production",
        Change::Minor,
    );
    assert_eq!(decision, Decision::Open { until: None });
}

#[test]
fn a_hotfix_is_let_through_only_where_the_policy_says_so() {
    let now = at("2026-12-25T03:00:00Z");
    let policy = policy();
    assert!(!evaluate(&policy, now, "production", Change::Hotfix).is_open());
    let lenient = Policy {
        except_hotfix: true,
        ..policy
    };
    assert!(evaluate(&lenient, now, "production", Change::Hotfix).is_open());
    assert!(!evaluate(&lenient, now, "production", Change::Patch).is_open());
}

#[test]
fn an_environment_without_windows_is_open() {
    assert_eq!(
        evaluate_at("2026-11-26T03:00:00Z", "development"),
        Decision::Open { until: None }
    );
}
