//! What a watch tells, true or old.

use std::cell::Cell;
use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::effect::Request;
use crate::event::Event;
use crate::failure::Kind;
use crate::plan::Plan;
use crate::run::End;
use crate::run::limits::{SETTLE_INTERVAL, STIR_LEAST};
use crate::run::state::Stage;
use crate::verdict::Status;

fn plans() -> [Plan; 4] {
    [rolling(), canary(), canary_by_replicas(), blue_green()]
}

fn watched(plan: Plan) -> Sim {
    let mut sim = Sim::new(plan);
    sim.world.watch = Some(Rc::new(World::observe));
    sim
}

#[test]
fn a_watch_that_tells_the_truth_leads_to_the_same_end_with_less_reading() {
    for plan in plans() {
        let mut read = Sim::new(plan.clone());
        read.rest();
        let mut told = watched(plan);
        told.rest();
        assert_eq!(told.end(), End::Succeeded, "{}", told.story());
        told.check_end();
        told.check_replay();
        let (less, all) = (told.world.reads, read.world.reads);
        assert!(less < all, "{less} of {all} looks were read");
    }
}

/// Whatever a watch tells of times gone by, capacity, drift and the end are judged by what is there.
#[test]
fn a_watch_that_tells_of_times_gone_by_leads_to_the_same_end() {
    for seed in 0..40_u64 {
        for plan in plans() {
            let mut sim = Sim::new(plan);
            let drawn = Cell::new(seed);
            sim.world.watch = Some(Rc::new(move |world| {
                let next = drawn.get().wrapping_mul(6_364_136_223_846_793_005);
                drawn.set(next.wrapping_add(1_442_695_040_888_963_407));
                let at = (drawn.get() >> 33) as usize % world.looks.len();
                world.looks[at].clone()
            }));
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{seed}: {}", sim.story());
            assert!(!sim.said("drift") && !sim.said("drift-adopted"), "{seed}");
            sim.check_end();
            sim.check_replay();
        }
    }
}

#[test]
fn no_share_is_raised_by_what_a_watch_that_stands_still_tells() {
    let mut sim = Sim::new(canary());
    sim.until(|sim| sim.world.traffic.candidate_weight > 0);
    let well = sim.world.observe();
    sim.world.watch = Some(Rc::new(move |_| well.clone()));
    sim.world.never_ready = Some(NEW.to_owned());
    let before = sim.world.traffic.clone();
    sim.world
        .candidate
        .as_mut()
        .unwrap()
        .roll_out(sim.world.now);
    sim.until(|sim| sim.run.cause().is_some());
    let share = sim.world.traffic.candidate_weight;
    assert!(share <= before.candidate_weight, "{}", sim.story());
}

#[test]
fn what_a_watch_tells_of_a_drift_is_read_before_people_are_called() {
    let mut sim = watched(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    let reads = sim.world.reads;
    sim.world.meddle(Some("registry.test/api:theirs"), None);
    sim.until_said("drift");
    assert!(sim.world.reads > reads);
    let seen = sim.run.observation().unwrap();
    assert!(!seen.watched);
}

#[test]
fn a_gate_that_fails_is_held_against_what_is_read() {
    let mut sim = watched(rolling());
    sim.until_step("deploy/soak");
    sim.world.judges = Rc::new(|_, _, _| Ok(Status::Fail));
    let reads = sim.world.reads;
    sim.until(|sim| sim.run.cause().is_some());
    assert!(sim.world.reads > reads, "{}", sim.story());
}

fn settling(sim: &Sim) -> bool {
    let stage = sim.run.cursor().map(|cursor| &cursor.stage);
    matches!(stage, Some(Stage::Settling { .. }))
}

#[test]
fn a_change_that_is_told_is_looked_at_at_once_and_once() {
    let mut sim = watched(rolling());
    sim.until(|sim| settling(sim) && sim.run.stirred_by().is_some());
    let last = sim.run.look.last.unwrap();
    assert_eq!(sim.run.next_wake(), Some(last.plus(SETTLE_INTERVAL)));
    sim.record(Event::Stirred);
    let soon = last.plus(STIR_LEAST).max(sim.world.now);
    assert_eq!(sim.run.next_wake(), Some(soon));
    assert_eq!(sim.run.stirred_by(), None, "it looks as soon as it may");
    let looks = sim.world.looks.len();
    sim.until(|sim| sim.world.looks.len() > looks);
    assert!(sim.world.now < last.plus(SETTLE_INTERVAL));
    sim.check_replay();
}

#[test]
fn a_wait_after_a_conflict_is_not_cut_short() {
    let refused = Cell::new(false);
    let mut sim = watched(canary_by_replicas()).faulty(move |_, effect| {
        let writes =
            matches!(&effect.request, Request::Change { change } if change.slot.is_stable());
        (writes && !refused.replace(true)).then(|| Fault::Fails(failure(Kind::Conflict)))
    });
    sim.until_said("change-failed");
    let wake = sim.run.next_wake();
    assert_eq!(sim.run.stirred_by(), None);
    sim.record(Event::Stirred);
    assert_eq!(sim.run.next_wake(), wake);
}

#[test]
fn a_run_that_nobody_drives_is_not_told() {
    let mut sim = watched(rolling());
    sim.until(|sim| settling(sim) && sim.run.stirred_by().is_some());
    let cause = "SIGTERM".to_owned();
    sim.record(Event::Interrupted { cause });
    assert_eq!(sim.run.stirred_by(), None);
}
