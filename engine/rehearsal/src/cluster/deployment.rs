//! The Deployment controller.

mod sizes;
mod status;

use std::sync::Arc;

use phasegate_core::time::Timestamp;
use serde_json::{Value, json};

use self::status::put_condition;
use super::Cluster;
use super::ids::template_hash;
use super::json::{at, int, map, set, text};
use super::kinds::Kind;
use super::pods;
use super::queue::Work;
use super::rollout::{self, Size};
use super::store::Key;
use super::watch::is_leaving;

const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const LARGEST: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// What belongs to the Deployment alone and is not copied to its ReplicaSets.
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    LARGEST,
];

/// What the controller remembers of a Deployment beside the object.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    /// When its spec last changed.
    changed: Timestamp,
    /// The hash of its template, and for which generation it was computed.
    hash: Option<(i64, String)>,
    /// When the rollout last got any further.
    progressed: Timestamp,
}

/// One ReplicaSet of a Deployment.
type Owned = (Key, Arc<Value>);

/// The ReplicaSets of a Deployment.
struct Sets {
    newest: Option<Owned>,
    /// Oldest first.
    old: Vec<Owned>,
}

impl Sets {
    fn all(&self) -> impl Iterator<Item = &Owned> {
        self.old.iter().chain(&self.newest)
    }

    fn sum(&self, path: &[&str]) -> i64 {
        self.all().filter_map(|(_, set)| int(set, path)).sum()
    }
}

fn wanted(set: &Value) -> i64 {
    int(set, &["spec", "replicas"]).unwrap_or(1)
}

fn revision(object: &Value) -> i64 {
    text(object, &["metadata", "annotations", REVISION])
        .parse()
        .unwrap_or_default()
}

fn size((_, set): &Owned) -> Size {
    Size {
        wanted: wanted(set),
        available: int(set, &["status", "availableReplicas"]).unwrap_or_default(),
        largest: text(set, &["metadata", "annotations", LARGEST])
            .parse()
            .unwrap_or_default(),
    }
}

impl Cluster {
    /// Notes that a Deployment has another spec, which the controller will see after its lag.
    pub(super) fn deployment_changed(&mut self, deployment: &Value) {
        let uid = text(deployment, &["metadata", "uid"]);
        let now = self.now;
        self.rollouts.entry(uid.to_owned()).or_default().changed = now;
    }

    pub(super) fn sync_deployment(&mut self, key: &Key) {
        let Some(deployment) = self.store.get(Kind::Deployment, key).cloned() else {
            return;
        };
        if is_leaving(&deployment) {
            return;
        }
        let uid = text(&deployment, &["metadata", "uid"]).to_owned();
        let sees = self
            .rollouts
            .entry(uid.clone())
            .or_default()
            .changed
            .plus(self.config.observed_generation_lag);
        if self.now < sees {
            self.queue.schedule(sees, Work::Deployment(key.clone()));
            return;
        }
        self.adopt_replica_sets(&deployment, &key.namespace);
        let hash = self.hash_of(&uid, &deployment);
        let sets = self.sets_of(&uid, &hash);
        let paused = at(&deployment, &["spec", "paused"]) == &Value::Bool(true);
        let total = wanted(&deployment);
        let resized = sets.all().any(|(_, set)| {
            let noted = text(set, &["metadata", "annotations", DESIRED]).parse::<i64>();
            wanted(set) > 0 && noted.is_ok_and(|noted| noted != total)
        });
        if paused || resized {
            self.resize(&deployment, &sets);
        } else if text(&deployment, &["spec", "strategy", "type"]) == "Recreate" {
            self.recreate(&deployment, &hash, sets);
        } else {
            self.roll(&deployment, &hash, sets);
        }
        let sets = self.sets_of(&uid, &hash);
        let done = self.deployment_status(key, &deployment, &sets, paused);
        if done {
            self.forget_old_revisions(&deployment, &sets);
        }
    }

    fn hash_of(&mut self, uid: &str, deployment: &Value) -> String {
        let generation = int(deployment, &["metadata", "generation"]).unwrap_or_default();
        let memo = self.rollouts.entry(uid.to_owned()).or_default();
        match &memo.hash {
            Some((known, hash)) if *known == generation => hash.clone(),
            _ => {
                let hash = template_hash(at(deployment, &["spec", "template"]));
                memo.hash = Some((generation, hash.clone()));
                hash
            }
        }
    }

