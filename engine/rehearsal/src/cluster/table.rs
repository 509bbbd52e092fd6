//! Objects as tables, which `kubectl get` prints.

mod policies;

use phasegate_core::time::Timestamp;
use serde_json::{Value, json};

use super::json::{at, int, list, map, text};
use super::kinds::Kind;
use super::pods::label_text;
use super::request::Request;
use super::watch::is_leaving;

/// Whether the client wants a table.
pub(super) fn wanted(accept: &str) -> bool {
    accept
        .split(',')
        .next()
        .is_some_and(|first| first.contains("as=Table"))
}

/// One column: its name, its type, and whether only the wide output shows it.
type Column = (&'static str, &'static str, bool);

const NAME: Column = ("Name", "string", false);
const AGE: Column = ("Age", "string", false);

fn columns(kind: Kind) -> Vec<Column> {
    let middle: &[Column] = match kind {
        Kind::Deployment => &[
            ("Ready", "string", false),
            ("Up-to-date", "string", false),
            ("Available", "string", false),
            AGE,
            ("Containers", "string", true),
            ("Images", "string", true),
            ("Selector", "string", true),
        ],
        Kind::ReplicaSet => &[
            ("Desired", "integer", false),
            ("Current", "integer", false),
            ("Ready", "integer", false),
            AGE,
            ("Containers", "string", true),
            ("Images", "string", true),
            ("Selector", "string", true),
        ],
        Kind::Pod => &[
            ("Ready", "string", false),
            ("Status", "string", false),
            ("Restarts", "string", false),
            AGE,
            ("IP", "string", true),
            ("Node", "string", true),
            ("Nominated Node", "string", true),
            ("Readiness Gates", "string", true),
        ],
        Kind::Service => &[
            ("Type", "string", false),
            ("Cluster-IP", "string", false),
            ("External-IP", "string", false),
            ("Port(s)", "string", false),
            AGE,
            ("Selector", "string", true),
        ],
        Kind::Job => &[
            ("Status", "string", false),
            ("Completions", "string", false),
            ("Duration", "string", false),
            AGE,
        ],
        Kind::Event => {
            return vec![
                ("Last Seen", "string", false),
                ("Type", "string", false),
                ("Reason", "string", false),
                ("Object", "string", false),
                ("Message", "string", false),
                ("Name", "string", true),
            ];
        }
        Kind::ConfigMap => &[("Data", "string", false), AGE],
        Kind::Secret => &[("Type", "string", false), ("Data", "string", false), AGE],
        Kind::Namespace => &[("Status", "string", false), AGE],
        Kind::Lease => &[("Holder", "string", false), AGE],
        Kind::EndpointSlice => &[
            ("AddressType", "string", false),
            ("Ports", "string", false),
            ("Endpoints", "string", false),
            AGE,
        ],
        _ => policies::columns(kind),
    };
    std::iter::once(NAME)
        .chain(middle.iter().copied())
        .collect()
}

