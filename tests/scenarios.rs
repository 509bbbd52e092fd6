//! Text scenarios with golden transcripts: a release, its world and its policy in a folder each, played
//! in virtual time and told as an operator would read it.
//!
//! `UPDATE=1 cargo test -p phasegate-tests --test scenarios` writes the transcripts anew. The folders are
//! named after the acceptance scenarios of the requirements where there is one; 70 and above are others.

#![expect(
    clippy::disallowed_methods,
    reason = "the suite reads its own folders and writes transcripts where it is asked to"
)]

#[path = "scenarios/harness.rs"]
mod harness;

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
