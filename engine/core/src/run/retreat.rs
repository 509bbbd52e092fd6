//! What is put back, and in which order: stable's capacity, ready; then traffic, settled; then the candidate
//! goes; then what the run held and marked. Workload by workload, the last one first.

use serde_json::json;

use super::state::{Back, BackStage, Finish, Known, Level, Look, Mode};
use super::words::describe;
use super::{Illegal, Run};
use crate::effect::{Effect, Id, Piece, Request};
use crate::failure::{Failure, Kind};
use crate::strategy::Slot;

impl Run {
    /// Takes another workload in hand.
    pub(super) fn take_in_hand(&mut self, place: usize) {
        if place == self.in_hand {
            return;
        }
        let Some(workload) = self.plan.workload(place).cloned() else {
            return;
        };
        let known = self
            .parked
            .remove(&place)
            .unwrap_or_else(|| Known::of(&workload));
        let before = std::mem::replace(&mut self.known, known);
        self.parked.insert(self.in_hand, before);
        self.in_hand = place;
        self.hand = workload.into();
        self.observation = None;
        // Gates that are still asked are about the workload before: this one may not even have changed.
        self.stop_asking();
    }

    /// What is known of a workload, whichever is in hand; none of one that was never taken in hand.
    pub(super) fn known_of(&self, place: usize) -> Option<&Known> {
        if place == self.in_hand {
            Some(&self.known)
        } else {
            self.parked.get(&place)
        }
    }

    /// Whether anything is or was other than before the run.
    pub(super) fn changed(&self) -> bool {
        self.undid || self.touches()
    }

    /// Whether anything may be other than before the run now.
    pub(super) fn touches(&self) -> bool {
        self.acted() || self.known.touched() || self.parked.values().any(Known::touched)
    }

    /// Whether the target of a workload that has to go back isn't held.
    pub(super) fn lacks_claim(&self) -> bool {
        let touched =
            |place: usize| self.acted_on(place) || self.known_of(place).is_some_and(Known::touched);
        (0..self.plan.workloads.len()).any(|place| touched(place) && !self.claimed.contains(&place))
    }

    /// Begins the way back of every workload anew.
    pub(super) fn nothing_is_back(&mut self) {
        let stays = self.past_point;
        for known in self.parked.values_mut().chain([&mut self.known]) {
            known.unmarked = false;
            known.candidate_unmarked = false;
            known.promoted &= stays;
            known.keep = known.keep.filter(|_| stays);
            known.back = false;
            known.restored = false;
            known.looked = false;
            known.ready = false;
            known.checked = false;
            known.traffic.failures = 0;
            known.conflicts = 0;
        }
    }

    /// Asks for the next thing on the way back.
    pub(super) fn retreat(&mut self) -> Result<(), Illegal> {
        if self.undo_next(true)? {
            return Ok(());
        }
        for place in (0..self.plan.workloads.len()).rev() {
            let known = self.known_of(place);
            if known.is_some_and(|known| known.touched() && !known.back) {
                self.take_in_hand(place);
                return self.retreat_in_hand();
            }
        }
        if self.undo_next(false)? {
            return Ok(());
        }
        self.release_target()
    }

    fn retreat_in_hand(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let known = &self.known;
        let after_success = back.after_success;
        if known.traffic.touched && after_success && !known.checked {
            self.reading = Look {
                due: self.now,
                ..Look::default()
            };
            let deadline = self.now.plus(self.plan.rollback.step_timeout);
            self.set_back(BackStage::Checking { deadline });
            return Ok(());
        }
        if known.changed && !known.restored {
            return self.restore_what_is_ours();
        }
        if self.needs_stable() && !self.known.ready {
            let deadline = self.now.plus(self.plan.rollback.step_timeout);
            self.look = Look {
                due: self.now,
                ..Look::default()
            };
            self.set_back(BackStage::Settling { deadline });
            return Ok(());
        }
        if self.known.traffic.touched {
            return self.unroute();
        }
        match self.next_to_undo() {
            Some((what, request)) => {
                let Mode::Back(back) = &self.mode else {
                    return Ok(());
                };
                // Each copy has a key of its own.
                let what = match &request {
                    Request::Remove {
                        piece: Piece::Config(place),
                        ..
                    } => format!("{what}-{place}"),
                    _ => what.to_owned(),
                };
                let key = format!("rollback/{}{what}/{}", self.prefix(), back.generation);
                let effect = self.request(key, None, request)?;
                self.carry_failures(effect);
                self.set_back(BackStage::Removing { effect });
                Ok(())
            }
            None if self.known.changed && !self.known.unmarked => self.unmark_back(),
            None => {
                self.known.back = true;
                self.retreat()
            }
        }
    }

    /// What names the workload in keys, where there are several.
    pub(super) fn prefix(&self) -> String {
        if self.plan.workloads.len() > 1 {
            format!("{}/", self.hand.name)
        } else {
            String::new()
        }
    }

