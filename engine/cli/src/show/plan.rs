//! Plans as text for people.

use std::fmt::Write as _;

use phasegate_core::config::Versioned;
use phasegate_core::judge::BandAction;
use phasegate_core::plan::{Action, Gate, Phase, Plan, Requirement, Workload};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::window::{self, Decision};
use phasegate_core::workload::Rollout;

use super::action::action;
use super::{moment, put, short};

/// A plan, for people: what is there, what is done, who is asked, and what abort does.
#[must_use]
pub(crate) fn plan(plan: &Plan, now: Timestamp) -> String {
    let mut text = String::new();
    head(&mut text, plan);
    there(&mut text, plan);
    text.push_str("\nsteps\n");
    for phase in &plan.phases {
        self::phase(&mut text, plan, phase);
    }
    gates(&mut text, plan);
    people(&mut text, plan, now);
    text.push_str("\nrollback\n");
    let policy = &plan.rollback;
    put(&mut text, "before it starts", "abort changes nothing");
    put(&mut text, "once it changed", &abort_once_changed(plan));
    let mut steps = plan.steps();
    if let Some((_, step)) = steps.find(|(_, step)| step.point_of_no_return) {
        let stays = format!(
            "nothing comes back: abort and failures leave {} where it is, and people are called",
            plan.subject.version
        );
        put(&mut text, &format!("after {}", step.id), &stays);
    }
    put(
        &mut text,
        "aims at",
        &format!(
            "{} in all; people are called where a step takes longer than {}, or a write is refused {} times more",
            policy.target, policy.step_timeout, policy.retries
        ),
    );
    text.push_str("\nplugins\n");
    for (name, pin) in &plan.plugins {
        put(
            &mut text,
            name,
            &format!("{} {} {}", pin.version, pin.source, short(&pin.digest)),
        );
    }
    for due in &plan.due {
        if plan.due.first() == Some(due) {
            text.push_str("\nowed afterwards\n");
        }
        let end = match due.on.as_str() {
            "rolled-back" => "if it rolled back",
            _ => "if it succeeded",
        };
        put(
            &mut text,
            &format!("{} later", due.after),
            &format!("{end}: {}", due.task),
        );
    }
    text.trim_end().to_owned()
}

/// What abort does once something was changed.
#[must_use]
pub(crate) fn abort_once_changed(plan: &Plan) -> String {
    let back = plan.workloads.iter().rev().map(|workload| {
        let settings = &workload.baseline.settings;
        let what = format!(
            "{} ({}) back with {} replicas",
            workload.baseline.version, settings.image, settings.replicas
        );
        if workload.router.is_some() {
            format!("{what}, all traffic on it, the candidate gone")
        } else {
            what
        }
    });
    format!(
        "brings {} and waits until it is ready",
        back.collect::<Vec<_>>().join("; ")
    )
}

fn head(text: &mut String, plan: &Plan) {
    let subject = &plan.subject;
    let _ = writeln!(
        text,
        "{} {} → {}  ({} change, environment {})",
        subject.name,
        subject.previous_version,
        subject.version,
        subject.change,
        subject.environment
    );
    for workload in &plan.workloads {
        put(text, "target", &workload.target.to_string());
        put(text, "image", &workload.image);
    }
    put(text, "plan", &short(&plan.digest()));
}

fn there(text: &mut String, plan: &Plan) {
    for workload in &plan.workloads {
        if plan.workloads.len() > 1 {
            let _ = write!(text, "\nthere now: {}\n", workload.name);
        } else {
            text.push_str("\nthere now\n");
        }
        there_of(text, workload);
    }
}

fn there_of(text: &mut String, workload: &Workload) {
    let baseline = &workload.baseline;
    put(text, "image", &baseline.settings.image);
    put(
        text,
        "replicas",
        &format!(
            "{} wanted, {} ready",
            baseline.settings.replicas, baseline.ready
        ),
    );
    let rollout = match &baseline.settings.rollout {
        Rollout::RollingUpdate { surge, unavailable } => {
            format!("rolling update, surge {surge}, unavailable {unavailable}")
        }
        Rollout::Recreate => "recreate".to_owned(),
    };
    put(text, "rollout", &rollout);
    put(text, "revision", &baseline.revision.to_string());
    if let Some(tool) = &baseline.self_healing {
        put(text, "kept by", tool);
    }
    if let Some(autoscaler) = baseline.autoscaler {
        let bounds = format!("{} to {} replicas", autoscaler.minimum, autoscaler.maximum);
        put(text, "autoscaler", &bounds);
    }
    for config in &workload.configs {
        configuration(text, config);
    }
    if let Some(router) = &workload.router {
        put(text, "router", &router.offer.offer);
    }
    let Some(beside) = workload.target.beside.as_ref() else {
        return;
    };
    if let Some(live) = &beside.live {
        put(text, "live colour", live);
    }
    if let Some(idle) = &baseline.idle {
        let kept = format!(
            "{} with {} replicas of {}, which a candidate replaces",
            beside.deployment, idle.replicas, idle.image
        );
        put(text, "kept beside", &kept);
    }
}

