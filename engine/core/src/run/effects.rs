//! What happens to a request between being asked for and its outcome.
//!
//! A request that changes something is handed out, journalled as an intent, performed, and its outcome
//! journalled. Where the outcome is missing - the answer was lost, or the engine died - it is probed
//! before anything else is done about it. A read has no intent; it is asked again.

use std::sync::Arc;

use serde_json::json;

use super::limits::{self, backoff};
use super::state::{Forward, Level, Mode, Outstanding, Phase};
use super::words::describe;
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Action, Direction, Done, Effect, Id, Outcome, Progress, Request};
use crate::failure::{Failure, Kind};
use crate::time::Timestamp;

impl Outstanding {
    pub(super) const fn is_notice(&self) -> bool {
        matches!(self.effect.request, Request::Notify { .. })
    }
}

impl Run {
    /// Asks for an effect. It is handed out when the present event has been taken in.
    pub(super) fn request(
        &mut self,
        key: String,
        step: Option<String>,
        request: Request,
    ) -> Result<Id, Illegal> {
        self.request_of(self.in_hand, key, step, request)
    }

    /// The same about another workload than the one in hand.
    pub(super) fn request_of(
        &mut self,
        workload: usize,
        key: String,
        step: Option<String>,
        request: Request,
    ) -> Result<Id, Illegal> {
        if self.outstanding.len() >= limits::OUTSTANDING {
            return Err(Illegal::Limit("effects without an outcome"));
        }
        let id = Id(self.next_effect);
        self.next_effect = self.next_effect.saturating_add(1);
        let direction = match self.mode {
            Mode::Back(_) => Direction::Back,
            Mode::Forward(_) | Mode::Ended(_) => Direction::Forward,
        };
        let key = format!("{}/{key}", self.id);
        let effect = Effect {
            id,
            key,
            direction,
            step,
            workload,
            request,
        };
        self.outstanding.insert(
            id,
            Outstanding {
                effect,
                phase: Phase::Ready,
                failures: 0,
            },
        );
        Ok(id)
    }

    /// Forgets an effect whose outcome doesn't matter any more.
    pub(super) fn forget(&mut self, id: Id) {
        self.outstanding.remove(&id);
    }

    /// Forgets everything on the way forward that can't have changed anything.
    pub(super) fn forget_forward(&mut self) {
        let mut unmade = Vec::new();
        self.outstanding.retain(|_, outstanding| {
            if outstanding.is_notice() {
                return true;
            }
            let sure = matches!(
                outstanding.phase,
                Phase::Ready | Phase::Given | Phase::Waiting { probe: false, .. }
            );
            if sure {
                unmade.push(outstanding.effect.clone());
            }
            // What it takes to find out about the others is counted anew on the way back.
            outstanding.failures = 0;
            outstanding.effect.request.changes() && !sure
        });
        for effect in unmade {
            self.did_not_change(&effect);
        }
        self.stop_asking();
    }

    /// Asks no gate and looks at nothing any more; answers that are still to come don't matter.
    pub(super) fn stop_asking(&mut self) {
        self.gates.clear();
        self.look = super::state::Look::default();
        self.reading = super::state::Look::default();
        self.outstanding
            .retain(|_, outstanding| outstanding.effect.request.changes());
    }

    /// Whether a write of the way forward may still arrive.
    pub(super) fn forward_write(&self) -> bool {
        self.outstanding.values().any(|outstanding| {
            outstanding.effect.direction == Direction::Forward
                && outstanding.effect.request.changes()
                && !outstanding.is_notice()
        })
    }

    /// A new engine drives: what was under way has no outcome now.
    pub(super) fn recover(&mut self) {
        let sent = self.outstanding.values();
        let sent = sent.filter(|outstanding| outstanding.phase == Phase::Intended);
        let sent = sent.map(|outstanding| outstanding.effect.clone());
        for effect in sent.collect::<Vec<_>>() {
            match &effect.request {
                Request::Claim { .. } => self.claim_lost(effect.workload),
                Request::Act { .. } => self.act_lost(&effect),
                Request::Remove { .. } => self.keep_lost(&effect),
                _ => {}
            }
        }
        for outstanding in self.outstanding.values_mut() {
            let notice = outstanding.is_notice();
            let unanswered = matches!(
                outstanding.phase,
                Phase::Intended | Phase::Missing | Phase::Probing
            );
            if unanswered && !notice {
                // The write may have left before its engine died, and may still arrive.
                let id = outstanding.effect.id;
                self.known.before.take_if(|before| before.effect == id);
                if let Request::Create { create } = &outstanding.effect.request
                    && outstanding.phase == Phase::Intended
                {
                    self.known.lost(create.piece, self.now);
                }
            }
            outstanding.phase = match outstanding.phase {
                Phase::Ready | Phase::Given => Phase::Ready,
                // A notice goes out at least once; nobody can say whether it did.
                Phase::Intended | Phase::Missing | Phase::Probing if notice => Phase::Ready,
                Phase::Intended | Phase::Missing | Phase::Probing => Phase::Missing,
                waiting @ Phase::Waiting { .. } => waiting,
            };
        }
    }

