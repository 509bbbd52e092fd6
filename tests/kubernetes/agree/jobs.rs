//! Jobs, as hooks and migrations run.

use serde_json::{Value, json};

use super::exchange::{Exchange, delete, get, merge, post, until};
use super::views::{conditions, in_order, told};

fn job(name: &str, tag: &str, code: &str, spec: &Value) -> Value {
    let mut annotations = json!({"test.phasegate.dev/exit-code": code});
    if tag == "long" {
        annotations["test.phasegate.dev/ends-after"] = json!("1h");
    }
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": format!("registry.test/job:{tag}")}]},
        }},
    });
    let more = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(more);
    object
}

fn has(found: &Value, kind: &str) -> bool {
    let conditions = found["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == kind && one["status"] == "True")
    })
}

fn complete(found: &Value) -> bool {
    has(found, "Complete")
}

fn failed(found: &Value) -> bool {
    has(found, "Failed")
}

/// It was watched up to its end.
fn ended(lines: &Value) -> bool {
    let last = lines.as_array().and_then(|lines| lines.last());
    last.is_some_and(|line| complete(&line["object"]) || failed(&line["object"]))
}

/// A pod of it runs.
fn runs(found: &Value) -> bool {
    let pods = found["items"].as_array();
    pods.is_some_and(|all| all.iter().any(|pod| pod["status"]["phase"] == "Running"))
}

/// The events about a Job or Pod, when what is last is among them.
fn has_events(found: &Value) -> bool {
    let items = found["items"].as_array();
    let last = ["Completed", "BackoffLimitExceeded", "DeadlineExceeded"];
    items.is_some_and(|all| {
        all.iter()
            .any(|event| last.iter().any(|reason| event["reason"] == *reason))
    })
}

fn none(found: &Value) -> bool {
    found["items"].as_array().is_some_and(Vec::is_empty)
}

pub(super) fn table() -> Vec<Exchange> {
    let once = json!({"backoffLimit": 0});
    let pods = |name: &str| format!("pods?labelSelector=batch.kubernetes.io/job-name%3D{name}");
    let events = |name: &str| format!("events?fieldSelector=involvedObject.name%3D{name}");
    let watch = |since: &str| {
        format!(
            "jobs?watch=true&timeoutSeconds=2&resourceVersion=${since}.version&fieldSelector=metadata.name%3D{since}"
        )
    };
    vec![
        post("made", "jobs", job("good", "good", "0", &json!({}))).keep("good"),
        until("it is complete", "jobs/good", complete),
        until("how it went", &watch("good"), ended).seen_as(conditions),
        get("its pods", &pods("good")),
        until("it was told", &events("good"), has_events).seen_as(told),
        post("made to fail", "jobs", job("bad", "exits-3", "3", &once)).keep("bad"),
        until("it has failed", "jobs/bad", failed),
        until("how it failed", &watch("bad"), ended).seen_as(conditions),
        get("the pods of one that failed", &pods("bad")).seen_as(|answer| {
            let pod = &answer.body["items"][0];
            let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            json!({"pods": answer.body["items"].as_array().map(Vec::len), "phase": pod["status"]["phase"], "code": end["exitCode"], "reason": end["reason"]})
        }),
        until("its failure was told", &events("bad"), has_events).seen_as(told),
        post("made to be tried twice", "jobs", job("twice", "exits-3", "3", &json!({"backoffLimit": 1}))).unseen(),
        post("made to be too slow", "jobs", job("slow", "long", "0", &json!({"activeDeadlineSeconds": 2}))).unseen(),
        post("made to run on", "jobs", job("long", "long", "0", &once)).unseen(),
        until("it runs", &pods("long"), runs).unseen(),
        merge("another image", "jobs/long", json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.test/job:2"}]}}}})),
        merge("another limit", "jobs/long", json!({"spec": {"completions": 3}})),
        delete("its pods are deleted", &pods("long"), json!({})).unseen(),
        until("it has failed without its pod", "jobs/long", failed),
        post("made and held", "jobs", job("held", "good", "0", &json!({"suspend": true}))).unseen(),
        until("it is suspended", "jobs/held", |found| has(found, "Suspended")),
        merge("it is let go", "jobs/held", json!({"spec": {"suspend": false}})).unseen(),
        until("it is complete after all", "jobs/held", complete),
        post("made to be stopped", "jobs", job("stopped", "long", "0", &once)).unseen(),
        until("it runs as well", &pods("stopped"), runs).unseen(),
        merge("it is stopped", "jobs/stopped", json!({"spec": {"suspend": true}})).unseen(),
        until("its pod is gone", &pods("stopped"), none).unseen(),
        until("it was too slow", "jobs/slow", failed),
        until("no pod of it is left", &pods("slow"), none).unseen(),
        until("it has failed twice", "jobs/twice", failed),
        get("the pods of both tries", &pods("twice")).seen_as(|answer| json!({"pods": in_order(answer)["items"].as_array().map(Vec::len)})),
        post("made with pods that are kept running", "jobs?dryRun=All", {
            let mut job = job("always", "good", "0", &json!({}));
            job["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
            job
        }),
        post("made with fewer than no tries", "jobs?dryRun=All", job("tries", "good", "0", &json!({"backoffLimit": -1}))),
        delete("removed in the background", "jobs/good", json!({"propagationPolicy": "Background"})),
        until("its pods go as well", &pods("good"), none).unseen(),
        delete("removed in the foreground", "jobs/bad", json!({"propagationPolicy": "Foreground"})),
        until("it goes after its pods", "jobs/bad", |found| found["code"] == 404),
    ]
}
