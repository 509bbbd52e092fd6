//! The candidate beside stable: its pieces are made and unmade one at a time, each by an effect of its own.

use serde_json::json;

use super::limits;
use super::state::{Finish, Forward, Level, Look, Mode, Stage, Then};
use super::words::describe;
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Change, Create, Direction, Effect, Fields, Piece, Request};
use crate::failure::{Failure, Kind};
use crate::plan::{Action, Step};
use crate::strategy::{Placement, Slot};
use crate::time::Timestamp;
use crate::workload::Observation;

impl Run {
    /// The pods that serve everything: what stable had when the run began, or more if somebody has scaled it
    /// up since. While nothing was seen, and where it was scaled down, the former counts.
    pub(super) fn whole(&self) -> u32 {
        let recorded = self.hand.baseline.settings.replicas;
        recorded.max(self.known.whole)
    }

    /// Asks for the next thing that the step needs; once there is nothing left, the cluster is waited for.
    pub(super) fn advance(&mut self, step: &Step) -> Result<(), Illegal> {
        let deadline = self.step_deadline(step);
        self.stop_asking();
        let Some((what, request)) = self.next_request(step) else {
            if let Action::Deploy {
                placement: Placement::InPlace,
                ..
            } = &step.action
            {
                let force = std::mem::take(&mut self.known.forced);
                return self.write_stable(step, force);
            }
            self.look = Look {
                due: self.now,
                ..Look::default()
            };
            self.set_stage(Stage::Settling {
                deadline,
                then: Then::Finish,
            });
            return Ok(());
        };
        let key = format!("{}/{what}/{}", step.id, self.new_generation()?);
        let effect = self.request(key, Some(step.id.clone()), request)?;
        self.set_stage(Stage::Changing {
            effect,
            deadline,
            then: Then::Finish,
        });
        Ok(())
    }

    fn next_request(&self, step: &Step) -> Option<(&'static str, Request)> {
        match &step.action {
            Action::Deploy {
                placement: Placement::Beside,
                replicas,
                ..
            } => self
                .next_to_copy()
                .or_else(|| self.next_to_make(replicas.of(self.whole()))),
            Action::Deploy { .. } => self.next_to_copy(),
            Action::Scale {
                slot: Slot::Candidate,
                replicas,
                ..
            } => self.next_to_scale(replicas.of(self.whole())),
            Action::Retire {
                slot: Slot::Candidate,
                ..
            } => self.next_to_unmake(),
            _ => None,
        }
    }

    /// Makes the candidate's Deployment once more, as it was asked for before.
    pub(super) fn make_again(
        &mut self,
        step: &Step,
        image: String,
        replicas: u32,
        then: Then,
    ) -> Result<(), Illegal> {
        // A look that is under way would tell of the one before.
        self.stop_asking();
        let create = Create {
            piece: Piece::Deployment,
            image,
            replicas,
            configs: self.references(),
            copy: None,
        };
        let key = format!("{}/create-deployment/{}", step.id, self.new_generation()?);
        let effect = self.request(key, Some(step.id.clone()), Request::Create { create })?;
        let deadline = self.step_deadline(step);
        self.set_stage(Stage::Changing {
            effect,
            deadline,
            then,
        });
        Ok(())
    }

    fn next_to_make(&self, count: u32) -> Option<(&'static str, Request)> {
        let known = &self.known;
        let baseline = &self.hand.baseline;
        if self.hand.router.is_some() && known.traffic.snapshot.is_none() {
            return Some(("snapshot", Request::Snapshot));
        }
        if let Some(autoscaler) = baseline.autoscaler
            && known.minimum.is_none()
        {
            // While traffic goes elsewhere stable must stay able to take it back.
            let minimum = autoscaler.minimum.max(known.replicas);
            let slot = Slot::Stable;
            return Some(("bound", Request::Bound { slot, minimum }));
        }
        let create = |piece| {
            let create = Create {
                piece,
                image: self.hand.image.clone(),
                replicas: count,
                configs: match piece {
                    Piece::Deployment => self.references(),
                    _ => Vec::new(),
                },
                copy: None,
            };
            Request::Create { create }
        };
        let service = self.hand.target.beside.as_ref()?.service.is_some();
        if service && !known.made.contains(&Piece::Service) {
            return Some(("create-service", create(Piece::Service)));
        }
        if !known.made.contains(&Piece::Deployment) {
            return Some(("create-deployment", create(Piece::Deployment)));
        }
        if baseline.autoscaler.is_some() && !known.made.contains(&Piece::Autoscaler) {
            return Some(("create-autoscaler", create(Piece::Autoscaler)));
        }
        self.next_to_scale(count)
    }

