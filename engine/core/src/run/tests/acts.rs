//! Actions beside the workloads: in which order they are undone, and what becomes of those that were under way.

use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::effect::{Deed, Effect, Request};
use crate::event::{Command, Event};
use crate::failure::Kind;
use crate::plan::{Action, Plan};
use crate::run::{End, State};
use crate::time::Span;
use crate::verdict::Status;

pub(super) fn act() -> Action {
    Action::Act {
        name: None,
        offer: offer("job"),
        manifests: false,
        timeout: mins(2),
    }
}

/// One action before the deployment, and one after it with a soak behind.
fn acting() -> Plan {
    let mut plan = rolling();
    plan.phases
        .insert(1, phase("before", vec![step("before/act", act())]));
    let after = vec![
        step("after/act", act()),
        step("after/soak", soak(mins(1), &["errors"])),
    ];
    plan.phases.push(phase("after", after));
    plan
}

pub(super) fn is(effect: &Effect, kind: &str) -> bool {
    matches!(&effect.request, Request::Act { deed } if deed.kind() == kind)
}

fn deeds(sim: &Sim) -> Vec<(&str, &str)> {
    let deeds = sim.world.deeds.iter();
    deeds
        .map(|(deed, image)| (deed.as_str(), image.as_str()))
        .collect()
}

#[test]
fn what_ran_after_the_deployment_is_undone_before_it_and_the_rest_last() {
    let mut sim = Sim::new(acting());
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert_eq!(
        deeds(&sim),
        [("act before/act", OLD), ("act after/act", NEW)]
    );

    let mut sim = Sim::new(acting());
    sim.until_step("after/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let undone = [("undo after/act", NEW), ("undo before/act", OLD)];
    assert_eq!(deeds(&sim)[2..], undone);
    assert!(sim.world.acted.is_empty());
    sim.check_end();
}

#[test]
fn a_failed_action_leads_back_and_is_undone_itself() {
    let mut sim = Sim::new(acting()).faulty(|_, effect| {
        let fails = is(effect, "act") && effect.step.as_deref() == Some("after/act");
        fails.then(|| Fault::Fails(failure(Kind::Permanent)))
    });
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let expected = [
        ("act before/act", OLD),
        ("undo after/act", NEW),
        ("undo before/act", OLD),
    ];
    assert_eq!(deeds(&sim), expected);
}

#[test]
fn an_action_that_can_not_be_prepared_has_done_nothing() {
    let mut sim = Sim::new(acting())
        .faulty(|_, effect| is(effect, "prepare").then(|| Fault::Fails(failure(Kind::Denied))));
    sim.rest();
    assert_eq!(deeds(&sim), []);
    assert_eq!(sim.end(), End::RolledBack.min(sim.end()), "{}", sim.story());
    assert!(!sim.said("undone"));
}

#[test]
fn an_action_that_is_not_finished_is_asked_again_until_its_time_is_over() {
    let mut sim = Sim::new(acting());
    sim.world.pendings = 8;
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());

    let mut sim = Sim::new(acting());
    sim.until_step("after/act");
    sim.world.pendings = 10_000;
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let expected = [
        ("cancel after/act", NEW),
        ("undo after/act", NEW),
        ("undo before/act", OLD),
    ];
    assert_eq!(deeds(&sim)[1..], expected);
}

#[test]
fn what_can_not_be_undone_stays_and_is_said() {
    let mut sim = Sim::new(acting());
    sim.world.reversible = false;
    sim.until_step("after/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.acted.len(), 2);
    assert_eq!(sim.count_said("not-undone"), 2);
}

#[test]
fn an_action_that_can_not_be_undone_now_calls_people() {
    let mut sim = Sim::new(acting())
        .faulty(|_, effect| is(effect, "undo").then(|| Fault::Fails(failure(Kind::Denied))));
    sim.until_step("after/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let stuck = State::Ended {
        end: End::RollbackStuck,
    };
    assert_eq!(sim.run.state(), stuck);
    assert_eq!(sim.run.stuck_now().unwrap().step, "after/act");
    assert_eq!(sim.world.settings.image, OLD, "what serves went back first");
    let skip = |step: &str| Command::Skip {
        step: step.to_owned(),
    };
    sim.command("bob", skip("after/act")).unwrap();
    sim.rest();
    assert_eq!(sim.run.stuck_now().unwrap().step, "before/act");
    sim.world.faults = Rc::new(|_, _| None);
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.acted.len(), 1);
}

