//! What is known of the workload: the facts a plan is made of, and what is seen of it later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::strategy::Autoscaler;
use crate::time::Timestamp;

/// Annotation that names the run that changed the object last.
pub const MARK_RUN: &str = "phasegate.dev/run";
/// Annotation that holds the epoch of the engine that changed the object last.
pub const MARK_EPOCH: &str = "phasegate.dev/epoch";
/// Annotation that holds the key of the effect that changed the object last. A probe looks for it.
pub const MARK_EFFECT: &str = "phasegate.dev/effect";
/// Most pods that an observation names.
pub const PODS_LISTED: usize = 50;

/// Where a run acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The cluster, as its adapter names it: `simulated` or a context.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// Names the workload: claim and lease are made under this name. The Deployment's, unless colours take turns.
    pub workload: String,
    /// The Deployment of the version that serves.
    pub deployment: String,
    /// The container within it whose image is released.
    pub container: String,
    /// The Service in front of it, where there is one.
    #[serde(default)]
    pub service: Option<String>,
    /// ConfigMaps that must be there before anything starts.
    #[serde(default)]
    pub config_maps: Vec<String>,
    /// Secrets that must be there before anything starts. Their content is never read.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Where the candidate runs, if it gets a Deployment of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

/// The candidate's objects, and how its pods are told from stable's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beside {
    /// The candidate's Deployment.
    pub deployment: String,
    /// The Service that reaches the candidate's pods only, where the workload has a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The colour that serves now, where colours are used and one is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// The candidate's colour, where colours are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// Labels of the candidate's pods and selector that differ from stable's, with the candidate's values.
    pub labels: BTreeMap<String, String>,
    /// What the workload's Service selects now.
    #[serde(default)]
    pub stable_selector: BTreeMap<String, String>,
    /// What a Service must select to reach the candidate's pods and no other.
    #[serde(default)]
    pub candidate_selector: BTreeMap<String, String>,
}

/// Colours that take turns: which one serves stands in the Service's selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colours {
    /// The label in the Service's selector that holds the colour.
    pub label: String,
    /// The two colours.
    pub values: [String; 2],
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.namespace, self.workload)
    }
}

/// The fields of a Deployment that a run may set, as they were or as they are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The container's image.
    pub image: String,
    /// The wanted number of pods.
    pub replicas: u32,
    /// How pods are replaced.
    pub rollout: Rollout,
}

/// How a Deployment replaces its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
pub enum Rollout {
    /// Some at a time; both are counts or percentages as Kubernetes writes them.
    RollingUpdate {
        /// `maxSurge`.
        surge: String,
        /// `maxUnavailable`.
        unavailable: String,
    },
    /// All old ones first.
    Recreate,
}

impl Rollout {
    /// The same without a pod that may be missing. None where it is so already, and where the team leaves no room for
    /// a pod more than are wanted: then one has to go first.
    #[must_use]
    pub fn gentle(&self) -> Option<Self> {
        let nothing = |amount: &str| matches!(amount, "0" | "0%");
        match self {
            Self::RollingUpdate { surge, unavailable }
                if !nothing(surge) && !nothing(unavailable) =>
            {
                Some(Self::RollingUpdate {
                    surge: surge.clone(),
                    unavailable: "0".to_owned(),
                })
            }
            Self::RollingUpdate { .. } | Self::Recreate => None,
        }
    }
}

/// What the target was before the run: what a plan is made of and a rollback returns to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Uid of the Deployment: another one of the same name is another target.
    pub uid: String,
    /// `metadata.resourceVersion` when it was read.
    pub resource_version: String,
    /// `deployment.kubernetes.io/revision` when it was read.
    pub revision: u64,
    /// The fields that a run may set.
    pub settings: Settings,
    /// The version that serves: the label `app.kubernetes.io/version`, or else the image's tag or digest.
    pub version: String,
    /// How many pods were ready.
    pub ready: u32,
    /// The autoscaler's bounds, where one acts on the Deployment.
    #[serde(default)]
    pub autoscaler: Option<Autoscaler>,
    /// Digest of everything in the pod template but the released container's image, to notice drift.
    pub template_digest: String,
    /// A GitOps tool that would undo what the run does: its name and the setting to change.
    #[serde(default)]
    pub self_healing: Option<String>,
    /// Labels that tell the workload's pods apart.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What stood in the candidate's place already: a colour that is kept from an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
}

/// A Deployment in the candidate's place that serves nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Its image.
    pub image: String,
    /// Its wanted number of pods.
    pub replicas: u32,
}

/// What the marks on the object say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// The run that changed it last.
    #[serde(default)]
    pub run: Option<String>,
    /// The epoch in which that was.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// The key of the effect that did.
    #[serde(default)]
    pub effect: Option<String>,
}

/// A pod as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The released container's image.
    pub image: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often the released container was started again.
    pub restarts: u32,
    /// Why its container waits: `CrashLoopBackOff`, `ImagePullBackOff`, …
    #[serde(default)]
    pub waiting: Option<String>,
    /// Whether it is on its way out.
    #[serde(default)]
    pub terminating: bool,
}

/// What was seen of the Deployment and its pods at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When it was read.
    pub at: Timestamp,
    /// Whether it is what a watch has told so far: the target was not asked, and may have changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watched: bool,
    /// Uid of the Deployment.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: u64,
    /// `status.observedGeneration`: while it is behind, the counts below are about an earlier specification.
    pub observed_generation: u64,
    /// The fields that a run may set.
    pub settings: Settings,
    /// See [`Baseline::template_digest`].
    pub template_digest: String,
    /// Pods that exist and aren't terminating.
    pub total: u32,
    /// Pods made from the present template.
    pub updated: u32,
    /// Ready pods.
    pub ready: u32,
    /// Pods ready for `minReadySeconds`.
    pub available: u32,
    /// Whether the Deployment gave up (`ProgressDeadlineExceeded`).
    #[serde(default)]
    pub deadline_exceeded: bool,
    /// What the marks on the object say.
    #[serde(default)]
    pub marks: Marks,
    /// Up to [`PODS_LISTED`] pods, by name.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// The autoscaler's bounds now, where one acts on the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
    /// The candidate's Deployment, where the target has a place for one and it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Box<Observation>>,
}

impl Observation {
    /// Whether the rollout to what is wanted has finished: the specification was seen by the
    /// controller, every pod is made from it, none is left of an earlier one, and all are available.
    #[must_use]
    pub fn settled(&self) -> bool {
        let wanted = self.settings.replicas;
        self.observed_generation >= self.generation
            && self.updated == wanted
            && self.total == wanted
            && self.available >= wanted
            && self.ready >= wanted
            // Scaled to nothing means nothing: a pod on its way out still runs the old version.
            && (wanted > 0 || self.pods.is_empty())
    }

    /// The first pod of the present image that can't start, with why.
    #[must_use]
    pub fn broken_pod(&self) -> Option<(&str, &str)> {
        self.pods
            .iter()
            .filter(|pod| !pod.terminating && pod.image == self.settings.image)
            .find_map(|pod| {
                let reason = pod.waiting.as_deref()?;
                BROKEN
                    .contains(&reason)
                    .then_some((pod.name.as_str(), reason))
            })
    }
}

/// Reasons for which a container waits and that waiting doesn't cure.
const BROKEN: [&str; 6] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// What was found out about a failure: kept in the journal, since the pods that could tell will be gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Recent events of the Deployment and its pods, newest last.
    #[serde(default)]
    pub events: Vec<String>,
    /// Last lines of the pods that fail, each as `pod: line`.
    #[serde(default)]
    pub logs: Vec<String>,
}
