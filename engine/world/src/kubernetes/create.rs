//! Makes the candidate's objects. One that is there already is made the same by a replacement that carries
//! the version which was read.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Create, Piece};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::strategy::Slot;
use phasegate_core::workload::{Beside, Target};
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Map, Value};

use super::autoscaler::MAXIMUM_BEFORE;
use super::fence::{MADE_BY, attempted, crowded, deleting, marks_of, not_marked_later, ours};
use super::path::{Resource, with_query};
use super::{
    FIELD_MANAGER, JSON, KubeCluster, Problem, WRITE_ATTEMPTS, autoscaler, call, deployment,
    effect, manifest, slot, templates, text,
};

impl KubeCluster {
    pub(super) async fn write_piece(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let beside = slot::beside(target)?;
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            newest = self.create_once(target, beside, create, stamp).await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        let name = &beside.deployment;
        Err(crowded(create.piece.as_str(), name, newest))
    }

    async fn create_once(
        &self,
        target: &Target,
        beside: &Beside,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<Option<Problem>, ChangeError> {
        let found = self.piece(target, Slot::Candidate, create.piece).await?;
        if let Some(found) = &found
            && check(found, target, create, stamp)? == Finding::InPlace
        {
            return Ok(None);
        }
        if found.is_none() && create.piece == Piece::Autoscaler {
            self.name_is_free(target, beside, stamp).await?;
        }
        let mut object = self.wanted(target, beside, create).await?;
        if let Some(found) = &found {
            if create.piece == Piece::Deployment {
                selects_the_same(found, &object, &slot::at(target, Slot::Candidate)?)?;
            }
            object = replaced(found, object, create.piece);
        } else if create.piece == Piece::Deployment {
            let made_by = (MADE_BY.to_owned(), stamp.run.as_str().into());
            annotate(&mut object, Map::from_iter([made_by]));
        }
        annotate(&mut object, marks_of(stamp));
        self.not_overtaken(target, stamp).await?;
        let resource = slot::resource(create.piece);
        let (method, verb, name) = match &found {
            Some(found) => (Method::PUT, "update", text(found, "/metadata/name")),
            None => (Method::POST, "create", ""),
        };
        let mut call = call(method, verb, &resource, &target.namespace, name)?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let call = call.body(JSON, object).remark(effect(&stamp.key));
        attempted(self.transport.one(call).await)
    }

    /// Refuses where an autoscaler of another Deployment has the name of the candidate's.
    async fn name_is_free(
        &self,
        target: &Target,
        beside: &Beside,
        stamp: &Stamp,
    ) -> Result<(), Failure> {
        let (autoscalers, name) = (Resource::autoscalers(), &beside.deployment);
        let found = self.find_one(&autoscalers, &target.namespace, name).await?;
        match found {
            Some(found) if !autoscaler::acts_on(&found, name) => {
                let (what, marks) = (Piece::Autoscaler.as_str(), deployment::marks(&found));
                Err(slot::not_ours(what, name, &marks, stamp))
            }
            _ => Ok(()),
        }
    }

    /// The piece as it is to be, without marks.
    async fn wanted(
        &self,
        target: &Target,
        beside: &Beside,
        create: &Create,
    ) -> Result<Value, Failure> {
        match create.piece {
            Piece::Deployment => {
                let mut stable = self.deployment(target).await?;
                if let Some(template) = self.template_of(target, &create.configs).await? {
                    templates::put_into(&mut stable, &template);
                }
                manifest::deployment(&stable, target, beside, create)
            }
            Piece::Service => {
                let stable = self.piece(target, Slot::Stable, Piece::Service).await?;
                match (&beside.service, stable) {
                    (Some(name), Some(stable)) => {
                        Ok(manifest::service(&stable, name, target, beside))
                    }
                    _ => Err(Failure::new(
                        Kind::Permanent,
                        codes::WORKLOAD_NOT_FOUND,
                        format!(
                            "there is no Service `{}` in namespace `{}` that a candidate's could be made from",
                            target.service.as_deref().unwrap_or_default(),
                            target.namespace
                        ),
                    )),
                }
            }
            Piece::Autoscaler => {
                let stable = self.piece(target, Slot::Stable, Piece::Autoscaler).await?;
                let stable = stable.ok_or_else(|| autoscaler::missing(target))?;
                manifest::autoscaler(&stable, target, beside, create.replicas)
            }
            Piece::Config(_) | Piece::Left(_) => Err(no_copy()),
        }
    }
}

/// Copies are made by another request.
fn no_copy() -> Failure {
    let message = "a copy of a configuration is no part of a candidate";
    Failure::new(Kind::Permanent, codes::INTERNAL, message)
}

#[derive(PartialEq)]
enum Finding {
    /// The write may go ahead.
    Due,
    /// It took place already.
    InPlace,
}

/// Looks at what is there, whether it may be written over.
fn check(
    found: &Value,
    target: &Target,
    create: &Create,
    stamp: &Stamp,
) -> Result<Finding, Failure> {
    let there = slot::at(target, Slot::Candidate)?;
    let name = text(found, "/metadata/name");
    let what = create.piece.as_str();
    if deleting(found) {
        return Err(Failure::new(
            Kind::Retryable,
            codes::CONFLICT,
            format!("the candidate's {what} `{name}` is still being deleted"),
        ));
    }
    let marks = deployment::marks(found);
    if ours(&marks, stamp) {
        not_marked_later(&marks, target, stamp)?;
        // Our mark proves that this very write took place. What else differs was changed by others since.
        let written = marks.effect.as_deref() == Some(stamp.key.as_str());
        let holds = create.piece != Piece::Deployment
            || deployment::container(found, &there)
                .is_ok_and(|container| text(container, "/image") == create.image);
        if written && holds {
            return Ok(Finding::InPlace);
        }
    } else {
        match create.piece {
            Piece::Deployment => slot::must_be_idle(found, &there)?,
            // Whoever holds the claim may take over what runs before it left there.
            Piece::Service if marks.run.is_some() => {}
            Piece::Service => return Err(slot::not_ours(what, name, &marks, stamp)),
            // What acts on the candidate's Deployment is part of it, kept from an earlier release.
            Piece::Autoscaler => {}
            Piece::Config(_) | Piece::Left(_) => return Err(no_copy()),
        }
    }
    Ok(Finding::Due)
}

/// A selector can't be changed, and it decides which pods are the candidate's.
fn selects_the_same(found: &Value, wanted: &Value, there: &Target) -> Result<(), Failure> {
    let selector = |object: &Value| object.pointer("/spec/selector").cloned();
    match (selector(found), selector(wanted)) {
        (found, wanted) if found == wanted => Ok(()),
        (_, wanted) => Err(slot::selects_otherwise(
            found,
            there,
            &wanted.unwrap_or_default(),
        )),
    }
}

fn annotate(object: &mut Value, annotations: Map<String, Value>) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let there = metadata.and_then(|metadata| {
        metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
    });
    if let Some(there) = there {
        there.extend(annotations);
    }
}

/// What is there, with the specification of what is wanted. Its identity, labels and annotations stay.
fn replaced(found: &Value, mut wanted: Value, piece: Piece) -> Value {
    let mut object = found.clone();
    let Some(fields) = object.as_object_mut() else {
        return wanted;
    };
    fields.remove("status");
    // A list doesn't repeat in every item what all of them are.
    for name in ["apiVersion", "kind"] {
        if let Some(said) = wanted.get(name) {
            fields.insert(name.to_owned(), said.clone());
        }
    }
    let spec = wanted.get_mut("spec").map(Value::take).unwrap_or_default();
    match (piece, fields.get_mut("spec"), spec) {
        // The address stays.
        (Piece::Service, Some(Value::Object(there)), Value::Object(spec)) => there.extend(spec),
        (_, _, spec) => {
            fields.insert("spec".to_owned(), spec);
        }
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(MAXIMUM_BEFORE);
        }
    }
    let note = deployment::labelled(&wanted, "/metadata/annotations", MAXIMUM_BEFORE);
    if let Some(note) = note {
        let note = (MAXIMUM_BEFORE.to_owned(), note.into());
        annotate(&mut object, Map::from_iter([note]));
    }
    object
}
