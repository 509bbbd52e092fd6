use super::*;
use crate::spec::policy;

/// The table of the runbooks: rows by type, and rows by environment.
const POLICY: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Policy
roles:
  team-lead: [tina]
  product-owner: [paula]
  director: [dora, dirk]
  operations: [olga, dora]
  on-call: [otto]
approvals:
  - {changes: [patch, configuration], environments: [staging, production], roles: [team-lead]}
  - {changes: [minor], environments: [staging, production], roles: [product-owner]}
  - {changes: [major], environments: [staging, production], roles: [director], count: 2, expires: 2h}
  - {changes: [hotfix], roles: [on-call], environments: [production], starterMayApprove: true}
  - {environments: [production], changes: [patch, configuration, minor, major], roles: [operations]}
";

const PLAN: &str = "sha256:abc";
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn policy() -> Policy {
    policy::load("policy.yaml", POLICY.as_bytes())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy
}

fn given(person: &str) -> Approval {
    Approval {
        person: person.to_owned(),
        plan_digest: PLAN.to_owned(),
        at: NOW,
    }
}

fn refusal(requirement: &Requirement, person: &str, starter: &str) -> Option<Code> {
    counts(requirement, &given(person), starter, PLAN, NOW)
        .err()
        .map(|r| r.code())
}

#[test]
fn scenario_10_a_minor_release_takes_the_product_owner_and_not_a_team_lead() {
    let required = required(&policy(), Change::Minor, "staging");
    assert_eq!(required.len(), 1);
    assert_eq!(
        refusal(&required[0], "tina", "x"),
        Some(codes::APPROVER_NOT_ALLOWED)
    );
    assert_eq!(refusal(&required[0], "paula", "x"), None);
}

#[test]
fn scenario_11_each_row_is_met_by_its_role_only() {
    let policy = policy();
    let everybody = ["tina", "paula", "dora", "dirk", "olga", "otto", "nobody"];
    let cases: [(Change, &str, &[&[&str]]); 6] = [
        (Change::Patch, "staging", &[&["tina"]]),
        (
            Change::Configuration,
            "production",
            &[&["tina"], &["dora", "olga"]],
        ),
        (Change::Minor, "staging", &[&["paula"]]),
        (Change::Major, "staging", &[&["dora", "dirk"]]),
        (Change::Hotfix, "production", &[&["otto"]]),
        (Change::Hotfix, "staging", &[]),
    ];
    for (change, environment, rows) in cases {
        let required = required(&policy, change, environment);
        assert_eq!(required.len(), rows.len(), "{change} in {environment}");
        for (requirement, row) in required.iter().zip(rows) {
            for person in everybody {
                assert_eq!(
                    refusal(requirement, person, "x").is_none(),
                    row.contains(&person),
                    "{change} in {environment}: {person}"
                );
            }
        }
    }
}

#[test]
fn scenario_12_a_major_release_to_production_needs_type_and_environment() {
    let required = required(&policy(), Change::Major, "production");
    assert_eq!(
        required.iter().map(|r| r.roles.clone()).collect::<Vec<_>>(),
        [vec!["director"], vec!["operations"]]
    );
    let one = [given("dora")];
    assert_eq!(
        missing(&required[0], &one, "x", PLAN, NOW),
        1,
        "two directors are asked for"
    );
    assert_eq!(
        missing(&required[1], &one, "x", PLAN, NOW),
        0,
        "one person may hold both roles"
    );
    let twice = [given("dora"), given("dora")];
    assert_eq!(
        missing(&required[0], &twice, "x", PLAN, NOW),
        1,
        "nobody counts twice"
    );
    assert_eq!(
        missing(
            &required[0],
            &[given("dora"), given("dirk")],
            "x",
            PLAN,
            NOW
        ),
        0
    );
}

#[test]
fn scenario_13_development_asks_nobody() {
    for change in [
        Change::Configuration,
        Change::Patch,
        Change::Minor,
        Change::Major,
        Change::Hotfix,
    ] {
        assert!(
            required(&policy(), change, "development").is_empty(),
            "{change}"
        );
    }
    assert!(required(&Policy::default(), Change::Major, "production").is_empty());
}

#[test]
fn who_started_a_run_counts_only_where_the_row_says_so() {
    let minor = &required(&policy(), Change::Minor, "staging")[0];
    assert_eq!(
        refusal(minor, "paula", "paula"),
        Some(codes::APPROVER_NOT_ALLOWED)
    );
    let hotfix = &required(&policy(), Change::Hotfix, "production")[0];
    assert_eq!(refusal(hotfix, "otto", "otto"), None);
}

#[test]
fn an_approval_is_bound_to_the_plan_and_expires() {
    let major = &required(&policy(), Change::Major, "staging")[0];
    let other = Approval {
        plan_digest: "sha256:other".to_owned(),
        ..given("dora")
    };
    assert_eq!(
        counts(major, &other, "x", PLAN, NOW).unwrap_err().code(),
        codes::APPROVAL_STALE
    );
    let at = |age: Span| counts(major, &given("dora"), "x", PLAN, NOW.plus(age));
    assert!(at(Span::from_mins(120)).is_ok());
    assert_eq!(
        at(Span::from_mins(121)).unwrap_err().code(),
        codes::APPROVAL_EXPIRED
    );
    let from_the_future = Approval {
        at: NOW.plus(Span::from_mins(1)),
        ..given("dora")
    };
    assert!(counts(major, &from_the_future, "x", PLAN, NOW).is_err());
}

#[test]
fn an_approval_that_only_the_starter_could_give_is_refused_before_anybody_waits() {
    let minor = required(&policy(), Change::Minor, "staging");
    let fault = can_be_given(&minor, "paula").unwrap_err();
    let text = fault.to_string();
    for part in [
        "PG0204",
        "policy-2",
        "1 of product-owner (paula)",
        "paula starts the run",
        "nobody else may",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(can_be_given(&minor, "tina").is_ok());
    // Two directors are asked for, and one of the two starts the run.
    let major = required(&policy(), Change::Major, "staging");
    let text = can_be_given(&major, "dora").unwrap_err().to_string();
    assert!(text.contains("only dirk may"), "{text}");
    assert!(can_be_given(&major, "dan").is_ok());
    // A hotfix may be approved by who starts it.
    let hotfix = required(&policy(), Change::Hotfix, "production");
    assert!(can_be_given(&hotfix, "otto").is_ok());
}
