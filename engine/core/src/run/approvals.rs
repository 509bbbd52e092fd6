//! Approvals and attestations: who may give them, and whether there are enough.

use super::Run;
use super::limits;
use super::people::Refusal;
use super::state::Mode;
use crate::diagnostic::codes;
use crate::event::Identity;
use crate::plan::{Action, Requirement};

impl Run {
    pub(super) fn may_approve(
        &self,
        by: &Identity,
        plan: &str,
        requirement: Option<&str>,
    ) -> Result<(), Refusal> {
        if !matches!(self.mode, Mode::Forward(_)) {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                format!(
                    "`approve` is not possible while the run is {}",
                    self.state()
                ),
                "only a run on its way forward waits for approvals",
            ));
        }
        if plan != &*self.digest {
            return Err(Refusal::new(
                codes::APPROVAL_STALE,
                format!(
                    "that is an approval of plan {plan}, the run's plan is {}",
                    self.digest
                ),
                "look at the run's plan with `phasegate status` and approve that",
            ));
        }
        if self.approvals.len() >= limits::PEOPLE_RECORDS {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                "the run keeps no more approvals",
                "abort it and start anew",
            ));
        }
        let asked = self
            .requirements()
            .filter(|asked| requirement.is_none_or(|name| name == asked.name))
            .collect::<Vec<_>>();
        if asked.is_empty() {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                "the run asks for no such approval",
                "`phasegate status` shows what it waits for",
            ));
        }
        if asked.iter().any(|asked| self.counts_for(&by.name, asked)) {
            return Ok(());
        }
        let first = asked
            .iter()
            .map(|asked| {
                format!(
                    "{}: one of {} ({})",
                    asked.name,
                    asked.roles.join(", "),
                    asked.people.join(", ")
                )
            })
            .collect::<Vec<_>>();
        let why = if by.name == self.started_by.name {
            "who started a run can't approve it"
        } else {
            "does not hold a role that may approve it"
        };
        Err(Refusal::new(
            codes::APPROVER_NOT_ALLOWED,
            format!("{}: {why}", by.name),
            format!("asked for is {}", first.join("; ")),
        ))
    }

    pub(super) fn may_attest(&self, name: &str, text: &str) -> Result<(), Refusal> {
        let names = self
            .phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .filter_map(|step| match &step.action {
                Action::Attest { name, .. } => Some(name.as_str()),
                _ => None,
            });
        let names = names.collect::<Vec<_>>();
        let known = names.contains(&name);
        if !matches!(self.mode, Mode::Forward(_)) || !known {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                format!(
                    "the run asks for no attestation `{name}` while it is {}",
                    self.state()
                ),
                match names.as_slice() {
                    [] => "it asks for none at all".to_owned(),
                    _ if known => {
                        "it was to be given before its step; see `phasegate status`".to_owned()
                    }
                    names => format!("it asks for: {}", names.join(", ")),
                },
            ));
        }
        if text.trim().is_empty() || self.attestations.len() >= limits::PEOPLE_RECORDS {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                "an attestation says something in words",
                "give --text",
            ));
        }
        Ok(())
    }

    /// All approvals that the plan asks for.
    pub(super) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let phases = self
            .plan
            .approvals
            .iter()
            .map(|approval| &approval.requirement);
        let steps = self
            .phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .filter_map(|step| match &step.action {
                Action::Approve { requirement, .. } => Some(requirement),
                _ => None,
            });
        phases.chain(steps)
    }

    /// The approvals that are asked for and that this person may give; of one name, or of any.
    pub(super) fn approvable(&self, person: &str, name: Option<&str>) -> Vec<&Requirement> {
        self.requirements()
            .filter(|asked| name.is_none_or(|name| name == asked.name))
            .filter(|asked| self.counts_for(person, asked))
            .collect()
    }

    fn counts_for(&self, name: &str, requirement: &Requirement) -> bool {
        let starter = name == self.started_by.name;
        requirement.people.iter().any(|person| person == name)
            && (requirement.starter_may_approve || !starter)
    }

    /// Who has agreed to it, each once.
    pub(super) fn agreed(&self, requirement: &Requirement) -> Vec<&str> {
        let mut people: Vec<&str> = Vec::new();
        for approval in &self.approvals {
            let name = approval.by.name.as_str();
            let meant = approval
                .requirement
                .as_ref()
                .is_none_or(|asked| *asked == requirement.name);
            let fresh = self.now.since(approval.at) < requirement.expires;
            if meant
                && fresh
                && approval.plan == *self.digest
                && self.counts_for(name, requirement)
                && !people.contains(&name)
            {
                people.push(name);
            }
        }
        people
    }

    /// Whether enough people have agreed.
    pub(super) fn met(&self, requirement: &Requirement) -> bool {
        let needed = usize::try_from(requirement.count).unwrap_or(usize::MAX);
        self.agreed(requirement).len() >= needed
    }

    pub(super) fn attested(&self, name: &str) -> bool {
        self.attestations
            .iter()
            .any(|attestation| attestation.name == name)
    }
}
