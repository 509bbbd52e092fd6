//! What may never happen, checked on every transition. A transition that would break one is refused.

use super::state::{Mode, Phase};
use super::{Illegal, Run};
use crate::effect::{Action, Direction, Request};
use crate::plan::Plan;
use crate::verdict::Status;
use crate::workload::Rollout;

/// An invariant that a transition would break. The numbers are those of the list in ARCHITECTURE.md.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} would be broken: {what}")]
pub struct Broken {
    /// Which.
    pub number: u8,
    /// How.
    pub what: String,
}

fn broken(number: u8, what: impl Into<String>) -> Broken {
    Broken {
        number,
        what: what.into(),
    }
}

/// What a check needs to know of the state before.
pub(super) struct Summary {
    steps_done: usize,
    back: bool,
}

impl Run {
    pub(super) fn summary(&self) -> Summary {
        Summary {
            steps_done: self.outcomes.len(),
            back: matches!(self.mode, Mode::Back(_)),
        }
    }

    /// Checks what the core can see of the invariants.
    pub(super) fn check(&self, before: &Summary, actions: &[Action]) -> Result<(), Illegal> {
        for action in actions {
            if let Action::Perform(effect) = action {
                self.write_is_safe(effect)?;
            }
        }
        self.way_back_is_open(before)?;
        self.answers_were_answers(before)?;
        self.writes_come_one_by_one()?;
        Ok(())
    }

    /// 1, 3, 4 and 5: no write of ours takes away capacity that isn't declared, repeats itself, or brings back anything but the baseline.
    fn write_is_safe(&self, effect: &crate::effect::Effect) -> Result<(), Broken> {
        if effect.request.changes() && self.performed.contains(&effect.key) {
            return Err(broken(3, format!("{} took place already", effect.key)));
        }
        let Request::Change { change } = &effect.request else {
            return Ok(());
        };
        let baseline = &self.plan.baseline.settings;
        if effect.direction == Direction::Back && !self.past_point {
            let other_image = change
                .fields
                .image
                .as_ref()
                .is_some_and(|image| *image != baseline.image);
            if other_image {
                return Err(broken(
                    4,
                    "the way back leads to another version than the recorded one",
                ));
            }
            if change
                .fields
                .replicas
                .is_some_and(|replicas| replicas < baseline.replicas)
            {
                return Err(broken(1, "the way back has less capacity than there was"));
            }
        }
        if effect.direction == Direction::Forward && !self.declares_outage(effect.step.as_deref()) {
            if change
                .fields
                .replicas
                .is_some_and(|replicas| replicas < baseline.replicas.min(self.known.replicas))
            {
                return Err(broken(
                    5,
                    "replicas are taken away, and the step declares no outage",
                ));
            }
            if let Some(rollout) = &change.fields.rollout
                && *rollout != baseline.rollout
                && takes_all(rollout, baseline.replicas)
            {
                return Err(broken(
                    1,
                    "every pod may be missing at once, and the step declares no outage",
                ));
            }
        }
        Ok(())
    }

    /// A declared outage lasts from its step until the workload is at full strength again.
    fn declares_outage(&self, step: Option<&str>) -> bool {
        let steps = self.phases.iter().flat_map(|phase| &phase.steps);
        let mut outage = false;
        for planned in steps {
            outage |= planned.outage;
            if step == Some(planned.id.as_str()) {
                return outage;
            }
        }
        // The run's last write sets the workload's own rollout settings again.
        outage || step.is_none()
    }

    /// 2: a run that isn't at an end has something that will move it, and abort leads back from it.
    fn way_back_is_open(&self, before: &Summary) -> Result<(), Broken> {
        if before.back && matches!(self.mode, Mode::Forward(_)) {
            return Err(broken(2, "a run on its way back turned forward"));
        }
        if self.driver.is_none() || self.resting() {
            return Ok(());
        }
        let under_way = self.outstanding.values().any(|outstanding| {
            matches!(
                outstanding.phase,
                Phase::Given | Phase::Intended | Phase::Probing
            )
        });
        if under_way || self.next_wake().is_some() {
            return Ok(());
        }
        Err(broken(
            2,
            format!("nothing will ever move the run on from {}", self.state()),
        ))
    }

