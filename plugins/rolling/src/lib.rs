//! Strategy `rolling`: pods are replaced bit by bit in the Deployment that serves, then the phase's
//! gates are asked.

use phasegate_plugin::strategy::{Action, Amount, Deploy, Placement};
use phasegate_plugin::{Duration, Problem, Result, Situation, Step, Strategy};
use phasegate_plugins_shared::share::{Leeway, Rounding, Share};
use phasegate_plugins_shared::tail::{self, Soak};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a rolling release goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rolling {
    /// How many pods there may be above the desired number: a count or a percentage. Without it
    /// the Deployment's own setting holds.
    #[serde(default)]
    max_surge: Option<Share>,
    /// How many of the desired pods may be missing: a count or a percentage. Without it the
    /// Deployment's own setting holds.
    #[serde(default)]
    max_unavailable: Option<Share>,
    /// How long the pods have to become ready.
    #[serde(default = "default_timeout")]
    timeout: Duration,
    /// Gates that must pass, by name; all of the phase where none is named.
    #[serde(default)]
    gates: Vec<String>,
    /// How long to hold afterwards and keep asking.
    #[serde(default)]
    soak: Option<Soak>,
}

fn default_timeout() -> Duration {
    Duration::from_mins(5)
}

impl Strategy for Rolling {
    const NAME: &'static str = "rolling";
    const SUMMARY: &'static str = "replaces pods bit by bit, then asks the phase's gates";

    fn validate(&self) -> Vec<Problem> {
        let mut problems = tail::problems(self.timeout, self.soak.as_ref());
        let shares = [
            ("/maxSurge", &self.max_surge),
            ("/maxUnavailable", &self.max_unavailable),
        ];
        for (pointer, share) in shares {
            if let Some(share) = share
                && share.is_zero().is_none()
            {
                let found = share.text();
                let message = format!("`{found}` is neither a count (2) nor a percentage (25%)");
                problems.push(Problem::new(pointer, message));
            }
        }
        let zero = |share: &Option<Share>| share.as_ref().and_then(Share::is_zero) == Some(true);
        if zero(&self.max_surge) && zero(&self.max_unavailable) {
            let message = "maxSurge and maxUnavailable can't both be 0: no pod could be replaced";
            problems.push(Problem::new("/maxUnavailable", message));
        }
        problems
    }

    fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        let mut problems = self.validate();
        problems.extend(self.outage(situation.workload.replicas));
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let deploy = Action::Deploy(Deploy {
            placement: Placement::InPlace,
            replicas: Amount::ALL,
            surge: self.max_surge.as_ref().map(Share::text),
            unavailable: self.max_unavailable.as_ref().map(Share::text),
            timeout_ms: self.timeout.as_millis(),
        });
        let mut steps = vec![Step::new("deploy", deploy)];
        steps.extend(tail::steps(situation, &self.gates, self.soak.as_ref())?);
        Ok(steps)
    }
}

impl Rolling {
    /// The fault of settings that let every pod be missing at once. Where the Deployment's own surge
    /// holds, only what it can't change is looked at; the engine looks at the rest.
    fn outage(&self, replicas: u32) -> Option<Problem> {
        let unavailable = self.max_unavailable.as_ref()?;
        let missing = match &self.max_surge {
            Some(surge) => Leeway::of(replicas, surge, unavailable)?.missing,
            None => unavailable.pods(replicas, Rounding::Down)?,
        };
        let message = format!(
            "{missing} pods may be missing at once, and there are {replicas}: nothing would serve; allow fewer, or use the strategy `recreate`"
        );
        (replicas > 0 && missing >= replicas).then(|| Problem::new("/maxUnavailable", message))
    }
}

phasegate_plugin::export! {
    name: "rolling",
    summary: "Rolling releases within one Deployment",
    strategies: [Rolling],
}

#[cfg(test)]
mod tests;
