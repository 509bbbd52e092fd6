//! Where a pod template refers to ConfigMaps and Secrets.

use std::collections::BTreeSet;

use phasegate_core::config::{ConfigKind, Reference, original};
use serde_json::{Map, Value, json};

/// Where the pods' specification is in a Deployment.
const PODS: &str = "/spec/template/spec";
/// The lists of containers that may refer to them.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// Visits every name by which a pod's specification refers to a ConfigMap or a Secret.
fn each(pods: &mut Value, visit: &mut dyn FnMut(ConfigKind, &mut String)) {
    for list in CONTAINERS {
        for container in items(pods, list) {
            for variable in items(container, "env") {
                for (field, kind) in [
                    ("configMapKeyRef", ConfigKind::ConfigMap),
                    ("secretKeyRef", ConfigKind::Secret),
                ] {
                    let source = variable.get_mut("valueFrom");
                    named(source.and_then(|s| s.get_mut(field)), "name", kind, visit);
                }
            }
            for source in items(container, "envFrom") {
                named(
                    source.get_mut("configMapRef"),
                    "name",
                    ConfigKind::ConfigMap,
                    visit,
                );
                named(
                    source.get_mut("secretRef"),
                    "name",
                    ConfigKind::Secret,
                    visit,
                );
            }
        }
    }
    for volume in items(pods, "volumes") {
        named(
            volume.get_mut("configMap"),
            "name",
            ConfigKind::ConfigMap,
            visit,
        );
        named(
            volume.get_mut("secret"),
            "secretName",
            ConfigKind::Secret,
            visit,
        );
        if let Some(projected) = volume.get_mut("projected") {
            for source in items(projected, "sources") {
                named(
                    source.get_mut("configMap"),
                    "name",
                    ConfigKind::ConfigMap,
                    visit,
                );
                named(source.get_mut("secret"), "name", ConfigKind::Secret, visit);
            }
        }
    }
}

fn items<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    let list = value.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn named(
    place: Option<&mut Value>,
    field: &str,
    kind: ConfigKind,
    visit: &mut dyn FnMut(ConfigKind, &mut String),
) {
    if let Some(Value::String(name)) = place.and_then(|place| place.get_mut(field)) {
        visit(kind, name);
    }
}

/// The names by which a Deployment's pods refer to that or to a copy of it.
pub(super) fn names(deployment: &Value, kind: ConfigKind, of: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut pods = deployment.pointer(PODS).cloned().unwrap_or_default();
    each(&mut pods, &mut |found, name| {
        if found == kind && original(name) == of {
            names.insert(name.clone());
        }
    });
    names
}

/// All that a pod's specification refers to.
pub(super) fn all(pods: &Value) -> BTreeSet<(ConfigKind, String)> {
    let mut all = BTreeSet::new();
    each(&mut pods.clone(), &mut |kind, name| {
        all.insert((kind, name.clone()));
    });
    all
}

/// Whether the Deployment's pods refer to all of these, by no other name.
pub(super) fn refers(deployment: &Value, references: &[Reference]) -> bool {
    references.iter().all(|reference| {
        let names = names(deployment, reference.kind, &reference.of);
        names.iter().all(|name| *name == reference.name)
    })
}

/// Leads what refers to one of these to where it is to refer to.
pub(super) fn rewrite(pods: &mut Value, references: &[Reference]) {
    each(pods, &mut |kind, name| {
        let mut all = references.iter();
        let wanted = all.find(|wanted| wanted.kind == kind && wanted.of == original(name));
        if let Some(wanted) = wanted {
            name.clone_from(&wanted.name);
        }
    });
}

/// Leads what refers to a copy to what that is a copy of, so that templates which differ in their copies are equal.
pub(super) fn rewrite_to_originals(pods: &mut Value) {
    each(pods, &mut |_, name| {
        if original(name) != name {
            *name = original(name).to_owned();
        }
    });
}

/// The fields of the pods' specification that differ once it refers to these, as a strategic merge patch has them.
pub(super) fn patch(deployment: &Value, references: &[Reference]) -> Map<String, Value> {
    let before = deployment.pointer(PODS).cloned().unwrap_or_default();
    let mut after = before.clone();
    rewrite(&mut after, references);
    let mut patch = Map::new();
    for list in CONTAINERS {
        let changed: Vec<Value> = pairs(&before, &after, list)
            .filter_map(|(before, after)| container(before, after))
            .collect();
        if !changed.is_empty() {
            patch.insert(list.to_owned(), changed.into());
        }
    }
    let volumes: Vec<Value> = pairs(&before, &after, "volumes")
        .filter(|(before, after)| before != after)
        .map(|(_, after)| after.clone())
        .collect();
    if !volumes.is_empty() {
        patch.insert("volumes".to_owned(), volumes.into());
    }
    patch
}

