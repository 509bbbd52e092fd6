//! Rollouts of Deployments: conditions and their order, bounds, revisions, events, and the pods.

use serde_json::{Value, json};

use super::deployments::settled;
use super::exchange::{Exchange, delete, get, merge, post, until};
use super::views::{
    bounds, conditions, conditions_but_for_progress, generations, revisions, status, told,
};

/// A Deployment whose pods take a second to be ready, by their images.
fn shop(spec: &Value) -> Value {
    let labels = json!({"app": "shop"});
    let annotations = json!({
        "test.phasegate.dev/ready-after": "1s", "test.phasegate.dev/fate.typo": "image-pull",
        "test.phasegate.dev/fate.crash": "crash",
    });
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": "registry.test/shop:1"}]},
            },
        },
    });
    let more = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(more);
    object
}

fn ships(tag: &str) -> Value {
    let image = format!("registry.test/shop:{tag}");
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

fn late(found: &Value) -> bool {
    let conditions = found["status"]["conditions"].as_array();
    found["status"]["observedGeneration"] == found["metadata"]["generation"]
        && conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["reason"] == "ProgressDeadlineExceeded")
        })
}

fn paused(found: &Value) -> bool {
    let conditions = found["status"]["conditions"].as_array();
    found["status"]["observedGeneration"] == found["metadata"]["generation"]
        && conditions.is_some_and(|all| all.iter().any(|one| one["reason"] == "DeploymentPaused"))
}

fn three(found: &Value) -> bool {
    found["items"].as_array().is_some_and(|all| all.len() == 3)
}

fn none(found: &Value) -> bool {
    found["items"].as_array().is_some_and(Vec::is_empty)
}

fn broken(found: &Value) -> bool {
    let pods = found["items"].as_array();
    let waits =
        |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    pods.is_some_and(|all| {
        all.iter()
            .any(|pod| waits(pod) == "ImagePullBackOff" || waits(pod) == "CrashLoopBackOff")
    })
}

/// What is said of pods whose containers wait.
fn waiting(answer: &super::exchange::Answer) -> Value {
    let pods = answer.body["items"].as_array().into_iter().flatten();
    let of = |pod: &Value| {
        let first = &pod["status"]["containerStatuses"][0];
        let condition = |kind: &str| {
            let all = pod["status"]["conditions"].as_array().into_iter().flatten();
            all.filter(|one| one["type"] == kind)
                .map(|one| json!([one["status"], one["reason"]]))
                .next()
        };
        json!([
            first["state"]["waiting"]["reason"],
            pod["status"]["phase"],
            first["ready"],
            condition("Ready"),
            condition("PodScheduled"),
            first["lastState"]["terminated"]["exitCode"]
        ])
    };
    let mut all: Vec<Value> = pods.map(of).collect();
    all.sort_by_key(Value::to_string);
    json!({"pods": all})
}

const EVENTS: &str = "events";
const SETS: &str = "replicasets?labelSelector=app%3Dshop";
const PODS: &str = "pods?labelSelector=app%3Dshop";

/// What was to be seen from a version on, up to where it rests.
fn watched(name: &'static str, since: &str) -> Exchange {
    let path = format!("deployments?watch=true&timeoutSeconds=2&resourceVersion=${since}.version");
    until(name, &path, |lines| {
        let last = lines.as_array().and_then(|lines| lines.last());
        last.is_some_and(|line| settled(&line["object"]) || late(&line["object"]))
    })
}

pub(super) fn table() -> Vec<Exchange> {
    [rolling(), stuck(), recreated(), scaled()]
        .into_iter()
        .flatten()
        .collect()
}

fn rolling() -> Vec<Exchange> {
    vec![
        post("made", "deployments", shop(&json!({}))).keep("made"),
        until("it is rolled out", "deployments/shop", settled).keep("first"),
        watched("its first rollout", "made").seen_as(conditions),
        watched("its generations", "made").seen_as(generations),
        get("its ReplicaSet", SETS),
        until("its pods", PODS, three),
        merge(
            "the next version",
            "deployments/shop?fieldManager=phasegate",
            ships("2"),
        )
        .unseen(),
        until("the next is rolled out", "deployments/shop", settled).keep("second"),
        watched("its next rollout", "first").seen_as(conditions),
        watched("its next generations", "first").seen_as(generations),
        watched("its bounds", "first").seen_as(bounds),
        get("its revisions", SETS).seen_as(revisions),
        until("the former pods are gone", PODS, three).unseen(),
        merge("back to the version before", "deployments/shop", ships("1")).unseen(),
        until("that is rolled out", "deployments/shop", settled).keep("third"),
        watched("how it went back", "second").seen_as(conditions),
        get("its revisions when it is back", SETS).seen_as(revisions),
        until("no pod is left over", PODS, three).unseen(),
        get("what was told", EVENTS).seen_as(told),
    ]
}

