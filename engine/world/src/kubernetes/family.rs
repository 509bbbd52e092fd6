//! A Deployment's ReplicaSets and pods, as far as they are looked at. They are read into types, unlike other
//! objects: a look sees all of them, again and again, and nothing of them is written back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use phasegate_core::workload::{Pod, Target};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::path::Resource;
use super::watch::Named;
use super::{KubeCluster, Problem, deployment, small, text};

/// Most pods or ReplicaSets that are looked through.
pub(super) const MAX_OBJECTS: usize = 5000;

/// Most ReplicaSets whose descent is kept.
const MAX_SETS: usize = MAX_OBJECTS;

/// Which Deployments' ReplicaSets are, all by their uids. One that was left behind can become another Deployment's, which
/// is then asked about anew; nothing takes it from a Deployment that is there.
#[derive(Default)]
pub(super) struct Descent {
    /// The Deployments of ReplicaSets; empty for one that is nobody's.
    of: BTreeMap<String, String>,
    /// ReplicaSets that were found not to be of a Deployment, and the Deployment.
    strangers: BTreeSet<(String, String)>,
}

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

/// Pods, as a resource.
pub(super) fn resource() -> Resource {
    Resource::fixed("", "v1", "pods")
}

impl KubeCluster {
    /// The pods that the Deployment made, through its ReplicaSets: another workload's pods may carry
    /// the same labels.
    pub(super) async fn family(&self, found: &Value, target: &Target) -> Result<Family, Problem> {
        let selector = deployment::selector_query(found);
        let query = [("labelSelector", selector.as_str())];
        let namespace = Some(target.namespace.as_str());
        let replica_sets = Resource::fixed("apps", "v1", "replicasets");
        let mut sets: Vec<SetObject> = self
            .list_of(&replica_sets, namespace, &query, MAX_OBJECTS)
            .await?;
        let owner = BTreeSet::from([text(found, "/metadata/uid")]);
        sets.retain(|set| set.metadata.owned_by(&owner));
        let mut pods: Vec<PodObject> = self
            .list_of(&resource(), namespace, &query, MAX_OBJECTS)
            .await?;
        let owners: BTreeSet<&str> = sets.iter().map(|set| set.metadata.uid.as_str()).collect();
        pods.retain(|pod| pod.metadata.owned_by(&owners));
        Ok(Family { sets, pods })
    }
}

impl KubeCluster {
    /// Which of these pods, that the Deployment's selector chooses, it has made. Whose the ReplicaSets are is read once for each.
    pub(super) async fn descended(
        &self,
        pods: Vec<Arc<PodObject>>,
        found: &Value,
        target: &Target,
    ) -> Result<Vec<Arc<PodObject>>, Problem> {
        if let Some(own) = self.descent().own(&pods, found) {
            return Ok(own);
        }
        let selector = deployment::selector_query(found);
        let resource = Resource::fixed("apps", "v1", "replicasets");
        let query = [("labelSelector", selector.as_str())];
        let namespace = Some(target.namespace.as_str());
        let sets: Vec<SetObject> = self
            .list_of(&resource, namespace, &query, MAX_OBJECTS)
            .await?;
        let mut descent = self.descent();
        descent.learn(&sets, &pods, found);
        Ok(descent.own(&pods, found).unwrap_or_default())
    }

    fn descent(&self) -> MutexGuard<'_, Descent> {
        self.descent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Descent {
    /// Those of the pods that the Deployment made; none where it isn't known of one who made it.
    pub(super) fn own(
        &self,
        pods: &[Arc<PodObject>],
        found: &Value,
    ) -> Option<Vec<Arc<PodObject>>> {
        let uid = text(found, "/metadata/uid");
        let mut own = Vec::new();
        for pod in pods.iter().filter(|pod| !pod.maker().is_empty()) {
            if self.of.get(pod.maker()).is_some_and(|of| of == uid) {
                own.push(Arc::clone(pod));
            } else {
                let stranger = (pod.maker().to_owned(), uid.to_owned());
                self.strangers.contains(&stranger).then_some(())?;
            }
        }
        Some(own)
    }

    fn learn(&mut self, sets: &[SetObject], pods: &[Arc<PodObject>], found: &Value) {
        if self.of.len().saturating_add(self.strangers.len()) > MAX_SETS {
            *self = Self::default();
        }
        for set in sets {
            let of = set.metadata.controller();
            self.of.insert(set.metadata.uid.clone(), of.to_owned());
        }
        let uid = text(found, "/metadata/uid");
        // A maker that isn't among them is none of the target's ReplicaSets: each of these was made before its pods.
        for maker in pods.iter().map(|pod| pod.maker()) {
            if self.of.get(maker).is_none_or(|of| of != uid) {
                self.strangers.insert((maker.to_owned(), uid.to_owned()));
            }
        }
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
