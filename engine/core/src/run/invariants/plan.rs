//! What can be seen of the invariants in a plan, before anything runs: its steps are played on numbers of
//! pods and shares of traffic.

use super::super::write::rollout;
use super::{Broken, at_strength, broken, takes_all};
use crate::plan::{Action, Plan, Step, Workload};
use crate::strategy::{Placement, Slot, Split, WHOLE};
use crate::workload::Settings;

/// Checks what can be seen of the invariants in a plan, before anything runs.
///
/// # Errors
/// The first invariant that the plan would break.
pub fn check_plan(plan: &Plan) -> Result<(), Broken> {
    if plan.workloads.is_empty() {
        return Err(broken(5, "the plan releases nothing"));
    }
    for (_, step) in plan.steps() {
        if plan.workload(step.workload).is_none() {
            let what = format!("{} is about a workload that the plan doesn't have", step.id);
            return Err(broken(5, what));
        }
        let (Action::Check { gates } | Action::Soak { gates, .. }) = &step.action else {
            continue;
        };
        if let Some(gate) = gates.iter().find(|gate| !plan.gates.contains_key(*gate)) {
            let what = format!("asks the gate {gate}, which the plan doesn't have");
            return Err(broken(6, format!("{} {what}", step.id)));
        }
    }
    for (place, workload) in plan.workloads.iter().enumerate() {
        let mut shape = Shape::of(workload);
        for (_, step) in plan.steps().filter(|(_, step)| step.workload == place) {
            shape.take(step)?;
        }
        shape.end()?;
    }
    Ok(())
}

/// What a workload comes to.
struct Shape<'a> {
    workload: &'a Workload,
    baseline: &'a Settings,
    outage: bool,
    stable: u32,
    candidate: u32,
    split: Split,
    deployed: bool,
    promoted: bool,
}

impl<'a> Shape<'a> {
    fn of(workload: &'a Workload) -> Self {
        let baseline = &workload.baseline.settings;
        Self {
            workload,
            baseline,
            outage: false,
            stable: baseline.replicas,
            candidate: 0,
            split: Split::default(),
            deployed: false,
            promoted: false,
        }
    }

    fn whole(&self) -> u32 {
        self.baseline.replicas
    }

    fn take(&mut self, step: &Step) -> Result<(), Broken> {
        self.outage |= step.outage;
        match &step.action {
            Action::Deploy {
                placement: Placement::Beside,
                replicas,
                ..
            } => {
                if self.workload.target.beside.is_none() {
                    let what = "brings up a candidate where there is no place for one";
                    return Err(broken(5, format!("{} {what}", step.id)));
                }
                self.resize(step, replicas.of(self.whole()))?;
                self.deployed = true;
            }
            Action::Deploy { .. } => self.replace(step)?,
            Action::Scale {
                slot: Slot::Candidate,
                replicas,
                ..
            } => self.resize(step, replicas.of(self.whole()))?,
            Action::Scale { replicas, .. } => self.scale_stable(step, replicas.of(self.whole()))?,
            Action::Route { split, .. } => self.route(step, split)?,
            Action::Promote => {
                if self.candidate < self.whole() || !self.carries_all() {
                    let what = "promotes a candidate that doesn't carry everything";
                    return Err(broken(5, format!("{} {what}", step.id)));
                }
                self.promoted = true;
            }
            Action::Retire { slot, .. } => self.retire(step, *slot)?,
            Action::Check { .. }
            | Action::Soak { .. }
            | Action::Approve { .. }
            | Action::Attest { .. }
            | Action::Act { .. }
            | Action::Notify { .. } => {}
        }
        self.outage &= !at_strength(&step.action, self.whole());
        Ok(())
    }

    /// Whether all traffic reaches the candidate's pods, as far as the plan can say.
    fn carries_all(&self) -> bool {
        if self.workload.router.is_some() {
            self.split.candidate_weight == WHOLE
        } else {
            self.stable == 0
        }
    }

