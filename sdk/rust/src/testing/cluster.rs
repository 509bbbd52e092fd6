//! The scripted cluster: objects by kind and name, without any controller.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::managed::{self, Fields};
use crate::bindings::imports::phasegate::host::kubernetes::{KubernetesError, ObjectRef};

/// API version, kind, namespace and name.
type Key = (String, String, String, String);

/// Objects that a test put there, or the plugin.
#[derive(Default)]
pub struct Cluster {
    objects: BTreeMap<Key, Value>,
    /// What the plugin has applied of them. What a test puts into `metadata.managedFields` is somebody else's.
    applied: BTreeMap<Key, Fields>,
    /// Set where every call fails.
    pub(crate) unavailable: Option<String>,
}

impl Cluster {
    /// An object as it is now.
    #[must_use]
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let mut objects = self.objects.iter();
        objects
            .find(|((_, k, ns, n), _)| k == kind && ns == namespace && n == name)
            .map(|(_, object)| object)
    }

    /// Somebody else puts it there as it is.
    pub(crate) fn put(&mut self, object: Value) {
        let key = key(&object);
        self.applied.remove(&key);
        self.objects.insert(key, object);
    }

    fn reachable(&self) -> Result<(), KubernetesError> {
        match &self.unavailable {
            None => Ok(()),
            Some(message) => Err(KubernetesError::Unavailable(message.clone())),
        }
    }

    pub(crate) fn get(&self, object: &ObjectRef) -> Result<String, KubernetesError> {
        self.reachable()?;
        let key = reference(object);
        let found = self.objects.get(&key).ok_or(KubernetesError::NotFound)?;
        let mut found = found.clone();
        if let Some(metadata) = found.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            // As the engine shows an action its own entry and no other.
            if let Some(fields) = self.applied.get(&key) {
                let entry =
                    json!({"operation": "Apply", "apiVersion": key.0, "fieldsV1": fields.write()});
                metadata.insert("managedFields".to_owned(), json!([entry]));
            }
        }
        Ok(found.to_string())
    }

    pub(crate) fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<String>, KubernetesError> {
        self.reachable()?;
        let found = self.objects.iter().filter(|((v, k, ns, _), object)| {
            v == api_version
                && k == kind
                && namespace.is_none_or(|namespace| namespace == ns)
                && selector.is_none_or(|selector| matches(selector, object))
        });
        Ok(found.map(|(_, object)| object.to_string()).collect())
    }

    pub(crate) fn apply(&mut self, object: &str) -> Result<String, KubernetesError> {
        self.reachable()?;
        let object: Value = parse(object)?;
        let key = key(&object);
        let live = self.objects.get(&key).cloned().unwrap_or_default();
        let wanted = Fields::of(&object);
        let others = managed::others(&live);
        if let Some((manager, path)) = managed::conflict(&others, &wanted, &live, &object) {
            return Err(KubernetesError::Conflict(format!(
                "Apply failed with 1 conflict: conflict with \"{manager}\": {path}"
            )));
        }
        let version = |object: &Value| {
            let version = object.pointer("/metadata/resourceVersion").cloned();
            version.filter(|_| !live.is_null())
        };
        if version(&object).is_some_and(|asked| Some(asked) != version(&live)) {
            let message = "Operation cannot be fulfilled: the object has been modified";
            return Err(KubernetesError::Conflict(message.to_owned()));
        }
        let uid = object.pointer("/metadata/uid");
        if uid.is_some() && live.is_null() {
            let message = "uid mismatch: no existing object was found";
            return Err(KubernetesError::Conflict(message.to_owned()));
        }
        let mut now = live.clone();
        merge(&mut now, &object);
        if let Some(before) = self.applied.get(&key) {
            let dropped = before.without(&wanted);
            let dropped = others
                .iter()
                .fold(dropped, |left, (_, theirs)| left.without(theirs));
            dropped.remove_from(&mut now);
        }
        let text = now.to_string();
        self.objects.insert(key.clone(), now);
        match wanted.is_empty() {
            true => self.applied.remove(&key),
            false => self.applied.insert(key, wanted),
        };
        Ok(text)
    }

    pub(crate) fn patch(
        &mut self,
        object: &ObjectRef,
        change: &str,
    ) -> Result<String, KubernetesError> {
        self.reachable()?;
        let found = self.objects.get_mut(&reference(object));
        let found = found.ok_or(KubernetesError::NotFound)?;
        merge(found, &parse(change)?);
        Ok(found.to_string())
    }

    pub(crate) fn remove(&mut self, object: &ObjectRef) -> Result<(), KubernetesError> {
        self.reachable()?;
        self.applied.remove(&reference(object));
        let removed = self.objects.remove(&reference(object));
        removed.map(drop).ok_or(KubernetesError::NotFound)
    }
}

fn parse(json: &str) -> Result<Value, KubernetesError> {
    serde_json::from_str(json).map_err(|error| KubernetesError::Invalid(error.to_string()))
}

fn key(object: &Value) -> Key {
    let text = |pointer: &str| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let key = (
        text("/apiVersion"),
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name"),
    );
    assert!(
        !key.0.is_empty() && !key.1.is_empty() && !key.3.is_empty(),
        "an object has apiVersion, kind and metadata.name: {object}"
    );
    key
}

fn reference(object: &ObjectRef) -> Key {
    (
        object.api_version.clone(),
        object.kind.clone(),
        object.namespace.clone().unwrap_or_default(),
        object.name.clone(),
    )
}

/// RFC 7386.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in change {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Whether an object's labels match a selector of `a=b`, `a==b`, `a!=b`, `a` and `!a`, or of the
/// set-based `a in (b, c)` and `a notin (b, c)`.
fn matches(selector: &str, object: &Value) -> bool {
    let label = |name: &str| {
        let labels = object.pointer("/metadata/labels");
        labels?.get(name.trim())?.as_str()
    };
    requirements(selector).into_iter().all(|requirement| {
        if let Some((name, values)) = set(requirement, " notin ") {
            return label(name).is_none_or(|value| !values.contains(&value));
        }
        if let Some((name, values)) = set(requirement, " in ") {
            return label(name).is_some_and(|value| values.contains(&value));
        }
        if let Some((name, value)) = requirement.split_once("!=") {
            return label(name) != Some(value.trim());
        }
        if let Some((name, value)) = requirement.split_once('=') {
            return label(name) == Some(value.trim_start_matches('=').trim());
        }
        match requirement.strip_prefix('!') {
            Some(name) => label(name).is_none(),
            None => label(requirement).is_some(),
        }
    })
}

/// Splits at the commas that aren't in parentheses.
fn requirements(selector: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    selector
        .split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|requirement| !requirement.is_empty())
        .collect()
}

fn set<'a>(requirement: &'a str, operator: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (name, values) = requirement.split_once(operator)?;
    let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((name, values.split(',').map(str::trim).collect()))
}
