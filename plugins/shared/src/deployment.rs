//! A Deployment beside those that are released, as actions look at it.

use std::collections::BTreeMap;

use phasegate_plugin::{Call, Result, kubernetes};
use serde::Deserialize;
use serde_json::Value;

use crate::pods::{Selector, any_works};

const API: &str = "apps/v1";
const KIND: &str = "Deployment";

/// What actions read of a Deployment.
#[derive(Deserialize)]
pub struct Deployment {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: Option<u32>,
    #[serde(default)]
    selector: Selector,
    #[serde(default)]
    template: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: u64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
}

impl Deployment {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It isn't there, or can't be read.
    pub fn named(call: &Call, name: &str) -> Result<Self> {
        Ok(kubernetes::get(API, KIND, &call.namespace, name)?)
    }

    /// Changes it by a merge patch.
    ///
    /// # Errors
    ///
    /// The API server refuses it.
    pub fn patch(call: &Call, name: &str, change: &Value) -> Result<()> {
        let _: Value = kubernetes::patch(API, KIND, &call.namespace, name, change)?;
        Ok(())
    }

    /// How many pods it wants; one where it doesn't say.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// The version that was read.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    /// How often what it wants was changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.metadata.generation
    }

    /// An annotation of its own.
    #[must_use]
    pub fn mark(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.get(name).map(String::as_str)
    }

    /// Whether any of its pods is left, be it on its way out: those are no longer counted, and work on.
    ///
    /// # Errors
    ///
    /// The cluster doesn't say.
    pub fn has_pods(&self, call: &Call) -> Result<bool> {
        let seen = self.status.observed_generation >= self.metadata.generation;
        Ok(!seen || self.status.replicas > 0 || any_works(call, &self.spec.selector.text()?)?)
    }

    /// An annotation of its pods.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let annotations = self.spec.template.pointer("/metadata/annotations")?;
        annotations.get(name)?.as_str()
    }

    /// How many pods there are.
    #[must_use]
    pub const fn pods(&self) -> u32 {
        self.status.replicas
    }

    /// How many of them can serve.
    #[must_use]
    pub const fn available(&self) -> u32 {
        self.status.available_replicas
    }

    /// Whether as many pods are there as it wants, no more, and all of them can serve.
    #[must_use]
    pub fn settled(&self) -> bool {
        let (wanted, now) = (self.wanted(), &self.status);
        now.observed_generation >= self.metadata.generation
            && now.replicas == wanted
            && now.available_replicas >= wanted
    }

    /// Whether, besides, every pod is of the present template.
    #[must_use]
    pub fn rolled_out(&self) -> bool {
        self.settled() && self.status.updated_replicas >= self.wanted()
    }
}
