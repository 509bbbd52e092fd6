//! The three ways to patch that know nothing of field managers: JSON merge patch, JSON patch, and
//! strategic merge patch.

use serde_json::{Map, Value};

use super::json;

/// How many operations a JSON patch may have, as in the API server.
const OPERATIONS_LIMIT: usize = 10_000;

/// Applies an RFC 7386 merge patch.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let members = json::members(target);
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies an RFC 6902 patch; all of it or, on an error, the caller throws the target away.
pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), String> {
    let operations = patch
        .as_array()
        .ok_or("a JSON patch must be a list of operations")?;
    if operations.len() > OPERATIONS_LIMIT {
        return Err(format!(
            "a JSON patch may have at most {OPERATIONS_LIMIT} operations"
        ));
    }
    for operation in operations {
        let path = json::text(operation, &["path"]);
        let value = || {
            operation
                .get("value")
                .cloned()
                .ok_or("missing value".to_owned())
        };
        match json::text(operation, &["op"]) {
            "add" => add(target, path, value()?)?,
            "remove" => drop(remove(target, path)?),
            "replace" => {
                let wanted = value()?;
                let here = target
                    .pointer_mut(path)
                    .ok_or_else(|| missing("replace", path))?;
                *here = wanted;
            }
            "move" => {
                let moved = remove(target, json::text(operation, &["from"]))?;
                add(target, path, moved)?;
            }
            "copy" => {
                let from = json::text(operation, &["from"]);
                let copied = target
                    .pointer(from)
                    .cloned()
                    .ok_or_else(|| missing("copy", from))?;
                add(target, path, copied)?;
            }
            "test" => {
                if target.pointer(path).unwrap_or(&Value::Null) != &value()? {
                    return Err(format!("testing value {path} failed"));
                }
            }
            other => return Err(format!("unexpected kind of operation: {other}")),
        }
    }
    Ok(())
}

fn missing(what: &str, path: &str) -> String {
    format!("{what} operation does not apply: doc is missing path: {path}")
}

fn split_pointer(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let Some((parent, last)) = split_pointer(path) else {
        *target = value;
        return Ok(());
    };
    match target.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(last, value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            let index = if last == "-" {
                Some(items.len())
            } else {
                last.parse().ok()
            };
            match index {
                Some(index) if index <= items.len() => {
                    items.insert(index, value);
                    Ok(())
                }
                _ => Err(format!(
                    "add operation does not apply: invalid index in {path}"
                )),
            }
        }
        _ => Err(missing("add", path)),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let fault = || missing("remove", path);
    let (parent, last) = split_pointer(path).ok_or_else(fault)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(members)) => members.remove(&last).ok_or_else(fault),
        Some(Value::Array(items)) => {
            let index: usize = last.parse().map_err(|_| fault())?;
            if index < items.len() {
                Ok(items.remove(index))
            } else {
                Err(fault())
            }
        }
        _ => Err(fault()),
    }
}

