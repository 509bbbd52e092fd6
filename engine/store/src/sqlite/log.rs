//! Room in SQLite's log, made ahead of the appends.
//!
//! A flush of a file that has grown also writes the file's new length, which takes the file system
//! a transaction of its own. So the first append of a process lets the log be as long as it
//! becomes before a checkpoint. What is added is zeros, which SQLite reads as the end of the log.

#![expect(
    clippy::disallowed_methods,
    reason = "room is made in a file of the journal"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::schema::{CHECKPOINT_PAGES, PAGE_BYTES};

/// Bytes of the log's header, and of the header of each page in it.
const HEADER_BYTES: u64 = 32;
const PAGE_HEADER_BYTES: u64 = 24;
/// Pages of the transaction that brings about a checkpoint: most are far smaller.
const MARGIN_PAGES: u64 = 64;
/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;

/// How long the log becomes.
const LENGTH: u64 = HEADER_BYTES
    + (CHECKPOINT_PAGES as u64 + MARGIN_PAGES) * (PAGE_HEADER_BYTES + PAGE_BYTES as u64);

/// Makes room in the log. To be called under SQLite's write lock, so that nobody writes to its end.
/// Where there is none to be had the log stays as it was: appends need only as much as they write.
pub(super) fn reserve(log: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(log)?;
    let length = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    let mut end = length;
    let mut fill = || {
        while end < LENGTH {
            let rest = usize::try_from(LENGTH - end).unwrap_or(CHUNK);
            let chunk = zeros.get(..rest).unwrap_or(&zeros);
            file.write_all_at(chunk, end)?;
            end += chunk.len() as u64;
        }
        file.sync_all()
    };
    fill().or_else(|error| file.set_len(length).and(Err(error)))
}
