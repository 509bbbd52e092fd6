//! Pod templates that are versioned with a release: kept as PodTemplates, and written to Deployments as a whole.
//!
//! Server-side apply couldn't do it: what the manifest leaves out and somebody else owns would stay. The write is a
//! replacement that carries the version which was read, and is made only where the template differs: one that is the
//! same but for what makes no other pods is left as it is, so that no pod is replaced for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use phasegate_core::config::{
    ConfigCopy, ConfigKind, Content, Reference, Versioned, copy_of_object, copy_of_template,
};
use phasegate_core::diagnostic::{codes, listed};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::TemplateAsked;
use serde_json::{Value, json};

use super::change::replacing;
use super::fence::deleting;
use super::labels::chooses;
use super::path::Resource;
use super::{KubeCluster, Problem, deployment, manifest, text};

mod differences;

/// Annotation of a copy with the digest of its template, by which one that somebody changed is told.
pub(super) const DIGEST: &str = "phasegate.dev/template-digest";
/// Where a Deployment has it.
const TEMPLATE: &str = "/spec/template";
/// Most templates of releases that are held.
const MAX_HELD: usize = 256;

/// The templates that releases bring along, by the names of their copies.
#[derive(Default)]
pub(super) struct Held(Mutex<BTreeMap<String, Value>>);

impl Held {
    fn put(&self, name: &str, template: Value) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_HELD && !held.contains_key(name) {
            held.pop_first();
        }
        held.insert(name.to_owned(), template);
    }
}

/// A template as a copy holds it.
pub(super) struct Template {
    pub(super) value: Value,
    digest: String,
}

impl Template {
    /// Whether the Deployment has it, whatever its released image and the copies of its configuration are.
    pub(super) fn is_of(&self, found: &Value, target: &Target) -> bool {
        alone(found.pointer(TEMPLATE), target) == self.digest
    }
}

impl KubeCluster {
    /// Takes templates that were held when the run was planned, by the names of their copies.
    pub fn hold(&self, templates: &BTreeMap<String, Value>) {
        for (name, template) in templates {
            self.held.put(name, template.clone());
        }
    }

    /// The template of a release that a copy is to be made of, if it is known here.
    #[must_use]
    pub fn template_held(&self, copy: &str) -> Option<Value> {
        let held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(copy).cloned()
    }

    /// What is to be made so that the workload can get the template, and get its own back. Nothing where it has it.
    pub(super) async fn read_template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure> {
        let found = self.deployment(target).await?;
        let wanted = finished(asked, &found, target)?;
        self.reached(&wanted, target).await?;
        let tried = self.tried(&found, &wanted, target).await?;
        let digest = deployment::template_digest(&tried, target);
        if digest == deployment::template_digest(&found, target) {
            return Ok(Vec::new());
        }
        let before = self.kept_of(target, &found).await?;
        let idle = match self.candidate(target).await? {
            Some((_, idle)) => Some(self.kept_of(target, &idle).await?),
            None => None,
        };
        let of = target.workload.as_str();
        let name = copy_of_template(of, of, &wanted.to_string());
        self.held.put(&name, wanted);
        let alone = alone(tried.pointer(TEMPLATE), target);
        let there = self.is_there(target, &name, Some(&alone)).await?;
        let mut changes = differences::between(found.pointer(TEMPLATE), tried.pointer(TEMPLATE));
        if !asked.others.is_empty() {
            let others = asked.others.join(", ");
            changes.push(format!("not applied from the manifests: {others}"));
        }
        let new = Versioned {
            copy: ConfigCopy {
                kind: ConfigKind::Template,
                of: of.to_owned(),
                name,
                content: Content::Manifest { digest, alone },
            },
            before: before.copy.name.clone(),
            idle: idle.as_ref().map(|idle| idle.copy.name.clone()),
            there,
            changes,
        };
        // What the way back needs comes first.
        Ok([Some(before), idle, Some(new)]
            .into_iter()
            .flatten()
            .collect())
    }

    /// Refuses a template whose pods the workload's Service would not reach.
    async fn reached(&self, wanted: &Value, target: &Target) -> Result<(), Failure> {
        let Some(name) = &target.service else {
            return Ok(());
        };
        let found = self
            .find_one(&Resource::services(), &target.namespace, name)
            .await?;
        let Some(found) = found else {
            return Ok(());
        };
        let selector = deployment::labels_at(&found, "/spec/selector");
        let labels = deployment::labels_at(wanted, "/metadata/labels");
        if selector.is_empty() || chooses(&selector, &labels) {
            return Ok(());
        }
        let selected: Vec<String> = selector
            .iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        Err(Failure::new(
            Kind::Permanent,
            codes::MANIFEST_UNFIT,
            format!(
                "the Service `{name}` would reach no pod of the release's manifest: expected its pod template to have the labels {}",
                selected.join(", ")
            ),
        ))
    }

