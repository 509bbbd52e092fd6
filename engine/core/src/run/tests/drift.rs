//! Somebody else changes the target while the run holds it.

use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::effect::Request;
use crate::event::{Command, DriftAnswer};
use crate::failure::Kind;
use crate::plan::PhaseApproval;
use crate::run::{End, State};
use crate::verdict::Status;

const THEIRS: &str = "shop/api:hotfix";

fn answer(drift: DriftAnswer) -> Command {
    Command::Continue { drift: Some(drift) }
}

/// Drift is found by the write itself.
fn at_the_write() -> Sim {
    let mut sim = Sim::new(rolling());
    sim.until(|sim| sim.world.claim.is_some());
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    sim.pass(secs(5));
    sim
}

/// Drift is seen while the run soaks.
fn in_the_soak() -> Sim {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    sim
}

#[test]
fn drift_stops_the_run_and_calls_people() {
    for mut sim in [at_the_write(), in_the_soak()] {
        assert!(matches!(sim.run.state(), State::AwaitingPeople { .. }));
        sim.pass(mins(10));
        assert_eq!(sim.world.settings.image, THEIRS, "nothing is written over");
        assert!(
            sim.command("bob", Command::Continue { drift: None })
                .is_err()
        );
        assert!(sim.told("awaiting-people") > 0);
    }
}

#[test]
fn adopted_before_the_write_the_new_version_replaces_theirs() {
    let mut sim = at_the_write();
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_end();
}

#[test]
fn adopted_in_the_soak_theirs_stays() {
    let mut sim = in_the_soak();
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    assert_eq!(sim.world.settings.image, THEIRS);
    assert_eq!(sim.run.serves_otherwise(), [format!("api runs {THEIRS}")]);
    let last = sim.lines.iter().rfind(|line| line.kind == "ended").unwrap();
    assert!(last.message.contains(THEIRS), "{}", last.message);
    sim.check_writes();
}

#[test]
fn forced_the_plan_is_written_once_more_and_soaked_again() {
    for mut sim in [at_the_write(), in_the_soak()] {
        sim.command("bob", answer(DriftAnswer::Force)).unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
    }
}

#[test]
fn aborted_at_the_write_theirs_is_left_alone_since_nothing_was_ours() {
    let mut sim = at_the_write();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Cancelled);
    assert_eq!(sim.world.settings.image, THEIRS);
    assert_eq!(sim.world.claim, None);
}

#[test]
fn aborted_in_the_soak_stable_comes_back() {
    let mut sim = in_the_soak();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
}

#[test]
fn nobody_decides() {
    let mut sim = in_the_soak();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    assert!(sim.run.cause().unwrap().reason.contains("nobody decided"));
    sim.check_end();
}

#[test]
fn a_step_that_had_not_begun_is_not_skipped_by_drift() {
    for drift in [DriftAnswer::Adopt, DriftAnswer::Force] {
        let mut plan = recreate();
        let steps = plan.phases[0].steps.split_off(1);
        plan.phases.push(phase("up", steps));
        plan.approvals.push(PhaseApproval {
            before: "up".to_owned(),
            requirement: requirement("lead", &["bob"], 1),
        });
        let mut sim = Sim::new(plan);
        sim.until_said("awaiting");
        sim.world.meddle(Some(THEIRS), None);
        sim.until_said("drift");
        sim.command("bob", answer(drift)).unwrap();
        sim.pass(mins(10));
        assert!(!sim.world.deployed(), "nobody approved\n{}", sim.story());
        let plan = sim.run.digest().to_owned();
        sim.command(
            "bob",
            Command::Approve {
                plan,
                requirement: None,
            },
        )
        .unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
    }
}

#[test]
fn drift_while_the_strategy_thinks_is_not_forgotten() {
    let mut sim = Sim::new(with_strategy());
    sim.until(|sim| {
        sim.run
            .outstanding
            .values()
            .any(|o| o.effect.request.kind() == "revise")
    });
    // A look that was under way says that somebody meddled; then the strategy answers.
    let revise = sim
        .run
        .outstanding
        .values()
        .find(|o| o.effect.request.kind() == "revise");
    let revise = revise.unwrap().effect.id;
    sim.run
        .drifted(
            "the image is theirs".to_owned(),
            None,
            true,
            super::super::state::Then::Ask,
        )
        .unwrap();
    sim.run.revised(revise, None).unwrap();
    assert!(sim.run.drifted_now());
}

