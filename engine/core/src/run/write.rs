//! Writes of the way forward, and how the cluster follows them.

use serde_json::{Value, json};

use super::limits;
use super::state::{Before, Finish, Forward, Level, Look, Mode, Stage, Then};
use super::words::written;
use super::{Illegal, Run};
use crate::effect::{Change, Effect, Fields, Request};
use crate::failure::{Failure, Kind};
use crate::plan::{Action, Step};
use crate::strategy::{Placement, Slot};
use crate::time::{Span, Timestamp};
use crate::workload::{Observation, Rollout};

/// How long a pod may be seen unable to start before the step counts as failed: an image pull that
/// hits a hiccup of the registry recovers by itself.
const BROKEN_TOLERANCE: Span = Span::from_secs(10);

impl Run {
    /// Asks for a write of the way forward: the fields that the step sets, and those that the run owned before.
    pub(super) fn change(
        &mut self,
        step: &Step,
        mut fields: Fields,
        force: bool,
        then: Then,
    ) -> Result<(), Illegal> {
        self.stop_asking();
        self.broken_since = None;
        if force {
            // What somebody else wrote over is written again, whether or not this step is about it.
            fields.image = fields.image.or_else(|| Some(self.known.image.clone()));
        }
        let owned = &self.known.owned;
        let fields = Fields {
            image: fields.image.or_else(|| owned.image.clone()),
            replicas: fields.replicas.or(owned.replicas),
            rollout: fields.rollout.or_else(|| owned.rollout.clone()),
            configs: match fields.configs.is_empty() {
                true => owned.configs.clone(),
                false => fields.configs,
            },
        };
        let expected_image = (!force).then(|| self.known.image.clone());
        let change = Change {
            slot: Slot::Stable,
            fields,
            uid: self.hand.baseline.uid.clone(),
            expected_image,
            marked: true,
        };
        // A write that people asked for again is another one than the first, which must not be found in its place.
        let key = format!("{}/change/{}", step.id, self.new_generation()?);
        let effect = self.request(key, Some(step.id.clone()), Request::Change { change })?;
        let deadline = self.step_deadline(step);
        self.set_stage(Stage::Changing {
            effect,
            deadline,
            then,
        });
        Ok(())
    }

    pub(super) fn time_for(&self, step: &Step) -> Span {
        match &step.action {
            Action::Deploy { timeout, .. }
            | Action::Scale { timeout, .. }
            | Action::Route { timeout, .. }
            | Action::Retire { timeout, .. } => *timeout,
            _ => self.plan.rollback.step_timeout,
        }
    }

    /// Until when what the step asks for now must have taken place.
    pub(super) fn step_deadline(&self, step: &Step) -> Timestamp {
        self.now.plus(self.time_for(step))
    }

    /// An intent to write: from now on its fields may be the run's.
    pub(super) fn will_change(&mut self, effect: &Effect, change: &Change) {
        let known = &mut self.known;
        if known.before.as_ref().is_none_or(|b| b.effect != effect.id) {
            known.before = Some(Before {
                effect: effect.id,
                owned: known.owned.clone(),
                changed: known.changed,
            });
        }
        known.changed = true;
        let owned = &mut known.owned;
        owned.image = change.fields.image.clone().or(owned.image.take());
        owned.replicas = change.fields.replicas.or(owned.replicas);
        owned.rollout = change.fields.rollout.clone().or(owned.rollout.take());
        // What a write leaves as it is stays the run's.
        let written = &change.fields.configs;
        owned.configs.retain(|old| {
            let mut anew = written.iter();
            !anew.any(|new| new.kind == old.kind && new.of == old.of)
        });
        owned.configs.extend(written.iter().cloned());
    }

    /// The write left and was not answered. Though a probe may not find it, it can still arrive: only a
    /// later write shuts it out, so that from now on there is something to undo.
    pub(super) fn may_have_changed(&mut self, effect: &Effect) {
        if matches!(effect.request, Request::Claim { .. }) {
            self.claim_lost(effect.workload);
        }
        if let Request::Create { create } = &effect.request {
            self.known.lost(create.piece, self.now);
        }
        self.act_lost(effect);
        self.keep_lost(effect);
        self.known.before.take_if(|b| b.effect == effect.id);
    }

