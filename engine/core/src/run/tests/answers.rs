//! What a run that waits for people says of the answer.

use super::plans::*;
use super::sim::*;
use crate::event::Command;
use crate::plan::{Action, PhaseApproval};
use crate::run::Answer;
use crate::strategy::Split;
use crate::verdict::Status;

#[test]
fn a_missing_approval_and_a_missing_attestation_are_told_apart() {
    let mut plan = rolling();
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    let action = Action::Attest {
        name: "backup".to_owned(),
        prompt: "is there one?".to_owned(),
    };
    plan.phases[1]
        .steps
        .insert(0, step("deploy/backup", action));
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    let attest = Command::Attest {
        name: "backup".to_owned(),
        text: "snapshot 42".to_owned(),
    };
    let approve = Command::Approve {
        plan: sim.run.digest().to_owned(),
        requirement: None,
    };
    // The step is the attestation's, and what its phase waits for is the approval.
    sim.command("bob", attest).unwrap();
    sim.pass(mins(1));
    let requirement = "lead".to_owned();
    assert_eq!(
        sim.run.answer_awaited(),
        Some(Answer::Approve { requirement })
    );
    sim.command("bob", approve).unwrap();
    sim.rest();
    assert_eq!(sim.run.answer_awaited(), None);

    let mut plan = rolling();
    let action = Action::Attest {
        name: "backup".to_owned(),
        prompt: "is there one?".to_owned(),
    };
    plan.phases[1]
        .steps
        .insert(0, step("deploy/backup", action));
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    let name = "backup".to_owned();
    assert_eq!(sim.run.answer_awaited(), Some(Answer::Attest { name }));
}

#[test]
fn drift_asks_for_a_decision_and_not_for_an_approval() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.world.meddle(Some("shop/api:hotfix"), None);
    sim.until_said("drift");
    let both = Answer::Drift {
        adopt: true,
        force: true,
    };
    assert_eq!(sim.run.answer_awaited(), Some(both));
}

#[test]
fn a_gate_that_holds_is_asked_again_and_a_calendar_waits_for_nobody() {
    let mut sim = Sim::new(rolling()).judged(|world, _, _| {
        Ok(if world.deployed() {
            Status::Inconclusive
        } else {
            Status::Pass
        })
    });
    sim.until_said("hold");
    let answer = sim.run.answer_awaited();
    assert!(matches!(answer, Some(Answer::Retry { .. })), "{answer:?}");

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
    assert_eq!(sim.run.answer_awaited(), Some(Answer::Nothing));
}

#[test]
fn traffic_is_told_as_asked_and_as_read() {
    let mut sim = Sim::new(rolling());
    sim.rest();
    assert!(sim.run.traffic().is_none(), "there is no router");
    let mut sim = Sim::new(canary());
    assert!(sim.run.traffic().is_none(), "it was not asked yet");
    // The share as asked, and whether it was read back.
    let shifted = |sim: &Sim| {
        let traffic = sim.run.traffic()?;
        let shifted = *traffic.asked != Split::default();
        shifted.then(|| {
            traffic
                .read
                .is_some_and(|read| read.desired == *traffic.asked)
        })
    };
    sim.until(|sim| shifted(sim) == Some(false));
    sim.until(|sim| shifted(sim) == Some(true));
}