    fn next_to_scale(&self, count: u32) -> Option<(&'static str, Request)> {
        let slot = Slot::Candidate;
        if self.known.made.contains(&Piece::Autoscaler) {
            let minimum = count;
            let there = self.known.candidate_minimum == Some(minimum);
            return (!there).then_some(("bound", Request::Bound { slot, minimum }));
        }
        let (_, wanted) = self.known.candidate.as_ref()?;
        (*wanted != count).then(|| {
            let fields = Fields {
                replicas: Some(count),
                ..Fields::default()
            };
            let change = self.candidate_change(fields, true);
            ("change", Request::Change { change })
        })
    }

    /// The next piece to take away: first what would scale the pods, then the pods, then what leads to them.
    pub(super) fn next_to_unmake(&self) -> Option<(&'static str, Request)> {
        let slot = Slot::Candidate;
        let pieces = [
            (Piece::Autoscaler, "remove-autoscaler"),
            (Piece::Deployment, "remove-deployment"),
            (Piece::Service, "remove-service"),
        ];
        let there = |(piece, _): &(Piece, _)| self.known.pieces.contains(piece);
        let (piece, what) = pieces.into_iter().find(there)?;
        if let (Piece::Deployment, Some(idle)) = (piece, &self.hand.baseline.idle) {
            // What was kept there from an earlier release goes back to being kept.
            let fields = Fields {
                image: Some(idle.image.clone()),
                replicas: Some(idle.replicas),
                rollout: None,
                configs: self.references_of_idle(),
            };
            let change = self.candidate_change(fields, false);
            return Some(("restore-idle", Request::Change { change }));
        }
        Some((what, Request::Remove { slot, piece }))
    }

    pub(super) fn candidate_change(&self, fields: Fields, marked: bool) -> Change {
        Change {
            slot: Slot::Candidate,
            fields,
            uid: String::new(),
            expected_image: None,
            marked,
        }
    }

    /// An intent to make, bound or share: from now on it may be so.
    pub(super) fn will_write(&mut self, request: &Request) {
        let known = &mut self.known;
        match request {
            Request::Create { create } => {
                known.pieces.insert(create.piece);
            }
            Request::Bound { slot, minimum } if slot.is_stable() => {
                known.minimum = Some(*minimum);
            }
            Request::Bound { minimum, .. } => known.candidate_minimum = Some(*minimum),
            Request::Route { split } => {
                known.traffic.touched = true;
                known.traffic.split = split.clone();
            }
            _ => {}
        }
    }

    /// A write about the candidate or an autoscaler took place.
    pub(super) fn written_beside(&mut self, effect: &Effect) -> Result<(), Illegal> {
        let last = effect.direction == Direction::Forward && effect.step.is_none();
        let last = last || self.tidies(effect.id);
        let known = &mut self.known;
        match &effect.request {
            Request::Create { create } => {
                known.made.insert(create.piece);
                match create.piece {
                    Piece::Deployment => {
                        known.candidate = Some((create.image.clone(), create.replicas));
                        known.candidate_template = None;
                        self.changed_at = Some(self.now);
                    }
                    Piece::Autoscaler => known.candidate_minimum = Some(create.replicas),
                    Piece::Service | Piece::Config(_) | Piece::Left(_) => {}
                }
            }
            Request::Remove { slot, piece } if !slot.is_stable() => {
                if self.known.pieces.contains(piece) {
                    self.unmade(*piece);
                } else {
                    self.known.doubted.remove(piece);
                }
            }
            Request::Change { change } if change.marked => {
                if let (Some(candidate), Some(replicas)) =
                    (&mut known.candidate, change.fields.replicas)
                {
                    candidate.1 = replicas;
                }
            }
            // The last write to the candidate's Deployment: it is kept as it was, or it is stable's now.
            Request::Change { .. } if last => known.candidate_unmarked = true,
            Request::Change { .. } => self.unmade(Piece::Deployment),
            Request::Bound { slot, minimum } if slot.is_stable() && self.restores(*minimum) => {
                self.known.minimum = None;
                self.undid = true;
            }
            _ => {}
        }
        let words = self.about(format!("done: {}", describe(&effect.request)));
        self.say("changed", Level::Info, words, json!({"key": effect.key}));
        self.went_on(effect)
    }

