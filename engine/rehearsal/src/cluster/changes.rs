//! Requests that change an object that is there: replaced, patched, applied.

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::Target;
use super::json::{at, set, text};
use super::kinds::{Info, Kind};
use super::managers::{self, Writer};
use super::protobuf::{self, Unread};
use super::request::{Answer, Request};
use super::scale::{applied_scale, scale_of, with_scale};
use super::status::{Cause, Failure};
use super::writes::{Ownership, Written};
use super::{Cluster, merge, yaml};

const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
const CUSTOM_PATCHES: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
/// What a field manager's name may have at most, as in the API server.
const MANAGER_LIMIT: usize = 128;

impl Cluster {
    pub(super) fn writer<'r>(
        &self,
        request: &'r Request,
        target: &Target<'r>,
    ) -> Result<Writer<'r>, Failure> {
        let manager = request.manager();
        if manager.len() > MANAGER_LIMIT {
            return Err(Failure::bad_request(format!(
                "fieldManager: must not have more than {MANAGER_LIMIT} bytes"
            )));
        }
        Ok(Writer {
            manager,
            subresource: target.sub,
            at: self.now,
        })
    }

    pub(super) fn put(
        &mut self,
        request: &Request,
        target: &Target<'_>,
    ) -> Result<Answer, Failure> {
        let body = if target.sub == "scale" {
            read_json(request)?
        } else {
            read_object(request, target.info)?
        };
        let name = text(&body, &["metadata", "name"]);
        if !name.is_empty() && name != target.name {
            let message = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            );
            return Err(Failure::bad_request(message));
        }
        let old = self.found(target)?;
        let unversioned = text(&body, &["metadata", "resourceVersion"]).is_empty();
        if unversioned && (target.info.custom || target.info.kind == Kind::Lease) {
            return Err(Failure::unversioned(target.info, target.name));
        }
        let new = if target.sub == "scale" {
            with_scale(&old, &body)?
        } else {
            body
        };
        self.write(request, target, &old, new, Ownership::Tracked)
    }

    fn write(
        &mut self,
        request: &Request,
        target: &Target<'_>,
        old: &Arc<Value>,
        new: Value,
        ownership: Ownership,
    ) -> Result<Answer, Failure> {
        let writer = self.writer(request, target)?;
        let dry = dry_run(request)?;
        self.log
            .object_before(text(old, &["metadata", "resourceVersion"]));
        let Written { object, changed } =
            self.replace(target.info, old, new, &writer, ownership, dry)?;
        self.log
            .object_after(text(&object, &["metadata", "resourceVersion"]), changed);
        if target.sub == "scale" {
            return Ok(Answer::json(200, &scale_of(&object)));
        }
        Ok(self.show(request, target, &object, 200))
    }

    pub(super) fn patch(
        &mut self,
        request: &Request,
        target: &Target<'_>,
    ) -> Result<Answer, Failure> {
        let kind = request
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if kind.starts_with("application/apply-patch") {
            return self.apply(request, target);
        }
        let old = self.found(target)?;
        let patch = read_json_of(&request.body)?;
        let mut shown = if target.sub == "scale" {
            scale_of(&old)
        } else {
            Value::clone(&old)
        };
        match kind {
            "application/merge-patch+json" => merge::merge(&mut shown, &patch),
            "application/strategic-merge-patch+json" if target.info.custom => {
                return Err(Failure::unsupported_media(CUSTOM_PATCHES));
            }
            "application/strategic-merge-patch+json" => {
                merge::strategic(&mut shown, &patch).map_err(Failure::bad_request)?;
            }
            "application/json-patch+json" => {
                merge::json_patch(&mut shown, &patch).map_err(|_| Failure::rejected())?
            }
            _ => return Err(Failure::unsupported_media(PATCHES)),
        }
        let new = if target.sub == "scale" {
            with_scale(&old, &shown)?
        } else {
            shown
        };
        self.write(request, target, &old, new, Ownership::Tracked)
    }

    fn apply(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        if request.param("fieldManager").is_empty() {
            return Err(Failure::no_manager());
        }
        let mut config = yaml::read(&request.body).map_err(Failure::bad_request)?;
        if target.sub == "scale" {
            config = applied_scale(&config)?;
        } else {
            check_type(&config, target.info)?;
        }
        if !at(&config, &["metadata", "managedFields"]).is_null() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        let name = text(&config, &["metadata", "name"]);
        if !name.is_empty() && name != target.name {
            return Err(Failure::bad_request(format!(
                "metadata.name: {name} does not match the name on the URL"
            )));
        }
        set(&mut config, &["metadata", "name"], target.name);
        let writer = self.writer(request, target)?;
        let force = request.flag("force");
        match self.store.get(target.info.kind, &target.key()).cloned() {
            Some(old) => {
                // Who else owns the fields is said first, then that the object is another one by now.
                let new = managers::apply(&old, &config, &writer, force)?;
                let asked = |name: &str| at(&config, &["metadata", name]);
                let differs = |name: &str| {
                    asked(name).as_str().is_some_and(|it| !it.is_empty())
                        && asked(name) != at(&old, &["metadata", name])
                };
                if differs("resourceVersion") {
                    return Err(Failure::modified(target.info, target.name));
                }
                if differs("uid") {
                    let cause = Cause::invalid("metadata.uid", asked("uid"), "field is immutable");
                    return Err(Failure::invalid(target.info, target.name, &[cause]));
                }
                self.write(request, target, &old, new, Ownership::Settled)
            }
            None => {
                if !target.sub.is_empty() {
                    return Err(Failure::not_found(target.info, target.name));
                }
                // A version alone is no hindrance: an object that is gone is made anew.
                let uid = text(&config, &["metadata", "uid"]);
                if !uid.is_empty() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(Failure::conflict(target.info, target.name, &why));
                }
                let mut start =
                    json!({"apiVersion": target.info.api_version(), "kind": target.info.name});
                set(&mut start, &["metadata", "name"], target.name);
                let new = managers::apply(&start, &config, &writer, force)?;
                let dry = dry_run(request)?;
                let written = self.create(
                    target.info,
                    target.namespace,
                    new,
                    &writer,
                    Ownership::Settled,
                    dry,
                )?;
                self.log.changed(written.changed);
                Ok(self.show(request, target, &written.object, 201))
            }
        }
    }
}

