//! What people ask of a run, and what it needs of them.

use serde_json::{Value, json};

use super::state::{
    Approval, Attestation, Cause, Cursor, End, Forward, Level, Mode, Obligation, Stage, TakenOver,
    Wait,
};
use super::{Illegal, Pause, Run};
use crate::diagnostic::{Code, codes};
use crate::event::{Command, DriftAnswer, Identity};
use crate::plan::{Action, Step};
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
    pub(super) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
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
            Command::Supersede { run, .. } => self.may_be_superseded(run),
            Command::Pause { .. } if !forward => illegal("only the way forward can be paused"),
            Command::Pause { .. }
                if matches!(
                    self.mode,
                    Mode::Forward(Forward::Finishing(_) | Forward::Keeping(_))
                ) =>
            {
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
                (Some(DriftAnswer::Adopt), true) if !self.can_adopt() && self.owns_template() => {
                    illegal(
                        "what is there can't be gone on with: the release brings the pod template along, or the candidate's Deployment is gone: say `--drift force` to write it again, or abort",
                    )
                }
                (Some(DriftAnswer::Adopt), true) if !self.can_adopt() => illegal(
                    "the candidate's Deployment is gone: say `--drift force` to make it again, or abort",
                ),
                (Some(DriftAnswer::Force), true) if !self.can_force() => illegal(
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
            Command::Discharge { obligation } => self.may_discharge(*obligation),
        }
    }

    fn may_discharge(&self, obligation: u32) -> Result<(), Refusal> {
        let owed = self.obligations.iter().find(|o| o.number == obligation);
        let why = match owed {
            None => format!("the run owes nothing with number {obligation}"),
            Some(owed) if owed.discharged.is_some() => "that was done already".to_owned(),
            Some(owed) if owed.of_an_engine().is_some() => match &self.mode {
                Mode::Ended(End::Succeeded) if owed.due <= self.now => return Ok(()),
                Mode::Ended(End::Succeeded) => {
                    format!(
                        "the old version is kept until {}, so that it can come back",
                        owed.due
                    )
                }
                _ => format!("the run is {}", self.state()),
            },
            Some(_) => return Ok(()),
        };
        let hint = "`phasegate due` lists what is owed";
        Err(Refusal::new(codes::COMMAND_ILLEGAL, why, hint))
    }

    fn may_roll_back(&self) -> Result<(), Refusal> {
        if !self.changed() {
            return Err(Refusal::new(
                codes::ROLLBACK_IMPOSSIBLE,
                "the run changed nothing",
                "there is nothing to go back from",
            ));
        }
        let removed = |known: &super::state::Known| known.removed;
        if removed(&self.known) || self.parked.values().any(removed) {
            return Err(Refusal::new(
                codes::ROLLBACK_IMPOSSIBLE,
                "the old version was removed, or what it needs, as it was due",
                "release the old version as a new one",
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
            Wait::Attestation { name } => {
                let asked = self.steps_ahead().find_map(|step| match &step.action {
                    Action::Attest {
                        name: asked,
                        prompt,
                    } if asked == name => Some(prompt),
                    _ => None,
                });
                let asked = asked.map_or_else(String::new, |prompt| format!(": {prompt}"));
                format!("attestation `{name}` is missing{asked}")
            }
            Wait::Approval { requirement } => {
                match self.requirements().find(|asked| asked.name == *requirement) {
                    Some(asked) => {
                        let question = self.steps_ahead().find_map(|step| match &step.action {
                            Action::Approve {
                                requirement: of,
                                prompt,
                                ..
                            } if of.name == *requirement => Some(prompt),
                            _ => None,
                        });
                        let question = question.map_or_else(String::new, |q| format!(": {q}"));
                        format!(
                            "{} of {} approvals by {} ({}){question}",
                            self.agreed(asked).len(),
                            asked.count,
                            asked.roles.join(" or "),
                            asked.people.join(", ")
                        )
                    }
                    None => format!("approval `{requirement}`"),
                }
            }
        }
    }

    fn steps_ahead(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| &phase.steps)
    }

    /// Takes in a command that `may` let pass.
    pub(super) fn commanded(&mut self, by: &Identity, command: &Command) -> Result<(), Illegal> {
        let who = &by.name;
        match command {
            Command::Abort { reason } => return self.abort(by, reason.as_deref()),
            Command::Supersede { run, targets } => return self.supersede(by, run, targets),
            Command::RollBack { reason } => {
                let asked = || format!("asked for by {who}");
                return self.go_back_after_success(Cause {
                    by: Some(by.clone()),
                    reason: reason.clone().unwrap_or_else(asked),
                    step: None,
                    superseded_by: None,
                });
            }
            Command::Pause { reason } => {
                let until = self.now.plus(self.plan.people_timeout);
                let by_whom = by.clone();
                self.paused = Some(Pause { by: by_whom, until });
                let why = reason.as_ref().map(|reason| format!(": {reason}"));
                let words = format!("paused by {who}{}", why.unwrap_or_default());
                self.note(by, "paused", Level::Warn, words);
            }
            Command::Continue { drift: None } => {
                self.paused = None;
                self.note(by, "continued", Level::Info, format!("continued by {who}"));
            }
            Command::Continue {
                drift: Some(answer),
            } => {
                let word = match answer {
                    DriftAnswer::Adopt => "goes on with what is there",
                    DriftAnswer::Force => "writes what the plan says once more",
                };
                let anew = match self.cursor().map(|cursor| &cursor.stage) {
                    Some(Stage::Drifted { then, .. }) => self.begins_anew(*then),
                    _ => None,
                };
                let anew = anew.map_or_else(String::new, |anew| format!("; {anew}"));
                let words = format!("{who} decides: the run {word}{anew}");
                self.note(by, "drift-answered", Level::Warn, words);
                return self.answer_drift(*answer);
            }
            Command::Approve { plan, requirement } => {
                self.approvals.push(Approval {
                    by: by.clone(),
                    at: self.now,
                    plan: plan.clone(),
                    requirement: requirement.clone(),
                });
                self.tell_approval(by, requirement.as_deref());
            }
            Command::Attest { name, text } => {
                self.attestations.push(Attestation {
                    by: by.clone(),
                    at: self.now,
                    name: name.clone(),
                    text: text.clone(),
                });
                let words = format!("{who} attests {name}: {text}");
                self.note(by, "attested", Level::Info, words);
            }
            Command::Retry | Command::Skip { .. } | Command::HandOver { .. } => {
                return self.helped(by, command);
            }
            Command::Discharge { obligation } => return self.discharge(by, *obligation),
        }
        Ok(())
    }

    /// People help a run that can't go on by itself.
    fn helped(&mut self, by: &Identity, command: &Command) -> Result<(), Illegal> {
        let who = &by.name;
        let stuck = self.stuck_now().map(|stuck| stuck.step.clone());
        let at = self.now;
        let taken_over = |reason: Option<&String>| TakenOver {
            by: by.clone(),
            at,
            step: stuck.unwrap_or_default(),
            reason: reason.cloned(),
        };
        match command {
            Command::Skip { step } => {
                let taken_over = taken_over(None);
                let words = format!("{who} leaves out the compensation {step}");
                self.note(by, "skipped", Level::Error, words);
                self.skip_stuck()?;
                if matches!(&self.mode, Mode::Back(back) if back.handed_over) {
                    self.taken_over.get_or_insert(taken_over);
                }
                Ok(())
            }
            Command::HandOver { reason } => {
                self.taken_over = Some(taken_over(Some(reason)));
                let words = format!("{who} takes over by hand: {reason}");
                self.note(by, "handed-over", Level::Error, words);
                self.hand_over()
            }
            _ if self.stuck_now().is_some() => {
                let words = format!("{who} has the compensation tried again");
                self.note(by, "retried", Level::Warn, words);
                self.retry_stuck()
            }
            _ => {
                let words = format!("{who} has the gates asked again");
                self.note(by, "retried", Level::Warn, words);
                self.retry_gates();
                Ok(())
            }
        }
    }

    fn discharge(&mut self, by: &Identity, obligation: u32) -> Result<(), Illegal> {
        let now = self.now;
        let place = self
            .obligations
            .iter()
            .find(|owed| owed.number == obligation)
            .and_then(Obligation::of_an_engine);
        if let Some(place) = place {
            return self.keep(by, obligation, place);
        }
        let mut owed = self.obligations.iter_mut();
        if let Some(owed) = owed.find(|owed| owed.number == obligation) {
            owed.discharged = Some((by.clone(), now));
            let words = format!("{} did: {}", by.name, owed.task);
            let data = json!({"number": obligation, "by": by.name, "verifiedBy": by.verified_by});
            self.say("discharged", Level::Info, words, data);
        }
        Ok(())
    }

    fn note(&mut self, by: &Identity, kind: &'static str, level: Level, words: String) {
        let data = json!({"by": by.name, "verifiedBy": by.verified_by});
        self.say(kind, level, words, data);
    }

    /// Says which of the approvals that are asked for this one counts towards.
    fn tell_approval(&mut self, by: &Identity, requirement: Option<&str>) {
        let towards = self.approvable(&by.name, requirement);
        let names: Vec<&str> = towards.iter().map(|asked| asked.name.as_str()).collect();
        let words: Vec<String> = towards
            .iter()
            .map(|asked| format!("{} ({})", asked.name, asked.roles.join(" or ")))
            .collect();
        let data = json!({"by": by.name, "verifiedBy": by.verified_by, "requirements": names});
        let words = format!("approved by {}: {}", by.name, words.join(", "));
        self.say("approved", Level::Info, words, data);
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
        if self.keeping().is_some() {
            return self.keep_failed(&reason);
        }
        let step = self.here().1;
        let finishing = matches!(self.mode, Mode::Forward(Forward::Finishing(_)));
        if finishing && self.claimed.is_empty() {
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
        if let Some((gate, reason, until)) = self.held_by() {
            return Some(format!(
                "gate {gate}: {reason}; the run goes back at {until}"
            ));
        }
        let Cursor { stage, .. } = self.cursor()?;
        if self.waits_for_gates() {
            return None;
        }
        match stage {
            Stage::Waiting {
                on:
                    Some(Wait::Window {
                        opens: Some(opens), ..
                    }),
                ..
            } if *opens <= self.now => None,
            Stage::Waiting { on, .. } => on.as_ref().map(|on| self.wait_in_words(on)),
            Stage::Drifted { what, then, .. } => Some(match self.begins_anew(*then) {
                Some(anew) => format!("{what}; {anew} once people have decided"),
                None => what.clone(),
            }),
            _ => None,
        }
    }
}
