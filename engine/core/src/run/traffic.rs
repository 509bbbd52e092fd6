//! Traffic between stable and candidate: proving that each side can carry its share, shifting, and
//! waiting until the data plane has followed.

use serde_json::json;

use super::limits::{self, SETTLE_INTERVAL, WATCH_INTERVAL};
use super::state::{Back, BackStage, Forward, Level, Look, Mode, Phase, Stage, Then};
use super::{Illegal, Run};
use crate::effect::{Effect, Id, Piece, Reading, Request};
use crate::failure::Failure;
use crate::plan::{Action, Step};
use crate::strategy::{Slot, Split, WHOLE};
use crate::time::{Span, Timestamp};
use crate::workload::Observation;

impl Run {
    /// Looks at both sides before anything is taken from one of them.
    pub(super) fn prove(&mut self, step: &Step) {
        self.stop_asking();
        self.known.traffic.failures = 0;
        self.look_before(step);
    }

    pub(super) fn look_before(&mut self, step: &Step) {
        let deadline = self.step_deadline(step);
        self.look = Look {
            due: self.now,
            ..Look::default()
        };
        self.set_stage(Stage::Proving { deadline });
    }

    /// What is missing for the step to be safe now.
    pub(super) fn unproven(&self, step: &Step, seen: &Observation) -> Option<String> {
        let whole = self.hand.baseline.settings.replicas;
        let stable = seen.ready.min(seen.updated);
        let candidate = seen.beside.as_deref().map_or(0, |c| c.ready.min(c.updated));
        let lacks = |side: &str, has: u32, needs: u32| {
            (has < needs).then(|| format!("{side} has {has} ready pods and needs {needs}"))
        };
        match &step.action {
            Action::Route { split, .. } => {
                lacks("the candidate", candidate, split.candidate_needs(whole))
                    .or_else(|| lacks("stable", stable, split.stable_needs(whole)))
            }
            Action::Retire {
                slot: Slot::Stable, ..
            } => {
                let carried = self.candidate_weight();
                lacks("the candidate", candidate, self.whole())
                    .or_else(|| (carried < WHOLE).then(|| "stable still gets traffic".to_owned()))
            }
            Action::Retire { .. } => lacks("stable", stable, whole),
            Action::Scale {
                slot: Slot::Stable,
                replicas,
                ..
            } if self.takes_from_stable(step) => {
                let whole = self.whole();
                let left = replicas.of(whole);
                lacks("the candidate", candidate, whole.saturating_sub(left))
            }
            _ => None,
        }
    }

    /// The candidate's share of traffic: as the router was asked, or by the pods where there is no router.
    pub(super) fn candidate_weight(&self) -> u32 {
        let deployed = self.known.changed && self.known.image == self.hand.image;
        let beside = self.known.candidate.is_some() || self.known.promoted;
        match &self.hand.router {
            Some(_) if beside => self.known.traffic.split.candidate_weight,
            None if beside => {
                let seen = self.observation.as_ref();
                let candidate = seen
                    .and_then(|seen| seen.beside.as_deref())
                    .map_or(0, |candidate| candidate.ready);
                let stable = seen.map_or(self.known.replicas, |seen| seen.ready);
                let all = u64::from(candidate).saturating_add(u64::from(stable));
                let share = u64::from(candidate)
                    .saturating_mul(u64::from(WHOLE))
                    .checked_div(all);
                u32::try_from(share.unwrap_or_default()).unwrap_or(WHOLE)
            }
            _ if deployed => WHOLE,
            _ => 0,
        }
    }

    /// Both sides were seen: the step goes on if each can carry its share.
    pub(super) fn proved(&mut self, step: &Step, seen: &Observation) -> Result<(), Illegal> {
        if self.unproven(step, seen).is_some() {
            return self.cannot_settle(step, seen);
        }
        match &step.action {
            Action::Route { split, .. } => {
                let request = self.shift(split);
                let what = request.kind();
                let key = format!("{}/{what}/{}", step.id, self.new_generation()?);
                let effect = self.request(key, Some(step.id.clone()), request)?;
                let deadline = self.step_deadline(step);
                self.set_stage(Stage::Changing {
                    effect,
                    deadline,
                    then: Then::Finish,
                });
                Ok(())
            }
            Action::Retire {
                slot: Slot::Candidate,
                ..
            } => self.advance(step),
            _ => self.write_stable(step, false),
        }
    }

