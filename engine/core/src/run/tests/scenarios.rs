//! Whole runs, as an operator sees them.

use super::plans::*;
use super::sim::*;
use crate::diagnostic::codes;
use crate::effect::Request;
use crate::failure::Kind;
use crate::run::{End, State};
use crate::verdict::Status;

#[test]
fn a_rolling_release_succeeds_and_lets_go() {
    let mut sim = Sim::new(rolling());
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
    for event in ["started", "phase-finished", "succeeded"] {
        assert!(sim.told(event) > 0, "{event} was not told");
    }
    assert_eq!(sim.run.obligations().len(), 1);
    assert_eq!(sim.run.obligations()[0].task, "tag the release");
}

#[test]
fn recreate_goes_down_first_and_comes_back_at_strength() {
    let mut sim = Sim::new(recreate());
    sim.until(|sim| sim.world.settings.replicas == 0);
    assert!(!sim.world.deployed(), "the old pods go before the new come");
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_end();
}

#[test]
fn recreate_aborted_while_down_brings_the_old_pods_back() {
    let mut sim = Sim::new(recreate());
    sim.until(|sim| sim.world.settings.replicas == 0);
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
}

#[test]
fn a_gate_that_fails_before_anything_changed_refuses_the_run() {
    let mut sim = Sim::new(rolling()).judged(|_, _, _| Ok(Status::Fail));
    sim.rest();
    assert_eq!(sim.end(), End::Refused);
    assert!(sim.world.applied.keys().all(|key| !key.contains("change")));
    assert!(!sim.run.changed_anything());
    sim.check_end();
    assert!(sim.run.obligations().is_empty());
}

#[test]
fn a_gate_that_fails_after_the_deployment_rolls_back() {
    let mut sim = Sim::new(rolling()).judged(|world, _, _| {
        Ok(if world.deployed() {
            Status::Fail
        } else {
            Status::Pass
        })
    });
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    assert!(sim.run.diagnosis().is_some(), "what tells why is kept");
    assert_eq!(
        sim.run.cause().unwrap().step.as_deref(),
        Some("deploy/soak")
    );
    assert_eq!(sim.run.obligations()[0].task, "write the post-mortem");
    assert!(sim.run.rollback_time().unwrap() < mins(5));
    assert_eq!(sim.told("rolled-back"), 1);
}

#[test]
fn a_rollout_over_its_time_is_undone() {
    let mut sim = Sim::new(rolling());
    sim.world.never_ready = Some(NEW.to_owned());
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    let took = sim.run.cause().unwrap().reason.clone();
    assert!(took.contains("not ready in 5m"), "{took}");
    sim.check_end();
}

#[test]
fn pods_that_crash_are_rolled_back_long_before_the_time_is_over() {
    let mut sim = Sim::new(rolling());
    sim.world.broken = Some((NEW.to_owned(), "CrashLoopBackOff".to_owned()));
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    let cause = sim.run.cause().unwrap().reason.clone();
    assert!(cause.contains("CrashLoopBackOff"), "{cause}");
    assert!(sim.run.now().since(sim.run.started_at()) < mins(2));
    assert!(!sim.run.diagnosis().unwrap().logs.is_empty());
    sim.check_end();
}