/// What is versioned with a workload, and what the new version gets instead.
fn configuration(text: &mut String, config: &Versioned) {
    let copy = &config.copy;
    if config.keeps_old() {
        put(
            text,
            "pod template",
            &format!("kept for the way back as {}", copy.name),
        );
        return;
    }
    let what = format!("{} {}", copy.kind.as_str(), copy.of);
    if config.serves() {
        put(
            text,
            "configuration",
            &format!("{what}, as {} already", copy.name),
        );
        return;
    }
    let made = if config.there { ", which is there" } else { "" };
    let words = format!("{what}: {} → {}{made}", config.before, copy.name);
    put(text, "configuration", &words);
    for change in &config.changes {
        put(text, "", change);
    }
    if config.changes.is_empty() {
        put(text, "", "the content is the same");
    }
}

fn phase(text: &mut String, plan: &Plan, phase: &Phase) {
    let mut title = phase.name.clone();
    if let Some(strategy) = phase.strategies.first() {
        let _ = write!(title, "  (strategy {})", strategy.offer.offer);
    }
    if let Some(timeout) = phase.timeout {
        let _ = write!(title, "  within {timeout}");
    }
    let _ = writeln!(text, "  {title}");
    for approval in plan.approvals.iter().filter(|a| a.before == phase.name) {
        let _ = writeln!(text, "    waits for {}", requirement(&approval.requirement));
    }
    for step in &phase.steps {
        let _ = writeln!(text, "    {:<18} {}", step.id, action(&step.action));
        if step.outage {
            let _ = writeln!(text, "    {:<18} declares an outage", "");
        }
        if step.point_of_no_return {
            let _ = writeln!(text, "    {:<18} point of no return", "");
        }
    }
    if !phase.gates.is_empty() {
        let gates = phase.gates.join(", ");
        let _ = writeln!(text, "    gates where a step names none: {gates}");
    }
    let is_step = |name: &&String| {
        let mut steps = phase.steps.iter();
        steps.any(
            |step| matches!(&step.action, Action::Act { name: Some(used), .. } if used == *name),
        )
    };
    let (_, idle): (Vec<_>, Vec<_>) = phase.actions.iter().partition(is_step);
    if !idle.is_empty() {
        let idle = idle.into_iter().cloned().collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "    actions that the strategy doesn't use: {idle}");
    }
}

fn gates(text: &mut String, plan: &Plan) {
    if plan.gates.is_empty() {
        return;
    }
    text.push_str("\ngates\n");
    for (name, gate) in &plan.gates {
        let policy = &gate.policy;
        let mut about = format!("{} every {}", gate.offer.plugin, policy.interval);
        if policy.sustained > Span::ZERO {
            let _ = write!(about, ", fails after {} of breach", policy.sustained);
        } else {
            let _ = write!(about, ", {} failures let pass", policy.failure_limit);
        }
        let _ = write!(
            about,
            ", {} without data, {} errors",
            policy.inconclusive_limit, policy.error_limit
        );
        put(text, name, &about);
        if let Some(bands) = bands(gate) {
            put(text, "", &bands);
        }
    }
}

/// What follows from each band of a gate's verdicts.
fn bands(gate: &Gate) -> Option<String> {
    let all = gate.policy.bands.iter().map(|(band, action)| {
        let then = match action {
            BandAction::Continue => "goes on",
            BandAction::Warn => "people are told",
            BandAction::Hold => "holds, and people are called",
            BandAction::RollBack => "counts as a failure",
        };
        format!("{band}: {then}")
    });
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| format!("bands: {}", all.join("; ")))
}

fn people(text: &mut String, plan: &Plan, now: Timestamp) {
    let subject = &plan.subject;
    text.push_str("\npeople and windows\n");
    if plan.requirements().next().is_none() {
        put(text, "approvals", "none needed");
    }
    for approval in &plan.approvals {
        put(
            text,
            &format!("before {}", approval.before),
            &requirement(&approval.requirement),
        );
    }
    for (_, step) in plan.steps() {
        if let Action::Approve {
            requirement: asked, ..
        } = &step.action
        {
            put(text, &format!("in {}", step.id), &requirement(asked));
        }
    }
    let window = match window::evaluate(&plan.calendar, now, &subject.environment, subject.change) {
        Decision::Open { .. } if plan.calendar.windows.is_empty() => "none set".to_owned(),
        Decision::Open { .. } => "open now".to_owned(),
        Decision::Closed { reason, opens_at } => match opens_at {
            Some(at) => format!("closed: {reason}; opens at {}", moment(at)),
            None => format!("closed: {reason}"),
        },
    };
    put(text, "windows", &window);
    put(
        text,
        "waits for people",
        &format!(
            "at most {}, and no longer than a phase may take; then goes back",
            plan.people_timeout
        ),
    );
}

/// Who must agree, in words.
#[must_use]
pub(crate) fn requirement(requirement: &Requirement) -> String {
    let starter = if requirement.starter_may_approve {
        ""
    } else {
        ", not who started the run"
    };
    format!(
        "{} of {} ({}){starter}; an approval holds for {}",
        requirement.count,
        requirement.roles.join(" or "),
        requirement.people.join(", "),
        requirement.expires
    )
}
