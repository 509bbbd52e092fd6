//! The candidate's objects, made from stable's as they are in the cluster.
//!
//! What belongs to the one object alone is left behind: its identity and status, who owns it, and what GitOps
//! tools and Helm know their own objects by - they would delete a copy that is not among their files.

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Create;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{Beside, Target};
use serde_json::{Map, Value, json};

use super::autoscaler::{self, MAXIMUM_BEFORE};
use super::deployment::{self, OWN_ANNOTATIONS, VERSION_LABEL};
use super::references;
use super::{items, text};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Labels and annotations of others that say which object this is, or whose. `Name/` stands for all under it.
const IDENTITY: [&str; 8] = [
    "app.kubernetes.io/instance",
    MANAGED_BY,
    "argocd.argoproj.io/",
    "deployment.kubernetes.io/",
    "helm.toolkit.fluxcd.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
];
/// How deep a pod specification is looked through for selectors.
const MAX_DEPTH: usize = 16;

/// The Deployment of the candidate.
pub(super) fn deployment(
    stable: &Value,
    target: &Target,
    beside: &Beside,
    create: &Create,
) -> Result<Value, Failure> {
    deployment::container(stable, target)?;
    let Some(Value::Object(mut spec)) = stable.get("spec").cloned() else {
        return Err(unreadable(&target.deployment));
    };
    // A paused Deployment would never make a pod.
    spec.remove("paused");
    spec.insert("replicas".to_owned(), create.replicas.into());
    spec.insert("selector".to_owned(), selector(stable, beside));
    if let Some(template) = spec.get_mut("template") {
        relabel_template(template, stable, beside);
        set_image(template, &target.container, &create.image);
        if let Some(pods) = template.get_mut("spec") {
            references::rewrite(pods, &create.configs);
        }
    }
    let mut labels = foreign_removed(stable, "/metadata/labels");
    forget_version(&mut labels, beside);
    for (name, value) in &beside.labels {
        if let Some(label) = labels.get_mut(name) {
            *label = value.as_str().into();
        }
    }
    let annotations = foreign_removed(stable, "/metadata/annotations");
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(&beside.deployment, target, labels, annotations),
        "spec": spec,
    }))
}

/// The selector of the candidate's Deployment.
pub(super) fn selector(stable: &Value, beside: &Beside) -> Value {
    let mut labels = deployment::selector_labels(stable);
    labels.extend(beside.labels.clone());
    let mut selector = Map::from_iter([("matchLabels".to_owned(), json!(labels))]);
    if let Some(expressions) = stable.pointer("/spec/selector/matchExpressions") {
        selector.insert("matchExpressions".to_owned(), expressions.clone());
    }
    Value::Object(selector)
}

/// The Service that reaches the candidate's pods only.
///
/// It has stable's labels, so that whoever collects figures by them finds both. Its annotations stay behind:
/// they tell name servers and load balancers which name is whose.
pub(super) fn service(stable: &Value, name: &str, target: &Target, beside: &Beside) -> Value {
    let ports: Vec<Value> = items(stable, "/spec/ports")
        .filter_map(Value::as_object)
        .map(|port| {
            let mut port = port.clone();
            // A port of the node can be had only once.
            port.remove("nodePort");
            Value::Object(port)
        })
        .collect();
    let mut spec = json!({
        "type": "ClusterIP",
        "ports": ports,
        "selector": beside.candidate_selector,
    });
    if text(stable, "/spec/clusterIP") == "None"
        && let Some(spec) = spec.as_object_mut()
    {
        spec.insert("clusterIP".to_owned(), "None".into());
    }
    let labels = foreign_removed(stable, "/metadata/labels");
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, target, labels, Map::new()),
        "spec": spec,
    })
}

