//! The way back. It begins from every state that isn't an end, and goes through its stages in one order:
//! let a forward write under way come to its outcome; keep what tells why; write stable's settings back;
//! wait until stable is ready; take the marks off; let go of the target; tell people.

use serde_json::{Value, json};

use super::limits;
use super::state::{Back, BackStage, Cause, Finish, Level, Look, Mode};
use super::{Illegal, Run};
use crate::config::ConfigKind;
use crate::effect::{Change, Effect, Fields, Request};
use crate::failure::{Failure, Kind};
use crate::strategy::Slot;
use crate::time::Timestamp;
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
            unclaimed: false,
            refused: false,
            succession: None,
        }
    }

    pub(super) fn wake(&self, run: &Run) -> Option<Timestamp> {
        if self.stuck.is_some() {
            return None;
        }
        let stage = match &self.stage {
            BackStage::Diagnosing { deadline, .. }
            | BackStage::Looking { deadline }
            | BackStage::Checking { deadline }
            | BackStage::Undoing { deadline, .. }
            | BackStage::Settling { deadline } => Some(*deadline),
            BackStage::Following {
                deadline,
                taken: Some(taken),
            } => Some(taken.plus(run.settle_longest()).min(*deadline)),
            BackStage::Following { deadline, .. } => Some(*deadline),
            _ => None,
        };
        [stage, run.look_wake(), run.reading_wake()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Run {
    /// Turns back.
    pub(super) fn go_back(&mut self, cause: Cause) -> Result<(), Illegal> {
        // People were asked about what somebody else had changed, and this is the answer.
        let known_of = self.drifted_now();
        self.forget_forward();
        self.paused = None;
        self.broken_since = None;
        self.nothing_is_back();
        self.known.looked = known_of;
        let subject = &self.plan.subject;
        let (what, mut words) = match (self.changed(), self.past_point) {
            (true, false) => (
                "rolling-back",
                format!("rolling back to {}", subject.previous_version),
            ),
            (true, true) => (
                "stopping",
                format!(
                    "stopping past the point of no return, {} stays",
                    subject.version
                ),
            ),
            (false, _) => ("stopping", "stopping, nothing was changed".to_owned()),
        };
        let by = cause.who().to_owned();
        // Where a step has failed, the line before says why.
        if cause.by.is_some() || cause.step.is_none() {
            words.push_str(&format!(" ({by}): {}", cause.reason));
        }
        self.say(
            what,
            Level::Error,
            words,
            json!({"by": by, "step": cause.step, "reason": cause.reason}),
        );
        self.cause = Some(cause.clone());
        let reason = cause.reason.clone();
        self.mode = Mode::Back(Back::new(cause, self.now, BackStage::Draining));
        if self.changed() && !self.past_point {
            self.tell_rolling_back(&reason)?;
        }
        Ok(())
    }

    /// Turns back after the run had succeeded: the target is claimed anew first.
    pub(super) fn go_back_after_success(&mut self, cause: Cause) -> Result<(), Illegal> {
        let by = cause.who().to_owned();
        let version = &self.plan.subject.previous_version;
        let words = format!(
            "rolling back to {version} after success ({by}): {}",
            cause.reason
        );
        let data = json!({"by": by, "reason": cause.reason});
        self.say("rolling-back", Level::Error, words, data);
        self.cause = Some(cause.clone());
        self.rollback_took = None;
        self.nothing_is_back();
        self.ended_at = None;
        self.paused = None;
        let reason = cause.reason.clone();
        self.mode = Mode::Back(Back::new(cause, self.now, BackStage::Draining));
        self.claim_again()?;
        self.tell_rolling_back(&reason)
    }

    pub(super) fn set_back(&mut self, stage: BackStage) {
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
            BackStage::Claiming { .. }
            | BackStage::Restoring { .. }
            | BackStage::Unrouting { .. }
            | BackStage::Removing { .. } => Ok(false),
            BackStage::Draining | BackStage::Unclaimed if self.forward_write() => Ok(false),
            BackStage::Unclaimed => self.claim_again().map(|()| true),
            BackStage::Draining if !self.touches() => self.release_target().map(|()| true),
            // It turned back while it was letting go, and has let go of some.
            BackStage::Draining if self.lacks_claim() => self.claim_again().map(|()| true),
            BackStage::Draining if self.past_point && self.cancel_next()? => Ok(true),
            BackStage::Draining if self.past_point => self.tidy().map(|()| true),
            BackStage::Draining if by_hand => self.retreat().map(|()| true),
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
                self.retreat().map(|()| true)
            }
            BackStage::Undoing { effect, deadline } if now >= deadline => {
                self.undoing_too_long(effect)
            }
            BackStage::Undoing { .. } => Ok(false),
            // A cluster that can't be looked at keeps nobody from going back.
            BackStage::Looking { deadline } if now >= deadline => {
                self.stop_asking();
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
            BackStage::Looking { .. } | BackStage::Settling { .. } => {
                self.look_if_due()?;
                Ok(false)
            }
            BackStage::Following { taken, .. } if self.followed(taken, self.settle_longest()) => {
                self.traffic_is_back().map(|()| true)
            }
            BackStage::Following { deadline, .. } if now >= deadline => {
                let timeout = self.plan.rollback.step_timeout;
                let reason = format!("the data plane has not followed in {timeout}");
                self.stuck("traffic", reason, false)?;
                Ok(true)
            }
            BackStage::Checking { deadline } if now >= deadline => {
                let timeout = self.plan.rollback.step_timeout;
                let reason =
                    format!("the router has not said within {timeout} how traffic is shared");
                self.stuck("traffic", reason, false)?;
                Ok(true)
            }
            BackStage::Following { .. } | BackStage::Checking { .. } => {
                self.read_if_due()?;
                Ok(false)
            }
            BackStage::Finishing(finish) => self.finishing(finish),
        }
    }

    /// The fields that the run owns, as they were before it.
    fn baseline_fields(&self) -> Fields {
        let settings = &self.hand.baseline.settings;
        let owned = &self.known.owned;
        Fields {
            image: owned.image.as_ref().map(|_| settings.image.clone()),
            replicas: owned.replicas.map(|_| settings.replicas),
            rollout: owned.rollout.as_ref().map(|_| settings.rollout.clone()),
            configs: match owned.configs.is_empty() {
                true => Vec::new(),
                // One whose copy was taken away stable was seen to have again.
                false => {
                    let mut before = self.references_before();
                    before.retain(|wanted| !self.is_gone(wanted));
                    before
                }
            },
        }
    }

    /// The same while pods are replaced: none goes before another serves in its place, whatever the Deployment's own
    /// settings allow. Those come back with the last write.
    fn restored_fields(&self) -> Fields {
        let mut fields = self.baseline_fields();
        let settings = &self.hand.baseline.settings;
        if fields.image.is_some() {
            fields.rollout = settings.rollout.gentle().or(fields.rollout);
        }
        fields
    }

    /// Begins to write stable's settings back. What the run left may have been changed by somebody since it was
    /// last seen - the engine was dead, or they came in between two looks: that isn't written over unseen.
    pub(super) fn restore_what_is_ours(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let seen = self.observation.as_ref();
        let fresh = self.look.last.or(seen.map(|seen| seen.at)) == Some(self.now)
            && seen.is_none_or(|seen| !seen.watched);
        // A template can be somebody's later release though the image is the run's.
        let by_image = back.after_success && !self.owns_template();
        if self.known.looked || by_image || fresh {
            return self.restore();
        }
        self.known.looked = true;
        self.look = Look {
            due: self.now,
            ..Look::default()
        };
        let deadline = self.now.plus(limits::LOOK_FIRST);
        self.set_back(BackStage::Looking { deadline });
        Ok(())
    }

    /// The target was looked at before it is written over.
    fn looked_first(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let left = self.known.image.clone();
        let before = &self.hand.baseline.settings.image;
        let image = &seen.settings.image;
        if seen.uid != self.hand.baseline.uid {
            let reason = "the Deployment was deleted and made anew by somebody else";
            return self.restores_over_others(reason.to_owned());
        }
        let other = *image != left && (back.after_success || image != before);
        if other && !self.keeps_others_image(seen) {
            let reason = format!("the image is {image}, somebody else changed it from {left}");
            return self.restores_over_others(reason);
        }
        if self.owns_template() && !self.is_known_template(&seen.template_digest) {
            let reason = "the pod template was changed by somebody else".to_owned();
            return self.restores_over_others(reason);
        }
        self.stop_asking();
        self.restore()
    }

    /// Whether a template is what the run left, what was there before it, or what it wrote without learning of it.
    fn is_known_template(&self, digest: &String) -> bool {
        *digest == self.known.template_digest
            || *digest == self.hand.baseline.template_digest
            || self.digest_of(&self.references()).as_ref() == Some(digest)
    }

    /// Whether another image of stable stays as it is: where the run has never written it, it is somebody's own way
    /// back and keeps nobody from aborting. The version that the run goes back from is no way back.
    fn keeps_others_image(&mut self, seen: &Observation) -> bool {
        let Mode::Back(back) = &self.mode else {
            return false;
        };
        let image = &seen.settings.image;
        if back.after_success || self.known.owned.image.is_some() || *image == self.hand.image {
            return false;
        }
        let words = format!(
            "the image is {image}, somebody else changed it from {}; this run has not written it, and leaves it as it is",
            self.known.image
        );
        self.known.image.clone_from(image);
        let words = self.about(words);
        self.say("drift-adopted", Level::Warn, words, json!({"image": image}));
        true
    }

    pub(super) fn restore(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let (generation, after_success) = (back.generation, back.after_success);
        let change = Change {
            slot: Slot::Stable,
            fields: self.restored_fields(),
            uid: self.hand.baseline.uid.clone(),
            // Right after the run its own fields are forced; long after, somebody else may have released since.
            expected_image: after_success.then(|| self.known.image.clone()),
            marked: true,
        };
        let effect = self.request(
            format!("rollback/{}restore/{generation}", self.prefix()),
            None,
            Request::Change { change },
        )?;
        self.set_back(BackStage::Restoring { effect });
        Ok(())
    }

    pub(super) fn unmark_back(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let generation = back.generation;
        let before = &self.hand.baseline.settings;
        let mut fields = self.baseline_fields();
        // It is there, and what somebody has changed since is not written over.
        fields
            .configs
            .retain(|wanted| wanted.kind != ConfigKind::Template);
        // A number of pods that somebody else has raised meanwhile isn't lowered again.
        if self.known.ready {
            let seen = self.observation.as_ref().map(|seen| seen.settings.replicas);
            fields.replicas = fields.replicas.max(fields.replicas.and(seen));
        }
        if fields.rollout.is_some() {
            fields.rollout = Some(self.hand.baseline.settings.rollout.clone());
        }
        let change = Change {
            slot: Slot::Stable,
            fields,
            uid: self.hand.baseline.uid.clone(),
            // Since stable was seen ready time has passed, in which somebody may have released.
            expected_image: self
                .known
                .owned
                .image
                .as_ref()
                .map(|_| before.image.clone()),
            marked: false,
        };
        let effect = self.request(
            format!("rollback/{}unmark/{generation}", self.prefix()),
            None,
            Request::Change { change },
        )?;
        self.set_back(BackStage::Removing { effect });
        Ok(())
    }

    pub(super) fn change_made_back(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        match &back.stage {
            BackStage::Restoring { effect: id } if *id == effect.id => {
                self.known.restored = true;
                self.retreat()
            }
            BackStage::Removing { effect: id } if *id == effect.id => {
                self.known.unmarked = true;
                self.retreat()
            }
            BackStage::Finishing(Finish::Tidying { effect: id }) if *id == effect.id => {
                self.known.unmarked = true;
                self.tidy()
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
            BackStage::Restoring { effect: id } | BackStage::Removing { effect: id } => {
                *id == effect.id
            }
            BackStage::Finishing(Finish::Tidying { effect: id }) => *id == effect.id,
            _ => false,
        };
        if !compensates {
            // A forward write that failed: there is nothing of it to undo.
            self.forget(effect.id);
            self.did_not_change(effect);
            return Ok(());
        }
        let restoring = matches!(back.stage, BackStage::Restoring { .. });
        let decision = failure.kind == Kind::Conflict;
        if decision && restoring {
            self.forget(effect.id);
            return self.conflicted_back(failure);
        }
        let attempts = self.again(effect.id, failure);
        let code = json!({"code": failure.code.to_string()});
        self.say_attempt(
            "compensation-failed",
            Level::Error,
            Some(attempts),
            failure.to_string(),
            code,
        );
        if failure.kind.may_pass() && attempts <= self.plan.rollback.retries {
            return Ok(());
        }
        self.forget(effect.id);
        let step = if restoring { "restore" } else { "unmark" };
        self.stuck(step, failure.to_string(), decision)
    }

    /// Writing stable's settings back met somebody else's write: what is there is looked at first, and unless
    /// that is a decision for people, they are written once more.
    fn conflicted_back(&mut self, failure: &Failure) -> Result<(), Illegal> {
        let met = self.known.conflicts.saturating_add(1);
        if met > self.plan.rollback.retries {
            return self.restores_over_others(failure.to_string());
        }
        self.say_attempt(
            "compensation-failed",
            Level::Error,
            Some(met),
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        self.look_after_conflict(met, failure);
        let deadline = self.look.due.plus(limits::LOOK_FIRST);
        self.set_back(BackStage::Looking { deadline });
        Ok(())
    }

    /// Somebody else changed what is to be written back: people decide. Long after success, while nothing was
    /// taken back yet, it stays as it is.
    fn restores_over_others(&mut self, reason: String) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        if back.after_success && !self.undid && !self.known.restored {
            self.stop_asking();
            let reason = format!(
                "the target has changed since the run succeeded; nothing was changed: {reason}"
            );
            return self.refuse_rollback(&reason);
        }
        self.stuck("restore", reason, true)
    }

    pub(super) fn seen_back(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        if back.stuck.is_some() {
            return Ok(());
        }
        match back.stage {
            BackStage::Settling { .. } => {}
            BackStage::Looking { .. } => return self.looked_first(seen),
            _ => return Ok(()),
        }
        let wanted = &self.hand.baseline.settings;
        let owned = &self.known.owned;
        if seen.uid != self.hand.baseline.uid {
            let reason = "the Deployment was deleted and made anew by somebody else";
            return self.stuck("restore", reason.to_owned(), true);
        }
        let kept = match owned.image {
            Some(_) => &wanted.image,
            None => &self.known.image,
        };
        if seen.settings.image != *kept {
            let (image, kept) = (&seen.settings.image, kept.clone());
            if !self.keeps_others_image(seen) {
                let reason = format!("the image is {image}, somebody else changed it from {kept}");
                return self.stuck("restore", reason, true);
            }
        }
        let wanted = &self.hand.baseline.settings;
        let wanted_image = &wanted.image;
        let served = seen.settings.replicas > 0 || wanted.replicas == 0;
        if seen.settled() && served {
            // While a candidate is there, traffic may still go to it.
            let alone = self.serves_alone();
            let now = if alone {
                "serves again"
            } else {
                "can serve all"
            };
            let (ready, wanted) = (seen.ready, seen.settings.replicas);
            let version = match seen.settings.image == *wanted_image {
                true => &self.hand.baseline.version,
                false => &seen.settings.image,
            };
            let words = format!("{version} {now}: {ready} of {wanted} pods ready");
            self.say("restored", Level::Info, self.about(words), Value::Null);
            self.known.ready = true;
            return self.retreat();
        }
        Ok(())
    }
}
