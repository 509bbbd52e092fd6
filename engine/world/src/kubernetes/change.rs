//! Writes to the Deployment, each a single request: by server-side apply, so that others see which
//! fields are ours and lose them knowingly.
//!
//! Server-side apply can only take away what nobody else owns. Where a write has to take away more
//! (the `rollingUpdate` settings that `Recreate` doesn't allow and that whoever made the Deployment
//! owns, or marks of ours that came about as below), it is a strategic merge patch instead. Both
//! carry the version that was read, and name the same fields.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{MARK_EFFECT, MARK_EPOCH, MARK_RUN, Marks, Rollout, Target};
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Map, Value, json};

use super::path::{Resource, with_query};
use super::{
    FIELD_MANAGER, KubeCluster, Problem, WRITE_ATTEMPTS, call, count, deployment, effect, lease,
    text,
};

const APPLY: &str = "application/apply-patch+yaml";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MARKS: [&str; 3] = [MARK_RUN, MARK_EPOCH, MARK_EFFECT];

impl KubeCluster {
    pub(super) async fn write_change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.deployment(target).await?;
            self.not_overtaken(target, stamp).await?;
            if check(&found, target, change, stamp)? == Finding::InPlace {
                return Ok(());
            }
            match self.apply_change(&found, target, change, stamp).await {
                Ok(_) => return Ok(()),
                // Somebody wrote in between. What they wrote decides whether ours still holds.
                Err(problem) if problem.fault.is_conflict() => newest = Some(problem),
                Err(problem) => return Err(problem.change_error()),
            }
        }
        let why = newest.map_or_else(String::new, |problem| Failure::from(problem).message);
        // Nothing that matters to the write has changed, so that it is worth another try a little later.
        Err(ChangeError::Failed(Failure::new(
            Kind::Retryable,
            codes::CONFLICT,
            format!(
                "the Deployment `{}` was changed by others {WRITE_ATTEMPTS} times while it was to be written; {why}",
                target.deployment
            ),
        )))
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
        let call = if applying_suffices(found, change) {
            call.target = with_query(&call.target, &[manager, ("force", "true")]);
            call.body(APPLY, applied(found, target, change, stamp))
        } else {
            call.target = with_query(&call.target, &[manager]);
            call.body(STRATEGIC, patched(found, target, change, stamp))
        };
        self.transport.one(call.remark(effect(&stamp.key))).await
    }

    /// Refuses where the Lease knows of a later engine than the one that wants to write.
    pub(super) async fn not_overtaken(
        &self,
        target: &Target,
        stamp: &Stamp,
    ) -> Result<(), Failure> {
        let found = self
            .find_one(&Resource::leases(), &target.namespace, &lease::name(target))
            .await?;
        let epoch = found.map_or(0, |lease| count(&lease, "/spec/leaseTransitions"));
        if epoch > stamp.epoch {
            return Err(fenced(target, epoch, stamp));
        }
        Ok(())
    }

    pub(super) async fn read_changed(
        &self,
        target: &Target,
        change: &Change,
    ) -> Result<(Marks, bool), Failure> {
        let found = self.deployment(target).await?;
        if text(&found, "/metadata/uid") != change.uid {
            return Ok((Marks::default(), false));
        }
        let settings = deployment::settings(&found, target)?;
        Ok((
            deployment::marks(&found),
            deployment::has(&settings, &change.fields),
        ))
    }
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
    stamp: &Stamp,
) -> Result<Finding, Failure> {
    let uid = text(found, "/metadata/uid");
    if uid != change.uid {
        return Err(Failure::new(
            Kind::Conflict,
            codes::CONFLICT,
            format!(
                "the Deployment `{}` is another one than when the run began: expected uid {}, found {uid}",
                target.deployment, change.uid
            ),
        ));
    }
    let marks = deployment::marks(found);
    if let Some(epoch) = marks.epoch.filter(|epoch| *epoch > stamp.epoch) {
        return Err(fenced(target, epoch, stamp));
    }
    let settings = deployment::settings(found, target)?;
    // Our mark proves that this very write took place. What differs besides the image was changed
    // by others since, an autoscaler for example, and writing twice would undo that.
    let ours = change.marked && marks.effect.as_deref() == Some(stamp.key.as_str());
    let image_holds = change
        .fields
        .image
        .as_ref()
        .is_none_or(|image| *image == settings.image);
    if ours && image_holds {
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

fn fenced(target: &Target, epoch: u64, stamp: &Stamp) -> Failure {
    Failure::new(
        Kind::Fenced,
        codes::STALE_EPOCH,
        format!(
            "another engine drives `{target}` now: its epoch is {epoch}, this one's {}",
            stamp.epoch
        ),
    )
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

fn marks_of(stamp: &Stamp) -> Value {
    json!({
        MARK_RUN: stamp.run,
        MARK_EPOCH: stamp.epoch.to_string(),
        MARK_EFFECT: stamp.key,
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
        metadata.insert("annotations".to_owned(), marks_of(stamp));
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
    json!({
        "metadata": {"resourceVersion": version(found), "annotations": marks},
        "spec": spec,
    })
}

fn version(found: &Value) -> Value {
    text(found, "/metadata/resourceVersion").into()
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
