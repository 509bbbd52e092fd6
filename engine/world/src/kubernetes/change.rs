//! Writes to a Deployment, each a single request: to stable's by server-side apply, so that others see which
//! fields are ours and lose them knowingly.
//!
//! Server-side apply can only take away what nobody else owns. Where a write has to take away more
//! (the `rollingUpdate` settings that `Recreate` doesn't allow and that whoever made the Deployment
//! owns, or marks of ours that came about as below), it is a strategic merge patch instead. Both
//! carry the version that was read, and name the same fields.
//!
//! So is one that leads pods to other copies of their configuration: a list of sources has one owner, and applying it
//! would take it from whoever keeps the rest of the template, to be taken away with the next run.
//!
//! A whole pod template is written by replacing the object: whatever the new one leaves out goes, whoever owns it.
//!
//! The candidate's Deployment is made as a whole by another request, so that what is changed of it later
//! is a strategic merge patch in any case: applying the few fields would say that the others are not wanted.

use ::http::Method;
use phasegate_core::config::{self, ConfigKind, Reference};
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{Marks, Rollout, Target};
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Map, Value, json};

use super::fence::{MARKS, attempted, crowded, deleting, marks_of, not_marked_later, version};
use super::path::{Resource, with_query};
use super::templates::Template;
use super::transport::Call;
use super::{
    APPLY, FIELD_MANAGER, JSON, KubeCluster, Problem, STRATEGIC, WRITE_ATTEMPTS, call, deployment,
    effect, manifest, references, slot, templates, text,
};

