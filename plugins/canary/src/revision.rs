//! Other remaining steps, once stable has grown.
//!
//! Percentages follow stable by themselves: the engine takes them of what stable has by then. Counts
//! don't, and those of a canary by replicas are counts.

use phasegate_plugin::strategy::{Action, Amount, Outcome};
use phasegate_plugin::{Situation, Step};

use crate::weighted::count;

/// The rest of what would be planned now, where it asks for more than what remains; none where it
/// asks for the same, or for less anywhere: a plan under way never shrinks.
pub(crate) fn grown(
    situation: &Situation,
    planned: Vec<Step>,
    done: &[Outcome],
    remaining: &[Step],
) -> Option<Vec<Step>> {
    // The engine puts the phase before a step's id.
    let last = done.last()?.step.rsplit('/').next()?;
    let at = planned.iter().position(|step| step.id == last)?;
    let rest: Vec<Step> = planned.into_iter().skip(at.checked_add(1)?).collect();
    let all = situation.workload.replicas;
    let mut grows = situation.router.is_some() && scales_more(&rest, remaining);
    for step in remaining {
        let again = rest.iter().find(|again| again.id == step.id);
        let now = again.and_then(|again| amount(&again.action));
        match (amount(&step.action), now) {
            (Some(before), Some(now)) if count(now, all) < count(before, all) => return None,
            (Some(before), Some(now)) => grows |= count(now, all) > count(before, all),
            // Nothing that was planned may be missing: a gate, an approval.
            (None, _) if again.is_none() => return None,
            // With other replicas a side is scaled one weight earlier or later.
            _ => {}
        }
    }
    grows.then_some(rest)
}

/// Whether the candidate is scaled where it was to stay. With a router that is so only where its weight
/// has outgrown what the config asks; by replicas it can come of fewer of them as well.
fn scales_more(rest: &[Step], remaining: &[Step]) -> bool {
    let known = |step: &Step| remaining.iter().any(|before| before.id == step.id);
    rest.iter()
        .any(|step| amount(&step.action).is_some() && !known(step))
}

fn amount(action: &Action) -> Option<Amount> {
    match action {
        Action::Deploy(deploy) => Some(deploy.replicas),
        Action::Scale(scale) => Some(scale.replicas),
        _ => None,
    }
}