    /// The request that leads to a split. Where the candidate is spared, traffic is put back as it was
    /// before the run, so that nothing refers to a candidate that is about to go.
    fn shift(&self, split: &Split) -> Request {
        let traffic = &self.known.traffic;
        match &traffic.snapshot {
            Some(snapshot) if split.spares_candidate() && traffic.before.spares_candidate() => {
                Request::Unroute {
                    snapshot: snapshot.clone(),
                }
            }
            _ => Request::Route {
                split: split.clone(),
            },
        }
    }

    /// The router shares traffic once more as the run had asked.
    pub(super) fn shift_again(&mut self, step: &Step, then: Then) -> Result<(), Illegal> {
        let split = self.known.traffic.split.clone();
        let key = format!("{}/route/{}", step.id, self.new_generation()?);
        let effect = self.request(key, Some(step.id.clone()), Request::Route { split })?;
        let deadline = self.now.plus(self.plan.rollback.step_timeout);
        self.set_stage(Stage::Changing {
            effect,
            deadline,
            then,
        });
        Ok(())
    }

    pub(super) fn snapped(
        &mut self,
        effect: &Effect,
        snapshot: &serde_json::Value,
        reading: &Reading,
    ) -> Result<(), Illegal> {
        let traffic = &mut self.known.traffic;
        traffic.snapshot = Some(snapshot.clone());
        traffic.before = reading.desired.clone();
        traffic.split = reading.desired.clone();
        traffic.reading = Some(reading.clone());
        let words = format!("traffic before the run: {}", reading.desired);
        self.say("traffic", Level::Info, words, json!({"read": reading}));
        self.went_on(effect)
    }

    /// The router took the split: now the data plane must.
    pub(super) fn routed(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let traffic = &mut self.known.traffic;
        traffic.failures = 0;
        let put_back = matches!(effect.request, Request::Unroute { .. });
        if put_back {
            traffic.split = traffic.before.clone();
        }
        let split = traffic.split.clone();
        let done = if put_back {
            "put traffic back"
        } else {
            "shifted traffic"
        };
        let words = self.about(format!("has {done}: {split}"));
        let data = json!({"key": effect.key, "asked": split});
        self.say("changed", Level::Info, words, data);
        self.reading = Look {
            due: self.now,
            ..Look::default()
        };
        let taken = None;
        match &self.mode {
            Mode::Forward(Forward::At(cursor)) => {
                if let Stage::Changing {
                    effect: id,
                    deadline,
                    then,
                } = cursor.stage
                    && id == effect.id
                {
                    self.set_stage(Stage::Following {
                        deadline,
                        taken,
                        then,
                    });
                }
            }
            Mode::Back(Back {
                stage: BackStage::Unrouting { effect: id },
                ..
            }) if *id == effect.id => {
                let deadline = self.now.plus(self.plan.rollback.step_timeout);
                self.set_back(BackStage::Following { deadline, taken });
            }
            _ => {}
        }
        Ok(())
    }

    /// A shift failed: both sides are looked at again before it is tried again.
    pub(super) fn shift_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let Some((cursor, step)) = self.current() else {
            return self.write_failed(effect, failure);
        };
        let own = matches!(
            cursor.stage,
            Stage::Changing { then: Then::Finish, effect: id, .. } if id == effect.id
        );
        let attempts = self.known.traffic.failures.saturating_add(1);
        if !own || !failure.kind.may_pass() || attempts >= limits::WRITE_ATTEMPTS {
            return self.write_failed(effect, failure);
        }
        self.forget(effect.id);
        self.known.traffic.failures = attempts;
        self.say_attempt(
            "change-failed",
            Level::Warn,
            Some(attempts),
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        let wait = failure.after.unwrap_or_else(|| limits::backoff(attempts));
        self.look_before(&step);
        self.look.due = self.now.plus(wait.min(limits::AFTER_MOST));
        Ok(())
    }