fn stuck() -> Vec<Exchange> {
    let deadline = |tag: &str| {
        let mut change = ships(tag);
        change["spec"]["progressDeadlineSeconds"] = json!(3);
        change
    };
    vec![
        merge(
            "an image that isn't there",
            "deployments/shop",
            deadline("typo"),
        )
        .unseen(),
        until("its time is over", "deployments/shop", late),
        watched("how it got stuck", "third").seen_as(conditions_but_for_progress),
        until("its pods when it is stuck", PODS, broken).seen_as(waiting),
        merge(
            "a version that crashes",
            "deployments/shop",
            deadline("crash"),
        )
        .unseen(),
        until("its pods when they crash", PODS, |found| {
            broken(found) && three_and_one(found)
        })
        .seen_as(waiting),
        until("its time is over again", "deployments/shop", late).keep("late"),
        merge("back from there", "deployments/shop", ships("1")).unseen(),
        until("it is as it was", "deployments/shop", settled),
        watched("how it came back", "late").seen_as(conditions),
        get("its revisions after all that", SETS).seen_as(revisions),
        delete("removed in the background", "deployments/shop", json!({})).unseen(),
        until("its ReplicaSets go", SETS, none).unseen(),
        until("its pods go", PODS, none).unseen(),
    ]
}

/// Three that serve and one that crashes.
fn three_and_one(found: &Value) -> bool {
    found["items"].as_array().is_some_and(|all| {
        all.len() == 4
            && all.iter().any(|pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                    == "CrashLoopBackOff"
            })
    })
}

fn recreated() -> Vec<Exchange> {
    let recreate = json!({"strategy": {"type": "Recreate"}, "replicas": 2});
    vec![
        post("recreated", "deployments", shop(&recreate)).unseen(),
        until("it is there", "deployments/shop", settled)
            .unseen()
            .keep("there"),
        merge("the next is recreated", "deployments/shop", ships("2")).unseen(),
        until("it is there again", "deployments/shop", settled),
        watched("how it was recreated", "there").seen_as(conditions),
        watched("its bounds when recreated", "there").seen_as(bounds),
        delete("removed when recreated", "deployments/shop", json!({})).unseen(),
        until("no pods any more", PODS, none).unseen(),
    ]
}

fn scaled() -> Vec<Exchange> {
    let spec = json!({"replicas": 4, "minReadySeconds": 1, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, "revisionHistoryLimit": 1});
    vec![
        post("with shares", "deployments", shop(&spec)).unseen(),
        until("with shares it is there", "deployments/shop", settled)
            .unseen()
            .keep("before"),
        merge("with shares to the next", "deployments/shop", ships("2")).unseen(),
        until("with shares it is rolled out", "deployments/shop", settled),
        watched("its bounds with shares", "before")
            .seen_as(|answer| json!({"least available": bounds(answer)["least available"]})),
        merge("with shares to another", "deployments/shop", ships("3")).unseen(),
        until("another is rolled out", "deployments/shop", settled).unseen(),
        until("old ReplicaSets are cleared away", SETS, |found| {
            found["items"].as_array().is_some_and(|all| all.len() == 2)
        })
        .seen_as(revisions),
        get("before it grows", "deployments/shop")
            .unseen()
            .keep("small"),
        merge(
            "scaled up",
            "deployments/shop/scale",
            json!({"spec": {"replicas": 6}}),
        )
        .unseen(),
        until("there are more", "deployments/shop", settled).seen_as(status),
        watched("how it grew", "small").seen_as(conditions),
        merge(
            "scaled to nothing",
            "deployments/shop/scale",
            json!({"spec": {"replicas": 0}}),
        )
        .unseen(),
        until("there are none", "deployments/shop", settled).seen_as(status),
        merge(
            "paused",
            "deployments/shop",
            json!({"spec": {"paused": true}}),
        )
        .unseen(),
        until("the pause is observed", "deployments/shop", paused).seen_as(status),
        merge(
            "no longer paused",
            "deployments/shop",
            json!({"spec": {"paused": null}}),
        )
        .unseen(),
        until(
            "the end of the pause is observed",
            "deployments/shop",
            settled,
        )
        .seen_as(status),
    ]
}
