//! The Scale of a workload: its size, without the rest of it.

use serde_json::{Value, json};

use super::json::{at, int, set, take, text};
use super::pods;
use super::status::Failure;

/// The Scale of a workload.
pub(super) fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({});
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        set(
            &mut metadata,
            &[name],
            at(object, &["metadata", name]).clone(),
        );
    }
    let labels = pods::label_text(at(object, &["spec", "selector"]));
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": int(object, &["spec", "replicas"]).unwrap_or_default()},
        "status": {"replicas": int(object, &["status", "replicas"]).unwrap_or_default(), "selector": labels},
    })
}

/// What applying a Scale sets of the workload itself.
pub(super) fn applied_scale(scale: &Value) -> Result<Value, Failure> {
    let (version, kind) = (text(scale, &["apiVersion"]), text(scale, &["kind"]));
    if version != "autoscaling/v1" || kind != "Scale" {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}, Kind={kind}) does not match the expected API version (autoscaling/v1, Kind=Scale)"
        )));
    }
    let mut config = json!({"metadata": at(scale, &["metadata"])});
    if let Some(replicas) = int(scale, &["spec", "replicas"]) {
        set(&mut config, &["spec", "replicas"], replicas);
    }
    Ok(config)
}

/// A workload with the size that a Scale says.
pub(super) fn with_scale(old: &Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = int(scale, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        return Err(Failure::negative_scale(
            text(old, &["metadata", "name"]),
            replicas,
        ));
    }
    let mut new = old.clone();
    set(&mut new, &["spec", "replicas"], replicas);
    match at(scale, &["metadata", "resourceVersion"]).as_str() {
        Some(version) if !version.is_empty() => {
            set(&mut new, &["metadata", "resourceVersion"], version)
        }
        _ => drop(take(&mut new, &["metadata", "resourceVersion"])),
    }
    Ok(new)
}
