//! Autoscalers: which one acts on a Deployment, and its bounds.

use std::sync::Arc;

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Piece;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::strategy::{Autoscaler, Slot};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Map, Value, json};

use super::fence::{attempted, crowded, not_marked_later, ours, version};
use super::lean::Lean;
use super::path::{Resource, with_query};
use super::{
    FIELD_MANAGER, KubeCluster, MERGE, Problem, WRITE_ATTEMPTS, call, deployment, effect, slot,
    small, text,
};

/// Most autoscalers of a namespace that are looked through.
const MAX_AUTOSCALERS: usize = 2000;
/// Annotation that holds the maximum which an autoscaler had before a minimum above it was asked for.
pub(super) const MAXIMUM_BEFORE: &str = "phasegate.dev/maximum-before";

impl KubeCluster {
    /// All autoscalers of the target's namespace.
    pub(super) async fn autoscalers(&self, target: &Target) -> Result<Vec<Value>, Problem> {
        Ok(self.autoscalers_with_version(target).await?.0)
    }

    /// The same, with the version from which a watch goes on.
    pub(super) async fn autoscalers_with_version(
        &self,
        target: &Target,
    ) -> Result<(Vec<Value>, String), Problem> {
        let resource = Resource::autoscalers();
        let namespace = Some(target.namespace.as_str());
        let listed = self
            .list_with_version::<Lean>(&resource, namespace, &[], MAX_AUTOSCALERS)
            .await;
        match listed {
            // A cluster without this API has no autoscaler.
            Err(problem) if problem.fault.is_not_found() => Ok(Default::default()),
            listed => {
                let (found, version) = listed?;
                let found = found.into_iter().map(|Lean(object)| object);
                Ok((found.collect(), version))
            }
        }
    }

    /// The same, for who looks at them again and again.
    pub(super) async fn autoscalers_again(
        &self,
        target: &Target,
    ) -> Result<Vec<Arc<Value>>, Problem> {
        let resource = Resource::autoscalers();
        let listed = self
            .list_again(&resource, &target.namespace, &[], |Lean(object)| object)
            .await;
        match listed {
            Err(problem) if problem.fault.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }

    pub(super) async fn write_bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            newest = self.bound_once(target, slot, minimum, stamp).await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        let name = &slot::at(target, slot)?.deployment;
        Err(crowded("autoscaler of the Deployment", name, newest))
    }

    async fn bound_once(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<Option<Problem>, ChangeError> {
        let Some(found) = self.piece(target, slot, Piece::Autoscaler).await? else {
            return Err(missing(&slot::at(target, slot)?).into());
        };
        let name = text(&found, "/metadata/name");
        let marks = deployment::marks(&found);
        if ours(&marks, stamp) {
            not_marked_later(&marks, target, stamp)?;
        } else if !slot.is_stable() {
            return Err(Failure::new(
                Kind::Conflict,
                codes::CONFLICT,
                format!("the candidate's autoscaler `{name}` is another one than this run made"),
            )
            .into());
        }
        self.not_overtaken(target, stamp).await?;
        let Some(patch) = patch(&found, minimum) else {
            return Ok(None);
        };
        let resource = Resource::autoscalers();
        let mut call = call(Method::PATCH, "patch", &resource, &target.namespace, name)?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let call = call.body(MERGE, patch).remark(effect(&stamp.key));
        attempted(self.transport.one(call).await)
    }
}

/// The failure where no autoscaler acts on the target's Deployment.
pub(super) fn missing(target: &Target) -> Failure {
    Failure::new(
        Kind::Permanent,
        codes::WORKLOAD_NOT_FOUND,
        format!(
            "no HorizontalPodAutoscaler in namespace `{}` acts on the Deployment `{}`",
            target.namespace, target.deployment
        ),
    )
}

/// The one that acts on a Deployment.
pub(super) fn of<'a>(
    all: impl IntoIterator<Item = &'a Value>,
    deployment: &str,
) -> Option<&'a Value> {
    let mut all = all.into_iter();
    all.find(|found| acts_on(found, deployment))
}

pub(super) fn acts_on(autoscaler: &Value, deployment: &str) -> bool {
    text(autoscaler, "/spec/scaleTargetRef/kind") == "Deployment"
        && text(autoscaler, "/spec/scaleTargetRef/name") == deployment
        && text(autoscaler, "/spec/scaleTargetRef/apiVersion").starts_with("apps/")
}

pub(super) fn bounds(autoscaler: &Value) -> Autoscaler {
    // Kubernetes takes 1 where nothing is said.
    let bound = |pointer| {
        let said = autoscaler.pointer(pointer).and_then(Value::as_u64);
        said.map_or(1, small)
    };
    Autoscaler {
        minimum: bound("/spec/minReplicas"),
        maximum: bound("/spec/maxReplicas"),
    }
}

/// The maximum that the autoscaler is to have for a minimum, and what is to be noted about the one it had.
///
/// A maximum that is in the way is raised, and comes back with the first minimum that leaves room for it.
pub(super) fn maximum(found: &Value, minimum: u32) -> (u32, Option<String>) {
    let own = own_maximum(found);
    if own < minimum {
        (minimum, Some(own.to_string()))
    } else {
        (own, None)
    }
}

/// The maximum apart from what was raised. One that was raised equals the minimum, unless somebody else has
/// set another since.
fn own_maximum(found: &Value) -> u32 {
    let now = bounds(found);
    let before = noted(found).and_then(|before| before.parse().ok());
    match before {
        Some(before) if now.maximum == now.minimum => before,
        _ => now.maximum,
    }
}

fn noted(found: &Value) -> Option<&str> {
    deployment::labelled(found, "/metadata/annotations", MAXIMUM_BEFORE)
}

/// The merge patch that leads to a minimum; none where it is there already.
fn patch(found: &Value, minimum: u32) -> Option<Value> {
    let now = bounds(found);
    let (maximum, note) = maximum(found, minimum);
    if now == (Autoscaler { minimum, maximum }) && noted(found) == note.as_deref() {
        return None;
    }
    let mut metadata = Map::from_iter([("resourceVersion".to_owned(), version(found))]);
    if noted(found) != note.as_deref() {
        metadata.insert("annotations".to_owned(), json!({MAXIMUM_BEFORE: note}));
    }
    let mut spec = Map::from_iter([("minReplicas".to_owned(), minimum.into())]);
    if maximum != now.maximum {
        spec.insert("maxReplicas".to_owned(), maximum.into());
    }
    Some(json!({"metadata": metadata, "spec": spec}))
}
