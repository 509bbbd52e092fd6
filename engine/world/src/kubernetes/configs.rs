//! Copies of ConfigMaps and Secrets that are versioned with a release.
//!
//! A copy is made once, immutable, and never written again. A Secret's content is read here at the moment of its
//! copy, and for which of its keys differ, and goes nowhere else.

use std::collections::BTreeMap;

use ::http::Method;
use phasegate_core::config::{
    self, ConfigCopy, ConfigKind, Content, Versioned, copy_of_data, copy_of_object,
};
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, ConfigAsked, Found, Stamp};
use serde_json::{Map, Value, json};

use super::fault::{self, Fault};
use super::fence::{MADE_BY, attempted, crowded, deleting, marks_of, not_marked_later, ours};
use super::path::{Resource, with_query};
use super::{
    FIELD_MANAGER, JSON, KubeCluster, Problem, WRITE_ATTEMPTS, call, deployment, effect,
    references, rotation, slot, templates, text,
};

/// Annotation that says what a copy is one of.
pub(super) const COPY_OF: &str = "phasegate.dev/copy-of";

pub(super) fn resource(kind: ConfigKind) -> Resource {
    match kind {
        ConfigKind::ConfigMap => Resource::config_maps(),
        ConfigKind::Secret => Resource::fixed("", "v1", "secrets"),
        ConfigKind::Template => templates::resource(),
    }
}

/// A refusal without the words of whoever refused: a webhook may quote the Secret that it was shown.
fn unquoted(mut problem: Problem) -> Problem {
    if let Fault::Refused(refusal) = &mut problem.fault {
        let words = match refusal.message.contains(fault::STORAGE) {
            true => fault::STORAGE,
            false => "",
        };
        refusal.message = format!("{words}its words are not kept, as they may quote the Secret");
    }
    problem
}

