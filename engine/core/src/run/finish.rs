//! The last things, on either way: the marks come off, the target is let go, people are told.

use serde_json::{Value, json};

use super::limits;
use super::retreat::undoes;
use super::state::{BackStage, Finish, Forward, Level, Mode, Phase};
use super::words::describe;
use super::{Illegal, Run};
use crate::config::ConfigKind;
use crate::effect::{Change, Effect, Fields, Id, Piece, Request};
use crate::failure::Failure;
use crate::strategy::Slot;
use crate::time::Timestamp;

impl Run {
    pub(super) fn finish_forward(&mut self) -> Result<(), Illegal> {
        self.stop_asking();
        self.tidy()
    }

    /// Puts in order what the run leaves behind, one thing at a time and one workload after the other; then
    /// lets go. On the way back only past the point of no return, where things stay as they are.
    pub(super) fn tidy(&mut self) -> Result<(), Illegal> {
        for place in 0..self.plan.workloads.len() {
            self.take_in_hand(place);
            if let Some((what, request)) = self.next_to_tidy() {
                let key = match &self.mode {
                    Mode::Back(back) => {
                        format!("rollback/{}{what}/{}", self.prefix(), back.generation)
                    }
                    Mode::Forward(_) | Mode::Ended(_) => format!("finish/{}{what}", self.prefix()),
                };
                let effect = self.request(key, None, request)?;
                self.set_finish(Finish::Tidying { effect });
                return Ok(());
            }
        }
        self.release_target()
    }

    /// Whether that is the write by which a run that stays forward puts in order what it leaves.
    pub(super) fn tidies(&self, id: Id) -> bool {
        let Mode::Back(back) = &self.mode else {
            return false;
        };
        matches!(back.stage, BackStage::Finishing(Finish::Tidying { effect }) if effect == id)
    }

    fn next_to_tidy(&self) -> Option<(&'static str, Request)> {
        let known = &self.known;
        if known.changed && !known.unmarked {
            let mut fields = known.owned.clone();
            // It is there, and what somebody has changed since is not written over.
            fields
                .configs
                .retain(|wanted| wanted.kind != ConfigKind::Template);
            if fields.rollout.is_some() {
                fields.rollout = Some(self.hand.baseline.settings.rollout.clone());
            }
            let change = Change {
                slot: Slot::Stable,
                fields,
                uid: self.hand.baseline.uid.clone(),
                expected_image: Some(known.image.clone()),
                marked: false,
            };
            return Some(("unmark", Request::Change { change }));
        }
        if let (Some(minimum), Some(_)) = (self.recorded_minimum(), known.minimum) {
            let slot = Slot::Stable;
            return Some(("bound", Request::Bound { slot, minimum }));
        }
        if !known.promoted {
            return None;
        }
        let slot = Slot::Candidate;
        if let (Some(minimum), Some(asked)) = (self.recorded_minimum(), known.candidate_minimum)
            && asked != minimum
        {
            return Some(("bound-candidate", Request::Bound { slot, minimum }));
        }
        if known.made.contains(&Piece::Deployment) && !known.candidate_unmarked {
            let change = self.candidate_change(Fields::default(), false);
            return Some(("unmark-candidate", Request::Change { change }));
        }
        let piece = Piece::Service;
        let preview = known.pieces.contains(&piece);
        preview.then_some(("remove-service", Request::Remove { slot, piece }))
    }

    /// Lets go of the target, on either way. A claim that was sent and not answered is let go of as well,
    /// and not before it can't arrive any more: it would be left behind.
    pub(super) fn release_target(&mut self) -> Result<(), Illegal> {
        if self.undo_late()? || self.sweep()? {
            return Ok(());
        }
        let arriving = self.claim_arrives.keys().next_back();
        let finish = if let Some(place) = self.claimed.last().or(arriving).copied() {
            let suffix = self.suffix(place);
            let key = match &self.mode {
                Mode::Back(back) => format!("rollback/release/{}{suffix}", back.generation),
                Mode::Forward(_) | Mode::Ended(_) => format!("finish/release{suffix}"),
            };
            let to = self.successor_at(place);
            let effect = self.request_of(place, key, None, Request::Release { to })?;
            self.release_when_it_can(effect, place);
            Finish::Releasing { effect }
        } else {
            self.closing_notice()?;
            Finish::Closing
        };
        self.set_finish(finish);
        Ok(())
    }

