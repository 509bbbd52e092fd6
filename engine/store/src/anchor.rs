//! The second place that knows where a journal ends, so that a cut-off tail is noticed.
//!
//! # The protocol
//!
//! Beside the database each run has an anchor: a small file that is written in place, never grows,
//! and has two slots in blocks of their own. A slot holds a head and has a checksum.
//!
//! An append does this, holding a lock on the anchor and SQLite's write lock:
//!
//! 1. insert the rows and commit; SQLite flushes its log, and the rows are on disk;
//! 2. write the new head into a slot;
//! 3. flush the anchor, unless that was done less than [`FLUSH_EVERY`] ago.
//!
//! The head is written over the older slot where the newer one is on disk, else over the newer one:
//! whatever a power cut tears, one slot is whole.
//!
//! So after a crash:
//!
//! | database | anchor | what happened | what is done |
//! |---|---|---|---|
//! | n | n | nothing | - |
//! | n | earlier | died between 1 and 2, or the power went between 2 and 3 | the chain holds the anchored head: the anchor is brought forward by the next append |
//! | earlier | n | **rows were cut off**: a head is anchored only once its rows are on disk | refused as `Cut` |
//! | other | any | the chain lacks an anchored hash | refused as `Altered` |
//!
//! Readers read the anchor *before* the database, so that a writer at work is not mistaken for a cut.
//!
//! # What it can't notice
//!
//! Database and anchor both put back to the same earlier state: against that the head has to be kept
//! elsewhere, in the claim in the cluster. And rows that a disk loses together with power although it said
//! that they were flushed, where the anchor wasn't flushed yet: the last ones of a burst of appends, until
//! the next append, the end of the process, or the kernel (half a minute) flushes it.
//!
//! Flushing both on each append was tried, one after the other and at the same time: it took up to
//! twice as long, and what it protects more is that burst against that disk.

use std::time::Duration;

use phasegate_runtime::ports::Head;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::hex;

#[cfg(feature = "sqlite")]
mod file;

#[cfg(feature = "sqlite")]
pub(crate) use file::{Flushes, Held, read};

/// How far apart flushes of an anchor are while appends follow each other more quickly.
pub const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// Bytes of one slot: what a disk writes whole or not at all.
pub const SLOT_BYTES: usize = 512;
/// Where the second slot begins: in a block of its own.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of the file.
pub const FILE_BYTES: usize = BLOCK_BYTES + SLOT_BYTES;
/// Hex digits of the checksum, a space, eight digits of the length, a newline.
const LABEL_BYTES: usize = 64 + 1 + 8 + 1;

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// The run, so that another run's anchor in its place is noticed.
    run: String,
    head: Head,
}

impl Slot {
    /// Checksum, length and JSON on two lines. None where that is longer than a slot, which the limits on
    /// a run's id and a hash rule out.
    #[cfg(feature = "sqlite")]
    fn seal(&self) -> Option<Vec<u8>> {
        let json = serde_json::to_vec(self).ok()?;
        let check = hex(&Sha256::digest(&json));
        let mut bytes = format!("{check} {:08}\n", json.len()).into_bytes();
        bytes.extend_from_slice(&json);
        bytes.push(b'\n');
        (bytes.len() <= SLOT_BYTES).then_some(bytes)
    }

    fn unseal(bytes: &[u8]) -> Option<Self> {
        let (label, rest) = bytes.split_at_checked(LABEL_BYTES)?;
        let label = std::str::from_utf8(label).ok()?;
        let (check, length) = label.trim_end().split_once(' ')?;
        let json = rest.get(..length.parse::<usize>().ok()?)?;
        if hex(&Sha256::digest(json)) != check {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// What an anchor says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// Heads that the journal is known to have had, each with the number of its slot; older first.
    slots: Vec<(usize, Head)>,
}

impl Anchor {
    /// Reads the bytes of an anchor's file. A slot that is damaged or of another run counts as missing.
    #[must_use]
    pub fn parse(run: &str, bytes: &[u8]) -> Self {
        let slot = |index: usize| {
            let start = index * BLOCK_BYTES;
            let end = (start + SLOT_BYTES).min(bytes.len());
            let slot = Slot::unseal(bytes.get(start..end)?)?;
            (slot.run == run).then_some((index, slot.head))
        };
        let mut slots: Vec<(usize, Head)> = [0, 1].into_iter().filter_map(slot).collect();
        slots.sort_by_key(|(_, head)| head.seq);
        Self { slots }
    }

    /// All heads that the journal is known to have had.
    pub fn heads(&self) -> impl Iterator<Item = &Head> {
        self.slots.iter().map(|(_, head)| head)
    }

    /// The latest of them; none where nothing could be read.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.slots.last().map(|(_, head)| head)
    }

    /// The slot that may be written, given the head that is known to be on disk.
    #[cfg(feature = "sqlite")]
    fn free(&self, flushed: Option<&Head>) -> usize {
        match self.slots.as_slice() {
            [] => 0,
            [(only, _)] => 1 - *only,
            [.., (newer, head)] if flushed == Some(head) => 1 - *newer,
            [.., (newer, _)] => *newer,
        }
    }
}
