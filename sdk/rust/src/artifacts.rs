//! Files that belong to the run: backups, reports.

use crate::{Error, host};

/// What is known of an artifact.
pub use crate::bindings::imports::phasegate::host::artifacts::Artifact;

/// Whether there is such an artifact, and which.
#[must_use]
pub fn stat(name: &str) -> Option<Artifact> {
    host::artifact_stat(name)
}

/// At most `length` bytes from `offset`; fewer at the end.
///
/// # Errors
///
/// There is no such artifact, or it can't be read.
pub fn read(name: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
    host::artifact_read(name, offset, length).map_err(Error::Permanent)
}

/// Keeps a file with the run.
///
/// # Errors
///
/// It couldn't be kept.
pub fn write(name: &str, content: &[u8]) -> Result<Artifact, Error> {
    host::artifact_write(name, content).map_err(Error::Permanent)
}
