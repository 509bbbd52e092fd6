//! The engine is killed with SIGKILL: between a write to the cluster and its outcome, in the rollback, in
//! the rollback of a run that was resumed already, and at any other moment. Whoever resumes it finds the
//! same end as an undisturbed run, and by the cluster's own log nothing was changed twice, and nothing
//! without an intent in the journal.
//!
//! A kill between a write and its outcome is exact: the simulated cluster, a process of its own, applies
//! the write and holds the answer back; the test sees the write in the cluster's log and kills the engine,
//! which is still waiting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the test starts and kills processes and waits for them"
)]

mod cases;
mod lab;
mod play;

use std::path::Path;

use cases::{Case, beside, in_place};
use play::Kills;

const PHASEGATE: &str = env!("CARGO_BIN_EXE_phasegate");

/// The kills that each suite must make at least.
const IN_PLACE: Kills = Kills {
    all: 60,
    between: 20,
    in_rollback: 15,
    in_resumed_rollback: 10,
};
const BESIDE: Kills = Kills {
    all: 35,
    between: 35,
    in_rollback: 12,
    in_resumed_rollback: 8,
};

#[test]
fn a_killed_engine_is_resumed_to_the_same_end() {
    play::all(&in_place(), IN_PLACE);
}

/// The same for a candidate beside stable: its pieces, its traffic, its promotion and its removal.
#[test]
fn an_engine_that_is_killed_with_a_candidate_beside_stable_is_resumed_to_the_same_end() {
    play::all(&beside(), BESIDE);
}

/// The files are read by people when a case fails.
#[test]
fn the_cases_are_what_they_say() {
    for (cases, least) in [(in_place(), IN_PLACE), (beside(), BESIDE)] {
        let planned: usize = cases.iter().map(Case::kills).sum();
        assert!(planned >= least.all, "{planned} kills are planned");
    }
    assert!(Path::new(PHASEGATE).is_file());
}
