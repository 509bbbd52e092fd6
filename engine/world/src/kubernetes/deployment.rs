//! Reads a Deployment: what a run may set, what tells its pods apart, and what others have to say about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Fields;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{
    MARK_EFFECT, MARK_EPOCH, MARK_RUN, Marks, Rollout, Settings, Target,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::references;
use super::{count, items, small, text};

pub(super) const OWN_ANNOTATIONS: &str = "phasegate.dev/";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
pub(super) const VERSION_LABEL: &str = "app.kubernetes.io/version";
const REVISION: &str = "deployment.kubernetes.io/revision";
/// What Kubernetes takes where a Deployment says nothing.
const DEFAULT_SHARE: &str = "25%";
/// How deep a template may be nested before its digest stops looking.
const MAX_DEPTH: usize = 64;

/// The released container in a pod specification. Where it is missing, says which ones are there.
pub(super) fn container<'a>(deployment: &'a Value, target: &Target) -> Result<&'a Value, Failure> {
    let containers = || items(deployment, "/spec/template/spec/containers");
    containers()
        .find(|container| text(container, "/name") == target.container)
        .ok_or_else(|| {
            let there: Vec<&str> = containers().map(|c| text(c, "/name")).collect();
            Failure::new(
                Kind::Permanent,
                codes::WORKLOAD_NOT_FOUND,
                format!(
                    "the Deployment `{}` has no container `{}`; it has {}",
                    target.deployment,
                    target.container,
                    phasegate_core::diagnostic::listed(there)
                ),
            )
        })
}

/// The wanted number of pods.
pub(super) fn wanted(deployment: &Value) -> u32 {
    let said = deployment.pointer("/spec/replicas").and_then(Value::as_u64);
    // Kubernetes takes 1 where nothing is said.
    said.map_or(1, small)
}

/// The fields that a run may set.
pub(super) fn settings(deployment: &Value, target: &Target) -> Result<Settings, Failure> {
    let image = text(container(deployment, target)?, "/image").to_owned();
    Ok(Settings {
        image,
        replicas: wanted(deployment),
        rollout: rollout(deployment),
    })
}

fn rollout(deployment: &Value) -> Rollout {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return Rollout::Recreate;
    }
    let share = |pointer| match deployment.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => DEFAULT_SHARE.to_owned(),
    };
    Rollout::RollingUpdate {
        surge: share("/spec/strategy/rollingUpdate/maxSurge"),
        unavailable: share("/spec/strategy/rollingUpdate/maxUnavailable"),
    }
}

/// Whether the Deployment is as the fields would make it.
pub(super) fn has(settings: &Settings, fields: &Fields) -> bool {
    fields.image.as_ref().is_none_or(|i| *i == settings.image)
        && fields.replicas.is_none_or(|r| r == settings.replicas)
        && fields
            .rollout
            .as_ref()
            .is_none_or(|r| *r == settings.rollout)
}

/// What the marks say.
pub(super) fn marks(deployment: &Value) -> Marks {
    let mark = |name: &str| {
        deployment
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(name))
            .and_then(Value::as_str)
    };
    Marks {
        run: mark(MARK_RUN).map(str::to_owned),
        epoch: mark(MARK_EPOCH).and_then(|epoch| epoch.parse().ok()),
        effect: mark(MARK_EFFECT).map(str::to_owned),
    }
}

/// The Deployment's revision, 0 where its controller has not set one yet.
pub(super) fn revision(deployment: &Value) -> u64 {
    labelled(deployment, "/metadata/annotations", REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or_default()
}

/// The version that serves: by label, else by the image.
pub(super) fn version(deployment: &Value, image: &str) -> String {
    ["/spec/template/metadata/labels", "/metadata/labels"]
        .iter()
        .find_map(|place| labelled(deployment, place, VERSION_LABEL))
        .filter(|version| !version.is_empty())
        .map_or_else(|| version_of_image(image), str::to_owned)
}

fn version_of_image(image: &str) -> String {
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = named.rsplit('/').next().unwrap_or(named);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) if !tag.is_empty() => tag.to_owned(),
        (_, Some(digest)) => digest.to_owned(),
        _ => "latest".to_owned(),
    }
}

/// The value of a label or annotation.
pub(super) fn labelled<'a>(object: &'a Value, place: &str, name: &str) -> Option<&'a str> {
    object.pointer(place)?.get(name)?.as_str()
}

/// The labels by which the Deployment finds its pods.
pub(super) fn selector_labels(deployment: &Value) -> BTreeMap<String, String> {
    labels_at(deployment, "/spec/selector/matchLabels")
}

/// The labels of the Deployment's pods.
pub(super) fn pod_labels(deployment: &Value) -> BTreeMap<String, String> {
    labels_at(deployment, "/spec/template/metadata/labels")
}

