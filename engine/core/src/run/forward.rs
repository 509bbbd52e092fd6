//! The way forward: one step after the other.

use serde_json::{Value, json};

use super::limits::{self, SETTLE_INTERVAL};
use super::state::{Cause, Cursor, Forward, Level, Mode, Stage, Then, Wait};
use super::words::in_words;
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Effect, Fields, Request, Severity};
use crate::failure::Failure;
use crate::judge::Decision;
use crate::plan::{Action, Step};
use crate::strategy::{Judged, StepOutcome};
use crate::time::{Span, Timestamp};

impl Run {
    /// One move forward, if there is one to make now.
    pub(super) fn forward(&mut self) -> Result<bool, Illegal> {
        let Mode::Forward(forward) = &self.mode else {
            return Ok(false);
        };
        match forward {
            Forward::Planned => self.start(),
            Forward::Claiming { deadline, .. } if self.now >= *deadline => {
                let reason = "there is no telling whether the target is held".to_owned();
                self.go_back(Cause {
                    by: None,
                    reason,
                    step: None,
                    superseded_by: None,
                })?;
                Ok(true)
            }
            Forward::Claiming { .. } => Ok(false),
            Forward::At(_) => self.at_step(),
            Forward::Finishing(finish) => {
                let finish = *finish;
                self.finishing(finish)
            }
        }
    }

    fn start(&mut self) -> Result<bool, Illegal> {
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request("claim".to_owned(), None, request)?;
        let deadline = self.now.plus(self.plan.rollback.step_timeout);
        self.mode = Mode::Forward(Forward::Claiming { effect, deadline });
        Ok(true)
    }