    /// The copy that holds what a Deployment has now.
    async fn kept_of(&self, target: &Target, live: &Value) -> Result<Versioned, Failure> {
        let (of, uid) = (target.workload.as_str(), text(live, "/metadata/uid"));
        let digest = deployment::template_digest(live, target);
        let name = kept_name(target, live);
        let alone = alone(live.pointer(TEMPLATE), target);
        let there = self.is_there(target, &name, Some(&alone)).await?;
        Ok(Versioned {
            before: name.clone(),
            copy: ConfigCopy {
                kind: ConfigKind::Template,
                of: of.to_owned(),
                name,
                content: Content::Live {
                    deployment: text(live, "/metadata/name").to_owned(),
                    uid: uid.to_owned(),
                    digest,
                },
            },
            idle: None,
            there,
            changes: Vec::new(),
        })
    }

    async fn is_there(
        &self,
        target: &Target,
        name: &str,
        digest: Option<&str>,
    ) -> Result<bool, Failure> {
        let found = self.podtemplate(target, name).await?;
        let Some(found) = found.filter(|found| !deleting(found)) else {
            return Ok(false);
        };
        let template = held_by(&found, target, name)?;
        match digest.is_none_or(|digest| template.digest == digest) {
            true => Ok(true),
            false => Err(altered(name)),
        }
    }

    async fn podtemplate(&self, target: &Target, name: &str) -> Result<Option<Value>, Problem> {
        self.find_one(&resource(), &target.namespace, name).await
    }

    /// What the Deployment would be with the template, as the cluster completes it. Nothing is written.
    async fn tried(
        &self,
        found: &Value,
        template: &Value,
        target: &Target,
    ) -> Result<Value, Failure> {
        let mut object = found.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        // Whoever counts pods meanwhile is not in the way of a question.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        if let Some(there) = object.pointer_mut(TEMPLATE) {
            *there = template.clone();
        }
        let call = replacing(target, object, &[("dryRun", "All")])?;
        let answer = self.transport.one(call).await;
        answer.map_err(|problem| {
            let mut failure = Failure::from(problem);
            if failure.kind == Kind::Permanent && failure.code == codes::CLUSTER_REFUSED {
                failure.code = codes::MANIFEST_UNFIT;
                failure.message = format!("the release's manifest: {}", failure.message);
            }
            failure
        })
    }

    /// The template that fields of a Deployment refer to, if they do.
    pub(super) async fn template_of(
        &self,
        target: &Target,
        references: &[Reference],
    ) -> Result<Option<Template>, Failure> {
        let mut all = references.iter();
        let Some(wanted) = all.find(|wanted| wanted.kind == ConfigKind::Template) else {
            return Ok(None);
        };
        let found = self.podtemplate(target, &wanted.name).await?;
        let found = found.ok_or_else(|| {
            Failure::new(
                Kind::Permanent,
                codes::WORKLOAD_NOT_FOUND,
                format!(
                    "the PodTemplate `{}` is gone, which the run has made",
                    wanted.name
                ),
            )
        })?;
        held_by(&found, target, &wanted.name).map(Some)
    }

    /// What a copy is made of: its template, and the digest by which it is known.
    pub(super) async fn template_to_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
    ) -> Result<(Value, String), Failure> {
        if let Content::Live {
            deployment: name,
            uid,
            digest,
        } = &copy.content
        {
            let there = Target {
                deployment: name.clone(),
                ..target.clone()
            };
            let found = self.deployment(&there).await?;
            if text(&found, "/metadata/uid") != uid
                || deployment::template_digest(&found, target) != *digest
                || kept_name(target, &found) != copy.name
            {
                return Err(Failure::new(
                    Kind::Permanent,
                    codes::CONFLICT,
                    format!(
                        "the pod template of the Deployment `{name}` was changed since the run was planned, and is what the run would go back to; plan again"
                    ),
                ));
            }
            let template = found.pointer(TEMPLATE).cloned().unwrap_or_default();
            let alone = alone(Some(&template), target);
            return Ok((template, alone));
        }
        match (&copy.content, self.template_held(&copy.name)) {
            (Content::Manifest { alone, .. }, Some(template)) => Ok((template, alone.clone())),
            _ => Err(Failure::new(
                Kind::Permanent,
                codes::MANIFEST_GONE,
                format!(
                    "whoever drives the run doesn't have the content of the PodTemplate `{}`: it is kept beside the run, and isn't there",
                    copy.name
                ),
            )),
        }
    }
}