pub(super) fn dry_run(request: &Request) -> Result<bool, Failure> {
    match request.param("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(Failure::bad_request(format!(
            "dryRun: Unsupported value: \"{other}\": supported values: \"All\""
        ))),
    }
}

fn read_json_of(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("error decoding request: {error}")))
}

/// Reads the body of a create, an update or the options of a delete.
pub(super) fn read_json(request: &Request) -> Result<Value, Failure> {
    match request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
    {
        "" | "application/json" => read_json_of(&request.body),
        "application/yaml" => yaml::read(&request.body).map_err(Failure::bad_request),
        "application/vnd.kubernetes.protobuf" => {
            protobuf::read(&request.body).map_err(|unread| match unread {
                Unread::Kind => unsupported(),
                Unread::Fault(fault) => Failure::bad_request(fault),
            })
        }
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Failure {
    Failure::unsupported_media("application/json, application/yaml")
}

pub(super) fn read_object(request: &Request, info: &Info) -> Result<Value, Failure> {
    let object = read_json(request)?;
    check_type(&object, info)?;
    Ok(object)
}

fn check_type(object: &Value, info: &Info) -> Result<(), Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request(
            "error decoding request: the body is not an object",
        ));
    }
    let (version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    let fits = (version.is_empty() || version == info.api_version())
        && (kind.is_empty() || kind == info.name);
    if fits {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "the API version in the data ({version}, Kind={kind}) does not match the expected API version ({}, Kind={})",
        info.api_version(),
        info.name
    )))
}
