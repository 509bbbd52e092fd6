//! The objects that stable and candidate consist of.

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Piece;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::strategy::Slot;
use phasegate_core::workload::{Beside, Marks, Target};
use phasegate_runtime::ports::{Found, Stamp};
use serde_json::Value;

use super::path::Resource;
use super::{KubeCluster, Problem, autoscaler, deployment, fence};

/// The candidate's place.
pub(super) fn beside(target: &Target) -> Result<&Beside, Failure> {
    target.beside.as_ref().ok_or_else(|| {
        Failure::new(
            Kind::Permanent,
            codes::INTERNAL,
            format!("the plan has no place for a candidate of `{target}`"),
        )
    })
}

/// The target as if the slot's Deployment were the one in hand.
pub(super) fn at(target: &Target, slot: Slot) -> Result<Target, Failure> {
    let mut there = target.clone();
    if !slot.is_stable() {
        there.deployment.clone_from(&beside(target)?.deployment);
    }
    Ok(there)
}

/// The kind of object that a piece is.
pub(super) fn resource(piece: Piece) -> Resource {
    match piece {
        Piece::Deployment => Resource::deployments(),
        Piece::Service => Resource::services(),
        Piece::Autoscaler => Resource::autoscalers(),
        Piece::Config(_) | Piece::Left(_) => Resource::config_maps(),
    }
}

/// Refuses a Deployment in the candidate's place that wants pods: whom they serve can't be known.
pub(super) fn must_be_idle(found: &Value, target: &Target) -> Result<(), Failure> {
    let wanted = deployment::wanted(found);
    if wanted == 0 {
        return Ok(());
    }
    let whose = match deployment::marks(found).run {
        Some(run) => format!("the run `{run}` left it there"),
        None => "it is not this run's".to_owned(),
    };
    Err(Failure::new(
        Kind::Conflict,
        codes::NO_PLACE_BESIDE,
        format!(
            "the candidate's place is taken: expected no Deployment `{}` in namespace `{}`, or one without pods, found one that wants {wanted}; {whose}. Delete it, or scale it to 0 if it serves nobody",
            target.deployment, target.namespace
        ),
    ))
}

/// The failure where the Deployment in the candidate's place has another selector than it would need.
pub(super) fn selects_otherwise(found: &Value, target: &Target, wanted: &Value) -> Failure {
    let there = found.pointer("/spec/selector").unwrap_or(&Value::Null);
    Failure::new(
        Kind::Conflict,
        codes::NO_PLACE_BESIDE,
        format!(
            "the Deployment `{}` in the candidate's place selects other pods than it would have to: expected {wanted}, found {there}. A selector can't be changed: delete the Deployment if it serves nobody",
            target.deployment
        ),
    )
}

/// The failure where an object has the candidate's name and not this run's marks.
pub(super) fn not_ours(what: &str, name: &str, marks: &Marks, stamp: &Stamp) -> Failure {
    let found = match &marks.run {
        Some(run) => format!("those of run `{run}`"),
        None => "none".to_owned(),
    };
    Failure::new(
        Kind::Conflict,
        codes::CONFLICT,
        format!(
            "the {what} `{name}` is somebody else's: expected the marks of run `{}`, found {found}; delete it or give it another name",
            stamp.run
        ),
    )
}

/// The place of the candidate, if the target has one.
pub(super) fn candidate_of(target: &Target) -> Option<Target> {
    let beside = target.beside.as_ref()?;
    Some(Target {
        deployment: beside.deployment.clone(),
        ..target.clone()
    })
}

impl KubeCluster {
    /// The candidate's Deployment, if the target has a place for one and it is there.
    pub(super) async fn candidate(
        &self,
        target: &Target,
    ) -> Result<Option<(Target, Value)>, Problem> {
        let Some(there) = candidate_of(target) else {
            return Ok(None);
        };
        let found = self
            .find_one(
                &Resource::deployments(),
                &there.namespace,
                &there.deployment,
            )
            .await?;
        Ok(found.map(|found| (there, found)))
    }

    /// A piece of a slot, if it is there.
    pub(super) async fn piece(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Value>, Failure> {
        let there = at(target, slot)?;
        let name = match (piece, slot) {
            (Piece::Deployment, _) => Some(there.deployment),
            (Piece::Service, Slot::Stable) => there.service,
            (Piece::Service, Slot::Candidate) => beside(target)?.service.clone(),
            // A copy is known by its own name alone.
            (Piece::Config(_) | Piece::Left(_), _) => None,
            (Piece::Autoscaler, _) => {
                let all = self.autoscalers(target).await?;
                return Ok(autoscaler::of(&all, &there.deployment).cloned());
            }
        };
        let Some(name) = name else { return Ok(None) };
        Ok(self
            .find_one(&resource(piece), &target.namespace, &name)
            .await?)
    }

    /// What a probe wants to know of a piece. One that is on its way out is gone.
    pub(super) async fn read_found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure> {
        let found = self.piece(target, slot, piece).await?;
        Ok(found
            .filter(|found| !fence::deleting(found))
            .map(|found| Found {
                marks: deployment::marks(&found),
                minimum: (piece == Piece::Autoscaler).then(|| autoscaler::bounds(&found).minimum),
            }))
    }
}
