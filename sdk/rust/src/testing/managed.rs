//! Who owns which field of the scripted cluster's objects, as far as server-side apply goes: members of objects one by
//! one, a list as one value.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What is nobody's.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];
const METADATA: [&str; 5] = [
    "name",
    "namespace",
    "resourceVersion",
    "uid",
    "managedFields",
];

/// Leaves of an object, each by the names that lead to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(BTreeSet<Vec<String>>);

impl Fields {
    /// What an object sets.
    pub(super) fn of(object: &Value) -> Self {
        let mut fields = Self::default();
        let mut path = Vec::new();
        fields.collect(object, &mut path);
        fields.0.retain(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match path.as_slice() {
                ["metadata"] => false,
                ["metadata", name, ..] => !METADATA.contains(name),
                [name, ..] => !IDENTITY.contains(name),
                [] => false,
            }
        });
        fields
    }

    fn collect(&mut self, value: &Value, path: &mut Vec<String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    path.push(name.clone());
                    self.collect(member, path);
                    path.pop();
                }
            }
            _ => {
                self.0.insert(path.clone());
            }
        }
    }

    /// As FieldsV1.
    pub(super) fn write(&self) -> Value {
        let mut root = json!({});
        for path in &self.0 {
            let mut here = &mut root;
            for name in path {
                let Value::Object(members) = here else { break };
                here = members
                    .entry(format!("f:{name}"))
                    .or_insert_with(|| json!({}));
            }
        }
        root
    }

    fn read(fields: &Value, path: &mut Vec<String>, found: &mut Self) {
        let members = fields.as_object().filter(|members| !members.is_empty());
        let Some(members) = members else {
            found.0.insert(path.clone());
            return;
        };
        for (name, below) in members {
            if let Some(name) = name.strip_prefix("f:") {
                path.push(name.to_owned());
                Self::read(below, path, found);
                path.pop();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// Takes these fields off, and objects that nothing is left of.
    pub(super) fn remove_from(&self, object: &mut Value) {
        for path in &self.0 {
            if let Some(members) = object.as_object_mut() {
                take(members, path);
            }
        }
    }
}

fn take(members: &mut Map<String, Value>, path: &[String]) {
    let [name, below @ ..] = path else { return };
    if below.is_empty() {
        members.remove(name);
    } else if let Some(Value::Object(inner)) = members.get_mut(name) {
        take(inner, below);
        if inner.is_empty() {
            members.remove(name);
        }
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |here, name| here.get(name))
}

/// The owners that a test has put into an object's managed fields.
pub(super) fn others(object: &Value) -> Vec<(String, Fields)> {
    let entries = object.pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array).into_iter().flatten();
    let owners = entries.map(|entry| {
        let manager = entry.get("manager").and_then(Value::as_str);
        let mut fields = Fields::default();
        let noted = entry.get("fieldsV1").unwrap_or(&Value::Null);
        Fields::read(noted, &mut Vec::new(), &mut fields);
        (manager.unwrap_or_default().to_owned(), fields)
    });
    owners.collect()
}

/// A field that somebody else owns and that would get another value.
pub(super) fn conflict(
    others: &[(String, Fields)],
    wanted: &Fields,
    live: &Value,
    object: &Value,
) -> Option<(String, String)> {
    let mut theirs = others.iter().flat_map(|(manager, fields)| {
        let shared = fields.0.intersection(&wanted.0);
        shared.map(move |path| (manager, path))
    });
    let (manager, path) = theirs.find(|(_, path)| at(live, path) != at(object, path))?;
    Some((manager.clone(), format!(".{}", path.join("."))))
}
