//! The ReplicaSet controller: as many pods as wanted, those that serve least go first.

use std::sync::Arc;

use phasegate_core::time::Span;
use serde_json::{Value, json};

use super::Cluster;
use super::json::{at, int, list, set, take, text};
use super::kinds::Kind;
use super::pods;
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;
use super::writes::controller_of;

/// How many pods one look may create or delete, as in Kubernetes.
const BURST: usize = 500;

impl Cluster {
    pub(super) fn sync_replica_set(&mut self, key: &Key) {
        let Some(set) = self.store.get(Kind::ReplicaSet, key).cloned() else {
            return;
        };
        if is_leaving(&set) {
            return;
        }
        let uid = text(&set, &["metadata", "uid"]);
        let active: Vec<(Key, Arc<Value>)> = self
            .store
            .owned_objects(uid, Kind::Pod)
            .filter(|(_, pod)| !is_leaving(pod) && !pods::is_finished(pod))
            .map(|(key, pod)| (key.clone(), Arc::clone(pod)))
            .collect();
        let wanted =
            usize::try_from(int(&set, &["spec", "replicas"]).unwrap_or(1)).unwrap_or_default();
        if active.len() < wanted {
            for _ in 0..(wanted - active.len()).min(BURST) {
                self.create_pod(&set);
            }
        } else if active.len() > wanted {
            let surplus = (active.len() - wanted).min(BURST);
            for pod in self.ranked(&active).into_iter().take(surplus) {
                let message = format!("Deleted pod: {}", pod.name);
                self.delete_pod(&pod, None);
                self.tell(&set, false, "SuccessfulDelete", &message);
            }
        }
        self.replica_set_status(key, &set);
    }

    /// Creates a pod from a controller's template.
    pub(super) fn create_pod(&mut self, owner: &Value) {
        if self.store.count() >= self.config.objects {
            self.tell(
                owner,
                true,
                "FailedCreate",
                "Error creating: exceeded quota",
            );
            return;
        }
        let mut pod = pods::from_template(owner);
        let prefix = text(&pod, &["metadata", "generateName"]).to_owned();
        let namespace = text(&pod, &["metadata", "namespace"]).to_owned();
        let name = self.free_name(Kind::Pod, &namespace, &prefix);
        let message = format!("Created pod: {name}");
        set(&mut pod, &["metadata", "name"], name);
        self.insert(Kind::Pod, pod);
        self.tell(owner, false, "SuccessfulCreate", &message);
    }

    /// The pods in the order in which they are deleted.
    fn ranked(&self, pods: &[(Key, Arc<Value>)]) -> Vec<Key> {
        let mut ranked: Vec<_> = pods
            .iter()
            .map(|(key, pod)| {
                let running = text(pod, &["status", "phase"]) == "Running";
                let ready = self.kubelet.ready_since(key);
                let restarts = self.kubelet.restarts(key);
                let created = text(pod, &["metadata", "creationTimestamp"]);
                let order = (
                    self.kubelet.is_scheduled(key),
                    running,
                    ready.is_some(),
                    // Ready for a shorter time, more restarts, and younger go first.
                    std::cmp::Reverse(ready),
                    std::cmp::Reverse(restarts),
                    std::cmp::Reverse(created),
                );
                (order, key)
            })
            .collect();
        ranked.sort();
        ranked.into_iter().map(|(_, key)| key.clone()).collect()
    }

    fn replica_set_status(&mut self, key: &Key, set: &Value) {
        let min_ready = min_ready(set);
        let (mut replicas, mut ready, mut available) = (0_i64, 0_i64, 0_i64);
        let mut next = None;
        for (pod_key, pod) in self
            .store
            .owned_objects(text(set, &["metadata", "uid"]), Kind::Pod)
        {
            if is_leaving(pod) || pods::is_finished(pod) {
                continue;
            }
            replicas += 1;
            if let Some(since) = self.kubelet.ready_since(pod_key) {
                ready += 1;
                let due = since.plus(min_ready);
                if due <= self.now {
                    available += 1;
                } else {
                    next = Some(next.map_or(due, |n| due.min(n)));
                }
            }
        }
        if let Some(next) = next {
            self.queue.schedule(next, Work::ReplicaSet(key.clone()));
        }
        let status = json!({
            "replicas": replicas,
            "fullyLabeledReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": int(set, &["metadata", "generation"]).unwrap_or_default(),
        });
        self.put_status(Kind::ReplicaSet, key, status);
    }

    /// Makes ReplicaSets that nobody controls and that fit the selector the Deployment's own.
    pub(super) fn adopt_replica_sets(&mut self, deployment: &Value, namespace: &str) {
        let stray: Vec<Key> = self
            .store
            .list(Kind::ReplicaSet, namespace)
            .filter(|(_, set)| controller_of(set).is_none() && !is_leaving(set))
            .filter(|(_, set)| {
                super::writes::controls(deployment, at(set, &["metadata", "labels"]))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in stray {
            self.change(Kind::ReplicaSet, &key, |set| {
                let mut owners = list(set, &["metadata", "ownerReferences"]).to_vec();
                owners.push(pods::owner_reference(deployment));
                super::json::set(set, &["metadata", "ownerReferences"], owners);
            });
        }
    }

    /// Begins to delete a pod; `grace` in seconds overrides what its spec says.
    pub(super) fn delete_pod(&mut self, key: &Key, grace: Option<i64>) {
        let Some(pod) = self.store.get(Kind::Pod, key).cloned() else {
            return;
        };
        let held = !list(&pod, &["metadata", "finalizers"]).is_empty();
        let idle = !self.kubelet.is_scheduled(key) || pods::is_finished(&pod);
        let grace = grace
            .or(int(&pod, &["spec", "terminationGracePeriodSeconds"]))
            .unwrap_or(30)
            .max(0);
        if !held && (idle || grace == 0) {
            self.discard(Kind::Pod, key);
            return;
        }
        if is_leaving(&pod) {
            return;
        }
        let until = self
            .now
            .plus(Span::from_secs(u64::try_from(grace).unwrap_or_default()));
        let mut new = Value::clone(&pod);
        take(&mut new, &["metadata", "deletionTimestamp"]);
        set(
            &mut new,
            &["metadata", "deletionTimestamp"],
            super::json::seconds(until),
        );
        set(&mut new, &["metadata", "deletionGracePeriodSeconds"], grace);
        self.commit(Kind::Pod, key, new);
        self.sync_pod(key);
        self.tell(
            &pod,
            false,
            "Killing",
            &format!(
                "Stopping container {}",
                text(
                    list(&pod, &["spec", "containers"])
                        .first()
                        .unwrap_or(&Value::Null),
                    &["name"]
                )
            ),
        );
    }
}

/// How long a pod must be ready before it counts as available.
pub(super) fn min_ready(workload: &Value) -> Span {
    let count = int(workload, &["spec", "minReadySeconds"]).unwrap_or_default();
    Span::from_secs(u64::try_from(count).unwrap_or_default())
}
