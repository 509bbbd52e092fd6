//! How many pods each ReplicaSet of a Deployment is to have.

use serde_json::Value;

use super::{DESIRED, LARGEST, Owned, Sets, revision, size, wanted};
use crate::cluster::Cluster;
use crate::cluster::json::text;
use crate::cluster::kinds::Kind;
use crate::cluster::pods;
use crate::cluster::rollout::{self, Bounds, Size};

impl Cluster {
    fn scale_set(&mut self, deployment: &Value, (key, set): &Owned, size: i64) {
        let before = wanted(set);
        let bounds = rollout::bounds(deployment);
        let total = wanted(deployment);
        self.change(Kind::ReplicaSet, key, |set| {
            crate::cluster::json::set(
                set,
                &["metadata", "annotations", DESIRED],
                total.to_string(),
            );
            crate::cluster::json::set(
                set,
                &["metadata", "annotations", LARGEST],
                (total + bounds.surge).to_string(),
            );
            crate::cluster::json::set(set, &["spec", "replicas"], size);
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

    pub(super) fn roll(&mut self, deployment: &Value, hash: &str, mut sets: Sets) {
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

    pub(super) fn recreate(&mut self, deployment: &Value, hash: &str, mut sets: Sets) {
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
    pub(super) fn resize(&mut self, deployment: &Value, sets: &Sets) {
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
}
