//! A model of what a plan does to capacity and traffic, for the strategies' own tests. It knows nothing
//! of how a plan is made; it follows the steps and says which law one of them breaks.

use std::collections::BTreeSet;

use phasegate_plugin::strategy::{Action, Amount, Placement, Slot};
use phasegate_plugin::{Situation, Split, Step};

use crate::traffic::ALL_TRAFFIC;

/// Pods and traffic after some steps of a plan. Each step is waited for, so pods that are wanted are ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Ready pods of the version that served when the run began, or of what replaced them in their Deployment.
    pub stable: u32,
    /// Ready pods of the new version's own Deployment.
    pub candidate: u32,
    /// The candidate's share of traffic, out of 10,000. Without a router it follows from the pods.
    pub weight: u32,
    /// Copies of requests, out of 10,000.
    pub mirror: u32,
    /// Headers that lead to the candidate.
    pub headers: usize,
    /// Whether the promotion has taken place.
    pub promoted: bool,
}

/// What an amount comes to: percentages are rounded up, as the engine does.
#[must_use]
pub fn count(amount: &Amount, replicas: u32) -> u32 {
    match amount {
        Amount::Count(count) => *count,
        Amount::Percent(percent) => (replicas * u32::from(*percent)).div_ceil(100),
    }
}

/// Follows a plan and returns the state after each of its steps, a promotion counting as its stages.
///
/// # Errors
///
/// The first step that breaks a law, and which.
pub fn follow(situation: &Situation, steps: &[Step]) -> Result<Vec<State>, String> {
    let mut ids = BTreeSet::new();
    let mut states = vec![State {
        stable: situation.workload.replicas,
        ..State::default()
    }];
    for step in steps {
        let at = |broken: String| format!("{}: {broken}", step.id);
        if !ids.insert(step.id.as_str()) {
            return Err(at("two steps have this id".to_owned()));
        }
        gates(situation, step).map_err(at)?;
        actions(situation, step).map_err(at)?;
        let before = states.last().cloned().unwrap_or_default();
        for after in stages(situation, &before, step).map_err(at)? {
            let last = states.last().cloned().unwrap_or_default();
            lawful(situation, &last, &after).map_err(at)?;
            states.push(after);
        }
    }
    let end = states.last().cloned().unwrap_or_default();
    if !end.promoted {
        return Err(format!("the plan ends without a promotion: {end:?}"));
    }
    Ok(states)
}

/// Every gate that a step asks is one of the phase.
fn gates(situation: &Situation, step: &Step) -> Result<(), String> {
    let (Action::Check(phasegate_plugin::strategy::Check { gates })
    | Action::Soak(phasegate_plugin::strategy::Soak { gates, .. })) = &step.action
    else {
        return Ok(());
    };
    if matches!(step.action, Action::Check(_)) && situation.gates.is_empty() {
        return Err("it asks gates, and the phase has none".to_owned());
    }
    match gates.iter().find(|gate| !situation.gates.contains(gate)) {
        Some(gate) => Err(format!("the phase has no gate {gate}")),
        None => Ok(()),
    }
}

/// Every action that a step names is one of the phase.
fn actions(situation: &Situation, step: &Step) -> Result<(), String> {
    match &step.action {
        Action::Act(action) if !situation.actions.contains(action) => {
            Err(format!("the phase has no action {action}"))
        }
        _ => Ok(()),
    }
}