    /// Says which workload it is about, where there are several and no step's name says so.
    pub(super) fn about(&self, words: String) -> String {
        if self.plan.workloads.len() > 1 && self.here().1.is_none() {
            format!("{}: {words}", self.hand.name)
        } else {
            words
        }
    }

    /// Whether stable must be able to carry everything before the next thing is taken away.
    fn needs_stable(&self) -> bool {
        let known = &self.known;
        let shares = self.hand.router.is_none() && known.pieces.contains(&Piece::Deployment);
        known.changed || known.traffic.touched || shares
    }

    fn unroute(&mut self) -> Result<(), Illegal> {
        let Mode::Back(Back { generation, .. }) = &self.mode else {
            return Ok(());
        };
        let snapshot = self.known.traffic.snapshot.clone().unwrap_or_default();
        let key = format!("rollback/{}traffic/{generation}", self.prefix());
        let effect = self.request(key, None, Request::Unroute { snapshot })?;
        self.carry_failures(effect);
        self.set_back(BackStage::Unrouting { effect });
        Ok(())
    }

    /// Attempts that failed before both sides were looked at again count on.
    fn carry_failures(&mut self, effect: Id) {
        let failures = std::mem::take(&mut self.known.traffic.failures);
        if let Some(outstanding) = self.outstanding.get_mut(&effect) {
            outstanding.failures = failures;
        }
    }

    /// After traffic has left the candidate: its pieces, then what they referred to, then the autoscaler's minimum.
    fn next_to_undo(&self) -> Option<(&'static str, Request)> {
        let unmade = self.next_to_unmake().or_else(|| self.next_copy_to_remove());
        unmade.or_else(|| {
            self.known.minimum?;
            let minimum = self.recorded_minimum()?;
            let slot = Slot::Stable;
            Some(("bound", Request::Bound { slot, minimum }))
        })
    }

    /// Traffic is as before the run.
    pub(super) fn traffic_is_back(&mut self) -> Result<(), Illegal> {
        self.known.traffic.touched = false;
        self.undid = true;
        let split = self.known.traffic.split.clone();
        let words = self.about(format!("traffic is as before the run: {split}"));
        let data = json!({"asked": split, "read": self.known.traffic.reading});
        self.say("traffic", Level::Info, words, data);
        self.retreat()
    }

    /// A compensation took place: the next one follows.
    pub(super) fn went_back(&mut self, effect: &Effect) -> Result<(), Illegal> {
        match &self.mode {
            Mode::Back(Back {
                stage: BackStage::Removing { effect: id },
                ..
            }) if *id == effect.id => self.retreat(),
            Mode::Back(Back {
                stage: BackStage::Finishing(Finish::Tidying { effect: id }),
                ..
            }) if *id == effect.id => self.tidy(),
            // A write of the way forward that had been under way: it is undone next.
            _ => Ok(()),
        }
    }

    /// A compensation beside stable's own failed. It is tried again; in the end people are called.
    pub(super) fn compensation_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(());
        };
        let compensates = match &back.stage {
            BackStage::Unrouting { effect: id } | BackStage::Removing { effect: id } => {
                *id == effect.id
            }
            _ => self.tidies(effect.id),
        };
        if compensates && self.sweeps(&effect.request) && failure.kind == Kind::Conflict {
            // What stands there now isn't this run's.
            return self.sweep_over(effect);
        }
        if !compensates {
            // A write of the way forward that failed: what it may have made is undone in any case.
            self.forget(effect.id);
            self.did_not_change(effect);
            return Ok(());
        }
        let attempts = self.again(effect.id, failure);
        self.say_attempt(
            "compensation-failed",
            Level::Error,
            Some(attempts),
            format!("{}: {failure}", describe(&effect.request)),
            json!({"code": failure.code.to_string()}),
        );
        let decision = failure.kind == Kind::Conflict;
        if failure.kind.may_pass() && attempts <= self.plan.rollback.retries {
            return Ok(());
        }
        let tidies = self.tidies(effect.id);
        self.forget(effect.id);
        let step = if tidies {
            "unmark"
        } else {
            undoes(&effect.request)
        };
        self.stuck(step, failure.to_string(), decision)
    }
}

/// The name by which people skip a compensation.
pub(super) const fn undoes(request: &Request) -> &'static str {
    match request {
        Request::Unroute { .. } | Request::Route { .. } | Request::Reading => "traffic",
        Request::Create { .. } | Request::Remove { .. } => "remove",
        Request::Bound { .. } => "autoscaler",
        Request::Change { change } if !change.slot.is_stable() => "remove",
        Request::Change { change } if !change.marked => "unmark",
        Request::Release { .. } => "release",
        Request::Claim { .. } => "claim",
        _ => "restore",
    }
}
