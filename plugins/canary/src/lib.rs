//! Strategy `canary`: the new version comes up beside the old one and gets more and more of the
//! traffic, with gates asked all the while, until it has all of it; then it takes the old one's place.
//!
//! A config says how traffic moves in one of three forms, which [`moves`] makes one of. With a router
//! they are planned by weight ([`weighted`]), without one by replicas ([`counted`]).

use phasegate_plugin::strategy::{Action, Outcome, Promote};
use phasegate_plugin::{Duration, Problem, Result, Situation, Step, Strategy};
use phasegate_plugins_shared::{gates, traffic};
use schemars::JsonSchema;
use serde::Deserialize;

mod arithmetic;
mod checks;
mod counted;
mod list;
mod moves;
mod revision;
mod weighted;

use arithmetic::Percent;
use list::{CanaryScale, Entry};
use moves::{Move, Placed};

/// How long a weight is held where nothing is said.
const USUAL_SOAK: Duration = Duration::from_mins(10);
/// The same for weights that grow by themselves.
const USUAL_STEP: Duration = Duration::from_mins(1);

/// How a canary release goes: by `weights`, by `steps`, or by `stepWeight` or `stepWeights`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The candidate's shares of the traffic, in percent, growing.
    #[serde(default)]
    weights: Option<Vec<Percent>>,
    /// How long each of `weights` is held while the gates are asked: one time for all, or one for each. 10m.
    #[serde(default)]
    soak: Option<Soaks>,
    /// What to do, one after the other.
    #[serde(default)]
    steps: Option<Vec<Entry>>,
    /// The weight grows by so much every `interval`.
    #[serde(default)]
    step_weight: Option<Percent>,
    /// Where it stops growing, before the candidate gets everything; 100.
    #[serde(default)]
    max_weight: Option<Percent>,
    /// The weights one after the other, an `interval` each.
    #[serde(default)]
    step_weights: Option<Vec<Percent>>,
    /// How long each of those weights is held while the gates are asked; 1m.
    #[serde(default)]
    interval: Option<Duration>,
    /// The candidate's replicas, apart from its weight, until a step says otherwise.
    #[serde(default)]
    canary_scale: Option<CanaryScale>,
    /// Gates that are asked while it holds, by name; all of the phase where none is named.
    #[serde(default)]
    gates: Vec<String>,
    /// How often gates are asked; 30s, or the soak where that is shorter.
    #[serde(default)]
    every: Option<Duration>,
    /// How long pods have to become ready.
    #[serde(default = "traffic::default_timeout")]
    timeout: Duration,
    /// How long to wait once the data plane has followed a change of weight.
    #[serde(default = "traffic::default_settle")]
    settle: Duration,
}

/// One time for all weights, or one for each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a duration (10m), or a list of them, one for each weight"
)]
enum Soaks {
    All(Duration),
    Each(Vec<Duration>),
}

impl Strategy for Canary {
    const NAME: &'static str = "canary";
    const SUMMARY: &'static str = "gives the new version more and more of the traffic";

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        let moves = self.moves();
        let mut problems = self.problems();
        problems.extend(traffic::asleep(situation));
        problems.extend(gates::unknown(situation, "/gates", &self.gates));
        problems.extend(weighted::check_problems(situation, &moves));
        problems.extend(moves::action_problems(situation, &moves));
        match &situation.router {
            Some(router) => {
                problems.extend(weighted::problems(situation, router, &moves));
                let scale = self.canary_scale;
                problems.extend(
                    scale.and_then(|scale| {
                        weighted::scale_problem(situation, scale, "/canaryScale")
                    }),
                );
            }
            None => problems.extend(counted::problems(self, situation, &moves)),
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        Ok(match situation.router {
            Some(_) => weighted::plan(self, situation, moves),
            None => counted::plan(self, situation, moves),
        })
    }

    fn revise(
        &self,
        situation: &Situation,
        done: &[Outcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>> {
        // What can no longer be planned is finished as it was planned.
        let Ok(planned) = self.plan(situation) else {
            return Ok(None);
        };
        Ok(revision::grown(situation, planned, done, remaining))
    }
}

impl Canary {
    /// What the config wants, in order.
    fn moves(&self) -> Vec<Move> {
        if let Some(steps) = &self.steps {
            return moves::of_list(steps);
        }
        if let Some(weights) = &self.weights {
            let soaks = match &self.soak {
                None => &[USUAL_SOAK],
                Some(Soaks::All(soak)) => std::slice::from_ref(soak),
                Some(Soaks::Each(soaks)) => soaks.as_slice(),
            };
            return moves::of_weights(placed(weights, "/weights"), soaks);
        }
        let interval = self.interval.unwrap_or(USUAL_STEP);
        let weights = match (&self.step_weights, self.step_weight) {
            (Some(weights), _) => placed(weights, "/stepWeights"),
            (None, Some(step)) => {
                let most = self.max_weight.unwrap_or(Percent::ALL);
                let weights = arithmetic::linear(step, most).into_iter();
                weights.map(|w| (w, "/stepWeight".to_owned())).collect()
            }
            (None, None) => Vec::new(),
        };
        moves::of_weights(weights, &[interval])
    }

    fn hold(&self, label: &str, duration: Duration) -> Step {
        let soak = traffic::soak(duration, self.every, &self.gates);
        Step::new(format!("soak-{label}"), soak)
    }

    fn question(&self, situation: &Situation, weight: Percent) -> String {
        format!(
            "{} gets {}% of the traffic of {}: go on?",
            situation.call.release.version,
            weight.number(),
            situation.workload.name
        )
    }

    fn promote(&self) -> Step {
        let promote = Promote {
            timeout_ms: self.timeout.as_millis(),
        };
        Step::new("promote", Action::Promote(promote))
    }
}

/// Weights with where they stand.
fn placed(weights: &[Percent], pointer: &str) -> Vec<Placed> {
    let place = |(index, weight): (usize, &Percent)| (*weight, format!("{pointer}/{index}"));
    weights.iter().enumerate().map(place).collect()
}

phasegate_plugin::export! {
    name: "canary",
    summary: "Releases that move traffic step by step",
    strategies: [Canary],
}

#[cfg(test)]
mod tests;
