//! Every point of failure of a whole run, one after the other, and pairs of them.

use std::collections::BTreeSet;

use super::plans::*;
use super::sim::*;
use crate::event::Event;
use crate::failure::Kind;
use crate::plan::Plan;
use crate::run::{End, State};
use crate::strategy;
use crate::time::Span;

fn undisturbed(plan: &Plan) -> usize {
    let mut sim = Sim::new(plan.clone());
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    sim.records.len()
}

fn plans() -> [Plan; 12] {
    [
        rolling(),
        recreate(),
        with_strategy(),
        canary(),
        canary_by_replicas(),
        blue_green(),
        three_services(),
        configured(rolling()),
        configured(canary()),
        released_before(rolling()),
        templated(rolling()),
        templated(canary()),
    ]
}

#[test]
fn the_engine_may_die_before_and_after_every_record() {
    for plan in plans() {
        let length = undisturbed(&plan);
        for number in 1..length {
            for before in [true, false] {
                let mut sim = Sim::new(plan.clone());
                if before {
                    sim.dies_before.insert(number);
                } else {
                    sim.dies_after.insert(number);
                }
                sim.rest();
                assert_eq!(
                    sim.end(),
                    End::Succeeded,
                    "{number} {before}\n{}",
                    sim.story()
                );
                sim.check_end();
            }
        }
    }
}

/// The end of a run that was aborted: back where it was, or not reached in time.
fn check_aborted(sim: &Sim, number: usize) {
    let aborted = sim.cancelled_or_rolled_back();
    assert!(
        aborted,
        "aborted at {number}, ends {}\n{}",
        sim.run.state(),
        sim.story()
    );
    sim.check_end();
}

impl Sim {
    fn cancelled_or_rolled_back(&self) -> bool {
        let aborted = self
            .records
            .iter()
            .any(|record| matches!(record.event, Event::Commanded { .. }));
        match self.end() {
            End::Cancelled | End::RolledBack => aborted,
            // The record at which it was to be aborted was the last.
            End::Succeeded => !aborted,
            _ => false,
        }
    }
}

#[test]
fn an_abort_at_every_record_leads_back() {
    for plan in plans() {
        for number in 1..undisturbed(&plan) {
            let mut sim = Sim::new(plan.clone()).inject(number, Inject::Command("bob", abort()));
            sim.rest();
            check_aborted(&sim, number);
            sim.check_replay();
        }
    }
}

#[test]
fn an_abort_at_every_record_and_a_death_at_every_later_one() {
    for plan in [
        rolling(),
        recreate(),
        canary(),
        canary_by_replicas(),
        blue_green(),
    ] {
        // A candidate makes for many records: every pair would take minutes.
        let stride = if plan.workloads[0].target.beside.is_some() {
            7
        } else {
            1
        };
        for number in 1..undisturbed(&plan) {
            let mut sim = Sim::new(plan.clone()).inject(number, Inject::Command("bob", abort()));
            sim.rest();
            let length = sim.records.len();
            for later in (number..length).step_by(stride) {
                let mut sim =
                    Sim::new(plan.clone()).inject(number, Inject::Command("bob", abort()));
                if later % 2 == 0 {
                    sim.dies_before.insert(later);
                } else {
                    sim.dies_after.insert(later);
                }
                sim.rest();
                check_aborted(&sim, number);
            }
        }
    }
}

