//! A candidate beside stable: canary and blue-green.

use std::cell::Cell;
use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::effect::{Piece, Request};
use crate::event::{Command, Event};
use crate::failure::Kind;
use crate::run::{End, Illegal};

#[test]
fn every_way_of_bringing_up_a_candidate_succeeds() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let mut sim = Sim::new(plan);
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
}

fn succeeded(plan: crate::plan::Plan) -> Sim {
    let mut sim = Sim::new(plan);
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim
}

fn removal(sim: &Sim) -> Command {
    let owed = sim
        .run
        .obligations()
        .iter()
        .find(|owed| owed.removes.is_some());
    Command::Discharge {
        obligation: owed.expect("a removal is owed").number,
    }
}

/// A day later somebody comes by.
fn come_by(sim: &mut Sim, what: Command) -> Result<(), Illegal> {
    sim.drive();
    sim.command("bob", what)?;
    sim.rest();
    Ok(())
}

#[test]
fn the_old_version_is_kept_until_its_time_and_then_removed() {
    let mut sim = succeeded(blue_green());
    let removal = removal(&sim);
    sim.world.now = sim.world.now.plus(mins(30));
    assert!(come_by(&mut sim, removal.clone()).is_err());
    assert!(!sim.world.stable_removed);
    sim.world.now = sim.world.now.plus(mins(60));
    come_by(&mut sim, removal.clone()).unwrap();
    assert!(sim.world.stable_removed, "{}", sim.story());
    assert_eq!(sim.world.claim, None);
    assert_eq!(sim.end(), End::Succeeded);
    // What is gone can't come back, and isn't removed twice.
    assert!(come_by(&mut sim, Command::RollBack { reason: None }).is_err());
    assert!(come_by(&mut sim, removal).is_err());
    sim.check_replay();
}

/// Blue-green, after which the old version can't come back, and a soak.
fn pointed() -> crate::plan::Plan {
    let mut plan = blue_green();
    plan.phases[0].steps.last_mut().unwrap().point_of_no_return = true;
    plan.phases.push(phase(
        "after",
        vec![step("after/soak", soak(mins(10), &["health"]))],
    ));
    plan
}

#[test]
fn a_last_write_that_fails_past_the_point_of_no_return_calls_people_and_is_left_out() {
    let mut sim = Sim::new(pointed()).faulty(|_, effect| {
        let last = effect.key.contains("unmark-candidate");
        last.then(|| Fault::Fails(failure(Kind::Denied)))
    });
    sim.until_step("after/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let stuck = sim.run.stuck_now().expect("it is refused");
    assert_eq!(stuck.step, "unmark", "{}", sim.story());
    let step = "unmark".to_owned();
    sim.command("bob", Command::Skip { step }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward, "{}", sim.story());
    assert_eq!(sim.world.claim, None);
    sim.check_replay();
}

/// Staying forward leaves nothing half-done: marks come off, and who has to remove the old side is told so.
#[test]
fn past_the_point_of_no_return_a_swapped_candidate_stays_and_is_put_in_order() {
    let mut sim = Sim::new(pointed());
    sim.until_step("after/soak");
    assert!(sim.run.abort_would().contains("stay forward"));
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward, "{}", sim.story());
    assert_eq!(sim.world.claim, None);
    let words = sim.lines.iter().find(|line| line.kind == "stopping");
    let words = &words.unwrap().message;
    assert!(
        words.contains("1.5.0 stays") && !words.contains("rolling back"),
        "{words}"
    );
    let unmarks = sim.records.iter().filter(|record| {
        matches!(&record.event, Event::Intended { effect } if effect.key.contains("unmark-candidate"))
    });
    assert_eq!(unmarks.count(), 1, "{}", sim.story());
    // The engine takes nothing away by itself from a target on which people are at work.
    let owed = sim.run.obligations();
    assert_eq!(owed.len(), 1);
    assert!(owed[0].task.contains("remove Deployment") && owed[0].removes.is_none());
    let done = Command::Discharge { obligation: 1 };
    come_by(&mut sim, done).unwrap();
    assert!(!sim.world.stable_removed);
    sim.check_replay();
}

#[test]
fn an_old_version_that_somebody_uses_again_is_not_removed() {
    let mut sim = succeeded(blue_green());
    let removal = removal(&sim);
    sim.world.now = sim.world.now.plus(mins(90));
    sim.world.meddle(None, Some(2));
    come_by(&mut sim, removal).unwrap();
    assert!(!sim.world.stable_removed);
    assert!(sim.said("due-failed"), "{}", sim.story());
    assert_eq!(sim.world.claim, None);
    assert!(
        sim.run
            .obligations()
            .iter()
            .any(|owed| owed.removes.is_some() && owed.discharged.is_none())
    );
}

