//! Sets of fields as `managedFields` holds them (FieldsV1), and what can be done with them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::json as path;

/// A set of fields. Members are named as in FieldsV1: `f:` a member, `k:` a list item by its keys,
/// `v:` a list item by its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    /// Whether the field itself belongs to the set, not only some below it.
    pub(super) owned: bool,
    pub(super) below: BTreeMap<String, Fields>,
}

/// How the items of a list are told apart.
pub(super) enum Items {
    /// They are not: the list is one value.
    Atomic,
    /// Each stands for itself.
    Set,
    /// By these members.
    Keyed(&'static [&'static str]),
}

/// How a list under a certain name is merged.
pub(super) fn items_of(field: &str, items: &[Value]) -> Items {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets" => Items::Keyed(&["name"]),
        "volumeMounts" => Items::Keyed(&["mountPath"]),
        "volumeDevices" => Items::Keyed(&["devicePath"]),
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
            Items::Keyed(&["containerPort", "protocol"])
        }
        "ports" if items.iter().all(|item| item.get("port").is_some()) => {
            Items::Keyed(&["port", "protocol"])
        }
        "conditions" => Items::Keyed(&["type"]),
        "listeners" => Items::Keyed(&["name"]),
        "ownerReferences" => Items::Keyed(&["uid"]),
        "hostAliases" => Items::Keyed(&["ip"]),
        "topologySpreadConstraints" => Items::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "finalizers" => Items::Set,
        _ => Items::Atomic,
    }
}

/// Whether an object under a certain name is one value.
fn is_atomic(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "labelSelector"
            | "podSelector"
            | "namespaceSelector"
            | "nodeSelector"
            | "fieldRef"
            | "resourceFieldRef"
            | "configMapKeyRef"
            | "secretKeyRef"
            | "targetRef"
    )
}

/// The name of a list item in a set.
pub(super) fn item_name(kind: &Items, item: &Value) -> String {
    match kind {
        Items::Keyed(keys) => {
            let mut out = String::from("k:{");
            for (index, key) in keys.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let value = match path::at(item, &[key]) {
                    Value::Null if *key == "protocol" => json!("TCP"),
                    value => value.clone(),
                };
                let _ = write!(out, "{comma}\"{key}\":{value}");
            }
            out.push('}');
            out
        }
        Items::Set | Items::Atomic => format!("v:{item}"),
    }
}

