//! Drift: somebody else changed the target while the run holds it.

use serde_json::json;

use super::state::{Cursor, Found, Level, Look, Stage, Then};
use super::{Illegal, Run};
use crate::effect::{Fields, Severity};
use crate::event::DriftAnswer;
use crate::workload::Observation;

impl Found {
    fn of(seen: &Observation) -> Self {
        Self {
            settings: seen.settings.clone(),
            template_digest: seen.template_digest.clone(),
        }
    }
}

impl Run {
    /// A gate has failed. Where somebody else changed the target, that is why, and people decide: so the
    /// workload is looked at once more before the run goes back over it. Says whether to wait.
    pub(super) fn drift_comes_first(&mut self, cursor: &Cursor) -> Result<bool, Illegal> {
        if !self.known.changed || !matches!(cursor.stage, Stage::Asking { .. }) {
            return Ok(false);
        }
        if self.look.last == Some(self.now) {
            return Ok(false);
        }
        if let Some(under_way) = self.look.effect {
            // A look that fails tells nothing; the gate's word is enough then.
            return Ok(self.attempts_failed(under_way) == 0);
        }
        self.look.due = self.now;
        self.look_if_due()?;
        Ok(self.look.effect.is_some())
    }

    pub(super) fn drift(&self, seen: &Observation) -> Option<String> {
        if seen.uid != self.plan.baseline.uid {
            Some("the Deployment was deleted and made anew by somebody else".to_owned())
        } else if seen.settings.image != self.known.image {
            Some(format!(
                "the image is {}, this run left it at {}; somebody else changed it",
                seen.settings.image, self.known.image
            ))
        } else if seen.template_digest != self.known.template_digest {
            Some("the pod template was changed by somebody else".to_owned())
        } else {
            None
        }
    }

    /// Stops and calls people.
    pub(super) fn drifted(
        &mut self,
        what: String,
        seen: Option<&Observation>,
        made: bool,
        then: Then,
    ) -> Result<(), Illegal> {
        let until = self.now.plus(self.plan.people_timeout);
        let unseen = || Found {
            settings: self.plan.baseline.settings.clone(),
            template_digest: self.known.template_digest.clone(),
        };
        let found = Box::new(seen.map_or_else(unseen, Found::of));
        let words = format!(
            "{what}; decide: `continue --drift adopt`, `continue --drift force` or `abort`"
        );
        self.say("drift", Level::Error, words, json!({"until": until}));
        self.set_stage(Stage::Drifted {
            what: what.clone(),
            until,
            found,
            made,
            then,
        });
        let text = format!(
            "{what}. Decide: `continue --drift adopt`, `continue --drift force`, or `abort`."
        );
        self.tell(
            "awaiting-people",
            Severity::Critical,
            format!("{} stopped: the target drifted", self.headline()),
            text,
        )
    }

    /// Takes in what is there while people decide.
    pub(super) fn found(&mut self, seen: &Observation) {
        let Some(mut stage) = self.cursor().map(|cursor| cursor.stage.clone()) else {
            return;
        };
        if let Stage::Drifted { found, .. } = &mut stage {
            **found = Found::of(seen);
            self.set_stage(stage);
        }
    }

    /// Somebody else's number of pods is kept: a later write of the run that names it names theirs.
    pub(super) fn adopt_replicas(&mut self, replicas: u32) {
        self.known.replicas = replicas;
        if let Some(owned) = &mut self.known.owned.replicas {
            *owned = replicas;
        }
    }

    /// Whether writing once more what the plan says can help: of the pod template the run writes the image only.
    pub(super) fn can_force(&self) -> bool {
        match self.cursor().map(|cursor| &cursor.stage) {
            Some(Stage::Drifted { found, .. }) => {
                found.template_digest == self.known.template_digest
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
        match answer {
            DriftAnswer::Adopt => {
                self.known.image.clone_from(&found.settings.image);
                self.known
                    .template_digest
                    .clone_from(&found.template_digest);
                self.adopt_replicas(found.settings.replicas);
                if !made && own {
                    return self.begin_step(&step, false);
                }
                if self.known.owned.image.is_some() {
                    self.known.owned.image = Some(found.settings.image.clone());
                }
                self.look = Look {
                    due: self.now,
                    ..Look::default()
                };
                self.set_stage(Stage::Settling {
                    deadline: self.now.plus(self.plan.rollback.step_timeout),
                    then,
                });
                Ok(())
            }
            DriftAnswer::Force if own => self.begin_step(&step, true),
            DriftAnswer::Force => self.change(&step, Fields::default(), true, then),
        }
    }
}
