//! Abort, pause and continue, from wherever the run is.

use super::plans::*;
use super::sim::*;
use crate::effect::Request;
use crate::event::{Command, Event};
use crate::failure::Kind;
use crate::plan::PhaseApproval;
use crate::run::{End, State};
use crate::verdict::Status;

fn pause() -> Command {
    Command::Pause { reason: None }
}

fn go_on() -> Command {
    Command::Continue { drift: None }
}

#[test]
fn abort_before_anybody_drives_cancels() {
    let mut sim = Sim::new(rolling());
    sim.command("bob", abort()).unwrap();
    sim.drive();
    sim.rest();
    assert_eq!(sim.end(), End::Cancelled);
    assert!(sim.world.applied.is_empty());
}

#[test]
fn abort_while_claiming_lets_go_again() {
    for lost in [false, true] {
        let mut sim = Sim::new(rolling()).faulty(move |_, effect| {
            (lost && matches!(effect.request, Request::Claim { .. })).then_some(Fault::LostApplied)
        });
        sim.until_said("intent");
        sim.command("bob", abort()).unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::Cancelled);
        sim.check_end();
    }
}

#[test]
fn abort_while_the_claim_fails_does_not_try_on() {
    let mut sim = Sim::new(rolling()).faulty(|_, effect| {
        matches!(effect.request, Request::Claim { .. })
            .then(|| Fault::Fails(failure(Kind::Retryable)))
    });
    sim.until_said("intent");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Cancelled);
    assert_eq!(sim.world.performed, 2, "one claim, one notice");
}

#[test]
fn abort_in_an_approval_cancels() {
    let mut plan = rolling();
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    let mut sim = Sim::new(plan);
    sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Cancelled);
    sim.check_end();
}