#[test]
fn where_nobody_can_tell_whether_it_ran_it_is_undone_and_the_old_version_serves() {
    let mut sim = Sim::new(acting()).faulty(|_, effect| {
        let lost = is(effect, "act") && effect.step.as_deref() == Some("after/act");
        lost.then_some(Fault::LostApplied)
    });
    sim.world.blind = Rc::new(|_, effect| is(effect, "act"));
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.settings.image, OLD);
    assert!(sim.world.acted.is_empty());
}

#[test]
fn past_the_point_of_no_return_nothing_is_undone_and_nothing_left_running() {
    let mut plan = acting();
    plan.phases[2].steps.last_mut().unwrap().point_of_no_return = true;
    let mut sim = Sim::new(plan);
    sim.until_step("after/act");
    sim.world.pendings = 10_000;
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward, "{}", sim.story());
    assert_eq!(deeds(&sim)[1..], [("cancel after/act", NEW)]);
}

#[test]
fn a_rollback_after_success_undoes_actions_once_the_old_version_serves() {
    let mut sim = Sim::new(acting());
    sim.rest();
    sim.command("bob", Command::RollBack { reason: None })
        .unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(
        deeds(&sim)[2..],
        [("undo after/act", OLD), ("undo before/act", OLD)]
    );
}

fn begun(pendings: u32) -> Sim {
    let mut sim = Sim::new(acting());
    sim.world.pendings = pendings;
    sim
}

fn length(pendings: u32) -> usize {
    let mut sim = begun(pendings);
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    sim.records.len()
}

#[test]
fn a_death_at_every_record_runs_every_action_once() {
    for number in 1..length(2) {
        for before in [true, false] {
            let mut sim = begun(2);
            let deaths = if before {
                &mut sim.dies_before
            } else {
                &mut sim.dies_after
            };
            deaths.insert(number);
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{number}\n{}", sim.story());
            let once = [("act before/act", OLD), ("act after/act", NEW)];
            assert_eq!(deeds(&sim), once, "{number}\n{}", sim.story());
            sim.check_end();
        }
    }
}

#[test]
fn an_abort_at_every_record_and_a_death_at_later_ones_undoes_every_action() {
    for number in 1..length(2) {
        let aborted = || {
            let mut sim = begun(2);
            sim.injected
                .entry(number)
                .or_default()
                .push(Inject::Command("bob", abort()));
            sim
        };
        let mut sim = aborted();
        sim.rest();
        for later in (number..sim.records.len()).step_by(3) {
            let mut sim = aborted();
            sim.dies_before.insert(later);
            sim.rest();
            let told = sim
                .records
                .iter()
                .any(|r| matches!(r.event, Event::Commanded { .. }));
            let (end, story) = (sim.end(), sim.story());
            let back = matches!(end, End::Cancelled | End::RolledBack);
            assert!(back == told, "{number} {later}: {end}\n{story}");
            if told {
                assert!(sim.world.acted.is_empty(), "{number} {later}\n{story}");
                assert!(sim.world.acting.is_empty(), "{number} {later}\n{story}");
            }
            sim.check_end();
            sim.check_replay();
        }
    }
}

#[test]
fn every_answer_may_be_lost_on_either_way() {
    for applied in [true, false] {
        for nth in 0..40_usize {
            for aborts in [true, false] {
                let fault = move |world: &World, effect: &Effect| {
                    let hit = world.performed == nth && effect.request.changes();
                    hit.then_some(match applied {
                        true => Fault::LostApplied,
                        false => Fault::LostUnapplied,
                    })
                };
                let mut sim = Sim::new(acting()).faulty(fault);
                if aborts {
                    sim = fails_after(sim);
                }
                sim.rest();
                let expected = if aborts {
                    End::RolledBack
                } else {
                    End::Succeeded
                };
                assert_eq!(sim.end(), expected, "{nth}\n{}", sim.story());
                let left = if aborts { 0 } else { 2 };
                assert_eq!(sim.world.acted.len(), left, "{nth}\n{}", sim.story());
                sim.check_replay();
            }
        }
    }
}

#[test]
fn the_window_is_waited_for_and_a_token_is_handed_on() {
    let mut sim = Sim::new(acting());
    sim.until(|sim| sim.said("prepared"));
    sim.pass(Span::from_secs(1));
    let tokens = sim.records.iter().filter_map(|record| match &record.event {
        Event::Intended { effect } => match &effect.request {
            Request::Act {
                deed: Deed::Run { token },
            } => Some(token.clone()),
            _ => None,
        },
        _ => None,
    });
    let tokens = tokens.collect::<Vec<_>>();
    assert_eq!(tokens, [serde_json::json!({"of": "before/act"})]);
    assert!(
        act().changes(),
        "the calendar is asked as for other changes"
    );
}

