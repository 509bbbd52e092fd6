//! The release file: what to ship, where, in which phases, under which gates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::MAX_RETRIES;
use super::{ApiVersion, Change};
use crate::time::Span;
use crate::yaml::escape;

mod gate;
mod load;
mod phase;
mod source;
mod workload;

pub use gate::{BandAction, Gate, GatePolicy, InconclusiveAction, OnInconclusive};
pub use load::{Loaded, Manifest, Overrides, load};
pub(super) use load::{check_kind, environment_of};
pub use phase::{Act, Approve, Attest, Body, Notify, Phase, Soak, Step, StepAction, Strategy};
pub use source::{Credential, DEFAULT_HEADER, PluginSource, SecretSource};
pub use workload::{Base, Colours, Config, Helm, MAX_WAVE, Manifests, Rotate, Router, Workload};

/// The environment of a release that names none.
pub const DEFAULT_ENVIRONMENT: &str = "default";
/// The namespace of a release that names none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// What stands for the version in an image.
pub const VERSION_PLACEHOLDER: &str = "{version}";

/// A release: one file that says what to ship, where, in which phases, under which gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// The version of this file's format.
    pub api_version: ApiVersion,
    /// What this file is.
    pub kind: ReleaseKind,
    /// The release's name and labels.
    pub metadata: Metadata,
    /// The version to bring up. `--version` fills or replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What kind of change this is. The policy asks for approvals by it.
    pub change: Change,
    /// The environment to deploy to unless `--environment` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What differs from environment to environment, by the environment's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<String, Environment>,
    /// Where to deploy, for every environment that doesn't say so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The Kubernetes namespace of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What is deployed. Give either this or `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What is deployed, where it is several things: wave by wave, and in the order of this list within a wave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// Where plugins come from, by the name used below. A built-in plugin needs no entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<String, PluginSource>,
    /// Secrets by name. Plugins name them and never see them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<String, Credential>,
    /// Questions to the outside world, by name, with what their answers lead to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, Gate>,
    /// What a strategy may have done beside the workloads, by name: it says when, its phase names it under `actions`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, Act>,
    /// What is done, in order. Exactly one phase has a strategy.
    pub phases: Vec<Phase>,
    /// Approvals that a phase waits for, besides those that the policy asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<PhaseApproval>,
    /// Who is told what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// How the way back is gone.
    #[serde(default)]
    pub rollback: Rollback,
    /// What is to be done some time after the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<Due>,
    /// No soak may be shorter, whatever a strategy plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_soak: Option<Span>,
    /// How long the run waits for people before it goes back.
    #[serde(default = "default_people_timeout")]
    pub people_timeout: Span,
}

impl Release {
    /// What is deployed, in the order in which it is, each with its JSON pointer in the file.
    #[must_use]
    pub fn workloads(&self) -> Vec<(String, &Workload)> {
        let one = self
            .workload
            .iter()
            .map(|one| ("/workload".to_owned(), one));
        let several = self.workloads.iter().enumerate();
        let several = several.map(|(index, each)| (format!("/workloads/{index}"), each));
        let mut all = one.chain(several).collect::<Vec<_>>();
        all.sort_by_key(|(_, workload)| workload.wave);
        all
    }

    /// Every action, those that strategies may use and those of steps, each with its JSON pointer in the file.
    #[must_use]
    pub fn acts(&self) -> Vec<(String, &Act)> {
        let named = self.actions.iter();
        let named = named.map(|(name, act)| (named_act(name), act));
        let steps = self.phases.iter().enumerate().flat_map(|(phase, body)| {
            let acts = body.acts();
            acts.map(move |(step, act)| (step_act(phase, step), act))
        });
        named.chain(steps).collect()
    }

    /// The same, to be filled in.
    pub(in crate::spec) fn acts_mut(&mut self) -> Vec<(String, &mut Act)> {
        let named = self.actions.iter_mut();
        let named = named.map(|(name, act)| (named_act(name), act));
        let phases = self.phases.iter_mut().enumerate();
        let steps = phases.flat_map(|(phase, body)| {
            let acts = body.acts_mut();
            acts.map(move |(step, act)| (step_act(phase, step), act))
        });
        named.chain(steps).collect()
    }
}

