//! Somebody breaks the claim of a run that nobody drives, and perhaps releases meanwhile.

use super::acts::late;
use super::plans::*;
use super::sim::*;
use crate::event::{Command, Event};
use crate::run::End;

const THEIRS: &str = "shop/api:1.6.0";

/// In its soak when its claim is broken.
fn broken(by: Option<&str>) -> Sim {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    sim.world.claim = None;
    sim.record(Event::Unclaimed {
        workload: 0,
        by: by.map(str::to_owned),
    });
    sim.rest();
    sim
}

fn hand_over(sim: &mut Sim) {
    let reason = "theirs stays".to_owned();
    sim.command("bob", Command::HandOver { reason }).unwrap();
    sim.rest();
}

#[test]
fn nothing_is_written_before_people_have_decided() {
    for by in [None, Some("run-2")] {
        let mut sim = broken(by);
        let stuck = sim.run.stuck_now().unwrap();
        assert!(stuck.decision && stuck.step == "claim", "{stuck:?}");
        sim.pass(mins(60));
        assert_eq!(sim.world.settings.image, NEW);
        assert!(sim.told("stuck") > 0);
        hand_over(&mut sim);
        assert_eq!(sim.end(), End::RollbackStuck, "{}", sim.story());
        assert_eq!(sim.world.settings.image, NEW);
        sim.check_writes();
        sim.check_replay();
    }
}

#[test]
fn where_nothing_has_changed_it_is_claimed_again_and_taken_back() {
    let mut sim = broken(None);
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

#[test]
fn what_another_has_released_meanwhile_is_never_written_over() {
    let mut sim = broken(None);
    sim.world.meddle(Some(THEIRS), None);
    for _ in 0..2 {
        sim.command("bob", Command::Retry).unwrap();
        sim.rest();
        let stuck = sim.run.stuck_now().unwrap();
        assert!(stuck.decision && stuck.step == "claim", "{stuck:?}");
        assert_eq!(sim.world.settings.image, THEIRS);
    }
    hand_over(&mut sim);
    assert_eq!(sim.end(), End::RollbackStuck, "{}", sim.story());
    assert_eq!(sim.world.settings.image, THEIRS);
    assert_eq!(sim.world.claim, None);
    sim.check_replay();
}

#[test]
fn a_run_that_has_changed_nothing_ends() {
    let mut sim = Sim::new(rolling());
    sim.until(|sim| sim.world.claim.is_some() && sim.run.held().count() == 1);
    sim.world.claim = None;
    sim.record(Event::Unclaimed {
        workload: 0,
        by: None,
    });
    sim.rest();
    assert_eq!(sim.end(), End::Refused, "{}", sim.story());
    assert_eq!(sim.world.settings.image, OLD);
}

/// It waits until nothing can arrive any more, to undo an action once more: meanwhile its claim is broken.
#[test]
fn an_undo_that_waits_is_not_made_on_a_target_that_is_not_held_and_is_made_once_it_is() {
    let mut sim = late("after/act", secs(50));
    sim.until_said("undo-waits");
    sim.world.claim = None;
    sim.record(Event::Unclaimed {
        workload: 0,
        by: None,
    });
    let before = sim.world.deeds.len();
    sim.pass(mins(60));
    let stuck = sim.run.stuck_now().unwrap();
    assert!(stuck.decision && stuck.step == "claim", "{stuck:?}");
    assert_eq!(sim.world.deeds.len(), before, "{}", sim.story());
    sim.check_replay();
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(sim.world.acted.is_empty(), "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}