#[test]
fn somebody_elses_number_of_pods_is_kept() {
    let mut plan = rolling();
    plan.phases[1].steps[0].action = crate::plan::Action::Deploy {
        placement: crate::strategy::Placement::InPlace,
        replicas: crate::strategy::Amount::Count(5),
        surge: None,
        unavailable: None,
        timeout: mins(5),
    };
    let mut sim = Sim::new(plan);
    sim.until_step("deploy/soak");
    sim.world.meddle(None, Some(9));
    sim.rest();
    assert!(sim.said("drift-adopted"));
    assert_eq!(sim.end(), End::Succeeded);
    assert_eq!(
        sim.world.settings.replicas, 9,
        "the last write names theirs"
    );
}

#[test]
fn what_abort_would_do_names_the_pods_that_it_leaves() {
    // The plan sets no number of pods: theirs stays.
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    assert!(sim.run.abort_would().contains("back with 3 replicas"));
    sim.world.meddle(None, Some(9));
    sim.until_said("drift-adopted");
    let would = sim.run.abort_would();
    assert!(would.contains("the 9 replicas that it has now"), "{would}");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    assert_eq!(sim.world.settings.replicas, 9);

    // The plan sets one: the recorded one comes back.
    let mut plan = rolling();
    plan.phases[1].steps[0].action = crate::plan::Action::Deploy {
        placement: crate::strategy::Placement::InPlace,
        replicas: crate::strategy::Amount::Count(5),
        surge: None,
        unavailable: None,
        timeout: mins(5),
    };
    let mut sim = Sim::new(plan);
    sim.until_step("deploy/soak");
    sim.world.meddle(None, Some(9));
    sim.until_said("drift-adopted");
    assert!(sim.run.abort_would().contains("back with 3 replicas"));
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.world.settings.replicas, 3);
}

#[test]
fn a_template_of_others_is_adopted_or_aborted_but_not_forced() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.happens(Inject::Template("theirs"));
    sim.until_said("drift");
    assert!(sim.command("bob", answer(DriftAnswer::Force)).is_err());
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    assert_eq!(sim.count_said("drift"), 1, "it is asked about once");
}

#[test]
fn another_deployment_of_the_same_name_is_never_written_to() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.happens(Inject::Replaced);
    sim.until_said("drift");
    let written = sim.world.applied.len();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert!(matches!(
        sim.run.state(),
        State::RollingBackAwaitingPeople { .. }
    ));
    assert_eq!(sim.world.applied.len(), written);
    let reason = "made anew".to_owned();
    sim.command("bob", Command::HandOver { reason }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RollbackStuck);
    assert_eq!(sim.world.claim, None);
}

/// Whenever somebody else releases, and whatever people decide, the run ends, or waits for people on its way back.
#[test]
fn drift_at_every_record_comes_to_an_end() {
    for decision in [None, Some(DriftAnswer::Adopt), Some(DriftAnswer::Force)] {
        let mut number = 1;
        loop {
            let meddle = Inject::Meddle(Some(THEIRS), Some(4));
            let mut sim = Sim::new(rolling()).inject(number, meddle);
            sim.drive();
            while !sim.run.resting() && sim.step() {
                if sim.run.drifted_now()
                    && let Some(drift) = decision
                {
                    sim.pass(secs(40));
                    sim.command("bob", answer(drift)).ok();
                }
            }
            if !sim.injected.is_empty() {
                break;
            }
            assert!(sim.run.resting(), "{number}: {}", sim.story());
            if sim.run.stuck_now().is_some() {
                let reason = "we do it".to_owned();
                sim.command("bob", Command::HandOver { reason }).unwrap();
                sim.rest();
            }
            assert!(sim.ended(), "{number}: {}", sim.run.state());
            assert_eq!(sim.world.claim, None, "{number}");
            if decision == Some(DriftAnswer::Adopt) {
                assert_eq!(sim.end(), End::Succeeded, "{number}: {}", sim.story());
            }
            sim.check_writes();
            sim.check_replay();
            number += 1;
        }
        assert!(number > 30);
    }
}

/// In the soak, with an image that somebody set since the run last looked.
fn unseen_in_the_soak() -> Sim {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    sim.world.meddle(Some(THEIRS), None);
    sim
}

