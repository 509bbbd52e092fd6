//! The Deployment controller.

use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::Cluster;
use super::ids::template_hash;
use super::json::{at, int, list, map, members, seconds, set, text};
use super::kinds::Kind;
use super::pods;
use super::queue::Work;
use super::rollout::{self, Bounds, Size};
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
/// A deadline that Kubernetes takes for none.
const NO_DEADLINE: i64 = i32::MAX as i64;

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

    fn scale_set(&mut self, deployment: &Value, (key, set): &Owned, size: i64) {
        let before = wanted(set);
        let bounds = rollout::bounds(deployment);
        let total = wanted(deployment);
        self.change(Kind::ReplicaSet, key, |set| {
            super::json::set(
                set,
                &["metadata", "annotations", DESIRED],
                total.to_string(),
            );
            super::json::set(
                set,
                &["metadata", "annotations", LARGEST],
                (total + bounds.surge).to_string(),
            );
            super::json::set(set, &["spec", "replicas"], size);
        });
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            let message = format!(
                "Scaled {direction} replica set {} from {before} to {size}",
                key.name
            );
            self.tell(deployment, false, "ScalingReplicaSet", &message);
        }
    }

    fn roll(&mut self, deployment: &Value, hash: &str, mut sets: Sets) {
        let total = wanted(deployment);
        let bounds = rollout::bounds(deployment);
        let all: i64 = sets.all().map(|(_, set)| wanted(set)).sum();
        let fresh = Size {
            wanted: 0,
            available: 0,
            largest: 0,
        };
        let first = rollout::grown(total, bounds, fresh, all);
        let existed = sets.newest.is_some();
        self.ensure_newest(deployment, hash, &mut sets, first);
        let Some(newest) = &sets.newest else { return };
        if !existed {
            return;
        }
        let now = size(newest);
        let grown = if now.wanted > total {
            total
        } else {
            rollout::grown(total, bounds, now, all)
        };
        if grown != now.wanted {
            self.scale_set(deployment, newest, grown);
            return;
        }
        let old: Vec<Size> = sets.old.iter().map(size).collect();
        let sizes = rollout::shrunk(total, bounds, now, &old);
        for ((set, before), after) in sets.old.iter().zip(&old).zip(sizes) {
            if before.wanted != after {
                self.scale_set(deployment, set, after);
            }
        }
    }

    fn recreate(&mut self, deployment: &Value, hash: &str, mut sets: Sets) {
        let mut scaled = false;
        for old in &sets.old {
            if wanted(&old.1) > 0 {
                self.scale_set(deployment, old, 0);
                scaled = true;
            }
        }
        let runs = |(_, set): &Owned| {
            let uid = text(set, &["metadata", "uid"]);
            self.store
                .owned_objects(uid, Kind::Pod)
                .any(|(_, pod)| !pods::is_finished(pod))
        };
        if scaled || sets.old.iter().any(runs) {
            return;
        }
        let total = wanted(deployment);
        self.ensure_newest(deployment, hash, &mut sets, total);
        if let Some(newest) = &sets.newest
            && wanted(&newest.1) != total
        {
            self.scale_set(deployment, newest, total);
        }
    }

    /// Follows a change of the wanted number, or holds still while paused.
    fn resize(&mut self, deployment: &Value, sets: &Sets) {
        let total = wanted(deployment);
        let active: Vec<&Owned> = sets.all().filter(|(_, set)| wanted(set) > 0).collect();
        let newest_serves = sets.newest.as_ref().is_some_and(|newest| {
            let size = size(newest);
            size.wanted == total && size.available >= total
        });
        if let [] | [_] = active.as_slice() {
            let latest = sets.old.iter().max_by_key(|(_, set)| revision(set));
            if let Some(only) = active.first().copied().or(sets.newest.as_ref()).or(latest)
                && (wanted(&only.1) != total
                    || text(&only.1, &["metadata", "annotations", DESIRED]) != total.to_string())
            {
                self.scale_set(deployment, only, total);
            }
            return;
        }
        if newest_serves {
            for old in sets.old.iter().filter(|(_, set)| wanted(set) > 0) {
                self.scale_set(deployment, old, 0);
            }
            return;
        }
        if text(deployment, &["spec", "strategy", "type"]) != "RollingUpdate" {
            return;
        }
        let bounds = rollout::bounds(deployment);
        self.resize_shares(deployment, total, bounds, active);
    }

    fn resize_shares(
        &mut self,
        deployment: &Value,
        total: i64,
        bounds: Bounds,
        mut active: Vec<&Owned>,
    ) {
        let allowed = if total > 0 { total + bounds.surge } else { 0 };
        let now: i64 = active.iter().map(|(_, set)| wanted(set)).sum();
        // The larger ones bear the change; among equals the newer grow and the older shrink first.
        if allowed >= now {
            active.reverse();
        }
        active.sort_by_key(|(_, set)| std::cmp::Reverse(wanted(set)));
        let sizes: Vec<Size> = active.iter().map(|set| size(set)).collect();
        for (set, size) in active
            .iter()
            .zip(rollout::proportional(total, bounds, &sizes))
        {
            self.scale_set(deployment, set, size);
        }
    }

    /// Writes the status; says whether the rollout is complete.
    fn deployment_status(&mut self, key: &Key, seen: &Value, sets: &Sets, paused: bool) -> bool {
        let Some(live) = self.store.get(Kind::Deployment, key).cloned() else {
            return false;
        };
        let total = wanted(seen);
        let replicas = sets.sum(&["status", "replicas"]);
        let available = sets.sum(&["status", "availableReplicas"]);
        let updated = sets
            .newest
            .as_ref()
            .and_then(|(_, set)| int(set, &["status", "replicas"]))
            .unwrap_or_default();
        let asked: i64 = sets.all().map(|(_, set)| wanted(set)).sum();
        let mut status = json!({
            "observedGeneration": int(seen, &["metadata", "generation"]).unwrap_or_default(),
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": sets.sum(&["status", "readyReplicas"]),
            "availableReplicas": available,
            "unavailableReplicas": (asked - available).max(0),
        });
        // Kubernetes leaves zeros out.
        members(&mut status).retain(|_, value| value.as_i64() != Some(0));
        let complete = updated == total && replicas == total && available == total;
        let mut conditions = list(&live, &["status", "conditions"]).to_vec();
        let least = total - rollout::bounds(seen).unavailable;
        let (fine, reason, message) = if available >= least {
            (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            )
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        put_condition(
            &mut conditions,
            "Available",
            fine,
            reason,
            message,
            self.now,
        );
        self.progress(key, &live, &status, sets, paused, complete, &mut conditions);
        set(&mut status, &["conditions"], conditions);
        let newest = sets
            .newest
            .as_ref()
            .map(|(_, set)| revision(set))
            .filter(|revision| *revision > 0);
        let revision_known = newest.is_none_or(|newest| newest == revision(&live));
        if at(&live, &["status"]) != &status || !revision_known {
            let mut new = Value::clone(&live);
            set(&mut new, &["status"], status);
            if let Some(newest) = newest {
                set(
                    &mut new,
                    &["metadata", "annotations", REVISION],
                    newest.to_string(),
                );
            }
            self.commit(Kind::Deployment, key, new);
        }
        complete
    }

    /// Whether the rollout gets on, as the condition `Progressing` says.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, and each is a part of one picture"
    )]
    fn progress(
        &mut self,
        key: &Key,
        live: &Value,
        status: &Value,
        sets: &Sets,
        paused: bool,
        complete: bool,
        conditions: &mut Vec<Value>,
    ) {
        let deadline = int(live, &["spec", "progressDeadlineSeconds"]).unwrap_or(NO_DEADLINE);
        if deadline >= NO_DEADLINE {
            conditions.retain(|c| text(c, &["type"]) != "Progressing");
            return;
        }
        let now = self.now;
        let uid = text(live, &["metadata", "uid"]).to_owned();
        let reason = conditions
            .iter()
            .find(|c| text(c, &["type"]) == "Progressing")
            .map(|c| text(c, &["reason"]).to_owned())
            .unwrap_or_default();
        let memo = self.rollouts.entry(uid).or_default();
        if paused {
            if reason != "ProgressDeadlineExceeded" {
                put_condition(
                    conditions,
                    "Progressing",
                    "Unknown",
                    "DeploymentPaused",
                    "Deployment is paused",
                    now,
                );
            }
            return;
        }
        if reason == "DeploymentPaused" {
            memo.progressed = now;
            put_condition(
                conditions,
                "Progressing",
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed",
                now,
            );
        }
        let name = sets
            .newest
            .as_ref()
            .map_or("", |(key, _)| key.name.as_str());
        let count = |object: &Value, field: &str| int(object, &[field]).unwrap_or_default();
        let old = at(live, &["status"]);
        let settled = reason == "NewReplicaSetAvailable"
            && count(status, "replicas") == count(status, "updatedReplicas");
        if settled {
            return;
        }
        let further = |field: &str| count(status, field) > count(old, field);
        let older = |object: &Value| count(object, "replicas") - count(object, "updatedReplicas");
        let further = further("updatedReplicas")
            || further("readyReplicas")
            || further("availableReplicas")
            || older(status) < older(old);
        if complete {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            put_condition(
                conditions,
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                &message,
                now,
            );
            return;
        }
        let due = memo
            .progressed
            .plus(Span::from_secs(u64::try_from(deadline).unwrap_or_default()));
        if further || reason.is_empty() {
            memo.progressed = now;
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            conditions
                .retain(|c| text(c, &["type"]) != "Progressing" || text(c, &["status"]) == "True");
            put_condition(
                conditions,
                "Progressing",
                "True",
                "ReplicaSetUpdated",
                &message,
                now,
            );
            touch(conditions, now);
        } else if reason != "NewReplicaSetAvailable"
            && reason != "ProgressDeadlineExceeded"
            && now >= due
        {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            put_condition(
                conditions,
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                &message,
                now,
            );
            return;
        }
        let due = self
            .rollouts
            .get(text(live, &["metadata", "uid"]))
            .map_or(due, |memo| {
                memo.progressed
                    .plus(Span::from_secs(u64::try_from(deadline).unwrap_or_default()))
            });
        if due > now {
            self.queue.schedule(due, Work::Deployment(key.clone()));
        }
    }

    /// Deletes the oldest empty ReplicaSets beyond the limit.
    fn forget_old_revisions(&mut self, deployment: &Value, sets: &Sets) {
        let Some(limit) = int(deployment, &["spec", "revisionHistoryLimit"]) else {
            return;
        };
        let keep = usize::try_from(limit).unwrap_or_default();
        let surplus = sets.old.len().saturating_sub(keep);
        let mut old: Vec<&Owned> = sets.old.iter().collect();
        old.sort_by_key(|(_, set)| revision(set));
        let empty = |set: &Value| {
            wanted(set) == 0 && int(set, &["status", "replicas"]).unwrap_or_default() == 0
        };
        for (key, _) in old.into_iter().take(surplus).filter(|(_, set)| empty(set)) {
            self.discard(Kind::ReplicaSet, key);
        }
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

/// Sets a condition; its transition time changes only with its status.
fn put_condition(
    conditions: &mut Vec<Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let time = seconds(now);
    let fresh = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": time, "lastTransitionTime": time,
    });
    match conditions.iter_mut().find(|c| text(c, &["type"]) == kind) {
        Some(known) if text(known, &["status"]) == status && text(known, &["reason"]) == reason => {
        }
        Some(known) => {
            let since = at(known, &["lastTransitionTime"]).clone();
            let same = text(known, &["status"]) == status;
            *known = fresh;
            if same {
                set(known, &["lastTransitionTime"], since);
            }
        }
        None => conditions.push(fresh),
    }
}

/// Notes that the rollout got further.
fn touch(conditions: &mut [Value], now: Timestamp) {
    if let Some(known) = conditions
        .iter_mut()
        .find(|c| text(c, &["type"]) == "Progressing")
    {
        set(known, &["lastUpdateTime"], seconds(now));
    }
}
