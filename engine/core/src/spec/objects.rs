//! What manifests of an action describe: checked, and made ready to be applied. Their text stands in the plan and is
//! pinned by its digest, so that whoever drives the run later needs no file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::release::{Loaded, Workload};
use crate::diagnostic::{Diagnostic, codes, looks_secret, secret_value};

/// The field of an action's config that takes what manifests describe.
pub const OBJECTS: &str = "objects";
/// Most objects of one action.
const MAX_OBJECTS: usize = 50;
/// Most bytes of them. A plan of a journal in a cluster has to have room for several actions' objects.
const MAX_BYTES: usize = 256 << 10;
/// What the names of the engine's own ConfigMaps and Leases begin with.
const OWN: &str = "phasegate-";
/// What is an object's history and no wish.
const HISTORY: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Kinds that say where requests go, in lower case.
const ROUTES: [&str; 3] = ["httproute", "virtualservice", "ingress"];
/// The group whose objects say under `secretKey` how a secret is called.
const EXTERNAL_SECRETS: &str = "external-secrets.io";
/// Members of an object, and of its metadata, that set nothing where they are empty, and would be taken for all that is
/// there.
const MAPS: [&str; 2] = ["data", "binaryData"];
const METADATA_MAPS: [&str; 2] = ["labels", "annotations"];

/// Gives actions what their manifests describe; `read` reads those of one action.
///
/// # Errors
/// A coded fault for each action whose manifests can't be read or are not for it.
pub fn fill(
    loaded: &mut Loaded,
    mut read: impl FnMut(&super::release::Manifests) -> Result<Vec<Value>, Diagnostic>,
) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut filled = BTreeMap::new();
    for (pointer, act) in loaded.release.acts() {
        let Some(manifests) = &act.manifests else {
            continue;
        };
        match read(manifests).and_then(|objects| ready(loaded, objects)) {
            Ok(objects) => {
                filled.insert(pointer, objects);
            }
            Err(fault) => {
                let place = loaded.document.place(&format!("{pointer}/manifests"));
                faults.push(fault.at(place));
            }
        }
    }
    for (pointer, act) in loaded.release.acts_mut() {
        if let Some(objects) = filled.remove(&pointer)
            && let Some(config) = act.config.as_object_mut()
        {
            config.insert(OBJECTS.to_owned(), Value::Array(objects));
        }
    }
    faults
}

/// The objects as they are applied, in their order.
fn ready(loaded: &Loaded, objects: Vec<Value>) -> Result<Vec<Value>, Diagnostic> {
    if objects.is_empty() {
        return Err(unfit("the manifests describe nothing")
            .expected("at least one object")
            .found("none"));
    }
    if objects.len() > MAX_OBJECTS {
        let message = "the manifests of one action describe too many objects";
        return Err(Diagnostic::new(codes::TOO_MANY, message)
            .expected(format!("at most {MAX_OBJECTS}"))
            .found(objects.len().to_string()));
    }
    let mut seen = BTreeSet::new();
    let mut bytes = 0_usize;
    let mut made = Vec::with_capacity(objects.len());
    for mut object in objects {
        let name = in_words(&object)?;
        own(loaded, &object, &name)?;
        in_plain_sight(&object, &name)?;
        settle(&mut object, &loaded.namespace);
        bytes = bytes.saturating_add(object.to_string().len());
        let (group, kind) = kind_of(&object);
        if !seen.insert((
            group.to_owned(),
            kind.to_ascii_lowercase(),
            text(&object, "/metadata/name").to_owned(),
        )) {
            return Err(unfit(format!("{name} is described twice"))
                .expected("each object once")
                .found("two of them"));
        }
        made.push(object);
    }
    if bytes > MAX_BYTES {
        let message = "the manifests of one action describe too much";
        return Err(Diagnostic::new(codes::FILE_TOO_BIG, message)
            .expected(format!("at most {MAX_BYTES} bytes of JSON"))
            .found(format!("{bytes} bytes"))
            .hint("a plan holds them: have several actions apply them, or fewer"));
    }
    Ok(made)
}

