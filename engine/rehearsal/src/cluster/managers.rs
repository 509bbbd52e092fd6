//! Who owns which field: `metadata.managedFields`, kept on every write, and server-side apply.

use phasegate_core::time::Timestamp;
use serde_json::{Value, json};

use super::fields::{Difference, Fields, lay_over, remove, without_nulls};
use super::json as path;
use super::status::Failure;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) subresource: &'a str,
    pub(super) at: Timestamp,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    fields: Fields,
}

impl Entry {
    fn read(value: &Value) -> Self {
        let text = |name: &str| path::text(value, &[name]).to_owned();
        Self {
            manager: text("manager"),
            operation: text("operation"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Fields::read(path::at(value, &["fieldsV1"])),
        }
    }

    fn write(&self) -> Value {
        let mut out = json!({
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.write(),
        });
        if !self.subresource.is_empty() {
            path::set(&mut out, &["subresource"], self.subresource.as_str());
        }
        out
    }

    fn is(&self, writer: &Writer<'_>, operation: &str) -> bool {
        self.manager == writer.manager
            && self.subresource == writer.subresource
            && self.operation == operation
    }

    fn describe(&self) -> String {
        let mut out = format!("\"{}\"", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if self.operation == "Update" {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    path::list(object, &["metadata", "managedFields"])
        .iter()
        .map(Entry::read)
        .collect()
}

fn put_entries(object: &mut Value, entries: &[Entry]) {
    let kept: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(Entry::write)
        .collect();
    if kept.is_empty() {
        path::take(object, &["metadata", "managedFields"]);
    } else {
        path::set(object, &["metadata", "managedFields"], kept);
    }
}

/// Records who changed what by a create, an update or a patch. `new` has the managed fields of `old`.
pub(super) fn track(old: &Value, new: &mut Value, writer: &Writer<'_>) {
    let difference = Difference::between(old, new, writer.subresource == "status");
    if difference.is_empty() {
        return;
    }
    let mut entries = entries(old);
    for entry in &mut entries {
        if !entry.is(writer, "Update") {
            entry.fields.subtract(&difference.changed);
        }
        entry.fields.subtract(&difference.removed);
    }
    if !difference.changed.is_empty() {
        claim(&mut entries, new, writer, "Update", |fields| {
            fields.union(&difference.changed)
        });
    }
    put_entries(new, &entries);
}

fn claim(
    entries: &mut Vec<Entry>,
    object: &Value,
    writer: &Writer<'_>,
    operation: &str,
    change: impl FnOnce(&mut Fields),
) {
    let time = path::seconds(writer.at);
    match entries.iter_mut().find(|entry| entry.is(writer, operation)) {
        Some(entry) => {
            change(&mut entry.fields);
            entry.time = time;
        }
        None => {
            let mut fields = Fields::default();
            change(&mut fields);
            entries.push(Entry {
                manager: writer.manager.to_owned(),
                operation: operation.to_owned(),
                api_version: path::text(object, &["apiVersion"]).to_owned(),
                subresource: writer.subresource.to_owned(),
                time,
                fields,
            });
        }
    }
}

/// What an object becomes when a configuration is applied to it, ownership included.
pub(super) fn apply(
    live: &Value,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Failure> {
    let mut config = config.clone();
    without_nulls(&mut config);
    let with_status = writer.subresource == "status";
    if !with_status {
        path::take(&mut config, &["status"]);
    }
    path::take(&mut config, &["metadata", "managedFields"]);
    let wanted = Fields::of(&config, with_status);
    let mut merged = live.clone();
    for name in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        path::take(&mut config, &["metadata", name]);
    }
    lay_over("", &mut merged, &config);

    let mut entries = entries(live);
    let difference = Difference::between(live, &merged, with_status);
    let mut conflicts = Vec::new();
    let mut others = Fields::default();
    for entry in entries
        .iter_mut()
        .filter(|entry| !entry.is(writer, "Apply"))
    {
        let taken = entry.fields.intersection(&difference.changed);
        if !taken.is_empty() {
            if force {
                entry.fields.subtract(&taken);
            } else {
                conflicts.push((entry.describe(), taken.paths()));
            }
        }
        others.union(&entry.fields);
    }
    if !conflicts.is_empty() {
        return Err(Failure::apply_conflict(&conflicts));
    }
    let before = entries
        .iter()
        .find(|entry| entry.is(writer, "Apply"))
        .map(|entry| entry.fields.clone());
    if let Some(mut dropped) = before.clone() {
        dropped.subtract(&wanted);
        dropped.subtract(&others);
        let mut keep = wanted.clone();
        keep.union(&others);
        remove(&mut merged, &dropped, &keep);
    }
    // The time of an entry says when it changed, so that applying the same again changes nothing.
    if before.as_ref() != Some(&wanted) {
        claim(&mut entries, &merged, writer, "Apply", |fields| {
            *fields = wanted
        });
    }
    put_entries(&mut merged, &entries);
    Ok(merged)
}