/// The autoscaler of the candidate's Deployment.
pub(super) fn autoscaler(
    stable: &Value,
    target: &Target,
    beside: &Beside,
    minimum: u32,
) -> Result<Value, Failure> {
    let Some(Value::Object(mut spec)) = stable.get("spec").cloned() else {
        return Err(unreadable(text(stable, "/metadata/name")));
    };
    let (maximum, note) = autoscaler::maximum(stable, minimum);
    let name = beside.deployment.as_str();
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    spec.insert("scaleTargetRef".to_owned(), reference);
    spec.insert("minReplicas".to_owned(), minimum.into());
    spec.insert("maxReplicas".to_owned(), maximum.into());
    let labels = foreign_removed(stable, "/metadata/labels");
    let annotations = note
        .map(|note| (MAXIMUM_BEFORE.to_owned(), note.into()))
        .into_iter()
        .collect();
    Ok(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(name, target, labels, annotations),
        "spec": spec,
    }))
}

fn metadata(
    name: &str,
    target: &Target,
    mut labels: Map<String, Value>,
    annotations: Map<String, Value>,
) -> Value {
    labels.insert(MANAGED_BY.to_owned(), "phasegate".into());
    json!({
        "name": name,
        "namespace": target.namespace,
        "labels": labels,
        "annotations": annotations,
    })
}

/// Labels or annotations without what only the one object has.
fn foreign_removed(object: &Value, pointer: &str) -> Map<String, Value> {
    let own = |name: &str| {
        name.starts_with(OWN_ANNOTATIONS)
            || IDENTITY
                .iter()
                .any(|known| name == *known || (known.ends_with('/') && name.starts_with(known)))
    };
    let all = object.pointer(pointer).and_then(Value::as_object);
    all.into_iter()
        .flatten()
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Stable's version label would be a lie on the candidate; without it the image tells. It stays where it
/// is selected by.
fn forget_version(labels: &mut Map<String, Value>, beside: &Beside) {
    let selected = [
        &beside.labels,
        &beside.stable_selector,
        &beside.candidate_selector,
    ];
    if !selected.iter().any(|by| by.contains_key(VERSION_LABEL)) {
        labels.remove(VERSION_LABEL);
    }
}

/// Gives the pods the candidate's labels, and has rules about where pods of the same kind run speak of them.
fn relabel_template(template: &mut Value, stable: &Value, beside: &Beside) {
    let before = deployment::pod_labels(stable);
    let in_selector = deployment::selector_labels(stable).contains_key(VERSION_LABEL);
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        if !in_selector {
            forget_version(labels, beside);
        }
        for (name, value) in &beside.labels {
            labels.insert(name.clone(), value.as_str().into());
        }
    }
    for place in ["/spec/affinity", "/spec/topologySpreadConstraints"] {
        if let Some(rules) = template.pointer_mut(place) {
            reselect(rules, &before, beside, MAX_DEPTH);
        }
    }
}

/// Changes label selectors that choose stable's pods to choose the candidate's.
fn reselect(
    value: &mut Value,
    before: &std::collections::BTreeMap<String, String>,
    beside: &Beside,
    depth: usize,
) {
    let Some(deeper) = depth.checked_sub(1) else {
        return;
    };
    if let Some(selected) = value
        .pointer_mut("/labelSelector/matchLabels")
        .and_then(Value::as_object_mut)
    {
        for (name, value) in &beside.labels {
            if let Some(wanted) = selected.get_mut(name)
                && wanted.as_str() == before.get(name).map(String::as_str)
            {
                *wanted = value.as_str().into();
            }
        }
    }
    match value {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                reselect(field, before, beside, deeper);
            }
        }
        Value::Array(values) => {
            for value in values {
                reselect(value, before, beside, deeper);
            }
        }
        _ => {}
    }
}

pub(super) fn set_image(template: &mut Value, container: &str, image: &str) {
    let containers = template
        .pointer_mut("/spec/containers")
        .and_then(Value::as_array_mut);
    for fields in containers
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if fields.get("name").and_then(Value::as_str) == Some(container) {
            fields.insert("image".to_owned(), image.into());
        }
    }
}

fn unreadable(name: &str) -> Failure {
    Failure::new(
        Kind::Permanent,
        codes::CLUSTER_REFUSED,
        format!("the object `{name}` has no `spec` that a candidate could be made from"),
    )
}