    /// The write failed and is not tried again: what it would have made the run's is not.
    pub(super) fn did_not_change(&mut self, effect: &Effect) {
        if let Request::Create { create } = &effect.request
            && !self.known.doubted.contains_key(&create.piece)
            && !self.known.made.contains(&create.piece)
        {
            self.known.pieces.remove(&create.piece);
        }
        if let Some(before) = self.known.before.take_if(|b| b.effect == effect.id) {
            self.known.owned = before.owned;
            self.known.changed = before.changed;
        }
    }

    pub(super) fn change_made(&mut self, effect: &Effect, change: &Change) -> Result<(), Illegal> {
        let known = &mut self.known;
        if let Some(image) = &change.fields.image {
            known.image.clone_from(image);
        }
        if let Some(replicas) = change.fields.replicas {
            known.replicas = replicas;
        }
        if let Some(digest) = self.digest_of(&change.fields.configs) {
            self.known.template_digest = digest;
        }
        self.known.conflicts = 0;
        self.changed_at = Some(self.now);
        self.look = Look {
            due: self.now,
            ..Look::default()
        };
        let words = self.about(written(change));
        self.say("changed", Level::Info, words, json!({"key": effect.key}));
        match &self.mode {
            Mode::Back(_) => self.change_made_back(effect),
            Mode::Forward(Forward::Finishing(Finish::Tidying { .. })) => {
                self.known.unmarked = true;
                self.tidy()
            }
            Mode::Forward(_) => {
                if let Some((cursor, step)) = self.current()
                    && let Stage::Changing { then, .. } = cursor.stage
                {
                    let deadline = self.now.plus(self.time_for(&step));
                    self.set_stage(Stage::Settling { deadline, then });
                }
                Ok(())
            }
            Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn change_failed(
        &mut self,
        effect: &Effect,
        change: &Change,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if matches!(self.mode, Mode::Back(_)) {
            return self.change_failed_back(effect, failure);
        }
        let conflict = failure.kind == Kind::Conflict;
        // What people said is to be written over is written over, whatever is there.
        let looks = conflict && change.expected_image.is_some() && self.cursor().is_some();
        if !looks && failure.kind.may_pass() {
            let attempts = self.again(effect.id, failure);
            if attempts < limits::WRITE_ATTEMPTS {
                self.say_attempt(
                    "change-failed",
                    Level::Warn,
                    Some(attempts),
                    failure.to_string(),
                    json!({"code": failure.code.to_string()}),
                );
                return Ok(());
            }
        }
        self.forget(effect.id);
        self.did_not_change(effect);
        if matches!(self.mode, Mode::Forward(Forward::Finishing(_))) {
            self.say(
                "change-failed",
                Level::Error,
                failure.to_string(),
                json!({"code": failure.code.to_string()}),
            );
            return self.finish_without(effect);
        }
        let Some((cursor, step)) = self.current() else {
            return Ok(());
        };
        if looks {
            return self.conflicted(&step, failure);
        }
        if conflict && let Stage::Changing { then, .. } = cursor.stage {
            self.look.due = self.now;
            return self.drifted(failure.to_string(), None, false, then);
        }
        self.back_from(&step, failure.to_string())
    }

    /// Takes in what was seen while a step waits for the cluster or for its gates.
    pub(super) fn seen_forward(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Some((cursor, step)) = self.current() else {
            return Ok(());
        };
        // A look after a conflict: where it shows drift, the step's own write is still to be made.
        let conflict = self.known.conflicts > 0 && matches!(cursor.stage, Stage::Proving { .. });
        let then = match (&cursor.stage, &step.action) {
            (Stage::Drifted { .. }, _) => {
                self.found(seen);
                return Ok(());
            }
            (Stage::Changing { .. }, _) => return Ok(()),
            (Stage::Proving { .. }, _) if conflict => Then::Finish,
            (Stage::Proving { .. }, _) => Then::Begin,
            (Stage::Settling { then, .. } | Stage::Following { then, .. }, _) => *then,
            (Stage::Waiting { .. }, _) => Then::Begin,
            (_, Action::Check { .. } | Action::Soak { .. }) => Then::Ask,
            _ => Then::Finish,
        };
        self.note_candidate(seen);
        if let Some(what) = self.drift(seen) {
            return self.drifted(what, Some(seen), !conflict, then);
        }
        if seen.settings.replicas != self.known.replicas {
            self.say(
                "drift-adopted",
                Level::Warn,
                format!(
                    "replicas are {} now, somebody else changed them from {}",
                    seen.settings.replicas, self.known.replicas
                ),
                json!({"replicas": seen.settings.replicas}),
            );
            self.adopt_replicas(seen.settings.replicas);
        }
        match cursor.stage {
            Stage::Proving { .. } => return self.proved(&step, seen),
            Stage::Settling { .. } => {}
            _ => return Ok(()),
        }
        let settled = match then {
            Then::Finish => self.has_settled(&step, seen),
            Then::Ask | Then::Begin => seen.settled() && self.candidate_stands(seen),
        };
        if settled {
            let about = self.waited_for(&step, seen);
            let ready = format!("{} of {} pods ready", about.ready, about.settings.replicas);
            self.say("settled", Level::Info, ready, Value::Null);
            self.go_on(&step, then);
            return Ok(());
        }
        self.cannot_settle(&step, seen)
    }

    /// Whether the candidate, if there is one, has come to what is asked of it.
    fn candidate_stands(&self, seen: &Observation) -> bool {
        let there = seen.beside.as_deref();
        self.known.candidate.is_none() || there.is_some_and(Observation::settled)
    }

    /// The Deployment that a step waits for: the candidate's, if the step is about it.
    fn waited_for<'a>(&self, step: &Step, seen: &'a Observation) -> &'a Observation {
        let about_candidate = match &step.action {
            Action::Deploy { placement, .. } => *placement == Placement::Beside,
            Action::Scale { slot, .. } => *slot == Slot::Candidate,
            Action::Route { .. } => true,
            _ => false,
        };
        match seen.beside.as_deref() {
            Some(candidate) if about_candidate => candidate,
            _ => seen,
        }
    }

