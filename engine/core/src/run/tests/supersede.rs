//! A new version arrives in the middle of a run: the run goes back, and its target is kept for the next one.

use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::diagnostic::{Code, codes};
use crate::effect::{Effect, Request};
use crate::event::{Command, Event};
use crate::failure::Kind;
use crate::plan::Plan;
use crate::run::{End, Illegal, Run};

const NEXT: &str = "run-2";

fn targets(plan: &Plan) -> Vec<String> {
    let workloads = plan.workloads.iter();
    workloads.map(|w| w.target.to_string()).collect()
}

fn next(plan: &Plan) -> Command {
    supersede(NEXT, &targets(plan))
}

fn superseded_at(plan: &Plan, number: usize) -> Sim {
    Sim::new(plan.clone()).inject(number, Inject::Command("bob", next(plan)))
}

fn length(mut sim: Sim) -> usize {
    sim.rest();
    sim.records.len()
}

fn plans() -> [Plan; 6] {
    [
        rolling(),
        recreate(),
        canary(),
        canary_by_replicas(),
        blue_green(),
        three_services(),
    ]
}

fn code(refused: Result<(), Illegal>) -> Code {
    match refused {
        Err(Illegal::Refused(refusal)) => refusal.code,
        other => panic!("{other:?} is no refusal"),
    }
}

/// How the run ended: with its target in the hands of the next one, or not superseded because the command
/// came too late. Whatever was held is handed over and never let go of in between.
fn check(sim: &Sim, number: usize) {
    let taken = sim.said("superseded");
    let wanted = if taken {
        End::Superseded
    } else {
        End::Succeeded
    };
    assert_eq!(sim.end(), wanted, "at {number}\n{}", sim.story());
    let worlds = [&sim.world].into_iter().chain(&sim.others);
    let claims = worlds.map(|world| world.claim.as_deref());
    let held = sim.count_said("claimed");
    let handed = claims.filter(|claim| *claim == Some(NEXT)).count();
    let wanted = if taken { held } else { 0 };
    assert_eq!(handed, wanted, "at {number}\n{}", sim.story());
    if taken {
        assert_eq!(
            sim.count_said("released"),
            0,
            "at {number}\n{}",
            sim.story()
        );
        assert_eq!(sim.run.superseded_by(), Some(NEXT));
        assert!(sim.story().contains("superseded by run-2"));
    }
    sim.check_end();
}

#[test]
fn a_run_is_superseded_at_every_record() {
    for plan in plans() {
        for number in 1..length(Sim::new(plan.clone())) {
            let mut sim = superseded_at(&plan, number);
            sim.rest();
            check(&sim, number);
            sim.check_replay();
        }
    }
}

#[test]
fn the_engine_may_die_at_every_record_of_a_run_that_is_superseded() {
    for plan in plans() {
        // Every pair would take minutes where a candidate makes for many records.
        let stride = if plan.workloads[0].target.beside.is_some() || plan.workloads.len() > 1 {
            11
        } else {
            2
        };
        for number in (1..length(Sim::new(plan.clone()))).step_by(stride) {
            for later in number..length(superseded_at(&plan, number)) {
                let mut sim = superseded_at(&plan, number);
                if later % 2 == 0 {
                    sim.dies_before.insert(later);
                } else {
                    sim.dies_after.insert(later);
                }
                sim.rest();
                check(&sim, number);
            }
        }
    }
}

#[test]
fn every_answer_may_be_lost_while_a_run_is_superseded() {
    let faults = [
        Fault::Fails(failure(Kind::Retryable)),
        Fault::LostApplied,
        Fault::LostUnapplied,
        Fault::Late(secs(20)),
    ];
    for plan in [rolling(), canary(), three_services()] {
        for number in [12, 30] {
            let mut calm = superseded_at(&plan, number);
            calm.rest();
            let performed = calm.world.performed;
            for (fault, nth) in faults
                .iter()
                .flat_map(|f| (0..performed).map(move |n| (f, n)))
            {
                let injected = fault.clone();
                let mut sim = superseded_at(&plan, number).faulty(move |world, effect| {
                    // What arrives late of a candidate's creation is another matter.
                    let late = matches!(injected, Fault::Late(_));
                    let other = late && !matches!(effect.request, Request::Release { .. });
                    (world.performed == nth && effect.request.changes() && !other)
                        .then(|| injected.clone())
                });
                sim.rest();
                check(&sim, number);
            }
        }
    }
}

#[test]
fn a_run_that_is_on_its_way_back_is_superseded_too() {
    for plan in plans() {
        for number in [14, 22, 30] {
            let aborted = || Sim::new(plan.clone()).inject(number, Inject::Command("ann", abort()));
            for later in number + 1..length(aborted()) {
                let mut sim = aborted().inject(later, Inject::Command("bob", next(&plan)));
                sim.rest();
                if sim.said("superseded") {
                    check(&sim, later);
                } else {
                    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
                    assert_eq!(sim.world.claim, None, "{}", sim.story());
                    sim.check_end();
                }
            }
        }
    }
}

