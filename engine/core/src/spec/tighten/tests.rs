use super::*;
use crate::diagnostic::Code;
use crate::spec::{policy, release};

const RELEASE: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: 2.0.0
change: minor
environment: production
target: {simulated: {}}
workload: {deployment: shop, container: app, image: 'shop:{version}'}
gates:
  pods: {plugin: workload, policy: {interval: 30s, failureLimit: 2}}
phases:
  - name: prepare
    steps:
      - approve: {prompt: Go?, roles: [lead], expires: 2h}
      - attest: {name: told-support, prompt: Who?}
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: verify
    steps:
      - soak: {for: 10m, gates: [pods]}
approvals:
  - {before: verify, roles: [lead]}
";

const POLICY: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Policy
roles: {lead: [ada], owner: [grace]}
approvals:
  - {changes: [minor], roles: [owner], expires: 8h}
  - {environments: [development], roles: [lead]}
attestations:
  - {name: backup-tested, prompt: When?, environments: [production]}
  - {name: legal, prompt: Who?, changes: [major]}
gates: {minimumSoak: 5m, maxFailureLimit: 2, maxInterval: 1m}
rollback: {maxTarget: 10m, minRetries: 3}
";

fn against(release: &str, policy: &str) -> Result<Effective, Vec<(Code, u32)>> {
    let loaded = release::load(
        "release.yaml",
        release.as_bytes(),
        &release::Overrides::default(),
        &["rolling", "workload"],
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let policy = policy::load("policy.yaml", policy.as_bytes())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy;
    tighten(&loaded, &policy).map_err(|list| {
        list.iter()
            .map(|d| (d.code(), d.place().and_then(|p| p.line).unwrap_or_default()))
            .collect()
    })
}

#[test]
fn a_release_within_the_policy_gets_what_both_ask_for() {
    let effective = against(RELEASE, POLICY).unwrap();
    let approvals: Vec<(&str, &str, &str)> = effective
        .approvals
        .iter()
        .map(|a| {
            (
                a.before.as_str(),
                a.requirement.name.as_str(),
                a.requirement.people[0].as_str(),
            )
        })
        .collect();
    assert_eq!(
        approvals,
        [
            ("deploy", "policy-1", "grace"),
            ("verify", "release-1", "ada")
        ]
    );
    assert_eq!(
        effective
            .attestations
            .iter()
            .map(|a| a.name.as_str())
            .collect::<Vec<_>>(),
        ["backup-tested"]
    );
    assert_eq!(effective.minimum_soak, Span::from_mins(5));
    let stricter = RELEASE.replace("approvals:", "minimumSoak: 7m\napprovals:");
    assert_eq!(
        against(&stricter, POLICY).unwrap().minimum_soak,
        Span::from_mins(7)
    );
}

#[test]
fn whatever_is_wider_than_the_policy_is_refused_at_its_line() {
    let widened = codes::POLICY_WIDENED;
    let cases = [
        ("failureLimit: 2", "failureLimit: 3", widened, 10),
        ("interval: 30s", "interval: 2m", widened, 10),
        ("for: 10m", "for: 1m", widened, 20),
        ("approvals:", "minimumSoak: 1m\napprovals:", widened, 21),
        (
            "approvals:",
            "rollback: {target: 20m}\napprovals:",
            widened,
            21,
        ),
        (
            "approvals:",
            "rollback: {retries: 0}\napprovals:",
            widened,
            21,
        ),
        ("expires: 2h", "expires: 30h", widened, 14),
        (
            "roles: [lead], expires",
            "roles: [leed], expires",
            codes::UNKNOWN_ROLE,
            14,
        ),
        (
            "verify, roles: [lead]",
            "verify, roles: [boss]",
            codes::UNKNOWN_ROLE,
            22,
        ),
        (
            "verify, roles: [lead]",
            "verify, roles: [lead], count: 2",
            codes::APPROVAL_IMPOSSIBLE,
            22,
        ),
        (
            "name: told-support",
            "name: backup-tested",
            codes::DUPLICATE_NAME,
            15,
        ),
    ];
    for (from, to, code, line) in cases {
        assert!(RELEASE.contains(from), "{from}");
        assert_eq!(
            against(&RELEASE.replacen(from, to, 1), POLICY),
            Err(vec![(code, line)]),
            "{to}"
        );
    }
}

#[test]
fn without_a_policy_nobody_holds_a_role() {
    let empty = "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\n";
    assert_eq!(
        against(RELEASE, empty),
        Err(vec![(codes::UNKNOWN_ROLE, 14), (codes::UNKNOWN_ROLE, 22)])
    );
}
