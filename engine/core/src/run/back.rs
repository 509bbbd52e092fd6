//! The way back. It begins from every state that isn't an end, and goes through its stages in one order:
//! let a forward write under way come to its outcome; keep what tells why; write stable's settings back;
//! wait until stable is ready; take the marks off; let go of the target; tell people.

use serde_json::{Value, json};

use super::limits;
use super::state::{Back, BackStage, Cause, End, Finish, Level, Mode, Obligation, Phase, Stuck};
use super::{Illegal, Run};
use crate::effect::{Change, Direction, Effect, Fields, Request, Severity};
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
            refused: false,
            restored: false,
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
        self.paused = None;
        let reason = cause.reason.clone();
        self.mode = Mode::Back(Back::new(cause, self.now, BackStage::Draining));
        self.claim_again()?;
        self.tell_rolling_back(&reason)
    }

    /// The target was let go of: it must be held again before anything is written.
    pub(super) fn claim_again(&mut self) -> Result<(), Illegal> {
        let generation = self.new_generation()?;
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request(format!("rollback/claim/{generation}"), None, request)?;
        if let Mode::Back(back) = &mut self.mode {
            back.after_success = true;
            back.generation = generation;
            back.stage = BackStage::Claiming { effect };
        }
        Ok(())
    }

    /// Takes nothing back: since the run succeeded the target has become somebody else's.
    pub(super) fn refuse_rollback(&mut self, reason: &str) -> Result<(), Illegal> {
        self.say("rollback-refused", Level::Error, reason, Value::Null);
        self.cause = None;
        if let Mode::Back(back) = &mut self.mode {
            back.refused = true;
            back.cause.reason = format!("refused: {reason}");
        }
        self.release_target()
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
                    self.unmark_back(None)?;
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

    /// `seen` is the number of pods there is: one that somebody else has raised isn't lowered again.
    fn unmark_back(&mut self, seen: Option<u32>) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let generation = back.generation;
        let mut fields = if self.past_point {
            self.known.owned.clone()
        } else {
            let mut fields = self.baseline_fields();
            fields.replicas = fields.replicas.max(fields.replicas.and(seen));
            fields
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
                if let Mode::Back(back) = &mut self.mode {
                    back.restored = true;
                }
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
            self.did_not_change(effect);
            return Ok(());
        }
        let untouched = back.after_success && !back.restored;
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
        if decision && untouched && restoring {
            let reason = format!(
                "the target has changed since the run succeeded; nothing was changed: {failure}"
            );
            return self.refuse_rollback(&reason);
        }
        let step = if restoring { "restore" } else { "unmark" };
        self.stuck(step, failure.to_string(), decision)
    }

    pub(super) fn stuck_at(&mut self, effect: &Effect, reason: String, decision: bool) {
        let step = match &effect.request {
            Request::Release => "release",
            Request::Claim { .. } => "claim",
            _ if effect.direction == Direction::Forward => "drain",
            Request::Change { change } if !change.marked => "unmark",
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
        if self.stuck_now().is_some() {
            return Ok(());
        }
        self.stop_asking();
        self.outstanding.retain(|_, outstanding| {
            matches!(outstanding.effect.request, Request::Notify { .. })
                || !matches!(outstanding.phase, Phase::Given | Phase::Ready)
        });
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
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
        let stage = back.stage.clone();
        if self.probe_now() {
            // Nobody knows what became of it: that comes before anything is written again.
            return Ok(());
        }
        match stage {
            BackStage::Claiming { .. } => self.claim_again(),
            // Goes on by itself.
            BackStage::Draining | BackStage::Diagnosing { .. } => Ok(()),
            BackStage::Restoring { .. } | BackStage::Settling { .. } => self.restore(),
            BackStage::Finishing(Finish::Unmarking { .. }) => self.unmark_back(None),
            BackStage::Finishing(_) => self.release_target(),
        }
    }

    /// Probes at once the write whose outcome is missing. Returns whether there is one.
    fn probe_now(&mut self) -> bool {
        let mut found = false;
        for outstanding in self.outstanding.values_mut() {
            if outstanding.is_notice() {
                continue;
            }
            found = true;
            outstanding.failures = 0;
            if let Phase::Waiting { probe: true, .. } = outstanding.phase {
                outstanding.phase = Phase::Missing;
            }
        }
        found
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
        let releasing = self.releasing();
        self.forget_writes();
        match stage {
            BackStage::Claiming { .. } => {
                self.refuse_rollback("the target is not known to be held; nothing was changed")
            }
            // Whether the target is still held is not known: it is taken hold of again.
            BackStage::Draining if releasing => self.claim_again(),
            // Goes on by itself.
            BackStage::Draining | BackStage::Diagnosing { .. } => Ok(()),
            BackStage::Settling { .. } if !stuck.decision => self.unmark_back(None),
            // The target stays as it is, so it isn't what it was before the run.
            BackStage::Restoring { .. } | BackStage::Settling { .. } => self.hand_over(),
            BackStage::Finishing(Finish::Unmarking { .. }) => self.release_target(),
            BackStage::Finishing(_) => {
                self.claimed = false;
                self.release_target()
            }
        }
    }

    fn releasing(&self) -> bool {
        let mut effects = self.outstanding.values().map(|o| &o.effect.request);
        effects.any(|request| matches!(request, Request::Release))
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
        // A claim of which nobody knows whether it was made may be there, and is let go of like one that is.
        let claiming = self
            .outstanding
            .values()
            .any(|outstanding| matches!(outstanding.effect.request, Request::Claim { .. }));
        self.claimed |= claiming;
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
        if seen.uid != self.plan.baseline.uid {
            let reason = "the Deployment was deleted and made anew by somebody else";
            return self.stuck("restore", reason.to_owned(), true);
        }
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
        let served = seen.settings.replicas > 0 || wanted.replicas == 0;
        if seen.settled() && served {
            self.say(
                "restored",
                Level::Info,
                format!(
                    "{} serves again: {} of {} pods ready",
                    self.plan.subject.previous_version, seen.ready, seen.settings.replicas
                ),
                Value::Null,
            );
            let replicas = seen.settings.replicas;
            return self.unmark_back(Some(replicas));
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
        } else if back.refused {
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
        if !self.owed.insert(end) {
            return;
        }
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