fn pairs<'a>(
    before: &'a Value,
    after: &'a Value,
    list: &str,
) -> impl Iterator<Item = (&'a Value, &'a Value)> + use<'a> {
    let of = |value: &'a Value| {
        let list = value.get(list).and_then(Value::as_array);
        list.into_iter().flatten()
    };
    of(before).zip(of(after))
}

/// What differs of a container; none where nothing does.
fn container(before: &Value, after: &Value) -> Option<Value> {
    let mut changed = Map::new();
    let env: Vec<Value> = pairs(before, after, "env")
        .filter(|(before, after)| before != after)
        .map(|(_, after)| after.clone())
        .collect();
    if !env.is_empty() {
        changed.insert("env".to_owned(), env.into());
    }
    // A patch replaces this list as a whole.
    if before.get("envFrom") != after.get("envFrom") {
        let all = after.get("envFrom").cloned().unwrap_or_default();
        changed.insert("envFrom".to_owned(), all);
    }
    if changed.is_empty() {
        return None;
    }
    let name = after.get("name").cloned().unwrap_or_default();
    changed.insert("name".to_owned(), name);
    Some(changed.into())
}

/// Puts an image into such a patch.
pub(super) fn with_image(patch: &mut Map<String, Value>, container: &str, image: &str) {
    let list = patch
        .entry("containers")
        .or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = list.as_array_mut() else {
        return;
    };
    let found = list
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .find(|fields| fields.get("name").and_then(Value::as_str) == Some(container));
    match found {
        Some(fields) => {
            fields.insert("image".to_owned(), image.into());
        }
        None => list.push(json!({"name": container, "image": image})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"spec": {"template": {"spec": {
            "initContainers": [{"name": "setup", "envFrom": [{"configMapRef": {"name": "flags"}}]}],
            "containers": [
                {"name": "app", "image": "a:1",
                 "env": [
                     {"name": "PLAIN", "value": "1"},
                     {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "level"}}},
                     {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "flags", "key": "k"}}},
                 ],
                 "envFrom": [{"configMapRef": {"name": "other"}}, {"secretRef": {"name": "keys"}}]},
                {"name": "sidecar"},
            ],
            "volumes": [
                {"name": "a", "configMap": {"name": "flags-pg0123456789"}},
                {"name": "b", "secret": {"secretName": "keys"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "flags"}}, {"secret": {"name": "keys"}}]}},
                {"name": "d", "emptyDir": {}},
            ],
        }}}})
    }

    fn reference(kind: ConfigKind, of: &str, name: &str) -> Reference {
        let (of, name) = (of.to_owned(), name.to_owned());
        Reference { kind, of, name }
    }

    #[test]
    fn every_place_that_refers_is_found_and_nothing_else_is_written() {
        let found = deployment();
        let names = |kind, of| names(&found, kind, of).into_iter().collect::<Vec<_>>();
        assert_eq!(
            names(ConfigKind::ConfigMap, "flags"),
            ["flags", "flags-pg0123456789"]
        );
        assert_eq!(names(ConfigKind::Secret, "keys"), ["keys"]);
        assert!(names(ConfigKind::ConfigMap, "keys").is_empty());
        let wanted = [
            reference(ConfigKind::ConfigMap, "flags", "flags-pgaaaaaaaaaa"),
            reference(ConfigKind::Secret, "keys", "keys-pgbbbbbbbbbb"),
        ];
        let mut patch = patch(&found, &wanted);
        with_image(&mut patch, "app", "a:2");
        assert_eq!(
            Value::Object(patch),
            json!({
                "initContainers": [{"name": "setup", "envFrom": [{"configMapRef": {"name": "flags-pgaaaaaaaaaa"}}]}],
                "containers": [{"name": "app", "image": "a:2",
                    "env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "flags-pgaaaaaaaaaa", "key": "level"}}}],
                    "envFrom": [{"configMapRef": {"name": "other"}}, {"secretRef": {"name": "keys-pgbbbbbbbbbb"}}]}],
                "volumes": [
                    {"name": "a", "configMap": {"name": "flags-pgaaaaaaaaaa"}},
                    {"name": "b", "secret": {"secretName": "keys-pgbbbbbbbbbb"}},
                    {"name": "c", "projected": {"sources": [{"configMap": {"name": "flags-pgaaaaaaaaaa"}}, {"secret": {"name": "keys-pgbbbbbbbbbb"}}]}},
                ],
            })
        );
    }

    #[test]
    fn templates_that_differ_in_copies_alone_are_equal() {
        let mut one = deployment();
        let mut other = one.clone();
        let wanted = [reference(
            ConfigKind::ConfigMap,
            "flags",
            "flags-pgaaaaaaaaaa",
        )];
        if let Some(pods) = other.pointer_mut(PODS) {
            rewrite(pods, &wanted);
        }
        assert!(refers(&other, &wanted) && !refers(&one, &wanted));
        assert_ne!(one, other);
        for deployment in [&mut one, &mut other] {
            if let Some(pods) = deployment.pointer_mut(PODS) {
                rewrite_to_originals(pods);
            }
        }
        assert_eq!(one, other);
    }
}