    /// 6: a step whose gates gave no data is not done.
    fn answers_were_answers(&self, before: &Summary) -> Result<(), Broken> {
        for outcome in self.outcomes.iter().skip(before.steps_done) {
            let gates = self
                .phases
                .iter()
                .flat_map(|phase| &phase.steps)
                .find(|step| step.id == outcome.step)
                .map(|step| match &step.action {
                    crate::plan::Action::Check { gates }
                    | crate::plan::Action::Soak { gates, .. } => gates.len(),
                    _ => 0,
                });
            if outcome.judged.len() < gates.unwrap_or(0) {
                return Err(broken(
                    6,
                    format!(
                        "{} is done, and not every gate of it was answered",
                        outcome.step
                    ),
                ));
            }
            if outcome
                .judged
                .iter()
                .any(|judged| judged.status == Status::Inconclusive)
            {
                return Err(broken(
                    6,
                    format!("{} is done on an inconclusive verdict", outcome.step),
                ));
            }
        }
        Ok(())
    }

    /// 7 and the order of §4: one write to the cluster at a time.
    fn writes_come_one_by_one(&self) -> Result<(), Broken> {
        let writes = self
            .outstanding
            .values()
            .filter(|outstanding| outstanding.effect.request.changes() && !outstanding.is_notice());
        if writes.count() > 1 {
            return Err(broken(3, "two writes are under way at once"));
        }
        Ok(())
    }
}

fn takes_all(rollout: &Rollout, replicas: u32) -> bool {
    match rollout {
        Rollout::Recreate => true,
        Rollout::RollingUpdate { unavailable, .. } => match unavailable.strip_suffix('%') {
            Some(percent) => percent
                .parse::<u32>()
                .map_or(true, |percent| percent >= 100),
            None => unavailable
                .parse::<u32>()
                .map_or(true, |count| replicas > 0 && count >= replicas),
        },
    }
}

/// Checks what can be seen of the invariants in a plan, before anything runs.
///
/// # Errors
/// The first invariant that the plan would break.
pub fn check_plan(plan: &Plan) -> Result<(), Broken> {
    let baseline = &plan.baseline.settings;
    let mut outage = false;
    let mut deployed = false;
    let mut replicas = baseline.replicas;
    for (_, step) in plan.steps() {
        outage |= step.outage;
        match &step.action {
            crate::plan::Action::Deploy {
                replicas: amount,
                unavailable,
                surge,
                ..
            } => {
                replicas = amount.of(baseline.replicas);
                if replicas < baseline.replicas {
                    return Err(broken(
                        5,
                        format!(
                            "{} leaves {replicas} replicas of {}",
                            step.id, baseline.replicas
                        ),
                    ));
                }
                let rollout = Rollout::RollingUpdate {
                    surge: surge.clone().unwrap_or_default(),
                    unavailable: unavailable.clone().unwrap_or_else(|| "0".to_owned()),
                };
                if !outage && takes_all(&rollout, baseline.replicas) {
                    return Err(broken(
                        1,
                        format!(
                            "{} lets every pod be missing at once and declares no outage",
                            step.id
                        ),
                    ));
                }
                deployed = true;
            }
            crate::plan::Action::Scale {
                replicas: amount, ..
            } => {
                replicas = amount.of(baseline.replicas);
                if replicas < baseline.replicas && !outage {
                    return Err(broken(
                        5,
                        format!("{} takes replicas away and declares no outage", step.id),
                    ));
                }
            }
            _ => {}
        }
    }
    if replicas < baseline.replicas {
        return Err(broken(
            5,
            format!(
                "the plan ends with {replicas} replicas of {}",
                baseline.replicas
            ),
        ));
    }
    if !deployed {
        return Err(broken(5, "the plan never deploys the new version"));
    }
    Ok(())
}