impl KubeCluster {
    pub(super) async fn read_versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.deployment(target).await?;
        let idle = self.candidate(target).await?;
        let mut versions = Vec::new();
        for asked in asked {
            let before = referred(&found, target, asked)?;
            let idle = idle.as_ref().and_then(|(_, idle)| {
                let names = references::names(idle, asked.kind, asked.of);
                names.into_iter().next()
            });
            versions.push(self.version(target, asked, before, idle).await?);
        }
        Ok(versions)
    }

    async fn version(
        &self,
        target: &Target,
        asked: &ConfigAsked<'_>,
        before: String,
        idle: Option<String>,
    ) -> Result<Versioned, Failure> {
        let (kind, of) = (asked.kind, asked.of);
        let (name, content, new) = match asked.data {
            Some(data) => (
                copy_of_data(&target.workload, of, data),
                Content::Release { data: data.clone() },
                data.clone(),
            ),
            None if kind == ConfigKind::Secret => {
                return self.secret_version(target, asked, before, idle).await;
            }
            None => {
                let source = self.config(target, kind, of).await?;
                let source = source.ok_or_else(|| missing(target, kind, of))?;
                let (uid, version) = identity(&source);
                let name = copy_of_object(&target.workload, of, uid, version);
                let (uid, version) = (uid.to_owned(), version.to_owned());
                (name, Content::Cluster { uid, version }, values(&source))
            }
        };
        let there = self.copy_is_there(target, kind, of, &name).await?;
        let old = self.config(target, kind, &before).await?;
        let old = old.as_ref().map(values).unwrap_or_default();
        let shown = kind == ConfigKind::ConfigMap;
        Ok(Versioned {
            copy: ConfigCopy {
                kind,
                of: of.to_owned(),
                name,
                content,
            },
            before,
            idle,
            there,
            changes: config::differences(&old, &new, shown),
        })
    }

    /// Whether there is a copy of that name that can be referred to.
    pub(super) async fn copy_is_there(
        &self,
        target: &Target,
        kind: ConfigKind,
        of: &str,
        name: &str,
    ) -> Result<bool, Failure> {
        let there = self.config(target, kind, name).await?;
        let there = there.filter(|there| !deleting(there));
        if there.as_ref().is_some_and(|there| !immutable(there)) {
            return Err(Failure::new(
                Kind::Conflict,
                codes::CONFLICT,
                format!(
                    "the {} `{name}` has the name of a copy of `{of}` and can be changed: expected an immutable one, as the engine makes it; delete it",
                    kind.as_str()
                ),
            ));
        }
        Ok(there.is_some())
    }

    pub(super) async fn config(
        &self,
        target: &Target,
        kind: ConfigKind,
        name: &str,
    ) -> Result<Option<Value>, Problem> {
        self.find_one(&resource(kind), &target.namespace, name)
            .await
    }

    pub(super) async fn write_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            newest = self.copy_once(target, copy, stamp).await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        Err(crowded(copy.kind.as_str(), &copy.name, newest))
    }

    async fn copy_once(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<Option<Problem>, ChangeError> {
        if let Some(found) = self.config(target, copy.kind, &copy.name).await? {
            let what = copy.kind.as_str();
            if deleting(&found) {
                return Err(ChangeError::Failed(Failure::new(
                    Kind::Retryable,
                    codes::CONFLICT,
                    format!("the {what} `{}` is still being deleted", copy.name),
                )));
            }
            let marks = deployment::marks(&found);
            if !ours(&marks, stamp) {
                return Err(slot::not_ours(what, &copy.name, &marks, stamp).into());
            }
            // It is immutable, and was made by this run: there is nothing to write.
            not_marked_later(&marks, target, stamp)?;
            return Ok(None);
        }
        let object = self.copied_object(target, copy, stamp).await?;
        self.not_overtaken(target, stamp).await?;
        let mut call = call(
            Method::POST,
            "create",
            &resource(copy.kind),
            &target.namespace,
            "",
        )?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let call = call.body(JSON, object).remark(effect(&stamp.key));
        let made = self.transport.one(call).await;
        attempted(match copy.kind {
            ConfigKind::Secret => made.map_err(unquoted),
            ConfigKind::ConfigMap | ConfigKind::Template => made,
        })
    }

    /// The copy as it is made. What is copied must still be what was planned with.
    async fn copied_object(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<Value, Failure> {
        let mut object = Map::new();
        let mut annotations = marks_of(stamp);
        match &copy.content {
            Content::Manifest { .. } | Content::Live { .. } => {
                let (template, digest) = self.template_to_copy(target, copy).await?;
                object.insert("template".to_owned(), template);
                annotations.insert(templates::DIGEST.to_owned(), digest.into());
            }
            Content::Release { data } => {
                object.insert("data".to_owned(), json!(data));
            }
            Content::Cluster { uid, version } => {
                object = self
                    .as_planned(target, copy.kind, &copy.of, uid, version)
                    .await?;
            }
            Content::Rotated {
                base,
                uid,
                version,
                source,
                keys,
                earlier,
            } => {
                object = self
                    .as_planned(target, copy.kind, base, uid, version)
                    .await?;
                let values = self.values.of(keys, &copy.of, &stamp.key).await?;
                // The API server puts these in place of what stands there.
                object.insert("stringData".to_owned(), values);
                annotations.extend(rotation::notes(source, keys, earlier));
            }
        }
        annotations.insert(MADE_BY.to_owned(), stamp.run.as_str().into());
        annotations.insert(COPY_OF.to_owned(), copy.of.as_str().into());
        object.insert("apiVersion".to_owned(), "v1".into());
        object.insert("kind".to_owned(), copy.kind.as_str().into());
        // A PodTemplate has no such field: what somebody changed is told by its digest.
        if copy.kind != ConfigKind::Template {
            object.insert("immutable".to_owned(), true.into());
        }
        let metadata = json!({
            "name": copy.name,
            "namespace": target.namespace,
            "labels": {"app.kubernetes.io/managed-by": "phasegate"},
            "annotations": annotations,
        });
        object.insert("metadata".to_owned(), metadata);
        Ok(Value::Object(object))
    }

    /// What an object holds, if it is still the one that was planned with.
    async fn as_planned(
        &self,
        target: &Target,
        kind: ConfigKind,
        name: &str,
        uid: &str,
        version: &str,
    ) -> Result<Map<String, Value>, Failure> {
        let source = self.config(target, kind, name).await?;
        let mut source = source.ok_or_else(|| missing(target, kind, name))?;
        if identity(&source) != (uid, version) {
            return Err(Failure::new(
                Kind::Permanent,
                codes::CONFLICT,
                format!(
                    "the {} `{name}` was changed since the run was planned: expected version {version}, found {}; plan again",
                    kind.as_str(),
                    text(&source, "/metadata/resourceVersion")
                ),
            ));
        }
        let mut held = Map::new();
        for field in ["data", "binaryData", "type"] {
            if let Some(value) = source.get_mut(field).map(Value::take) {
                held.insert(field.to_owned(), value);
            }
        }
        Ok(held)
    }

    pub(super) async fn delete_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.config(target, copy.kind, &copy.name).await?;
            let Some(found) = found.filter(|found| !deleting(found)) else {
                return Ok(());
            };
            let marks = deployment::marks(&found);
            if !ours(&marks, stamp) {
                return Err(slot::not_ours(copy.kind.as_str(), &copy.name, &marks, stamp).into());
            }
            not_marked_later(&marks, target, stamp)?;
            self.nobody_refers(target, copy).await?;
            self.not_overtaken(target, stamp).await?;
            newest = self
                .delete_found(&resource(copy.kind), &found, target, stamp)
                .await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        Err(crowded(copy.kind.as_str(), &copy.name, newest))
    }

    /// Refuses to take away what pods of stable or of the candidate would be started with.
    async fn nobody_refers(&self, target: &Target, copy: &ConfigCopy) -> Result<(), Failure> {
        let mut all = vec![self.deployment(target).await?];
        let candidate = self.candidate(target).await?;
        all.extend(candidate.map(|(_, candidate)| candidate));
        for found in all.iter().filter(|found| !deleting(found)) {
            let refers = match copy.kind {
                ConfigKind::Template => templates::is_held_by(target, found, copy),
                kind => references::names(found, kind, &copy.of).contains(&copy.name),
            };
            if refers {
                return Err(Failure::new(
                    Kind::Conflict,
                    codes::CONFLICT,
                    format!(
                        "the Deployment `{}` still refers to the {} `{}`, which was made for the version that goes",
                        text(found, "/metadata/name"),
                        copy.kind.as_str(),
                        copy.name
                    ),
                ));
            }
        }
        Ok(())
    }

    pub(super) async fn read_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
    ) -> Result<Option<Found>, Failure> {
        let found = self.config(target, copy.kind, &copy.name).await?;
        let found = found.filter(|found| !deleting(found));
        Ok(found.map(|found| Found {
            marks: deployment::marks(&found),
            minimum: None,
        }))
    }
}