#[test]
fn an_image_that_nobody_has_seen_yet_is_not_written_over_by_an_abort() {
    let mut sim = unseen_in_the_soak();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let stuck = sim.run.stuck_now().unwrap();
    assert!(stuck.decision && stuck.reason.contains(THEIRS), "{stuck:?}");
    assert_eq!(sim.world.settings.image, THEIRS);
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}

#[test]
fn an_image_that_nobody_has_seen_yet_can_be_left_to_whoever_set_it() {
    let mut sim = unseen_in_the_soak();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let reason = "theirs stays".to_owned();
    sim.command("bob", Command::HandOver { reason }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RollbackStuck);
    assert_eq!(sim.world.settings.image, THEIRS);
    sim.check_writes();
}

#[test]
fn a_cluster_that_can_not_be_looked_at_keeps_nobody_from_going_back() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    sim.world.faults = Rc::new(|_, effect| {
        let looks = matches!(effect.request, Request::Observe { .. });
        looks.then(|| Fault::Fails(failure(Kind::Retryable)))
    });
    sim.command("bob", abort()).unwrap();
    sim.until(|sim| sim.world.settings.image == OLD);
}

#[test]
fn a_look_that_was_under_way_when_somebody_changed_the_target_does_not_count() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(15));
    sim.world.judges = Rc::new(|world, _, _| {
        Ok(if world.settings.image == THEIRS {
            Status::Fail
        } else {
            Status::Pass
        })
    });
    // The run has looked this very moment.
    sim.until(|sim| sim.run.look.last == Some(sim.world.now));
    sim.world.meddle(Some(THEIRS), None);
    sim.until(|sim| sim.said("drift") || sim.run.cause().is_some());
    assert!(sim.said("drift"), "{}", sim.story());
}

#[test]
fn a_strategy_that_is_asked_again_is_told_of_the_pods_that_somebody_added() {
    let mut sim = Sim::new(with_strategy());
    sim.until_step("deploy/soak");
    sim.world.meddle(None, Some(9));
    sim.until_said("drift-adopted");
    sim.until(|sim| told(sim).is_some());
    assert_eq!(told(&sim), Some(9));
}

fn told(sim: &Sim) -> Option<u32> {
    let mut asked = sim.run.outstanding.values();
    asked.find_map(|o| match o.effect.request {
        Request::Revise { replicas, .. } => Some(replicas),
        _ => None,
    })
}

/// Without a router stable gives pods to the candidate: what the run moves is not what somebody else adds.
#[test]
fn pods_that_the_run_moves_are_not_counted_as_somebody_elses() {
    let mut sim = Sim::new(canary_by_replicas());
    sim.until(|sim| sim.world.settings.replicas < 3 && sim.world.settings.replicas > 0);
    sim.pass(secs(20));
    assert_eq!(sim.run.whole(), 3, "{}", sim.story());
    let left = sim.world.settings.replicas;
    sim.world.meddle(None, Some(left + 4));
    sim.until_said("drift-adopted");
    assert_eq!(sim.run.whole(), 7, "{}", sim.story());
}

#[test]
fn a_template_of_the_candidate_that_others_changed_is_asked_about() {
    for (drift, template) in [
        (DriftAnswer::Adopt, "theirs"),
        (DriftAnswer::Force, "as made"),
    ] {
        for plan in [canary(), canary_by_replicas(), blue_green()] {
            let mut sim = Sim::new(plan);
            sim.until(|sim| sim.run.here().1.is_some_and(|id| id.ends_with("/soak")));
            sim.pass(secs(15));
            sim.world.candidate.as_mut().unwrap().template = "theirs".to_owned();
            sim.until_said("drift");
            sim.pass(secs(5));
            assert!(sim.told("awaiting-people") > 0);
            sim.command("bob", answer(drift)).unwrap();
            sim.pass(secs(5));
            let there = sim.world.candidate.as_ref().unwrap();
            assert_eq!(there.template, template, "{}", sim.story());
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
            assert_eq!(sim.count_said("drift"), 1, "{}", sim.story());
            sim.check_end();
            sim.check_replay();
        }
    }
}