/// Every answer lost or refused once, on the way forward and, after an abort, on the way back.
#[test]
fn every_request_may_fail_once() {
    let faults = [
        Fault::Fails(failure(Kind::Retryable)),
        Fault::Fails(failure(Kind::Timeout)),
        Fault::LostApplied,
        Fault::LostUnapplied,
    ];
    for plan in [
        rolling(),
        recreate(),
        canary(),
        canary_by_replicas(),
        blue_green(),
    ] {
        for abort_at in [None, Some(12), Some(25), Some(40)] {
            let mut calm = Sim::new(plan.clone());
            if let Some(number) = abort_at {
                calm = calm.inject(number, Inject::Command("bob", abort()));
            }
            let quiet = calm.clone();
            calm.rest();
            for nth in 0..calm.world.performed {
                for fault in &faults {
                    let fault = fault.clone();
                    let mut sim = quiet
                        .clone()
                        .faulty(move |world, _| (world.performed == nth).then(|| fault.clone()));
                    sim.rest();
                    let end = sim.end();
                    let fine = match abort_at {
                        None => end == End::Succeeded,
                        Some(_) => sim.cancelled_or_rolled_back(),
                    };
                    assert!(fine, "request {nth}, {end}\n{}", sim.story());
                    sim.check_end();
                }
            }
        }
    }
}

/// Each request failing for good ends somewhere honest.
#[test]
fn every_request_may_be_denied_for_good() {
    let mut calm = Sim::new(rolling());
    calm.rest();
    let keys: BTreeSet<String> = calm
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::Intended { effect } => Some(effect.key.clone()),
            _ => None,
        })
        .collect();
    for denied in keys {
        let mut sim = Sim::new(rolling()).faulty(move |_, effect| {
            (effect.key == denied).then(|| Fault::Fails(failure(Kind::Denied)))
        });
        sim.rest();
        assert!(
            matches!(sim.end(), End::Succeeded | End::Refused),
            "{}",
            sim.story()
        );
        sim.check_end();
    }
}

/// From every state that a run passes through, an abort of a copy of it comes to an end.
#[test]
fn abort_leads_to_an_end_from_every_state_passed_through() {
    let mut seen = BTreeSet::new();
    for plan in plans() {
        let mut sim = Sim::new(plan);
        sim.drive();
        while !sim.ended() {
            let mut copy = sim.clone();
            if copy.command("bob", abort()).is_ok() {
                copy.rest();
                assert!(copy.cancelled_or_rolled_back(), "{}", copy.story());
                copy.check_end();
                seen.insert(sim.run.state().to_string());
            }
            assert!(sim.step());
        }
    }
    assert!(seen.len() > 6, "{seen:?}");
}

#[test]
fn a_soak_goes_on_after_a_crash_and_does_not_count_the_time_between() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.pass(secs(35));
    let (measured, wanted) = sim.run.soak().unwrap();
    assert!(measured >= secs(20) && measured < wanted, "{measured}");
    // The engine is away for longer than the soak and all its slack.
    sim.world.now = sim.world.now.plus(mins(300));
    sim.drive();
    let (after, _) = sim.run.soak().unwrap();
    assert_eq!(after, measured);
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    let steps = sim.count_said("step-started");
    assert_eq!(steps, 3, "no finished step is repeated");
}

#[test]
fn a_rollout_that_finished_while_nobody_drove_is_not_taken_for_late() {
    for back in [false, true] {
        let mut sim = Sim::new(rolling());
        sim.until(|sim| sim.world.deployed());
        sim.step();
        if back {
            sim.command("bob", abort()).unwrap();
            sim.until(|sim| sim.count_said("changed") > 1);
        }
        sim.world.now = sim.world.now.plus(mins(60));
        sim.drive();
        sim.rest();
        let wanted = if back {
            End::RolledBack
        } else {
            End::Succeeded
        };
        assert_eq!(sim.end(), wanted, "{}", sim.story());
    }
}

