//! Deployments on trial: what is filled in, and what is refused.

use serde_json::{Value, json};

use super::deployments::shop;
use super::exchange::{Exchange, post};

pub(super) fn table() -> Vec<Exchange> {
    [refused(), shapes()].into_iter().flatten().collect()
}

fn refused() -> Vec<Exchange> {
    let trial = "deployments?dryRun=All";
    let pods = |containers: Value| json!({"template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": containers}}});
    let rolling = |surge: Value, unavailable: Value| json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
    vec![
        post("no selector", trial, shop(json!({"selector": null}))),
        post(
            "a selector that doesn't fit",
            trial,
            shop(json!({"selector": {"matchLabels": {"app": "other"}}})),
        ),
        post("fewer than no pods", trial, shop(json!({"replicas": -1}))),
        post(
            "neither surge nor unavailable",
            trial,
            shop(rolling(json!(0), json!(0))),
        ),
        post(
            "a surge that is no share",
            trial,
            shop(rolling(json!("much"), json!(0))),
        ),
        post(
            "more than all unavailable",
            trial,
            shop(rolling(json!(0), json!("101%"))),
        ),
        post(
            "recreated with a surge",
            trial,
            shop(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
        ),
        post(
            "a strategy that is none",
            trial,
            shop(json!({"strategy": {"type": "Sudden"}})),
        ),
        post("no containers", trial, shop(pods(json!([])))),
        post(
            "two containers of a name",
            trial,
            shop(pods(
                json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]),
            )),
        ),
        post("no image", trial, shop(pods(json!([{"name": "a"}])))),
        post(
            "a container without a name",
            trial,
            shop(pods(json!([{"image": "i"}]))),
        ),
        post(
            "a deadline below the time to be ready",
            trial,
            shop(json!({"minReadySeconds": 10, "progressDeadlineSeconds": 5})),
        ),
        post(
            "pods that end by themselves",
            trial,
            shop(
                json!({"template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}),
            ),
        ),
        post(
            "a count in words",
            trial,
            shop(json!({"replicas": "three"})),
        ),
        post("no template", trial, shop(json!({"template": null}))),
    ]
}

fn shapes() -> Vec<Exchange> {
    let trial = "deployments?dryRun=All";
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}});
    let container = json!({
        "name": "main", "image": "registry.test/shop", "ports": [{"containerPort": 8080}],
        "readinessProbe": probe, "livenessProbe": {"tcpSocket": {"port": 8080}},
        "resources": {"requests": {"cpu": "0.5", "memory": "64Mi"}},
        "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
    });
    let template = json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {
            "containers": [container],
            "initContainers": [{"name": "first", "image": "registry.test/first:latest"}],
            "volumes": [
                {"name": "flags", "configMap": {"name": "flags"}}, {"name": "keys", "secret": {"secretName": "keys"}},
                {"name": "scratch", "emptyDir": {}}, {"name": "self", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            ],
        },
    });
    vec![
        post("little said", trial, shop(json!({"replicas": null}))),
        post(
            "recreated",
            trial,
            shop(json!({"strategy": {"type": "Recreate"}})),
        ),
        post(
            "half a strategy",
            trial,
            shop(json!({"strategy": {"rollingUpdate": {"maxUnavailable": 0}}})),
        ),
        post("much said", trial, shop(json!({"template": template}))),
    ]
}
