//! Drift: somebody else changed the target while the run holds it.

use serde_json::json;

use super::limits;
use super::state::{Cursor, Forward, Found, Level, Look, Mode, Stage, Then};
use super::{Illegal, Run};
use crate::effect::{Fields, Severity};
use crate::event::DriftAnswer;
use crate::failure::Failure;
use crate::plan::{Action, Step};
use crate::strategy::Split;
use crate::time::Span;
use crate::workload::{Observation, Settings};

impl Found {
    fn of(seen: &Observation) -> Self {
        Self {
            settings: seen.settings.clone(),
            template_digest: seen.template_digest.clone(),
            candidate: seen.beside.as_ref().map(|beside| beside.settings.clone()),
            candidate_template: seen
                .beside
                .as_ref()
                .map(|beside| beside.template_digest.clone()),
            split: None,
        }
    }
}

impl Run {
    /// A gate has failed. Where somebody else changed the target, that is why, and people decide: so the
    /// workload is looked at once more before the run goes back over it. Says whether to wait.
    pub(super) fn drift_comes_first(&mut self, cursor: &Cursor) -> Result<bool, Illegal> {
        if !self.known.touched() || !matches!(cursor.stage, Stage::Asking { .. }) {
            return Ok(false);
        }
        if self.look.confirms {
            // A look that fails tells nothing; the gate's word is enough then.
            let under_way = self.look.effect;
            return Ok(under_way.is_some_and(|look| self.attempts_failed(look) == 0));
        }
        // One that was asked for before may have seen the target before it was changed.
        if let Some(earlier) = self.look.effect.take() {
            self.forget(earlier);
        }
        self.look.confirms = true;
        self.look.due = self.now;
        self.look_if_due()?;
        Ok(self.look.effect.is_some())
    }

    pub(super) fn drift(&self, seen: &Observation) -> Option<String> {
        if seen.uid != self.hand.baseline.uid {
            Some("the Deployment was deleted and made anew by somebody else".to_owned())
        } else if seen.settings.image != self.known.image {
            Some(format!(
                "the image is {}, this run left it at {}; somebody else changed it",
                seen.settings.image, self.known.image
            ))
        } else if seen.template_digest != self.known.template_digest {
            Some("the pod template was changed by somebody else".to_owned())
        } else {
            self.candidate_drift(seen)
        }
    }

    fn candidate_drift(&self, seen: &Observation) -> Option<String> {
        let (image, _) = self.known.candidate.as_ref()?;
        match seen.beside.as_deref() {
            None => Some("the candidate's Deployment was deleted by somebody else".to_owned()),
            Some(candidate) if candidate.settings.image != *image => Some(format!(
                "the candidate's image is {}, this run left it at {image}; somebody else changed it",
                candidate.settings.image
            )),
            Some(candidate) if self.other_template(&candidate.template_digest) => {
                Some("the candidate's pod template was changed by somebody else".to_owned())
            }
            Some(_) => None,
        }
    }

    fn other_template(&self, found: &str) -> bool {
        let first = self.known.candidate_template.as_deref();
        first.is_some_and(|first| first != found)
    }

    /// Notes the candidate's pod template when it is first seen.
    pub(super) fn note_candidate(&mut self, seen: &Observation) {
        let there = seen.beside.as_deref();
        if self.known.candidate.is_some() && self.known.candidate_template.is_none() {
            self.known.candidate_template = there.map(|there| there.template_digest.clone());
        }
    }

