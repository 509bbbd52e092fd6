//! What the model says of a run.

use phasegate_core::event::Command;
use phasegate_core::plan::{PhaseApproval, Requirement};
use phasegate_core::run::{End, StepProgress};
use phasegate_core::time::Span;
use phasegate_core::verdict::Status;
use phasegate_core::workload::Diagnosis;

use super::plans::{minutes, plan};
use super::world::{START, World, verdict};
use crate::model::{Filling, Report, Word};

fn good(_: &str, _: Span) -> Option<phasegate_core::verdict::Verdict> {
    Some(verdict(Status::Pass, Some(1.0), Some(0.5)))
}

fn kinds(report: &Report) -> Vec<&str> {
    let marks = report.timeline.marks.iter();
    marks.map(|mark| mark.kind.as_str()).collect()
}

#[test]
fn a_run_that_succeeds_is_told_from_its_records() {
    let mut world = World::new(plan(minutes(10), &["errors"]), good);
    world.rest();
    let report = world.report();
    let overview = &report.overview;
    assert_eq!(overview.end, Some(End::Succeeded));
    assert_eq!(
        (overview.name.as_str(), overview.version.as_str()),
        ("shop", "1.5.0")
    );
    assert_eq!(overview.target, "simulated/shop/api");
    assert_eq!(overview.started_by.verified_by, "os-account:1000");
    assert_eq!(overview.rollback, None);
    let steps = &report.timeline.steps;
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|step| step.progress == StepProgress::Done));
    let soak = &steps[2];
    assert_eq!(soak.wanted, Some(minutes(10)));
    assert!(soak.measured >= soak.wanted, "{:?}", soak.measured);
    assert_eq!(kinds(&report), ["ended"]);
    // Asked for at once, read back once the cluster had followed.
    let counts = &report.pods[0].counts;
    let pods: Vec<_> = counts.iter().filter_map(|c| c.pods.as_ref()).collect();
    assert_eq!((pods[0].wanted, pods[0].updated), (3, 1));
    assert_eq!(pods.last().map(|pods| pods.updated), Some(3));
    assert!(report.back.is_empty());
    assert_eq!(report.owed[0].task, "tag the release");
    assert_eq!(report.plugins[0].used_for, ["gate errors"]);
    assert_eq!(report.journal.records, world.records.len());
    assert_eq!(report.journal.head.as_deref(), Some("cafe"));
    assert!(report.left_out.is_empty(), "{:?}", report.left_out);
}

#[test]
fn a_last_measurement_is_held_against_stable() {
    let mut world = World::new(plan(minutes(1), &["errors"]), |_, since| {
        let value = if since > minutes(1) { 4.0 } else { 1.0 };
        Some(verdict(Status::Pass, Some(value), Some(1.0)))
    });
    world.rest();
    let report = world.report();
    let last = &report.gates[0].figures[0].last;
    assert_eq!((last.difference, last.percent), (Some(3.0), Some(300.0)));
    assert_eq!(last.samples, Some(1200));
    assert_eq!(report.gates[0].plugin, "probe, errors");
}