#[test]
fn an_obligation_survives_the_death_of_the_engine_at_every_record() {
    let mut whole = succeeded(blue_green());
    let from = whole.records.len();
    let removal = removal(&whole);
    whole.world.now = whole.world.now.plus(mins(90));
    let begun = whole.clone();
    come_by(&mut whole, removal.clone()).unwrap();
    for number in from + 2..whole.records.len() {
        for before in [true, false] {
            let mut sim = begun.clone();
            if before {
                sim.dies_before.insert(number);
            } else {
                sim.dies_after.insert(number);
            }
            come_by(&mut sim, removal.clone()).unwrap();
            assert!(
                sim.world.stable_removed,
                "{number} {before}\n{}",
                sim.story()
            );
            assert_eq!(sim.world.claim, None, "{number}\n{}", sim.story());
            sim.check_writes();
        }
    }
}

#[test]
fn after_success_every_candidate_can_be_taken_back() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let mut sim = succeeded(plan);
        let owed = sim.run.obligations().iter();
        let removals = owed.filter(|owed| owed.removes.is_some());
        let withdrawn: Vec<u32> = removals.map(|owed| owed.number).collect();
        sim.world.now = sim.world.now.plus(mins(10));
        come_by(&mut sim, Command::RollBack { reason: None }).unwrap();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        let mut owed = sim.run.obligations().iter();
        assert!(
            owed.all(|owed| owed.removes.is_none() && !withdrawn.contains(&owed.number)),
            "what serves again is to be removed, or its number is used again: {}",
            sim.story()
        );
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn after_success_traffic_that_somebody_has_shifted_since_is_left_alone() {
    let mut sim = succeeded(blue_green());
    sim.world.traffic = crate::strategy::Split::weight(5_000);
    let before = sim.world.settings.clone();
    come_by(&mut sim, Command::RollBack { reason: None }).unwrap();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert_eq!(sim.world.settings, before);
    assert_eq!(sim.world.traffic, crate::strategy::Split::weight(5_000));
    assert_eq!(sim.world.claim, None);
    let mut owed = sim.run.obligations().iter();
    assert!(
        owed.any(|owed| owed.removes.is_some()),
        "still to be removed"
    );
}

