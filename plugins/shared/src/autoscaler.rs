//! The autoscaler of a Deployment, as actions look at it.

use phasegate_plugin::{Call, Result, kubernetes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const API: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

/// What actions read of a HorizontalPodAutoscaler.
#[derive(Deserialize)]
pub struct Autoscaler {
    metadata: Metadata,
    spec: Spec,
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
#[serde(rename_all = "camelCase")]
struct Spec {
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

/// Between which numbers it keeps the pods.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The least.
    pub minimum: u32,
    /// The most.
    pub maximum: u32,
}

impl Autoscaler {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It isn't there, or can't be read.
    pub fn named(call: &Call, name: &str) -> Result<Self> {
        Ok(kubernetes::get(API, KIND, &call.namespace, name)?)
    }

    /// The autoscaler that sets the pods of a Deployment.
    ///
    /// # Errors
    ///
    /// The cluster doesn't say.
    pub fn of(call: &Call, deployment: &str) -> Result<Option<Self>> {
        let all: Vec<Self> = kubernetes::find(API, KIND, &call.namespace, "")?;
        Ok(all.into_iter().find(|one| {
            let target = &one.spec.scale_target_ref;
            target.kind == "Deployment" && target.name == deployment
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Between which numbers it keeps the pods.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            minimum: self.spec.min_replicas.unwrap_or(1),
            maximum: self.spec.max_replicas,
        }
    }

    /// Gives it other bounds, over the version that was read.
    ///
    /// # Errors
    ///
    /// The API server refuses it.
    pub fn rebind(&self, call: &Call, to: Bounds) -> Result<()> {
        let version = self.metadata.resource_version.as_deref();
        let spec = json!({"minReplicas": to.minimum, "maxReplicas": to.maximum});
        let change = kubernetes::over(json!({"spec": spec}), version);
        let _: Value = kubernetes::patch(API, KIND, &call.namespace, self.name(), &change)?;
        Ok(())
    }
}