    /// How often the router is asked how traffic is shared; none where that doesn't matter now.
    pub(super) fn reading_interval(&self) -> Option<Span> {
        self.hand.router.as_ref()?;
        match &self.mode {
            Mode::Back(back) => {
                let follows = matches!(
                    back.stage,
                    BackStage::Following { .. } | BackStage::Checking { .. }
                );
                follows.then_some(SETTLE_INTERVAL)
            }
            Mode::Forward(Forward::At(cursor)) => match &cursor.stage {
                Stage::Following { .. } => Some(SETTLE_INTERVAL),
                Stage::Asking { .. } | Stage::Waiting { .. } | Stage::Drifted { .. }
                    if self.known.traffic.touched =>
                {
                    Some(WATCH_INTERVAL)
                }
                _ => None,
            },
            Mode::Forward(_) | Mode::Ended(_) => None,
        }
    }

    pub(super) fn read_if_due(&mut self) -> Result<(), Illegal> {
        let due = self.reading.due <= self.now && self.reading.effect.is_none();
        if self.reading_interval().is_some() && due {
            let step = self.here().1;
            let key = format!("{}/reading", step.as_deref().unwrap_or("run"));
            self.reading.effect = Some(self.request(key, step, Request::Reading)?);
        }
        Ok(())
    }

    pub(super) fn reading_wake(&self) -> Option<Timestamp> {
        let waits = self.reading_interval().is_some() && self.reading.effect.is_none();
        waits.then_some(self.reading.due)
    }

    pub(super) fn read(&mut self, effect: Id, reading: &Reading) -> Result<(), Illegal> {
        if self.reading.effect != Some(effect) {
            return Ok(());
        }
        self.reading.effect = None;
        self.reading.last = Some(self.now);
        let interval = self.reading_interval().unwrap_or(WATCH_INTERVAL);
        self.reading.due = self.now.plus(interval);
        let traffic = &mut self.known.traffic;
        let news = traffic.reading.as_ref() != Some(reading);
        traffic.reading = Some(reading.clone());
        if news {
            let split = traffic.split.clone();
            let state = if reading.settled {
                "settled"
            } else {
                "not settled"
            };
            let words = self.about(format!("traffic as read: {}, {state}", reading.desired));
            let data = json!({"asked": split, "read": reading});
            self.say("traffic", Level::Info, words, data);
        }
        let asked = self.known.traffic.split.clone();
        let accepted = reading.accepted.as_ref().unwrap_or(&reading.desired);
        let follows = reading.settled && *accepted == asked && reading.desired == asked;
        match &mut self.mode {
            Mode::Forward(Forward::At(cursor)) => match &mut cursor.stage {
                Stage::Following { taken, .. } => {
                    *taken = follows.then(|| taken.unwrap_or(self.now));
                    Ok(())
                }
                Stage::Asking { .. } | Stage::Waiting { .. } if reading.desired != asked => {
                    let then = match &cursor.stage {
                        Stage::Asking { .. } => Then::Ask,
                        _ => Then::Begin,
                    };
                    let what = format!(
                        "traffic is shared {}, this run left it at {asked}; somebody else changed it",
                        reading.desired
                    );
                    self.drifted(what, None, true, then)?;
                    self.found_split(&reading.desired);
                    Ok(())
                }
                _ => Ok(()),
            },
            Mode::Back(back) => match &mut back.stage {
                BackStage::Following { taken, .. } => {
                    *taken = follows.then(|| taken.unwrap_or(self.now));
                    Ok(())
                }
                BackStage::Checking { .. } if reading.desired != asked => {
                    let reason = format!(
                        "traffic is shared {} now, the run left it at {asked}: somebody else has released since; nothing was changed",
                        reading.desired
                    );
                    self.refuse_rollback(&reason)
                }
                BackStage::Checking { .. } => {
                    self.known.checked = true;
                    self.retreat()
                }
                _ => Ok(()),
            },
            Mode::Ended(_) => Ok(()),
            Mode::Forward(_) => Ok(()),
        }
    }

    /// The router can't tell. That is not the same as a data plane that follows.
    pub(super) fn reading_failed(&mut self, effect: Id, failure: &Failure) {
        if self.reading.effect != Some(effect) {
            self.forget(effect);
            return;
        }
        let attempts = self.again(effect, failure);
        self.not_longer_than(effect, limits::LOOK_BACKOFF_MOST);
        match &mut self.mode {
            Mode::Forward(Forward::At(cursor)) => {
                if let Stage::Following { taken, .. } = &mut cursor.stage {
                    *taken = None;
                }
            }
            Mode::Back(Back {
                stage: BackStage::Following { taken, .. },
                ..
            }) => *taken = None,
            _ => {}
        }
        if attempts == limits::READ_WARNING {
            self.say_attempt(
                "look-failed",
                Level::Warn,
                Some(attempts),
                format!("the router can't be asked: {failure}"),
                json!({"code": failure.code.to_string()}),
            );
        }
    }

