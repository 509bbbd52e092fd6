//! Copies that only the old version refers to: kept as long as it can come back, then removed.

use super::*;
use crate::effect::{Done, Outcome};
use crate::event::Event;
use crate::run::Obligation;
use std::rc::Rc;

fn succeeded(plan: crate::plan::Plan) -> Sim {
    let sim = ended(plan);
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim
}

fn owed(sim: &Sim) -> &Obligation {
    let mut all = sim.run.obligations().iter();
    all.find(|owed| owed.removes_copies.is_some())
        .expect("a removal of copies is owed")
}

fn removal(sim: &Sim) -> Command {
    Command::Discharge {
        obligation: owed(sim).number,
    }
}

/// Later somebody comes by.
fn come_by(sim: &mut Sim, minutes: u64, what: Command) -> bool {
    sim.world.now = sim.world.now.plus(mins(minutes));
    sim.drive();
    let taken = sim.command("bob", what).is_ok();
    sim.rest();
    taken
}

#[test]
fn old_copies_stay_until_their_time_and_then_go() {
    for plan in [rolling(), canary(), blue_green()] {
        let mut sim = succeeded(released_before(plan));
        let removal = removal(&sim);
        assert!(!come_by(&mut sim, 30, removal.clone()));
        assert!(sim.world.gone.is_empty());
        // Where stable's Deployment is kept with no pods, it goes first.
        let mut all = sim.run.obligations().iter();
        if let Some(kept) = all.find(|owed| owed.removes.is_some()) {
            let obligation = kept.number;
            assert!(kept.due <= owed(&sim).due && obligation < owed(&sim).number);
            assert!(come_by(&mut sim, 90, Command::Discharge { obligation }));
            sim.world.configs.clear();
        }
        assert!(come_by(&mut sim, 90, removal.clone()));
        let gone: Vec<&str> = sim.world.gone.iter().map(String::as_str).collect();
        let old = [
            "flags-pgaaaaaaaaaa",
            "flags-pgbbbbbbbbbb",
            "limits-pgaaaaaaaaaa",
        ];
        assert_eq!(gone, old, "{}", sim.story());
        assert!(owed(&sim).discharged.is_some(), "{}", sim.story());
        assert_eq!((sim.end(), &sim.world.claim), (End::Succeeded, &None));
        sim.check_writes();
        sim.check_replay();
        assert!(!come_by(&mut sim, 1, removal), "it is done once");
    }
}

#[test]
fn what_was_taken_back_owes_no_removal() {
    let mut sim = succeeded(released_before(rolling()));
    assert!(come_by(&mut sim, 30, Command::RollBack { reason: None }));
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(sim.said("withdrawn"), "{}", sim.story());
    let mut all = sim.run.obligations().iter();
    assert!(all.all(|owed| owed.removes_copies.is_none()));
    sim.check_end();
    sim.check_replay();
}

#[test]
fn a_run_whose_old_copies_went_is_not_rolled_back() {
    let mut sim = succeeded(released_before(rolling()));
    let removal = removal(&sim);
    assert!(come_by(&mut sim, 90, removal));
    assert!(!come_by(&mut sim, 1, Command::RollBack { reason: None }));
    assert!(sim.world.deployed());
}

#[test]
fn a_run_that_made_nothing_old_owes_nothing_and_one_that_went_back_neither() {
    let mut plan = configured(rolling());
    plan.rollback.keep = Some(mins(60));
    let sim = succeeded(plan);
    let mut all = sim.run.obligations().iter();
    assert!(all.all(|owed| owed.of_an_engine().is_none()));
    let mut sim = Sim::new(released_before(rolling()));
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let mut all = sim.run.obligations().iter();
    assert!(all.all(|owed| owed.of_an_engine().is_none()));
}