    /// A write met somebody else's, who may have changed nothing that matters here: what is there is looked at,
    /// and unless it has drifted the write is made once more.
    pub(super) fn conflicted(&mut self, step: &Step, failure: &Failure) -> Result<(), Illegal> {
        let met = self.known.conflicts.saturating_add(1);
        if met >= limits::WRITE_ATTEMPTS {
            return self.back_from(step, failure.to_string());
        }
        self.say_attempt(
            "change-failed",
            Level::Warn,
            Some(met),
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        self.look_before(step);
        self.look_after_conflict(met, failure);
        Ok(())
    }

    /// When to look after so many conflicts in a row.
    pub(super) fn look_after_conflict(&mut self, met: u32, failure: &Failure) {
        self.known.conflicts = met;
        let wait = failure.after.unwrap_or_else(|| limits::backoff(met));
        self.look = Look {
            due: self.now.plus(wait.min(limits::AFTER_MOST)),
            ..Look::default()
        };
    }

    /// Stops and calls people.
    pub(super) fn drifted(
        &mut self,
        what: String,
        seen: Option<&Observation>,
        made: bool,
        then: Then,
    ) -> Result<(), Illegal> {
        self.known.conflicts = 0;
        let until = self.now.plus(self.plan.people_timeout);
        let unseen = || Found {
            settings: Settings {
                image: self.known.image.clone(),
                replicas: self.known.replicas,
                rollout: self.hand.baseline.settings.rollout.clone(),
            },
            template_digest: self.known.template_digest.clone(),
            candidate: None,
            candidate_template: None,
            split: None,
        };
        let found = Box::new(seen.map_or_else(unseen, Found::of));
        let measured = self.measured();
        // What gates would say now is about a target that is neither the plan's nor decided on.
        if then == Then::Begin {
            self.judge_anew();
        } else {
            self.gates.clear();
        }
        let anew = self.begins_anew(then).map(|anew| match measured {
            Span::ZERO => anew.to_owned(),
            measured => {
                format!("{anew}: the {measured} measured so far are of what was there before")
            }
        });
        let said = anew.as_ref().map_or_else(String::new, |a| format!("; {a}"));
        let words = format!(
            "{what}; decide: `continue --drift adopt`, `continue --drift force` or `abort`{said}"
        );
        let data =
            json!({"until": until, "anew": anew.is_some(), "measuredMs": measured.as_millis()});
        self.say("drift", Level::Error, words, data);
        self.set_stage(Stage::Drifted {
            what: what.clone(),
            until,
            found,
            made,
            then,
        });
        let text = format!(
            "{what}. Decide: `continue --drift adopt`, `continue --drift force`, or `abort`.{}",
            anew.map_or_else(String::new, |anew| format!(" Then {anew}."))
        );
        self.tell(
            "awaiting-people",
            Severity::Critical,
            format!("{} stopped: the target drifted", self.headline()),
            text,
        )
    }

    /// What goes on from its beginning once people have decided: what served while it was measured serves no more,
    /// whatever they say, and so nothing of it is kept.
    pub(super) fn begins_anew(&self, then: Then) -> Option<&'static str> {
        let step = self.current().filter(|_| then == Then::Ask);
        step.and_then(|(_, step)| match step.action {
            Action::Soak { .. } => Some("the soak begins anew"),
            Action::Check { .. } => Some("the check begins anew"),
            _ => None,
        })
    }

    /// Takes in what is there while people decide.
    pub(super) fn found(&mut self, seen: &Observation) {
        let Some(mut stage) = self.cursor().map(|cursor| cursor.stage.clone()) else {
            return;
        };
        if let Stage::Drifted { found, .. } = &mut stage {
            let split = found.split.take();
            **found = Found {
                split,
                ..Found::of(seen)
            };
            self.set_stage(stage);
        }
    }

    /// Notes how somebody else shares traffic now.
    pub(super) fn found_split(&mut self, split: &Split) {
        if let Mode::Forward(Forward::At(Cursor {
            stage: Stage::Drifted { found, .. },
            ..
        })) = &mut self.mode
        {
            found.split = Some(split.clone());
        }
    }

    /// Whether what is there can be gone on with: a candidate that is gone can't, nor a template that is not the
    /// release's where the release brings it along.
    pub(super) fn can_adopt(&self) -> bool {
        match self.cursor().map(|cursor| &cursor.stage) {
            Some(Stage::Drifted { found, .. }) => {
                if self.owns_template() && found.template_digest != self.known.template_digest {
                    return false;
                }
                self.known.candidate.is_none() || found.candidate.is_some() || found.split.is_some()
            }
            _ => false,
        }
    }