    /// Hands out what is to be done now.
    pub(super) fn collect(&mut self) -> Vec<Action> {
        let now = self.now;
        let stuck = self.stuck_now().is_some();
        let mut actions = Vec::new();
        for outstanding in self.outstanding.values_mut() {
            if stuck && !outstanding.is_notice() {
                continue;
            }
            let probe = match outstanding.phase {
                Phase::Ready => false,
                Phase::Missing => true,
                Phase::Waiting { until, probe } if until <= now => probe,
                _ => continue,
            };
            if probe {
                outstanding.phase = Phase::Probing;
                actions.push(Action::Probe(outstanding.effect.clone()));
            } else {
                outstanding.phase = Phase::Given;
                actions.push(Action::Perform(outstanding.effect.clone()));
            }
        }
        actions
    }

    pub(super) fn effects_wake(&self) -> Option<Timestamp> {
        let stuck = self.stuck_now().is_some();
        self.outstanding
            .values()
            .filter(|outstanding| !stuck || outstanding.is_notice())
            .filter_map(|outstanding| match outstanding.phase {
                Phase::Waiting { until, .. } => Some(until),
                _ => None,
            })
            .min()
    }

    fn in_phase(
        &self,
        event: &'static str,
        id: Id,
        allowed: &[Phase],
    ) -> Result<&Outstanding, Illegal> {
        let actual = match self.outstanding.get(&id) {
            Some(outstanding) if allowed.contains(&outstanding.phase) => return Ok(outstanding),
            Some(outstanding) => format!("{:?}", outstanding.phase).to_lowercase(),
            None => "not awaited".to_owned(),
        };
        Err(Illegal::Effect {
            event,
            effect: id,
            actual,
        })
    }

    pub(super) fn intended(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let outstanding = self.in_phase("an intent", effect.id, &[Phase::Given])?;
        if outstanding.effect != *effect || !effect.request.changes() {
            return Err(Illegal::Intent(effect.id));
        }
        let failures = outstanding.failures;
        if let Some(outstanding) = self.outstanding.get_mut(&effect.id) {
            outstanding.phase = Phase::Intended;
        }
        match &effect.request {
            Request::Change { change } if change.slot.is_stable() => {
                self.will_change(effect, change);
            }
            Request::Act { deed } => self.will_act(effect, deed),
            request => self.will_write(request),
        }
        let attempt = (failures > 0).then_some(failures.saturating_add(1));
        let data = json!({"key": effect.key, "request": effect.request.kind()});
        self.say_attempt(
            "intent",
            Level::Debug,
            attempt,
            describe(&effect.request),
            data,
        );
        Ok(())
    }

    pub(super) fn finished(&mut self, id: Id, outcome: &Outcome) -> Result<(), Illegal> {
        let changes = self
            .outstanding
            .get(&id)
            .is_some_and(|o| o.effect.request.changes());
        let allowed = if changes {
            Phase::Intended
        } else {
            Phase::Given
        };
        let effect = self.in_phase("an outcome", id, &[allowed])?.effect.clone();
        match outcome {
            Outcome::Done(done) => self.succeeded(&effect, done),
            Outcome::Failed { failure } => self.failed(&effect, failure),
            Outcome::Unknown { message }
                if effect.request.changes()
                    && !matches!(effect.request, Request::Notify { .. }) =>
            {
                self.say(
                    "outcome-unknown",
                    Level::Warn,
                    format!("no answer to {}: {message}", describe(&effect.request)),
                    json!({"key": effect.key}),
                );
                self.count_failure(id, Phase::Missing);
                self.may_have_changed(&effect);
                Ok(())
            }
            Outcome::Unknown { message } => {
                let failure = unanswered(message.clone());
                self.failed(&effect, &failure)
            }
        }
    }

