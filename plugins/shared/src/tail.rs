//! What comes after the new version is ready: the gates, and a soak.

use phasegate_plugin::strategy::{self, Action, Check};
use phasegate_plugin::{Duration, Error, Problem, Result, Situation, Step};
use schemars::JsonSchema;
use serde::Deserialize;

/// A time of holding, in which the gates are asked again and again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Soak {
    /// How long.
    #[serde(rename = "for")]
    duration: Duration,
    /// How often the gates are asked.
    #[serde(default = "default_interval")]
    every: Duration,
    /// Gates that are asked, by name; all of the phase where none is named.
    #[serde(default)]
    gates: Vec<String>,
}

fn default_interval() -> Duration {
    Duration::from_secs(30)
}

/// Faults that the schema can't express.
pub fn problems(timeout: Duration, soak: Option<&Soak>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if timeout == Duration::ZERO {
        let message = "the pods need some time to become ready";
        problems.push(Problem::new("/timeout", message));
    }
    let Some(soak) = soak else {
        return problems;
    };
    if soak.every == Duration::ZERO {
        let message = "the gates can't be asked without a pause";
        problems.push(Problem::new("/soak/every", message));
    } else if soak.every > soak.duration {
        let message = format!(
            "every {} is longer than the soak of {}: the gates would never be asked",
            soak.every, soak.duration
        );
        problems.push(Problem::new("/soak/every", message));
    }
    problems
}

/// The check, where there is anything to ask, and the soak, where one is wanted.
///
/// # Errors
///
/// [`Error::Misconfigured`] where a gate is named that the phase doesn't have, and where the phase has actions.
pub fn steps(situation: &Situation, gates: &[String], soak: Option<&Soak>) -> Result<Vec<Step>> {
    let problems = crate::actions::none(situation);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    known(situation, "/gates", gates)?;
    let mut steps = Vec::new();
    if !situation.gates.is_empty() {
        let gates = gates.to_vec();
        steps.push(Step::new("check", Action::Check(Check { gates })));
    }
    if let Some(soak) = soak {
        known(situation, "/soak/gates", &soak.gates)?;
        let action = Action::Soak(strategy::Soak {
            duration_ms: soak.duration.as_millis(),
            interval_ms: soak.every.as_millis(),
            gates: soak.gates.clone(),
        });
        steps.push(Step::new("soak", action));
    }
    Ok(steps)
}

/// Refuses a gate that the phase doesn't have.
fn known(situation: &Situation, pointer: &str, gates: &[String]) -> Result<()> {
    let problems = crate::gates::unknown(situation, pointer, gates);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Misconfigured(problems))
}
