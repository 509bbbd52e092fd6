//! Action `restart`: a Deployment's pods are replaced by new ones of the same template.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Result};
use phasegate_plugins_shared::{Deployment, not_released};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// The annotation of the pod template that `kubectl rollout restart` sets as well: a new value makes new pods.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// How soon the rollout is looked at again.
const LOOK_AGAIN: u32 = 2;

/// Whose pods.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restart {
    /// The Deployment: one beside those that are released, whose pods a release replaces anyway.
    deployment: String,
}

/// The mark of this restart. The key is the same for every attempt at the step, so that one restarts once.
fn mark(call: &Call) -> String {
    format!("phasegate {}", call.key)
}

impl Action for Restart {
    const NAME: &'static str = "restart";
    const SUMMARY: &'static str = "a Deployment's pods are replaced by new ones";

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let name = &self.deployment;
        not_released(call, name)?;
        let wanted = Deployment::named(call, name)?.wanted();
        // What was restarted is as it was before: there is nothing to take back.
        let summary = format!("will restart the {wanted} pods of Deployment {name}");
        Ok(Preparation::new(summary, &json!({"deployment": name})).reversible())
    }

    fn run(&self, call: &Call, _: &Value) -> Result<Outcome> {
        let (name, wanted) = (&self.deployment, mark(call));
        let found = Deployment::named(call, name)?;
        if found.annotation(RESTARTED) != Some(&wanted) {
            let template = json!({"metadata": {"annotations": {RESTARTED: wanted}}});
            Deployment::patch(call, name, &json!({"spec": {"template": template}}))?;
            return Err(Error::Pending(Duration::from_secs(LOOK_AGAIN)));
        }
        if !found.rolled_out() {
            return Err(Error::Pending(Duration::from_secs(LOOK_AGAIN)));
        }
        let pods = found.available();
        Ok(
            Outcome::new(format!("restarted {pods} pods of Deployment {name}"))
                .outputs(&json!({"deployment": name, "pods": pods})),
        )
    }

    fn probe(&self, call: &Call, _: &Value) -> Result<Progress> {
        let found = Deployment::named(call, &self.deployment)?;
        let is_marked = found.annotation(RESTARTED) == Some(&mark(call));
        Ok(match (is_marked, found.rolled_out()) {
            (false, _) => Progress::NotDone,
            (true, false) => Progress::Running,
            (true, true) => Progress::Done,
        })
    }

    fn undo(&self, _: &Call, _: &Value) -> Result<()> {
        Ok(())
    }
}

phasegate_plugin::export! {
    name: "restart",
    summary: "Restarts a Deployment's pods and waits until they serve",
    actions: [Restart],
    asks: [Ask::Kubernetes { group: "apps", kind: "Deployment", verbs: &["get", "patch"] }],
}

#[cfg(test)]
mod tests;
