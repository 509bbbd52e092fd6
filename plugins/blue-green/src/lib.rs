//! Strategy `blue-green`: the new version comes up beside the old one, is looked at, and takes all
//! traffic in one switch. The old one is taken away once the new one was stable for long enough.

use phasegate_plugin::strategy::{Action, Amount, Check, Promote, Retire, Slot};
use phasegate_plugin::{Duration, Problem, Result, Situation, Step, Strategy};
use phasegate_plugins_shared::traffic::{self, Approve};
use phasegate_plugins_shared::{actions, gates};
use schemars::JsonSchema;
use serde::Deserialize;

/// How long the old side is kept where nothing is said: a late finding still finds it.
const USUAL_KEEP: Duration = Duration::from_mins(24 * 60);

/// How a blue-green release goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueGreen {
    /// How long pods have to become ready.
    #[serde(default = "traffic::default_timeout")]
    timeout: Duration,
    /// How many replicas the new version has until it is to take traffic. Without it, it comes up at
    /// full strength.
    #[serde(default)]
    #[schemars(range(min = 1))]
    preview_replicas: Option<u32>,
    /// Gates that must pass before the switch, by name. Without it all of the phase; an empty list
    /// asks none.
    #[serde(default)]
    preview_gates: Option<Vec<String>>,
    /// How long to hold before the switch and keep asking those gates.
    #[serde(default)]
    preview_soak: Option<Duration>,
    /// People look at the preview before the switch: the question, or `prompt` and `count`.
    #[serde(default)]
    approve: Option<Approve>,
    /// An action of the phase that is performed before the switch, once the preview was found fit.
    #[serde(default)]
    before_switch: Option<String>,
    /// An action of the phase that is performed right after the switch.
    #[serde(default)]
    after_switch: Option<String>,
    /// How long to wait once the data plane has followed the switch.
    #[serde(default = "traffic::default_settle")]
    settle: Duration,
    /// How long the new version must have been stable with all traffic before the old one goes.
    #[serde(default = "default_stable_for")]
    stable_for: Duration,
    /// Gates that are asked meanwhile, by name; all of the phase where none is named.
    #[serde(default)]
    gates: Vec<String>,
    /// How often gates are asked; 30s, or the soak where that is shorter.
    #[serde(default)]
    every: Option<Duration>,
    /// How long the old side is kept, scaled to nothing, before it is deleted; 24h.
    #[serde(default)]
    keep: Option<Duration>,
    /// What becomes of the old side.
    #[serde(default)]
    retire: Retirement,
}

/// What becomes of the old side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Retirement {
    /// Scaled to nothing, and deleted after `keep`.
    #[default]
    Remove,
    /// Scaled to nothing and left there.
    Scale,
}

fn default_stable_for() -> Duration {
    Duration::from_mins(15)
}

impl Strategy for BlueGreen {
    const NAME: &'static str = "blue-green";
    const SUMMARY: &'static str =
        "brings the new version up beside the old one and switches all traffic at once";

    fn validate(&self) -> Vec<Problem> {
        let mut problems = traffic::problems(self.timeout, self.every);
        if self.preview_replicas == Some(0) {
            let message = "a preview without a pod shows nothing: at least 1";
            problems.push(Problem::new("/previewReplicas", message));
        }
        if let Some(soak) = self.preview_soak {
            let why = "a soak takes some time; leave it out to have none";
            problems.extend(traffic::soak_problem("/previewSoak", soak, self.every, why));
            if self.preview_gates.as_ref().is_some_and(Vec::is_empty) {
                let message = "a soak asks gates, and `previewGates` names none";
                problems.push(Problem::new("/previewSoak", message));
            }
        }
        if let Some(approve) = &self.approve {
            problems.extend(approve.problems("/approve"));
        }
        let why = "the new version must have been stable for some time before the old one goes";
        problems.extend(traffic::soak_problem(
            "/stableFor",
            self.stable_for,
            self.every,
            why,
        ));
        if self.retire == Retirement::Scale && self.keep.is_some() {
            let message =
                "with `retire: scale` the old side is never deleted, so it is kept anyway";
            problems.push(Problem::new("/keep", message));
        }
        problems
    }

    fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        let mut problems = self.validate();
        problems.extend(self.unfit(situation));
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let mut steps = self.preview(situation);
        steps.push(Step::new(
            "switch",
            traffic::route(traffic::everything(), self.settle),
        ));
        steps.extend(act("after-switch", self.after_switch.as_ref()));
        steps.push(Step::new(
            "soak",
            traffic::soak(self.stable_for, self.every, &self.gates),
        ));
        let promote = Action::Promote(Promote {
            timeout_ms: self.timeout.as_millis(),
        });
        if situation
            .router
            .as_ref()
            .is_some_and(|router| router.weights)
        {
            // A gateway leads to the workload's Service by name, so that the version must end behind that Service.
            steps.push(Step::new("promote", promote));
            return Ok(steps);
        }
        steps.push(Step {
            extra: SWAP.to_owned(),
            ..Step::new("promote", promote)
        });
        steps.push(Step::new("retire", self.retirement()));
        Ok(steps)
    }
}

/// Tells the engine that the new version's own Deployment becomes stable, and the old one isn't
/// rewritten.
const SWAP: &str = r#"{"swap":true}"#;

/// The step that an action is.
fn act(id: &str, action: Option<&String>) -> Option<Step> {
    action.map(|action| Step::new(id, Action::Act(action.clone())))
}

impl BlueGreen {
    /// Why it can't be done here.
    fn unfit(&self, situation: &Situation) -> Vec<Problem> {
        let mut problems = Vec::new();
        if situation.router.is_none() {
            let message = "blue-green switches traffic with a router, and the release has none; add `router`, or use the strategy `rolling`";
            problems.push(Problem::new("", message));
        }
        problems.extend(traffic::asleep(situation));
        let preview = self.preview_gates.as_deref().unwrap_or_default();
        problems.extend(gates::unknown(situation, "/previewGates", preview));
        problems.extend(gates::unknown(situation, "/gates", &self.gates));
        let acts = [
            ("/beforeSwitch", &self.before_switch),
            ("/afterSwitch", &self.after_switch),
        ];
        let acts = acts.into_iter();
        let named = acts.filter_map(|(pointer, name)| Some((pointer, name.as_deref()?)));
        problems.extend(actions::problems(situation, named));
        problems
    }

    /// Everything before the switch; at its end the new version is at full strength.
    fn preview(&self, situation: &Situation) -> Vec<Step> {
        let full = situation.workload.replicas;
        let count = self.preview_replicas.filter(|count| *count < full);
        let amount = count.map_or(Amount::ALL, Amount::Count);
        let mut steps = vec![Step::new(
            "deploy",
            traffic::deploy_beside(amount, self.timeout),
        )];
        let asked = self.preview_gates.as_deref().unwrap_or_default();
        let none = self.preview_gates.is_some() && asked.is_empty();
        if !situation.gates.is_empty() && !none {
            let gates = asked.to_vec();
            steps.push(Step::new("preview-check", Action::Check(Check { gates })));
        }
        if let Some(soak) = self.preview_soak {
            steps.push(Step::new(
                "preview-soak",
                traffic::soak(soak, self.every, asked),
            ));
        }
        if let Some(approve) = &self.approve {
            let prompt = format!(
                "Is {} fit to take the traffic of {}?",
                situation.call.release.version, situation.workload.name
            );
            steps.push(Step::new("approve", approve.action(prompt)));
        }
        steps.extend(act("before-switch", self.before_switch.as_ref()));
        // Stable may have grown while the new version was looked at.
        if count.is_some() || steps.len() > 1 {
            let scale = traffic::scale(Slot::Candidate, Amount::ALL, self.timeout);
            steps.push(Step::new("scale", scale));
        }
        steps
    }

    fn retirement(&self) -> Action {
        let remove = self.retire == Retirement::Remove;
        let after = if remove {
            self.keep.unwrap_or(USUAL_KEEP)
        } else {
            Duration::ZERO
        };
        Action::Retire(Retire {
            slot: Slot::Stable,
            after_ms: after.as_millis(),
            remove,
        })
    }
}

phasegate_plugin::export! {
    name: "blue-green",
    summary: "Releases that switch all traffic at once",
    strategies: [BlueGreen],
}

#[cfg(test)]
mod tests;
