//! Writes that meet somebody else's: what is there is looked at before people are asked.

use super::plans::*;
use super::sim::*;
use crate::effect::{Direction, Request};
use crate::event::{Command, DriftAnswer};
use crate::failure::Kind;
use crate::plan::Plan;
use crate::run::End;
use crate::run::limits::WRITE_ATTEMPTS;

/// The first writes of that way to stable's Deployment are refused, though nothing of ours has changed.
fn refused(plan: Plan, way: Direction, times: u32) -> Sim {
    let met = std::cell::Cell::new(0);
    Sim::new(plan).faulty(move |_, effect| {
        let Request::Change { change } = &effect.request else {
            return None;
        };
        let refuses = change.slot.is_stable() && effect.direction == way && met.get() < times;
        refuses.then(|| {
            met.set(met.get() + 1);
            Fault::Fails(failure(Kind::Conflict))
        })
    })
}

#[test]
fn a_conflict_is_no_drift_while_what_is_ours_is_as_it_was() {
    for plan in [rolling(), recreate(), canary_by_replicas(), canary()] {
        let mut sim = refused(plan, Direction::Forward, WRITE_ATTEMPTS - 1);
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        assert!(!sim.said("drift"), "{}", sim.story());
        assert_eq!(sim.told("awaiting-people"), 0);
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn conflicts_that_do_not_end_fail_the_step() {
    let mut sim = refused(rolling(), Direction::Forward, WRITE_ATTEMPTS);
    sim.rest();
    assert!(!sim.said("drift"), "{}", sim.story());
    assert_eq!(sim.end(), End::Refused, "nothing was written");
    sim.check_end();
}

#[test]
fn pods_that_somebody_added_in_between_are_kept_by_the_write_that_follows() {
    let mut sim = refused(recreate(), Direction::Forward, 1);
    sim.until_said("change-failed");
    sim.world.meddle(None, Some(5));
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert_eq!(sim.world.settings.replicas, 5);
}

#[test]
fn a_conflict_behind_which_there_is_drift_is_for_people() {
    for answer in [DriftAnswer::Adopt, DriftAnswer::Force] {
        let mut sim = refused(rolling(), Direction::Forward, 1);
        sim.until_said("change-failed");
        sim.world.meddle(Some("shop/api:hotfix"), None);
        sim.until_said("drift");
        sim.command(
            "bob",
            Command::Continue {
                drift: Some(answer),
            },
        )
        .unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        assert_eq!(sim.count_said("drift"), 1, "{}", sim.story());
        sim.check_end();
    }
}

/// Of these every step takes something away, and its write comes after a look.
#[test]
fn a_candidate_that_changed_behind_a_conflict_is_answered_about_and_the_write_still_made() {
    for answer in [DriftAnswer::Adopt, DriftAnswer::Force] {
        let mut sim = refused(canary_by_replicas(), Direction::Forward, 1);
        sim.until_said("change-failed");
        sim.world.candidate = None;
        sim.until_said("drift");
        let answer = Command::Continue {
            drift: Some(answer),
        };
        if sim.command("bob", answer).is_ok() {
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
            sim.check_end();
        }
    }
}

#[test]
fn going_back_meets_conflicts_and_goes_back() {
    for plan in [rolling(), recreate(), canary_by_replicas()] {
        let mut sim = refused(plan, Direction::Back, 3);
        sim.until(|sim| sim.run.outcomes.len() > 1 && sim.run.changed());
        sim.command("bob", abort()).unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        sim.check_end();
    }
}

#[test]
fn a_way_back_that_meets_nothing_but_conflicts_is_stuck() {
    let mut sim = refused(rolling(), Direction::Back, 4);
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let stuck = sim.run.stuck_now().unwrap();
    assert!(stuck.decision && stuck.step == "restore", "{stuck:?}");
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
}

#[test]
fn long_after_success_a_conflict_alone_refuses_no_rollback() {
    for (times, end) in [(2, End::RolledBack), (9, End::Succeeded)] {
        let mut sim = refused(rolling(), Direction::Back, times);
        sim.rest();
        sim.drive();
        sim.command("bob", Command::RollBack { reason: None })
            .unwrap();
        sim.rest();
        assert_eq!(sim.end(), end, "{}", sim.story());
        assert_eq!(sim.said("rollback-refused"), end == End::Succeeded);
        sim.check_end();
    }
}
