//! Strategy `rolling`: pods are replaced bit by bit in the Deployment that serves, then the phase's
//! gates are asked.

use phasegate_plugin::strategy::{Action, Amount, Deploy, Placement};
use phasegate_plugin::{Duration, Problem, Result, Situation, Step, Strategy};
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

/// A count (`2`) or a percentage (`"25%"`), as Kubernetes writes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Share {
    Count(u32),
    Percent(#[schemars(regex(pattern = "^(100|[0-9]{1,2})%$|^[0-9]+$"))] String),
}

impl Share {
    /// As the contract carries it.
    fn text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Percent(text) => text.clone(),
        }
    }

    /// Whether it is nothing at all, which Kubernetes refuses for both at once; none where it
    /// isn't a share.
    fn is_zero(&self) -> Option<bool> {
        let text = self.text();
        let number: u32 = text.strip_suffix('%').unwrap_or(&text).parse().ok()?;
        (!text.ends_with('%') || number <= 100).then_some(number == 0)
    }
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
        let problems = self.validate();
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

phasegate_plugin::export! {
    name: "rolling",
    summary: "Rolling releases within one Deployment",
    strategies: [Rolling],
}

#[cfg(test)]
mod tests;
