//! What a story's world is on a real cluster: its objects, and pods that behave as it says.

use serde_json::{Value, json};

use super::briefly::{NAMESPACE, Story};
use crate::space::Space;

/// Makes the objects and waits until they have settled.
pub(super) fn set(space: &Space, scenario: &Value, version: &str) {
    let pods = scenario["cluster"]["pods"].as_array().unwrap();
    let mut deployments = Vec::new();
    for object in scenario["cluster"]["objects"].as_array().unwrap() {
        let mut object = object.clone();
        let fields = object["metadata"].as_object_mut().unwrap();
        fields.remove("namespace");
        match object["kind"].as_str().unwrap() {
            // A test has a namespace already; the class of a gateway is the simulated cluster's.
            "Namespace" | "Gateway" => continue,
            "Deployment" => {
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                deployments.push(format!("deployment/{name}"));
                behave(&mut object, pods, version);
            }
            _ => {}
        }
        let text = object.to_string().replace(NAMESPACE, &space.name);
        let object = serde_json::from_str(&text).unwrap();
        space.apply(&object).unwrap();
    }
    for deployment in &deployments {
        space.kubectl(&["rollout", "status", deployment, "--timeout=120s"]);
    }
}

/// Tells the pods of a Deployment how to behave with the image that it has, and with the one that it is to get.
fn behave(deployment: &mut Value, rules: &[Value], version: &str) {
    let template = &mut deployment["spec"]["template"];
    let image = template["spec"]["containers"][0]["image"].as_str().unwrap();
    let (repository, old) = image.rsplit_once(':').unwrap();
    let mut all = template["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // The last is for the versions that others bring.
    for (tag, suffix) in [
        (old, format!(".{old}")),
        (version, format!(".{version}")),
        ("*", String::new()),
    ] {
        let image = format!("{repository}:{tag}");
        let rule = rules
            .iter()
            .find(|rule| fits(rule["image"].as_str().unwrap(), &image));
        for (name, value) in rule.map(annotations).unwrap_or_default() {
            let name = format!("test.phasegate.dev/{name}{suffix}");
            all.insert(name, value.into());
        }
    }
    template["metadata"]["annotations"] = all.into();
}

/// Whether a pattern is one of this text; `*`, once, stands for any run of characters.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begins, ends)) => text.starts_with(begins) && text.ends_with(ends),
    }
}

/// A rule in the words of `tools/cluster/README.md`.
fn annotations(rule: &Value) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    for (field, value) in rule.as_object().unwrap() {
        let text = value.as_str().unwrap_or_default().to_owned();
        match field.as_str() {
            "image" | "log" => {}
            // The first so many are told otherwise by `fates`.
            "times" => told.push(("fate", "not-ready".to_owned())),
            "readyAfter" => told.push(("ready-after", text)),
            "termination" => told.push(("stops-after", text)),
            "neverReady" => told.push(("fate", "not-ready".to_owned())),
            "unreadyAfter" => told.push(("unready-after", text)),
            "pull" => told.push(("fate", "image-pull".to_owned())),
            "crash" => {
                told.push(("fate", "crash".to_owned()));
                told.push(("exit-code", value["exitCode"].to_string()));
                let after = value["after"].as_str().unwrap_or("300ms");
                told.push(("ends-after", after.to_owned()));
            }
            other => panic!("pods here can't be told `{other}`"),
        }
    }
    told
}

/// Tells the pods of an action's Jobs how to behave: they have no annotations of their own, and so the image's tag does.
fn behave_by_tags(value: &mut Value, rules: &[Value]) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(image) if name == "image" => {
                        let mut rules = rules.iter();
                        let rule = rules.find(|rule| fits(rule["image"].as_str().unwrap(), image));
                        let crash = rule.map(|rule| &rule["crash"]).filter(|it| it.is_object());
                        if let Some(crash) = crash {
                            let after = crash["after"].as_str().unwrap_or("300ms");
                            let code = crash["exitCode"].as_u64().unwrap_or(1);
                            image.push_str(&format!(".ends-{after}.exit-{code}"));
                        }
                    }
                    other => behave_by_tags(other, rules),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| behave_by_tags(one, rules)),
        _ => {}
    }
}

/// The release, as it is for this cluster: its target, and the address at which the network of the story is.
pub(super) fn release(space: &Space, story: &Story, town: &str) -> String {
    let mut release = story.release.clone();
    let rules = story.scenario["cluster"]["pods"].as_array().unwrap();
    behave_by_tags(&mut release["phases"], rules);
    if let Some(actions) = release.get_mut("actions") {
        behave_by_tags(actions, rules);
    }
    let configs = release.pointer_mut("/workload/configs");
    let configs = configs.and_then(Value::as_array_mut);
    for from in configs
        .into_iter()
        .flatten()
        .filter_map(|config| config.get_mut("from"))
    {
        let path = story.folder.join(from.as_str().unwrap());
        *from = path.to_str().unwrap().into();
    }
    let credentials = release.get_mut("credentials");
    let credentials = credentials.and_then(Value::as_object_mut).into_iter();
    for credential in credentials.flat_map(serde_json::Map::values_mut) {
        let path = story.folder.join(credential["file"].as_str().unwrap());
        credential["file"] = path.to_str().unwrap().into();
    }
    let mut places = vec!["/workload/manifests/path".to_owned()];
    places.extend((0..2).map(|phase| format!("/phases/{phase}/steps/0/act/manifests/path")));
    let actions = release.get("actions").and_then(Value::as_object);
    let actions = actions.into_iter().flat_map(serde_json::Map::keys);
    places.extend(actions.map(|name| format!("/actions/{name}/manifests/path")));
    for place in places {
        if let Some(path) = release.pointer_mut(&place) {
            let whole = story.folder.join(path.as_str().unwrap());
            *path = whole.to_str().unwrap().into();
        }
    }
    release["target"] = json!({"kubernetes": {"context": "test", "namespace": space.name}});
    release.as_object_mut().unwrap().remove("namespace");
    let text = release.to_string();
    let text = text.replace("https://", "http://");
    text.replace("http://", &format!("http://{town}/"))
}
