//! What is compared of answers that can't be compared as a whole.

use serde_json::{Value, json};

use super::exchange::Answer;

fn items(answer: &Answer) -> &[Value] {
    answer.body["items"].as_array().map_or(&[], Vec::as_slice)
}

fn lines(answer: &Answer) -> &[Value] {
    answer.body.as_array().map_or(&[], Vec::as_slice)
}

/// The same in the order of what is left when names and versions are taken away.
pub(super) fn in_order(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(items) = body["items"].as_array_mut() {
        items.sort_by_cached_key(|item| super::plain::of(item).to_string());
    }
    body
}

/// What controllers told, each once. Kubelets of the real cluster are played, and where the scheduler binds is its own.
pub(super) fn told(answer: &Answer) -> Value {
    let mut told = serde_json::Map::new();
    for event in items(answer) {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or("-");
        let who = text("/source/component");
        let message = super::plain::of(&event["message"]);
        let message = message.as_str().unwrap_or_default();
        // How much is put together depends on how fast it comes.
        let message = message.replace("(combined from similar events): ", "");
        let (about, kind, reason) = (text("/involvedObject/kind"), text("/type"), text("/reason"));
        if who.ends_with("-controller") {
            told.insert(
                format!("{who} of a {about}, {kind} {reason}: {message}"),
                json!(true),
            );
        }
    }
    json!({"told": told})
}

/// An object without what its controller writes whenever it comes to it.
pub(super) fn still(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if body["kind"] != "Deployment" {
        return body;
    }
    body.as_object_mut().unwrap().remove("status");
    let metadata = &mut body["metadata"];
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let others = entries
        .filter(|entry| entry["manager"] != "kube-controller-manager")
        .cloned();
    metadata["managedFields"] = others.collect();
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.as_object_mut().unwrap().remove("annotations");
        }
    }
    body
}

/// Every ReplicaSet: what it runs, its revisions, and how many pods it has.
pub(super) fn revisions(answer: &Answer) -> Value {
    let of = |set: &Value| {
        let marks = &set["metadata"]["annotations"];
        let mark = |name: &str| marks[format!("deployment.kubernetes.io/{name}")].clone();
        let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
        json!([
            image,
            mark("revision"),
            mark("revision-history"),
            mark("desired-replicas"),
            mark("max-replicas"),
            set["spec"]["replicas"],
            set["status"]["replicas"],
        ])
    };
    let mut sets: Vec<Value> = items(answer).iter().map(of).collect();
    sets.sort_by_key(Value::to_string);
    json!({"revisions": sets})
}

fn push(list: &mut Vec<Value>, value: Value) {
    if list.last() != Some(&value) {
        list.push(value);
    }
}

/// What each condition was, one after the other, in everything that was watched.
pub(super) fn conditions(answer: &Answer) -> Value {
    let mut all = serde_json::Map::new();
    for line in lines(answer) {
        let conditions = line["object"]["status"]["conditions"].as_array();
        for condition in conditions.into_iter().flatten() {
            let name = condition["type"].as_str().unwrap_or_default();
            let was = all.entry(name).or_insert_with(|| json!([]));
            let now = json!([
                condition["status"],
                condition["reason"],
                condition["message"]
            ]);
            push(was.as_array_mut().unwrap(), super::plain::of(&now));
        }
    }
    json!({"conditions": all})
}

/// The same without whether there was progress in between: whether that is said of a rollout that gets nowhere depends
/// on which of two controllers comes first.
pub(super) fn conditions_but_for_progress(answer: &Answer) -> Value {
    let mut all = conditions(answer);
    if let Some(said) = all["conditions"]["Progressing"].as_array_mut() {
        said.retain(|one| one[1] != "ReplicaSetUpdated");
    }
    all
}

/// The state that an object says it has.
pub(super) fn status(answer: &Answer) -> Value {
    json!({"kind": answer.body["kind"], "status": answer.body["status"]})
}

/// The generations that were seen, and those that the controller had observed.
pub(super) fn generations(answer: &Answer) -> Value {
    let mut all = Vec::new();
    for line in lines(answer) {
        let object = &line["object"];
        let pair = json!([
            object["metadata"]["generation"],
            object["status"]["observedGeneration"]
        ]);
        push(&mut all, pair);
    }
    json!({"generations": all})
}

/// How many pods were available at least, and the last state. How many there were at most isn't told reliably: a real
/// Deployment adds up what its ReplicaSets said last, one of which may be late.
pub(super) fn bounds(answer: &Answer) -> Value {
    let count = |line: &Value| line["object"]["status"]["availableReplicas"].as_u64();
    let least = lines(answer).iter().map(|line| count(line).unwrap_or(0));
    let last = lines(answer)
        .last()
        .map(|line| line["object"]["status"].clone());
    json!({"kind": "Deployment", "least available": least.min(), "status": last})
}

/// What kinds of lines a watch had, and about what; labels tell versions apart.
pub(super) fn changes(answer: &Answer) -> Value {
    let of = |line: &Value| {
        let metadata = &line["object"]["metadata"];
        json!([
            line["type"],
            metadata["name"],
            metadata["labels"],
            line["object"]["data"]
        ])
    };
    json!({"changes": lines(answer).iter().map(of).collect::<Vec<_>>()})
}
