//! Actions that strategies may use.

use super::*;

/// A release that defines two, and gives its strategy one of them.
const ACTING: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: '2'
change: minor
target: {simulated: {}}
workload: {deployment: shop, container: app, image: 'shop:{version}'}
credentials:
  db: {env: DB, hosts: [db.example]}
actions:
  warm: {plugin: http, config: {credential: db}}
  later: {plugin: http, manifests: {path: policies}, timeout: 3m}
phases:
  - name: before
    steps: [act: {plugin: http}]
  - name: deploy
    strategy: {plugin: rolling, actions: [warm]}
";

#[test]
fn they_are_found_with_those_of_steps_where_they_stand() {
    let loaded = load_text(ACTING).unwrap();
    let acts = loaded.release.acts();
    let pointers: Vec<&str> = acts.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let wanted = ["/actions/later", "/actions/warm", "/phases/0/steps/0/act"];
    assert_eq!(pointers, wanted);
    assert_eq!(acts[0].1.timeout, Span::from_mins(3));
    assert_eq!(acts[1].1.timeout, Span::from_mins(10));
    let strategy = loaded.release.phases[1].strategy().unwrap();
    assert_eq!(strategy.actions, ["warm"]);
}

#[test]
fn their_faults_are_told_as_those_of_gates() {
    for (from, to, code, line) in [
        ("[warm]", "[worm]", codes::DANGLING_NAME, 17),
        ("[warm]", "[warm, warm]", codes::DUPLICATE_NAME, 17),
        ("  later:", "  Later:", codes::BAD_NAME, 12),
        ("credential: db", "credential: dB", codes::DANGLING_NAME, 11),
        (
            "warm: {plugin: http",
            "warm: {plugin: htpp",
            codes::DANGLING_NAME,
            11,
        ),
        ("timeout: 3m", "timeout: 0s", codes::IMPOSSIBLE_NUMBER, 12),
        ("credential: db", "password: x", codes::SECRET_IN_CONFIG, 11),
        (
            "policies}",
            "policies}, config: {objects: []}",
            codes::CONTRADICTION,
            12,
        ),
        ("warm: {plugin", "warm: {plugins", codes::UNKNOWN_FIELD, 11),
    ] {
        assert!(ACTING.contains(from), "{from}");
        let found = faults(&ACTING.replacen(from, to, 1));
        let found: Vec<_> = found.iter().map(|(code, line, _)| (*code, *line)).collect();
        assert!(found.contains(&(code, line)), "{from} -> {to}: {found:?}");
    }
    let many: String = (0..70)
        .map(|n| format!("  a{n}: {{plugin: http}}\n"))
        .collect();
    let found = faults(&ACTING.replacen("  later", &format!("{many}  later"), 1));
    assert_eq!(found[0].0, codes::TOO_MANY);
    // One that no strategy is given is no fault, as a gate that nobody asks is none.
    assert!(load_text(&ACTING.replacen(", actions: [warm]", "", 1)).is_ok());
}
