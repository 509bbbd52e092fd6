//! Taking hold of the target, on either way.

use serde_json::{Value, json};

use super::limits;
use super::state::{BackStage, Cause, Forward, Level, Mode, Phase};
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Effect, Id, Request, Severity};
use crate::failure::Failure;

impl Run {
    pub(super) fn start(&mut self) -> Result<bool, Illegal> {
        let effect = self.claim_next("claim")?.unwrap_or(Id(0));
        let deadline = self.now.plus(self.plan.rollback.step_timeout);
        self.mode = Mode::Forward(Forward::Claiming { effect, deadline });
        Ok(true)
    }

    /// Asks for the next target that isn't held yet; none where all are.
    fn claim_next(&mut self, key: &str) -> Result<Option<Id>, Illegal> {
        let mut places = self.plan.claims().into_iter();
        let Some(place) = places.find(|place| !self.claimed.contains(place)) else {
            return Ok(None);
        };
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let key = format!("{key}{}", self.suffix(place));
        self.request_of(place, key, None, request).map(Some)
    }

    /// The target of a workload, in words.
    pub(super) fn target_of(&self, place: usize) -> String {
        let workload = self.plan.workload(place);
        workload.map_or_else(String::new, |workload| workload.target.to_string())
    }

    /// What tells the keys of several workloads apart.
    pub(super) fn suffix(&self, place: usize) -> String {
        match self.plan.workload(place) {
            Some(workload) if self.plan.workloads.len() > 1 => format!("/{}", workload.name),
            _ => String::new(),
        }
    }

    pub(super) fn claim_taken(&mut self, effect: &Effect) -> Result<(), Illegal> {
        self.claimed.insert(effect.workload);
        self.claims_left.remove(&effect.workload);
        let target = self.target_of(effect.workload);
        self.say(
            "claimed",
            Level::Info,
            format!("holds {target}"),
            json!({"target": target}),
        );
        if self.keeping().is_some() {
            return self.keep_claimed();
        }
        match &mut self.mode {
            Mode::Forward(_) if self.claimed.len() < self.plan.workloads.len() => {
                self.start().map(|_| ())
            }
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
        if self.keeping().is_some() {
            return self.keep_write_failed(effect, failure);
        }
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

    /// A claim was sent and not answered.
    pub(super) fn claim_lost(&mut self, workload: usize) {
        let until = self.now.plus(limits::ARRIVES);
        let lost = self.claim_arrives.entry(workload).or_insert((0, until));
        *lost = (lost.0.saturating_add(1), until);
    }

    /// A probe has found one of those that were not answered: it won't arrive once more.
    pub(super) fn claim_found(&mut self, workload: usize) {
        if let Some((count, _)) = self.claim_arrives.get_mut(&workload) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.no_claim_arrives(workload);
            }
        }
    }

    /// None is to arrive any more.
    pub(super) fn no_claim_arrives(&mut self, workload: usize) {
        self.claim_arrives.remove(&workload);
    }

    /// The target was let go of: it must be held again before anything is written.
    pub(super) fn claim_again(&mut self) -> Result<(), Illegal> {
        let generation = self.new_generation()?;
        self.claim_more(generation)
    }

    fn claim_more(&mut self, generation: u32) -> Result<(), Illegal> {
        let Some(effect) = self.claim_next(&format!("rollback/claim/{generation}"))? else {
            self.set_back(BackStage::Draining);
            return Ok(());
        };
        if let Mode::Back(back) = &mut self.mode {
            back.after_success = true;
            back.generation = generation;
            back.stage = BackStage::Claiming { effect };
        }
        Ok(())
    }

    /// The places of the workloads whose claim must be there, since the run has not begun to let go of it.
    pub fn must_hold(&self) -> impl Iterator<Item = usize> + '_ {
        let sent = |place: usize| {
            let mut releases = self.outstanding.values().filter(move |o| {
                o.effect.workload == place && matches!(o.effect.request, Request::Release { .. })
            });
            releases.any(|o| !matches!(o.phase, Phase::Ready | Phase::Given))
        };
        self.held().filter(move |place| !sent(*place))
    }

    /// Somebody broke the claim, and another run may have released since. What the run has written is
    /// not undone over that unasked: people are called, and nothing is written before they have decided.
    pub(super) fn unclaimed(&mut self, workload: usize, by: Option<&str>) -> Result<(), Illegal> {
        if !self.claimed.remove(&workload) {
            return Err(self.illegal("the loss of a claim that the run does not have"));
        }
        let target = self.plan.workload(workload);
        let target = target.map_or_else(String::new, |workload| workload.target.to_string());
        let reason = match by {
            Some(run) => format!("run {run} holds {target} now: the claim of this run was broken"),
            None => format!("the claim of this run on {target} is gone: it was broken"),
        };
        self.say(
            "claim-lost",
            Level::Error,
            reason.clone(),
            json!({"target": target}),
        );
        if self.keeping().is_some() {
            return self.keep_failed(&reason);
        }
        if matches!(self.mode, Mode::Forward(_)) {
            self.go_back(Cause {
                by: None,
                reason: reason.clone(),
                step: None,
                superseded_by: None,
            })?;
        }
        if !self.touches() && !self.forward_write() {
            // Nothing is to be undone, and so nothing is to be decided.
            return Ok(());
        }
        // What was to be asked for later is asked for anew once the target is held again.
        self.outstanding.retain(|_, outstanding| {
            outstanding.is_notice()
                || !matches!(outstanding.phase, Phase::Waiting { probe: false, .. })
        });
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.unclaimed = true;
        back.stage = BackStage::Unclaimed;
        self.stuck("claim", reason, true)
    }

    /// Takes nothing back: since the run succeeded the target has become somebody else's.
    pub(super) fn refuse_rollback(&mut self, reason: &str) -> Result<(), Illegal> {
        if let Mode::Back(back) = &mut self.mode
            && back.unclaimed
        {
            // It has not succeeded, and so it does not end as if it had.
            back.stage = BackStage::Unclaimed;
            return self.stuck("claim", reason.to_owned(), true);
        }
        self.say("rollback-refused", Level::Error, reason, Value::Null);
        self.cause = None;
        if let Mode::Back(back) = &mut self.mode {
            back.refused = true;
            back.cause.reason = format!("refused: {reason}");
        }
        self.release_target()
    }

    pub(super) fn claim_taken_back(&mut self) -> Result<(), Illegal> {
        match &self.mode {
            Mode::Back(back) if matches!(back.stage, BackStage::Claiming { .. }) => {
                let generation = back.generation;
                self.claim_more(generation)
            }
            _ => Ok(()),
        }
    }
}