/// `NetworkPolicy shop`; a fault where an object doesn't say so much.
fn in_words(object: &Value) -> Result<String, Diagnostic> {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    let missing = [
        ("apiVersion", text(object, "/apiVersion")),
        ("kind", kind),
        ("metadata.name", name),
    ]
    .into_iter()
    .find(|(_, said)| said.is_empty());
    match missing {
        Some((field, _)) => Err(unfit("a manifest doesn't say which object it describes")
            .expected("`apiVersion`, `kind` and `metadata.name`, each a text")
            .found(format!("no `{field}` in {kind} {name}"))),
        None => Ok(format!("{kind} {name}")),
    }
}

/// Refuses what isn't the action's: Secrets, other namespaces, and what the release changes by itself.
fn own(loaded: &Loaded, object: &Value, name: &str) -> Result<(), Diagnostic> {
    let (group, kind) = kind_of(object);
    // A request is made for a kind in lower case, however it is written.
    let kind = kind.to_ascii_lowercase();
    let kind = kind.as_str();
    let named = text(object, "/metadata/name");
    if group.is_empty() && kind == "secret" {
        return Err(unfit(format!("{name} isn't applied by an action"))
            .expected("no Secret: its content would stand in the plan and in the journal")
            .found("one")
            .hint("Secrets that belong to the new version are versioned with it: `configs` of the workload"));
    }
    let namespace = text(object, "/metadata/namespace");
    if !namespace.is_empty() && namespace != loaded.namespace {
        return Err(unfit(format!("{name} is of another namespace"))
            .expected(format!("`{}`, or none", loaded.namespace))
            .found(format!("`{namespace}`")));
    }
    if group.is_empty() && kind == "configmap" && named.starts_with(OWN) {
        return Err(unfit(format!("{name} has a name of the engine's own"))
            .expected(format!("one that doesn't begin with `{OWN}`"))
            .found(format!("`{named}`")));
    }
    for (_, workload) in loaded.release.workloads() {
        if let Some(why) = deployed(workload, object, (group, kind), named) {
            return Err(unfit(format!("{name} is changed by the release itself"))
                .expected("an object that isn't the workload's")
                .found(why)
                .hint(
                    "a change to it in the middle of the run would be taken for somebody else's",
                ));
        }
    }
    Ok(())
}

/// Why an object is one that the release changes for its workload, if it is. The kind is in lower case.
fn deployed(
    workload: &Workload,
    object: &Value,
    (group, kind): (&str, &str),
    named: &str,
) -> Option<String> {
    let service = workload.service.as_deref();
    let called = workload.called();
    match (group, kind) {
        ("", "service") if service == Some(named) => Some(format!("the Service of {called}")),
        ("", "configmap")
            if workload
                .configs
                .iter()
                .any(|config| config.config_map.as_deref() == Some(named)) =>
        {
            Some(format!("a ConfigMap that is versioned with {called}"))
        }
        ("autoscaling", "horizontalpodautoscaler")
            if scales(workload, text(object, "/spec/scaleTargetRef/name")) =>
        {
            Some(format!("the autoscaler of {called}"))
        }
        (_, route) if ROUTES.contains(&route) && workload.router.is_some() => {
            let spec = object.get("spec")?;
            let service = service?;
            leads_to(spec, service)
                .then(|| format!("a route to {service}, which {called}'s router sets"))
        }
        _ => None,
    }
}

/// Whether a Deployment of that name is the workload's, or that of one of its colours.
fn scales(workload: &Workload, scaled: &str) -> bool {
    let colour = || {
        let rest = scaled.strip_prefix(&workload.deployment)?;
        let colours = workload.colours.as_ref()?;
        let named = rest.strip_prefix('-')?;
        Some(colours.values.iter().any(|value| value == named))
    };
    scaled == workload.deployment || colour() == Some(true)
}

/// Whether a text in it is the Service's name, or a host that begins with it.
fn leads_to(value: &Value, service: &str) -> bool {
    match value {
        Value::String(text) => text.split('.').next() == Some(service),
        Value::Array(items) => items.iter().any(|item| leads_to(item, service)),
        Value::Object(fields) => fields.values().any(|field| leads_to(field, service)),
        _ => false,
    }
}