/// Whether the Deployment has what a copy of the release's template holds. A copy of what was there before goes though
/// the Deployment has it: that is what it is for.
pub(super) fn is_held_by(target: &Target, found: &Value, copy: &ConfigCopy) -> bool {
    match &copy.content {
        Content::Manifest { alone: digest, .. } => {
            alone(found.pointer(TEMPLATE), target) == *digest
        }
        _ => false,
    }
}

/// The name of the copy of what a Deployment has now, with its image and whatever it refers to: what the digest leaves out
/// the way back needs too.
fn kept_name(target: &Target, live: &Value) -> String {
    let of = target.workload.as_str();
    let template = live.pointer(TEMPLATE).map(Value::to_string);
    let uid = text(live, "/metadata/uid");
    copy_of_object(of, of, uid, &template.unwrap_or_default())
}

pub(super) fn resource() -> Resource {
    Resource::fixed("", "v1", "podtemplates")
}

/// The digest of a template, without the Deployment that it is of.
fn alone(template: Option<&Value>, target: &Target) -> String {
    deployment::template_digest(&json!({"spec": {"template": template}}), target)
}

/// The template of a PodTemplate, if it is what was put there.
fn held_by(found: &Value, target: &Target, name: &str) -> Result<Template, Failure> {
    let value = found.get("template").cloned().unwrap_or_default();
    let digest = alone(Some(&value), target);
    match deployment::labelled(found, "/metadata/annotations", DIGEST) {
        Some(said) if said == digest => Ok(Template { value, digest }),
        _ => Err(altered(name)),
    }
}

fn altered(name: &str) -> Failure {
    Failure::new(
        Kind::Conflict,
        codes::CONFLICT,
        format!(
            "the PodTemplate `{name}` has the name of a copy that the engine makes and another content: somebody changed it; delete it"
        ),
    )
}

/// The template of the manifest as the workload is to have it: with the release's image, and with the labels by which
/// the engine tells two Deployments of a workload apart.
fn finished(asked: &TemplateAsked<'_>, found: &Value, target: &Target) -> Result<Value, Failure> {
    let mut template = asked.template.clone();
    let unfit = |what: String| Failure::new(Kind::Permanent, codes::MANIFEST_UNFIT, what);
    let name = &target.container;
    let containers = super::items(asked.template, "/spec/containers");
    let there: Vec<&str> = containers.map(|c| text(c, "/name")).collect();
    if !there.contains(&name.as_str()) {
        let there = listed(there);
        return Err(unfit(format!(
            "the pod template of the release's manifest has no container `{name}`; it has {there}"
        )));
    }
    manifest::set_image(&mut template, name, asked.image);
    let selected = deployment::selector_labels(found);
    let apart = target.beside.as_ref().map(|beside| &beside.labels);
    if let Some(metadata) = template.as_object_mut().and_then(|template| {
        let metadata = template.entry("metadata").or_insert_with(|| json!({}));
        metadata.as_object_mut()
    }) {
        // Tools print it empty.
        metadata.remove("creationTimestamp");
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        for label in apart.into_iter().flat_map(|labels| labels.keys()) {
            if let (Some(labels), Some(value)) = (labels.as_object_mut(), selected.get(label)) {
                labels.insert(label.clone(), value.as_str().into());
            }
        }
    }
    for (label, value) in &selected {
        let said = deployment::labelled(&template, "/metadata/labels", label);
        if said != Some(value) {
            let said = said.map_or_else(|| "none".to_owned(), |said| format!("`{said}`"));
            return Err(unfit(format!(
                "the pods of the release's manifest would not be those that the Deployment `{}` selects: expected the label `{label}` to be `{value}`, found {said}; a selector can't be changed",
                target.deployment
            )));
        }
    }
    Ok(template)
}

/// Puts the template into a Deployment as it was read, in place of its own.
pub(super) fn put_into(found: &mut Value, template: &Template) {
    if let Some(spec) = found.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".to_owned(), template.value.clone());
    }
}