    pub(super) fn probed(&mut self, id: Id, progress: &Progress) -> Result<(), Illegal> {
        let effect = self
            .in_phase("a probe's answer", id, &[Phase::Probing])?
            .effect
            .clone();
        let what = describe(&effect.request);
        match progress {
            Progress::Done(done) => {
                self.say(
                    "probed",
                    Level::Info,
                    format!("{what}: it had taken place"),
                    json!({"key": effect.key}),
                );
                if *done == Done::Claimed {
                    self.claim_found(effect.workload);
                }
                if let Request::Create { create } = &effect.request {
                    self.known.arrived(create.piece);
                }
                self.act_found(&effect);
                self.succeeded(&effect, done)
            }
            Progress::NotDone => {
                self.say(
                    "probed",
                    Level::Info,
                    format!("{what}: it had not taken place"),
                    json!({"key": effect.key}),
                );
                self.not_done(&effect)
            }
            Progress::Running { after } if self.acts_on(&effect, *after) => Ok(()),
            Progress::Running { after } => {
                let looks = self.count_failure(id, Phase::Missing);
                if looks > limits::PENDINGS {
                    let message = format!("still under way after {looks} looks");
                    return self.no_telling(&effect, &message);
                }
                let until = self.now.plus((*after).min(limits::AFTER_MOST));
                self.set_phase(id, Phase::Waiting { until, probe: true });
                Ok(())
            }
            Progress::Unknown { message } => self.no_telling(&effect, message),
        }
    }

    /// What was looked for has not taken place, and won't any more.
    fn not_done(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let stale = effect.direction == Direction::Forward && matches!(self.mode, Mode::Back(_));
        if stale {
            self.forget(effect.id);
            self.did_not_change(effect);
            return Ok(());
        }
        let Some(outstanding) = self.outstanding.get_mut(&effect.id) else {
            return Ok(());
        };
        if outstanding.failures == 0 {
            // The engine died before it came to it: that was no attempt.
            outstanding.phase = Phase::Ready;
            return Ok(());
        }
        // The lost answer was counted already.
        outstanding.failures = outstanding.failures.saturating_sub(1);
        self.failed(
            effect,
            &unanswered("no answer came, and it had not taken place".to_owned()),
        )
    }

    /// A probe can't tell. It is asked again; in the end people are.
    fn no_telling(&mut self, effect: &Effect, message: &str) -> Result<(), Illegal> {
        let failures = self.count_failure(effect.id, Phase::Missing);
        let until = self.now.plus(backoff(failures));
        self.set_phase(effect.id, Phase::Waiting { until, probe: true });
        self.say_attempt(
            "probe-failed",
            Level::Warn,
            Some(failures),
            format!(
                "{}: can't tell whether it took place: {message}",
                describe(&effect.request)
            ),
            json!({"key": effect.key}),
        );
        let acts = matches!(&effect.request, Request::Act { deed } if deed.is_run());
        match &self.mode {
            // It is cancelled and undone in any case; a plugin that can't tell must not keep the workloads from going back.
            Mode::Back(_) if acts && failures > self.plan.rollback.retries => {
                self.forget(effect.id);
                Ok(())
            }
            Mode::Back(_) if failures > self.plan.rollback.retries => {
                self.stuck_at(effect, message.to_owned(), false);
                Ok(())
            }
            Mode::Forward(Forward::Keeping(_)) if failures > limits::WRITE_ATTEMPTS => {
                self.forget(effect.id);
                self.keep_failed(message)
            }
            Mode::Forward(Forward::Finishing(_)) if failures > self.finish_attempts() => {
                self.finish_without(effect)
            }
            // A step and the claim have a deadline of their own.
            _ => Ok(()),
        }
    }

    /// How often the effect has failed so far.
    pub(super) fn attempts_failed(&self, id: Id) -> u32 {
        self.outstanding.get(&id).map_or(0, |o| o.failures)
    }

    pub(super) fn set_phase(&mut self, id: Id, phase: Phase) {
        if let Some(outstanding) = self.outstanding.get_mut(&id) {
            outstanding.phase = phase;
        }
    }

    /// Counts a failed attempt and returns how many there are now.
    pub(super) fn count_failure(&mut self, id: Id, phase: Phase) -> u32 {
        match self.outstanding.get_mut(&id) {
            Some(outstanding) => {
                outstanding.failures = outstanding.failures.saturating_add(1);
                outstanding.phase = phase;
                outstanding.failures
            }
            None => 0,
        }
    }

    /// Tries the effect again later, with the same key.
    pub(super) fn again(&mut self, id: Id, failure: &Failure) -> u32 {
        let failures = self.count_failure(id, Phase::Given);
        let wait = failure
            .after
            .map_or_else(|| backoff(failures), |after| after.min(limits::AFTER_MOST));
        let until = self.now.plus(wait);
        self.set_phase(
            id,
            Phase::Waiting {
                until,
                probe: false,
            },
        );
        failures
    }

