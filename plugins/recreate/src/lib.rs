//! Strategy `recreate`: the old version stops before the new one starts, for software of which two
//! versions can't run side by side. The outage in between is declared.

use phasegate_plugin::strategy::{Action, Amount, Deploy, Placement, Scale, Slot};
use phasegate_plugin::{Duration, Problem, Result, Situation, Step, Strategy};
use phasegate_plugins_shared::tail::{self, Soak};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a recreating release goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recreate {
    /// How long the old pods have to stop.
    #[serde(default = "default_stop_timeout")]
    stop_timeout: Duration,
    /// How long the new pods have to become ready.
    #[serde(default = "default_timeout")]
    timeout: Duration,
    /// Gates that must pass, by name; all of the phase where none is named.
    #[serde(default)]
    gates: Vec<String>,
    /// How long to hold afterwards and keep asking.
    #[serde(default)]
    soak: Option<Soak>,
}

fn default_stop_timeout() -> Duration {
    Duration::from_mins(2)
}

fn default_timeout() -> Duration {
    Duration::from_mins(5)
}

impl Strategy for Recreate {
    const NAME: &'static str = "recreate";
    const SUMMARY: &'static str = "stops the old version, then starts the new one";

    fn validate(&self) -> Vec<Problem> {
        let mut problems = tail::problems(self.timeout, self.soak.as_ref());
        if self.stop_timeout == Duration::ZERO {
            let message = "the pods need some time to stop";
            problems.push(Problem::new("/stopTimeout", message));
        }
        problems
    }

    fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        let problems = self.validate();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let stop = Action::Scale(Scale {
            slot: Slot::Stable,
            replicas: Amount::Count(0),
            timeout_ms: self.stop_timeout.as_millis(),
        });
        let deploy = Action::Deploy(Deploy {
            placement: Placement::InPlace,
            replicas: Amount::ALL,
            surge: None,
            unavailable: None,
            timeout_ms: self.timeout.as_millis(),
        });
        let mut steps = vec![
            Step::new("stop", stop).with_outage(),
            Step::new("deploy", deploy),
        ];
        steps.extend(tail::steps(situation, &self.gates, self.soak.as_ref())?);
        Ok(steps)
    }
}

phasegate_plugin::export! {
    name: "recreate",
    summary: "Releases that stop the old version first",
    strategies: [Recreate],
}

#[cfg(test)]
mod tests;
