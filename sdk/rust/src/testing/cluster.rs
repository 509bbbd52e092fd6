//! The scripted cluster: objects by kind and name, without any controller.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bindings::imports::phasegate::host::kubernetes::{KubernetesError, ObjectRef};

/// API version, kind, namespace and name.
type Key = (String, String, String, String);

/// Objects that a test put there, or the plugin.
#[derive(Default)]
pub struct Cluster {
    objects: BTreeMap<Key, Value>,
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

    pub(crate) fn put(&mut self, object: Value) {
        self.objects.insert(key(&object), object);
    }

    fn reachable(&self) -> Result<(), KubernetesError> {
        match &self.unavailable {
            None => Ok(()),
            Some(message) => Err(KubernetesError::Unavailable(message.clone())),
        }
    }

    pub(crate) fn get(&self, object: &ObjectRef) -> Result<String, KubernetesError> {
        self.reachable()?;
        let found = self.objects.get(&reference(object));
        found.map(Value::to_string).ok_or(KubernetesError::NotFound)
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
        let mut now = self.objects.get(&key(&object)).cloned().unwrap_or_default();
        merge(&mut now, &object);
        let text = now.to_string();
        self.put(now);
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