#[test]
fn abort_anywhere_after_the_first_write_brings_the_old_version_back() {
    type Place = (&'static str, fn(&Sim) -> bool);
    let places: [Place; 6] = [
        ("settling", |sim| sim.said("changed")),
        ("soaking", |sim| sim.said("settled")),
        ("taking the marks off", |sim| {
            sim.records.iter().any(|record| {
                matches!(&record.event, Event::Intended { effect } if effect.key.ends_with("unmark"))
            })
        }),
        ("letting go", |sim| {
            sim.records.iter().any(|record| {
                matches!(&record.event, Event::Intended { effect } if effect.key.ends_with("release"))
            })
        }),
        ("closing", |sim| sim.said("released")),
        ("rolling back", |sim| {
            sim.said("rolling-back") || sim.said("settled")
        }),
    ];
    for (place, there) in places {
        let mut sim = Sim::new(rolling());
        sim.until(there);
        sim.command("bob", abort()).unwrap();
        let command = sim.command("eve", abort());
        assert!(command.is_ok(), "{place}: a second abort is noted");
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{place}\n{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn abort_while_letting_go_whose_answer_is_lost_still_rolls_back_under_a_claim() {
    for applied in [true, false] {
        let mut sim = Sim::new(rolling()).faulty(move |_, effect| {
            let first = effect.key.ends_with("finish/release");
            match applied {
                true if first => Some(Fault::LostApplied),
                false if first => Some(Fault::Fails(failure(Kind::Retryable))),
                _ => None,
            }
        });
        sim.until(|sim| {
            sim.records.iter().any(|record| {
                matches!(&record.event, Event::Intended { effect } if effect.key.ends_with("finish/release"))
            })
        });
        sim.command("bob", abort()).unwrap();
        // Whenever something is written, the target is held.
        while sim.step() {
            let writing = sim.records.last().is_some_and(|record| {
                matches!(&record.event, Event::Intended { effect } if effect.request.kind() == "change")
            });
            assert!(!writing || sim.world.claim.is_some(), "{}", sim.story());
            if sim.ended() {
                break;
            }
        }
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        sim.check_end();
    }
}

#[test]
fn nothing_is_aborted_after_the_end() {
    let mut sim = Sim::new(rolling());
    sim.rest();
    assert!(sim.command("bob", abort()).is_err());
    assert!(sim.command("bob", pause()).is_err());
    assert!(sim.command("bob", go_on()).is_err());
    assert_eq!(sim.end(), End::Succeeded);
}

#[test]
fn a_pause_stops_forward_steps_and_continue_goes_on() {
    let mut sim = Sim::new(rolling());
    sim.until(|sim| sim.world.claim.is_some());
    sim.command("bob", pause()).unwrap();
    assert_eq!(sim.run.state(), State::Paused);
    assert!(sim.command("bob", pause()).is_err());
    sim.pass(mins(60));
    assert_eq!(sim.run.state(), State::Paused);
    assert!(!sim.world.deployed());
    sim.command("bob", go_on()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
}

#[test]
fn a_pause_before_the_first_step_waits_without_spinning() {
    let mut sim = Sim::new(rolling());
    sim.command("bob", pause()).unwrap();
    sim.drive();
    sim.pass(mins(60));
    assert!(sim.records.len() < 20, "{} records", sim.records.len());
    sim.command("bob", go_on()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
}

#[test]
fn gates_go_on_during_a_pause_and_may_roll_back() {
    let mut sim = Sim::new(rolling()).judged(|world, gate, _| {
        let late = world.now.as_millis() > 1_790_000_000_000 + 600_000;
        Ok(if gate == "errors" && late {
            Status::Fail
        } else {
            Status::Pass
        })
    });
    sim.until_step("deploy/soak");
    sim.command("bob", pause()).unwrap();
    sim.pass(mins(20));
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
}

#[test]
fn a_soak_that_ended_in_a_pause_goes_on_only_when_its_gates_can_tell() {
    let mut sim = Sim::new(rolling()).judged(|_, gate, nth| {
        let silent = gate == "errors" && (12..14).contains(&nth);
        Ok(if silent {
            Status::Inconclusive
        } else {
            Status::Pass
        })
    });
    sim.until_step("deploy/soak");
    sim.command("bob", pause()).unwrap();
    sim.until(|sim| {
        let gates = sim.run.gates();
        gates
            .iter()
            .any(|gate| gate.status == Some(Status::Inconclusive))
    });
    // The last thing known is that nothing is known: continuing is taken, and the soak isn't called done on it.
    sim.command("bob", go_on()).unwrap();
    assert!(
        !sim.lines
            .iter()
            .any(|line| line.kind == "step-finished" && line.message.contains("soak"))
    );
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn a_pause_has_its_time() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.command("bob", pause()).unwrap();
    sim.pass(mins(119));
    assert_eq!(sim.run.state(), State::Paused);
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
}

#[test]
fn a_pause_outlasting_an_approval_that_came_does_not_spin() {
    let mut plan = rolling();
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    plan.approvals[0].requirement.expires = mins(600);
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.pass(mins(30));
    sim.command("bob", pause()).unwrap();
    let plan = sim.run.digest().to_owned();
    sim.command(
        "bob",
        Command::Approve {
            plan,
            requirement: None,
        },
    )
    .unwrap();
    sim.pass(mins(110));
    assert_eq!(
        sim.run.state(),
        State::Paused,
        "the pause's own time isn't over"
    );
    sim.command("bob", go_on()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn a_gate_that_holds_stops_the_steps_after_it() {
    let mut plan = rolling();
    plan.phases
        .push(phase("last", vec![step("last/bring-up", deploy())]));
    plan.approvals.push(PhaseApproval {
        before: "last".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    let mut sim = Sim::new(plan).judged(|_, gate, nth| {
        Ok(if gate == "errors" && nth >= 10 {
            Status::Inconclusive
        } else {
            Status::Pass
        })
    });
    sim.until(|sim| sim.said("awaiting") && sim.said("hold"));
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
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(
        !sim.lines.iter().any(
            |line| line.step.as_deref() == Some("last/bring-up") && line.kind == "step-started"
        )
    );
}

#[test]
fn a_command_is_taken_from_the_inbox_once() {
    let mut sim = Sim::new(rolling());
    sim.drive();
    let pause = |inbox| Event::Commanded {
        by: person("bob"),
        command: pause(),
        inbox: Some(inbox),
    };
    sim.try_record(pause(4)).unwrap();
    sim.command("bob", go_on()).unwrap();
    assert!(sim.try_record(pause(4)).is_err());
    assert!(sim.try_record(pause(3)).is_err());
    sim.try_record(pause(5)).unwrap();
}

#[test]
fn an_older_epoch_never_drives_again() {
    let mut sim = Sim::new(rolling());
    let driving = |epoch| Event::Driving {
        engine: "engine".to_owned(),
        epoch,
    };
    sim.try_record(driving(7)).unwrap();
    assert!(sim.try_record(driving(7)).is_err());
    let leaves = || Event::Interrupted {
        cause: "SIGTERM".to_owned(),
    };
    sim.try_record(leaves()).unwrap();
    assert_eq!(sim.run.state(), State::Interrupted);
    assert!(sim.try_record(leaves()).is_err());
    assert!(sim.try_record(driving(6)).is_err());
    sim.try_record(driving(8)).unwrap();
}
