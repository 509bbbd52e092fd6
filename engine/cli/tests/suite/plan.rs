//! The words in which a plan is shown.

use std::path::Path;

use crate::desk::Desk;

/// An example's files on a desk.
fn example(name: &str) -> Desk {
    let desk = Desk::quick();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            desk.write(path.file_name().unwrap().to_str().unwrap(), &text);
        }
    }
    desk
}

/// The line that begins so, without what stands before it.
fn line<'a>(text: &'a str, begins: &str) -> &'a str {
    let mut lines = text.lines().map(str::trim_start);
    let found = lines.find(|line| line.starts_with(begins));
    found.unwrap_or_else(|| panic!("no line begins with `{begins}`:\n{text}"))
}

#[test]
fn a_plan_says_what_is_asked_when_of_whom_and_what_follows() {
    let desk = example("checkout-bluegreen");
    let plan = ["plan", "release.yaml", "--policy", "policy.yaml"];
    let plan = desk.run(&plan).expect(0).stdout;
    // The gates of the phase aren't those of the preview, which names its own.
    assert!(!plan.contains("gates in every step"), "{plan}");
    let preview = line(&plan, "deploy/preview");
    let phase = line(&plan, "gates where a step names none:");
    assert!(!preview.contains("errors"), "{preview}");
    assert!(phase.contains("errors"), "{phase}");
    // The strategy waits for people, so that somebody's approval is needed.
    assert!(!plan.contains("none needed"), "{plan}");
    assert!(line(&plan, "in deploy/approve").contains("1 of "), "{plan}");
    // What follows from a figure between good and bad.
    assert!(plan.contains("bands: warn: people are told"), "{plan}");
    assert!(
        plan.contains("warn: holds, and people are called"),
        "{plan}"
    );
    // What is owed only if it went wrong is said to be.
    let owed = "if it rolled back: write down what went wrong";
    assert!(plan.contains(owed), "{plan}");
}

#[test]
fn a_plan_without_approvals_says_that_none_is_needed() {
    let desk = Desk::quick();
    let plan = desk.run(&["plan", "release.yaml"]).expect(0).stdout;
    assert!(line(&plan, "approvals").contains("none needed"));
    assert!(
        line(&plan, "24h later").contains("if it succeeded"),
        "{plan}"
    );
}

/// A name that was mistyped would lift whatever the policy demands of the one that was meant.
#[test]
fn an_environment_that_nobody_knows_is_refused_where_rules_are_about_environments() {
    let desk = Desk::quick();
    desk.write(
        "policy.yaml",
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nroles: {owner: [alice]}\napprovals:\n  - {environments: [production], roles: [owner]}\n",
    );
    let plan = |environment: &str| {
        let environment = format!("--environment={environment}");
        desk.run(&[
            "plan",
            "release.yaml",
            "--policy",
            "policy.yaml",
            &environment,
        ])
    };
    let refused = plan("prodution").expect(2).stderr;
    for words in ["PG0125", "`prodution`", "did you mean `production`?"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert!(plan("production").expect(0).stdout.contains("alice"));
}

/// A release whose canary uses one action of two, where `STEPS` are its steps and `GIVEN` is what its phase has.
const ACTING: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: hello}
version: \"1.1.0\"
change: minor
target: {simulated: {scenario: scenario.yaml}}
namespace: hello
workload: {deployment: hello, container: app, image: \"registry.example/hello:{version}\", service: hello}
actions:
  warm: {plugin: job, config: {command: [shop, warm-up]}, timeout: 3m}
  policies: {plugin: apply, manifests: {path: policies.yaml}}
phases:
  - name: deploy
    strategy:
      plugin: canary
      actions: [GIVEN]
      config: {steps: [{setWeight: 50}, STEPS, {pause: {duration: 1m}}]}
";

fn acting(given: &str, steps: &str) -> Desk {
    let desk = Desk::quick();
    let release = ACTING.replace("GIVEN", given).replace("STEPS", steps);
    desk.write("release.yaml", &release);
    desk.write(
        "policies.yaml",
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: hello}, spec: {podSelector: {}}}",
    );
    desk
}

#[test]
fn actions_that_a_strategy_places_are_told_with_all_that_they_do() {
    let desk = acting("warm, policies", "{act: warm}, {act: policies}");
    let text = desk.run(&["plan", "release.yaml"]).expect(0).stdout;
    let warm = line(&text, "deploy/act-50 ");
    for words in ["warm: have `job` act", "warm-up", "within 3m", "undone"] {
        assert!(warm.contains(words), "{words}: {warm}");
    }
    let policies = line(&text, "deploy/act-50-2");
    for words in ["policies: have `apply` act", "on NetworkPolicy hello"] {
        assert!(policies.contains(words), "{words}: {policies}");
    }
    let json = desk.run(&["plan", "release.yaml", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.expect(0).stdout).unwrap();
    let text = json.to_string();
    for words in [
        r#""name":"policies""#,
        r#""kind":"NetworkPolicy""#,
        r#""builtin:apply""#,
        r#""actions":["warm","policies"]"#,
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn actions_that_can_not_be_meant_are_refused_where_they_stand() {
    let refused = |given: &str, steps: &str, code: &str, words: &str| {
        let desk = acting(given, steps);
        let said = desk.run(&["plan", "release.yaml"]).refused(2, code).stderr;
        assert!(said.contains(words), "{words}: {said}");
    };
    refused("warn", "{act: warm}", "PG0120", "did you mean `warm`?");
    refused("warm, warm", "{act: warm}", "PG0121", "`warm` here");
    refused("warm", "{act: worm}", "PG0307", "no action `worm`");
    refused("warm", "{pause: {}}", "PG0307", "nothing here says when");
    // The plugin looks at the config of one that no strategy is given, too.
    let desk = acting("", "{pause: {duration: 1m}}");
    let release = ACTING.replace("command: [shop, warm-up]", "comand: [shop]");
    let release = release.replace("GIVEN", "").replace("STEPS, ", "");
    desk.write("release.yaml", &release);
    let said = desk.run(&["validate", "release.yaml"]).refused(2, "PG0307");
    assert!(said.stderr.contains("release.yaml:10"), "{}", said.stderr);
}
