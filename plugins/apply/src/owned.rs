//! Which fields of an object are this plugin's: what server-side apply has noted in `metadata.managedFields`, of which
//! the engine shows an action its own entry.

use phasegate_plugin::{Error, Result};
use serde_json::{Map, Value, json};

use crate::{MARK, text};

/// What an object is by itself, whoever applies it.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];
const NAMES: [&str; 2] = ["name", "namespace"];

/// The fields that are ours, as FieldsV1; none where nothing is.
pub(crate) fn fields(live: &Value) -> Option<&Value> {
    live.pointer("/metadata/managedFields/0/fieldsV1")
}

/// What we would have to apply so that the object stays as it is: our fields with their values.
///
/// # Errors
///
/// They are noted in another version of the kind, so that they can't be told.
pub(crate) fn config(live: &Value) -> Result<Value> {
    let mut config = match fields(live) {
        Some(fields) => {
            let noted = text(live, "/metadata/managedFields/0/apiVersion");
            let version = text(live, "/apiVersion");
            if noted != version {
                return Err(Error::permanent(format!(
                    "an earlier release applied it as {noted}; what it set can't be told in {version}"
                )));
            }
            projected(live, fields)
        }
        None => json!({}),
    };
    let taken = |name: &str| live.get(name).cloned().unwrap_or_default();
    if let Some(members) = config.as_object_mut() {
        for name in IDENTITY {
            members.insert(name.to_owned(), taken(name));
        }
        let metadata = members.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            for name in NAMES {
                let value = live.pointer(&format!("/metadata/{name}")).cloned();
                metadata.insert(name.to_owned(), value.unwrap_or_default());
            }
        }
    }
    Ok(config)
}

/// A configuration without the mark of whoever applied it.
pub(crate) fn without_mark(mut config: Value) -> Value {
    let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) else {
        return config;
    };
    let annotations = metadata.get_mut("annotations");
    let annotations = annotations.and_then(Value::as_object_mut);
    let left = annotations.map(|annotations| {
        annotations.remove(MARK);
        annotations.len()
    });
    if left == Some(0) {
        metadata.remove("annotations");
    }
    config
}

/// The part of a value that the fields cover.
fn projected(value: &Value, fields: &Value) -> Value {
    let Some(covered) = fields.as_object().filter(|covered| !covered.is_empty()) else {
        return value.clone();
    };
    match value {
        Value::Object(members) => {
            let mut part = Map::new();
            for (name, below) in covered {
                if let Some(name) = name.strip_prefix("f:")
                    && let Some(member) = members.get(name)
                {
                    part.insert(name.to_owned(), projected(member, below));
                }
            }
            Value::Object(part)
        }
        Value::Array(items) => {
            let parts = items.iter().enumerate();
            let parts = parts.filter_map(|(index, item)| {
                let (name, below) = of_item(covered, index, item)?;
                let mut part = projected(item, below);
                if let (Some(keys), Some(part)) = (keys(name), part.as_object_mut()) {
                    part.extend(keys);
                }
                Some(part)
            });
            Value::Array(parts.collect())
        }
        value => value.clone(),
    }
}

/// The entry of a list's item among the fields of the list.
fn of_item<'a>(
    covered: &'a Map<String, Value>,
    index: usize,
    item: &Value,
) -> Option<(&'a str, &'a Value)> {
    let is = |name: &str| {
        if let Some(keys) = keys(name) {
            // A key that the manifest leaves out has its default value.
            return keys
                .iter()
                .all(|(key, value)| item.get(key).is_none_or(|found| found == value));
        }
        if let Some(value) = name.strip_prefix("v:") {
            return serde_json::from_str::<Value>(value).is_ok_and(|value| &value == item);
        }
        name.strip_prefix("i:") == Some(&index.to_string())
    };
    let mut covered = covered.iter();
    let (name, below) = covered.find(|(name, _)| is(name))?;
    Some((name, below))
}

fn keys(name: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(name.strip_prefix("k:")?).ok()
}

/// Where a configuration sets what isn't ours any more: somebody else has taken it.
pub(crate) fn lost(config: &Value, live: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    let nothing = nothing();
    let ours = fields(live).unwrap_or(&nothing);
    let mut wanted = config.clone();
    if let Some(members) = wanted.as_object_mut() {
        members.retain(|name, _| !IDENTITY.contains(&name.as_str()));
        let metadata = members.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata {
            metadata.retain(|name, _| !NAMES.contains(&name.as_str()));
        }
    }
    compare(&wanted, ours, &mut String::new(), &mut lost);
    lost
}

fn compare(value: &Value, fields: &Value, path: &mut String, lost: &mut Vec<String>) {
    let Some(covered) = fields.as_object().filter(|covered| !covered.is_empty()) else {
        return;
    };
    let length = path.len();
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                path.push('.');
                path.push_str(name);
                match covered.get(&format!("f:{name}")) {
                    Some(below) => compare(member, below, path, lost),
                    None if member.is_object() => compare(member, &nothing(), path, lost),
                    // A list without items sets nothing that anybody could own.
                    None if member.as_array().is_some_and(Vec::is_empty) => {}
                    None => lost.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                match of_item(covered, index, item) {
                    Some((name, below)) => {
                        let mut item = item.clone();
                        if let (Some(keys), Some(members)) = (keys(name), item.as_object_mut()) {
                            members.retain(|name, _| !keys.contains_key(name));
                        }
                        compare(&item, below, path, lost);
                    }
                    None => lost.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Fields that nothing has.
fn nothing() -> Value {
    json!({"none": {}})
}
