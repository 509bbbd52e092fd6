//! What went wrong with the storage, as the port has it.

use std::io::ErrorKind;

use phasegate_runtime::ports::JournalError;
use rusqlite::ErrorCode;

/// An error of the file system. `what` says what could not be done.
pub(crate) fn io(what: String, error: std::io::Error) -> JournalError {
    if is_full(&error) {
        return JournalError::Full(Box::new(error));
    }
    JournalError::Storage(what, Some(Box::new(error)))
}

/// Whether there was no room, on the disk or in the user's quota.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// An error of the database.
pub(crate) fn sql(error: rusqlite::Error) -> JournalError {
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => return JournalError::Full(Box::new(error)),
        Some(ErrorCode::DatabaseCorrupt) => "the journal's database is damaged",
        Some(ErrorCode::NotADatabase) => "the journal's file is not a database",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process keeps the journal's database locked"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "this user may not write the journal's database"
        }
        Some(ErrorCode::CannotOpen) => "the journal's database can't be opened",
        Some(ErrorCode::SystemIoFailure) => "the disk did not read or write the journal",
        Some(ErrorCode::Unknown) | None => "the journal's database is not as this engine made it",
        Some(_) => "the journal's database refused",
    };
    JournalError::Storage(text.to_owned(), Some(Box::new(error)))
}

/// A fault that has no error beneath it.
pub(crate) fn plain(text: impl Into<String>) -> JournalError {
    JournalError::Storage(text.into(), None)
}