fn stages(situation: &Situation, before: &State, step: &Step) -> Result<Vec<State>, String> {
    let replicas = situation.workload.replicas;
    let mut after = before.clone();
    match &step.action {
        Action::Deploy(deploy) => {
            if deploy.placement != Placement::Beside || before.candidate > 0 {
                return Err("the new version comes up beside the old one, once".to_owned());
            }
            after.candidate = count(&deploy.replicas, replicas);
        }
        Action::Scale(scale) => {
            if before.candidate == 0 {
                return Err("there is nothing to scale yet".to_owned());
            }
            match scale.slot {
                Slot::Stable => after.stable = count(&scale.replicas, replicas),
                Slot::Candidate => after.candidate = count(&scale.replicas, replicas),
            }
        }
        Action::Route(route) => return routed(situation, before, &route.split).map(|s| vec![s]),
        Action::Promote(_) => return promoted(situation, before, step),
        Action::Retire(retire) => {
            if retire.slot != Slot::Stable || !before.promoted {
                return Err("only the old side is retired, after the promotion".to_owned());
            }
            after.stable = 0;
        }
        Action::Check(_) | Action::Soak(_) | Action::Approve(_) | Action::Act(_) => {}
        Action::Other(_) => return Err("a step of another kind".to_owned()),
    }
    Ok(vec![after])
}

fn routed(situation: &Situation, before: &State, split: &Split) -> Result<State, String> {
    let Some(router) = &situation.router else {
        return Err("there is no router".to_owned());
    };
    let weight = split.candidate_weight;
    if weight < before.weight || weight > ALL_TRAFFIC {
        return Err(format!(
            "the weight goes from {} to {weight}",
            before.weight
        ));
    }
    let shared = weight > 0 && weight < ALL_TRAFFIC;
    if shared && !router.weights {
        return Err("the router knows no weights".to_owned());
    }
    if !split.headers.is_empty() && !router.header_match {
        return Err("the router matches no headers".to_owned());
    }
    if split.mirror_weight > 0 && !router.mirror {
        return Err("the router copies no requests".to_owned());
    }
    Ok(State {
        weight,
        mirror: split.mirror_weight,
        headers: split.headers.len(),
        ..before.clone()
    })
}

/// The stages into which the engine takes a promotion apart.
fn promoted(situation: &Situation, before: &State, step: &Step) -> Result<Vec<State>, String> {
    let replicas = situation.workload.replicas;
    if situation.router.is_some() && before.weight != ALL_TRAFFIC {
        return Err(format!("promoted at a weight of {}", before.weight));
    }
    if before.mirror > 0 || before.headers > 0 {
        return Err("promoted with copies or matches".to_owned());
    }
    if before.candidate < replicas {
        return Err(format!("promoted with {} of {replicas}", before.candidate));
    }
    let swapped = State {
        promoted: true,
        ..before.clone()
    };
    if step.extra == r#"{"swap":true}"# {
        return Ok(vec![swapped]);
    }
    // While the old Deployment is rewritten none of its pods is counted on.
    let rewriting = State {
        stable: 0,
        ..before.clone()
    };
    let rewritten = State {
        stable: replicas,
        ..before.clone()
    };
    let back = State {
        weight: 0,
        ..rewritten.clone()
    };
    let alone = State {
        candidate: 0,
        promoted: true,
        ..back.clone()
    };
    Ok(vec![rewriting, rewritten, back, alone])
}

/// What holds after every step.
fn lawful(situation: &Situation, before: &State, after: &State) -> Result<(), String> {
    let replicas = situation.workload.replicas;
    if after.stable + after.candidate < replicas {
        return Err(format!("fewer than {replicas} pods are left: {after:?}"));
    }
    if situation.router.is_none() {
        let lowered = after.stable < before.stable && after.candidate < before.candidate;
        return match lowered {
            true => Err("both sides shrink at once".to_owned()),
            false => Ok(()),
        };
    }
    let needs = |share: u32| u64::from(replicas * share).div_ceil(u64::from(ALL_TRAFFIC));
    // Copies are work as well.
    let work = ALL_TRAFFIC.min(after.weight + after.mirror);
    if u64::from(after.candidate) < needs(work) {
        return Err(format!(
            "the candidate is too small for its weight: {after:?}"
        ));
    }
    if u64::from(after.stable) < needs(ALL_TRAFFIC - after.weight) {
        return Err(format!("stable is too small for its weight: {after:?}"));
    }
    if after.candidate == 0 && (after.mirror > 0 || after.headers > 0) {
        return Err("requests are sent to a candidate without pods".to_owned());
    }
    Ok(())
}
