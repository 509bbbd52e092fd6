//! The Job controller.

use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::Cluster;
use super::json::{at, int, list, seconds, text};
use super::kinds::Kind;
use super::pods;
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;

/// The wait after the first failed pod; it doubles.
const BACK_OFF: Span = Span::from_secs(10);
/// The longest such wait.
const BACK_OFF_LIMIT: Span = Span::from_mins(6);

impl Cluster {
    pub(super) fn sync_job(&mut self, key: &Key) {
        let Some(job) = self.store.get(Kind::Job, key).cloned() else {
            return;
        };
        if is_leaving(&job) {
            return;
        }
        let uid = text(&job, &["metadata", "uid"]);
        let owned: Vec<(Key, Arc<Value>)> = self
            .store
            .owned_objects(uid, Kind::Pod)
            .map(|(key, pod)| (key.clone(), Arc::clone(pod)))
            .collect();
        let phase = |wanted: &str| {
            owned
                .iter()
                .filter(|(_, pod)| text(pod, &["status", "phase"]) == wanted)
                .count() as i64
        };
        let active: Vec<&Key> = owned
            .iter()
            .filter(|(_, pod)| !pods::is_finished(pod) && !is_leaving(pod))
            .map(|(key, _)| key)
            .collect();
        // Pods that were deleted stay counted.
        let count = |field: &str| int(&job, &["status", field]).unwrap_or_default();
        let succeeded = phase("Succeeded").max(count("succeeded"));
        let failed = phase("Failed").max(count("failed"));
        if ended(&job).is_some() {
            self.expire_job(key, &job);
            return;
        }
        let started = match text(&job, &["status", "startTime"]).parse::<Timestamp>() {
            Ok(at) => at,
            Err(_) => self.now,
        };
        let retries: i64 = owned
            .iter()
            .map(|(key, _)| i64::from(self.kubelet.restarts(key)))
            .sum();
        let limit = int(&job, &["spec", "backoffLimit"]).unwrap_or(6);
        let wanted = int(&job, &["spec", "completions"]).unwrap_or(1);
        let deadline = int(&job, &["spec", "activeDeadlineSeconds"])
            .map(|s| started.plus(Span::from_secs(u64::try_from(s).unwrap_or_default())));
        let mut conditions = list(&job, &["status", "conditions"]).to_vec();
        let mut running = active.len() as i64;
        let time = seconds(self.now);
        let mut end = |kind: &str, reason: &str, message: &str| {
            conditions.push(json!({
                "type": kind, "status": "True", "reason": reason, "message": message,
                "lastProbeTime": time, "lastTransitionTime": time,
            }));
        };
        let mut over = true;
        if succeeded >= wanted {
            end(
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
            self.tell(&job, false, "Completed", "Job completed");
        } else if failed > limit || retries > limit {
            end(
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
            self.tell(
                &job,
                true,
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
        } else if deadline.is_some_and(|deadline| deadline <= self.now) {
            end(
                "Failed",
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            );
            self.tell(
                &job,
                true,
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            );
        } else {
            over = false;
            running = self.start_job_pods(key, &job, wanted - succeeded, failed, active.len());
        }
        if over {
            for key in active {
                self.delete_pod(key, None);
            }
            running = 0;
        }
        if let Some(deadline) = deadline.filter(|_| !over) {
            self.queue.schedule(deadline, Work::Job(key.clone()));
        }
        let ready = owned.iter().filter(|(_, pod)| pods::is_ready(pod)).count();
        let mut status = json!({"startTime": seconds(started), "ready": ready});
        for (field, number) in [
            ("active", running),
            ("succeeded", succeeded),
            ("failed", failed),
        ] {
            if number > 0 {
                super::json::set(&mut status, &[field], number);
            }
        }
        if succeeded >= wanted {
            super::json::set(&mut status, &["completionTime"], time.as_str());
        }
        if !conditions.is_empty() {
            super::json::set(&mut status, &["conditions"], conditions);
        }
        self.put_status(Kind::Job, key, status);
    }

    /// Starts what is missing, after the back-off that failures cause; returns how many run then.
    fn start_job_pods(
        &mut self,
        key: &Key,
        job: &Value,
        missing: i64,
        failed: i64,
        active: usize,
    ) -> i64 {
        let active = active as i64;
        if at(job, &["spec", "suspend"]) == &Value::Bool(true) {
            return active;
        }
        let parallel = int(job, &["spec", "parallelism"]).unwrap_or(1);
        let start = (missing.min(parallel) - active).max(0);
        if start == 0 {
            return active;
        }
        if failed > 0 {
            let doubled =
                BACK_OFF.times(1_u64 << u32::try_from(failed - 1).unwrap_or_default().min(10));
            let due = self.last_failure(job).plus(doubled.min(BACK_OFF_LIMIT));
            if due > self.now {
                self.queue.schedule(due, Work::Job(key.clone()));
                return active;
            }
        }
        for _ in 0..start {
            self.create_pod(job);
        }
        active + start
    }

    fn last_failure(&self, job: &Value) -> Timestamp {
        self.store
            .owned_objects(text(job, &["metadata", "uid"]), Kind::Pod)
            .filter(|(_, pod)| text(pod, &["status", "phase"]) == "Failed")
            .filter_map(|(key, _)| self.kubelet.changed(key))
            .max()
            .unwrap_or(Timestamp::ZERO)
    }

    /// Deletes a Job whose time to live after its end is over.
    fn expire_job(&mut self, key: &Key, job: &Value) {
        let Some(ttl) = int(job, &["spec", "ttlSecondsAfterFinished"]) else {
            return;
        };
        let Some(end) = ended(job) else { return };
        let due = end.plus(Span::from_secs(u64::try_from(ttl).unwrap_or_default()));
        if due <= self.now {
            self.discard(Kind::Job, key);
        } else {
            self.queue.schedule(due, Work::Job(key.clone()));
        }
    }
}

/// When a Job ended, if it has.
fn ended(job: &Value) -> Option<Timestamp> {
    list(job, &["status", "conditions"])
        .iter()
        .find(|c| {
            matches!(text(c, &["type"]), "Complete" | "Failed") && text(c, &["status"]) == "True"
        })
        .and_then(|c| text(c, &["lastTransitionTime"]).parse().ok())
}