    /// Somebody else's number of pods is kept: a later write of the run that names it names theirs.
    pub(super) fn adopt_replicas(&mut self, replicas: u32) {
        let known = &mut self.known;
        known.whole = if known.candidate.is_some() {
            let others = known.whole.saturating_sub(known.replicas);
            others.saturating_add(replicas)
        } else {
            replicas
        };
        known.replicas = replicas;
        if let Some(owned) = &mut known.owned.replicas {
            *owned = replicas;
        }
    }

    /// Whether writing once more what the plan says can help: without manifests the run writes only the image of the
    /// pod template.
    pub(super) fn can_force(&self) -> bool {
        match self.cursor().map(|cursor| &cursor.stage) {
            Some(Stage::Drifted { found, .. }) => {
                self.owns_template() || found.template_digest == self.known.template_digest
            }
            _ => false,
        }
    }

    pub(super) fn answer_drift(&mut self, answer: DriftAnswer) -> Result<(), Illegal> {
        let Some((cursor, step)) = self.current() else {
            return Ok(());
        };
        let Stage::Drifted {
            found, made, then, ..
        } = cursor.stage
        else {
            return Ok(());
        };
        let own = then == Then::Finish && step.action.changes();
        if let Some(split) = found.split {
            return match answer {
                DriftAnswer::Adopt => {
                    self.known.traffic.split = split;
                    self.go_on(&step, then);
                    Ok(())
                }
                DriftAnswer::Force => self.shift_again(&step, then),
            };
        }
        let template = found.candidate_template.as_deref();
        let other = template.is_some_and(|template| self.other_template(template));
        let candidate = self.known.candidate.clone().filter(|(image, _)| {
            let there = found.candidate.as_ref();
            there.is_none_or(|there| there.image != *image || other)
        });
        if let Some((image, replicas)) = candidate
            && found.settings.image == self.known.image
            && found.template_digest == self.known.template_digest
        {
            // Where the step's own write is still to be made, the step begins once more.
            let then = if made { then } else { Then::Begin };
            return match (answer, found.candidate) {
                (DriftAnswer::Adopt, Some(there)) => {
                    self.known.candidate = Some((there.image, there.replicas));
                    self.known.candidate_template = found.candidate_template;
                    self.settle(then);
                    Ok(())
                }
                (_, there) => {
                    let replicas = there.map_or(replicas, |there| there.replicas.max(replicas));
                    self.make_again(&step, image, replicas, then)
                }
            };
        }
        match answer {
            DriftAnswer::Adopt => {
                self.known.image.clone_from(&found.settings.image);
                self.known
                    .template_digest
                    .clone_from(&found.template_digest);
                self.adopt_replicas(found.settings.replicas);
                if self.known.owned.image.is_some() {
                    self.known.owned.image = Some(found.settings.image.clone());
                }
                if !made && own {
                    return self.begin_step(&step, false);
                }
                self.settle(then);
                Ok(())
            }
            // What both sides carry is looked at again, and that must not find the drift once more. Nor is stable
            // written by a step that is about the candidate.
            DriftAnswer::Force if own && (self.proves(&step) || !step.action.writes_stable()) => {
                self.change(&step, Fields::default(), true, Then::Begin)
            }
            DriftAnswer::Force if own => self.begin_step(&step, true),
            DriftAnswer::Force => self.change(&step, Fields::default(), true, then),
        }
    }

    /// Waits until what people adopted serves.
    fn settle(&mut self, then: Then) {
        self.look = Look {
            due: self.now,
            ..Look::default()
        };
        self.set_stage(Stage::Settling {
            deadline: self.now.plus(self.plan.rollback.step_timeout),
            then,
        });
    }
}
