//! Events: what controllers tell people, repeated ones counted.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::Cluster;
use super::json::{at, int, seconds, set, text};
use super::kinds::Kind;
use super::store::Key;

/// The events told so far, to count repetitions and to forget the oldest.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    known: BTreeMap<(String, &'static str, String), Key>,
    order: VecDeque<(String, &'static str, String)>,
    sequence: u64,
}

fn component(about: &str, reason: &str) -> &'static str {
    match reason {
        "SuccessfulCreate" | "SuccessfulDelete" | "FailedCreate" if about == "Job" => {
            "job-controller"
        }
        "Scheduled" | "FailedScheduling" => "default-scheduler",
        "ScalingReplicaSet" => "deployment-controller",
        "SuccessfulCreate" | "SuccessfulDelete" | "FailedCreate" => "replicaset-controller",
        "Completed" | "BackoffLimitExceeded" | "DeadlineExceeded" => "job-controller",
        _ => "kubelet",
    }
}

impl Cluster {
    /// Tells an event about an object.
    pub(super) fn tell(
        &mut self,
        object: &Value,
        warning: bool,
        reason: &'static str,
        message: &str,
    ) {
        let metadata = |name: &str| text(object, &["metadata", name]).to_owned();
        let id = (metadata("uid"), reason, message.to_owned());
        let time = seconds(self.now);
        if let Some(key) = self.recorder.known.get(&id).cloned()
            && self.store.get(Kind::Event, &key).is_some()
        {
            self.change(Kind::Event, &key, |event| {
                let count = int(event, &["count"]).unwrap_or(1) + 1;
                set(event, &["count"], count);
                set(event, &["lastTimestamp"], time);
            });
            return;
        }
        self.recorder.sequence += 1;
        let name = format!("{}.{:016x}", metadata("name"), self.recorder.sequence);
        let namespace = match metadata("namespace") {
            none if none.is_empty() => "default".to_owned(),
            namespace => namespace,
        };
        let key = Key::new(namespace.as_str(), name.as_str());
        let event = json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": text(object, &["apiVersion"]),
                "kind": text(object, &["kind"]),
                "name": metadata("name"),
                "namespace": metadata("namespace"),
                "uid": id.0,
                "resourceVersion": metadata("resourceVersion"),
            },
            "reason": reason,
            "message": message,
            "type": if warning { "Warning" } else { "Normal" },
            "count": 1,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "eventTime": null,
            "source": {"component": component(text(object, &["kind"]), reason)},
            "reportingComponent": component(text(object, &["kind"]), reason),
            "reportingInstance": "",
        });
        self.insert(Kind::Event, event);
        self.recorder.known.insert(id.clone(), key);
        self.recorder.order.push_back(id);
        while self.recorder.order.len() > self.config.events {
            let Some(oldest) = self.recorder.order.pop_front() else {
                break;
            };
            if let Some(key) = self.recorder.known.remove(&oldest) {
                self.discard(Kind::Event, &key);
            }
        }
    }
}

/// An event as the group `events.k8s.io` shows it.
pub(super) fn as_new_group(event: &Value) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": at(event, &["metadata"]),
        "regarding": at(event, &["involvedObject"]),
        "reason": at(event, &["reason"]),
        "note": at(event, &["message"]),
        "type": at(event, &["type"]),
        "eventTime": at(event, &["eventTime"]),
        "deprecatedCount": at(event, &["count"]),
        "deprecatedFirstTimestamp": at(event, &["firstTimestamp"]),
        "deprecatedLastTimestamp": at(event, &["lastTimestamp"]),
        "deprecatedSource": at(event, &["source"]),
        "reportingController": at(event, &["reportingComponent"]),
        "reportingInstance": at(event, &["reportingInstance"]),
    })
}
