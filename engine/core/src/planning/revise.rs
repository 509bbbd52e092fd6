//! A strategy changes its mind after a soak.

use std::collections::BTreeSet;

use super::checked;
use super::steps::{Context, retired_last};
use crate::plan::{Action, Phase, Plan, Step};
use crate::strategy;
use crate::time::Span;

/// Puts a strategy's other remaining steps for the workload of `step` in the place of those after it, if the
/// rules allow it: no gate and no approval is dropped, nothing comes before an approval that it stood behind, no soak falls below its minimum, no action comes that wasn't
/// planned, and the invariants hold.
///
/// # Errors
/// Why the revision is refused; `phases` is as it was.
pub fn revise(
    plan: &Plan,
    phases: &mut Vec<Phase>,
    phase: usize,
    step: usize,
    steps: &[strategy::Step],
) -> Result<(), String> {
    let before = phases.clone();
    let Some(revised) = phases.get_mut(phase) else {
        return Err("there is no such phase".to_owned());
    };
    let Some(place) = revised.steps.get(step).map(|step| step.workload) else {
        return Err("there is no such step".to_owned());
    };
    let Some(workload) = plan.workload(place) else {
        return Err("there is no such workload".to_owned());
    };
    let context = Context {
        phase: revised,
        place,
        workload,
        alone: plan.workloads.len() == 1,
        allowed: None,
    };
    let new = context.steps(steps).map_err(|fault| fault.to_string())?;
    let keep = step.saturating_add(1).min(revised.steps.len());
    let rest = revised.steps.split_off(keep);
    // The point of no return of a strategy's phase is its end, whichever step that is.
    let point = rest.iter().any(|step| step.point_of_no_return);
    let (old, others): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|step| step.workload == place && step.origin.is_some());
    let new = retired_last(new);
    let verdict = allowed(&old, &new, plan.minimum_soak);
    let mut after = new;
    after.extend(others);
    for step in &mut after {
        step.point_of_no_return = false;
    }
    revised.steps.extend(retired_last(after));
    if let Some(last) = revised.steps.last_mut() {
        last.point_of_no_return |= point;
    }
    let done = revised.steps.iter().take(keep);
    let done = done
        .filter(|step| step.workload == place)
        .filter_map(|step| step.origin.clone())
        .collect::<BTreeSet<_>>();
    if let Some(planned) = revised.strategies.get_mut(place) {
        planned.steps.retain(|step| done.contains(&step.id));
        planned.steps.extend_from_slice(steps);
    }
    let mut whole = plan.clone();
    whole.phases.clone_from(phases);
    let verdict = verdict.and_then(|()| {
        checked(whole)
            .map(|_| ())
            .map_err(|faults| faults.to_string())
    });
    if verdict.is_err() {
        *phases = before;
    }
    verdict
}

fn allowed(old: &[Step], new: &[Step], minimum_soak: Span) -> Result<(), String> {
    let gates = |steps: &[Step]| {
        let mut names = BTreeSet::new();
        for step in steps {
            if let Action::Check { gates } | Action::Soak { gates, .. } = &step.action {
                names.extend(gates.iter().cloned());
            }
        }
        names
    };
    if let Some(dropped) = gates(old).difference(&gates(new)).next() {
        return Err(format!("it drops the gate {dropped}"));
    }
    let approvals = |steps: &[Step]| {
        steps
            .iter()
            .filter(|step| is_peoples(step))
            .map(|step| step.id.clone())
            .collect::<BTreeSet<_>>()
    };
    if let Some(dropped) = approvals(old).difference(&approvals(new)).next() {
        return Err(format!("it drops {dropped}"));
    }
    if let Some((step, approval)) = overtakes(old, new) {
        return Err(format!(
            "it puts {step} before {approval}, which it stood behind"
        ));
    }
    for step in new {
        let Action::Soak { duration, .. } = &step.action else {
            continue;
        };
        let before =
            old.iter()
                .find(|before| before.id == step.id)
                .and_then(|before| match &before.action {
                    Action::Soak { duration, .. } => Some(*duration),
                    _ => None,
                });
        let least = before.map_or(minimum_soak, |before| before.min(minimum_soak));
        if *duration < least {
            return Err(format!(
                "{} soaks for {duration}, at least {least} is asked",
                step.id
            ));
        }
    }
    Ok(())
}

/// Whether it waits for people.
fn is_peoples(step: &Step) -> bool {
    matches!(step.action, Action::Approve { .. } | Action::Attest { .. })
}

/// The first of the `new` steps that comes before people are asked, and came after it in the `old` ones; and what they are asked.
pub(super) fn overtakes<'a>(old: &'a [Step], new: &'a [Step]) -> Option<(&'a str, &'a str)> {
    let mut asked = old.iter().enumerate().filter(|(_, step)| is_peoples(step));
    asked.find_map(|(place, approval)| {
        let behind: BTreeSet<&str> = old.iter().skip(place).map(|s| s.id.as_str()).collect();
        let mut sooner = new.iter().take_while(|step| step.id != approval.id);
        let step = sooner.find(|step| behind.contains(step.id.as_str()))?;
        Some((step.id.as_str(), approval.id.as_str()))
    })
}
