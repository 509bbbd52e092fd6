//! The second place that knows where a journal ends, so that a cut-off tail is noticed.
//!
//! # The protocol
//!
//! Beside the database each run has an anchor: a small file that is written in place, never grows,
//! and has two blocks that are written in turns. A block begins with a *mark*, and the rest of it is
//! a *slot*; each has a checksum. A slot is flushed to disk (`fdatasync`), a mark isn't by itself:
//! it is put into the block whose slot is written next, and reaches the disk with that.
//!
//! An append does this, holding a lock on the anchor and SQLite's write lock:
//!
//! 1. *at the same time* insert the rows and commit (SQLite flushes its log), and write the slot that
//!    is older (flushed); the slot holds the new head **and the rows themselves**;
//! 2. once both are on disk, write the new head into the mark, and return.
//!
//! So after a crash:
//!
//! | database | newest slot | mark | what happened | what is done |
//! |---|---|---|---|---|
//! | n | n | n | nothing | - |
//! | n | n-1 | n-1 | died in 1, the slot was not written | the chain holds n-1 with its hash: the anchor is brought forward by the next append |
//! | n-1 | n | n-1 | died in 1, the commit was not written | the rows are in the slot: they are read from there, and the next append puts them back |
//! | n-1 | any | n | **rows were cut off**: the mark is written only after both | refused as `Cut` |
//! | older | n | older | rows were cut off, and the slot can't fill the gap | refused as `Cut` |
//! | other | any | any | the chain lacks an anchored hash | refused as `Altered` |
//!
//! A mark that a power cut took away costs nothing: the slot holds the last rows. Readers read the
//! anchor *before* the database, so that a writer at work is not mistaken for a cut. Where the database
//! takes the rows back (a full disk, a row that is there already), the slot is put back as it was.
//! Rows that don't fit into a slot ([`SLOT_BYTES`]), and rows after an anchor that doesn't say that
//! all before is on disk, are committed first and anchored after that.
//!
//! What this can't notice: database and anchor both put back to the same earlier state. Against that
//! the head has to be kept elsewhere, in the claim in the cluster.
//!
//! # Why at the same time
//!
//! Nearly all the time of an append is the disk's flush, and two of them one after the other take
//! about twice as long as one. The order of the two then can't tell a crash from a cut, which is
//! what the rows in the slot and the mark are for. `docs/benchmarks.md` has figures.
//!
//! # The arrangement before
//!
//! Anchors of earlier engines have their slots at the beginnings of the blocks and one mark behind
//! both. They are read, and go on being written, as they are ([`Arrangement`]).

use phasegate_runtime::ports::Head;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::{Row, hex};

#[cfg(feature = "sqlite")]
mod file;

#[cfg(feature = "sqlite")]
pub(crate) use file::{Held, Known, Prepared, read};

/// Bytes of one block: a mark and a slot.
pub const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a mark: what a disk writes whole or not at all.
pub const MARK_BYTES: usize = 512;
/// Bytes of one slot.
pub const SLOT_BYTES: usize = BLOCK_BYTES - MARK_BYTES;
/// Bytes of the file.
pub const FILE_BYTES: usize = 2 * BLOCK_BYTES;
/// Bytes of the file in the arrangement before.
pub const FILE_BYTES_BEFORE: usize = FILE_BYTES + MARK_BYTES;
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

/// Says up to where both database and anchor are on disk.
#[derive(Serialize, Deserialize)]
struct Mark {
    run: String,
    settled: Head,
}

/// A mark of the arrangement before.
#[derive(Serialize, Deserialize)]
struct MarkBefore {
    run: String,
    head: Head,
}

/// Where things are in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Arrangement {
    /// Each block begins with a mark.
    #[default]
    Marked,
    /// Two slots, then the mark.
    Before,
}

impl Arrangement {
    /// Where the slot of that number is.
    const fn slot(self, index: usize) -> usize {
        match self {
            Self::Marked => index * BLOCK_BYTES + MARK_BYTES,
            Self::Before => index * BLOCK_BYTES,
        }
    }

    /// Where the mark of an append is whose rows are in the slot of that number.
    const fn mark(self, index: usize) -> usize {
        match self {
            Self::Marked => (1 - index) * BLOCK_BYTES,
            Self::Before => 2 * BLOCK_BYTES,
        }
    }

    /// Where that slot ends.
    const fn slot_end(self, index: usize) -> usize {
        (index + 1) * BLOCK_BYTES
    }

    fn unseal_mark(self, run: &str, block: &[u8]) -> Option<Head> {
        let (of, head) = match self {
            Self::Marked => unseal(block).map(|mark: Mark| (mark.run, mark.settled)),
            Self::Before => unseal(block).map(|mark: MarkBefore| (mark.run, mark.head)),
        }?;
        (of == run).then_some(head)
    }
}

/// What an anchor says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    arrangement: Arrangement,
    /// The slots that could be read, older first.
    slots: Vec<(usize, Slot)>,
    /// The head that both database and anchor had on disk.
    mark: Option<Head>,
}

impl Anchor {
    /// Reads the bytes of an anchor's file. A block that is damaged or of another run counts as missing.
    #[must_use]
    pub fn parse(run: &str, bytes: &[u8]) -> Self {
        let before = Self::parse_as(Arrangement::Before, run, bytes);
        if before.head().is_some() {
            return before;
        }
        Self::parse_as(Arrangement::Marked, run, bytes)
    }

    fn parse_as(arrangement: Arrangement, run: &str, bytes: &[u8]) -> Self {
        let block = |start: usize, end: usize| {
            let end = end.min(bytes.len());
            bytes.get(start..end)
        };
        let slot = |index| {
            let slot: Slot = unseal(block(arrangement.slot(index), arrangement.slot_end(index))?)?;
            (slot.run == run).then_some((index, slot))
        };
        let mark = |index| {
            let start = arrangement.mark(index);
            arrangement.unseal_mark(run, block(start, start + MARK_BYTES)?)
        };
        let mut slots: Vec<(usize, Slot)> = [0, 1].into_iter().filter_map(slot).collect();
        slots.sort_by_key(|(_, slot)| slot.head.seq);
        let marks = [0, 1].into_iter().filter_map(mark);
        Self {
            arrangement,
            slots,
            mark: marks.max_by_key(|head| head.seq),
        }
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

    /// Whether both database and anchor are known to be on disk up to this head, and no further.
    #[must_use]
    pub fn is_settled_at(&self, head: &Head) -> bool {
        let newest = self.slots.last().map(|(_, slot)| &slot.head);
        self.mark.as_ref() == Some(head) && newest == Some(head)
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
