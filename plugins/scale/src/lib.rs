//! Action `scale`: a Deployment beside those that are released gets another number of pods.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, kubernetes};
use phasegate_plugins_shared::{Autoscaler, Bounds, Deployment, not_released, token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    autoscaler: Meeting,
}

/// What becomes of an autoscaler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Meeting {
    /// Where there is one, nothing is done: it would set the number anew.
    #[default]
    Refuse,
    /// It is given the number as its minimum, and as its maximum where that is lower.
    Bounds,
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

impl Scale {
    fn look(&self, call: &Call) -> Result<Deployment> {
        Deployment::named(call, &self.deployment)
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
        let found = Autoscaler::named(call, name)?;
        let now = found.bounds();
        if now == to {
            return Ok(());
        }
        if now != from {
            return Err(Error::permanent(format!(
                "somebody else changed the bounds of autoscaler {name}; nothing was changed"
            )));
        }
        found.rebind(call, to)
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

impl Action for Scale {
    const NAME: &'static str = "scale";
    const SUMMARY: &'static str =
        "a Deployment gets another number of pods, and its own back on the way back";

    fn validate(&self) -> Vec<Problem> {
        match self.autoscaler == Meeting::Bounds && self.replicas == 0 {
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
        let hpa = Autoscaler::of(call, name)?.filter(|_| wanted > 0);
        let (token, summary) = match hpa {
            None => (
                Token::Replicas { before },
                format!("will scale Deployment {name} from {before} to {wanted} pods"),
            ),
            Some(hpa) if self.autoscaler == Meeting::Refuse => {
                return Err(Error::permanent(format!(
                    "autoscaler {} sets the pods of Deployment {name}; say `autoscaler: bounds` to change its bounds",
                    hpa.name()
                )));
            }
            Some(hpa) => {
                let before = hpa.bounds();
                let after = Bounds {
                    minimum: wanted,
                    maximum: before.maximum.max(wanted),
                };
                let name = hpa.name().to_owned();
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
        let token: Token = token(given)?;
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
            // Where it changed nothing, whatever is there now is somebody else's, be it an earlier action's.
            Token::Replicas { before } if before == self.replicas => Ok(()),
            Token::Bounds { before, after, .. } if before == after => Ok(()),
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
