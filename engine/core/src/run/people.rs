//! What people ask of a run, and what it needs of them.

use serde_json::{Value, json};

use super::limits;
use super::state::{Approval, Attestation, Cause, Cursor, End, Forward, Level, Mode, Stage, Wait};
use super::{Illegal, Pause, Run};
use crate::diagnostic::{Code, codes};
use crate::event::{Command, Identity};
use crate::plan::{Action, Requirement};
use crate::window;

/// A command that the run doesn't take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The code under which `phasegate explain` has a page.
    pub code: Code,
    /// Why.
    pub message: String,
    /// What can be done instead.
    pub hint: String,
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl Run {
    /// Whether the run takes this command now.
    ///
    /// # Errors
    /// [`Refusal`] says why not, and what can be done instead.
    pub fn may(&self, by: &Identity, command: &Command) -> Result<(), Refusal> {
        let illegal = |hint: &str| {
            Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                format!(
                    "`{}` is not possible while the run is {}",
                    command.name(),
                    self.state()
                ),
                hint,
            ))
        };
        let forward = matches!(self.mode, Mode::Forward(_));
        match command {
            Command::Abort { .. } => match &self.mode {
                Mode::Ended(End::Succeeded) => {
                    illegal("use `phasegate rollback` to go back after success")
                }
                Mode::Ended(_) => illegal("the run is over"),
                Mode::Forward(_) | Mode::Back(_) => Ok(()),
            },
            Command::Pause { .. } if !forward => illegal("only the way forward can be paused"),
            Command::Pause { .. } if matches!(self.mode, Mode::Forward(Forward::Finishing(_))) => {
                illegal("every step is done")
            }
            Command::Pause { .. } if self.paused.is_some() => {
                illegal("it is paused already; `phasegate continue` goes on")
            }
            Command::Pause { .. } => Ok(()),
            Command::Continue { drift } => match (drift, self.drifted_now()) {
                (Some(_), false) => illegal("the target has not drifted"),
                (None, true) => illegal(
                    "somebody else changed the target: say `--drift adopt` or `--drift force`, or abort",
                ),
                (Some(crate::event::DriftAnswer::Force), true) if !self.can_force() => illegal(
                    "somebody else changed the pod template, of which a run writes the image only: say `--drift adopt`, or abort",
                ),
                (None, false) if self.paused.is_none() => illegal("it is not paused"),
                _ => Ok(()),
            },
            Command::Approve { plan, requirement } => {
                self.may_approve(by, plan, requirement.as_deref())
            }
            Command::Attest { name, text } => self.may_attest(name, text),
            Command::Retry if self.stuck_now().is_some() || self.held_by().is_some() => Ok(()),
            Command::Retry => illegal("nothing waits to be tried again"),
            Command::Skip { step } => match self.stuck_now() {
                Some(stuck) if stuck.step == *step => Ok(()),
                Some(stuck) => illegal(&format!(
                    "the compensation that is stuck is `{}`: name it",
                    stuck.step
                )),
                None => illegal("no compensation is stuck"),
            },
            Command::HandOver { .. } if self.stuck_now().is_some() => Ok(()),
            Command::HandOver { .. } => illegal(
                "only a rollback that is stuck can be handed over; `phasegate abort` goes back",
            ),
            Command::RollBack { .. } if matches!(self.mode, Mode::Ended(End::Succeeded)) => {
                self.may_roll_back()
            }
            Command::RollBack { .. } => {
                illegal("only a run that has succeeded; `phasegate abort` stops one under way")
            }
            Command::Discharge { obligation } => {
                match self
                    .obligations
                    .iter()
                    .find(|owed| owed.number == *obligation)
                {
                    None => Err(Refusal::new(
                        codes::COMMAND_ILLEGAL,
                        format!("the run owes nothing with number {obligation}"),
                        "`phasegate due` lists what is owed",
                    )),
                    Some(owed) if owed.discharged.is_some() => Err(Refusal::new(
                        codes::COMMAND_ILLEGAL,
                        "that was done already",
                        "`phasegate due` lists what is owed",
                    )),
                    Some(_) => Ok(()),
                }
            }
        }
    }

    fn may_roll_back(&self) -> Result<(), Refusal> {
        if !self.known.changed {
            return Err(Refusal::new(
                codes::ROLLBACK_IMPOSSIBLE,
                "the run changed nothing",
                "there is nothing to go back from",
            ));
        }
        if self.past_point {
            return Err(Refusal::new(
                codes::ROLLBACK_IMPOSSIBLE,
                "the run is past its point of no return",
                "release the old code's successor, or restore by hand",
            ));
        }
        Ok(())
    }

    fn may_approve(
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
                codes::PLAN_DRIFTED,
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

    fn may_attest(&self, name: &str, text: &str) -> Result<(), Refusal> {
        let names = self
            .phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .filter_map(|step| match &step.action {
                Action::Attest { name, .. } => Some(name.as_str()),
                _ => None,
            });
        let names = names.collect::<Vec<_>>();
        if !matches!(self.mode, Mode::Forward(_)) || !names.contains(&name) {
            return Err(Refusal::new(
                codes::COMMAND_ILLEGAL,
                format!(
                    "the run asks for no attestation `{name}` while it is {}",
                    self.state()
                ),
                format!("it knows: {}", names.join(", ")),
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

    /// The calendar's word on taking a forward step now.
    pub(super) fn closed_window(&self) -> Option<Wait> {
        let subject = &self.plan.subject;
        match window::evaluate(
            &self.plan.calendar,
            self.now,
            &subject.environment,
            subject.change,
        ) {
            window::Decision::Open { .. } => None,
            window::Decision::Closed { reason, opens_at } => Some(Wait::Window {
                reason,
                opens: opens_at,
            }),
        }
    }

    pub(super) fn drifted_now(&self) -> bool {
        self.cursor()
            .is_some_and(|cursor| matches!(cursor.stage, Stage::Drifted { .. }))
    }

    pub(super) fn wait_in_words(&self, wait: &Wait) -> String {
        match wait {
            Wait::Window {
                reason,
                opens: Some(opens),
            } => format!("{reason}; goes on at {opens}"),
            Wait::Window {
                reason,
                opens: None,
            } => reason.clone(),
            Wait::Attestation { name } => format!("attestation `{name}` is missing"),
            Wait::Approval { requirement } => {
                match self.requirements().find(|asked| asked.name == *requirement) {
                    Some(asked) => format!(
                        "{} of {} approvals by {} ({})",
                        self.agreed(asked).len(),
                        asked.count,
                        asked.roles.join(" or "),
                        asked.people.join(", ")
                    ),
                    None => format!("approval `{requirement}`"),
                }
            }
        }
    }

    /// Takes in a command that `may` let pass.
    pub(super) fn commanded(&mut self, by: &Identity, command: &Command) -> Result<(), Illegal> {
        let data = json!({"by": by.name, "verifiedBy": by.verified_by});
        match command {
            Command::Abort { reason } => self.abort(by, reason.as_deref()),
            Command::Pause { reason } => {
                let until = self.now.plus(self.plan.people_timeout);
                self.paused = Some(Pause {
                    by: by.clone(),
                    until,
                });
                let why = reason
                    .as_ref()
                    .map(|reason| format!(": {reason}"))
                    .unwrap_or_default();
                self.say(
                    "paused",
                    Level::Warn,
                    format!("paused by {}{why}", by.name),
                    data,
                );
                Ok(())
            }
            Command::Continue {
                drift: Some(answer),
            } => {
                let word = match answer {
                    crate::event::DriftAnswer::Adopt => "goes on with what is there",
                    crate::event::DriftAnswer::Force => "writes what the plan says once more",
                };
                self.say(
                    "drift-answered",
                    Level::Warn,
                    format!("{} decides: the run {word}", by.name),
                    data,
                );
                self.answer_drift(*answer)
            }
            Command::Continue { drift: None } => {
                self.paused = None;
                self.say(
                    "continued",
                    Level::Info,
                    format!("continued by {}", by.name),
                    data,
                );
                Ok(())
            }
            Command::Approve { plan, requirement } => {
                self.approvals.push(Approval {
                    by: by.clone(),
                    at: self.now,
                    plan: plan.clone(),
                    requirement: requirement.clone(),
                });
                self.say(
                    "approved",
                    Level::Info,
                    format!("approved by {}", by.name),
                    data,
                );
                Ok(())
            }
            Command::Attest { name, text } => {
                self.attestations.push(Attestation {
                    by: by.clone(),
                    at: self.now,
                    name: name.clone(),
                    text: text.clone(),
                });
                self.say(
                    "attested",
                    Level::Info,
                    format!("{} attests {name}: {text}", by.name),
                    data,
                );
                Ok(())
            }
            Command::Retry if self.stuck_now().is_some() => {
                self.say(
                    "retried",
                    Level::Warn,
                    format!("{} has the compensation tried again", by.name),
                    data,
                );
                self.retry_stuck()
            }
            Command::Retry => {
                self.say(
                    "retried",
                    Level::Warn,
                    format!("{} has the gates asked again", by.name),
                    data,
                );
                self.retry_gates();
                Ok(())
            }
            Command::Skip { step } => {
                self.say(
                    "skipped",
                    Level::Error,
                    format!("{} leaves out the compensation {step}", by.name),
                    data,
                );
                self.skip_stuck()
            }
            Command::HandOver { reason } => {
                self.say(
                    "handed-over",
                    Level::Error,
                    format!("{} takes over by hand: {reason}", by.name),
                    data,
                );
                self.hand_over()
            }
            Command::RollBack { reason } => {
                let reason = reason
                    .clone()
                    .unwrap_or_else(|| format!("asked for by {}", by.name));
                self.go_back_after_success(Cause {
                    by: Some(by.clone()),
                    reason,
                    step: None,
                    superseded_by: None,
                })
            }
            Command::Discharge { obligation } => {
                let now = self.now;
                if let Some(owed) = self
                    .obligations
                    .iter_mut()
                    .find(|owed| owed.number == *obligation)
                {
                    owed.discharged = Some((by.clone(), now));
                    let task = owed.task.clone();
                    self.say(
                        "discharged",
                        Level::Info,
                        format!("{} did: {task}", by.name),
                        data,
                    );
                }
                Ok(())
            }
        }
    }

    fn abort(&mut self, by: &Identity, reason: Option<&str>) -> Result<(), Illegal> {
        let reason = reason.map_or_else(
            || "aborted".to_owned(),
            |reason| format!("aborted: {reason}"),
        );
        if matches!(self.mode, Mode::Back(_)) {
            self.say(
                "abort-noted",
                Level::Info,
                format!("{} aborts; the run is on its way back already", by.name),
                Value::Null,
            );
            return Ok(());
        }
        let step = self.here().1;
        let finishing = matches!(self.mode, Mode::Forward(Forward::Finishing(_)));
        if finishing && !self.claimed {
            // The target was let go of: it must be held again before anything is written.
            return self.go_back_after_success(Cause {
                by: Some(by.clone()),
                reason,
                step,
                superseded_by: None,
            });
        }
        self.go_back(Cause {
            by: Some(by.clone()),
            reason,
            step,
            superseded_by: None,
        })
    }

    /// The step that the run waits at, if it waits for people.
    pub(super) fn waits_for_people(&self) -> Option<String> {
        if let Some((gate, reason)) = self.held_by() {
            return Some(format!("gate {gate}: {reason}"));
        }
        let Cursor { stage, .. } = self.cursor()?;
        match stage {
            Stage::Waiting {
                on:
                    Some(Wait::Window {
                        opens: Some(opens), ..
                    }),
                ..
            } if *opens <= self.now => None,
            Stage::Waiting { on, .. } => on.as_ref().map(|on| self.wait_in_words(on)),
            Stage::Drifted { what, .. } => Some(what.clone()),
            _ => None,
        }
    }
}