#[test]
fn a_run_that_goes_back_says_why_and_what_was_done() {
    let mut world = World::new(plan(minutes(30), &["errors"]), |_, since| {
        let fails = since > minutes(3);
        let status = if fails { Status::Fail } else { Status::Pass };
        Some(verdict(status, Some(if fails { 9.0 } else { 1.0 }), None))
    });
    world.diagnosis = Diagnosis {
        events: vec!["BackOff".to_owned()],
        logs: vec!["api-1: no database".to_owned()],
    };
    world.rest();
    let report = world.report();
    assert_eq!(report.overview.end, Some(End::RolledBack));
    let rollback = report.overview.rollback.unwrap();
    assert!(rollback.within && rollback.target == minutes(5));
    let [back] = report.back.as_slice() else {
        panic!("{:?}", report.back);
    };
    assert!(
        back.reason.contains("gate errors failed"),
        "{}",
        back.reason
    );
    assert_eq!(back.step.as_deref(), Some("verify/soak"));
    assert_eq!(back.by, None);
    assert_eq!((back.events.len(), back.logs.len()), (1, 1));
    let stages: Vec<&str> = back.stages.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(
        stages,
        [
            "rolling-back",
            "intent",
            "changed",
            "restored",
            "intent",
            "changed",
            "intent",
            "released",
            "ended"
        ]
    );
    assert!(back.stages[1].message.contains("shop/api:1.4.0"));
    // The times of the stages are the time of the way back.
    let took: u64 = back
        .stages
        .iter()
        .filter_map(|s| s.took)
        .map(Span::as_millis)
        .sum();
    assert_eq!(took, back.ended_at.unwrap().0.since(back.at.0).as_millis());
    let step = &report.timeline.steps[2];
    assert_eq!(step.progress, StepProgress::Failed);
    assert_eq!(step.ended_at, Some(back.at));
    assert!(step.measured < step.wanted);
    let filled: Vec<_> = report
        .timeline
        .stretches
        .iter()
        .map(|s| s.filling)
        .collect();
    assert_eq!(filled, [Filling::Back]);
    assert_eq!(report.gates[0].said.fail, 1);
    assert_eq!(report.owed[0].task, "write the post-mortem");
}

#[test]
fn no_data_is_no_point_and_no_answer_is_an_error() {
    let mut world = World::new(plan(minutes(6), &["errors"]), |_, since| {
        match since.as_millis() / 60_000 {
            2 => Some(verdict(Status::Inconclusive, None, Some(0.5))),
            4 => None,
            _ => Some(verdict(Status::Pass, Some(1.0), Some(0.5))),
        }
    });
    world.rest();
    let report = world.report();
    let gate = &report.gates[0];
    let said = gate.said;
    assert!(
        said.pass > 10 && said.inconclusive > 3 && said.error > 3,
        "{said:?}"
    );
    assert_eq!(said.fail, 0);
    let streaks: Vec<Word> = gate.streaks.iter().map(|streak| streak.word).collect();
    let (pass, none) = (Word::Pass, Word::Inconclusive);
    // The first one is the check's; a soak begins a streak of its own.
    assert_eq!(streaks, [pass, pass, none, pass, Word::Error, pass]);
    let points = &gate.figures[0].points;
    let holes = points.iter().filter(|point| point.candidate.is_none());
    assert_eq!(holes.count(), said.inconclusive);
    // After an answer that didn't come the line begins anew.
    let breaks: Vec<u64> = points
        .iter()
        .filter(|point| point.after_gap)
        .map(|point| (point.at.0.as_millis() - START) / 60_000)
        .collect();
    assert_eq!(breaks, [0, 5]);
}

#[test]
fn people_are_named_with_what_vouches_for_them() {
    let mut plan = plan(minutes(1), &["errors"]);
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: Requirement {
            name: "production".to_owned(),
            roles: vec!["lead".to_owned()],
            people: vec!["bob".to_owned()],
            count: 1,
            starter_may_approve: false,
            expires: minutes(60),
        },
    });
    let digest = plan.digest();
    let mut world = World::new(plan, good);
    world.until(|run| run.state().to_string().contains("awaiting"));
    world.pass(minutes(20));
    let approve = Command::Approve {
        plan: digest,
        requirement: None,
    };
    world.command("bob", approve);
    world.until_step("verify/soak");
    let reason = Some("lunch".to_owned());
    world.command("ann", Command::Pause { reason });
    world.command("ann", Command::Continue { drift: None });
    world.rest();
    let report = world.report();
    let people = &report.people;
    assert_eq!(people.required[0].place, "before phase deploy");
    let agreed = &people.approvals[0];
    assert_eq!(
        (agreed.by.name.as_str(), agreed.to_this_plan),
        ("bob", true)
    );
    let commands: Vec<_> = people.commands.iter().map(|c| c.command.as_str()).collect();
    assert_eq!(commands, ["approve", "pause", "continue"]);
    assert_eq!(people.commands[1].detail, "lunch");
    assert_eq!(
        kinds(&report),
        ["awaiting", "approved", "paused", "continued", "ended"]
    );
    let marks = &report.timeline.marks;
    let by: Vec<_> = marks
        .iter()
        .map(|m| m.by.as_ref().map(|by| by.name.as_str()))
        .collect();
    assert_eq!(by, [None, Some("bob"), Some("ann"), Some("ann"), None]);
    let waited = &report.timeline.stretches[0];
    assert_eq!(waited.filling, Filling::Waiting);
    assert!(waited.to.0.since(waited.from.0) >= minutes(20));
}

