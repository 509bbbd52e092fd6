//! Text scenarios with golden transcripts: a release, its world and its policy in a folder each, played
//! in virtual time and told as an operator would read it.
//!
//! `UPDATE=1 cargo test -p phasegate-tests --test scenarios` writes the transcripts anew. The folders are
//! named after the acceptance scenarios of the requirements where there is one; 70 and above are others.
//! The scenarios of `examples/` are played as well; a few of them have golden transcripts, in `examples/` here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the suite reads its own folders and writes transcripts where it is asked to"
)]

#[path = "scenarios/examples.rs"]
mod examples;
#[path = "scenarios/harness.rs"]
mod harness;
#[path = "scenarios/sweep.rs"]
mod sweep;

use std::path::PathBuf;

use harness::{Case, transcript};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[test]
fn every_folder_is_told_as_its_transcript_says() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut played = 0;
    for case in Case::all(&root()) {
        if !case.name.contains(&only) {
            continue;
        }
        played += 1;
        let once = case.play(case.scenario.seed);
        let text = transcript(&case, &once);
        for fault in &once.faults {
            wrong.push(format!("{}: {fault}", case.name));
        }
        let again = transcript(&case, &case.play(case.scenario.seed));
        if text != again {
            wrong.push(format!(
                "{}: the same seed tells another story:\n{}",
                case.name,
                harness::difference(&text, &again)
            ));
        }
        if let Err(difference) = case.compare(&text) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(played > 0, "no scenario was played");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn what_a_scenario_expects_holds_with_other_seeds_too() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    for case in Case::all(&root()) {
        if !case.name.contains(&only) {
            continue;
        }
        for seed in [2, 77, 4_242_424_242] {
            for fault in case.play(seed).faults {
                wrong.push(format!("{} with seed {seed}: {fault}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

fn case(name: &str) -> Case {
    Case::load(&root().join(name))
}

#[test]
fn an_engine_that_dies_at_any_record_of_a_success_changes_nothing_about_it() {
    let wrong = sweep::at_every_record(&case("22-rolling-success"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_engine_that_dies_at_any_record_of_a_rollback_changes_nothing_about_it() {
    let wrong = sweep::at_every_record(&case("24-crash-loop"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_engine_that_dies_between_a_write_and_its_outcome_makes_no_write_twice() {
    let mut wrong = Vec::new();
    for name in [
        "22-rolling-success",
        "22-recreate-goes-back",
        "33-rollback-within-its-target",
        "70-rollback-after-success",
        "38-canary-errors",
        "38-istio-errors",
        "38-nginx-errors",
        "34-nginx",
        "27-green-not-ready",
    ] {
        wrong.extend(sweep::at_every_write(&case(name)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn planning_is_a_dry_run_that_touches_nothing() {
    let case = case("22-rolling-success");
    let (plan, requests) = case.plan();
    let ids: Vec<&str> = plan.steps().map(|(_, step)| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "deploy/deploy",
            "deploy/check",
            "verify/check-1",
            "verify/soak-1"
        ]
    );
    assert!(!requests.is_empty(), "a plan is made of what is there");
    for request in requests {
        assert!(
            request.method == "GET" && !request.changed,
            "planning asks {} {}",
            request.method,
            request.path
        );
    }
}
