//! What is owed after success and the engine can do itself: removing the old version once its time has come, and the
//! copies of configurations that only it needed.
//!
//! The target is claimed anew, looked at, and only what serves nobody is removed. Whatever goes wrong, the
//! obligation stays, the target is let go, and the run is at its end again.

use serde_json::{Value, json};

use super::limits;
use super::state::{End, Forward, Keep, Keeping, Level, Look, Mode, Obligation};
use super::words::describe;
use super::{Illegal, Run};
use crate::config;
use crate::diagnostic::codes;
use crate::effect::{Effect, Piece, Request};
use crate::event::Identity;
use crate::failure::{Failure, Kind};
use crate::strategy::Slot;
use crate::workload::Observation;

impl Run {
    /// Begins to meet an obligation.
    pub(super) fn keep(&mut self, by: &Identity, number: u32, place: usize) -> Result<(), Illegal> {
        self.take_in_hand(place);
        let generation = self.new_generation()?;
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: by.name.clone(),
        };
        let key = format!("due/{number}/claim/{generation}");
        let effect = self.request(key, None, request)?;
        self.mode = Mode::Forward(Forward::Keeping(Keeping {
            by: by.clone(),
            number,
            generation,
            deadline: self.now.plus(self.plan.rollback.step_timeout),
            stage: Keep::Claiming { effect },
            removed: false,
            arrives: None,
        }));
        Ok(())
    }

    pub(super) fn keeping(&self) -> Option<&Keeping> {
        match &self.mode {
            Mode::Forward(Forward::Keeping(keeping)) => Some(keeping),
            _ => None,
        }
    }

    fn set_keep(&mut self, stage: Keep) {
        if let Mode::Forward(Forward::Keeping(keeping)) = &mut self.mode {
            keeping.stage = stage;
        }
    }

    /// One move, if there is one to make now.
    pub(super) fn keep_on(&mut self) -> Result<bool, Illegal> {
        let Some(keeping) = self.keeping() else {
            return Ok(false);
        };
        let releasing = matches!(keeping.stage, Keep::Releasing { .. });
        if self.now >= keeping.deadline && !releasing {
            self.keep_failed("it was not done in time")?;
            return Ok(true);
        }
        if keeping.stage == Keep::Looking {
            self.look_if_due()?;
        }
        Ok(false)
    }

    pub(super) fn keep_claimed(&mut self) -> Result<(), Illegal> {
        if self.kept_copies().is_some() {
            // Whether anything refers to them is looked at with each: stable's Deployment may be gone.
            return self.keep_remove(Piece::Left(0));
        }
        self.look = Look {
            due: self.now,
            ..Look::default()
        };
        self.set_keep(Keep::Looking);
        Ok(())
    }

    /// The workload whose copies are being removed, if that is what is owed.
    fn kept_copies(&self) -> Option<usize> {
        let number = self.keeping()?.number;
        let mut owed = self.obligations.iter();
        owed.find(|owed| owed.number == number)?.removes_copies
    }

    /// The target was looked at: only what serves nobody is removed.
    pub(super) fn keep_seen(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Some(keeping) = self.keeping() else {
            return Ok(());
        };
        if keeping.stage != Keep::Looking {
            return Ok(());
        }
        if let Some(what) = self.used_again(self.in_hand, seen) {
            return self.keep_failed(&what);
        }
        let autoscaler = self.hand.baseline.autoscaler.is_some();
        self.stop_asking();
        self.keep_remove(if autoscaler {
            Piece::Autoscaler
        } else {
            Piece::Deployment
        })
    }

    /// Why what an obligation would remove is not to be removed, if it was seen to be in use again.
    #[must_use]
    pub fn in_use_again(&self, owed: &Obligation, seen: &Observation) -> Option<String> {
        self.used_again(owed.removes?, seen)
    }

    /// Whether the old Deployment serves again, or isn't what the run left.
    fn used_again(&self, place: usize, seen: &Observation) -> Option<String> {
        let workload = self.plan.workload(place)?;
        let left = &self.known_of(place)?.image;
        let serves = seen.settings.replicas > 0 || seen.total > 0;
        let other = seen.uid != workload.baseline.uid || seen.settings.image != *left;
        (serves || other).then(|| {
            let name = &workload.target.deployment;
            format!("Deployment {name} is in use again: somebody has changed it since")
        })
    }

    fn keep_remove(&mut self, piece: Piece) -> Result<(), Illegal> {
        let what = match piece {
            Piece::Autoscaler => "remove-autoscaler".to_owned(),
            Piece::Left(place) => format!("remove-copy-{place}"),
            _ => "remove-deployment".to_owned(),
        };
        if matches!(piece, Piece::Left(_)) {
            // From now on the way back may lack something.
            self.known.removed = true;
        }
        let Some(keeping) = self.keeping() else {
            return Ok(());
        };
        let key = format!("due/{}/{what}/{}", keeping.number, keeping.generation);
        let slot = Slot::Stable;
        let effect = self.request(key, None, Request::Remove { slot, piece })?;
        self.set_keep(Keep::Removing { effect });
        Ok(())
    }

    pub(super) fn keep_removed(&mut self, effect: &Effect) -> Result<(), Illegal> {
        if let Request::Remove {
            piece: Piece::Autoscaler,
            ..
        } = effect.request
        {
            return self.keep_remove(Piece::Deployment);
        }
        if let Request::Remove {
            piece: Piece::Left(place),
            ..
        } = effect.request
        {
            let next = place.saturating_add(1);
            if next < config::left(&self.hand.configs).len() {
                return self.keep_remove(Piece::Left(next));
            }
        }
        self.known.removed = true;
        if let Mode::Forward(Forward::Keeping(keeping)) = &mut self.mode {
            keeping.removed = true;
        }
        self.keep_release()
    }

    fn keep_release(&mut self) -> Result<(), Illegal> {
        let Some(keeping) = self.keeping() else {
            return Ok(());
        };
        let key = format!("due/{}/release/{}", keeping.number, keeping.generation);
        let arrives = keeping.arrives.filter(|until| *until > self.now);
        let arrives = arrives.filter(|_| !keeping.removed);
        let effect = self.request(key, None, Request::Release { to: None })?;
        self.release_when_it_can(effect, self.in_hand);
        if let Some(until) = arrives {
            self.waits_until(effect, until);
        }
        self.set_keep(Keep::Releasing { effect });
        Ok(())
    }

    /// Ends it: the obligation is met, or stays.
    pub(super) fn keep_over(&mut self) {
        let Some(keeping) = self.keeping().cloned() else {
            return;
        };
        let now = self.now;
        self.mode = Mode::Ended(End::Succeeded);
        if !keeping.removed {
            return;
        }
        let mut owed = self.obligations.iter_mut();
        if let Some(owed) = owed.find(|owed| owed.number == keeping.number) {
            owed.discharged = Some((keeping.by, now));
            let words = format!("done: {}", owed.task);
            self.say(
                "discharged",
                Level::Info,
                words,
                json!({"number": keeping.number}),
            );
        }
    }

    /// It can't be done now. What holds the target lets go of it.
    pub(super) fn keep_failed(&mut self, reason: &str) -> Result<(), Illegal> {
        self.say("due-failed", Level::Error, reason, Value::Null);
        // A removal of a Deployment of which nobody knows whether it arrives is not waited for: its version fences it.
        self.outstanding
            .retain(|_, outstanding| outstanding.is_notice());
        self.stop_asking();
        if self.claimed.is_empty() && self.claim_arrives.is_empty() {
            self.keep_over();
            return Ok(());
        }
        self.keep_release()
    }

    /// A removal was sent and not answered.
    pub(super) fn keep_lost(&mut self, effect: &Effect) {
        let until = self.now.plus(limits::ARRIVES);
        if let Request::Remove {
            piece: Piece::Left(_),
            ..
        } = effect.request
            && let Mode::Forward(Forward::Keeping(keeping)) = &mut self.mode
        {
            keeping.arrives = Some(until);
        }
    }

    /// Nothing was removed, and nothing will be: the way back lacks nothing.
    fn nothing_removed(&mut self, effect: &Effect, failure: &Failure) {
        let first = matches!(
            effect.request,
            Request::Remove {
                piece: Piece::Left(0),
                ..
            }
        );
        let sure = self.keeping().is_some_and(|it| it.arrives.is_none());
        if first && sure && !failure.kind.may_pass() {
            self.known.removed = false;
        }
    }

    /// One of its writes failed.
    pub(super) fn keep_write_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if matches!(failure.kind, Kind::Retryable | Kind::Timeout) {
            self.keep_lost(effect);
        }
        self.nothing_removed(effect, failure);
        let attempts = self.again(effect.id, failure);
        self.say_attempt(
            "change-failed",
            Level::Warn,
            Some(attempts),
            format!("{}: {failure}", describe(&effect.request)),
            json!({"code": failure.code.to_string()}),
        );
        let passes = failure.kind.may_pass() && failure.code != codes::TARGET_BUSY;
        if passes && attempts < limits::WRITE_ATTEMPTS {
            return Ok(());
        }
        self.forget(effect.id);
        if !matches!(effect.request, Request::Release { .. }) {
            return self.keep_failed(&failure.to_string());
        }
        self.leave_claim(effect.workload);
        self.keep_over();
        Ok(())
    }
}