/// What nobody owns: identity, and what the server writes.
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
];

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        !self.owned && self.below.is_empty()
    }

    fn leaf() -> Self {
        Self {
            owned: true,
            below: BTreeMap::new(),
        }
    }

    fn add(&mut self, name: String, fields: Self) {
        if !fields.is_empty() {
            self.below.insert(name, fields);
        }
    }

    /// Reads FieldsV1.
    pub(super) fn read(value: &Value) -> Self {
        let Some(members) = value.as_object() else {
            return Self::leaf();
        };
        if members.is_empty() {
            return Self::leaf();
        }
        let mut out = Self::default();
        for (name, value) in members {
            if name == "." {
                out.owned = true;
            } else {
                out.below.insert(name.clone(), Self::read(value));
            }
        }
        out
    }

    /// As FieldsV1.
    pub(super) fn write(&self) -> Value {
        let mut members = Map::new();
        if self.owned && !self.below.is_empty() {
            members.insert(".".to_owned(), json!({}));
        }
        for (name, fields) in &self.below {
            members.insert(name.clone(), fields.write());
        }
        Value::Object(members)
    }

    /// The fields that an object sets, without those that nobody owns.
    pub(super) fn of(object: &Value, with_status: bool) -> Self {
        let mut out = Self::default();
        for (name, value) in object.as_object().into_iter().flatten() {
            match name.as_str() {
                "apiVersion" | "kind" => {}
                "status" if !with_status => {}
                "metadata" => {
                    let mut metadata = Self::default();
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if !METADATA.contains(&name.as_str()) {
                            metadata.add(format!("f:{name}"), Self::of_value(name, value));
                        }
                    }
                    out.add("f:metadata".to_owned(), metadata);
                }
                _ => out.add(format!("f:{name}"), Self::of_value(name, value)),
            }
        }
        out
    }

    fn of_value(field: &str, value: &Value) -> Self {
        match value {
            Value::Object(members) if !members.is_empty() && !is_atomic(field) => {
                let mut out = Self::default();
                for (name, value) in members {
                    out.below
                        .insert(format!("f:{name}"), Self::of_value(name, value));
                }
                out
            }
            Value::Array(items) if !items.is_empty() => {
                let kind = items_of(field, items);
                if matches!(kind, Items::Atomic) {
                    return Self::leaf();
                }
                let mut out = Self::default();
                for item in items {
                    let mut below = if item.is_object() {
                        Self::of_value("", item)
                    } else {
                        Self::default()
                    };
                    below.owned = true;
                    out.below.insert(item_name(&kind, item), below);
                }
                out
            }
            _ => Self::leaf(),
        }
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.owned |= other.owned;
        for (name, fields) in &other.below {
            self.below.entry(name.clone()).or_default().union(fields);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        if other.owned {
            self.owned = false;
        }
        for (name, fields) in &other.below {
            if let Some(mine) = self.below.get_mut(name) {
                mine.subtract(fields);
                if mine.is_empty() {
                    self.below.remove(name);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut out = Self {
            owned: self.owned && other.owned,
            below: BTreeMap::new(),
        };
        for (name, fields) in &self.below {
            if let Some(theirs) = other.below.get(name) {
                out.add(name.clone(), fields.intersection(theirs));
            }
        }
        out
    }

    /// Every field of the set as an operator writes it: `.spec.containers[name="web"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(&mut String::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut String, out: &mut Vec<String>) {
        if self.owned {
            out.push(prefix.clone());
        }
        for (name, fields) in &self.below {
            let length = prefix.len();
            match name.split_at_checked(2) {
                Some(("f:", member)) => {
                    prefix.push('.');
                    prefix.push_str(member);
                }
                Some(("k:", keys)) => {
                    let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                    let shown: Vec<String> = keys
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(k, v)| format!("{k}={v}"))
                        .collect();
                    let _ = write!(prefix, "[{}]", shown.join(","));
                }
                _ => {
                    let _ = write!(prefix, "[={}]", name.get(2..).unwrap_or_default());
                }
            }
            fields.collect(prefix, out);
            prefix.truncate(length);
        }
    }
}

/// What differs between two states of an object.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Fields that are new or have another value.
    pub(super) changed: Fields,
    /// Fields that are gone.
    pub(super) removed: Fields,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }

    pub(super) fn between(old: &Value, new: &Value, with_status: bool) -> Self {
        let mut out = Self::default();
        let nothing = Map::new();
        let (old, new) = (
            old.as_object().unwrap_or(&nothing),
            new.as_object().unwrap_or(&nothing),
        );
        for name in old
            .keys()
            .chain(new.keys().filter(|name| !old.contains_key(*name)))
        {
            let (before, after) = (
                old.get(name).unwrap_or(&Value::Null),
                new.get(name).unwrap_or(&Value::Null),
            );
            if before == after {
                continue;
            }
            match name.as_str() {
                "apiVersion" | "kind" => {}
                "status" if !with_status => {}
                "metadata" => {
                    let strip = |metadata: &Value| -> Value {
                        let kept = metadata.as_object().into_iter().flatten();
                        kept.filter(|(n, _)| !METADATA.contains(&n.as_str()))
                            .map(|(n, v)| (n.clone(), v.clone()))
                            .collect::<Map<_, _>>()
                            .into()
                    };
                    let (mut changed, mut removed) = (Fields::default(), Fields::default());
                    differ(
                        "",
                        &strip(before),
                        &strip(after),
                        &mut changed,
                        &mut removed,
                    );
                    // An empty remainder is no field of its own.
                    changed.owned = false;
                    removed.owned = false;
                    out.changed.add("f:metadata".to_owned(), changed);
                    out.removed.add("f:metadata".to_owned(), removed);
                }
                _ => differ_member(
                    name,
                    Some(before),
                    Some(after),
                    &mut out.changed,
                    &mut out.removed,
                ),
            }
        }
        out
    }
}

fn differ_member(
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changed: &mut Fields,
    removed: &mut Fields,
) {
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let field = format!("f:{name}");
    if absent(after) {
        let mut gone = Fields::of_value(name, before.unwrap_or(&Value::Null));
        gone.owned = true;
        removed.add(field, gone);
    } else if absent(before) {
        changed.add(field, Fields::of_value(name, after.unwrap_or(&Value::Null)));
    } else if before != after {
        let (mut c, mut r) = (Fields::default(), Fields::default());
        differ(
            name,
            before.unwrap_or(&Value::Null),
            after.unwrap_or(&Value::Null),
            &mut c,
            &mut r,
        );
        changed.add(field.clone(), c);
        removed.add(field, r);
    }
}

fn differ(field: &str, old: &Value, new: &Value, changed: &mut Fields, removed: &mut Fields) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !is_atomic(field) && !after.is_empty() => {
            for name in before
                .keys()
                .chain(after.keys().filter(|name| !before.contains_key(*name)))
            {
                differ_member(name, before.get(name), after.get(name), changed, removed);
            }
        }
        (Value::Array(before), Value::Array(after)) if !after.is_empty() && !before.is_empty() => {
            let kind = items_of(field, after);
            if matches!(kind, Items::Atomic) {
                changed.owned = true;
                return;
            }
            for item in before {
                let name = item_name(&kind, item);
                if !after.iter().any(|other| item_name(&kind, other) == name) {
                    let mut gone = Fields::of_value("", item);
                    gone.owned = true;
                    removed.add(name, gone);
                }
            }
            for item in after {
                let name = item_name(&kind, item);
                match before.iter().find(|other| item_name(&kind, other) == name) {
                    Some(other) if other == item => {}
                    Some(other) => {
                        let (mut c, mut r) = (Fields::default(), Fields::default());
                        differ("", other, item, &mut c, &mut r);
                        changed.add(name.clone(), c);
                        removed.add(name, r);
                    }
                    None => {
                        let mut fresh = if item.is_object() {
                            Fields::of_value("", item)
                        } else {
                            Fields::default()
                        };
                        fresh.owned = true;
                        changed.add(name, fresh);
                    }
                }
            }
        }
        _ => {
            let fresh = Fields::of_value(field, new);
            let mut gone = Fields::of_value(field, old);
            gone.subtract(&fresh);
            changed.union(&fresh);
            removed.union(&gone);
        }
    }
}

