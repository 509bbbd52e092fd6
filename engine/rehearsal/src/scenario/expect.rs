//! What the observer must have seen.

use std::collections::BTreeMap;

use phasegate_core::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Assertions about a rehearsal. What isn't said isn't asserted, but for what always holds: every change
/// matches an intent in the journal; no key changed the world twice; and unless the release declares an
/// outage, no share of the traffic was raised to pods that weren't there for it, and nothing that serves
/// was taken away before what replaces it was ready at full strength and traffic had left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// How the run ends: `succeeded`, `rolled-back`, `refused`, `cancelled`, `stayed-forward`, `superseded`, `rollback-stuck`; or
    /// `not-started` where it is refused before it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// A part of why it turned back or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The Deployment's image in the end; of the one that the Service leads to where none has the name in the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The Deployment's wanted replicas in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Fewest ready endpoints of the Service at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_endpoints_at_least: Option<u32>,
    /// Most requests of the scenario's `traffic` that may have failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_requests_at_most: Option<u64>,
    /// Whether the namespace's Deployments, ConfigMaps, Secrets, Services, autoscalers and what routes its traffic are in the end those
    /// of the beginning, with what was made meanwhile gone again. The size of a Deployment that has an
    /// autoscaler is left to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_before: Option<bool>,
    /// How many requests changed an object: by kind, only those of the engine, leases left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<BTreeMap<String, u32>>,
    /// Parts of lines that the run's story must hold, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<String>,
    /// Parts of lines that it must not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Parts of lines about what the cluster showed and was asked, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<String>,
    /// Parts of such lines that there must not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_never: Vec<String>,
    /// Parts of lines about what people did and what they were refused, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// Lines that the run must have said by its journal, in this order, as machines read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// Parts of notices that must have been taken where they were sent (answered with 2xx), in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The longest time that the way back may have taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_within: Option<Span>,
}

/// A line of the run, rebuilt from its journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    /// Its kind: `gate`, `approved`, `due`, …
    pub line: String,
    /// The step that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// A part of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What its data must hold: at least these members, and of a list at least these items, in this order.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}
