//! A Deployment's ReplicaSets and pods, as far as they are looked at. They are read into types, unlike other
//! objects: a look sees all of them, again and again, and nothing of them is written back.

use std::collections::BTreeSet;

use phasegate_core::workload::{Pod, Target};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::path::Resource;
use super::watch::Named;
use super::{KubeCluster, Problem, deployment, small, text};

/// Most pods or ReplicaSets that are looked through.
pub(super) const MAX_OBJECTS: usize = 5000;

/// A Deployment's ReplicaSets and pods.
#[derive(Default)]
pub(super) struct Family {
    pub(super) sets: Vec<SetObject>,
    pub(super) pods: Vec<PodObject>,
}

#[derive(Deserialize)]
pub(super) struct SetObject {
    pub(super) metadata: Metadata,
}

#[derive(Deserialize)]
pub(super) struct PodObject {
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: Option<PodSpec>,
    #[serde(default)]
    status: Option<PodStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
    #[serde(default)]
    container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(default)]
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default)]
    name: String,
    #[serde(default)]
    restart_count: u64,
    #[serde(default)]
    state: Option<ContainerState>,
}

#[derive(Deserialize)]
struct ContainerState {
    #[serde(default)]
    waiting: Option<Waiting>,
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(default)]
    reason: Option<String>,
}

impl Named for PodObject {
    fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl SetObject {
    /// Its uid, and that of the Deployment that it is of.
    pub(super) fn descent(&self) -> (&str, &str) {
        (&self.metadata.uid, self.metadata.controller())
    }
}

impl KubeCluster {
    /// The pods that the Deployment made, through its ReplicaSets: another workload's pods may carry
    /// the same labels.
    pub(super) async fn family(&self, found: &Value, target: &Target) -> Result<Family, Problem> {
        let selector = deployment::selector_query(found);
        let query = [("labelSelector", selector.as_str())];
        let namespace = Some(target.namespace.as_str());
        let resource = Resource::fixed("apps", "v1", "replicasets");
        let mut sets: Vec<SetObject> = self
            .list_of(&resource, namespace, &query, MAX_OBJECTS)
            .await?;
        let owner = BTreeSet::from([text(found, "/metadata/uid")]);
        sets.retain(|set| set.metadata.owned_by(&owner));
        let resource = Resource::fixed("", "v1", "pods");
        let mut pods: Vec<PodObject> = self
            .list_of(&resource, namespace, &query, MAX_OBJECTS)
            .await?;
        let owners: BTreeSet<&str> = sets.iter().map(|set| set.metadata.uid.as_str()).collect();
        pods.retain(|pod| pod.metadata.owned_by(&owners));
        Ok(Family { sets, pods })
    }
}

impl Metadata {
    /// The uid of what keeps it; empty where nothing does.
    fn controller(&self) -> &str {
        let mut all = self.owner_references.iter().flatten();
        all.find(|owner| owner.controller == Some(true))
            .map_or("", |owner| &owner.uid)
    }

    fn owned_by(&self, owners: &BTreeSet<&str>) -> bool {
        let mut all = self.owner_references.iter().flatten();
        all.any(|owner| owner.controller == Some(true) && owners.contains(owner.uid.as_str()))
    }
}

impl PodObject {
    /// The uid of the ReplicaSet that made it; empty where none did.
    pub(super) fn maker(&self) -> &str {
        self.metadata.controller()
    }

    /// The pod, as a run sees it.
    pub(super) fn read(&self, target: &Target) -> Pod {
        let mut containers = self
            .spec
            .iter()
            .flat_map(|spec| spec.containers.iter().flatten());
        let image = containers
            .find(|container| container.name == target.container)
            .and_then(|container| container.image.clone());
        Pod {
            name: self.metadata.name.clone(),
            image: image.unwrap_or_default(),
            ready: self.condition("Ready", "True").is_some(),
            restarts: small(self.restarts(target)),
            waiting: self.waiting(target),
            terminating: self.metadata.deletion_timestamp.is_some(),
        }
    }

    /// How often the released container was started again.
    pub(super) fn restarts(&self, target: &Target) -> u64 {
        self.released(target)
            .map_or(0, |status| status.restart_count)
    }

    /// The status of the released container.
    fn released(&self, target: &Target) -> Option<&ContainerStatus> {
        let mut all = self.status.iter().flat_map(|status| {
            let containers = status.container_statuses.iter();
            containers.flatten()
        });
        all.find(|status| status.name == target.container)
    }

    fn condition(&self, kind: &str, status: &str) -> Option<&Condition> {
        let mut all = self
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        all.find(|condition| condition.kind == kind && condition.status == status)
    }

    /// Why the pod does not run: the released container's reason, unless that only waits for another's.
    fn waiting(&self, target: &Target) -> Option<String> {
        let own = self.released(target).and_then(ContainerStatus::waits);
        if let Some(own) = own.as_ref().filter(|own| *own != "PodInitializing") {
            return Some(own.clone());
        }
        let mut initial = self.status.iter().flat_map(|status| {
            let containers = status.init_container_statuses.iter();
            containers.flatten()
        });
        let unscheduled = || self.condition("PodScheduled", "False");
        initial
            .find_map(ContainerStatus::waits)
            .or_else(|| unscheduled().map(|found| found.reason.clone().unwrap_or_default()))
            .or(own)
    }
}

impl ContainerStatus {
    fn waits(&self) -> Option<String> {
        let waiting = self.state.as_ref()?.waiting.as_ref()?;
        waiting.reason.clone().filter(|reason| !reason.is_empty())
    }
}