#[test]
fn an_undo_that_never_comes_to_its_end_keeps_the_old_version_from_nobody() {
    let mut sim = Sim::new(acting()).faulty(|_, effect| {
        let pends = is(effect, "undo") && effect.step.as_deref() == Some("after/act");
        pends.then(|| Fault::Fails(failure(Kind::Pending)))
    });
    sim.until_step("after/soak");
    sim.command("bob", abort()).unwrap();
    sim.until(|sim| sim.run.stuck_now().is_some());
    assert_eq!(sim.world.settings.image, OLD, "{}", sim.story());
    let step = "after/act".to_owned();
    sim.command("bob", Command::Skip { step }).unwrap();
    sim.rest();
    sim.check_replay();
}

/// The first attempt at an action is not answered and arrives so much later; the run turns back once it ran.
pub(super) fn late(step: &'static str, by: Span) -> Sim {
    let attempts = std::cell::Cell::new(0_u32);
    let sim = Sim::new(acting()).faulty(move |_, effect| {
        let first = is(effect, "act") && effect.step.as_deref() == Some(step);
        let first = first && attempts.replace(attempts.get() + u32::from(first)) == 0;
        first.then_some(Fault::Late(by))
    });
    fails_after(sim)
}

/// The gates fail once both actions ran.
fn fails_after(sim: Sim) -> Sim {
    sim.judged(|world, _, _| {
        Ok(match world.acted.contains("after/act") {
            true => Status::Fail,
            false => Status::Pass,
        })
    })
}

#[test]
fn what_an_action_sent_and_arrives_after_it_was_undone_is_undone_once_more() {
    for step in ["before/act", "after/act"] {
        for seconds in (1..60).step_by(7) {
            let mut sim = late(step, Span::from_secs(seconds));
            sim.rest();
            assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
            sim.pass(mins(2));
            let story = sim.story();
            assert!(sim.world.acted.is_empty(), "{step} {seconds}\n{story}");
            sim.check_end();
            sim.check_replay();
        }
    }
}

#[test]
fn an_action_that_was_answered_is_undone_once() {
    let mut sim = fails_after(Sim::new(acting()));
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(!sim.said("undo-waits"));
    let undone = deeds(&sim);
    let undone = undone.iter().filter(|(deed, _)| deed.starts_with("undo"));
    assert_eq!(undone.count(), 2);
}

/// The undo that comes late is refused.
fn stuck_late() -> Sim {
    let undos = std::cell::Cell::new(0_u32);
    let mut sim = late("after/act", Span::from_secs(50));
    let faults = Rc::clone(&sim.world.faults);
    sim.world.faults = Rc::new(move |world, effect| {
        let undoes = is(effect, "undo") && effect.step.as_deref() == Some("after/act");
        let again = undoes && undos.replace(undos.get() + u32::from(undoes)) > 0;
        match again {
            true => Some(Fault::Fails(failure(Kind::Denied))),
            false => faults(world, effect),
        }
    });
    sim.rest();
    assert_eq!(sim.run.stuck_now().unwrap().step, "after/act");
    sim
}

#[test]
fn an_undo_that_comes_late_and_is_stuck_can_be_retried() {
    let mut sim = stuck_late();
    sim.world.faults = Rc::new(|_, _| None);
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(sim.world.acted.is_empty(), "{}", sim.story());
    sim.check_replay();
}

#[test]
fn what_can_not_be_undone_and_arrives_late_is_cancelled() {
    for past_point in [false, true] {
        for seconds in (1..60).step_by(7) {
            let by = Span::from_secs(seconds);
            let mut plan = acting();
            plan.phases[2].steps.last_mut().unwrap().point_of_no_return = past_point;
            let mut sim = Sim::new(plan).faulty(move |_, effect| {
                let late = is(effect, "act") && effect.step.as_deref() == Some("after/act");
                late.then_some(Fault::Late(by))
            });
            sim.world.reversible = false;
            sim.until_step("after/act");
            sim.world.pendings = 10_000;
            sim.command("bob", abort()).unwrap();
            sim.rest();
            sim.pass(mins(2));
            let story = sim.story();
            assert!(
                sim.world.acting.is_empty(),
                "{past_point} {seconds}\n{story}"
            );
            sim.check_replay();
        }
    }
}

#[test]
fn people_who_skip_an_undo_that_comes_late_leave_the_action_as_it_is() {
    let mut sim = stuck_late();
    let step = "after/act".to_owned();
    sim.command("bob", Command::Skip { step }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_replay();
}
