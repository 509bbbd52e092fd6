//! What a rollback must bring back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{Cluster, Kind};

/// The target's objects at one time, as far as a rollback must bring them back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub(super) spec: Value,
    pub(super) labels: Value,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Snapshot {
    /// The Deployment as it is now.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, deployment: &str) -> Self {
        let Some(object) = cluster.get(Kind::Deployment, namespace, deployment) else {
            return Self::default();
        };
        let annotations = object
            .pointer("/metadata/annotations")
            .and_then(Value::as_object);
        Self {
            spec: object.get("spec").cloned().unwrap_or_default(),
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

    pub(super) fn image(&self) -> Option<&str> {
        self.spec
            .pointer("/template/spec/containers/0/image")?
            .as_str()
    }

    pub(super) fn replicas(&self) -> Option<u64> {
        self.spec.get("replicas")?.as_u64()
    }
}
