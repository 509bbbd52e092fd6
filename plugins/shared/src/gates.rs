//! The gates of a phase, as a strategy's config names them.

use phasegate_plugin::{Problem, Situation};

/// A fault for each gate that the phase doesn't have; `pointer` is where the list of names stands.
#[must_use]
pub fn unknown(situation: &Situation, pointer: &str, gates: &[String]) -> Vec<Problem> {
    let fault = |(index, gate): (usize, &String)| {
        let has = match situation.gates.as_slice() {
            [] => "none".to_owned(),
            gates => gates.join(", "),
        };
        let message = format!("the phase has no gate `{gate}`; it has: {has}");
        Problem::new(format!("{pointer}/{index}"), message)
    };
    gates
        .iter()
        .enumerate()
        .filter(|(_, gate)| !situation.gates.contains(gate))
        .map(fault)
        .collect()
}