    /// The data plane follows the split: what had waited for it goes on.
    pub(super) fn traffic_follows(&mut self, step: &Step, then: Then) {
        let traffic = &mut self.known.traffic;
        let split = traffic.split.clone();
        let back = split == traffic.before;
        traffic.touched = !back;
        self.undid |= back;
        self.changed_at = Some(self.now);
        let words = format!("traffic follows: {split}");
        let data = json!({"asked": split, "read": self.known.traffic.reading});
        self.say("traffic", Level::Info, words, data);
        self.go_on(step, then);
    }

    /// Goes on with what had waited for a write.
    pub(super) fn go_on(&mut self, step: &Step, then: Then) {
        match then {
            Then::Finish => self.step_done(),
            Then::Ask => self.ask(step),
            Then::Begin => {
                let until = self.now.plus(self.plan.people_timeout);
                self.set_stage(Stage::Waiting { on: None, until });
            }
        }
    }

    /// Whether the data plane has followed for as long as it is given.
    pub(super) fn followed(&self, taken: Option<Timestamp>, settle: Span) -> bool {
        taken.is_some_and(|taken| self.now.since(taken) >= settle)
    }

    /// How long the present split is given once the data plane has taken it.
    pub(super) fn settle_time(&self, step: &Step) -> Span {
        match &step.action {
            Action::Route { settle, .. } => *settle,
            _ => self.settle_longest(),
        }
    }

    /// The longest that any step of the workload in hand gives the data plane.
    pub(super) fn settle_longest(&self) -> Span {
        let steps = self.phases.iter().flat_map(|phase| &phase.steps);
        let settles = steps
            .filter(|step| step.workload == self.in_hand)
            .filter_map(|step| match &step.action {
                Action::Route { settle, .. } => Some(*settle),
                _ => None,
            });
        settles.max().unwrap_or(Span::ZERO)
    }

    /// What takes from one side is handed out only on a fresh look. Where it has become old - an attempt
    /// failed for long, nobody drove meanwhile - both sides are looked at again first.
    pub(super) fn renew_proof(&mut self) -> Result<bool, Illegal> {
        if self.seen_lately().is_some() {
            return Ok(false);
        }
        let now = self.now;
        let due = |phase: Phase| match phase {
            Phase::Ready => true,
            Phase::Waiting { until, probe } => !probe && until <= now,
            _ => false,
        };
        let mut waiting = self.outstanding.values();
        let stale = waiting.find(|o| due(o.phase) && self.needs_proof(&o.effect));
        let Some((stale, failures)) = stale.map(|o| (o.effect.id, o.failures)) else {
            return Ok(false);
        };
        if matches!(self.mode, Mode::Back(_)) {
            if self.stuck_now().is_some() {
                return Ok(false);
            }
            self.forget(stale);
            // It is still the same compensation: in the end people are called about it.
            self.known.traffic.failures = failures;
            self.known.ready = false;
            self.retreat()?;
            return Ok(true);
        }
        let Some((cursor, step)) = self.current() else {
            return Ok(false);
        };
        self.forget(stale);
        match cursor.stage {
            Stage::Changing {
                then: then @ (Then::Ask | Then::Begin),
                deadline,
                ..
            } => self.set_stage(Stage::Settling { deadline, then }),
            _ => self.look_before(&step),
        }
        Ok(true)
    }

    /// Whether the effect takes from one side what the other must be seen to carry.
    fn needs_proof(&self, effect: &Effect) -> bool {
        match &effect.request {
            Request::Route { .. } | Request::Unroute { .. } => true,
            Request::Remove { slot, piece } => {
                !slot.is_stable()
                    && *piece == Piece::Deployment
                    && self.hand.router.is_none()
                    && self.known.pieces.contains(piece)
            }
            Request::Change { change } if change.slot.is_stable() && effect.step.is_some() => {
                let fewer = |replicas: u32| replicas < self.known.replicas;
                self.known.candidate.is_some() && change.fields.replicas.is_some_and(fewer)
            }
            _ => false,
        }
    }
}
