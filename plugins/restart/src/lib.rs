//! Action `restart`: a Deployment's pods are replaced by new ones of the same template.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Result, kubernetes};
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

#[derive(Deserialize)]
struct Deployment {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    generation: u64,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: Option<u32>,
    template: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    observed_generation: u64,
    #[serde(default)]
    replicas: u32,
    #[serde(default)]
    updated_replicas: u32,
    #[serde(default)]
    available_replicas: u32,
}

impl Deployment {
    fn mark(&self) -> Option<&str> {
        let annotations = self.spec.template.pointer("/metadata/annotations")?;
        annotations.get(RESTARTED)?.as_str()
    }

    /// Whether every pod is of the present template and can serve.
    fn rolled_out(&self) -> bool {
        let (wanted, now) = (self.spec.replicas.unwrap_or(1), &self.status);
        now.observed_generation >= self.metadata.generation
            && now.updated_replicas >= wanted
            && now.available_replicas >= wanted
            && now.replicas <= wanted
    }
}

impl Restart {
    fn look(&self, call: &Call) -> Result<Deployment> {
        Ok(kubernetes::get(
            "apps/v1",
            "Deployment",
            &call.namespace,
            &self.deployment,
        )?)
    }
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
        phasegate_plugins_shared::not_released(call, name)?;
        let wanted = self.look(call)?.spec.replicas.unwrap_or(1);
        // What was restarted is as it was before: there is nothing to take back.
        let summary = format!("will restart the {wanted} pods of Deployment {name}");
        Ok(Preparation::new(summary, &json!({"deployment": name})).reversible())
    }

    fn run(&self, call: &Call, _: &Value) -> Result<Outcome> {
        let (name, wanted) = (&self.deployment, mark(call));
        let found = self.look(call)?;
        if found.mark() != Some(&wanted) {
            let template = json!({"metadata": {"annotations": {RESTARTED: wanted}}});
            let _: Value = kubernetes::patch(
                "apps/v1",
                "Deployment",
                &call.namespace,
                name,
                &json!({"spec": {"template": template}}),
            )?;
            return Err(Error::Pending(Duration::from_secs(LOOK_AGAIN)));
        }
        if !found.rolled_out() {
            return Err(Error::Pending(Duration::from_secs(LOOK_AGAIN)));
        }
        let pods = found.status.available_replicas;
        Ok(
            Outcome::new(format!("restarted {pods} pods of Deployment {name}"))
                .outputs(&json!({"deployment": name, "pods": pods})),
        )
    }

    fn probe(&self, call: &Call, _: &Value) -> Result<Progress> {
        let found = self.look(call)?;
        Ok(
            match (found.mark() == Some(&mark(call)), found.rolled_out()) {
                (false, _) => Progress::NotDone,
                (true, false) => Progress::Running,
                (true, true) => Progress::Done,
            },
        )
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