#[test]
fn a_kept_template_goes_with_the_copies() {
    let mut plan = templated(rolling());
    plan.rollback.keep = Some(mins(60));
    let mut sim = succeeded(plan);
    let removal = removal(&sim);
    assert!(come_by(&mut sim, 90, removal));
    let gone: Vec<&str> = sim.world.gone.iter().map(String::as_str).collect();
    assert_eq!(gone, [OLD_TEMPLATE, NEW_TEMPLATE], "{}", sim.story());
}

/// A write that is refused, or whose answer is lost, at each of its requests; and an engine that dies after each record.
#[test]
fn whatever_happens_meanwhile_it_is_let_go_of_and_can_be_done_again() {
    let faults = [
        Fault::Fails(failure(Kind::Conflict)),
        Fault::LostApplied,
        Fault::LostUnapplied,
    ];
    for fault in faults {
        for place in 0..3 {
            let what = format!("remove-copy-{place}");
            let fault = fault.clone();
            let mut sim = succeeded(released_before(rolling()));
            let removal = removal(&sim);
            let times = std::cell::Cell::new(0);
            sim.world.faults = std::rc::Rc::new(move |_, effect| {
                let hit = effect.key.contains(&what);
                times.set(times.get() + u32::from(hit));
                (hit && times.get() == 1).then(|| fault.clone())
            });
            assert!(come_by(&mut sim, 90, removal.clone()));
            if owed(&sim).discharged.is_none() {
                assert!(sim.said("due-failed"), "{}", sim.story());
                assert_eq!(sim.world.claim, None, "{}", sim.story());
                assert!(come_by(&mut sim, 1, removal), "{}", sim.story());
            }
            assert!(owed(&sim).discharged.is_some(), "{}", sim.story());
            assert_eq!(sim.world.gone.len(), 3, "{}", sim.story());
            assert_eq!(sim.world.claim, None, "{}", sim.story());
            sim.check_writes();
            sim.check_replay();
        }
    }
}

#[test]
fn a_removal_that_nobody_answers_holds_the_target_until_it_can_not_arrive_any_more() {
    let mut sim = succeeded(released_before(rolling()));
    let removal = removal(&sim);
    let answered = Rc::clone(&sim.world.faults);
    sim.world.faults = Rc::new(|_, effect| {
        let removes = effect.key.contains("remove-copy-0");
        removes.then_some(Fault::LostUnapplied)
    });
    assert!(come_by(&mut sim, 90, removal.clone()));
    assert!(sim.said("due-failed"), "{}", sim.story());
    assert_eq!(sim.world.claim, None, "{}", sim.story());
    let at = |is: fn(&Outcome) -> bool| {
        let last =
            sim.records.iter().rev().find(
                |record| matches!(&record.event, Event::Finished { outcome, .. } if is(outcome)),
            );
        last.unwrap().at
    };
    let lost = at(|outcome| matches!(outcome, Outcome::Unknown { .. }));
    let released = at(|outcome| matches!(outcome, Outcome::Done(Done::Released)));
    assert!(released.since(lost) >= mins(1), "{}", sim.story());
    sim.world.faults = answered;
    assert!(come_by(&mut sim, 1, removal), "{}", sim.story());
    assert!(owed(&sim).discharged.is_some(), "{}", sim.story());
    sim.check_replay();
}

#[test]
fn an_engine_may_die_at_every_record_of_it() {
    for number in 0..16 {
        for before in [true, false] {
            let mut sim = succeeded(released_before(rolling()));
            let removal = removal(&sim);
            let place = sim.records.len() + number;
            match before {
                true => sim.dies_before.insert(place),
                false => sim.dies_after.insert(place),
            };
            come_by(&mut sim, 90, removal.clone());
            if owed(&sim).discharged.is_none() {
                come_by(&mut sim, 1, removal);
            }
            assert!(owed(&sim).discharged.is_some(), "{}", sim.story());
            assert_eq!(sim.world.gone.len(), 3, "{}", sim.story());
            assert_eq!(sim.world.claim, None, "{}", sim.story());
            sim.check_writes();
            sim.check_replay();
        }
    }
}