#[test]
fn gates_are_asked_anew_once_people_have_decided_and_that_is_said() {
    let mut sim = in_the_soak();
    let State::AwaitingPeople { reason } = sim.run.state() else {
        panic!("{}", sim.run.state());
    };
    assert!(reason.contains("the soak begins anew"), "{reason}");
    let said = sim.lines.iter().find(|line| line.kind == "drift").unwrap();
    assert!(said.message.contains("measured so far"), "{}", said.message);
    let asked = sim.world.asked.clone();
    sim.pass(mins(10));
    assert_eq!(sim.world.asked, asked, "nobody is asked meanwhile");
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.until_said("settled");
    let begun = sim.world.now;
    sim.rest();
    assert!(sim.world.now.since(begun) >= mins(1), "{}", sim.story());
    assert!(
        sim.story()
            .contains("goes on with what is there; the soak begins anew")
    );
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());

    // Where nothing was measured there is nothing to say about it.
    let sim = at_the_write();
    assert!(!sim.story().contains("anew"), "{}", sim.story());
}

/// While a step waits for people the gates of the last soak go on, also after drift.
#[test]
fn gates_that_go_on_while_people_are_awaited_go_on_after_drift_as_well() {
    let mut plan = rolling();
    let asked = requirement("leads", &["ada"], 1);
    plan.phases.push(phase(
        "later",
        vec![step("later/check", check(&["health"]))],
    ));
    plan.approvals.push(PhaseApproval {
        before: "later".to_owned(),
        requirement: asked,
    });
    let mut sim = Sim::new(plan);
    sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    let before = sim.world.asked.clone();
    sim.pass(mins(5));
    assert_eq!(sim.world.asked, before, "nobody is asked meanwhile");
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.pass(mins(1));
    assert!(
        sim.world.asked["health"] > before["health"],
        "{}",
        sim.story()
    );
    sim.world.judges = Rc::new(|_, _, _| Ok(Status::Fail));
    sim.rest();
    let reason = &sim.run.cause().unwrap().reason;
    assert!(reason.contains("failed"), "{reason}");
    sim.check_replay();
}

/// What people adopt of the candidate is to serve before it is measured.
#[test]
fn a_candidate_that_is_adopted_is_waited_for() {
    let mut sim = Sim::new(canary());
    sim.until(|sim| sim.run.here().1.is_some_and(|id| id.ends_with("/soak")));
    sim.pass(secs(15));
    let now = sim.world.now;
    let theirs = sim.world.candidate.as_mut().unwrap();
    theirs.template = "theirs".to_owned();
    theirs.roll_out(now.plus(mins(3)));
    sim.until_said("drift");
    let before = sim.world.asked.clone();
    sim.command("bob", answer(DriftAnswer::Adopt)).unwrap();
    sim.pass(mins(2));
    assert_eq!(
        sim.world.asked,
        before,
        "its pods don't serve yet: {}",
        sim.story()
    );
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_end();
}

/// People are asked once, also where the step looks at both sides before it writes.
#[test]
fn drift_at_a_step_that_looks_first_is_forced_with_one_answer() {
    let mut sim = Sim::new(blue_green());
    sim.until_step("deploy/retire");
    sim.until(|sim| sim.world.settings.replicas == 0);
    sim.world.meddle(Some(THEIRS), None);
    sim.until_said("drift");
    sim.command("bob", answer(DriftAnswer::Force)).unwrap();
    sim.rest();
    assert_eq!(sim.count_said("drift"), 1, "{}", sim.story());
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert_eq!(sim.world.settings.image, OLD);
    sim.check_replay();
}

/// Pods that somebody added to stable serve too: what takes them away needs as many at the candidate.
#[test]
fn pods_that_somebody_added_are_not_taken_before_the_candidate_has_as_many() {
    let mut sim = Sim::new(canary_by_replicas());
    sim.until_step("deploy/full");
    sim.world.meddle(None, Some(8));
    sim.until_said("drift-adopted");
    sim.rest();
    let taken = sim
        .lines
        .iter()
        .any(|line| line.message.contains("write replicas 0"));
    assert!(
        !taken,
        "three pods of the candidate don't carry what ten did: {}",
        sim.story()
    );
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let reason = &sim.run.cause().unwrap().reason;
    assert!(
        reason.contains("the candidate has 3 ready pods and needs"),
        "{reason}"
    );
    sim.check_replay();
}
