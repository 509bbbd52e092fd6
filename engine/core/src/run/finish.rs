//! The last things, on either way: the marks come off, the target is let go, people are told.

use serde_json::{Value, json};

use super::limits;
use super::state::{BackStage, Finish, Forward, Level, Mode, Phase};
use super::{Illegal, Run};
use crate::effect::{Change, Effect, Id, Request};
use crate::failure::Failure;
use crate::time::Timestamp;

impl Run {
    pub(super) fn finish_forward(&mut self) -> Result<(), Illegal> {
        self.stop_asking();
        if !self.known.changed {
            return self.release_target();
        }
        let mut fields = self.known.owned.clone();
        if fields.rollout.is_some() {
            fields.rollout = Some(self.plan.baseline.settings.rollout.clone());
        }
        let change = Change {
            fields,
            uid: self.plan.baseline.uid.clone(),
            expected_image: Some(self.known.image.clone()),
            marked: false,
        };
        let effect = self.request("finish/unmark".to_owned(), None, Request::Change { change })?;
        self.mode = Mode::Forward(Forward::Finishing(Finish::Unmarking { effect }));
        Ok(())
    }

    /// Lets go of the target, on either way. A claim that was sent and not answered is let go of as well,
    /// and not before it can't arrive any more: it would be left behind.
    pub(super) fn release_target(&mut self) -> Result<(), Illegal> {
        let finish = if self.claimed || self.claim_arrives.is_some() {
            let key = match &self.mode {
                Mode::Back(back) => format!("rollback/release/{}", back.generation),
                Mode::Forward(_) | Mode::Ended(_) => "finish/release".to_owned(),
            };
            let effect = self.request(key, None, Request::Release)?;
            if let Some(until) = self.claim_arrives.filter(|until| *until > self.now) {
                self.release_waits(effect, until);
            }
            Finish::Releasing { effect }
        } else {
            self.closing_notice()?;
            Finish::Closing
        };
        self.set_finish(finish);
        Ok(())
    }

    fn release_waits(&mut self, effect: Id, until: Timestamp) {
        let waiting = Phase::Waiting {
            until,
            probe: false,
        };
        self.set_phase(effect, waiting);
        self.is_back();
        let words = format!(
            "a claim that was not answered may arrive until {until}; the target is let go of then"
        );
        self.say("release-waits", Level::Info, words, json!({"until": until}));
    }

    /// The way back is done but for what doesn't count: waiting for a claim that may arrive, and whom it takes long to tell.
    fn is_back(&mut self) {
        if let Mode::Back(back) = &self.mode {
            let took = self.now.since(back.since);
            self.rollback_took.get_or_insert(took);
        }
    }

    pub(super) fn set_finish(&mut self, finish: Finish) {
        match &mut self.mode {
            Mode::Forward(forward) => *forward = Forward::Finishing(finish),
            Mode::Back(back) => back.stage = BackStage::Finishing(finish),
            Mode::Ended(_) => {}
        }
    }

    pub(super) fn released(&mut self) -> Result<(), Illegal> {
        self.claimed = false;
        self.say("released", Level::Info, "let go of the target", Value::Null);
        if self.draining() {
            // The run turned back while it was letting go: it must hold the target to write.
            return self.claim_again();
        }
        self.is_back();
        self.no_claim_arrives();
        self.closing_notice()?;
        self.set_finish(Finish::Closing);
        Ok(())
    }

    pub(super) fn release_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if self.draining() {
            // The run turned back while it was letting go, and so it still holds the target.
            self.forget(effect.id);
            return Ok(());
        }
        let attempts = self.again(effect.id, failure);
        self.say_attempt(
            "release-failed",
            Level::Warn,
            Some(attempts),
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        if attempts > self.finish_attempts() {
            return self.finish_without(effect);
        }
        Ok(())
    }

    fn draining(&self) -> bool {
        matches!(&self.mode, Mode::Back(back) if back.stage == BackStage::Draining)
    }

    /// Attempts at one of the last writes before the run ends without it.
    pub(super) fn finish_attempts(&self) -> u32 {
        let retries = self.plan.rollback.retries;
        retries.saturating_add(limits::WRITE_ATTEMPTS)
    }

    /// Ends without one of the last writes, which keeps failing.
    pub(super) fn finish_without(&mut self, effect: &Effect) -> Result<(), Illegal> {
        self.forget(effect.id);
        if matches!(effect.request, Request::Change { .. }) {
            self.say(
                "marks-left",
                Level::Warn,
                "the run's marks and rollout settings stay on the Deployment",
                Value::Null,
            );
            return self.release_target();
        }
        self.say(
            "claim-left",
            Level::Error,
            "the target may still be claimed by this run; `phasegate lock break` frees it",
            Value::Null,
        );
        self.closing_notice()?;
        self.set_finish(Finish::Closing);
        Ok(())
    }

    /// One move in the last part, on either way.
    pub(super) fn finishing(&mut self, finish: Finish) -> Result<bool, Illegal> {
        if finish != Finish::Closing || !self.outstanding.is_empty() {
            return Ok(false);
        }
        let end = self.end_reached();
        self.ended(end);
        Ok(true)
    }
}