/// The one name by which the Deployment's pods refer to it.
fn referred(found: &Value, target: &Target, asked: &ConfigAsked<'_>) -> Result<String, Failure> {
    let (kind, of) = (asked.kind.as_str(), asked.of);
    let mut names = references::names(found, asked.kind, of).into_iter();
    let message = match (names.next(), names.next()) {
        (Some(name), None) => return Ok(name),
        (None, _) => format!(
            "the pods of the Deployment `{}` use no {kind} `{of}`: expected it in `env`, `envFrom` or `volumes`, found it nowhere",
            target.deployment
        ),
        (Some(one), Some(other)) => format!(
            "the pods of the Deployment `{}` use several copies of the {kind} `{of}`: expected one, found `{one}` and `{other}`",
            target.deployment
        ),
    };
    Err(Failure::new(
        Kind::Permanent,
        codes::CONFIG_NOT_USED,
        message,
    ))
}

pub(super) fn missing(target: &Target, kind: ConfigKind, name: &str) -> Failure {
    Failure::new(
        Kind::Permanent,
        codes::WORKLOAD_NOT_FOUND,
        format!(
            "there is no {} `{name}` in namespace `{}`, which the release versions",
            kind.as_str(),
            target.namespace
        ),
    )
}

pub(super) fn identity(object: &Value) -> (&str, &str) {
    (
        text(object, "/metadata/uid"),
        text(object, "/metadata/resourceVersion"),
    )
}

fn immutable(object: &Value) -> bool {
    object.get("immutable").and_then(Value::as_bool) == Some(true)
}

/// What it holds, by key.
pub(super) fn values(object: &Value) -> BTreeMap<String, String> {
    let fields = ["data", "binaryData"];
    let fields = fields.iter().filter_map(|field| object.get(field));
    let pairs = fields.filter_map(Value::as_object).flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}