    /// A release waits until a claim that was not answered can't arrive any more.
    pub(super) fn release_when_it_can(&mut self, effect: Id, place: usize) {
        let arrives = self.claim_arrives.get(&place).copied();
        if let Some((_, until)) = arrives.filter(|(_, until)| *until > self.now) {
            self.release_waits(effect, until);
        }
    }

    /// Asks for the effect not before then, which isn't counted as time that the way back takes.
    pub(super) fn waits_until(&mut self, effect: Id, until: Timestamp) {
        let waiting = Phase::Waiting {
            until,
            probe: false,
        };
        self.set_phase(effect, waiting);
        self.is_back();
    }

    fn release_waits(&mut self, effect: Id, until: Timestamp) {
        self.waits_until(effect, until);
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

    pub(super) fn released(&mut self, effect: &Effect) -> Result<(), Illegal> {
        self.claimed.remove(&effect.workload);
        let target = self.plan.workload(effect.workload);
        let target = target.map_or_else(String::new, |workload| workload.target.to_string());
        match &effect.request {
            Request::Release { to: Some(to) } => {
                let words = format!("{target} is kept for {} now", to.run);
                let data = json!({"run": to.run, "target": target});
                self.say("handed-over-to", Level::Info, words, data);
            }
            _ => {
                let words = format!("let go of {target}");
                self.say("released", Level::Info, words, json!({"target": target}));
            }
        }
        if self.keeping().is_some() {
            self.keep_over();
            return Ok(());
        }
        if self.draining() {
            // The run turned back while it was letting go: it must hold the target to write.
            return self.claim_again();
        }
        self.no_claim_arrives(effect.workload);
        if !self.claimed.is_empty() || !self.claim_arrives.is_empty() {
            return self.release_target();
        }
        self.is_back();
        self.closing_notice()?;
        self.set_finish(Finish::Closing);
        Ok(())
    }

    pub(super) fn release_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if self.keeping().is_some() {
            return self.keep_write_failed(effect, failure);
        }
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
        if !matches!(self.mode, Mode::Back(_)) {
            if attempts > self.finish_attempts() {
                return self.finish_without(effect);
            }
            return Ok(());
        }
        self.is_back();
        if failure.kind.may_pass() && attempts <= self.finish_attempts() {
            return Ok(());
        }
        // Whoever reads that a run is rolled back takes its target for free: with the claim there, it isn't.
        self.forget(effect.id);
        self.stuck(undoes(&effect.request), failure.to_string(), false)
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
        self.give_up(&effect.request);
        if !matches!(effect.request, Request::Release { .. }) {
            self.say(
                "marks-left",
                Level::Warn,
                format!(
                    "the run's marks and settings stay on the objects: it could not {}",
                    describe(&effect.request)
                ),
                Value::Null,
            );
            return self.release_target();
        }
        self.leave_claim(effect.workload);
        self.release_target()
    }

    /// Gives up letting go of a target: the journal says so, and the end does.
    pub(super) fn leave_claim(&mut self, place: usize) {
        self.claimed.remove(&place);
        self.no_claim_arrives(place);
        self.claims_left.insert(place);
        let target = self.target_of(place);
        let words = format!(
            "{target} may still be claimed by this run; `phasegate lock break {target}` frees it"
        );
        self.say("claim-left", Level::Error, words, json!({"target": target}));
    }

    /// What the end has to say of claims that were left.
    pub(super) fn left_in_words(&self) -> Option<String> {
        let left: Vec<_> = self
            .claims_left()
            .map(|place| self.target_of(place))
            .collect();
        (!left.is_empty()).then(|| {
            let left = left.join(", ");
            format!("may still be claimed: {left}")
        })
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