    fn replace(&mut self, step: &Step) -> Result<(), Broken> {
        let Action::Deploy {
            replicas,
            surge,
            unavailable,
            ..
        } = &step.action
        else {
            return Ok(());
        };
        let wanted = replicas.of(self.whole());
        if wanted < self.whole() {
            let what = format!("{} leaves {wanted} of {}", step.id, self.whole());
            return Err(broken(5, format!("{what} replicas")));
        }
        let own = &self.baseline.rollout;
        let asked = rollout(own, surge.as_deref(), unavailable.as_deref());
        let rollout = asked.as_ref().unwrap_or(own);
        let serves = self.stable > 0 && !self.carries_all();
        if !self.outage && serves && takes_all(rollout, wanted) {
            let what = "lets every pod be missing at once and declares no outage";
            return Err(broken(1, format!("{} {what}", step.id)));
        }
        self.stable = wanted;
        self.deployed = true;
        Ok(())
    }

    /// The candidate has so many pods from now on.
    fn resize(&mut self, step: &Step, wanted: u32) -> Result<(), Broken> {
        let needs = if self.workload.router.is_some() {
            self.split.candidate_needs(self.whole())
        } else {
            self.whole().saturating_sub(self.stable)
        };
        if wanted < needs && !self.outage {
            let what =
                format!("leaves the candidate {wanted} pods, and it carries traffic for {needs}");
            return Err(broken(1, format!("{} {what}", step.id)));
        }
        self.candidate = wanted;
        Ok(())
    }

    fn scale_stable(&mut self, step: &Step, wanted: u32) -> Result<(), Broken> {
        let beside = if self.workload.router.is_some() {
            0
        } else {
            self.candidate
        };
        let left = wanted.saturating_add(beside);
        if left < self.whole() && !self.outage {
            let what = "takes replicas away and declares no outage";
            return Err(broken(5, format!("{} {what}", step.id)));
        }
        if wanted < self.stable && beside > 0 && self.workload.baseline.autoscaler.is_some() {
            let what = "scales stable down, and its autoscaler would bring the pods back";
            return Err(broken(5, format!("{} {what}", step.id)));
        }
        self.stable = wanted;
        Ok(())
    }

    fn route(&mut self, step: &Step, split: &Split) -> Result<(), Broken> {
        let needs = split.candidate_needs(self.whole());
        if self.candidate < needs {
            let has = self.candidate;
            let what = format!("gives the candidate traffic for {needs} pods, and it has {has}");
            return Err(broken(1, format!("{} {what}", step.id)));
        }
        let needs = split.stable_needs(self.whole());
        if self.stable < needs {
            let has = self.stable;
            let what = format!("gives stable traffic for {needs} pods, and it has {has}");
            return Err(broken(1, format!("{} {what}", step.id)));
        }
        self.split = split.clone();
        Ok(())
    }

    fn retire(&mut self, step: &Step, slot: Slot) -> Result<(), Broken> {
        let what = match slot {
            Slot::Stable if self.candidate < self.whole() || !self.carries_all() => {
                "takes stable out of service before the candidate carries everything"
            }
            Slot::Candidate if !self.split.spares_candidate() => {
                "takes the candidate away while it gets traffic"
            }
            Slot::Candidate if self.stable < self.whole() => {
                "takes the candidate away before stable is at full strength"
            }
            Slot::Stable => {
                self.stable = 0;
                return Ok(());
            }
            Slot::Candidate => {
                self.candidate = 0;
                return Ok(());
            }
        };
        Err(broken(5, format!("{} {what}", step.id)))
    }

    fn end(&self) -> Result<(), Broken> {
        let name = &self.workload.name;
        if !self.deployed {
            return Err(broken(
                5,
                format!("the plan never deploys the new version of {name}"),
            ));
        }
        let (left, who) = if self.promoted {
            (self.candidate, "the candidate")
        } else {
            (self.stable, "stable")
        };
        if left < self.whole() {
            let what = format!("the plan ends with {left} of {} replicas", self.whole());
            return Err(broken(5, format!("{what} in {who}")));
        }
        if !self.promoted && self.candidate > 0 {
            return Err(broken(
                5,
                "the plan ends with a candidate that is not promoted",
            ));
        }
        Ok(())
    }
}
