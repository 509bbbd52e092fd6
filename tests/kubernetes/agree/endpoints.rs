//! EndpointSlices: which pods a Service leads to.

use serde_json::{Value, json};

use super::exchange::{Exchange, delete, merge, post, until};

const SLICES: &str = "endpointslices?labelSelector=kubernetes.io/service-name%3Dshop";

fn shop() -> Value {
    let labels = json!({"app": "shop"});
    let annotations = json!({
        "test.phasegate.dev/ready-after": "1s", "test.phasegate.dev/stops-after": "3s",
        "test.phasegate.dev/fate.not-ready": "not-ready",
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": "registry.test/shop:1", "ports": [{"name": "web", "containerPort": 8080}]}]},
            },
        },
    })
}

/// The conditions of all endpoints.
fn endpoints(found: &Value) -> Vec<&Value> {
    let slices = found["items"].as_array();
    let all = slices
        .into_iter()
        .flatten()
        .filter_map(|slice| slice["endpoints"].as_array());
    all.flatten()
        .map(|endpoint| &endpoint["conditions"])
        .collect()
}

fn both_ready(found: &Value) -> bool {
    let all = endpoints(found);
    all.len() == 2 && all.iter().all(|one| one["ready"] == true)
}

fn one_leaves(found: &Value) -> bool {
    endpoints(found)
        .iter()
        .any(|one| one["terminating"] == true)
}

fn one_is_unready(found: &Value) -> bool {
    let all = endpoints(found);
    all.len() == 3
        && all
            .iter()
            .any(|one| one["ready"] == false && one["terminating"] == false)
}

pub(super) fn table() -> Vec<Exchange> {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": ports}});
    vec![
        post("a Service without pods", "services", service(json!([{"name": "http", "port": 80, "targetPort": "web"}]))).unseen(),
        until("it has a slice", SLICES, |found| found["items"].as_array().is_some_and(|all| !all.is_empty())),
        post("its pods are made", "deployments", shop()).unseen(),
        until("it leads to both", SLICES, both_ready),
        merge("a version that is never ready", "deployments/shop", json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.test/shop:not-ready", "ports": [{"name": "web", "containerPort": 8080}]}]}}}})).unseen(),
        until("one is unready", SLICES, one_is_unready),
        merge("the former version", "deployments/shop", json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.test/shop:1", "ports": [{"name": "web", "containerPort": 8080}]}]}}}})).unseen(),
        until("it leads to both again", SLICES, both_ready),
        merge("one pod is enough", "deployments/shop", json!({"spec": {"replicas": 1}})).unseen(),
        until("one leaves", SLICES, one_leaves),
        until("one is left", SLICES, |found| endpoints(found).len() == 1),
        merge("another selector", "services/shop", json!({"spec": {"selector": {"app": "nobody"}}})).unseen(),
        until("it leads nowhere", SLICES, |found| endpoints(found).is_empty()),
        delete("the Service goes", "services/shop", json!({})).unseen(),
        until("its slices go", SLICES, |found| found["items"].as_array().is_some_and(Vec::is_empty)),
    ]
}
