//! Whose an object is, and whether a later engine has come to drive its target.

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{MARK_EFFECT, MARK_EPOCH, MARK_RUN, Marks, Target};
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Map, Value, json};

use super::path::Resource;
use super::{KubeCluster, Problem, WRITE_ATTEMPTS, count, lease, text};

pub(super) const MARKS: [&str; 3] = [MARK_RUN, MARK_EPOCH, MARK_EFFECT];
/// Annotation that names the run which made a Deployment. It stays when the marks come off, so that the
/// run can still be rolled back after its candidate has become stable.
pub(super) const MADE_BY: &str = "phasegate.dev/made-by";

impl KubeCluster {
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
}

/// Refuses where the marks are those of a later engine.
pub(super) fn not_marked_later(
    marks: &Marks,
    target: &Target,
    stamp: &Stamp,
) -> Result<(), Failure> {
    match marks.epoch {
        Some(epoch) if epoch > stamp.epoch => Err(fenced(target, epoch, stamp)),
        _ => Ok(()),
    }
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

/// Whether the marks are those of the run.
pub(super) fn ours(marks: &Marks, stamp: &Stamp) -> bool {
    marks.run.as_deref() == Some(stamp.run.as_str())
}

/// The marks of a write.
pub(super) fn marks_of(stamp: &Stamp) -> Map<String, Value> {
    [
        (MARK_RUN, json!(stamp.run)),
        (MARK_EPOCH, json!(stamp.epoch.to_string())),
        (MARK_EFFECT, json!(stamp.key)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// Whether the object is on its way out.
pub(super) fn deleting(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// The version that a write carries: whatever another writes in between makes the API server refuse it.
pub(super) fn version(found: &Value) -> Value {
    text(found, "/metadata/resourceVersion").into()
}

/// What is left to do after an attempt to write: nothing, or another one because somebody wrote in between.
/// What they wrote decides whether ours still holds.
pub(super) fn attempted(answer: Result<Value, Problem>) -> Result<Option<Problem>, ChangeError> {
    match answer {
        Ok(_) => Ok(None),
        Err(problem) if problem.fault.is_conflict() => Ok(Some(problem)),
        Err(problem) => Err(problem.change_error()),
    }
}

/// Others were in the way of every attempt. Nothing that matters to the write has changed, so that it is
/// worth another try a little later.
pub(super) fn crowded(what: &str, name: &str, newest: Option<Problem>) -> ChangeError {
    let why = newest.map_or_else(String::new, |problem| Failure::from(problem).message);
    ChangeError::Failed(Failure::new(
        Kind::Retryable,
        codes::CONFLICT,
        format!(
            "the {what} `{name}` was changed by others {WRITE_ATTEMPTS} times while it was to be written; {why}"
        ),
    ))
}
