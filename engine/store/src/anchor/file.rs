//! The file of an anchor.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phasegate_runtime::ports::{Head, JournalError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Anchor, FILE_BYTES, MARK_BYTES, Mark, SLOT_BYTES, Slot};
use crate::chain::{Row, hex};

impl Anchor {
    /// The slot to be written next.
    fn next_slot(&self) -> usize {
        match self.slots.last() {
            Some((newest, _)) => 1 - *newest,
            None => 0,
        }
    }
}

/// A slot ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    bytes: Vec<u8>,
    offset: u64,
    mark: Vec<u8>,
    /// Whether it holds the rows, so that it may be written beside the commit.
    pub(crate) has_rows: bool,
}

/// An anchor's file, held against other writers until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    run: String,
}

impl Held {
    /// Opens an anchor to write it; none where there is none. Another process that writes is `InUse`.
    pub(crate) fn open(folder: &Path, run: &str) -> Result<Option<Self>, JournalError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path(folder, run));
        match opened {
            Ok(file) => Self::hold(file, run).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("open", run, error)),
        }
    }

    /// Opens an anchor or makes a new one, which is to be cleared.
    pub(crate) fn create(folder: &Path, run: &str) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path(folder, run))
            .map_err(|error| fault("create", run, error))?;
        let held = Self::hold(file, run)?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| fault("create", run, error))?;
        Ok(held)
    }

    fn hold(file: File, run: &str) -> Result<Self, JournalError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                file,
                run: run.to_owned(),
            }),
            Err(Errno::WOULDBLOCK) => Err(JournalError::InUse(run.to_owned())),
            Err(error) => Err(fault("lock", run, error.into())),
        }
    }

    /// Takes out what it says, before the first append.
    pub(crate) fn clear(&self) -> Result<(), JournalError> {
        self.file
            .write_all_at(&vec![b'\n'; FILE_BYTES], 0)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| fault("write", &self.run, error))
    }

    /// What it says.
    pub(crate) fn read(&self) -> Result<Anchor, JournalError> {
        contents(&self.file)
            .map(|bytes| Anchor::parse(&self.run, &bytes))
            .map_err(|error| fault("read", &self.run, error))
    }

    /// The slot for an append that ends at `head`.
    pub(crate) fn prepare(&self, anchor: &Anchor, head: &Head, rows: Vec<Row>) -> Prepared {
        let slot = |rows: Vec<Row>| {
            let slot = Slot {
                run: self.run.clone(),
                head: head.clone(),
                rows,
            };
            seal(&slot, SLOT_BYTES)
        };
        // Without the rows a slot always fits: the lengths of a run's id and of a hash are bounded.
        let with_rows = if rows.is_empty() { None } else { slot(rows) };
        let mark = Mark {
            run: self.run.clone(),
            head: head.clone(),
        };
        Prepared {
            has_rows: with_rows.is_some(),
            bytes: with_rows.or_else(|| slot(Vec::new())).unwrap_or_default(),
            offset: (anchor.next_slot() * SLOT_BYTES) as u64,
            mark: seal(&mark, MARK_BYTES).unwrap_or_default(),
        }
    }

    /// Writes the slot; it is on disk when this returns.
    pub(crate) fn write(&self, prepared: &Prepared) -> Result<(), JournalError> {
        self.file
            .write_all_at(&prepared.bytes, prepared.offset)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| fault("write", &self.run, error))
    }

    /// Notes that both database and slot are on disk.
    pub(crate) fn settle(&self, prepared: &Prepared) -> Result<(), JournalError> {
        self.file
            .write_all_at(&prepared.mark, (2 * SLOT_BYTES) as u64)
            .map_err(|error| fault("write", &self.run, error))
    }
}

/// Reads an anchor without holding it; none where there is none.
pub(crate) fn read(folder: &Path, run: &str) -> Result<Option<Anchor>, JournalError> {
    match File::open(path(folder, run)).and_then(|file| contents(&file)) {
        Ok(bytes) => Ok(Some(Anchor::parse(run, &bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("read", run, error)),
    }
}

fn path(folder: &Path, run: &str) -> PathBuf {
    folder.join(run)
}

fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A block: checksum, length and JSON on two lines; none where it takes more than `most` bytes.
fn seal<T: Serialize>(content: &T, most: usize) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(content).ok()?;
    let check = hex(&Sha256::digest(&json));
    let mut block = format!("{check} {:08}\n", json.len()).into_bytes();
    block.extend_from_slice(&json);
    block.push(b'\n');
    (block.len() <= most).then_some(block)
}

fn fault(what: &str, run: &str, error: io::Error) -> JournalError {
    crate::sqlite::fault::io(format!("can't {what} the anchor of {run}"), error)
}