    fn succeeded(&mut self, effect: &Effect, done: &Done) -> Result<(), Illegal> {
        self.forget(effect.id);
        if effect.request.changes() {
            Arc::make_mut(&mut self.performed).insert(effect.key.clone());
        }
        match (&effect.request, done) {
            (Request::Notify { notifier, .. }, Done::Notified { thread }) => {
                // Null and nothing are the same in a journal.
                if let Some(thread) = thread.as_ref().filter(|thread| !thread.is_null()) {
                    self.threads.insert(notifier.clone(), thread.clone());
                }
                Ok(())
            }
            (Request::Observe { .. }, Done::Observed { observation }) => {
                self.observed(effect.id, observation)
            }
            (Request::Evaluate { gate, .. }, Done::Judged { verdict }) => {
                self.judged(gate, effect.id, Ok(verdict));
                Ok(())
            }
            (Request::Act { deed }, done) => self.act_answered(effect, deed, done),
            (Request::Diagnose, Done::Diagnosed { diagnosis }) => {
                self.diagnosed(diagnosis);
                Ok(())
            }
            (Request::Claim { .. }, Done::Claimed) => self.claim_taken(effect),
            (Request::Change { change }, Done::Changed) if change.slot.is_stable() => {
                self.change_made(effect, change)
            }
            (Request::Change { .. }, Done::Changed)
            | (Request::Create { .. }, Done::Created)
            | (Request::Remove { .. }, Done::Removed)
            | (Request::Bound { .. }, Done::Bounded) => self.written_beside(effect),
            (Request::Snapshot, Done::Snapped { snapshot, reading }) => {
                self.snapped(effect, snapshot, reading)
            }
            (Request::Route { .. }, Done::Routed) | (Request::Unroute { .. }, Done::Unrouted) => {
                self.routed(effect)
            }
            (Request::Reading, Done::Read { reading }) => self.read(effect.id, reading),
            (Request::Release { .. }, Done::Released) => self.released(effect),
            (Request::Revise { .. }, Done::Revised { steps }) => {
                self.revised(effect.id, steps.as_deref())
            }
            _ => Err(Illegal::Effect {
                event: "an outcome of another kind",
                effect: effect.id,
                actual: effect.request.kind().to_owned(),
            }),
        }
    }

    fn failed(&mut self, effect: &Effect, failure: &Failure) -> Result<(), Illegal> {
        match &effect.request {
            Request::Notify { notifier, notice } => {
                self.notice_failed(effect, notifier, notice, failure)
            }
            Request::Observe { .. } if self.look.effect != Some(effect.id) => {
                self.forget(effect.id);
                Ok(())
            }
            Request::Observe { .. } => {
                self.look_failed(effect.id, failure);
                Ok(())
            }
            Request::Evaluate { gate, .. } => {
                if failure.kind == Kind::Pending && self.asks(gate, effect.id) {
                    let pendings = self.again(effect.id, failure);
                    if pendings <= limits::PENDINGS {
                        return Ok(());
                    }
                }
                self.forget(effect.id);
                self.judged(gate, effect.id, Err(failure));
                Ok(())
            }
            Request::Act { deed } => self.act_failed(effect, deed, failure),
            Request::Diagnose => {
                self.forget(effect.id);
                Ok(())
            }
            Request::Revise { .. } => {
                self.forget(effect.id);
                self.say(
                    "revision-failed",
                    Level::Warn,
                    format!("the strategy did not answer, its plan stays: {failure}"),
                    json!({"code": failure.code.to_string()}),
                );
                self.revision_over(effect.id);
                Ok(())
            }
            Request::Claim { .. } => self.claim_failed(effect, failure),
            Request::Change { change } if change.slot.is_stable() => {
                self.change_failed(effect, change, failure)
            }
            Request::Route { .. } | Request::Unroute { .. } => self.shift_failed(effect, failure),
            Request::Change { .. }
            | Request::Create { .. }
            | Request::Remove { .. }
            | Request::Bound { .. }
            | Request::Snapshot => self.write_failed(effect, failure),
            Request::Reading => {
                self.reading_failed(effect.id, failure);
                Ok(())
            }
            Request::Release { .. } => self.release_failed(effect, failure),
        }
    }
}

fn unanswered(message: String) -> Failure {
    Failure::new(Kind::Retryable, codes::CLUSTER_UNREACHABLE, message)
}