#[test]
fn a_hiccup_of_the_registry_is_waited_out() {
    let mut sim = Sim::new(rolling());
    sim.world.broken = Some((NEW.to_owned(), "ImagePullBackOff".to_owned()));
    sim.until(|sim| sim.world.deployed());
    sim.world.broken_until = Some(sim.world.now.plus(secs(8)));
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn a_target_that_another_run_holds_is_left_alone() {
    let mut sim = Sim::new(rolling());
    sim.world.claim = Some("other".to_owned());
    sim.rest();
    assert_eq!(sim.end(), End::Refused);
    assert_eq!(sim.world.claim.as_deref(), Some("other"));
    assert_eq!(sim.count_said("claim-failed"), 1, "it is not tried again");
}

#[test]
fn a_write_that_is_denied_refuses_the_run_since_nothing_changed() {
    let mut sim = Sim::new(rolling()).faulty(|_, effect| {
        matches!(effect.request, Request::Change { .. })
            .then(|| Fault::Fails(failure(Kind::Denied)))
    });
    sim.rest();
    assert_eq!(sim.end(), End::Refused, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

#[test]
fn no_data_is_held_and_then_goes_back() {
    let mut sim = Sim::new(rolling()).judged(|world, _, _| {
        Ok(if world.deployed() {
            Status::Inconclusive
        } else {
            Status::Pass
        })
    });
    sim.until_said("hold");
    assert!(matches!(sim.run.state(), State::AwaitingPeople { .. }));
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
}

#[test]
fn a_hold_ends_when_the_gate_can_tell_again() {
    let mut sim = Sim::new(rolling()).judged(|_, gate, nth| {
        Ok(if gate == "errors" && (2..7).contains(&nth) {
            Status::Inconclusive
        } else {
            Status::Pass
        })
    });
    sim.rest();
    assert!(sim.said("hold"));
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn a_phase_has_its_time() {
    let mut plan = rolling();
    plan.phases[1].timeout = Some(secs(30));
    let mut sim = Sim::new(plan);
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    let cause = sim.run.cause().unwrap().reason.clone();
    assert!(
        cause.contains("the phase is not finished in 30s"),
        "{cause}"
    );
    sim.check_end();
}

#[test]
fn a_notifier_that_fails_never_fails_the_run() {
    let mut plan = rolling();
    plan.notifiers
        .insert("pager".to_owned(), notifier(true, Some("mail")));
    plan.notifiers
        .insert("mail".to_owned(), notifier(false, None));
    plan.notifiers.get_mut("mail").unwrap().on = vec!["nothing".to_owned()];
    let mut sim = Sim::new(plan);
    sim.world.failing_notifiers = ["pager".to_owned(), "chat".to_owned()].into();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    sim.check_end();
    let mail = sim.world.told.iter().filter(|(name, _)| name == "mail");
    let mail = mail.map(|(_, event)| event.as_str()).collect::<Vec<_>>();
    assert!(
        mail.contains(&"started") && mail.contains(&"succeeded"),
        "{mail:?}"
    );
    assert!(sim.said("notice-failed"));
}

#[test]
fn a_notifier_called_fallback_has_its_fallback_too() {
    let mut plan = rolling();
    plan.notifiers = [
        ("fallback".to_owned(), notifier(true, Some("mail"))),
        ("mail".to_owned(), notifier(false, None)),
    ]
    .into();
    plan.notifiers.get_mut("mail").unwrap().on = vec!["nothing".to_owned()];
    let mut sim = Sim::new(plan);
    sim.world.failing_notifiers = ["fallback".to_owned()].into();
    sim.rest();
    assert!(sim.world.told.iter().any(|(name, _)| name == "mail"));
}

#[test]
fn notices_whose_answer_is_always_lost_end() {
    let mut sim = Sim::new(rolling()).faulty(|_, effect| {
        matches!(effect.request, Request::Notify { .. }).then_some(Fault::LostUnapplied)
    });
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    assert!(sim.run.now().since(sim.run.started_at()) < mins(10));
}

#[test]
fn a_flood_of_notices_does_not_stop_an_abort() {
    let mut plan = rolling();
    for n in 0..150 {
        plan.notifiers
            .insert(format!("n{n}"), notifier(false, None));
    }
    let mut sim = Sim::new(plan);
    sim.until(|sim| sim.world.claim.is_some());
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert!(sim.said("notice-dropped"));
    assert_eq!(sim.end(), End::Cancelled);
}

#[test]
fn a_gate_that_stays_pending_does_not_keep_a_finished_run_open() {
    let plan = with_phases(vec![phase(
        "deploy",
        vec![
            step("deploy/bring-up", deploy()),
            step("deploy/soak", soak(secs(30), &["health", "errors"])),
            step("deploy/last", check(&["health"])),
        ],
    )]);
    // The gate `errors` answers until the soak is over, and then never again.
    let mut sim = Sim::new(plan).judged(|_, gate, nth| {
        if gate == "errors" && nth > 3 {
            Err(Kind::Pending)
        } else {
            Ok(Status::Pass)
        }
    });
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert!(sim.run.now().since(sim.run.started_at()) < mins(5));
}

#[test]
fn past_the_point_of_no_return_an_abort_stays_forward() {
    let mut plan = rolling();
    plan.phases[1].steps[0].point_of_no_return = true;
    let mut sim = Sim::new(plan);
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward);
    assert!(sim.world.deployed());
    assert_eq!(
        sim.world.settings.rollout,
        sim.run.plan().workloads[0].baseline.settings.rollout
    );
    assert_eq!(sim.world.claim, None);
}

#[test]
fn a_pause_after_the_point_of_no_return_does_not_move_the_point() {
    let mut plan = rolling();
    plan.phases[1].steps[0].point_of_no_return = true;
    let mut sim = Sim::new(plan);
    sim.until(|sim| sim.world.deployed());
    sim.command("bob", crate::event::Command::Pause { reason: None })
        .unwrap();
    sim.until_said("settled");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward);
}

#[test]
fn a_claim_that_nobody_can_tell_of_calls_people_in_the_end() {
    let mut sim = Sim::new(rolling()).faulty(|_, effect| {
        matches!(effect.request, Request::Claim { .. }).then_some(Fault::LostApplied)
    });
    sim.world.blind = std::rc::Rc::new(|_, effect| matches!(effect.request, Request::Claim { .. }));
    sim.rest();
    assert_eq!(
        sim.run.state(),
        State::Ended {
            end: End::RollbackStuck
        }
    );
    assert_eq!(sim.run.stuck_now().unwrap().step, "claim");
    // Leaving it out means that it may be there: the run lets go of it, and writes nothing else.
    sim.command(
        "bob",
        crate::event::Command::Skip {
            step: "claim".to_owned(),
        },
    )
    .unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Refused, "{}", sim.story());
    sim.check_end();
}

#[test]
fn the_codes_of_a_failure_are_told() {
    let mut sim = Sim::new(rolling());
    sim.world.claim = Some("other".to_owned());
    sim.rest();
    let line = sim
        .lines
        .iter()
        .find(|line| line.kind == "claim-failed")
        .unwrap();
    assert_eq!(line.data["code"], codes::TARGET_BUSY.to_string());
}

#[test]
fn counts_of_an_earlier_specification_are_not_a_rollout_that_has_finished() {
    let mut sim = Sim::new(rolling());
    sim.rest();
    sim.world.now = sim.world.now.plus(mins(10));
    let mut seen = sim.world.observe();
    assert!(seen.settled());
    seen.observed_generation = seen.generation - 1;
    assert!(!seen.settled(), "the controller has not looked yet");
}