#[test]
fn while_nobody_drives_nobody_can_tell() {
    let mut world = World::new(plan(minutes(20), &["errors"]), good);
    world.until_step("verify/soak");
    let before = world.run.now();
    world.die(minutes(7));
    world.rest();
    let report = world.report();
    assert_eq!(report.overview.drives, 2);
    let away = &report.timeline.stretches[0];
    assert_eq!((away.filling, away.from.0), (Filling::Away, before));
    assert_eq!(away.to.0.since(away.from.0), minutes(7));
    let counts = &report.pods[0].counts;
    let hole = counts
        .iter()
        .position(|count| count.pods.is_none())
        .unwrap();
    assert_eq!(counts[hole].at.0, before);
    // It is as it was, which no line of the run says.
    assert_eq!(counts[hole + 1].pods, counts[hole - 1].pods);
    assert!(counts[hole + 1].at.0.since(before) >= minutes(7));
    let points = &report.gates[0].figures[0].points;
    assert!(points.iter().skip(1).any(|point| point.after_gap));
}

#[test]
fn a_rollback_after_success_comes_after_a_rest() {
    let mut world = World::new(plan(minutes(1), &["errors"]), good);
    world.rest();
    world.pass(minutes(300));
    world.drive();
    let reason = Some("customers complain".to_owned());
    world.command("bob", Command::RollBack { reason });
    world.rest();
    let report = world.report();
    assert_eq!(report.overview.end, Some(End::RolledBack));
    let filled: Vec<_> = report
        .timeline
        .stretches
        .iter()
        .map(|s| s.filling)
        .collect();
    assert!(
        filled.contains(&Filling::Rest) && filled.contains(&Filling::Back),
        "{filled:?}"
    );
    let back = &report.back[0];
    assert_eq!(back.by.as_ref().map(|by| by.name.as_str()), Some("bob"));
    assert_eq!(back.reason, "customers complain");
    assert_eq!(report.owed.len(), 2);
}

#[test]
fn a_run_that_has_only_begun_and_one_that_waits_have_reports() {
    let mut world = World::new(plan(minutes(1), &["errors"]), good);
    let report = world.report();
    assert_eq!((report.overview.end, report.overview.drives), (None, 0));
    super::strict::read(&crate::page(&report));
    world.until_step("verify/soak");
    let report = world.report();
    assert_eq!(report.timeline.steps[2].progress, StepProgress::Now);
    super::strict::read(&crate::page(&report));
}

#[test]
fn the_model_is_json_with_times_that_people_can_read() {
    let mut world = World::new(plan(minutes(1), &["errors"]), good);
    world.rest();
    let json = serde_json::to_value(world.report()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["overview"]["startedAt"], "2026-09-21T14:13:20.000Z");
    assert_eq!(json["overview"]["end"], "succeeded");
    assert_eq!(json["timeline"]["steps"][2]["wanted"], "1m");
    assert_eq!(json["gates"][0]["figures"][0]["points"][0]["word"], "pass");
}