/// By which member a strategic merge patch tells the items of a list apart; none where it replaces the list.
fn merge_key(field: &str, items: &[Value]) -> Option<&'static str> {
    Some(match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => "containerPort",
        "ports" => "port",
        "conditions" => "type",
        "ownerReferences" => "uid",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// Applies a strategic merge patch.
pub(super) fn strategic(target: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("unknown patch type: {other}")),
    }
    let members = json::members(target);
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(items)) = members.get_mut(field) {
                let gone = value.as_array().map_or(&[] as &[Value], Vec::as_slice);
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
            // `$retainKeys` comes below; the order of elements is left as it is.
        } else if value.is_null() {
            members.remove(name);
        } else if let Value::Array(changes) = value {
            let here = members
                .entry(name.clone())
                .or_insert_with(|| Value::Array(Vec::new()));
            strategic_list(name, here, changes)?;
        } else {
            strategic(members.entry(name.clone()).or_insert(Value::Null), value)?;
        }
    }
    if let Some(Value::Array(keys)) = patch.get("$retainKeys") {
        members.retain(|name, _| keys.iter().any(|key| key.as_str() == Some(name)));
    }
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Value {
    let kept = patch.iter().filter(|(name, _)| !name.starts_with('$'));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn strategic_list(field: &str, target: &mut Value, changes: &[Value]) -> Result<(), String> {
    let directive = |item: &Value| json::text(item, &["$patch"]).to_owned();
    if changes.iter().any(|item| directive(item) == "replace") {
        let kept = changes.iter().filter(|item| item.get("$patch").is_none());
        *target = Value::Array(kept.cloned().collect());
        return Ok(());
    }
    if field == "finalizers" {
        let items = json::list_mut(target, &[]);
        for change in changes {
            if !items.contains(change) {
                items.push(change.clone());
            }
        }
        return Ok(());
    }
    let existing = target.as_array().map_or(&[] as &[Value], Vec::as_slice);
    let key = merge_key(field, changes).or_else(|| merge_key(field, existing));
    let Some(key) = key.filter(|_| changes.iter().all(Value::is_object)) else {
        *target = Value::Array(changes.to_vec());
        return Ok(());
    };
    let items = json::list_mut(target, &[]);
    for change in changes {
        let id = json::at(change, &[key]);
        if id.is_null() {
            return Err(format!(
                "map: {change} does not contain declared merge key: {key}"
            ));
        }
        let place = items.iter().position(|item| json::at(item, &[key]) == id);
        match (directive(change).as_str(), place) {
            ("delete", Some(index)) => drop(items.remove(index)),
            ("delete", None) => {}
            (_, Some(index)) => {
                if let Some(item) = items.get_mut(index) {
                    strategic(item, change)?;
                }
            }
            (_, None) => {
                let mut item = Value::Null;
                strategic(&mut item, change)?;
                items.push(item);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches_remove_with_null() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "e": 3}, "d": [9]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": 3}, "d": [9]}));
    }

    #[test]
    fn json_patches_follow_the_rfc() {
        let mut target = json!({"a/b": [1, 2], "c": {}});
        let patch = json!([
            {"op": "test", "path": "/a~1b/0", "value": 1},
            {"op": "add", "path": "/a~1b/-", "value": 3},
            {"op": "remove", "path": "/a~1b/0"},
            {"op": "copy", "from": "/a~1b", "path": "/c/d"},
            {"op": "replace", "path": "/c/d/0", "value": 7},
        ]);
        json_patch(&mut target, &patch).unwrap();
        assert_eq!(target, json!({"a/b": [2, 3], "c": {"d": [7, 3]}}));
        assert!(
            json_patch(
                &mut target,
                &json!([{"op": "test", "path": "/c", "value": 1}])
            )
            .is_err()
        );
        assert!(json_patch(&mut target, &json!([{"op": "remove", "path": "/x"}])).is_err());
        assert!(
            json_patch(
                &mut target,
                &json!([{"op": "add", "path": "/a~1b/9", "value": 1}])
            )
            .is_err()
        );
    }

    #[test]
    fn strategic_patches_merge_lists_by_their_key() {
        let mut target = json!({"containers": [
            {"name": "web", "image": "web:1", "args": ["a"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
             "ports": [{"containerPort": 80}]},
            {"name": "side", "image": "side:1"},
        ]});
        let patch = json!({
            "$setElementOrder/containers": [{"name": "web"}],
            "containers": [
                {"name": "web", "image": "web:2", "args": ["b"],
                 "env": [{"name": "A", "value": "9"}, {"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}],
                 "ports": [{"containerPort": 80, "name": "http"}]},
                {"name": "side", "$patch": "delete"},
            ],
        });
        strategic(&mut target, &patch).unwrap();
        assert_eq!(
            target,
            json!({"containers": [{
                "name": "web", "image": "web:2", "args": ["b"],
                "env": [{"name": "A", "value": "9"}, {"name": "C", "value": "3"}],
                "ports": [{"containerPort": 80, "name": "http"}],
            }]})
        );
        assert!(strategic(&mut target, &json!({"containers": [{"image": "x"}]})).is_err());
        let mut strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
        strategic(
            &mut strategy,
            &json!({"$retainKeys": ["type"], "type": "Recreate"}),
        )
        .unwrap();
        assert_eq!(strategy, json!({"type": "Recreate"}));
    }
}
