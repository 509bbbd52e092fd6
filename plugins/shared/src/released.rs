//! What a release deploys is its strategy's, and no action's.

use phasegate_plugin::{Call, Error, Result};

/// Refuses a Deployment that the release itself deploys: a change to it in the middle of the run would be taken for
/// somebody else's.
///
/// # Errors
///
/// It is one of the workload that the step is about.
pub fn not_released(call: &Call, deployment: &str) -> Result<()> {
    let own = call.workload()?;
    let sides = [own.stable, own.candidate];
    let sides = sides.into_iter().flatten().map(|side| side.deployment);
    match sides.chain([own.deployment]).any(|name| name == deployment) {
        true => Err(Error::permanent(format!(
            "Deployment {deployment} is released by this run: what becomes of it is its strategy's"
        ))),
        false => Ok(()),
    }
}
