//! What a Deployment's status says of its rollout.

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::{Owned, REVISION, Sets, revision, wanted};
use crate::cluster::Cluster;
use crate::cluster::json::{at, int, list, members, seconds, set, text};
use crate::cluster::kinds::Kind;
use crate::cluster::queue::Work;
use crate::cluster::rollout;
use crate::cluster::store::Key;

/// A deadline that Kubernetes takes for none.
const NO_DEADLINE: i64 = i32::MAX as i64;

impl Cluster {
    /// Writes the status; says whether the rollout is complete.
    pub(super) fn deployment_status(
        &mut self,
        key: &Key,
        seen: &Value,
        sets: &Sets,
        paused: bool,
    ) -> bool {
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
    pub(super) fn forget_old_revisions(&mut self, deployment: &Value, sets: &Sets) {
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

/// Sets a condition; its transition time changes only with its status.
pub(super) fn put_condition(
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