    /// Whether the rollout has come to where waiting doesn't help.
    pub(super) fn cannot_settle(&mut self, step: &Step, seen: &Observation) -> Result<(), Illegal> {
        let seen = self.waited_for(step, seen);
        if seen.deadline_exceeded && seen.observed_generation >= seen.generation {
            return self.back_from(
                step,
                format!(
                    "the Deployment stopped making progress: {}",
                    self.pods_in_words()
                ),
            );
        }
        match seen.broken_pod() {
            Some((pod, reason)) => {
                let since = *self.broken_since.get_or_insert(self.now);
                if self.now.since(since) >= BROKEN_TOLERANCE {
                    return self.back_from(step, format!("pod {pod} is in {reason}"));
                }
            }
            None => self.broken_since = None,
        }
        Ok(())
    }
}

/// The rollout settings that a step asks for; none where it keeps the workload's own.
pub(super) fn rollout(
    own: &Rollout,
    surge: Option<&str>,
    unavailable: Option<&str>,
) -> Option<Rollout> {
    if surge.is_none() && unavailable.is_none() {
        return None;
    }
    let (own_surge, own_unavailable) = match own {
        Rollout::RollingUpdate { surge, unavailable } => (surge.as_str(), unavailable.as_str()),
        // What Kubernetes takes where nothing is said.
        Rollout::Recreate => ("25%", "25%"),
    };
    Some(Rollout::RollingUpdate {
        surge: surge.unwrap_or(own_surge).to_owned(),
        unavailable: unavailable.unwrap_or(own_unavailable).to_owned(),
    })
}
