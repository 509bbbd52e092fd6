//! Whether the disk has room. SQLite says of some writes only that they failed.

#![expect(
    clippy::disallowed_methods,
    reason = "whether a disk has room is tried with a file"
)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use phasegate_runtime::ports::JournalError;
use rusqlite::ErrorCode;

use super::fault;
use super::folder::Layout;

/// As much as SQLite takes at once for the index of its log, and some more.
const PROBE: usize = 64 << 10;

/// The error, or that the disk is full where that is what is behind it.
pub(super) fn told(layout: &Layout, error: JournalError) -> JournalError {
    let JournalError::Storage(_, Some(source)) = &error else {
        return error;
    };
    let code = source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    if !matches!(
        code,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    ) {
        return error;
    }
    match probe(layout) {
        Err(full) if fault::is_full(&full) => JournalError::Full(Box::new(full)),
        _ => error,
    }
}

/// Writes a file as large as what may have been refused, and takes it away again.
fn probe(layout: &Layout) -> io::Result<()> {
    let path = layout.folder.join(format!(".room.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&[0; PROBE])?;
            file.sync_all()
        });
    // What stays is clutter, and is overwritten the next time.
    let _ = fs::remove_file(&path);
    written
}