/// Found by exploring: a router that may not be read any more kept the rollback reading for ever, and nobody was called.
#[test]
fn after_success_a_router_that_cant_be_asked_calls_people() {
    let mut sim = succeeded(blue_green());
    let before = sim.world.settings.clone();
    sim.world.faults = Rc::new(|_, effect| {
        matches!(effect.request, Request::Reading)
            .then(|| Fault::Fails(failure(crate::failure::Kind::Denied)))
    });
    come_by(&mut sim, Command::RollBack { reason: None }).unwrap();
    let stuck = sim.run.stuck_now().cloned().unwrap();
    assert_eq!(stuck.step, "traffic", "{}", sim.story());
    assert_eq!(sim.told("stuck"), 1);
    assert_eq!(sim.world.settings, before, "nothing is changed unseen");
    sim.world.faults = Rc::new(|_, _| None);
    come_by(&mut sim, Command::Retry).unwrap();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

#[test]
fn a_warm_rollback_scales_up_and_waits_before_it_switches() {
    let mut sim = Sim::new(blue_green());
    sim.until(|sim| sim.world.settings.replicas == 0);
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let at = |kind: &str| {
        sim.lines
            .iter()
            .position(|line| line.message.contains(kind))
    };
    let (up, ready, back) = (
        at("write replicas 3"),
        at("can serve all"),
        at("put traffic back"),
    );
    assert!(up < ready && ready < back, "{}", sim.story());
    let said = |words: &str| sim.lines.iter().any(|line| line.message.contains(words));
    assert!(!said("serves again"), "while the candidate still serves");
    sim.check_end();
}

#[test]
fn several_workloads_come_one_after_the_other_and_nothing_is_retired_before_the_last() {
    let sim = succeeded(three_services());
    sim.check_end();
    sim.check_replay();
    let at = |what: &str| {
        sim.lines
            .iter()
            .rposition(|line| line.message.contains(what))
    };
    assert!(
        at("take stable out of service") > at("take the candidate away"),
        "{}",
        sim.story()
    );
    let held = |record: &crate::event::Record| format!("{:?}", record.event);
    let claims = sim
        .records
        .iter()
        .map(held)
        .filter(|event| event.contains("Claimed"))
        .count();
    assert_eq!(claims, 3);
}

#[test]
fn between_two_workloads_no_gate_is_asked_about_the_one_that_has_not_begun() {
    let mut plan = three_services();
    let mut steps = plan.steps().filter(|(_, step)| step.workload == 1);
    let next = steps.next().unwrap().1.id.clone();
    drop(steps);
    // Closed from soon after the first has begun until long after it is done.
    let start = crate::time::Timestamp::from_millis(1_790_000_000_000);
    plan.calendar.freezes.push(crate::spec::policy::Freeze {
        from: start.plus(secs(20)).to_string().parse().unwrap(),
        to: start.plus(mins(60)).to_string().parse().unwrap(),
        reason: "quarter end".to_owned(),
        environments: Vec::new(),
    });
    let mut sim = Sim::new(plan);
    let asked = Rc::new(Cell::new(false));
    let seen = asked.clone();
    sim.world.faults = Rc::new(move |_, effect| {
        let next = effect.workload == 1 && matches!(effect.request, Request::Evaluate { .. });
        seen.set(seen.get() || next);
        None
    });
    sim.until_said("awaiting");
    sim.pass(mins(5));
    assert_eq!(sim.run.here().1.as_deref(), Some(next.as_str()));
    assert!(!asked.get(), "{}", sim.story());
    assert!(sim.run.cause().is_none(), "{}", sim.story());
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert!(asked.get(), "once it has begun");
}

#[test]
fn where_the_third_workload_fails_only_those_that_changed_go_back_the_last_first() {
    let mut sim = Sim::new(three_services());
    sim.others[1].never_ready = Some(NEW.to_owned());
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    let order: Vec<usize> = sim
        .records
        .iter()
        .filter_map(|record| match &record.event {
            crate::event::Event::Intended { effect }
                if effect.direction == crate::effect::Direction::Back
                    && effect.key.contains("/rollback/")
                    && !effect.key.contains("/release/") =>
            {
                Some(effect.workload)
            }
            _ => None,
        })
        .collect();
    assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
    assert_eq!(order.first(), Some(&2));
    assert_eq!(order.last(), Some(&0));
}

#[test]
fn where_the_first_workload_fails_the_others_are_never_touched() {
    let mut sim = Sim::new(three_services());
    sim.world.never_ready = Some(NEW.to_owned());
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
    for other in &sim.others {
        let only_claims = other
            .applied
            .keys()
            .all(|key| key.contains("claim") || key.contains("release"));
        assert!(only_claims, "{:?}", other.applied);
    }
}

#[test]
fn an_engine_that_stays_away_for_an_hour_finds_both_sides_again_before_it_goes_on() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let whole = succeeded(plan.clone()).records.len();
        for number in 1..whole {
            let mut sim = Sim::new(plan.clone());
            sim.away = mins(60);
            sim.dies_after.insert(number);
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{number}\n{}", sim.story());
            sim.check_end();
        }
    }
}

#[test]
fn a_way_back_that_nobody_drives_for_an_hour_comes_to_its_end() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let steps = plan.phases[0].steps.iter();
        // A promotion by swap takes no time in which anybody could say abort.
        let steps = steps.filter(|step| step.action != crate::plan::Action::Promote);
        let steps = steps.map(|step| step.id.clone());
        for step in steps.collect::<Vec<_>>() {
            let aborted = |dies: Option<usize>| {
                let mut sim = Sim::new(plan.clone());
                sim.away = mins(60);
                sim.until_step(&step);
                sim.command("bob", abort()).unwrap();
                let from = sim.records.len();
                sim.dies_after.extend(dies.map(|after| from + after));
                sim.rest();
                // Before the first write there is nothing to bring back.
                let back = matches!(sim.end(), End::RolledBack | End::Cancelled);
                assert!(back, "{step} {dies:?}\n{}", sim.story());
                sim.check_end();
                sim.records.len() - from
            };
            for after in 0..aborted(None) {
                aborted(Some(after));
            }
        }
    }
}

#[test]
fn a_router_that_fails_for_a_while_on_the_way_back_is_asked_again_and_nobody_is_called() {
    let mut plan = canary();
    plan.rollback.retries = 10;
    let mut sim = Sim::new(plan).faulty(|_, effect| {
        matches!(effect.request, crate::effect::Request::Unroute { .. })
            .then(|| Fault::Fails(failure(crate::failure::Kind::Retryable)))
    });
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    // Four attempts fail; by the fifth the look at stable would be too old.
    sim.until(|sim| sim.count_said("compensation-failed") == 5);
    sim.world.faults = std::rc::Rc::new(|_, _| None);
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(!sim.said("stuck"), "{}", sim.story());
    sim.check_end();
}

