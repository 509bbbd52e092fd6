//! What may never happen, checked on every transition. A transition that would break one is refused.

mod plan;

pub use plan::check_plan;

use super::state::{Mode, Phase};
use super::{Illegal, Run, limits};
use crate::effect::{Action, Change, Direction, Effect, Piece, Request};
use crate::plan::Action as Step;
use crate::strategy::{Placement, Slot, Split, WHOLE};
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

    /// 1, 3, 4, 5 and 9: no write of ours takes away capacity that isn't declared, repeats itself, or brings back anything but the baseline.
    fn write_is_safe(&self, effect: &Effect) -> Result<(), Broken> {
        if effect.request.changes() && self.performed.contains(&effect.key) {
            return Err(broken(3, format!("{} took place already", effect.key)));
        }
        self.holds_what_it_writes(effect)?;
        match &effect.request {
            Request::Change { change } if change.slot.is_stable() => {
                match (effect.direction, self.past_point) {
                    (Direction::Back, false) => self.leads_to_baseline(change),
                    (Direction::Forward, _) => self.keeps_capacity(effect, change),
                    (Direction::Back, true) => Ok(()),
                }
            }
            Request::Route { split } => self.carries(split),
            Request::Unroute { .. } => self.carries(&self.known.traffic.before),
            Request::Remove { slot, piece } => self.may_go(*slot, *piece),
            _ => Ok(()),
        }
    }

    /// 9: the target is held by whoever writes to it.
    fn holds_what_it_writes(&self, effect: &Effect) -> Result<(), Broken> {
        let free = matches!(
            effect.request,
            Request::Claim { .. } | Request::Release { .. } | Request::Notify { .. }
        );
        if effect.request.changes() && !free && !self.claimed.contains(&effect.workload) {
            return Err(broken(
                9,
                format!("{} without holding the target", effect.key),
            ));
        }
        Ok(())
    }

    fn leads_to_baseline(&self, change: &Change) -> Result<(), Broken> {
        let baseline = &self.hand.baseline.settings;
        let image = change.fields.image.as_ref();
        if image.is_some_and(|image| *image != baseline.image) {
            let what = "the way back leads to another version than the recorded one";
            return Err(broken(4, what));
        }
        let replicas = change.fields.replicas;
        if replicas.is_some_and(|replicas| replicas < baseline.replicas) {
            return Err(broken(1, "the way back has less capacity than there was"));
        }
        Ok(())
    }

    fn keeps_capacity(&self, effect: &Effect, change: &Change) -> Result<(), Broken> {
        let baseline = &self.hand.baseline.settings;
        let step = effect.step.as_deref();
        if self.declares_outage(step) || self.stands_down(effect, change) {
            return Ok(());
        }
        let fewer = |replicas| replicas < self.whole().min(self.known.replicas);
        if change.fields.replicas.is_some_and(fewer) {
            let what = "replicas are taken away, and the step declares no outage";
            return Err(broken(5, what));
        }
        let rollout = change.fields.rollout.as_ref().unwrap_or(&baseline.rollout);
        let image = change.fields.image.as_ref();
        let replaces = image.is_some_and(|image| *image != self.known.image);
        let wanted = change.fields.replicas.unwrap_or(self.known.replicas);
        if replaces && self.known.replicas > 0 && takes_all(rollout, wanted) {
            let what = "every pod may be missing at once, and the step declares no outage";
            return Err(broken(1, what));
        }
        Ok(())
    }

    /// Whether the candidate has been seen to carry what the write takes from stable. The last write of a
    /// run names again what it has written before.
    fn stands_down(&self, effect: &Effect, change: &Change) -> bool {
        let Some(wanted) = change.fields.replicas else {
            return false;
        };
        if effect.step.is_none() && self.known.owned.replicas == Some(wanted) {
            return true;
        }
        let whole = self.whole();
        let routed = self.hand.router.is_some();
        let carries = !routed || self.candidate_weight() >= WHOLE;
        let ready = self.seen_lately().map(|(_, candidate)| candidate);
        carries && ready.is_some_and(|ready| ready.saturating_add(wanted) >= whole)
    }

    /// The ready pods of stable and candidate, if they were read within [`limits::PROOF_AGE`].
    pub(super) fn seen_lately(&self) -> Option<(u32, u32)> {
        let seen = self.observation.as_ref().filter(|seen| !seen.watched)?;
        let age = self.now.since(self.look.last.unwrap_or(seen.at));
        let candidate = seen.beside.as_deref().map_or(0, |c| c.ready.min(c.updated));
        (age <= limits::PROOF_AGE).then_some((seen.ready, candidate))
    }

    /// 1: nobody's share is raised beyond what its ready pods can carry.
    fn carries(&self, split: &Split) -> Result<(), Broken> {
        let before = &self.known.traffic.split;
        let whole = self.hand.baseline.settings.replicas;
        let Some((stable, candidate)) = self.seen_lately() else {
            return Err(broken(
                1,
                "traffic is shifted to pods that nobody looked at",
            ));
        };
        let raised = split.candidate_needs(whole) > before.candidate_needs(whole)
            || split.candidate_weight > before.candidate_weight;
        if raised && candidate < split.candidate_needs(whole) {
            let needs = split.candidate_needs(whole);
            let what = format!("the candidate gets traffic for {needs} pods and has {candidate}");
            return Err(broken(1, what));
        }
        let lowered = split.candidate_weight < before.candidate_weight;
        if lowered && stable < split.stable_needs(whole) {
            let needs = split.stable_needs(whole);
            let what = format!("stable gets traffic for {needs} pods and has {stable}");
            return Err(broken(1, what));
        }
        Ok(())
    }

    /// 5: what is removed gets no traffic, and what is left can carry everything.
    fn may_go(&self, slot: Slot, piece: Piece) -> Result<(), Broken> {
        if let Piece::Config(_) = piece
            && self.known.pieces.contains(&piece)
            && self.refers_to_copies()
        {
            return Err(broken(
                5,
                "a configuration is removed while something refers to it",
            ));
        }
        if let Piece::Left(_) = piece
            && self.keeping().is_none()
        {
            return Err(broken(
                5,
                "a configuration is removed while the way back may need it",
            ));
        }
        if piece != Piece::Deployment {
            return Ok(());
        }
        if slot.is_stable() {
            let carried = self.known.promoted && self.known.image != self.hand.image;
            return if carried {
                Ok(())
            } else {
                Err(broken(
                    5,
                    "stable is removed, and nothing has taken its place",
                ))
            };
        }
        if self.known.traffic.touched {
            return Err(broken(5, "the candidate is removed while it gets traffic"));
        }
        // What may come late isn't counted on by anybody.
        if self.hand.router.is_some() || !self.known.pieces.contains(&piece) {
            return Ok(());
        }
        let whole = self.hand.baseline.settings.replicas;
        match self.seen_lately() {
            Some((stable, _)) if stable >= whole => Ok(()),
            _ => Err(broken(
                5,
                "the candidate is removed before stable is at full strength",
            )),
        }
    }

    /// A declared outage lasts from its step until the workload is at full strength again.
    fn declares_outage(&self, step: Option<&str>) -> bool {
        let baseline = self.hand.baseline.settings.replicas;
        let steps = self.phases.iter().flat_map(|phase| &phase.steps);
        let mut outage = false;
        for planned in steps.filter(|planned| planned.workload == self.in_hand) {
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
        Step::Deploy {
            placement: Placement::InPlace,
            replicas,
            ..
        }
        | Step::Scale {
            slot: Slot::Stable,
            replicas,
            ..
        } => replicas.of(baseline) >= baseline,
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

#[cfg(test)]
mod tests;