#[test]
fn a_run_that_was_superseded_says_by_whom_and_asks_nobody_to_wake_up() {
    let plan = rolling();
    let mut sim = Sim::new(plan.clone());
    sim.until_step("deploy/soak");
    sim.command("bob", next(&plan)).unwrap();
    sim.rest();
    assert!(
        sim.story()
            .contains("superseded: bob starts run-2 in its place")
    );
    assert!(
        sim.story()
            .contains("handed-over-to: simulated/shop/api is kept for run-2 now")
    );
    assert!(
        !sim.said("due"),
        "nothing is owed for a rollback that nobody has to look into"
    );
    let critical = sim.records.iter().any(|record| {
        matches!(&record.event, Event::Intended { effect } if matches!(
            &effect.request,
            Request::Notify { notice, .. } if notice.severity == crate::effect::Severity::Critical
        ))
    });
    assert!(!critical, "{}", sim.story());
}

#[test]
fn of_several_targets_those_that_the_next_run_wants_are_kept_for_it() {
    let plan = three_services();
    let wanted = &targets(&plan)[1..2];
    let mut sim = Sim::new(plan.clone());
    sim.until(|sim| sim.run.touches());
    sim.command("bob", supersede(NEXT, wanted)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Superseded);
    assert_eq!(sim.world.claim, None);
    assert_eq!(sim.others[0].claim.as_deref(), Some(NEXT));
    assert_eq!(sim.others[1].claim, None);
    sim.check_end();
}

#[test]
fn one_run_takes_the_place_and_no_other() {
    let plan = rolling();
    let mut sim = Sim::new(plan.clone());
    sim.until_step("deploy/soak");
    sim.command("bob", next(&plan)).unwrap();
    let second = supersede("run-3", &targets(&plan));
    assert_eq!(code(sim.command("ann", second)), codes::SUPERSEDED_ALREADY);
    // An answer that was lost makes the first one ask again.
    sim.command("bob", next(&plan)).unwrap();
    sim.rest();
    check(&sim, 0);
    let late = sim.command("bob", next(&plan));
    assert_eq!(code(late), codes::SUPERSEDE_REFUSED);
}

#[test]
fn past_the_point_of_no_return_a_run_is_not_superseded() {
    let mut plan = rolling();
    plan.phases[1].steps[0].point_of_no_return = true;
    let mut sim = Sim::new(plan.clone());
    sim.until_step("deploy/soak");
    assert_eq!(
        code(sim.command("bob", next(&plan))),
        codes::SUPERSEDE_REFUSED
    );
    sim.command("bob", abort()).unwrap();
    assert_eq!(
        code(sim.command("bob", next(&plan))),
        codes::SUPERSEDE_REFUSED
    );
    sim.rest();
    assert_eq!(sim.end(), End::StayedForward);
    assert_eq!(sim.world.claim, None);
}

#[test]
fn a_run_does_not_take_its_own_place() {
    let plan = rolling();
    let mut sim = Sim::new(plan.clone());
    sim.until_step("deploy/soak");
    let own = supersede(RUN, &targets(&plan));
    assert_eq!(code(sim.command("bob", own)), codes::SUPERSEDE_REFUSED);
}

fn is_restore(effect: &Effect) -> bool {
    effect.key.contains("rollback/restore")
}

/// A superseded run whose way back is stuck.
fn stuck() -> Sim {
    let plan = rolling();
    let mut sim = Sim::new(plan.clone())
        .faulty(|_, effect| is_restore(effect).then(|| Fault::Fails(failure(Kind::Denied))));
    sim.until_step("deploy/soak");
    sim.command("bob", next(&plan)).unwrap();
    sim.rest();
    assert!(sim.run.stuck_now().is_some(), "{}", sim.story());
    assert_eq!(sim.world.claim.as_deref(), Some(RUN), "it holds the target");
    sim
}

#[test]
fn a_stuck_rollback_keeps_the_target_until_it_is_helped() {
    let mut sim = stuck();
    sim.world.faults = Rc::new(|_, _| None);
    sim.command("ann", Command::Retry).unwrap();
    sim.rest();
    check(&sim, 0);
}

#[test]
fn what_people_take_over_is_kept_for_nobody() {
    let mut sim = stuck();
    let reason = "by hand".to_owned();
    sim.command("ann", Command::HandOver { reason }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RollbackStuck);
    assert_eq!(sim.world.claim, None);
    assert!(sim.said("released"));
}

#[test]
fn a_stuck_rollback_is_not_superseded() {
    let plan = rolling();
    let mut sim = Sim::new(plan.clone())
        .faulty(|_, effect| is_restore(effect).then(|| Fault::Fails(failure(Kind::Denied))));
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(
        code(sim.command("bob", next(&plan))),
        codes::SUPERSEDE_REFUSED
    );
}

#[test]
fn a_run_names_the_one_whose_place_it_takes() {
    let mut first = Sim::new(rolling()).records[0].clone();
    if let Event::Planned { supersedes, .. } = &mut first.event {
        *supersedes = Some("run-0".to_owned());
    }
    let run = Run::begin(RUN, &first).unwrap();
    assert_eq!(run.supersedes(), Some("run-0"));
    assert!(run.said()[0].message.ends_with(", in place of run-0"));
    assert!(run.approvals().is_empty());
}