#[test]
fn a_router_that_never_answers_again_has_people_called() {
    for retries in [2, 5, 8] {
        let mut plan = canary();
        plan.rollback.retries = retries;
        let mut sim = Sim::new(plan).faulty(|_, effect| {
            matches!(effect.request, crate::effect::Request::Unroute { .. })
                .then(|| Fault::Fails(failure(crate::failure::Kind::Retryable)))
        });
        sim.until_step("deploy/soak");
        sim.command("bob", abort()).unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::RollbackStuck, "{}", sim.story());
        let attempts = u32::try_from(sim.count_said("compensation-failed")).unwrap();
        assert_eq!(attempts, retries + 1);
        assert_eq!(sim.told("stuck"), 1);
    }
}

/// Every write that was announced, with its direction.
fn writes(sim: &Sim) -> Vec<Request> {
    let events = sim.records.iter().map(|record| &record.event);
    let intents = events.filter_map(|event| match event {
        crate::event::Event::Intended { effect } => Some(effect.request.clone()),
        _ => None,
    });
    intents.collect()
}

#[test]
fn where_an_autoscaler_decides_its_bounds_are_written_and_no_count() {
    let sim = succeeded(canary());
    let baseline = &sim.run.plan().workloads[0].baseline;
    let before = baseline.settings.replicas;
    let recorded = baseline.autoscaler.unwrap().minimum;
    let writes = writes(&sim);
    let counts = writes.iter().filter(|request| {
        matches!(request, Request::Change { change }
            if !change.slot.is_stable() && change.fields.replicas.is_some())
    });
    assert_eq!(counts.count(), 0, "a count that the autoscaler would undo");
    let minima = writes.iter().filter_map(|request| match request {
        Request::Bound { slot, minimum } if slot.is_stable() => Some(*minimum),
        _ => None,
    });
    // Held while traffic is elsewhere, and put back at the end.
    assert_eq!(minima.collect::<Vec<_>>(), [before.max(recorded), recorded]);
    assert!(before > recorded, "the two can be told apart");
}

#[test]
fn traffic_has_settled_for_its_time_before_a_shift_is_done() {
    let mut sim = Sim::new(canary());
    let count = |sim: &Sim, words: &str| {
        let lines = sim.lines.iter();
        lines.filter(|line| line.message.contains(words)).count()
    };
    for shift in 0..2 {
        sim.until(|sim| count(sim, "has shifted traffic") > shift);
        let shifted = sim.world.now;
        sim.until(|sim| count(sim, "traffic follows") > shift);
        assert!(sim.world.now.since(shifted) >= secs(5), "{}", sim.story());
    }
}

/// The first answer to the making of that piece is lost, and it comes about so much later.
fn late(plan: crate::plan::Plan, piece: Piece, by: crate::time::Span) -> Sim {
    let lost = Cell::new(false);
    Sim::new(plan).faulty(move |_, effect| {
        let makes = matches!(&effect.request, Request::Create { create } if create.piece == piece);
        (makes && !lost.replace(true)).then_some(Fault::Late(by))
    })
}

#[test]
fn a_piece_that_comes_about_after_it_was_looked_for_is_not_left_behind() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let beside = plan.workloads[0].target.beside.as_ref().unwrap();
        let service = beside.service.as_ref().map(|_| Piece::Service);
        for piece in service.into_iter().chain([Piece::Deployment]) {
            for by in [2, 20, 55] {
                let mut sim = late(plan.clone(), piece, secs(by));
                sim.until_said("outcome-unknown");
                sim.command("bob", Command::Abort { reason: None }).unwrap();
                sim.rest();
                assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
                sim.world.now = sim.world.now.plus(mins(5));
                assert!(sim.world.late.is_empty(), "{}", sim.story());
                sim.check_end();
                sim.check_replay();
            }
        }
    }
}

#[test]
fn waiting_for_a_piece_that_may_come_late_is_no_time_of_the_way_back() {
    let mut sim = late(canary(), Piece::Deployment, secs(55));
    sim.until_said("outcome-unknown");
    sim.command("bob", Command::Abort { reason: None }).unwrap();
    sim.rest();
    assert!(sim.said("remove-waits"), "{}", sim.story());
    assert!(sim.run.rollback_time().unwrap() < secs(30));
}

#[test]
fn a_piece_that_comes_late_on_the_way_forward_is_taken_for_what_it_is() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let mut sim = late(plan, Piece::Deployment, secs(20));
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
    }
}
