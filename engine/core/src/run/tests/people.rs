//! Approvals, attestations, obligations.

use std::cell::Cell;
use std::rc::Rc;

use super::plans::*;
use super::sim::*;
use crate::diagnostic::codes;
use crate::event::Command;
use crate::plan::{Action, PhaseApproval, Plan};
use crate::run::{End, Illegal, State};
use crate::verdict::Status;

fn approve(sim: &Sim) -> Command {
    Command::Approve {
        plan: sim.run.digest().to_owned(),
        requirement: None,
    }
}

fn needs(people: &[&str], count: u32) -> Plan {
    let mut plan = rolling();
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", people, count),
    });
    plan
}

fn code(result: Result<(), Illegal>) -> crate::diagnostic::Code {
    match result {
        Err(Illegal::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn enough_people_with_the_role_let_the_run_on() {
    let mut sim = Sim::new(needs(&["bob", "eve"], 2));
    sim.until_said("awaiting");
    assert!(sim.told("awaiting-people") == 0 || !sim.world.deployed());
    sim.command("bob", approve(&sim)).unwrap();
    sim.command("bob", approve(&sim)).unwrap();
    sim.pass(mins(10));
    assert!(!sim.world.deployed(), "one person counts once");
    sim.command("eve", approve(&sim)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    assert_eq!(sim.run.approvals().len(), 3);
}

#[test]
fn a_phases_time_does_not_run_while_people_are_waited_for() {
    let mut plan = needs(&["bob"], 1);
    let phase = plan.phases.iter_mut().find(|phase| phase.name == "deploy");
    phase.unwrap().timeout = Some(mins(30));
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.pass(mins(45));
    sim.command("bob", approve(&sim)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn an_approval_says_which_of_those_asked_for_it_counts_towards() {
    let mut plan = needs(&["bob"], 1);
    for (name, people) in [("second", ["bob"]), ("third", ["eve"])] {
        plan.approvals.push(PhaseApproval {
            before: "deploy".to_owned(),
            requirement: requirement(name, &people, 1),
        });
    }
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.command("bob", approve(&sim)).unwrap();
    assert!(
        sim.story()
            .contains("approved by bob: lead (lead), second (lead)"),
        "{}",
        sim.story()
    );
    assert!(!sim.world.deployed(), "the third isn't met");
    sim.command("eve", approve(&sim)).unwrap();
    assert!(
        sim.story().contains("approved by eve: third (lead)"),
        "{}",
        sim.story()
    );
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
}

#[test]
fn who_may_not_approve_is_told_why() {
    let mut sim = Sim::new(needs(&["ann", "bob"], 1));
    sim.until_said("awaiting");
    let command = approve(&sim);
    // Who started the run is refused even with the role.
    assert_eq!(
        code(sim.command("ann", command.clone())),
        codes::APPROVER_NOT_ALLOWED
    );
    assert_eq!(
        code(sim.command("mallory", command)),
        codes::APPROVER_NOT_ALLOWED
    );
    let other = Command::Approve {
        plan: "sha256:0".to_owned(),
        requirement: None,
    };
    assert_eq!(code(sim.command("bob", other)), codes::APPROVAL_STALE);
    let nothing = Command::Approve {
        plan: sim.run.digest().to_owned(),
        requirement: Some("nothing".to_owned()),
    };
    assert!(sim.command("bob", nothing).is_err());
    assert!(sim.run.approvals().is_empty());
}

#[test]
fn an_approval_given_too_early_has_expired_when_it_is_needed() {
    let mut plan = needs(&["bob"], 1);
    plan.phases[0]
        .steps
        .push(step("preflight/wait", soak(mins(90), &["health"])));
    let mut sim = Sim::new(plan);
    sim.drive();
    sim.command("bob", approve(&sim)).unwrap();
    sim.until_said("awaiting");
    assert!(!sim.world.deployed());
    sim.command("bob", approve(&sim)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
}

#[test]
fn an_approval_that_expires_before_the_phase_changes_anything_is_asked_for_again() {
    let mut plan = needs(&["bob"], 1);
    let phase = plan.phases.iter_mut().find(|phase| phase.name == "deploy");
    let first = step("deploy/wait", soak(mins(90), &["health"]));
    phase.unwrap().steps.insert(0, first);
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.command("bob", approve(&sim)).unwrap();
    sim.until_step("deploy/wait");
    sim.pass(mins(100));
    assert!(!sim.world.deployed(), "{}", sim.story());
    sim.command("bob", approve(&sim)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
}

#[test]
fn nobody_comes() {
    let mut sim = Sim::new(needs(&["bob"], 1));
    sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
    sim.pass(mins(119));
    assert!(matches!(sim.run.state(), State::AwaitingPeople { .. }));
    sim.rest();
    assert_eq!(sim.end(), End::Refused);
    assert!(sim.run.cause().unwrap().reason.contains("nobody came"));
    sim.check_end();
}

#[test]
fn an_approval_in_the_middle_rolls_back_when_nobody_comes() {
    let mut plan = rolling();
    let action = Action::Approve {
        prompt: "does it look well?".to_owned(),
        requirement: requirement("look", &["bob"], 1),
    };
    plan.phases[1].steps.push(step("deploy/look", action));
    let mut sim = Sim::new(plan);
    sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
    assert!(sim.world.deployed());
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack);
    sim.check_end();
}

/// An approval is to the plan. What it lets begin waits for what was done before to be well.
#[test]
fn who_approves_while_a_gate_cannot_tell_is_heard_and_nothing_begins() {
    let mut plan = rolling();
    let action = Action::Approve {
        prompt: "does it look well?".to_owned(),
        requirement: requirement("look", &["bob"], 1),
    };
    plan.phases[1].steps.push(step("deploy/look", action));
    for (end, then) in [
        (End::Succeeded, Status::Pass),
        (End::RolledBack, Status::Inconclusive),
    ] {
        let says = Rc::new(Cell::new(Status::Pass));
        let said = Rc::clone(&says);
        let mut sim = Sim::new(plan.clone()).judged(move |_, gate, _| {
            Ok(if gate == "errors" {
                said.get()
            } else {
                Status::Pass
            })
        });
        sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
        says.set(Status::Inconclusive);
        sim.pass(secs(15));
        sim.command("bob", approve(&sim)).unwrap();
        assert_eq!(sim.run.approvals().len(), 1);
        let waits = sim.run.state();
        assert!(
            matches!(waits, State::Running { .. }),
            "nobody is awaited: {waits}"
        );
        assert!(
            sim.run
                .current()
                .is_some_and(|(_, step)| step.id == "deploy/look")
        );
        says.set(then);
        sim.rest();
        assert_eq!(sim.end(), end, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn an_attestation_is_kept_with_name_time_and_text() {
    let mut plan = rolling();
    let action = Action::Attest {
        name: "backup".to_owned(),
        prompt: "is there a backup?".to_owned(),
    };
    plan.phases[0].steps.push(step("preflight/attest", action));
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.pass(mins(5));
    assert!(!sim.world.deployed());
    let attest = |name: &str, text: &str| Command::Attest {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    assert!(sim.command("bob", attest("backup", "  ")).is_err());
    assert!(sim.command("bob", attest("lunch", "had it")).is_err());
    sim.command("bob", attest("backup", "snapshot 42 restored on staging"))
        .unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded);
    let kept = &sim.run.attestations()[0];
    assert_eq!(
        (kept.by.name.as_str(), kept.name.as_str()),
        ("bob", "backup")
    );
    assert!(kept.text.contains("42") && kept.at > sim.run.started_at());
}

#[test]
fn what_is_owed_is_discharged_once() {
    let mut sim = Sim::new(rolling());
    sim.rest();
    let owed = &sim.run.obligations()[0];
    assert_eq!(owed.due, sim.run.ended_at().unwrap().plus(mins(60)));
    let done = |obligation| Command::Discharge { obligation };
    assert!(sim.command("bob", done(2)).is_err());
    sim.command("bob", done(1)).unwrap();
    assert!(sim.command("bob", done(1)).is_err());
    assert_eq!(
        sim.run.obligations()[0].discharged.as_ref().unwrap().0.name,
        "bob"
    );
}

#[test]
fn a_closed_calendar_holds_the_deployment_but_not_the_way_back() {
    let start = crate::time::Timestamp::from_millis(1_790_000_000_000);
    let mut plan = rolling();
    plan.calendar.freezes.push(crate::spec::policy::Freeze {
        from: start.to_string().parse().unwrap(),
        to: start.plus(mins(30)).to_string().parse().unwrap(),
        reason: "quarter end".to_owned(),
        environments: Vec::new(),
    });
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.pass(mins(29));
    assert!(!sim.world.deployed());
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    let changed = sim.records.iter().find(|record| {
        matches!(&record.event, crate::event::Event::Intended { effect } if effect.request.kind() == "change")
    });
    assert!(changed.unwrap().at >= start.plus(mins(30)));
}

/// Two gates that can't tell in turns are never well at once; that is not waited for without end.
#[test]
fn gates_that_are_never_well_at_once_are_not_waited_for_without_end() {
    let mut plan = rolling();
    let action = Action::Approve {
        prompt: "does it look well?".to_owned(),
        requirement: requirement("look", &["bob"], 1),
    };
    plan.phases[1].steps.push(step("deploy/look", action));
    let (errors, health) = (Cell::new(0_u32), Cell::new(0_u32));
    let waits = Rc::new(Cell::new(false));
    let waiting = Rc::clone(&waits);
    let mut sim = Sim::new(plan).judged(move |_, gate, _| {
        // Each passes a third of the time, and neither while the other does.
        let (asked, passes) = match gate {
            "errors" => (&errors, 2),
            _ => (&health, 0),
        };
        asked.set(asked.get() + u32::from(waiting.get()));
        let well = !waiting.get() || asked.get() % 3 == passes;
        Ok(if well {
            Status::Pass
        } else {
            Status::Inconclusive
        })
    });
    sim.until(|sim| matches!(sim.run.state(), State::AwaitingPeople { .. }));
    waits.set(true);
    sim.pass(mins(2));
    sim.command("bob", approve(&sim)).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
}
