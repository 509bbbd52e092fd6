//! Journals: where the records of runs are kept.
//!
//! * `SqliteJournal` keeps them in a state directory; a local run uses it.
//! * [`MemoryJournal`] keeps them in memory; rehearsals use it, and let it die or fill up.
//! * [`SegmentJournal`] keeps them in a cluster, in objects that are made once and never changed; a run that is driven
//!   by a Job of the cluster uses it.
//!
//! All keep the same rows ([`chain::Row`]): the canonical JSON of a record with its number, time,
//! format and a hash over all of it and the hash before. All check them with the same function,
//! [`chain::verify`], which is pure. Where a journal ends is kept in a second place, the anchor
//! ([`anchor`] says how), so that a cut-off tail is noticed.
//!
//! One contract suite runs against all: `tests/contract.rs`.
//!
//! Start reading at [`chain`], then [`anchor`], then `sqlite`, which a feature of that name, on by
//! default, brings in: what only checks or rehearses does without a database.

use phasegate_runtime::ports::JournalError;

pub mod anchor;
pub mod chain;
pub mod format;
pub mod limits;
pub mod memory;
mod name;
#[cfg(feature = "sqlite")]
pub mod rights;
pub mod segments;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use memory::MemoryJournal;
pub use segments::SegmentJournal;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;

/// The fault of a command that nobody gave.
fn unknown(run: &str, id: u64) -> JournalError {
    JournalError::Storage(format!("{run} was given no command {id}"), None)
}
