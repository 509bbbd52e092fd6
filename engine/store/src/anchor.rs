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
//! # Why at the same time, and how fast that is
//!
//! Nearly all the time of an append is the disk's flush, and two of them one after the other take
//! about twice as long as one. The order of the two then can't tell a crash from a cut, which is
//! what the rows in the slot and the mark are for.
//!
//! `cargo xtask bench append` prints appends per second beside a
//! bare write and fsync of the same bytes, and beside the same done in two places, which is the work
//! that an append has to do. On one virtual disk with ext4, shared with other work, the rate of an
//! append was, while a flush took 4 ms, mostly 0.9 to 1.5 times that of one place and 1.6 to 3.3
//! times that of two; while a flush took 0.2 ms, 0.4 of one place and 0.7 to 0.75 of two. Now and
//! then the disk changed between the two within a run, and such a run says nothing. The journal's own
//! work, measured where flushing costs nothing, is about 0.1 ms.

use phasegate_runtime::ports::Head;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::{Row, hex};

#[cfg(feature = "sqlite")]
mod file;

#[cfg(feature = "sqlite")]
pub(crate) use file::{Held, Prepared, read};

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
                let rest = bytes.get(start..)?;
                let slot: Slot = unseal(rest.get(..SLOT_BYTES).unwrap_or(rest))?;
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
