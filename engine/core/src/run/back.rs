//! The way back. It begins from every state that isn't an end, and goes through its stages in one order:
//! let a forward write under way come to its outcome; keep what tells why; write stable's settings back;
//! wait until stable is ready; take the marks off; let go of the target; tell people.

use serde_json::{Value, json};

use super::limits;
use super::state::{Back, BackStage, Cause, End, Finish, Level, Mode, Obligation, Stuck};
use super::{Illegal, Run};
use crate::effect::{Change, Effect, Fields, Request, Severity};
use crate::failure::{Failure, Kind};
use crate::time::{Span, Timestamp};
use crate::workload::Observation;

impl Back {
    fn new(cause: Cause, now: Timestamp, stage: BackStage) -> Self {
        Self {
            cause,
            since: now,
            stage,
            generation: 0,
            stuck: None,
            skipped: Vec::new(),
            handed_over: false,
            after_success: false,
        }
    }

    pub(super) fn wake(&self, run: &Run) -> Option<Timestamp> {
        if self.stuck.is_some() {
            return None;
        }
        let stage = match &self.stage {
            BackStage::Diagnosing { deadline, .. } | BackStage::Settling { deadline } => {
                Some(*deadline)
            }
            _ => None,
        };
        [stage, run.look_wake()].into_iter().flatten().min()
    }
}

impl Run {
    /// Turns back.
    pub(super) fn go_back(&mut self, cause: Cause) -> Result<(), Illegal> {
        self.forget_forward();
        self.paused = None;
        self.broken_since = None;
        let what = if self.known.changed {
            "rolling-back"
        } else {
            "stopping"
        };
        let by = cause
            .by
            .as_ref()
            .map_or_else(|| "the engine".to_owned(), |by| by.name.clone());
        self.say(
            what,
            Level::Error,
            format!("{} ({by}): {}", what.replace('-', " "), cause.reason),
            json!({"by": by, "step": cause.step}),
        );
        self.cause = Some(cause.clone());
        let reason = cause.reason.clone();
        self.mode = Mode::Back(Back::new(cause, self.now, BackStage::Draining));
        if self.known.changed && !self.past_point {
            self.tell_rolling_back(&reason)?;
        }
        Ok(())
    }

    /// Turns back after the run had succeeded: the target is claimed anew first.
    pub(super) fn go_back_after_success(&mut self, cause: Cause) -> Result<(), Illegal> {
        self.say(
            "rolling-back",
            Level::Error,
            format!("rolling back after success: {}", cause.reason),
            Value::Null,
        );
        self.cause = Some(cause.clone());
        self.ended_at = None;
        let generation = self.new_generation()?;
        let reason = cause.reason.clone();
        let mut back = Back::new(cause, self.now, BackStage::Draining);
        back.after_success = true;
        back.generation = generation;
        self.mode = Mode::Back(back);
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request(format!("rollback/claim/{generation}"), None, request)?;
        self.set_back(BackStage::Claiming { effect });
        self.tell_rolling_back(&reason)
    }

    pub(super) fn claim_taken_back(&mut self) -> Result<(), Illegal> {
        if let Mode::Back(back) = &self.mode
            && matches!(back.stage, BackStage::Claiming { .. })
        {
            self.set_back(BackStage::Draining);
        }
        Ok(())
    }

    fn set_back(&mut self, stage: BackStage) {
        if let Mode::Back(back) = &mut self.mode {
            back.stage = stage;
        }
    }

