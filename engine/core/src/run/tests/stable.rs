//! Somebody else changes stable while a candidate is beside it.

use super::plans::*;
use super::sim::*;
use crate::event::{Command, DriftAnswer};
use crate::run::End;

const THEIRS: &str = "shop/api:hotfix";

/// A canary that scales its candidate, with another image on stable; people are asked.
fn while_the_candidate_is_scaled() -> Sim {
    let mut sim = Sim::new(canary());
    sim.until_step("deploy/full");
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    sim
}

#[test]
fn stable_is_written_by_force_also_at_a_step_of_the_candidate_and_people_are_asked_once() {
    let mut sim = while_the_candidate_is_scaled();
    let force = Command::Continue {
        drift: Some(DriftAnswer::Force),
    };
    sim.command("bob", force).unwrap();
    sim.until_step("deploy/all");
    assert_eq!(sim.world.settings.image, OLD, "{}", sim.story());
    sim.rest();
    assert_eq!(sim.count_said("drift"), 1, "{}", sim.story());
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

/// Whoever aborts wants the candidate gone; what the run has never written is no reason to wait.
#[test]
fn an_image_that_the_run_never_wrote_keeps_nobody_from_aborting() {
    let mut sim = while_the_candidate_is_scaled();
    let reason = "it doesn't look right".to_owned();
    sim.command(
        "bob",
        Command::Abort {
            reason: Some(reason),
        },
    )
    .unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.settings.image, THEIRS, "{}", sim.story());
    assert!(sim.world.candidate.is_none(), "{}", sim.story());
    for part in ["leaves it as it is", "runs shop/api:hotfix"] {
        assert!(sim.story().contains(part), "{part}: {}", sim.story());
    }
    sim.check_replay();
}

#[test]
fn an_image_that_the_run_wrote_is_taken_back_over_theirs() {
    let mut sim = Sim::new(canary());
    sim.until_step("deploy/promote-stable");
    sim.until(|sim| sim.world.settings.image == NEW);
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    sim.command("bob", Command::Abort { reason: None }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.settings.image, OLD, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

/// The version that the run goes back from is nobody's way back: people decide.
#[test]
fn the_version_that_failed_is_not_left_on_stable() {
    let mut sim = Sim::new(canary());
    sim.until_step("deploy/full");
    sim.world.meddle(Some(NEW), None);
    sim.until_said("drift");
    sim.command("bob", Command::Abort { reason: None }).unwrap();
    sim.until_said("stuck");
    assert_eq!(sim.run.stuck_now().unwrap().step, "restore");
    assert!(sim.world.candidate.is_some(), "{}", sim.story());
    sim.check_replay();
}