/// A table of objects.
pub(super) fn render<'a>(
    kind: Kind,
    objects: impl Iterator<Item = &'a Value>,
    now: Timestamp,
    version: &str,
    request: &Request,
) -> Value {
    let columns: Vec<Value> = columns(kind)
        .into_iter()
        .map(|(name, kind, wide)| {
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": i32::from(wide)})
        })
        .collect();
    let include = request.param("includeObject");
    let rows: Vec<Value> = objects
        .map(|object| {
            let shown = match include {
                "None" => Value::Null,
                "Object" => object.clone(),
                _ => json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": at(object, &["metadata"]),
                }),
            };
            json!({"cells": cells(kind, object, now), "object": shown})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn cells(kind: Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = json!(text(object, &["metadata", "name"]));
    let age = json!(since(text(object, &["metadata", "creationTimestamp"]), now));
    let status = |field: &str| int(object, &["status", field]).unwrap_or_default();
    let spec = |field: &str| int(object, &["spec", field]).unwrap_or_default();
    let [containers, images] = ["name", "image"].map(|field| {
        let all = list(object, &["spec", "template", "spec", "containers"]).iter();
        json!(
            all.map(|container| text(container, &[field]))
                .collect::<Vec<_>>()
                .join(",")
        )
    });
    let selector = json!(label_text(at(object, &["spec", "selector"])));
    let size = |field: &str| {
        json!(
            map(object, &[field])
                .map_or(0, serde_json::Map::len)
                .to_string()
        )
    };
    match kind {
        Kind::Deployment => vec![
            name,
            json!(format!("{}/{}", status("readyReplicas"), spec("replicas"))),
            json!(status("updatedReplicas").to_string()),
            json!(status("availableReplicas").to_string()),
            age,
            containers,
            images,
            selector,
        ],
        Kind::ReplicaSet => vec![
            name,
            json!(spec("replicas")),
            json!(status("replicas")),
            json!(status("readyReplicas")),
            age,
            containers,
            images,
            selector,
        ],
        Kind::Pod => pod_cells(name, age, object, now),
        Kind::Service => service_cells(name, age, object),
        Kind::Job => job_cells(name, age, object, now),
        Kind::Event => {
            let involved = |field: &str| text(object, &["involvedObject", field]);
            vec![
                json!(since(text(object, &["lastTimestamp"]), now)),
                at(object, &["type"]).clone(),
                at(object, &["reason"]).clone(),
                json!(format!(
                    "{}/{}",
                    involved("kind").to_lowercase(),
                    involved("name")
                )),
                at(object, &["message"]).clone(),
                name,
            ]
        }
        Kind::ConfigMap => vec![name, size("data"), age],
        Kind::Secret => vec![name, at(object, &["type"]).clone(), size("data"), age],
        Kind::Namespace => vec![name, at(object, &["status", "phase"]).clone(), age],
        Kind::Lease => vec![name, at(object, &["spec", "holderIdentity"]).clone(), age],
        Kind::EndpointSlice => {
            let ports = list(object, &["ports"])
                .iter()
                .map(|port| at(port, &["port"]).to_string());
            let addresses = list(object, &["endpoints"])
                .iter()
                .flat_map(|e| list(e, &["addresses"]));
            let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
            let ports = ports.collect::<Vec<_>>().join(",");
            vec![
                name,
                at(object, &["addressType"]).clone(),
                json!(ports),
                json!(addresses.join(",")),
                age,
            ]
        }
        _ => policies::cells(kind, name, age, object),
    }
}

fn pod_cells(name: Value, age: Value, pod: &Value, now: Timestamp) -> Vec<Value> {
    let statuses = list(pod, &["status", "containerStatuses"]);
    let ready = statuses
        .iter()
        .filter(|status| at(status, &["ready"]) == &Value::Bool(true))
        .count();
    let mut shown = text(pod, &["status", "phase"]).to_owned();
    let mut restarts = 0;
    let mut last = "";
    for status in statuses {
        restarts += int(status, &["restartCount"]).unwrap_or_default();
        let ended = text(status, &["lastState", "terminated", "finishedAt"]);
        if !ended.is_empty() {
            last = ended;
        }
        for state in ["waiting", "terminated"] {
            let reason = text(status, &["state", state, "reason"]);
            if !reason.is_empty() {
                reason.clone_into(&mut shown);
            }
        }
    }
    if is_leaving(pod) {
        "Terminating".clone_into(&mut shown);
    }
    let restarts = match last {
        "" => restarts.to_string(),
        last => format!("{restarts} ({} ago)", since(last, now)),
    };
    let or_none = |text: &str| json!(if text.is_empty() { "<none>" } else { text });
    vec![
        name,
        json!(format!(
            "{ready}/{}",
            list(pod, &["spec", "containers"]).len()
        )),
        json!(shown),
        json!(restarts),
        age,
        or_none(text(pod, &["status", "podIP"])),
        or_none(text(pod, &["spec", "nodeName"])),
        json!("<none>"),
        json!("<none>"),
    ]
}

fn service_cells(name: Value, age: Value, service: &Value) -> Vec<Value> {
    let ports: Vec<String> = list(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            format!(
                "{}/{}",
                int(port, &["port"]).unwrap_or_default(),
                text(port, &["protocol"])
            )
        })
        .collect();
    let selector = map(service, &["spec", "selector"]).into_iter().flatten();
    let mut selector: Vec<String> = selector
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    selector.sort();
    vec![
        name,
        at(service, &["spec", "type"]).clone(),
        at(service, &["spec", "clusterIP"]).clone(),
        json!("<none>"),
        json!(ports.join(",")),
        age,
        json!(if selector.is_empty() {
            "<none>".to_owned()
        } else {
            selector.join(",")
        }),
    ]
}

fn job_cells(name: Value, age: Value, job: &Value, now: Timestamp) -> Vec<Value> {
    let condition = |kind: &str| {
        list(job, &["status", "conditions"])
            .iter()
            .any(|c| text(c, &["type"]) == kind && text(c, &["status"]) == "True")
    };
    let state = if condition("Complete") {
        "Complete"
    } else if condition("Failed") {
        "Failed"
    } else {
        "Running"
    };
    let done = int(job, &["status", "succeeded"]).unwrap_or_default();
    let wanted = int(job, &["spec", "completions"]).unwrap_or(1);
    let end = text(job, &["status", "completionTime"])
        .parse()
        .unwrap_or(now);
    let duration = since(text(job, &["status", "startTime"]), end);
    vec![
        name,
        json!(state),
        json!(format!("{done}/{wanted}")),
        json!(duration),
        age,
    ]
}

/// How long ago a time was, as `kubectl` shows it.
fn since(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let s = now.since(then).as_millis() / 1000;
    let (minutes, hours, days) = (s / 60, s / 3600, s / 86_400);
    match s {
        0..=119 => format!("{s}s"),
        120..=599 if !s.is_multiple_of(60) => format!("{minutes}m{}s", s % 60),
        120..=10_799 => format!("{minutes}m"),
        10_800..=28_799 if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        10_800..=172_799 => format!("{hours}h"),
        172_800..=691_199 if !hours.is_multiple_of(24) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}
