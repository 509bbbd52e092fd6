//! What a rollback must bring back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::{Cluster, Kind};

/// The kinds of which a run may touch objects, and leaves none behind.
const KINDS: [Kind; 12] = [
    Kind::Deployment,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::PodTemplate,
    Kind::Service,
    Kind::HttpRoute,
    Kind::HorizontalPodAutoscaler,
    Kind::Ingress,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::NetworkPolicy,
    Kind::PodDisruptionBudget,
];
/// What the names of claims begin with.
const CLAIMS: &str = "phasegate-claim-";
/// Most places that are named where two snapshots differ.
const MAX_PLACES: usize = 8;

/// The objects of the target's namespace at one time, as far as a rollback must bring them back: its
/// Deployments, ConfigMaps, Secrets, PodTemplates, Services, autoscalers, what routes its traffic (HTTPRoutes, Ingresses, VirtualServices and
/// DestinationRules), NetworkPolicies and budgets of disruption.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub(super) objects: BTreeMap<(Kind, String), Kept>,
    /// The Deployment that the release names, or else the one that its Service leads to.
    pub(super) main: Option<Value>,
}

/// What is kept of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) spec: Value,
    pub(super) labels: Value,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Snapshot {
    /// What there is now.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, deployment: &str, service: Option<&str>) -> Self {
        let mut objects = BTreeMap::new();
        for kind in KINDS {
            for object in cluster.list(kind, namespace) {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                let name = name.unwrap_or_default();
                // Whether a claim is left is judged by what the run says of it.
                if kind == Kind::ConfigMap && name.starts_with(CLAIMS) {
                    continue;
                }
                let key = (kind, name.to_owned());
                objects.insert(key, Kept::of(&object));
            }
        }
        let spec_of = |name: &str| {
            let kept = objects.get(&(Kind::Deployment, name.to_owned()))?;
            Some(kept.spec.clone())
        };
        let main = spec_of(deployment)
            .or_else(|| served_by(&objects, service?).and_then(|name| spec_of(&name)));
        let mut snapshot = Self { objects, main };
        snapshot.leave_sizes_to_autoscalers();
        snapshot
    }

    /// The size of a Deployment that has an autoscaler is the autoscaler's.
    fn leave_sizes_to_autoscalers(&mut self) {
        let hpas = self
            .objects
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::HorizontalPodAutoscaler);
        let scaled: BTreeSet<String> = hpas
            .filter_map(|(_, hpa)| hpa.spec.pointer("/scaleTargetRef/name")?.as_str())
            .map(str::to_owned)
            .collect();
        for ((kind, name), kept) in &mut self.objects {
            if *kind == Kind::Deployment
                && scaled.contains(name)
                && let Some(spec) = kept.spec.as_object_mut()
            {
                spec.remove("replicas");
            }
        }
    }

    pub(super) fn image(&self) -> Option<&str> {
        let main = self.main.as_ref()?;
        main.pointer("/template/spec/containers/0/image")?.as_str()
    }

    pub(super) fn replicas(&self) -> Option<u64> {
        self.main.as_ref()?.get("replicas")?.as_u64()
    }

    /// Where the other one is different, in a line each.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut out = Vec::new();
        let keys: BTreeSet<&(Kind, String)> =
            self.objects.keys().chain(other.objects.keys()).collect();
        for key in keys {
            let what = format!("{} {}", key.0.info().name, key.1);
            match (self.objects.get(key), other.objects.get(key)) {
                (Some(before), Some(after)) => before.differences(after, &what, &mut out),
                (Some(_), None) => out.push(format!("{what} is gone")),
                (None, _) => out.push(format!("{what} is left behind")),
            }
        }
        out
    }
}

/// The first Deployment whose pods a Service chooses.
fn served_by(objects: &BTreeMap<(Kind, String), Kept>, service: &str) -> Option<String> {
    let service = objects.get(&(Kind::Service, service.to_owned()))?;
    let selector = service.spec.get("selector")?.as_object()?;
    let mut deployments = objects
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::Deployment);
    let chosen = deployments.find(|(_, kept)| {
        let labels = kept.spec.pointer("/template/metadata/labels");
        selector
            .iter()
            .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    });
    chosen.map(|((_, name), _)| name.clone())
}

impl Kept {
    fn of(object: &Value) -> Self {
        let annotations = object
            .pointer("/metadata/annotations")
            .and_then(Value::as_object);
        Self {
            spec: object
                .get("spec")
                .or_else(|| object.get("data"))
                .cloned()
                .unwrap_or_default(),
            labels: object
                .pointer("/metadata/labels")
                .cloned()
                .unwrap_or_default(),
            // The revision counts rollouts, those back among them.
            annotations: annotations
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "deployment.kubernetes.io/revision")
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }

    fn differences(&self, other: &Self, what: &str, out: &mut Vec<String>) {
        let mut places = Vec::new();
        differ(&self.spec, &other.spec, "spec", &mut places);
        differ(&self.labels, &other.labels, "labels", &mut places);
        if self.annotations != other.annotations {
            let (now, before) = (&other.annotations, &self.annotations);
            let words = |all: &BTreeMap<String, String>| {
                let all = all.iter().map(|(name, value)| format!("{name}={value}"));
                all.collect::<Vec<_>>().join(" ")
            };
            places.push(format!(
                "annotations: [{}], not [{}]",
                words(now),
                words(before)
            ));
        }
        let shown = places.into_iter().take(MAX_PLACES);
        out.extend(shown.map(|place| format!("{what}, {place}")));
    }
}

/// Where two values differ, down to the members of objects.
fn differ(before: &Value, after: &Value, place: &str, out: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let (a, b) = (a.get(name), b.get(name));
                let nothing = Value::Null;
                let place = format!("{place}.{name}");
                differ(a.unwrap_or(&nothing), b.unwrap_or(&nothing), &place, out);
            }
        }
        _ if before == after => {}
        _ => out.push(format!("{place}: {after}, not {before}")),
    }
}

#[cfg(test)]
mod tests;
