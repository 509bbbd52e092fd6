//! Who agreed, vouched and commanded.

use phasegate_core::event::{Command, DriftAnswer, Event};
use phasegate_core::plan::{Action, Requirement};
use phasegate_core::run::Run;

use super::ends::Ends;
use super::{Cuts, Seen, name, person, text};
use crate::limits;
use crate::model::{Agreed, Asked, Attested, Moment, People, Required};

#[derive(Default)]
pub(crate) struct Commands {
    commands: Ends<Asked, { limits::PEOPLE }>,
}

impl Commands {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        if let Event::Commanded { by, command, .. } = &seen.record.event {
            self.commands.push(Asked {
                by: person(by),
                at: Moment(seen.at),
                command: command.name().to_owned(),
                detail: text(&detail(command)),
            });
        }
    }

    pub(crate) fn finish(self, run: &Run, cuts: &mut Cuts) -> People {
        let approvals = run.approvals().iter().map(|approval| Agreed {
            by: person(&approval.by),
            at: Moment(approval.at),
            requirement: approval.requirement.as_deref().map(name),
            to_this_plan: approval.plan == run.digest(),
        });
        let attestations = run.attestations().iter().map(|attestation| Attested {
            by: person(&attestation.by),
            at: Moment(attestation.at),
            name: name(&attestation.name),
            text: text(&attestation.text),
        });
        People {
            required: cuts.first("required approvals", required(run), limits::PEOPLE),
            approvals: cuts.first("approvals", approvals.collect(), limits::PEOPLE),
            attestations: cuts.first("attestations", attestations.collect(), limits::PEOPLE),
            commands: self.commands.finish("commands", cuts),
        }
    }
}

/// What a command was given with.
fn detail(command: &Command) -> String {
    match command {
        Command::Abort { reason } | Command::Pause { reason } | Command::RollBack { reason } => {
            reason.clone().unwrap_or_default()
        }
        Command::Continue { drift: None } | Command::Retry => String::new(),
        Command::Continue { drift: Some(drift) } => match drift {
            DriftAnswer::Adopt => "go on with what is there".to_owned(),
            DriftAnswer::Force => "write what the plan says once more".to_owned(),
        },
        Command::Approve { plan, .. } => format!("plan {plan}"),
        Command::Attest { name, text } => format!("{name}: {text}"),
        Command::Skip { step } => step.clone(),
        Command::HandOver { reason } => reason.clone(),
        Command::Supersede { run, .. } => format!("{run} takes its place"),
        Command::Discharge { obligation } => format!("number {obligation}"),
    }
}

fn required(run: &Run) -> Vec<Required> {
    let plan = run.plan();
    let before_phases = plan.approvals.iter().map(|approval| {
        let place = format!("before phase {}", approval.before);
        required_at(&place, &approval.requirement)
    });
    let in_steps = plan.steps().filter_map(|(_, step)| match &step.action {
        Action::Approve { requirement, .. } => {
            Some(required_at(&format!("step {}", step.id), requirement))
        }
        _ => None,
    });
    before_phases.chain(in_steps).collect()
}

fn required_at(place: &str, requirement: &Requirement) -> Required {
    let names = |list: &[String]| list.iter().take(limits::PEOPLE).map(|n| name(n)).collect();
    Required {
        place: name(place),
        name: name(&requirement.name),
        roles: names(&requirement.roles),
        people: names(&requirement.people),
        count: requirement.count,
    }
}
