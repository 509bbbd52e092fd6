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
