//! Takes pieces away: the candidate's, and stable's once it has been replaced. Only the very object that was
//! read, in the version that was read.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Piece;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::strategy::Slot;
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Value, json};

use super::fence::{MADE_BY, attempted, crowded, deleting, not_marked_later, ours, version};
use super::path::Resource;
use super::{JSON, KubeCluster, Problem, WRITE_ATTEMPTS, call, deployment, effect, slot, text};

impl KubeCluster {
    pub(super) async fn delete_piece(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            newest = self.delete_once(target, slot, piece, stamp).await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        let name = &slot::at(target, slot)?.deployment;
        Err(crowded(piece.as_str(), name, newest))
    }

    async fn delete_once(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<Option<Problem>, ChangeError> {
        let found = self.piece(target, slot, piece).await?;
        let Some(found) = found.filter(|found| !deleting(found)) else {
            return Ok(None);
        };
        match slot {
            Slot::Candidate => may_go(&found, target, piece, stamp)?,
            Slot::Stable => self.is_over(&found, target, piece, stamp).await?,
        }
        self.not_overtaken(target, stamp).await?;
        self.delete_found(&slot::resource(piece), &found, target, stamp)
            .await
    }

    /// Deletes the very object that was found, in that version.
    pub(super) async fn delete_found(
        &self,
        resource: &Resource,
        found: &Value,
        target: &Target,
        stamp: &Stamp,
    ) -> Result<Option<Problem>, ChangeError> {
        let name = text(found, "/metadata/name");
        let call = call(Method::DELETE, "delete", resource, &target.namespace, name)?;
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {
                "uid": text(found, "/metadata/uid"),
                "resourceVersion": version(found),
            },
            // The pods go after their Deployment; nothing waits for them here.
            "propagationPolicy": "Background",
        });
        let call = call.body(JSON, options).remark(effect(&stamp.key));
        match self.transport.one(call).await {
            Err(problem) if problem.fault.is_not_found() => Ok(None),
            answer => attempted(answer),
        }
    }

    /// Refuses to take away what is stable's and still runs.
    async fn is_over(
        &self,
        found: &Value,
        target: &Target,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), Failure> {
        let acted_on;
        let deployment = match piece {
            Piece::Deployment => Some(found),
            Piece::Autoscaler => {
                acted_on = self.piece(target, Slot::Stable, Piece::Deployment).await?;
                acted_on.as_ref()
            }
            Piece::Service | Piece::Config(_) | Piece::Left(_) => {
                return Err(Failure::new(
                    Kind::Permanent,
                    codes::INTERNAL,
                    format!(
                        "the {} of `{target}` is never taken away so",
                        piece.as_str()
                    ),
                ));
            }
        };
        let Some(deployment) = deployment else {
            return Ok(());
        };
        let (wanted, marks) = (
            deployment::wanted(deployment),
            deployment::marks(deployment),
        );
        let whose = match &marks.run {
            Some(run) if *run != stamp.run => format!(", and run `{run}` has it in hand"),
            _ if wanted > 0 => String::new(),
            _ => return not_marked_later(&marks, target, stamp),
        };
        Err(Failure::new(
            Kind::Conflict,
            codes::CONFLICT,
            format!(
                "the Deployment `{}` is in use again: expected one without pods, found one that wants {wanted}{whose}",
                target.deployment
            ),
        ))
    }
}

/// Refuses to take away what the run did not make.
fn may_go(found: &Value, target: &Target, piece: Piece, stamp: &Stamp) -> Result<(), Failure> {
    let marks = deployment::marks(found);
    if ours(&marks, stamp) {
        return not_marked_later(&marks, target, stamp);
    }
    let made_by = deployment::labelled(found, "/metadata/annotations", MADE_BY);
    // After a success the marks are gone from the Deployment; another run that came since has put its own.
    let made = marks.run.is_none() && made_by == Some(stamp.run.as_str());
    let idle = deployment::wanted(found) == 0;
    if piece == Piece::Deployment && (made || idle) {
        return Ok(());
    }
    let name = text(found, "/metadata/name");
    Err(slot::not_ours(piece.as_str(), name, &marks, stamp))
}