    fn sets_of(&self, uid: &str, hash: &str) -> Sets {
        let mut all: Vec<Owned> = self
            .store
            .owned_objects(uid, Kind::ReplicaSet)
            .filter(|(_, set)| !is_leaving(set))
            .map(|(key, set)| (key.clone(), Arc::clone(set)))
            .collect();
        all.sort_by(|(a, left), (b, right)| {
            let created = |set: &Value| text(set, &["metadata", "creationTimestamp"]).to_owned();
            (created(left), revision(left), a).cmp(&(created(right), revision(right), b))
        });
        let newest = all
            .iter()
            .position(|(_, set)| text(set, &["metadata", "labels", HASH]) == hash);
        let newest = newest.map(|index| all.remove(index));
        Sets { newest, old: all }
    }

    /// Brings the revision of the newest ReplicaSet up to date, or creates it.
    fn ensure_newest(&mut self, deployment: &Value, hash: &str, sets: &mut Sets, size: i64) {
        let next = sets
            .old
            .iter()
            .map(|(_, set)| revision(set))
            .max()
            .unwrap_or_default()
            + 1;
        if let Some((key, set)) = &mut sets.newest {
            let known = revision(set);
            let annotations = copied_annotations(deployment);
            self.change(Kind::ReplicaSet, key, |set| {
                for (name, value) in annotations {
                    super::json::set(set, &["metadata", "annotations", &name], value);
                }
                if known < next {
                    if known > 0 {
                        let before =
                            text(set, &["metadata", "annotations", REVISION_HISTORY]).to_owned();
                        let history = if before.is_empty() {
                            known.to_string()
                        } else {
                            format!("{before},{known}")
                        };
                        super::json::set(
                            set,
                            &["metadata", "annotations", REVISION_HISTORY],
                            history,
                        );
                    }
                    super::json::set(
                        set,
                        &["metadata", "annotations", REVISION],
                        next.to_string(),
                    );
                }
                let min_ready = at(deployment, &["spec", "minReadySeconds"]);
                if at(set, &["spec", "minReadySeconds"]) != min_ready && !min_ready.is_null() {
                    super::json::set(set, &["spec", "minReadySeconds"], min_ready.clone());
                }
            });
            if let Some(fresh) = self.store.get(Kind::ReplicaSet, key) {
                *set = Arc::clone(fresh);
            }
            return;
        }
        let set = self.create_replica_set(deployment, hash, next, size);
        sets.newest = Some((Key::of(&set), set));
    }

    fn create_replica_set(
        &mut self,
        deployment: &Value,
        hash: &str,
        revision: i64,
        size: i64,
    ) -> Arc<Value> {
        let name = format!("{}-{hash}", text(deployment, &["metadata", "name"]));
        let mut template = at(deployment, &["spec", "template"]).clone();
        set(&mut template, &["metadata", "labels", HASH], hash);
        let mut selector = at(deployment, &["spec", "selector"]).clone();
        set(&mut selector, &["matchLabels", HASH], hash);
        let mut annotations = json!({});
        for (name, value) in copied_annotations(deployment) {
            set(&mut annotations, &[&name], value);
        }
        let bounds = rollout::bounds(deployment);
        set(&mut annotations, &[REVISION], revision.to_string());
        set(&mut annotations, &[DESIRED], wanted(deployment).to_string());
        set(
            &mut annotations,
            &[LARGEST],
            (wanted(deployment) + bounds.surge).to_string(),
        );
        let mut fresh = json!({
            "metadata": {
                "name": name,
                "namespace": text(deployment, &["metadata", "namespace"]),
                "labels": at(&template, &["metadata", "labels"]).clone(),
                "annotations": annotations,
                "ownerReferences": [pods::owner_reference(deployment)],
            },
            "spec": {"replicas": size, "selector": selector, "template": template},
        });
        let min_ready = at(deployment, &["spec", "minReadySeconds"]);
        if !min_ready.is_null() {
            set(&mut fresh, &["spec", "minReadySeconds"], min_ready.clone());
        }
        let made = self.insert(Kind::ReplicaSet, fresh);
        if size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            self.tell(deployment, false, "ScalingReplicaSet", &message);
        }
        let message = format!("Created new replica set \"{name}\"");
        let key = Key::of(deployment);
        let uid = text(deployment, &["metadata", "uid"]).to_owned();
        let now = self.now;
        self.rollouts.entry(uid).or_default().progressed = now;
        self.change(Kind::Deployment, &key, |object| {
            let conditions = super::json::list_mut(object, &["status", "conditions"]);
            put_condition(
                conditions,
                "Progressing",
                "True",
                "NewReplicaSetCreated",
                &message,
                now,
            );
        });
        made
    }
}

fn copied_annotations(deployment: &Value) -> Vec<(String, Value)> {
    map(deployment, &["metadata", "annotations"])
        .into_iter()
        .flatten()
        .filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