    fn unmade(&mut self, piece: Piece) {
        self.known.pieces.remove(&piece);
        self.known.made.remove(&piece);
        let (now, idle) = (self.now, self.hand.baseline.idle.is_some());
        // Nothing comes any more, or what comes carries the version of what was there before, and is refused.
        let over = |until: Timestamp| until <= now || (idle && piece == Piece::Deployment);
        let doubted = &mut self.known.doubted;
        doubted.retain(|other, (_, until)| *other != piece || !over(*until));
        if piece == Piece::Deployment {
            self.known.candidate = None;
            self.known.candidate_template = None;
        }
        self.undid = true;
    }

    /// Whether that is the minimum which stable's autoscaler had before the run, written at the end of it.
    fn restores(&self, minimum: u32) -> bool {
        let forward = matches!(self.mode, Mode::Forward(Forward::At(_)));
        !forward && self.recorded_minimum() == Some(minimum)
    }

    pub(super) fn recorded_minimum(&self) -> Option<u32> {
        self.hand.baseline.autoscaler.map(|a| a.minimum)
    }

    /// One of several writes is in place: the next one follows.
    pub(super) fn went_on(&mut self, effect: &Effect) -> Result<(), Illegal> {
        match &self.mode {
            Mode::Back(_) if self.tidies(effect.id) => self.tidy(),
            Mode::Back(_) => self.went_back(effect),
            Mode::Forward(Forward::Finishing(Finish::Tidying { effect: id }))
                if *id == effect.id =>
            {
                self.tidy()
            }
            Mode::Forward(Forward::At(_)) => {
                let Some((cursor, step)) = self.current() else {
                    return Ok(());
                };
                match cursor.stage {
                    Stage::Changing { effect: id, .. } if id != effect.id => Ok(()),
                    Stage::Changing {
                        then: Then::Finish, ..
                    } => self.advance(&step),
                    Stage::Changing { then, .. } => {
                        let deadline = self.now.plus(self.time_for(&step));
                        self.set_stage(Stage::Settling { deadline, then });
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            Mode::Forward(Forward::Keeping(_)) => self.keep_removed(effect),
            Mode::Forward(_) | Mode::Ended(_) => Ok(()),
        }
    }

    /// A write about the candidate, an autoscaler or traffic failed and changed nothing.
    pub(super) fn write_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if matches!(self.mode, Mode::Back(_)) {
            return self.compensation_failed(effect, failure);
        }
        if self.keeping().is_some() {
            return self.keep_write_failed(effect, failure);
        }
        if self.sweeps(&effect.request) && failure.kind == Kind::Conflict {
            return self.sweep_over(effect);
        }
        let attempts = self.again(effect.id, failure);
        self.say_attempt(
            "change-failed",
            Level::Warn,
            Some(attempts),
            format!("{}: {failure}", describe(&effect.request)),
            json!({"code": failure.code.to_string()}),
        );
        if matches!(self.mode, Mode::Forward(Forward::Finishing(_))) {
            if attempts > self.finish_attempts() {
                return self.finish_without(effect);
            }
            return Ok(());
        }
        // Whose an object is was looked at by the write itself, and is looked at again by the next attempt.
        let passes = failure.kind.may_pass()
            && (failure.kind != Kind::Conflict || failure.code == codes::CONFLICT);
        if passes && attempts < limits::WRITE_ATTEMPTS {
            return Ok(());
        }
        self.forget(effect.id);
        self.did_not_change(effect);
        let Some((_, step)) = self.current() else {
            return Ok(());
        };
        self.back_from(&step, failure.to_string())
    }

    /// Whether the cluster has followed the step.
    pub(super) fn has_settled(&self, step: &Step, seen: &Observation) -> bool {
        let candidate = seen.beside.as_deref();
        match &step.action {
            Action::Deploy {
                placement: Placement::Beside,
                replicas,
                ..
            }
            | Action::Scale {
                slot: Slot::Candidate,
                replicas,
                ..
            } => candidate.is_some_and(|candidate| {
                let asked = self.known.candidate.as_ref();
                candidate.settled()
                    && asked.is_some_and(|(image, _)| candidate.settings.image == *image)
                    && candidate.ready >= replicas.of(self.hand.baseline.settings.replicas)
            }),
            Action::Retire {
                slot: Slot::Candidate,
                ..
            } => candidate
                .is_none_or(|candidate| self.hand.baseline.idle.is_some() && candidate.settled()),
            _ => seen.settled(),
        }
    }
}
