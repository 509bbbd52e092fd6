//! The second place that knows where a journal ends, so that a cut-off tail is noticed.
//!
//! # The protocol
//!
//! Beside the database each run has an anchor: a small file that is written in place, never grows,
//! and has three blocks, each with a checksum. Two *slots* are written in turns and flushed to disk
//! (`fdatasync`); the *mark* is not flushed by itself.
//!
//! An append does this, holding a lock on the anchor and SQLite's write lock:
//!
//! 1. insert the rows, which finds most faults (a full disk, a record that is there already);
//! 2. *at the same time* commit (SQLite flushes its log) and write the slot that is older (flushed);
//!    the slot holds the new head **and the rows themselves**;
//! 3. once both are on disk, write the new head into the mark, and return.
//!
//! So after a crash:
//!
//! | database | newest slot | mark | what happened | what is done |
//! |---|---|---|---|---|
//! | n | n | n | nothing | - |
//! | n | n-1 | n-1 | died in 2, the slot was not written | the chain holds n-1 with its hash: the anchor is brought forward by the next append |
//! | n-1 | n | n-1 | died in 2, the commit was not written | the rows are in the slot: they are read from there, and the next append puts them back |
//! | n-1 | any | n | **rows were cut off**: the mark is written only after both | refused as `Cut` |
//! | older | n | older | rows were cut off, and the slot can't fill the gap | refused as `Cut` |
//! | other | any | any | the chain lacks an anchored hash | refused as `Altered` |
//!
//! A mark that a power cut took away costs nothing: the slot holds the last rows. Readers read the
//! anchor *before* the database, so that a writer at work is not mistaken for a cut. Rows that don't
//! fit into a slot ([`SLOT_BYTES`]) are committed first and anchored after that, by their head alone.
//!
//! What this can't notice: database and anchor both put back to the same earlier state. Against that
//! the head has to be kept elsewhere, in the claim in the cluster.
//!
//! # Why at the same time
//!
//! Nearly all the time of an append is the disk's flush. Two of them one after the other halve the
//! rate; requested together the kernel and the disk do them as one. Measured on a virtual disk with
//! 4 ms per flush (`cargo run --release -p phasegate-store --example appends`): one after the other
//! about half the rate of a bare write and fsync of the same bytes, together 0.9 to 1.
//! The order of the two then can't tell a crash from a cut, which is what the rows in the slot and
//! the mark are for.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phasegate_runtime::ports::{Head, JournalError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::{Row, hex};

/// Bytes of one slot.
pub const SLOT_BYTES: usize = 16 << 10;
/// Bytes of the mark.
pub const MARK_BYTES: usize = 512;
/// Bytes of the file.
pub const FILE_BYTES: usize = 2 * SLOT_BYTES + MARK_BYTES;
/// Hex digits of the checksum, a space, eight digits of the length, a newline.
const LABEL_BYTES: usize = 64 + 1 + 8 + 1;

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The run, so that another run's anchor in its place is noticed.
    pub run: String,
    /// Where the journal ends with this append.
    pub head: Head,
    /// What was appended; nothing where it doesn't fit.
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    run: String,
    head: Head,
}

/// What an anchor says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The slots that could be read, older first.
    slots: Vec<(usize, Slot)>,
    /// The head that both database and anchor had on disk.
    mark: Option<Head>,
}

impl Anchor {
    /// Reads the bytes of an anchor's file. A block that is damaged or of another run counts as missing.
    #[must_use]
    pub fn parse(run: &str, bytes: &[u8]) -> Self {
        let mut slots: Vec<(usize, Slot)> = [0, 1]
            .into_iter()
            .filter_map(|index| {
                let start = index * SLOT_BYTES;
                let slot: Slot = unseal(bytes.get(start..start + SLOT_BYTES)?)?;
                (slot.run == run).then_some((index, slot))
            })
            .collect();
        slots.sort_by_key(|(_, slot)| slot.head.seq);
        let mark = bytes
            .get(2 * SLOT_BYTES..)
            .and_then(unseal)
            .filter(|mark: &Mark| mark.run == run)
            .map(|mark| mark.head);
        Self { slots, mark }
    }

    /// All heads that the journal is known to have had.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        let slots = self.slots.iter().map(|(_, slot)| slot.head.clone());
        slots.chain(self.mark.clone()).collect()
    }

    /// The latest of them; none where nothing could be read.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.heads().into_iter().max_by_key(|head| head.seq)
    }

    /// The rows after `last` that a crash kept out of the database. Rows that were in it, by the
    /// mark, are not among them: they were taken out.
    #[must_use]
    pub fn restorable(&self, last: u64) -> &[Row] {
        let Some((_, newest)) = self.slots.last() else {
            return &[];
        };
        let settled = self.mark.as_ref().map_or(0, |mark| mark.seq);
        let known = newest.rows.iter().take_while(|row| row.seq <= last).count();
        let (_, rows) = newest.rows.split_at(known);
        let fits = rows
            .first()
            .is_some_and(|row| row.seq == last.saturating_add(1))
            && rows.last().is_some_and(|row| row.head() == newest.head);
        if fits && settled <= last { rows } else { &[] }
    }

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

fn unseal<T: DeserializeOwned>(block: &[u8]) -> Option<T> {
    let (label, rest) = block.split_at_checked(LABEL_BYTES)?;
    let label = std::str::from_utf8(label).ok()?;
    let (check, length) = label.trim_end().split_once(' ')?;
    let json = rest.get(..length.parse::<usize>().ok()?)?;
    if hex(&Sha256::digest(json)) != check {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn fault(what: &str, run: &str, error: io::Error) -> JournalError {
    crate::sqlite::fault::io(format!("can't {what} the anchor of {run}"), error)
}
