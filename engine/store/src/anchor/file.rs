//! The file of an anchor.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phasegate_runtime::ports::{Head, JournalError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Anchor, Arrangement, BLOCK_BYTES, FILE_BYTES, FILE_BYTES_BEFORE, LABEL_BYTES, MARK_BYTES, Mark,
    MarkBefore, Slot,
};
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

/// What slots and marks begin with: each label has the checksum of what it stands before.
type Labels = [Vec<u8>; 4];

/// An anchor as this process knows it, so that it isn't parsed anew for each append.
#[derive(Debug)]
pub(crate) struct Known {
    run: String,
    labels: Labels,
    /// What it says.
    pub(crate) anchor: Anchor,
}

impl Known {
    /// Takes in what was written.
    pub(crate) fn follow(&mut self, written: &Prepared) {
        let anchor = &mut self.anchor;
        anchor.slots.retain(|(index, _)| *index != written.index);
        anchor.slots.push((written.index, written.slot.clone()));
        anchor.mark = Some(written.slot.head.clone());
        let places = labelled(anchor.arrangement);
        for (label, start) in self.labels.iter_mut().zip(places) {
            if start == written.slot_start() {
                *label = label_of(&written.bytes, 0);
            } else if start == written.mark_start() {
                *label = label_of(&written.mark, 0);
            }
        }
    }
}

/// Where slots and marks begin.
fn labelled(arrangement: Arrangement) -> [usize; 4] {
    [
        arrangement.slot(0),
        arrangement.slot(1),
        arrangement.mark(0),
        arrangement.mark(1),
    ]
}

fn label_of(bytes: &[u8], start: usize) -> Vec<u8> {
    let block = bytes.get(start..).unwrap_or_default();
    block.get(..LABEL_BYTES).unwrap_or(block).to_vec()
}

/// A slot ready to be written, and the mark that follows it.
#[derive(Debug)]
pub(crate) struct Prepared {
    arrangement: Arrangement,
    index: usize,
    slot: Slot,
    bytes: Vec<u8>,
    mark: Vec<u8>,
}

impl Prepared {
    /// Whether it holds the rows, so that it may be written beside the commit.
    pub(crate) fn has_rows(&self) -> bool {
        !self.slot.rows.is_empty()
    }

    /// Where the journal ends with it.
    pub(crate) fn head(&self) -> &Head {
        &self.slot.head
    }

    fn slot_start(&self) -> usize {
        self.arrangement.slot(self.index)
    }

    fn mark_start(&self) -> usize {
        self.arrangement.mark(self.index)
    }
}

/// An anchor's file, held against other writers until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    run: String,
}

/// A process that is started meanwhile has a copy of the file until it becomes another program, and closing ours
/// alone would leave the lock to it.
impl Drop for Held {
    fn drop(&mut self) {
        // What can't be unlocked is let go of by closing it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
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
        crate::rights::Rights::within(folder)
            .give(&file)
            .map_err(|error| fault("share", run, error))?;
        let held = Self::hold(file, run)?;
        if !held.is_at(&path(folder, run)) {
            // Whoever made the file has taken it away again in the meantime.
            return Err(JournalError::InUse(run.to_owned()));
        }
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

    /// Whether the file is the one at this path.
    fn is_at(&self, path: &Path) -> bool {
        let id = |meta: Metadata| (meta.dev(), meta.ino());
        let own = self.file.metadata().map(id).ok();
        own.is_some() && own == std::fs::metadata(path).map(id).ok()
    }

    /// Takes out what it says, before the first append.
    pub(crate) fn clear(&self) -> Result<(), JournalError> {
        self.file
            .write_all_at(&vec![b'\n'; FILE_BYTES], 0)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| fault("write", &self.run, error))
    }

    /// What it says. It is parsed only where it isn't what is known: other processes write to it too.
    pub(crate) fn read(&self, known: Option<Known>) -> Result<Known, JournalError> {
        let failed = |error| fault("read", &self.run, error);
        if let Some(known) = known.filter(|known| known.run == self.run) {
            let places = labelled(known.anchor.arrangement);
            let mut labels = Labels::default();
            for (label, start) in labels.iter_mut().zip(places) {
                *label = part(&self.file, start, LABEL_BYTES).map_err(failed)?;
            }
            if labels == known.labels {
                return Ok(known);
            }
        }
        let bytes = contents(&self.file).map_err(failed)?;
        let anchor = Anchor::parse(&self.run, &bytes);
        Ok(Known {
            run: self.run.clone(),
            labels: labelled(anchor.arrangement).map(|start| label_of(&bytes, start)),
            anchor,
        })
    }

    /// The slot for an append that ends at `head`.
    pub(crate) fn prepare(&self, anchor: &Anchor, head: &Head, rows: Vec<Row>) -> Prepared {
        let (arrangement, index) = (anchor.arrangement, anchor.next_slot());
        let most = arrangement.slot_end(index) - arrangement.slot(index);
        let mut slot = Slot {
            run: self.run.clone(),
            head: head.clone(),
            rows,
        };
        let bytes = seal(&slot, most).or_else(|| {
            // Without the rows it always fits: the lengths of a run's id and of a hash are bounded.
            slot.rows.clear();
            seal(&slot, most)
        });
        Prepared {
            arrangement,
            index,
            bytes: bytes.unwrap_or_default(),
            mark: arrangement.seal_mark(&self.run, head).unwrap_or_default(),
            slot,
        }
    }

    /// Writes the slot; it is on disk when this returns.
    pub(crate) fn write(&self, prepared: &Prepared) -> Result<(), JournalError> {
        self.file
            .write_all_at(&prepared.bytes, prepared.slot_start() as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| fault("write", &self.run, error))
    }

    /// Notes that both database and slot are on disk.
    pub(crate) fn settle(&self, prepared: &Prepared) -> Result<(), JournalError> {
        self.file
            .write_all_at(&prepared.mark, prepared.mark_start() as u64)
            .map_err(|error| fault("write", &self.run, error))
    }

    /// Puts a slot back as it was before it was written: its rows did not come to be. Where that
    /// fails they count as written, which an append that failed may turn out to be.
    pub(crate) fn put_back(&self, anchor: &Anchor, written: &Prepared) {
        let earlier = anchor
            .slots
            .iter()
            .find(|(index, _)| *index == written.index);
        let bytes = earlier
            .and_then(|(_, slot)| seal(slot, BLOCK_BYTES))
            .unwrap_or_else(|| vec![b'\n'; LABEL_BYTES]);
        let _ = self
            .file
            .write_all_at(&bytes, written.slot_start() as u64)
            .and_then(|()| self.file.sync_data());
    }

    /// Removes the file: the run did not come to be.
    pub(crate) fn remove(&self, folder: &Path) {
        // What stays is clutter, which says that there are no records.
        let _ = std::fs::remove_file(path(folder, &self.run));
    }
}

impl Arrangement {
    fn seal_mark(self, run: &str, head: &Head) -> Option<Vec<u8>> {
        let (run, head) = (run.to_owned(), head.clone());
        match self {
            Self::Marked => seal(&Mark { run, settled: head }, MARK_BYTES),
            Self::Before => seal(&MarkBefore { run, head }, MARK_BYTES),
        }
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
    part(file, 0, FILE_BYTES_BEFORE)
}

/// So many bytes of a file; fewer where it ends.
fn part(file: &File, start: usize, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, (start + filled) as u64) {
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
