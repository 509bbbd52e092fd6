//! Deployments as objects: whose the fields are, and what each change makes of them.

use serde_json::{Value, json};

use super::exchange::{
    Exchange, apply, delete, force, get, merge, operations, post, put, replace, strategic, until,
};
use super::views::still;

/// A Deployment without pods, so that only its controller writes beside the table.
pub(super) fn shop(more: Value) -> Value {
    let mut spec = json!({
        "replicas": 0,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "main", "image": "registry.test/shop:1"}]},
        },
    });
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(name);
        } else {
            spec[name] = value.clone();
        }
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec})
}

/// What is applied of a container.
fn image(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}},
    })
}

/// Its controller has seen the newest spec, and nothing is left to do.
pub(super) fn settled(found: &Value) -> bool {
    let (status, spec) = (&found["status"], &found["spec"]);
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    let wanted = spec["replicas"].as_u64().unwrap();
    let says = |kind: &str, reason: &str| {
        let conditions = status["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == kind && one["reason"] == reason)
        })
    };
    status["observedGeneration"] == found["metadata"]["generation"]
        && says("Progressing", "NewReplicaSetAvailable")
        && [
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
        ]
        .iter()
        .all(|name| count(name) == wanted)
}

pub(super) fn table() -> Vec<Exchange> {
    let all = [owned(), changed()];
    let all = all.into_iter().flatten();
    all.map(|exchange| exchange.seen_as(still)).collect()
}

fn owned() -> Vec<Exchange> {
    vec![
        apply(
            "applied where nothing is",
            "deployments/shop",
            "team",
            shop(json!({})),
        ),
        until("its controller has seen it", "deployments/shop", settled).keep("seen"),
        apply(
            "two managers of an image",
            "deployments/shop",
            "phasegate",
            image("registry.test/shop:2"),
        ),
        force(
            "an image taken by force",
            "deployments/shop",
            "phasegate",
            image("registry.test/shop:2"),
        ),
        until(
            "its controller has seen the image",
            "deployments/shop",
            settled,
        )
        .keep("taken"),
        apply(
            "the former owner comes back",
            "deployments/shop",
            "team",
            shop(json!({})),
        ),
        apply(
            "an image by two managers alike",
            "deployments/shop",
            "team",
            image("registry.test/shop:2"),
        ),
        apply(
            "applied to what was before",
            "deployments/shop",
            "phasegate",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "resourceVersion": "$seen.version"}, "spec": {"replicas": 1}}),
        ),
        strategic(
            "patched to what was before",
            "deployments/shop",
            json!({"metadata": {"resourceVersion": "$seen.version"}, "spec": {"paused": true}}),
        ),
        strategic(
            "annotated",
            "deployments/shop?fieldManager=phasegate",
            json!({"metadata": {"annotations": {"phasegate.dev/run": "r-1"}}}),
        ),
        delete("removed", "deployments/shop", json!({})),
        until("gone", "deployments/shop", |found| found["code"] == 404),
    ]
}

fn changed() -> Vec<Exchange> {
    let container = |more: Value| json!({"spec": {"template": {"spec": {"containers": [more]}}}});
    vec![
        post("made", "deployments", shop(json!({}))),
        until(
            "its controller has seen it, once more",
            "deployments/shop",
            settled,
        )
        .keep("new"),
        merge(
            "labelled: the generation stays",
            "deployments/shop",
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        merge(
            "paused: the generation grows",
            "deployments/shop",
            json!({"spec": {"paused": true}}),
        ),
        merge(
            "no longer paused",
            "deployments/shop",
            json!({"spec": {"paused": null}}),
        ),
        merge(
            "merged and unchanged",
            "deployments/shop",
            json!({"spec": {"replicas": 0}}),
        ),
        merge(
            "another selector",
            "deployments/shop",
            json!({"spec": {"selector": {"matchLabels": {"tier": "web"}}}}),
        ),
        strategic(
            "a container is added",
            "deployments/shop?fieldManager=edit",
            container(
                json!({"name": "proxy", "image": "registry.test/proxy:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]}),
            ),
        ),
        strategic(
            "a variable is added",
            "deployments/shop?fieldManager=edit",
            container(
                json!({"name": "proxy", "env": [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "b"}}}]}),
            ),
        ),
        strategic(
            "a container is taken out",
            "deployments/shop?fieldManager=edit",
            container(json!({"name": "proxy", "$patch": "delete"})),
        ),
        operations(
            "an image is replaced",
            "deployments/shop",
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.test/shop:2"}]),
        ),
        strategic(
            "recreated from now on, with what rolling left",
            "deployments/shop",
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        strategic(
            "recreated from now on",
            "deployments/shop",
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
        ),
        strategic(
            "rolled from now on",
            "deployments/shop",
            json!({"spec": {"strategy": {"type": "RollingUpdate"}}}),
        ),
        until("all of it is observed", "deployments/shop", settled),
        replace(
            "put as it was",
            "deployments/shop",
            "new",
            json!({"spec": {"replicas": 0}}),
        ),
        put(
            "put without what can't be changed",
            "deployments/shop",
            json!({"metadata": {"name": "shop"}, "spec": {"template": {}}}),
        ),
        merge(
            "a status by hand",
            "deployments/shop/status",
            json!({"spec": {"paused": true}}),
        ),
        get("its scale", "deployments/shop/scale"),
        merge(
            "scaled",
            "deployments/shop/scale?fieldManager=scaler",
            json!({"spec": {"replicas": 0}}),
        ),
        merge(
            "scaled below nothing",
            "deployments/shop/scale",
            json!({"spec": {"replicas": -1}}),
        ),
    ]
}
