//! The EndpointSlice controller, and the data plane that follows it with a delay.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Cluster;
use super::ids::short_hash;
use super::json::{at, list, text};
use super::kinds::Kind;
use super::pods;
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;
use super::writes::selects;

/// A pod to which a Service sends traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The name of the pod.
    pub pod: String,
    /// The image of its first container.
    pub image: String,
    /// What the image or else the pod's labels say that its version is.
    pub version: String,
    /// Its address.
    pub ip: String,
    /// Whether its container runs: the data plane may still send to one that is gone.
    pub alive: bool,
}

/// Where the data plane sends traffic now.
#[derive(Debug, Default)]
pub(super) struct Routes {
    current: BTreeMap<Key, Vec<Endpoint>>,
}

impl Routes {
    /// The pods to which a Service sends traffic.
    pub(super) fn endpoints(&self, service: &Key) -> &[Endpoint] {
        self.current.get(service).map_or(&[], Vec::as_slice)
    }
}

/// The tag of an image; `latest` where it has neither tag nor digest.
pub(crate) fn tag(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map_or("latest", |(_, tag)| tag)
}

/// The version of a pod: its image's tag, or what its label says where the image is named by digest.
fn version(pod: &Value, image: &str) -> String {
    let labelled = text(pod, &["metadata", "labels", "app.kubernetes.io/version"]);
    if image.contains('@') && !labelled.is_empty() {
        return labelled.to_owned();
    }
    tag(image).to_owned()
}

fn slice_name(service: &Key) -> String {
    let hash = short_hash(&[&service.namespace, &service.name]);
    let drawn = super::ids::lettered(hash.get(..5).unwrap_or_default());
    format!("{}-{drawn}", service.name)
}

impl Cluster {
    /// Where the data plane sends traffic for a Service, after the propagation delay. While no
    /// endpoint is ready, those that still serve although they are terminating get it, as kube-proxy does.
    #[must_use]
    pub fn ready_endpoints(&self, namespace: &str, service: &str) -> Vec<Endpoint> {
        let mut out = self
            .routes
            .endpoints(&Key::new(namespace, service))
            .to_vec();
        for endpoint in &mut out {
            endpoint.alive = self
                .kubelet
                .is_running(&Key::new(namespace, endpoint.pod.as_str()));
        }
        out
    }

    pub(super) fn sync_endpoints(&mut self, key: &Key) {
        let slice_key = Key::new(key.namespace.as_str(), slice_name(key));
        let Some(service) = self.store.get(Kind::Service, key).cloned() else {
            self.discard(Kind::EndpointSlice, &slice_key);
            self.after(self.config.endpoints_delay, Work::Route(key.clone()));
            return;
        };
        if at(&service, &["spec", "selector"]).is_null() {
            return;
        }
        let chosen = self
            .store
            .list(Kind::Pod, &key.namespace)
            .filter(|(_, pod)| {
                selects(&service, at(pod, &["metadata", "labels"]))
                    && !pods::is_finished(pod)
                    && !text(pod, &["status", "podIP"]).is_empty()
            });
        let mut endpoints = Vec::new();
        let mut ports = Value::Null;
        for (pod_key, pod) in chosen {
            if ports.is_null() {
                ports = resolve_ports(&service, pod);
            }
            let (serving, leaving) = (pods::is_ready(pod), is_leaving(pod));
            endpoints.push(json!({
                "addresses": [text(pod, &["status", "podIP"])],
                "conditions": {"ready": serving && !leaving, "serving": serving, "terminating": leaving},
                "nodeName": text(pod, &["spec", "nodeName"]),
                "targetRef": {
                    "kind": "Pod",
                    "name": pod_key.name,
                    "namespace": pod_key.namespace,
                    "uid": text(pod, &["metadata", "uid"]),
                },
            }));
        }
        let ports = if ports.is_null() { json!([]) } else { ports };
        match self.store.get(Kind::EndpointSlice, &slice_key) {
            Some(slice)
                if list(slice, &["endpoints"]) == endpoints.as_slice()
                    && at(slice, &["ports"]) == &ports =>
            {
                return;
            }
            Some(_) => self.change(Kind::EndpointSlice, &slice_key, |slice| {
                super::json::set(slice, &["endpoints"], endpoints);
                super::json::set(slice, &["ports"], ports);
            }),
            None => {
                let mut owner = pods::owner_reference(&service);
                super::json::set(&mut owner, &["apiVersion"], "v1");
                self.insert(
                    Kind::EndpointSlice,
                    json!({
                        "metadata": {
                            "name": slice_key.name,
                            "namespace": key.namespace,
                            "labels": {
                                "kubernetes.io/service-name": key.name,
                                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                            },
                            "ownerReferences": [owner],
                        },
                        "addressType": "IPv4",
                        "endpoints": endpoints,
                        "ports": ports,
                    }),
                );
            }
        }
        // Each change reaches the data plane after the delay; those under way are taken with it.
        self.after(self.config.endpoints_delay, Work::Route(key.clone()));
    }

    /// The data plane takes over what the slice says.
    pub(super) fn sync_route(&mut self, key: &Key) {
        let slice_key = Key::new(key.namespace.as_str(), slice_name(key));
        let Some(slice) = self.store.get(Kind::EndpointSlice, &slice_key) else {
            if self.routes.current.remove(key).is_some() {
                self.plane_changed();
            }
            return;
        };
        let endpoint = |entry: &Value| {
            let pod = text(entry, &["targetRef", "name"]);
            let pod_key = Key::new(key.namespace.as_str(), pod);
            let object = self.store.get(Kind::Pod, &pod_key);
            let image = object.map_or("", |object| pods::image(at(object, &["spec"])));
            Endpoint {
                pod: pod.to_owned(),
                image: image.to_owned(),
                version: object.map_or_else(String::new, |object| version(object, image)),
                ip: list(entry, &["addresses"])
                    .first()
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                alive: true,
            }
        };
        let having = |condition: &str| -> Vec<Endpoint> {
            let entries = list(slice, &["endpoints"]).iter();
            entries
                .filter(|entry| at(entry, &["conditions", condition]) == &Value::Bool(true))
                .map(endpoint)
                .collect()
        };
        let mut routed = having("ready");
        if routed.is_empty() {
            routed = having("serving");
        }
        let before = self.routes.current.insert(key.clone(), routed);
        if before.as_ref() != self.routes.current.get(key) {
            self.plane_changed();
        }
    }
}

fn resolve_ports(service: &Value, pod: &Value) -> Value {
    let ports = list(service, &["spec", "ports"]).iter().map(|port| {
        let wanted = at(port, &["targetPort"]);
        let number = match wanted.as_str() {
            None => wanted.clone(),
            Some(name) => list(pod, &["spec", "containers"])
                .iter()
                .flat_map(|container| list(container, &["ports"]))
                .find(|port| text(port, &["name"]) == name)
                .map_or(Value::Null, |port| at(port, &["containerPort"]).clone()),
        };
        json!({"name": text(port, &["name"]), "port": number, "protocol": text(port, &["protocol"])})
    });
    ports.collect()
}
