//! The actions of a phase, as a strategy's config names them.

use phasegate_plugin::{Problem, Situation};

/// A fault for each action that the phase doesn't have, by the pointer to its name, and for each that it has and no name
/// means: whoever gave the phase an action relies on it.
#[must_use]
pub fn problems<'a>(
    situation: &Situation,
    named: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<Problem> {
    let named: Vec<(&str, &str)> = named.into_iter().collect();
    let unknown = named
        .iter()
        .filter(|(_, name)| !situation.actions.iter().any(|action| action == name));
    let unknown = unknown.map(|(pointer, name)| {
        let has = match situation.actions.as_slice() {
            [] => "none".to_owned(),
            actions => actions.join(", "),
        };
        let message = format!("the phase has no action `{name}`; it has: {has}");
        Problem::new(*pointer, message)
    });
    let idle = situation
        .actions
        .iter()
        .filter(|action| !named.iter().any(|(_, name)| name == action));
    let idle = idle.map(|action| {
        let message = format!("the phase has the action `{action}`, and nothing here says when");
        Problem::new("", message)
    });
    unknown.chain(idle).collect()
}

/// A fault for each action of the phase, for a strategy that uses none.
#[must_use]
pub fn none(situation: &Situation) -> Vec<Problem> {
    let fault = |action: &String| {
        let message = format!(
            "this strategy uses no actions; make `{action}` a step of a phase before this one or after it"
        );
        Problem::new("", message)
    };
    situation.actions.iter().map(fault).collect()
}
