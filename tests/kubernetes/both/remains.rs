//! What is left on a cluster when a story is over, as far as a release can have to do with it.

use std::collections::BTreeMap;

use phasegate_rehearsal::cluster::Kind;
use serde_json::{Map, Value, json};

/// What is looked at: the kind of the simulated cluster, and its name for kubectl.
pub(super) const KINDS: [(Kind, &str); 11] = [
    (Kind::Deployment, "deployments"),
    (Kind::Service, "services"),
    (Kind::ConfigMap, "configmaps"),
    (Kind::Secret, "secrets"),
    (Kind::PodTemplate, "podtemplates"),
    (Kind::HorizontalPodAutoscaler, "horizontalpodautoscalers"),
    (Kind::HttpRoute, "httproutes"),
    (Kind::Ingress, "ingresses"),
    (Kind::VirtualService, "virtualservices"),
    (Kind::NetworkPolicy, "networkpolicies"),
    (Kind::PodDisruptionBudget, "poddisruptionbudgets"),
];

/// Objects by kind and name, without what clusters add of their own.
#[derive(Debug)]
pub(super) struct Remains {
    namespace: String,
    pub(super) objects: BTreeMap<String, Value>,
}

impl Remains {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            objects: BTreeMap::new(),
        }
    }

    /// Keeps of an object what is compared.
    pub(super) fn take(&mut self, plural: &str, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        // Every real namespace has one.
        if name == "kube-root-ca.crt" {
            return;
        }
        let spec = &object["spec"];
        let mut kept = match plural {
            "deployments" => json!({
                "replicas": spec["replicas"],
                "ready": object["status"]["readyReplicas"],
                "updated": object["status"]["updatedReplicas"],
                "strategy": spec["strategy"],
                "selector": spec["selector"],
                "labels": spec["template"]["metadata"]["labels"],
                "containers": containers(spec),
            }),
            "services" => json!({"selector": spec["selector"], "ports": ports(spec)}),
            "horizontalpodautoscalers" => json!({
                "minimum": spec["minReplicas"],
                "maximum": spec["maxReplicas"],
                "target": spec["scaleTargetRef"],
            }),
            "httproutes" => json!({"rules": spec["rules"]}),
            "virtualservices" => json!({"http": spec["http"]}),
            "ingresses" => json!({"rules": spec["rules"]}),
            // Whose it is is another run on each cluster.
            _ if name.starts_with("phasegate-claim-") => json!({}),
            "networkpolicies" => spec.clone(),
            "poddisruptionbudgets" => {
                json!({"least": spec["minAvailable"], "pods": spec["selector"]})
            }
            _ => json!({"data": object["data"], "immutable": object["immutable"]}),
        };
        kept["annotations"] = annotations(object);
        let text = unversioned(&kept.to_string()).replace(&self.namespace, "NAMESPACE");
        let kept = serde_json::from_str(&text).unwrap();
        let name = unversioned(name);
        self.objects.insert(format!("{plural}/{name}"), kept);
    }
}

fn containers(spec: &Value) -> Vec<Value> {
    let all = spec["template"]["spec"]["containers"].as_array().unwrap();
    all.iter()
        .map(|one| json!({
            "name": one["name"], "image": one["image"], "env": one["env"], "envFrom": one["envFrom"],
        }))
        .collect()
}

/// A copy of a configuration is named after what is other on every cluster.
pub(super) fn unversioned(text: &str) -> String {
    let mut parts = text.split("-pg");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let hex = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str("-pg");
        out.push_str(if hex == 10 { &part[hex..] } else { part });
    }
    out
}

fn ports(spec: &Value) -> Vec<Value> {
    let all = spec["ports"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|one| json!({"port": one["port"], "target": one["targetPort"]}))
        .collect()
}

/// The engine's own marks: which run did it and when isn't compared.
fn annotations(object: &Value) -> Value {
    let all = object["metadata"]["annotations"].as_object().cloned();
    let ours = all.unwrap_or_default().into_iter();
    let ours = ours.filter(|(name, _)| name.starts_with("phasegate.dev/"));
    let ours: Map<String, Value> = ours.map(|(name, _)| (name, true.into())).collect();
    ours.into()
}