#[test]
fn waiting_and_paused_and_stuck_runs_are_resumed_as_they_were() {
    let mut plan = rolling();
    plan.approvals.push(crate::plan::PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    let before = sim.run.state();
    sim.happens(Inject::Leaves);
    sim.pass(mins(1));
    assert_eq!(sim.run.state(), before);
    sim.command("bob", crate::event::Command::Pause { reason: None })
        .unwrap();
    sim.happens(Inject::Leaves);
    sim.pass(mins(1));
    assert_eq!(sim.run.state(), State::Paused);
    assert_eq!(sim.told("started"), 1);
}

fn revised(duration: Span, gates: &[&str]) -> Sim {
    let mut sim = Sim::new(with_strategy());
    sim.world.revision = Some(vec![strategy::Step {
        id: "again".to_owned(),
        action: strategy::Action::Soak {
            duration,
            interval: secs(10),
            gates: gates.iter().map(|&gate| gate.to_owned()).collect(),
        },
        extra: serde_json::Value::Null,
    }]);
    sim.until(|sim| sim.said("revised") || sim.said("revision-refused"));
    sim.world.revision = None;
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    sim.check_replay();
    sim
}

#[test]
fn a_strategy_may_go_on_otherwise_within_the_rules() {
    let sim = revised(mins(2), &[]);
    assert!(sim.said("revised"));
    assert!(sim.run.steps().iter().any(|step| step.id == "deploy/again"));
}

#[test]
fn a_revision_leaves_the_point_of_no_return_at_the_end_of_the_phase() {
    let mut plan = with_strategy();
    let last = plan.phases[1].steps.len() - 1;
    plan.phases[1].steps[last].point_of_no_return = true;
    let mut phases = plan.phases.clone();
    let again = strategy::Step {
        id: "again".to_owned(),
        action: strategy::Action::Soak {
            duration: mins(2),
            interval: secs(10),
            gates: vec!["health".to_owned()],
        },
        extra: serde_json::Value::Null,
    };
    let mut twice = again.clone();
    twice.id = "once-more".to_owned();
    crate::planning::revise(&plan, &mut phases, 1, 1, &[again, twice]).unwrap();
    let points = phases[1]
        .steps
        .iter()
        .filter(|step| step.point_of_no_return);
    let points: Vec<&str> = points.map(|step| step.id.as_str()).collect();
    assert_eq!(points, ["deploy/once-more"]);
}

#[test]
fn a_revision_that_drops_a_gate_or_shortens_a_soak_is_refused() {
    for sim in [revised(mins(2), &["errors"]), revised(secs(5), &[])] {
        assert!(sim.said("revision-refused"));
        assert!(sim.run.steps().iter().any(|step| step.id == "deploy/last"));
    }
}

/// A claim that arrives after its probe has said that it isn't there, however the run ends.
#[test]
fn a_claim_that_arrives_late_is_not_left_behind() {
    for late in [1, 5, 20, 50].map(secs) {
        for abort_at in [None, Some(3), Some(4), Some(5), Some(6)] {
            for every in [false, true] {
                let mut sim = Sim::new(rolling()).faulty(move |world, effect| {
                    let claims = effect.request.kind() == "claim";
                    (claims && (every || world.performed == 0)).then_some(Fault::Late(late))
                });
                if let Some(number) = abort_at {
                    sim = sim.inject(number, Inject::Command("bob", abort()));
                }
                sim.rest();
                let case = format!("{late} {abort_at:?} {every}\n{}", sim.story());
                assert!(sim.ended(), "{case}");
                assert!(sim.world.late.is_empty(), "it has arrived: {case}");
                assert_eq!(sim.world.claim, None, "{case}");
                sim.check_replay();
            }
        }
    }
}

#[test]
fn a_claim_that_arrives_after_its_engine_died_is_not_left_behind() {
    let mut sim = Sim::new(rolling())
        .inject(3, Inject::Command("bob", abort()))
        .faulty(|_, effect| (effect.request.kind() == "claim").then_some(Fault::Late(secs(40))));
    sim.until(|sim| sim.records.len() == 3);
    // The request is on its way when its engine dies.
    sim.step();
    sim.drive();
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Cancelled, "{}", sim.story());
    assert!(sim.said("release-waits"));
    assert!(sim.world.late.is_empty());
    assert_eq!(sim.world.claim, None);
}