/// Lays an applied configuration over an object: members merge, keyed items merge, everything else is replaced.
pub(super) fn lay_over(field: &str, live: &mut Value, applied: &Value) {
    match applied {
        Value::Object(wanted) if !is_atomic(field) => {
            let members = path::members(live);
            for (name, value) in wanted {
                lay_over(
                    name,
                    members.entry(name.clone()).or_insert(Value::Null),
                    value,
                );
            }
        }
        Value::Array(wanted) if !wanted.is_empty() => {
            let kind = items_of(field, wanted);
            if matches!(kind, Items::Atomic) {
                *live = applied.clone();
                return;
            }
            let items = path::list_mut(live, &[]);
            for item in wanted {
                let name = item_name(&kind, item);
                match items
                    .iter_mut()
                    .find(|other| item_name(&kind, other) == name)
                {
                    Some(other) => lay_over("", other, item),
                    None => items.push(item.clone()),
                }
            }
        }
        _ => *live = applied.clone(),
    }
}

/// Removes fields from an object, but none below which something is to be kept.
pub(super) fn remove(value: &mut Value, gone: &Fields, keep: &Fields) {
    remove_below("", value, gone, keep);
}

fn remove_below(field: &str, value: &mut Value, gone: &Fields, keep: &Fields) {
    let kept = Fields::default();
    match value {
        Value::Object(members) => {
            for (name, fields) in &gone.below {
                let Some(member) = name.strip_prefix("f:") else {
                    continue;
                };
                let keep = keep.below.get(name).unwrap_or(&kept);
                let Some(here) = members.get_mut(member) else {
                    continue;
                };
                let vanishes = (fields.owned && keep.is_empty()) || {
                    remove_below(member, here, fields, keep);
                    keep.is_empty() && is_hollow(here)
                };
                if vanishes {
                    members.remove(member);
                }
            }
        }
        Value::Array(items) => {
            let kind = items_of(field, items);
            items.retain_mut(|item| {
                let name = item_name(&kind, item);
                let Some(fields) = gone.below.get(&name) else {
                    return true;
                };
                let keep = keep.below.get(&name).unwrap_or(&kept);
                if fields.owned && keep.is_empty() {
                    return false;
                }
                remove_below("", item, fields, keep);
                true
            });
        }
        _ => {}
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Takes nulls out of an applied configuration: they set nothing.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_as_they_are_written() {
        let object = json!({
            "apiVersion": "apps/v1",
            "metadata": {"name": "web", "labels": {"app": "web"}, "finalizers": ["a/b"]},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [
                {"name": "web", "image": "web:1", "args": ["x"], "ports": [{"containerPort": 80}]}]}}},
        });
        let fields = Fields::of(&object, false);
        assert_eq!(Fields::read(&fields.write()), fields);
        assert_eq!(
            fields.paths(),
            [
                r#".metadata.finalizers[="a/b"]"#,
                ".metadata.labels.app",
                ".spec.replicas",
                ".spec.selector",
                r#".spec.template.spec.containers[name="web"]"#,
                r#".spec.template.spec.containers[name="web"].args"#,
                r#".spec.template.spec.containers[name="web"].image"#,
                r#".spec.template.spec.containers[name="web"].name"#,
                r#".spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]"#,
                r#".spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort"#,
            ]
        );
    }

    #[test]
    fn a_difference_names_single_fields_of_list_items() {
        let old = json!({"spec": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "n": 1}});
        let new = json!({"spec": {"env": [{"name": "A", "value": "9"}, {"name": "C", "value": "2"}], "m": 1}});
        let difference = Difference::between(&old, &new, false);
        assert_eq!(
            difference.changed.paths(),
            [
                r#".spec.env[name="A"].value"#,
                r#".spec.env[name="C"]"#,
                r#".spec.env[name="C"].name"#,
                r#".spec.env[name="C"].value"#,
                ".spec.m"
            ]
        );
        assert!(
            difference
                .removed
                .paths()
                .contains(&r#".spec.env[name="B"]"#.to_owned())
        );
        assert!(difference.removed.paths().contains(&".spec.n".to_owned()));
    }
}
