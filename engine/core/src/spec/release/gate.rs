//! Gates, and how their verdicts over time become a decision.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

/// A question to the outside world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// The plugin that asks it.
    pub plugin: String,
    /// Which of the plugin's gates, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The gate's own config.
    #[serde(default = "super::empty_config")]
    pub config: serde_json::Value,
    /// How verdicts over time become a decision.
    #[serde(default)]
    pub policy: GatePolicy,
}

/// How verdicts over time become a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatePolicy {
    /// How often the gate is asked.
    pub interval: Span,
    /// How long to wait before it is asked first.
    pub initial_delay: Span,
    /// How long a breach must last to count. Without it every failed verdict counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sustained: Option<Span>,
    /// How many failed verdicts are allowed.
    pub failure_limit: u32,
    /// How many verdicts in a row may be inconclusive.
    pub inconclusive_limit: u32,
    /// How many times in a row the gate may fail to give a verdict.
    pub error_limit: u32,
    /// How long one evaluation may take.
    pub timeout: Span,
    /// What to do when a measurement lies in a band: `normal`, `warn`, `alert`, or one of the gate's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bands: BTreeMap<String, BandAction>,
    /// What to do when the gate has no answer too often. No data is never a pass.
    pub on_inconclusive: OnInconclusive,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            interval: Span::from_secs(30),
            initial_delay: Span::ZERO,
            sustained: None,
            failure_limit: 0,
            inconclusive_limit: 3,
            error_limit: 3,
            timeout: Span::from_secs(10),
            bands: BTreeMap::new(),
            on_inconclusive: OnInconclusive::default(),
        }
    }
}

/// What a band leads to, from the mildest to the strictest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum BandAction {
    /// Go on.
    Continue,
    /// Go on and tell people.
    Warn,
    /// Stop going forward and call people.
    Hold,
    /// Go back.
    Rollback,
}

/// What to do when a gate has no answer too often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OnInconclusive {
    /// Hold and call people, or go back at once.
    pub action: InconclusiveAction,
    /// How long to hold before going back; 30m if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_after: Option<Span>,
}

/// What no answer leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InconclusiveAction {
    /// Stop going forward, call people, and go back when none helps in time.
    #[default]
    Hold,
    /// Go back at once.
    Rollback,
}

impl OnInconclusive {
    /// How long a hold lasts before the run goes back, where the file says nothing.
    pub const DEFAULT_HOLD: Span = Span::from_mins(30);

    /// How long to hold before going back; zero goes back at once.
    #[must_use]
    pub fn hold(&self) -> Span {
        match self.action {
            InconclusiveAction::Hold => self.rollback_after.unwrap_or(Self::DEFAULT_HOLD),
            InconclusiveAction::Rollback => Span::ZERO,
        }
    }
}
