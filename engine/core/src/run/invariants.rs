//! What may never happen, checked on every transition. A transition that would break one is refused.

use super::state::{Mode, Phase};
use super::write::rollout;
use super::{Illegal, Run};
use crate::effect::{Action, Direction, Request};
use crate::plan::{Action as Step, Plan};
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
            let rollout = change.fields.rollout.as_ref().unwrap_or(&baseline.rollout);
            let replaces = change
                .fields
                .image
                .as_ref()
                .is_some_and(|image| *image != self.known.image);
            let wanted = change.fields.replicas.unwrap_or(self.known.replicas);
            if replaces && self.known.replicas > 0 && takes_all(rollout, wanted) {
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
        let baseline = self.plan.baseline.settings.replicas;
        let steps = self.phases.iter().flat_map(|phase| &phase.steps);
        let mut outage = false;
        for planned in steps {
            outage |= planned.outage;
            if step == Some(planned.id.as_str()) {
                return outage;
            }
            outage &= !at_strength(&planned.action, baseline);
        }
        false
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
                    Step::Check { gates } | Step::Soak { gates, .. } => gates.len(),
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

/// Whether a step leaves the workload with all of its pods.
fn at_strength(action: &Step, baseline: u32) -> bool {
    match action {
        Step::Deploy { replicas, .. } | Step::Scale { replicas, .. } => {
            replicas.of(baseline) >= baseline
        }
        _ => false,
    }
}

/// Whether Kubernetes may take every pod away at once; what can't be read counts as that.
fn takes_all(rollout: &Rollout, replicas: u32) -> bool {
    let Rollout::RollingUpdate { surge, unavailable } = rollout else {
        return replicas > 0;
    };
    // Surge is rounded up, unavailable down; where both come to nothing, one may be missing.
    let (Some(surge), Some(unavailable)) = (
        pods(surge, replicas, true),
        pods(unavailable, replicas, false),
    ) else {
        return true;
    };
    let missing = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    replicas > 0 && missing >= u64::from(replicas)
}

fn pods(amount: &str, replicas: u32, up: bool) -> Option<u64> {
    match amount.strip_suffix('%') {
        None => amount.parse().ok(),
        Some(percent) => {
            let hundredths = u64::from(percent.parse::<u32>().ok()?) * u64::from(replicas);
            Some(if up {
                hundredths.div_ceil(100)
            } else {
                hundredths / 100
            })
        }
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
            Step::Deploy {
                replicas: amount,
                unavailable,
                surge,
                ..
            } => {
                let wanted = amount.of(baseline.replicas);
                if wanted < baseline.replicas {
                    let what = format!("{} leaves {wanted} of {}", step.id, baseline.replicas);
                    return Err(broken(5, format!("{what} replicas")));
                }
                let asked = rollout(&baseline.rollout, surge.as_deref(), unavailable.as_deref());
                let rollout = asked.as_ref().unwrap_or(&baseline.rollout);
                if !outage && replicas > 0 && takes_all(rollout, wanted) {
                    let what = "lets every pod be missing at once and declares no outage";
                    return Err(broken(1, format!("{} {what}", step.id)));
                }
                replicas = wanted;
                deployed = true;
            }
            Step::Scale {
                replicas: amount, ..
            } => {
                replicas = amount.of(baseline.replicas);
                if replicas < baseline.replicas && !outage {
                    let what = "takes replicas away and declares no outage";
                    return Err(broken(5, format!("{} {what}", step.id)));
                }
            }
            Step::Check { gates } | Step::Soak { gates, .. } => {
                if let Some(gate) = gates.iter().find(|gate| !plan.gates.contains_key(*gate)) {
                    let what = format!("asks the gate {gate}, which the plan doesn't have");
                    return Err(broken(6, format!("{} {what}", step.id)));
                }
            }
            Step::Approve { .. } | Step::Attest { .. } | Step::Notify { .. } => {}
        }
        outage &= !at_strength(&step.action, baseline.replicas);
    }
    if replicas < baseline.replicas {
        let what = format!("the plan ends with {replicas} of {}", baseline.replicas);
        return Err(broken(5, format!("{what} replicas")));
    }
    if !deployed {
        return Err(broken(5, "the plan never deploys the new version"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
