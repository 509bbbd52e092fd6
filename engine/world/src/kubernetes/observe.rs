//! What is seen of a target while a run goes on.

use std::collections::BTreeSet;

use phasegate_core::failure::Failure;
use phasegate_core::workload::{Observation, PODS_LISTED, Pod, Target};
use serde_json::Value;

use super::path::Resource;
use super::{KubeCluster, Problem, autoscaler, count, deployment, items, small, text};

/// Most pods or ReplicaSets that are looked through.
const MAX_OBJECTS: usize = 5000;

/// A Deployment's ReplicaSets and pods.
#[derive(Default)]
pub(super) struct Family {
    pub(super) sets: Vec<Value>,
    pub(super) pods: Vec<Value>,
}

impl KubeCluster {
    pub(super) async fn read_observation(&self, target: &Target) -> Result<Observation, Failure> {
        let found = self.deployment(target).await?;
        let autoscalers = self.autoscalers(target).await?;
        let mut seen = self.see(target, &found, &autoscalers).await?;
        if let Some((there, found)) = self.candidate(target).await? {
            let candidate = self.see(&there, &found, &autoscalers).await?;
            seen.beside = Some(Box::new(candidate));
        }
        Ok(seen)
    }

    /// What is seen of one Deployment.
    async fn see(
        &self,
        target: &Target,
        found: &Value,
        autoscalers: &[Value],
    ) -> Result<Observation, Failure> {
        let settings = deployment::settings(found, target)?;
        let family = self.family(found, target).await?;
        let mut pods: Vec<Pod> = family
            .pods
            .iter()
            .map(|pod| read_pod(pod, target))
            .collect();
        // Where not all can be named, those that are in trouble matter most.
        pods.sort_by_key(|pod| pod.ready && pod.waiting.is_none());
        pods.truncate(PODS_LISTED);
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let generation = count(found, "/metadata/generation");
        let observed_generation = count(found, "/status/observedGeneration");
        let [total, updated, ready, available] = deployment::counts(found);
        Ok(Observation {
            at: self.transport.clock.now(),
            uid: text(found, "/metadata/uid").to_owned(),
            generation,
            observed_generation,
            settings,
            template_digest: deployment::template_digest(found, target),
            total,
            updated,
            ready,
            available,
            // A controller that hasn't seen the present specification gave up on an earlier one.
            deadline_exceeded: observed_generation >= generation && gave_up(found),
            marks: deployment::marks(found),
            pods,
            autoscaler: autoscaler::of(autoscalers, &target.deployment).map(autoscaler::bounds),
            beside: None,
        })
    }

    /// The pods that the Deployment made, through its ReplicaSets: another workload's pods may carry
    /// the same labels.
    pub(super) async fn family(&self, found: &Value, target: &Target) -> Result<Family, Problem> {
        let selector = deployment::selector_query(found);
        let query = [("labelSelector", selector.as_str())];
        let namespace = Some(target.namespace.as_str());
        let resource = Resource::fixed("apps", "v1", "replicasets");
        let mut sets = self.list(&resource, namespace, &query, MAX_OBJECTS).await?;
        let owner = BTreeSet::from([text(found, "/metadata/uid")]);
        sets.retain(|set| owned_by(set, &owner));
        let resource = Resource::fixed("", "v1", "pods");
        let mut pods = self.list(&resource, namespace, &query, MAX_OBJECTS).await?;
        let owners: BTreeSet<&str> = sets.iter().map(|set| text(set, "/metadata/uid")).collect();
        pods.retain(|pod| owned_by(pod, &owners));
        Ok(Family { sets, pods })
    }
}

fn owned_by(object: &Value, owners: &BTreeSet<&str>) -> bool {
    items(object, "/metadata/ownerReferences").any(|owner| {
        owner.get("controller").and_then(Value::as_bool) == Some(true)
            && owners.contains(text(owner, "/uid"))
    })
}

fn gave_up(deployment: &Value) -> bool {
    items(deployment, "/status/conditions").any(|condition| {
        text(condition, "/type") == "Progressing"
            && text(condition, "/reason") == "ProgressDeadlineExceeded"
    })
}

/// The status of the released container in a pod.
pub(super) fn container_status<'a>(pod: &'a Value, target: &Target) -> Option<&'a Value> {
    items(pod, "/status/containerStatuses").find(|status| text(status, "/name") == target.container)
}

pub(super) fn read_pod(pod: &Value, target: &Target) -> Pod {
    let status = container_status(pod, target);
    let image = items(pod, "/spec/containers")
        .find(|container| text(container, "/name") == target.container)
        .map_or("", |container| text(container, "/image"));
    let ready = items(pod, "/status/conditions").any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    });
    Pod {
        name: text(pod, "/metadata/name").to_owned(),
        image: image.to_owned(),
        ready,
        restarts: status.map_or(0, |status| small(count(status, "/restartCount"))),
        waiting: waiting(pod, status),
        terminating: pod.pointer("/metadata/deletionTimestamp").is_some(),
    }
}

/// Why the pod does not run: the released container's reason, unless that only waits for another's.
fn waiting(pod: &Value, status: Option<&Value>) -> Option<String> {
    let reason = |status: &Value| {
        let reason = text(status, "/state/waiting/reason");
        (!reason.is_empty()).then(|| reason.to_owned())
    };
    let own = status.and_then(reason);
    if let Some(own) = own.as_ref().filter(|own| *own != "PodInitializing") {
        return Some(own.clone());
    }
    items(pod, "/status/initContainerStatuses")
        .find_map(reason)
        .or_else(|| unschedulable(pod))
        .or(own)
}

fn unschedulable(pod: &Value) -> Option<String> {
    items(pod, "/status/conditions")
        .find(|condition| {
            text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False"
        })
        .map(|condition| text(condition, "/reason").to_owned())
}
