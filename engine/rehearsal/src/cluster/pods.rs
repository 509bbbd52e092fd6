//! What controllers and the API need to know of pods: making them from templates, their state, their logs.

use serde_json::{Value, json};

use super::Cluster;
use super::json::{at, list, map, set, text};
use super::kinds::Kind;
use super::request::Request;
use super::status::Failure;
use super::store::Key;

/// A pod made from the template of its controller, without a name.
pub(super) fn from_template(owner: &Value) -> Value {
    let template = at(owner, &["spec", "template"]);
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", text(owner, &["metadata", "name"])),
            "namespace": text(owner, &["metadata", "namespace"]),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": at(template, &["spec"]).clone(),
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = at(template, &["metadata", field]);
        if !value.is_null() {
            set(&mut pod, &["metadata", field], value.clone());
        }
    }
    pod
}

/// The reference to a controlling owner.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, &["apiVersion"]),
        "kind": text(owner, &["kind"]),
        "name": text(owner, &["metadata", "name"]),
        "uid": text(owner, &["metadata", "uid"]),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether a pod has ended for good.
pub(super) fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether a pod says that it is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    list(pod, &["status", "conditions"])
        .iter()
        .any(|c| text(c, &["type"]) == "Ready" && text(c, &["status"]) == "True")
}

/// The image of the first container in a pod spec.
pub(super) fn image(spec: &Value) -> &str {
    list(spec, &["containers"])
        .first()
        .map_or("", |container| text(container, &["image"]))
}

/// A selector as the text that `kubectl` and the Scale show.
pub(super) fn label_text(selector: &Value) -> String {
    let mut parts: Vec<String> = map(selector, &["matchLabels"])
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    parts.sort();
    for expression in list(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let values: Vec<&str> = list(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

impl Cluster {
    pub(super) fn pod_log(&self, request: &Request, key: &Key) -> Result<String, Failure> {
        let pod = self
            .store
            .get(Kind::Pod, key)
            .ok_or_else(|| Failure::not_found(Kind::Pod.info(), &key.name))?;
        let names: Vec<&str> = list(pod, &["spec", "containers"])
            .iter()
            .map(|container| text(container, &["name"]))
            .collect();
        let container = match (request.param("container"), names.as_slice()) {
            ("", [only]) => *only,
            ("", _) => {
                return Err(Failure::bad_request(format!(
                    "a container name must be specified for pod {}, choose one of: [{}]",
                    key.name,
                    names.join(" ")
                )));
            }
            (asked, names) if names.contains(&asked) => asked,
            (asked, _) => {
                return Err(Failure::bad_request(format!(
                    "container {asked} is not valid for pod {}",
                    key.name
                )));
            }
        };
        let previous = matches!(request.param("previous"), "true" | "1");
        let lines = self.kubelet.log(key, container, previous).map_err(|why| {
            let what = if previous && why.is_empty() {
                format!(
                    "previous terminated container \"{container}\" in pod \"{}\" not found",
                    key.name
                )
            } else {
                format!(
                    "container \"{container}\" in pod \"{}\" is waiting to start: {why}",
                    key.name
                )
            };
            Failure::bad_request(what)
        })?;
        let tail = request
            .param("tailLines")
            .parse::<usize>()
            .unwrap_or(usize::MAX);
        let from = lines.len().saturating_sub(tail);
        let mut out = String::new();
        for line in lines.iter().skip(from) {
            out.push_str(line);
            out.push('\n');
        }
        Ok(out)
    }
}
