//! Actions of a release, as steps of a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inputs, offer};
use crate::diagnostic::Diagnostic;
use crate::plan::{Action, Pin, Plan};
use crate::spec::release::{Act, Strategy};

/// The actions that a strategy may use, by name.
pub(super) fn of_strategy(
    inputs: &Inputs<'_>,
    strategy: &Strategy,
) -> Result<BTreeMap<String, Action>, Diagnostic> {
    let all = &inputs.loaded.release.actions;
    let given = strategy.actions.iter();
    let given = given.filter_map(|name| Some((name, all.get(name)?)));
    given
        .map(|(name, act)| Ok((name.clone(), planned(inputs, Some(name), act)?)))
        .collect()
}

/// What a step does that is the action.
pub(super) fn planned(
    inputs: &Inputs<'_>,
    name: Option<&String>,
    act: &Act,
) -> Result<Action, Diagnostic> {
    let named = act.offer.as_deref();
    Ok(Action::Act {
        name: name.cloned(),
        offer: offer(inputs, "action", &act.plugin, named, &act.config)?,
        manifests: act.manifests.is_some(),
        timeout: act.timeout,
    })
}

/// The pins of the plugins that a plan uses. One of an action that no step is needs no rights.
pub(super) fn pins_of(plan: &Plan, all: &BTreeMap<String, Pin>) -> BTreeMap<String, Pin> {
    let acts = plan.acts().map(|(offer, _)| offer);
    let used: BTreeSet<&String> = plan.offers().chain(acts).map(|o| &o.plugin).collect();
    let pins = all.iter().filter(|(name, _)| used.contains(name));
    pins.map(|(name, pin)| (name.clone(), pin.clone()))
        .collect()
}
