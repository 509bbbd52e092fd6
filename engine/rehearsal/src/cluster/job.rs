//! The Job controller.

use std::collections::BTreeSet;
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
use super::writes::controller_of;

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
        if ended(&job).is_some() {
            self.expire_job(key, &job);
            return;
        }
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
        for (_, pod) in &owned {
            if is_leaving(pod) || text(pod, &["status", "phase"]) == "Failed" {
                self.count_failure(pod);
            }
        }
        let failures = self.job_failures.get(uid).map_or(0, BTreeSet::len);
        let mut failed = i64::try_from(failures).unwrap_or(i64::MAX);
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
        // The first says that it will end so, the second that it has.
        let end = |conditions: &mut Vec<Value>, kinds: [&str; 2], reason: &str, message: &str| {
            conditions.extend(kinds.map(|kind| {
                json!({
                    "type": kind, "status": "True", "reason": reason, "message": message,
                    "lastProbeTime": time, "lastTransitionTime": time,
                })
            }));
        };
        let mut over = true;
        if succeeded >= wanted {
            end(
                &mut conditions,
                ["SuccessCriteriaMet", "Complete"],
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
            self.tell(&job, false, "Completed", "Job completed");
        } else if failed > limit || retries > limit {
            end(
                &mut conditions,
                ["FailureTarget", "Failed"],
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
                &mut conditions,
                ["FailureTarget", "Failed"],
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
            note_suspension(&mut conditions, &job, &time);
            if at(&job, &["spec", "suspend"]) == &Value::Bool(true) {
                for &key in &active {
                    self.delete_pod(key, None);
                }
            }
            running = self.start_job_pods(key, &job, wanted - succeeded, failed, active.len());
        }
        if over {
            if succeeded < wanted {
                failed += running;
            }
            for key in active {
                self.delete_pod(key, None);
            }
            running = 0;
        }
        if let Some(deadline) = deadline.filter(|_| !over) {
            self.queue.schedule(deadline, Work::Job(key.clone()));
        }
        let ready = owned.iter().filter(|(_, pod)| pods::is_ready(pod)).count();
        let terminating = owned.iter().filter(|(_, pod)| is_leaving(pod)).count();
        let mut status = json!({
            "ready": ready, "terminating": terminating, "uncountedTerminatedPods": {},
        });
        if at(&job, &["spec", "suspend"]) != &Value::Bool(true) {
            super::json::set(&mut status, &["startTime"], seconds(started));
        }
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
            return 0;
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

    /// Counts a pod that failed, or goes before it has succeeded, against its Job.
    pub(super) fn count_failure(&mut self, pod: &Value) {
        let Some(owner) = controller_of(pod).filter(|owner| text(owner, &["kind"]) == "Job") else {
            return;
        };
        let job = Key::new(
            text(pod, &["metadata", "namespace"]),
            text(owner, &["name"]),
        );
        let is_there = self
            .store
            .get(Kind::Job, &job)
            .is_some_and(|job| at(job, &["metadata", "uid"]) == at(owner, &["uid"]));
        if is_there && text(pod, &["status", "phase"]) != "Succeeded" {
            let failures = self.job_failures.entry(text(owner, &["uid"]).to_owned());
            let uid = text(pod, &["metadata", "uid"]);
            failures.or_default().insert(uid.to_owned());
        }
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

/// Says that a Job is suspended, or no longer.
fn note_suspension(conditions: &mut Vec<Value>, job: &Value, time: &str) {
    let suspended = at(job, &["spec", "suspend"]) == &Value::Bool(true);
    let said = conditions
        .iter()
        .position(|c| text(c, &["type"]) == "Suspended");
    let (status, reason, message) = match (suspended, said) {
        (false, None) => return,
        (true, _) => ("True", "JobSuspended", "Job suspended"),
        (false, Some(_)) => ("False", "JobResumed", "Job resumed"),
    };
    let now = json!({
        "type": "Suspended", "status": status, "reason": reason, "message": message,
        "lastProbeTime": time, "lastTransitionTime": time,
    });
    match said.and_then(|place| conditions.get_mut(place)) {
        Some(condition) if text(condition, &["status"]) == status => {}
        Some(condition) => *condition = now,
        None => conditions.push(now),
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
