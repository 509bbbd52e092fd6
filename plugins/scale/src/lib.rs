//! Action `scale`: a Deployment beside those that are released gets another number of pods.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, kubernetes};
use phasegate_plugins_shared::{Deployment, not_released};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const AUTOSCALING: &str = "autoscaling/v2";
const AUTOSCALER: &str = "HorizontalPodAutoscaler";
/// How soon the pods are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which Deployment, and how many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The Deployment: one beside those that are released. How many pods those have is their strategy's.
    deployment: String,
    /// How many pods.
    replicas: u32,
    /// What becomes of an autoscaler that sets its pods.
    #[serde(default)]
    autoscaler: Autoscaler,
}

/// What becomes of an autoscaler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Autoscaler {
    /// Where there is one, nothing is done: it would set the number anew.
    #[default]
    Refuse,
    /// It is given the number as its minimum, and as its maximum where that is lower.
    Bounds,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Hpa {
    metadata: Metadata,
    spec: HpaSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaSpec {
    scale_target_ref: TargetRef,
    #[serde(default)]
    min_replicas: Option<u32>,
    max_replicas: u32,
}

#[derive(Deserialize)]
struct TargetRef {
    kind: String,
    name: String,
}

/// What is written, and what was there before: of the Deployment, or of its autoscaler.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Token {
    Replicas {
        before: u32,
    },
    Bounds {
        name: String,
        before: Bounds,
        after: Bounds,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bounds {
    minimum: u32,
    maximum: u32,
}

impl Hpa {
    fn bounds(&self) -> Bounds {
        Bounds {
            minimum: self.spec.min_replicas.unwrap_or(1),
            maximum: self.spec.max_replicas,
        }
    }
}

impl Scale {
    fn look(&self, call: &Call) -> Result<Deployment> {
        Deployment::named(call, &self.deployment)
    }

    /// The autoscaler that sets its pods. One whose Deployment has no pods sets nothing.
    fn autoscaler(&self, call: &Call) -> Result<Option<Hpa>> {
        let all: Vec<Hpa> = kubernetes::find(AUTOSCALING, AUTOSCALER, &call.namespace, "")?;
        Ok(all.into_iter().find(|hpa| {
            let target = &hpa.spec.scale_target_ref;
            target.kind == "Deployment" && target.name == self.deployment
        }))
    }

    /// Writes a number over another one; somebody else's is left alone.
    fn resize(&self, call: &Call, from: u32, to: u32) -> Result<()> {
        let found = self.look(call)?;
        let now = found.wanted();
        if now == to {
            return Ok(());
        }
        if now != from {
            return Err(Error::permanent(format!(
                "Deployment {} wants {now} pods, neither {from} nor {to}: somebody else scaled it; nothing was changed",
                self.deployment
            )));
        }
        let change = kubernetes::over(json!({"spec": {"replicas": to}}), found.version());
        Deployment::patch(call, &self.deployment, &change)
    }

    /// The same for the bounds of an autoscaler.
    fn rebound(&self, call: &Call, name: &str, from: Bounds, to: Bounds) -> Result<()> {
        let found: Hpa = kubernetes::get(AUTOSCALING, AUTOSCALER, &call.namespace, name)?;
        let now = found.bounds();
        if now == to {
            return Ok(());
        }
        if now != from {
            return Err(Error::permanent(format!(
                "somebody else changed the bounds of autoscaler {name}; nothing was changed"
            )));
        }
        let version = found.metadata.resource_version.as_deref();
        let spec = json!({"minReplicas": to.minimum, "maxReplicas": to.maximum});
        let change = kubernetes::over(json!({"spec": spec}), version);
        let _: Value = kubernetes::patch(AUTOSCALING, AUTOSCALER, &call.namespace, name, &change)?;
        Ok(())
    }

    /// Whether the pods are there, or gone.
    fn reached(&self, found: &Deployment, token: &Token) -> bool {
        let asked = match token {
            Token::Replicas { .. } => found.wanted() == self.replicas,
            Token::Bounds { .. } => found.wanted() >= self.replicas,
        };
        asked && found.settled()
    }
}

fn token(token: &Value) -> Result<Token> {
    serde_json::from_value(token.clone())
        .map_err(|error| Error::permanent(format!("the token can't be read: {error}")))
}

impl Action for Scale {
    const NAME: &'static str = "scale";
    const SUMMARY: &'static str =
        "a Deployment gets another number of pods, and its own back on the way back";

    fn validate(&self) -> Vec<Problem> {
        match self.autoscaler == Autoscaler::Bounds && self.replicas == 0 {
            true => vec![Problem::new(
                "/replicas",
                "an autoscaler keeps one pod at least; with `autoscaler: refuse` the Deployment is set to 0, which switches its autoscaler off",
            )],
            false => Vec::new(),
        }
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        not_released(call, &self.deployment)?;
        let before = self.look(call)?.wanted();
        let (name, wanted) = (&self.deployment, self.replicas);
        // At 0 its autoscaler is off, and comes back with the pods.
        let hpa = self.autoscaler(call)?.filter(|_| wanted > 0);
        let (token, summary) = match hpa {
            None => (
                Token::Replicas { before },
                format!("will scale Deployment {name} from {before} to {wanted} pods"),
            ),
            Some(hpa) if self.autoscaler == Autoscaler::Refuse => {
                return Err(Error::permanent(format!(
                    "autoscaler {} sets the pods of Deployment {name}; say `autoscaler: bounds` to change its bounds",
                    hpa.metadata.name
                )));
            }
            Some(hpa) => {
                let before = hpa.bounds();
                let after = Bounds {
                    minimum: wanted,
                    maximum: before.maximum.max(wanted),
                };
                let name = hpa.metadata.name;
                let summary = format!(
                    "will set the bounds of autoscaler {name} from {}-{} to {}-{}",
                    before.minimum, before.maximum, after.minimum, after.maximum
                );
                (
                    Token::Bounds {
                        name,
                        before,
                        after,
                    },
                    summary,
                )
            }
        };
        Ok(Preparation::new(summary, &json!(token)).reversible())
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let token = token(given)?;
        match &token {
            Token::Replicas { before } => self.resize(call, *before, self.replicas)?,
            Token::Bounds {
                name,
                before,
                after,
            } => self.rebound(call, name, *before, *after)?,
        }
        let found = self.look(call)?;
        if !self.reached(&found, &token) {
            return Err(Error::Pending(LOOK_AGAIN));
        }
        let (name, pods) = (&self.deployment, found.pods());
        Ok(Outcome::new(format!("Deployment {name} has {pods} pods"))
            .outputs(&json!({"deployment": name, "pods": pods})))
    }

    /// Asking for the same again changes nothing: what is not reached yet is asked for again.
    fn probe(&self, call: &Call, given: &Value) -> Result<Progress> {
        Ok(match self.reached(&self.look(call)?, &token(given)?) {
            true => Progress::Done,
            false => Progress::NotDone,
        })
    }

    fn undo(&self, call: &Call, given: &Value) -> Result<()> {
        match token(given)? {
            Token::Replicas { before } => self.resize(call, self.replicas, before),
            Token::Bounds {
                name,
                before,
                after,
            } => self.rebound(call, &name, after, before),
        }
    }
}

phasegate_plugin::export! {
    name: "scale",
    summary: "Sets a Deployment's number of pods, or its autoscaler's bounds",
    actions: [Scale],
    asks: [
        Ask::Kubernetes { group: "apps", kind: "Deployment", verbs: &["get", "patch"] },
        Ask::Kubernetes {
            group: "autoscaling",
            kind: "HorizontalPodAutoscaler",
            verbs: &["find", "get", "patch"],
        },
    ],
}

#[cfg(test)]
mod tests;