fn named_act(name: &str) -> String {
    format!("/actions/{}", escape(name))
}

fn step_act(phase: usize, step: usize) -> String {
    format!("/phases/{phase}/steps/{step}/act")
}

/// `kind` of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseKind {
    /// A release.
    #[default]
    Release,
}

/// The name of a release, and labels for people to find it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// Labels for people and reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What differs in one environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Environment {
    /// Where to deploy in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The Kubernetes namespace in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Where a release is deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The simulated cluster, which needs nothing installed.
    Simulated(Simulated),
    /// A Kubernetes cluster.
    Kubernetes(Kubernetes),
}

/// The simulated cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Simulated {
    /// A scenario file, relative to the release file. Without one everything goes well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// How many times faster than the clock on the wall time passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
}

/// A Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// The context of the kubeconfig, or `in-cluster` for the cluster of the pod that the engine runs in. In a
    /// pod it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace; the release's own if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// An approval that a phase waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhaseApproval {
    /// The phase that waits.
    pub before: String,
    /// Who may approve: anybody who holds one of these roles.
    pub roles: Vec<String>,
    /// How many people must approve.
    #[serde(default = "one")]
    pub count: u32,
    /// How long an approval holds. The policy's length if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Span>,
}

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notification {
    /// Its name.
    pub name: String,
    /// The notifier plugin.
    pub plugin: String,
    /// Which of the plugin's notifiers, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The notifier's own config.
    #[serde(default = "empty_config")]
    pub config: serde_json::Value,
    /// The events to tell of; all of them if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<NotifyEvent>,
    /// Whether it is tried again when it fails, and then the fallback is used.
    #[serde(default)]
    pub critical: bool,
    /// The notification that is used when this one fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// What people are told of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyEvent {
    /// The run began.
    Started,
    /// A phase ended well.
    PhaseFinished,
    /// The run waits for people.
    AwaitingPeople,
    /// The run ended well.
    Succeeded,
    /// The run goes back.
    RollingBack,
    /// The run went back.
    RolledBack,
    /// The run stayed forward, since it was past the point of no return.
    StayedForward,
    /// The way back is stuck.
    Stuck,
}

impl NotifyEvent {
    /// The word as it stands in files and in what notifiers are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::PhaseFinished => "phase-finished",
            Self::AwaitingPeople => "awaiting-people",
            Self::Succeeded => "succeeded",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::StayedForward => "stayed-forward",
            Self::Stuck => "stuck",
        }
    }
}

/// How the way back is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollback {
    /// How long the way back should take. The report says whether it did; nothing is cut off.
    pub target: Span,
    /// How long one step of it may take before people are called.
    pub step_timeout: Span,
    /// How often a write that is refused is tried again, after 1, 2, 4 … seconds, before people are called.
    #[serde(deserialize_with = "few")]
    pub retries: u32,
    /// How long after success copies of ConfigMaps, Secrets and pod templates are kept that only the way back needs. Then
    /// their removal is due, and `rollback` is refused once they are gone.
    pub keep: Span,
}

/// A number of retries. What is no number of that size at all is told with the limit that holds for it,
/// and not with that of its type.
fn few<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u64::deserialize(deserializer)?;
    u32::try_from(number).map_err(|_| {
        let expected = format!("a whole number from 0 to {MAX_RETRIES}");
        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(number), &expected.as_str())
    })
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            target: Span::from_mins(5),
            step_timeout: Span::from_mins(5),
            retries: 5,
            keep: Span::from_mins(24 * 60),
        }
    }
}

/// Something to be done some time after the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Due {
    /// How long after the end of the run.
    pub after: Span,
    /// What is to be done, for people to read.
    pub task: String,
    /// After which end.
    #[serde(default)]
    pub on: DueOn,
}

/// After which end a task is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DueOn {
    /// The run succeeded.
    #[default]
    Succeeded,
    /// The run went back.
    RolledBack,
}

impl DueOn {
    /// The word as the journal has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled-back",
        }
    }
}

pub(super) const fn one() -> u32 {
    1
}

fn empty_config() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

const fn default_people_timeout() -> Span {
    Span::from_mins(24 * 60)
}

#[cfg(test)]
mod tests;