    /// One move back, if there is one to make now.
    pub(super) fn back(&mut self) -> Result<bool, Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(false);
        };
        if back.stuck.is_some() {
            return Ok(false);
        }
        let (stage, by_hand) = (back.stage.clone(), back.cause.by.is_some());
        let now = self.now;
        match stage {
            BackStage::Claiming { .. } | BackStage::Restoring { .. } => Ok(false),
            BackStage::Draining if self.forward_write() => Ok(false),
            BackStage::Draining if !self.known.changed || self.past_point => {
                if self.known.changed {
                    self.unmark_back()?;
                } else {
                    self.release_target()?;
                }
                Ok(true)
            }
            BackStage::Draining if by_hand => self.restore().map(|()| true),
            BackStage::Draining => {
                let effect =
                    self.request("rollback/diagnose".to_owned(), None, Request::Diagnose)?;
                self.set_back(BackStage::Diagnosing {
                    effect,
                    deadline: now.plus(limits::DIAGNOSIS_TIME),
                });
                Ok(true)
            }
            BackStage::Diagnosing { effect, deadline } => {
                if self.wants(effect) && now < deadline {
                    return Ok(false);
                }
                self.forget(effect);
                self.restore().map(|()| true)
            }
            BackStage::Settling { deadline } if now >= deadline => {
                let reason = format!(
                    "stable is not ready in {}: {}",
                    self.plan.rollback.step_timeout,
                    self.pods_in_words()
                );
                self.stuck("restore", reason, false)?;
                Ok(true)
            }
            BackStage::Settling { .. } => {
                self.look_if_due()?;
                Ok(false)
            }
            BackStage::Finishing(finish) => self.finishing(finish),
        }
    }

    /// The fields that the run owns, as they were before it.
    fn baseline_fields(&self) -> Fields {
        let settings = &self.plan.baseline.settings;
        let owned = &self.known.owned;
        Fields {
            image: owned.image.as_ref().map(|_| settings.image.clone()),
            replicas: owned.replicas.map(|_| settings.replicas),
            rollout: owned.rollout.as_ref().map(|_| settings.rollout.clone()),
        }
    }

    fn restore(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let (generation, after_success) = (back.generation, back.after_success);
        let change = Change {
            fields: self.baseline_fields(),
            uid: self.plan.baseline.uid.clone(),
            // Right after the run its own fields are forced; long after, somebody else may have released since.
            expected_image: after_success.then(|| self.known.image.clone()),
            marked: true,
        };
        let effect = self.request(
            format!("rollback/restore/{generation}"),
            None,
            Request::Change { change },
        )?;
        self.set_back(BackStage::Restoring { effect });
        Ok(())
    }

    fn unmark_back(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let generation = back.generation;
        let mut fields = if self.past_point {
            self.known.owned.clone()
        } else {
            self.baseline_fields()
        };
        if fields.rollout.is_some() {
            fields.rollout = Some(self.plan.baseline.settings.rollout.clone());
        }
        let change = Change {
            fields,
            uid: self.plan.baseline.uid.clone(),
            expected_image: None,
            marked: false,
        };
        let effect = self.request(
            format!("rollback/unmark/{generation}"),
            None,
            Request::Change { change },
        )?;
        self.set_finish(Finish::Unmarking { effect });
        Ok(())
    }

    pub(super) fn change_made_back(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        match &back.stage {
            BackStage::Restoring { effect: id } if *id == effect.id => {
                let deadline = self.now.plus(self.plan.rollback.step_timeout);
                self.set_back(BackStage::Settling { deadline });
                Ok(())
            }
            BackStage::Finishing(Finish::Unmarking { effect: id }) if *id == effect.id => {
                self.release_target()
            }
            // A forward write that had been under way: it is undone next.
            _ => Ok(()),
        }
    }

    pub(super) fn change_failed_back(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let compensates = match &back.stage {
            BackStage::Restoring { effect: id } => *id == effect.id,
            BackStage::Finishing(Finish::Unmarking { effect: id }) => *id == effect.id,
            _ => false,
        };
        if !compensates {
            // A forward write that failed: there is nothing of it to undo.
            self.forget(effect.id);
            return Ok(());
        }
        let after_success = back.after_success;
        let restoring = matches!(back.stage, BackStage::Restoring { .. });
        let attempts = self.again(effect.id, failure);
        let code = json!({"code": failure.code.to_string()});
        self.say_attempt(
            "compensation-failed",
            Level::Error,
            Some(attempts),
            failure.to_string(),
            code,
        );
        let decision = failure.kind == Kind::Conflict;
        if !decision && failure.kind.may_pass() && attempts <= self.plan.rollback.retries {
            return Ok(());
        }
        self.forget(effect.id);
        if decision && after_success && restoring {
            self.say(
                "rollback-refused",
                Level::Error,
                "the target has changed since the run succeeded; nothing was changed",
                Value::Null,
            );
            if let Mode::Back(back) = &mut self.mode {
                back.cause.reason = format!("refused: {failure}");
            }
            self.known.changed = false;
            return self.release_target();
        }
        let step = if restoring { "restore" } else { "unmark" };
        self.stuck(step, failure.to_string(), decision)
    }

    pub(super) fn stuck_at(&mut self, effect: &Effect, reason: String, decision: bool) {
        let step = match &effect.request {
            Request::Release => "release",
            Request::Claim { .. } => "claim",
            _ => "restore",
        };
        // A notice that can't be asked for any more must not hide that the run is stuck.
        if self.stuck(step, reason, decision).is_err() {
            self.say(
                "notice-dropped",
                Level::Error,
                "too many notices are under way",
                Value::Null,
            );
        }
    }

    fn stuck(&mut self, step: &str, reason: String, decision: bool) -> Result<(), Illegal> {
        let now = self.now;
        self.look = super::state::Look::default();
        self.outstanding.retain(|_, outstanding| {
            matches!(outstanding.effect.request, Request::Notify { .. })
                || !matches!(
                    outstanding.phase,
                    super::state::Phase::Given | super::state::Phase::Ready
                )
        });
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        if back.stuck.is_some() {
            return Ok(());
        }
        back.stuck = Some(Stuck {
            step: step.to_owned(),
            reason: reason.clone(),
            since: now,
            decision,
        });
        let words = format!("the rollback is stuck at {step}: {reason}");
        self.say("stuck", Level::Error, words.clone(), json!({"step": step}));
        let text = format!("{words}. Help it with `retry`, `skip {step}` or `hand-over`.");
        self.tell(
            "stuck",
            Severity::Critical,
            format!("ROLLBACK STUCK: {}", self.headline()),
            text,
        )
    }

    pub(super) fn retry_stuck(&mut self) -> Result<(), Illegal> {
        let generation = self.new_generation()?;
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.stuck = None;
        back.generation = generation;
        match back.stage.clone() {
            BackStage::Claiming { .. } => Ok(()),
            BackStage::Draining | BackStage::Diagnosing { .. } => {
                self.probe_now();
                Ok(())
            }
            BackStage::Restoring { .. } | BackStage::Settling { .. } => self.restore(),
            BackStage::Finishing(Finish::Unmarking { .. }) => self.unmark_back(),
            BackStage::Finishing(_) => self.release_target(),
        }
    }

    /// Probes at once what waits to be probed.
    fn probe_now(&mut self) {
        for outstanding in self.outstanding.values_mut() {
            if let super::state::Phase::Waiting { probe: true, .. } | super::state::Phase::Probing =
                outstanding.phase
            {
                outstanding.phase = super::state::Phase::Missing;
                outstanding.failures = 0;
            }
        }
    }

    pub(super) fn skip_stuck(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        let Some(stuck) = back.stuck.take() else {
            return Ok(());
        };
        back.skipped.push(stuck.step);
        let stage = back.stage.clone();
        self.forget_writes();
        match stage {
            BackStage::Claiming { .. } | BackStage::Draining | BackStage::Diagnosing { .. } => {
                self.restore()
            }
            BackStage::Restoring { .. } | BackStage::Settling { .. } => self.unmark_back(),
            BackStage::Finishing(Finish::Unmarking { .. }) => self.release_target(),
            BackStage::Finishing(_) => {
                self.claimed = false;
                self.release_target()
            }
        }
    }

    pub(super) fn hand_over(&mut self) -> Result<(), Illegal> {
        self.forget_writes();
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.stuck = None;
        back.handed_over = true;
        self.release_target()
    }

    fn forget_writes(&mut self) {
        self.outstanding
            .retain(|_, outstanding| matches!(outstanding.effect.request, Request::Notify { .. }));
    }

    pub(super) fn seen_back(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        if !matches!(back.stage, BackStage::Settling { .. }) || back.stuck.is_some() {
            return Ok(());
        }
        let wanted = &self.plan.baseline.settings;
        let owned = &self.known.owned;
        if owned.image.is_some() && seen.settings.image != wanted.image {
            return self.stuck(
                "restore",
                format!(
                    "the image is {}, somebody else changed it from {}",
                    seen.settings.image, wanted.image
                ),
                true,
            );
        }
        if seen.settled() {
            self.say(
                "restored",
                Level::Info,
                format!(
                    "{} serves again: {} of {} pods ready",
                    self.plan.subject.previous_version, seen.ready, seen.settings.replicas
                ),
                Value::Null,
            );
            return self.unmark_back();
        }
        Ok(())
    }

    /// The end that the run has come to.
    pub(super) fn end_reached(&self) -> End {
        let Mode::Back(back) = &self.mode else {
            return End::Succeeded;
        };
        if back.handed_over {
            End::RollbackStuck
        } else if back.after_success && !self.known.changed {
            End::Succeeded
        } else if back.cause.superseded_by.is_some() {
            End::Superseded
        } else if self.past_point {
            End::StayedForward
        } else if self.known.changed {
            End::RolledBack
        } else if back.cause.by.is_some() {
            End::Cancelled
        } else {
            End::Refused
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        let now = self.now;
        let mut words = end.to_string();
        let mut data = json!({"end": end});
        if let Mode::Back(back) = &self.mode {
            let took = now.since(back.since);
            let target = self.plan.rollback.target;
            if end == End::RolledBack {
                self.rollback_took = Some(took);
                let judged = if took <= target { "within" } else { "beyond" };
                words = format!("{words} in {took}, {judged} the target of {target}");
                data = json!({"end": end, "rollbackMs": took.as_millis(), "targetMs": target.as_millis()});
            }
            if !back.skipped.is_empty() {
                words.push_str(&format!("; skipped: {}", back.skipped.join(", ")));
            }
        }
        let level = if end == End::Succeeded {
            Level::Info
        } else {
            Level::Error
        };
        self.say("ended", level, words, data);
        self.ended_at = Some(now);
        self.owe(end);
        self.mode = Mode::Ended(end);
    }

    fn owe(&mut self, end: End) {
        let which = match end {
            End::Succeeded => "succeeded",
            End::RolledBack => "rolled-back",
            _ => return,
        };
        let first = self.obligations.len();
        let due = self
            .plan
            .due
            .iter()
            .filter(|task| task.on == which)
            .cloned()
            .collect::<Vec<_>>();
        for (index, task) in due.into_iter().enumerate() {
            let number =
                u32::try_from(first.saturating_add(index).saturating_add(1)).unwrap_or(u32::MAX);
            let at: Timestamp = self.now.plus(task.after);
            self.say(
                "due",
                Level::Info,
                format!("due at {at}: {}", task.task),
                json!({"number": number, "due": at}),
            );
            self.obligations.push(Obligation {
                number,
                task: task.task,
                due: at,
                discharged: None,
            });
        }
    }

    /// How long the way back took, or has taken so far.
    #[must_use]
    pub fn rollback_time(&self) -> Option<Span> {
        match &self.mode {
            Mode::Back(back) => Some(self.now.since(back.since)),
            _ => self.rollback_took,
        }
    }
}