/// Refuses secrets in other objects than Secrets.
fn in_plain_sight(object: &Value, name: &str) -> Result<(), Diagnostic> {
    let data = object.get("data").and_then(Value::as_object);
    let mut data = data.into_iter().flatten();
    if let Some((key, _)) = data.find(|(key, value)| names_a_secret(key) && says(value)) {
        return Err(secret(name, &format!("`{key}`")));
    }
    let names: &[&str] = match kind_of(object).0 {
        EXTERNAL_SECRETS => &["secretKey"],
        _ => &[],
    };
    without_secrets(object, name, names)
}

/// Refuses secrets in a value; under `names` are no secrets, only how they are called.
fn without_secrets(value: &Value, name: &str, names: &[&str]) -> Result<(), Diagnostic> {
    let found = match value {
        Value::Object(fields) => {
            // As a container's environment has it.
            if let (Some(Value::String(key)), Some(value)) =
                (fields.get("name"), fields.get("value"))
                && names_a_secret(key)
                && says(value)
            {
                return Err(secret(name, &format!("`{key}`")));
            }
            for (key, value) in fields {
                if looks_secret(key) && !names.contains(&key.as_str()) && says(value) {
                    return Err(secret(name, &format!("`{key}`")));
                }
                without_secrets(value, name, names)?;
            }
            None
        }
        Value::Array(items) => {
            for item in items {
                without_secrets(item, name, names)?;
            }
            None
        }
        Value::String(text) => secret_value(text),
        _ => None,
    };
    match found {
        Some(found) => Err(secret(name, found)),
        None => Ok(()),
    }
}

/// Whether a value is a text with something in it.
fn says(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// Whether a name that somebody has chosen is a secret's, as a whole or in its last words: `DB_PASSWORD`.
fn names_a_secret(name: &str) -> bool {
    let ends = name.match_indices(['_', '-', '.']);
    let ends = ends.filter_map(|(at, _)| name.get(at + 1..));
    looks_secret(name) || ends.into_iter().any(looks_secret)
}

fn secret(name: &str, found: &str) -> Diagnostic {
    let message = format!("{name} holds a secret in plain sight");
    Diagnostic::new(codes::SECRET_IN_CONFIG, message)
        .expected("no secret: what is applied stands in the plan and in the journal")
        .found(found)
        .hint("put it into a Secret, and refer to that")
}

/// Takes off what is no wish, and says which namespace is meant.
fn settle(object: &mut Value, namespace: &str) {
    without_nulls(object);
    without_empty(object, &MAPS);
    without_empty_metadata(object);
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    fields.remove("status");
    let metadata = fields.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        metadata.retain(|name, _| !HISTORY.contains(&name.as_str()));
        metadata.insert("namespace".to_owned(), namespace.into());
    }
}

/// Nothing is set by a null, and nobody owns it.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn without_empty(object: &mut Value, names: &[&str]) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, field| {
            let empty = field.as_object().is_some_and(serde_json::Map::is_empty);
            !(empty && names.contains(&name.as_str()))
        });
    }
}

/// Takes empty labels and annotations off, also in the templates of an object.
fn without_empty_metadata(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "metadata" {
                    without_empty(field, &METADATA_MAPS);
                }
                without_empty_metadata(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty_metadata),
        _ => {}
    }
}

/// The API group, empty for the core one, and the kind of an object.
#[must_use]
pub fn kind_of(object: &Value) -> (&str, &str) {
    let version = text(object, "/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    (group, text(object, "/kind"))
}

/// The objects of an action's config that manifests describe.
#[must_use]
pub fn of(config: &Value) -> &[Value] {
    let objects = config.get(OBJECTS).and_then(Value::as_array);
    objects.map_or(&[], Vec::as_slice)
}

/// Their kinds and names, for people.
#[must_use]
pub fn named(config: &Value) -> String {
    let names = of(config).iter();
    let names = names.map(|one| format!("{} {}", text(one, "/kind"), text(one, "/metadata/name")));
    names.collect::<Vec<_>>().join(", ")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn unfit(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(codes::MANIFEST_NOT_APPLIED, message)
}

#[cfg(test)]
mod tests;