impl KubeCluster {
    pub(super) async fn write_change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let target = &slot::at(target, change.slot)?;
        let template = self.template_of(target, &change.fields.configs).await?;
        let template = template.as_ref();
        self.refers_to_what_is_there(target, &change.fields.configs)
            .await?;
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.deployment_with_owners(target).await?;
            self.not_overtaken(target, stamp).await?;
            if check(&found, target, change, template, stamp)? == Finding::InPlace {
                return Ok(());
            }
            newest = attempted(
                match template.filter(|wanted| !wanted.is_of(&found, target)) {
                    Some(template) => {
                        let object = replaced(&found, target, change, template, stamp);
                        self.replace(object, target, stamp).await
                    }
                    None => self.apply_change(&found, target, change, stamp).await,
                },
            )?;
            if newest.is_none() {
                return Ok(());
            }
        }
        Err(crowded("Deployment", &target.deployment, newest))
    }

    /// Refuses to lead pods to a copy that somebody removed: none could start. What can't be looked at is taken to be there.
    async fn refers_to_what_is_there(
        &self,
        target: &Target,
        configs: &[Reference],
    ) -> Result<(), Failure> {
        let copies = configs.iter().filter(|reference| {
            let copy = config::original(&reference.name) != reference.name;
            copy && reference.kind != ConfigKind::Template
        });
        for Reference { kind, name, .. } in copies {
            let Ok(found) = self.config(target, *kind, name).await else {
                continue;
            };
            if found.as_ref().is_none_or(deleting) {
                let (what, at) = (kind.as_str(), &target.namespace);
                return Err(Failure::new(
                    Kind::Permanent,
                    codes::CONFLICT,
                    format!(
                        "the {what} `{name}`, to which the pods of `{}` are to be led, is gone from namespace `{at}`; nothing was written: put it back, or have the workload refer to another",
                        target.deployment
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn apply_change(
        &self,
        found: &Value,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<Value, Problem> {
        let mut call = call(
            Method::PATCH,
            "patch",
            &Resource::deployments(),
            &target.namespace,
            &target.deployment,
        )?;
        let manager = ("fieldManager", FIELD_MANAGER);
        let applies = change.slot.is_stable() && change.fields.configs.is_empty();
        let call = if applies && applying_suffices(found, change) {
            call.target = with_query(&call.target, &[manager, ("force", "true")]);
            call.body(APPLY, applied(found, target, change, stamp))
        } else {
            call.target = with_query(&call.target, &[manager]);
            call.body(STRATEGIC, patched(found, target, change, stamp))
        };
        self.transport.one(call.remark(effect(&stamp.key))).await
    }

    async fn replace(
        &self,
        object: Value,
        target: &Target,
        stamp: &Stamp,
    ) -> Result<Value, Problem> {
        let call = replacing(target, object, &[])?;
        self.transport.one(call.remark(effect(&stamp.key))).await
    }

    pub(super) async fn read_changed(
        &self,
        target: &Target,
        change: &Change,
    ) -> Result<(Marks, bool), Failure> {
        let found = if change.slot.is_stable() {
            Some((target.clone(), self.deployment(target).await?))
        } else {
            self.candidate(target).await?
        };
        let Some((target, found)) = &found else {
            return Ok((Marks::default(), false));
        };
        if !change.uid.is_empty() && text(found, "/metadata/uid") != change.uid {
            return Ok((Marks::default(), false));
        }
        let settings = deployment::settings(found, target)?;
        // Of a write with marks these tell, also when the copy is gone meanwhile.
        let template = match change.marked {
            true => None,
            false => self.template_of(target, &change.fields.configs).await?,
        };
        Ok((
            deployment::marks(found),
            deployment::has(&settings, &change.fields)
                && template.is_none_or(|wanted| wanted.is_of(found, target))
                && references::refers(found, &change.fields.configs),
        ))
    }
}

/// The request that puts a whole Deployment in place of the workload's.
pub(super) fn replacing(
    target: &Target,
    object: Value,
    query: &[(&str, &str)],
) -> Result<Call, Problem> {
    let mut call = call(
        Method::PUT,
        "update",
        &Resource::deployments(),
        &target.namespace,
        &target.deployment,
    )?;
    let manager = [("fieldManager", FIELD_MANAGER)];
    call.target = with_query(&call.target, &[query, &manager].concat());
    Ok(call.body(JSON, object))
}

#[derive(PartialEq)]
enum Finding {
    /// The write may go ahead.
    Due,
    /// It took place already.
    InPlace,
}

/// Looks at what is there, whether the change may be written over it.
fn check(
    found: &Value,
    target: &Target,
    change: &Change,
    template: Option<&Template>,
    stamp: &Stamp,
) -> Result<Finding, Failure> {
    let marks = deployment::marks(found);
    same(found, &marks, target, change, stamp)?;
    not_marked_later(&marks, target, stamp)?;
    let settings = deployment::settings(found, target)?;
    // Our mark proves that this very write took place. What differs besides the image was changed
    // by others since, an autoscaler for example, and writing twice would undo that.
    let ours = change.marked && marks.effect.as_deref() == Some(stamp.key.as_str());
    let image_holds = change
        .fields
        .image
        .as_ref()
        .is_none_or(|image| *image == settings.image);
    let template_holds = template.is_none_or(|wanted| wanted.is_of(found, target));
    if ours && image_holds && template_holds && references::refers(found, &change.fields.configs) {
        return Ok(Finding::InPlace);
    }
    match &change.expected_image {
        Some(expected) if *expected != settings.image => Err(Failure::new(
            Kind::Conflict,
            codes::CONFLICT,
            format!(
                "the image of container `{}` was changed by another: expected `{expected}`, found `{}`{}",
                target.container,
                settings.image,
                last_writer(found)
            ),
        )),
        _ => Ok(Finding::Due),
    }
}

/// Refuses another Deployment of the same name: stable's is known by its uid, the candidate's by our marks.
fn same(
    found: &Value,
    marks: &Marks,
    target: &Target,
    change: &Change,
    stamp: &Stamp,
) -> Result<(), Failure> {
    let uid = text(found, "/metadata/uid");
    let expected = if change.uid.is_empty() {
        let foreign = marks.run.as_ref().is_some_and(|run| *run != stamp.run);
        let unmarked = change.marked && marks.run.is_none();
        if !foreign && !unmarked {
            return Ok(());
        }
        format!("one with the marks of run `{}`", stamp.run)
    } else if uid == change.uid {
        return Ok(());
    } else {
        format!("uid {}", change.uid)
    };
    let whose = match &marks.run {
        Some(run) if change.uid.is_empty() => format!("one with those of run `{run}`"),
        None if change.uid.is_empty() => "one without".to_owned(),
        _ => format!("uid {uid}"),
    };
    Err(Failure::new(
        Kind::Conflict,
        codes::CONFLICT,
        format!(
            "the Deployment `{}` is another one than this run knows: expected {expected}, found {whose}",
            target.deployment
        ),
    ))
}

/// Who wrote last to what isn't the status, for a person who has to find out.
fn last_writer(found: &Value) -> String {
    super::items(found, "/metadata/managedFields")
        .filter(|entry| {
            text(entry, "/subresource").is_empty() && text(entry, "/manager") != FIELD_MANAGER
        })
        .max_by_key(|entry| text(entry, "/time"))
        .map_or_else(String::new, |entry| {
            format!(
                " (last written by `{}` at {})",
                text(entry, "/manager"),
                text(entry, "/time")
            )
        })
}

/// Whether all that the write has to take away is ours alone.
fn applying_suffices(found: &Value, change: &Change) -> bool {
    let settings_stay = change.fields.rollout == Some(Rollout::Recreate)
        && found
            .pointer("/spec/strategy/rollingUpdate")
            .is_some_and(|settings| !settings.is_null());
    let marks_stay = !change.marked && others_own_marks(found);
    !settings_stay && !marks_stay
}

fn others_own_marks(found: &Value) -> bool {
    super::items(found, "/metadata/managedFields").any(|entry| {
        let applied =
            text(entry, "/manager") == FIELD_MANAGER && text(entry, "/operation") == "Apply";
        let annotations = entry.pointer("/fieldsV1/f:metadata/f:annotations");
        !applied
            && MARKS.iter().any(|mark| {
                annotations.is_some_and(|owned| owned.get(format!("f:{mark}")).is_some())
            })
    })
}

/// What is applied. It names every field that the run owns, since server-side apply takes away what
/// its manager named before and doesn't name any more: the marks, after the last write.
fn applied(found: &Value, target: &Target, change: &Change, stamp: &Stamp) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), target.deployment.as_str().into());
    metadata.insert("namespace".to_owned(), target.namespace.as_str().into());
    // Without the uid a Deployment that was deleted in between would be created anew.
    metadata.insert("uid".to_owned(), change.uid.as_str().into());
    metadata.insert("resourceVersion".to_owned(), version(found));
    if change.marked {
        metadata.insert("annotations".to_owned(), marks_of(stamp).into());
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": spec(&change.fields, &target.container),
    })
}

/// The same as a strategic merge patch, in which a null takes away.
fn patched(found: &Value, target: &Target, change: &Change, stamp: &Stamp) -> Value {
    let marks = if change.marked {
        marks_of(stamp)
    } else {
        MARKS
            .iter()
            .map(|mark| ((*mark).to_owned(), Value::Null))
            .collect()
    };
    let mut spec = spec(&change.fields, &target.container);
    if change.fields.rollout == Some(Rollout::Recreate)
        && let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut)
    {
        strategy.insert("rollingUpdate".to_owned(), Value::Null);
    }
    if !change.fields.configs.is_empty()
        && let Some(fields) = spec.as_object_mut()
    {
        let mut pods = references::patch(found, &change.fields.configs);
        if let Some(image) = &change.fields.image {
            references::with_image(&mut pods, &target.container, image);
        }
        fields.insert("template".to_owned(), json!({"spec": pods}));
    }
    json!({
        "metadata": {"resourceVersion": version(found), "annotations": marks},
        "spec": spec,
    })
}

/// The Deployment as it was read, with another pod template and the other fields of the change.
fn replaced(
    found: &Value,
    target: &Target,
    change: &Change,
    template: &Template,
    stamp: &Stamp,
) -> Value {
    let mut object = found.clone();
    templates::put_into(&mut object, template);
    if let Some(template) = object.pointer_mut("/spec/template") {
        if let Some(image) = &change.fields.image {
            manifest::set_image(template, &target.container, image);
        }
        if let Some(pods) = template.get_mut("spec") {
            references::rewrite(pods, &change.fields.configs);
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(replicas) = change.fields.replicas {
            spec.insert("replicas".to_owned(), replicas.into());
        }
        if let Some(rollout) = &change.fields.rollout {
            spec.insert("strategy".to_owned(), strategy(rollout));
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.retain(|name, _| !MARKS.contains(&name.as_str()));
            if change.marked {
                annotations.extend(marks_of(stamp));
            }
        }
    }
    object
}

fn spec(fields: &Fields, container: &str) -> Value {
    let mut spec = Map::new();
    if let Some(replicas) = fields.replicas {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    if let Some(rollout) = &fields.rollout {
        spec.insert("strategy".to_owned(), strategy(rollout));
    }
    if let Some(image) = &fields.image {
        let containers = json!([{"name": container, "image": image}]);
        spec.insert(
            "template".to_owned(),
            json!({"spec": {"containers": containers}}),
        );
    }
    Value::Object(spec)
}

fn strategy(rollout: &Rollout) -> Value {
    match rollout {
        Rollout::RollingUpdate { surge, unavailable } => json!({
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": share(surge), "maxUnavailable": share(unavailable)},
        }),
        Rollout::Recreate => json!({"type": "Recreate"}),
    }
}

/// A count or a percentage, as Kubernetes writes it: an integer or a string.
fn share(text: &str) -> Value {
    text.parse::<u32>()
        .map_or_else(|_| Value::from(text), Value::from)
}
