//! How much a journal takes.

use std::time::Duration;

use phasegate_core::event::{Command, Identity};
use phasegate_runtime::ports::JournalError;

/// Most bytes of one record as JSON.
pub const MAX_RECORD_BYTES: usize = 4 << 20;
/// Most records of one run. A run with a thousand steps that is looked at every second for a day stays below it.
pub const MAX_RECORDS: u64 = 200_000;
/// Most records in one append.
pub const MAX_BATCH: usize = 1000;
/// Most commands of a run that wait for an answer.
pub const MAX_OPEN_COMMANDS: usize = 1000;
/// Most commands that one look into the inbox returns.
pub const MAX_INBOX_PAGE: usize = 100;
/// Most bytes of a command as JSON, with who gave it; and of a refusal.
pub const MAX_COMMAND_BYTES: usize = 64 << 10;
/// Most runs that are listed, however many are asked for.
pub const MAX_RUNS_LISTED: usize = 1000;
/// Most characters of a run's id.
pub const MAX_RUN_ID: usize = 100;
/// Most bytes of a release's name or a target's text beside a run.
pub const MAX_ENTRY_TEXT: usize = 4096;
/// How long a write waits for another process that writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Refuses what is longer than it may be.
pub(crate) fn within(what: &str, size: usize, most: usize) -> Result<(), JournalError> {
    if size > most {
        return Err(JournalError::Limit(format!(
            "{what} has {size} bytes, at most {most} are kept"
        )));
    }
    Ok(())
}

/// Refuses a command that is longer than an inbox takes.
pub(crate) fn command_within(by: &Identity, command: &Command) -> Result<(), JournalError> {
    // What can't be written as JSON is refused as too long: there is no such command.
    let size = |value: Result<Vec<u8>, _>| value.map_or(usize::MAX, |bytes: Vec<u8>| bytes.len());
    let bytes = size(serde_json::to_vec(by)).saturating_add(size(serde_json::to_vec(command)));
    within("a command", bytes, MAX_COMMAND_BYTES)
}
