//! The fields of Kubernetes objects that the gate reads.

use std::collections::BTreeMap;

use phasegate_plugins_shared::timestamp;
use serde::Deserialize;

/// The time between a node's taking a pod and its first word about whether that is ready, in ms. Times have whole seconds.
const FIRST_WORD_MS: u64 = 2000;

/// Reasons for which a container waits that time alone doesn't cure.
const STUCK: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deployment {
    #[serde(default)]
    metadata: Metadata,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    generation: u64,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentSpec {
    replicas: Option<u32>,
    selector: Selector,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Requirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentStatus {
    observed_generation: u64,
}

impl Deployment {
    /// Whether the status is about the present spec.
    pub(crate) fn observed(&self) -> bool {
        self.status.observed_generation >= self.metadata.generation
    }

    /// How many pods it wants; one where it doesn't say.
    pub(crate) fn desired(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Its pods as a label selector; none where it can't be written as one, or would match every
    /// pod of the namespace.
    pub(crate) fn selector(&self) -> Option<String> {
        let selector = &self.spec.selector;
        let labels = selector.match_labels.iter().flatten();
        let mut parts: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        for requirement in selector.match_expressions.iter().flatten() {
            let key = &requirement.key;
            let values = requirement.values.as_deref().unwrap_or_default().join(",");
            parts.push(match requirement.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.clone(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            });
        }
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    start_time: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    restart_count: u32,
    #[serde(default)]
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

impl Pod {
    pub(crate) fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether the Deployment counts it: not one that terminates, and not an evicted or finished
    /// one, which it has replaced.
    pub(crate) fn is_active(&self) -> bool {
        let over = matches!(self.status.phase.as_str(), "Failed" | "Succeeded");
        !over && self.metadata.deletion_timestamp.is_none()
    }

    /// Whether it was evicted, or its node took it down: what comes in its place is no new pod that somebody wanted.
    pub(crate) fn has_failed(&self) -> bool {
        self.status.phase == "Failed"
    }

    /// The image that a container of this pod is to run.
    pub(crate) fn image(&self, container: &str) -> Option<&str> {
        let mut containers = self.spec.containers.iter();
        let found = containers.find(|found| found.name == container)?;
        found.image.as_deref()
    }

    fn ready(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.find(|condition| condition.kind == "Ready")
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready().is_some_and(|ready| ready.status == "True")
    }

    /// How long there has been this pod, in ms, if it has never been ready and has not restarted. Its node says from the
    /// beginning that it isn't ready; where that was said later it was ready before.
    pub(crate) fn starting_for(&self, now_ms: u64) -> Option<u64> {
        let ms = |time: &Option<String>| timestamp::ms(time.as_deref()?);
        let init = self.status.init_container_statuses.iter().flatten();
        let restarted = self.restarts() > 0 || init.clone().any(|status| status.restart_count > 0);
        if self.is_ready() || restarted {
            return None;
        }
        if let Some(ready) = self.ready() {
            let taken = ms(&self.status.start_time)?;
            let said = ms(&ready.last_transition_time)?;
            if said > taken.saturating_add(FIRST_WORD_MS) {
                return None;
            }
        }
        Some(now_ms.saturating_sub(ms(&self.metadata.creation_timestamp)?))
    }

    /// What the pod says of why it isn't ready, to be added to a sentence.
    pub(crate) fn why_unready(&self) -> String {
        let ready = self.ready();
        let why = ready.and_then(|ready| ready.message.as_ref().or(ready.reason.as_ref()));
        why.map(|why| format!(": {why}")).unwrap_or_default()
    }

    /// Restarts of its containers, together.
    pub(crate) fn restarts(&self) -> u32 {
        let statuses = self.status.container_statuses.iter().flatten();
        statuses.fold(0, |sum, status| sum.saturating_add(status.restart_count))
    }

    /// Why one of its containers can't run, where one can't.
    pub(crate) fn stuck(&self) -> Option<String> {
        let init = self.status.init_container_statuses.iter().flatten();
        let statuses = init.chain(self.status.container_statuses.iter().flatten());
        statuses
            .filter_map(|status| Some((&status.name, status.state.waiting.as_ref()?)))
            .find_map(|(name, waiting)| {
                let reason = waiting.reason.as_deref()?;
                if !STUCK.contains(&reason) {
                    return None;
                }
                let message = waiting.message.as_deref().unwrap_or_default();
                let message = if message.is_empty() {
                    String::new()
                } else {
                    format!(" ({message})")
                };
                Some(format!("container {name} is in {reason}{message}"))
            })
    }
}
