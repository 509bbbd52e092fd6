use super::*;
use crate::diagnostic::{Code, codes};

const EXAMPLE: &str = include_str!("../../../../../examples/hello/policy.yaml");

fn faults(body: &str) -> Vec<(Code, u32)> {
    let text = format!("apiVersion: phasegate.dev/v1alpha1\nkind: Policy\n{body}\n");
    let list = load("policy.yaml", text.as_bytes()).expect_err("the policy should be refused");
    list.iter()
        .map(|d| (d.code(), d.place().and_then(|p| p.line).unwrap_or_default()))
        .collect()
}

#[test]
fn the_example_loads_and_survives_json() {
    let policy = load("policy.yaml", EXAMPLE.as_bytes())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy;
    let json = serde_json::to_value(&policy).unwrap();
    assert_eq!(serde_json::from_value::<Policy>(json).unwrap(), policy);
}

#[test]
fn a_policy_that_cannot_hold_is_refused_at_its_line() {
    let window = |zone: &str, days: &str, from: &str, to: &str| {
        format!("windows:\n  - {{zone: {zone}, days: [{days}], from: \"{from}\", to: \"{to}\"}}")
    };
    let cases = [
        ("roles: {lead: [a]}\napprovals:\n  - {roles: [leed]}".to_owned(), codes::UNKNOWN_ROLE, 5),
        ("roles: {lead: [a]}\napprovals:\n  - {roles: [lead], count: 2}".to_owned(), codes::APPROVAL_IMPOSSIBLE, 5),
        ("roles: {lead: [a]}\napprovals:\n  - {roles: [lead], count: 0}".to_owned(), codes::IMPOSSIBLE_NUMBER, 5),
        ("plugins: {grants: [{plugin: a, source: b, may: [{http: \"a:1\"}]}]}".to_owned(), codes::CONTRADICTION, 3),
        ("plugins: {grants: [{plugin: a, may: []}]}".to_owned(), codes::IMPOSSIBLE_NUMBER, 3),
        ("plugins: {grants: [{plugin: a, digest: \"sha256:A\", may: [{artifacts: true}]}]}".to_owned(), codes::INVALID_VALUE, 3),
        ("roles: {lead: [a, a]}".to_owned(), codes::DUPLICATE_NAME, 3),
        ("roles: {Lead One: [a]}".to_owned(), codes::BAD_NAME, 3),
        (window("Mars/Olympus", "tue", "10:00", "14:00"), codes::WINDOW_INVALID, 4),
        (window("Europe/Berlin", "tue", "14:00", "10:00"), codes::WINDOW_INVALID, 4),
        (window("Europe/Berlin", "tue", "25:00", "26:00"), codes::INVALID_VALUE, 4),
        (window("Europe/Berlin", "tuesday", "10:00", "14:00"), codes::INVALID_VALUE, 4),
        (window("Europe/Berlin", "", "10:00", "14:00"), codes::IMPOSSIBLE_NUMBER, 4),
        ("holidays: [2026-12-25]".to_owned(), codes::WINDOW_INVALID, 3),
        ("holidays: [2026-13-45]".to_owned(), codes::INVALID_VALUE, 3),
        ("freezes:\n  - {from: \"2026-12-02T00:00:00Z\", to: \"2026-12-01T00:00:00Z\", reason: x}".to_owned(), codes::WINDOW_INVALID, 4),
        ("freezes:\n  - {from: \"2026-12-02\", to: \"2026-12-03\", reason: x}".to_owned(), codes::INVALID_VALUE, 4),
        ("plugins: {memoryMiB: 0}".to_owned(), codes::IMPOSSIBLE_NUMBER, 3),
        ("gates: {minimumSoak: 0s}".to_owned(), codes::IMPOSSIBLE_NUMBER, 3),
        ("gates: {minimalSoak: 5m}".to_owned(), codes::UNKNOWN_FIELD, 3),
    ];
    for (body, code, line) in cases {
        assert_eq!(faults(&body), [(code, line)], "{body}");
    }
}

#[test]
fn people_are_found_by_their_roles() {
    let policy = Policy {
        roles: [
            ("a".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
            ("b".to_owned(), vec!["y".to_owned()]),
        ]
        .into(),
        ..Policy::default()
    };
    assert_eq!(
        policy.people(&["a".to_owned(), "b".to_owned(), "c".to_owned()]),
        ["x", "y"]
    );
    assert_eq!(policy.roles_of("y"), ["a", "b"]);
}