    pub(super) fn claim_taken(&mut self) -> Result<(), Illegal> {
        self.claimed = true;
        let target = self.plan.target.to_string();
        self.say(
            "claimed",
            Level::Info,
            format!("holds {target}"),
            json!({"target": target}),
        );
        match &mut self.mode {
            Mode::Forward(_) => {
                let text = format!(
                    "{} started the release of {}.",
                    self.started_by.name,
                    self.headline()
                );
                self.tell(
                    "started",
                    Severity::Info,
                    format!("Release started: {}", self.headline()),
                    text,
                )?;
                self.enter(0, 0)
            }
            Mode::Back(_) => self.claim_taken_back(),
            Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn claim_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let after_success = match &self.mode {
            Mode::Back(back) => back.after_success,
            Mode::Forward(_) | Mode::Ended(_) => false,
        };
        if matches!(self.mode, Mode::Back(_)) && !after_success {
            // The run turned back meanwhile: it needs no hold any more.
            self.forget(effect.id);
            return Ok(());
        }
        let attempts = if failure.kind.may_pass() && failure.code != codes::TARGET_BUSY {
            self.again(effect.id, failure)
        } else {
            limits::WRITE_ATTEMPTS
        };
        if attempts < limits::WRITE_ATTEMPTS {
            self.say_attempt(
                "claim-failed",
                Level::Warn,
                Some(attempts),
                failure.to_string(),
                json!({"code": failure.code.to_string()}),
            );
            return Ok(());
        }
        self.forget(effect.id);
        if after_success {
            return self.refuse_rollback(&format!("the target can't be held again: {failure}"));
        }
        self.say(
            "claim-failed",
            Level::Error,
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        self.go_back(Cause {
            by: None,
            reason: failure.to_string(),
            step: None,
            superseded_by: None,
        })
    }

    /// Comes to a step, or to the end of them.
    pub(super) fn enter(&mut self, phase: usize, step: usize) -> Result<(), Illegal> {
        let now = self.now;
        if self.step(phase, step).is_none() {
            if self.phases.get(phase).is_some() {
                return self.enter(phase.saturating_add(1), 0);
            }
            return self.finish_forward();
        }
        let until = now.plus(self.plan.people_timeout);
        if !self.known.changed {
            self.gates.clear();
        }
        self.broken_since = None;
        let phase_since = self
            .cursor()
            .filter(|cursor| cursor.phase == phase)
            .map_or(now, |cursor| cursor.phase_since);
        self.mode = Mode::Forward(Forward::At(Cursor {
            phase,
            step,
            phase_since,
            since: now,
            stage: Stage::Waiting { on: None, until },
        }));
        if step == 0
            && let Some(name) = self.phases.get(phase).map(|phase| phase.name.clone())
        {
            self.say(
                "phase-started",
                Level::Info,
                format!("phase {name}"),
                Value::Null,
            );
        }
        Ok(())
    }

    pub(super) fn cursor(&self) -> Option<&Cursor> {
        match &self.mode {
            Mode::Forward(Forward::At(cursor)) => Some(cursor),
            _ => None,
        }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Mode::Forward(Forward::At(cursor)) = &mut self.mode {
            cursor.stage = stage;
        }
    }

    pub(super) fn current(&self) -> Option<(Cursor, Step)> {
        let cursor = self.cursor()?.clone();
        let (_, step) = self.step(cursor.phase, cursor.step)?;
        Some((cursor.clone(), step.clone()))
    }

    fn at_step(&mut self) -> Result<bool, Illegal> {
        let Some((cursor, step)) = self.current() else {
            return self.finish_forward().map(|()| true);
        };
        if let Some((gate, reason)) = self.tick_gates()? {
            self.back_from(&step, format!("gate {gate} failed: {reason}"))?;
            return Ok(true);
        }
        let now = self.now;
        if self.paused.as_ref().is_some_and(|pause| now >= pause.until) {
            self.back_from(&step, "paused for longer than people may take".to_owned())?;
            return Ok(true);
        }
        if let Some((deadline, timeout)) = self.phase_deadline(&cursor)
            && now >= deadline
            && cursor.stage != Stage::Done
        {
            self.back_from(&step, format!("the phase is not finished in {timeout}"))?;
            return Ok(true);
        }
        match &cursor.stage {
            Stage::Waiting { on, until } => self.waiting(&cursor, &step, on.as_ref(), *until),
            Stage::Changing { deadline, .. } if now >= *deadline => {
                let reason = "there is no telling whether the write took place".to_owned();
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Changing { .. } | Stage::Revising { .. } => Ok(false),
            Stage::Settling { deadline, .. } if now >= *deadline => {
                let reason = format!(
                    "not ready in {}: {}",
                    now.since(cursor.since),
                    self.pods_in_words()
                );
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Settling { .. } => Ok(false),
            Stage::Asking { deadline } => self.asking(&step, *deadline),
            Stage::Drifted { what, until, .. } if now >= *until => {
                let reason = format!("{what}; nobody decided by {until}");
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Drifted { .. } => Ok(false),
            Stage::Done if self.stopped() || !self.still_passing(&step) => Ok(false),
            Stage::Done => self.leave(&cursor, &step),
        }
    }

    fn phase_deadline(&self, cursor: &Cursor) -> Option<(Timestamp, Span)> {
        let timeout = self.phases.get(cursor.phase)?.timeout?;
        Some((cursor.phase_since.plus(timeout), timeout))
    }

    fn waiting(
        &mut self,
        cursor: &Cursor,
        step: &Step,
        on: Option<&Wait>,
        until: Timestamp,
    ) -> Result<bool, Illegal> {
        let Some(wait) = self.blocked_by(cursor, step) else {
            if self.stopped() {
                return Ok(false);
            }
            self.begin_step(step, false)?;
            return Ok(true);
        };
        if self.now >= until {
            self.back_from(
                step,
                format!("{}; nobody came by {until}", self.wait_in_words(&wait)),
            )?;
            return Ok(true);
        }
        if Some(&wait) != on {
            let words = self.wait_in_words(&wait);
            self.say(
                "awaiting",
                Level::Warn,
                words.clone(),
                json!({"until": until}),
            );
            let title = format!("{} waits: {words}", self.headline());
            self.set_stage(Stage::Waiting {
                on: Some(wait),
                until,
            });
            self.tell("awaiting-people", Severity::Warning, title, words)?;
        }
        Ok(false)
    }

    /// Whether forward steps are stopped: by a person, or by a gate that can't tell.
    fn stopped(&self) -> bool {
        self.paused.is_some() || self.held_by().is_some()
    }

    /// Whether the gates of a step that is done still say so: they go on while the run is paused.
    fn still_passing(&self, step: &Step) -> bool {
        let (Action::Check { gates } | Action::Soak { gates, .. }) = &step.action else {
            return true;
        };
        gates.iter().all(|name| {
            self.gates
                .get(name)
                .is_none_or(|asked| *asked.judge.decision() == Decision::Passing)
        })
    }

    /// What keeps a step from beginning.
    pub(super) fn blocked_by(&self, cursor: &Cursor, step: &Step) -> Option<Wait> {
        if cursor.step == 0 {
            // A phase without steps is never come to: what it waits for holds for the next one.
            let due = |name: &str| {
                let mut phases = self.phases.iter().enumerate();
                phases.any(|(index, phase)| {
                    let empty = index < cursor.phase && phase.steps.is_empty();
                    phase.name == name && (index == cursor.phase || empty)
                })
            };
            let unmet = self
                .plan
                .approvals
                .iter()
                .find(|approval| due(&approval.before) && !self.met(&approval.requirement));
            if let Some(approval) = unmet {
                return Some(Wait::Approval {
                    requirement: approval.requirement.name.clone(),
                });
            }
        }
        match &step.action {
            Action::Approve { requirement, .. } if !self.met(requirement) => Some(Wait::Approval {
                requirement: requirement.name.clone(),
            }),
            Action::Attest { name, .. } if !self.attested(name) => {
                Some(Wait::Attestation { name: name.clone() })
            }
            action if action.changes() => self.closed_window(),
            _ => None,
        }
    }

    /// Begins the step, or does its write once more.
    pub(super) fn begin_step(&mut self, step: &Step, force: bool) -> Result<(), Illegal> {
        let now = self.now;
        if let Mode::Forward(Forward::At(cursor)) = &mut self.mode {
            cursor.since = now;
        }
        self.say(
            "step-started",
            Level::Info,
            in_words(&step.action),
            json!({"kind": step.action.kind()}),
        );
        let baseline = &self.plan.baseline.settings;
        let mut fields = Fields::default();
        match &step.action {
            Action::Deploy {
                replicas,
                surge,
                unavailable,
                ..
            } => {
                fields.image = Some(self.plan.subject.image.clone());
                let wanted = replicas.of(baseline.replicas);
                fields.replicas = (wanted != self.known.replicas).then_some(wanted);
                fields.rollout = super::write::rollout(
                    &baseline.rollout,
                    surge.as_deref(),
                    unavailable.as_deref(),
                );
                self.change(step, fields, force, Then::Finish)
            }
            Action::Scale { replicas, .. } => {
                fields.replicas = Some(replicas.of(baseline.replicas));
                self.change(step, fields, force, Then::Finish)
            }
            Action::Check { .. } | Action::Soak { .. } => {
                self.ask(step);
                Ok(())
            }
            Action::Approve { .. } | Action::Attest { .. } => {
                self.step_done();
                Ok(())
            }
            Action::Notify {
                notifier,
                title,
                text,
            } => {
                self.tell_one(
                    notifier,
                    "step",
                    Severity::Info,
                    title.clone(),
                    text.clone(),
                )?;
                self.step_done();
                Ok(())
            }
        }
    }

    pub(super) fn step_done(&mut self) {
        self.past_point |= self
            .current()
            .is_some_and(|(_, step)| step.point_of_no_return);
        self.set_stage(Stage::Done);
    }

    /// Goes from a finished step to the next one.
    fn leave(&mut self, cursor: &Cursor, step: &Step) -> Result<bool, Illegal> {
        let elapsed = self.now.since(cursor.since);
        let judged = self.judged_so_far(&step.action);
        self.say(
            "step-finished",
            Level::Info,
            format!("{} done in {elapsed}", step.id),
            json!({"elapsedMs": elapsed.as_millis()}),
        );
        let recorded = self
            .outcomes
            .last()
            .is_some_and(|last| last.step == step.id);
        if !recorded {
            self.outcomes.push(StepOutcome {
                step: step.id.clone(),
                elapsed,
                judged,
            });
            if self.wants_revision(cursor, step) {
                return self.ask_strategy(cursor).map(|()| true);
            }
        }
        let next = cursor.step.saturating_add(1);
        let phase = self.phases.get(cursor.phase);
        let last = phase.is_none_or(|phase| next >= phase.steps.len());
        if last && let Some(name) = phase.map(|phase| phase.name.clone()) {
            let text = format!("Phase {name} of {} is finished.", self.headline());
            self.tell(
                "phase-finished",
                Severity::Info,
                format!("{}: phase {name} finished", self.headline()),
                text,
            )?;
        }
        self.enter(cursor.phase, next)?;
        Ok(true)
    }

    fn judged_so_far(&self, action: &Action) -> Vec<Judged> {
        let (Action::Check { gates } | Action::Soak { gates, .. }) = action else {
            return Vec::new();
        };
        let last = |name: &String| {
            let verdict = self.gates.get(name)?.judge.last()?;
            let values = serde_json::to_value(&verdict.measurements).unwrap_or_default();
            Some(Judged {
                gate: name.clone(),
                status: verdict.status,
                values,
            })
        };
        gates.iter().filter_map(last).collect()
    }

    /// Goes back because the step can't be finished.
    pub(super) fn back_from(&mut self, step: &Step, reason: String) -> Result<(), Illegal> {
        self.say("step-failed", Level::Error, reason.clone(), Value::Null);
        self.go_back(Cause {
            by: None,
            reason,
            step: Some(step.id.clone()),
            superseded_by: None,
        })
    }

    fn may_begin(&self, cursor: &Cursor) -> bool {
        self.step(cursor.phase, cursor.step)
            .is_some_and(|(_, step)| self.blocked_by(cursor, step).is_none())
    }

    pub(super) fn forward_wake(&self) -> Option<Timestamp> {
        if let Mode::Forward(Forward::Claiming { deadline, .. }) = &self.mode {
            return Some(*deadline);
        }
        let cursor = self.cursor()?;
        let stage = match &cursor.stage {
            // Stopped by a pause or a gate, which have their own times.
            Stage::Waiting { on: None, .. } => None,
            Stage::Waiting { .. } if self.stopped() && self.may_begin(cursor) => None,
            Stage::Waiting {
                on: Some(Wait::Window { opens, .. }),
                until,
            } => Some(opens.map_or(*until, |opens| opens.min(*until))),
            Stage::Waiting { until, .. } | Stage::Drifted { until, .. } => Some(*until),
            Stage::Changing { deadline, .. }
            | Stage::Settling { deadline, .. }
            | Stage::Asking { deadline } => Some(*deadline),
            Stage::Revising { .. } | Stage::Done => None,
        };
        let pause = self.paused.as_ref().map(|pause| pause.until);
        let phase = self
            .phase_deadline(cursor)
            .filter(|_| cursor.stage != Stage::Done)
            .map(|(deadline, _)| deadline);
        [stage, pause, phase, self.gates_wake(), self.look_wake()]
            .into_iter()
            .flatten()
            .min()
    }

    /// How often the workload is looked at in the present stage; none where it isn't.
    pub(super) fn look_interval(&self) -> Option<Span> {
        match &self.mode {
            Mode::Back(back) => matches!(back.stage, super::state::BackStage::Settling { .. })
                .then_some(SETTLE_INTERVAL),
            Mode::Forward(Forward::At(cursor)) => match &cursor.stage {
                Stage::Settling { .. } => Some(SETTLE_INTERVAL),
                Stage::Asking { .. } => Some(self.soak_interval()),
                Stage::Drifted { .. } => Some(limits::WATCH_INTERVAL),
                Stage::Waiting { .. } | Stage::Done if self.known.changed => {
                    Some(limits::WATCH_INTERVAL)
                }
                _ => None,
            },
            Mode::Forward(_) | Mode::Ended(_) => None,
        }
    }
}