/// The labels at a JSON pointer.
pub(super) fn labels_at(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The Deployment's selector as the query parameter `labelSelector` has it.
pub(super) fn selector_query(deployment: &Value) -> String {
    let mut terms: Vec<String> = selector_labels(deployment)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for expression in items(deployment, "/spec/selector/matchExpressions") {
        let key = text(expression, "/key");
        let values: Vec<&str> = items(expression, "/values")
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        terms.push(match text(expression, "/operator") {
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => format!("{key} in ({values})"),
        });
    }
    terms.join(",")
}

/// Digest of the pod template and the selector, without what a run changes itself (the released
/// container's image, its own annotations, which copy of a configuration is used) and without the time of a `kubectl rollout restart`,
/// which makes new pods of the same kind.
pub(super) fn template_digest(deployment: &Value, target: &Target) -> String {
    let mut template = deployment
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    if let Some(Value::Array(containers)) = template.pointer_mut("/spec/containers") {
        for container in containers {
            if text(container, "/name") == target.container
                && let Some(fields) = container.as_object_mut()
            {
                fields.remove("image");
            }
        }
    }
    if let Some(pods) = template.get_mut("spec") {
        references::rewrite_to_originals(pods);
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        let emptied = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
            .is_some_and(|annotations| {
                annotations
                    .retain(|name, _| !name.starts_with(OWN_ANNOTATIONS) && name != RESTARTED_AT);
                annotations.is_empty()
            });
        if emptied {
            metadata.remove("annotations");
        }
    }
    let mut facts = Map::new();
    facts.insert("template".to_owned(), template);
    let selector = deployment.pointer("/spec/selector").cloned();
    facts.insert("selector".to_owned(), selector.unwrap_or_default());
    let mut text = String::new();
    canonical(&Value::Object(facts), &mut text, MAX_DEPTH);
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

/// Writes JSON with sorted names and without spaces, whatever order the value keeps its names in.
fn canonical(value: &Value, out: &mut String, depth: usize) {
    match value {
        Value::Object(fields) if depth > 0 => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(name.as_str()));
                canonical(value, out, depth - 1);
            }
            out.push('}');
        }
        Value::Array(values) if depth > 0 => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(value, out, depth - 1);
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// The GitOps tool that would undo what a run does, with the setting to change.
pub(super) fn self_healing(deployment: &Value) -> Option<String> {
    let annotation = |name| labelled(deployment, "/metadata/annotations", name);
    let label = |name| labelled(deployment, "/metadata/labels", name);
    let argo = label("argocd.argoproj.io/instance").or_else(|| {
        annotation("argocd.argoproj.io/tracking-id").and_then(|id| id.split(':').next())
    });
    if let Some(application) = argo {
        return Some(format!(
            "Argo CD application `{application}` owns this Deployment; set `spec.syncPolicy.automated.selfHeal: false` on it for the time of the release, or list the image, replicas and strategy under `spec.ignoreDifferences`"
        ));
    }
    // Flux leaves an object alone that says so itself.
    if annotation("kustomize.toolkit.fluxcd.io/reconcile") == Some("disabled") {
        return None;
    }
    for (kind, name, namespace) in [
        (
            "Kustomization",
            "kustomize.toolkit.fluxcd.io/name",
            "kustomize.toolkit.fluxcd.io/namespace",
        ),
        (
            "HelmRelease",
            "helm.toolkit.fluxcd.io/name",
            "helm.toolkit.fluxcd.io/namespace",
        ),
    ] {
        if let Some(owner) = label(name) {
            let place = label(namespace).map_or_else(String::new, |ns| format!(" in `{ns}`"));
            return Some(format!(
                "Flux {kind} `{owner}`{place} owns this Deployment; set `spec.suspend: true` on it for the time of the release"
            ));
        }
    }
    None
}

/// The counts of the Deployment's status: total, updated, ready, available.
pub(super) fn counts(deployment: &Value) -> [u32; 4] {
    [
        "/status/replicas",
        "/status/updatedReplicas",
        "/status/readyReplicas",
        "/status/availableReplicas",
    ]
    .map(|pointer| small(count(deployment, pointer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_an_image_when_no_label_says_it() {
        for (image, version) in [
            ("shop/web:1.4.2", "1.4.2"),
            ("registry:5000/shop/web:1.4.2", "1.4.2"),
            ("registry:5000/shop/web", "latest"),
            ("shop/web:1.4@sha256:abc", "1.4"),
            ("shop/web@sha256:abc", "sha256:abc"),
        ] {
            assert_eq!(version_of_image(image), version, "{image}");
        }
    }
}
