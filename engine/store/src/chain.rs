//! The chain of records of a run, and its check. Pure: rows in, records out.
//!
//! The hash of a row is SHA-256 over the hash before it (64 hex digits), its number (8 bytes, big
//! endian), its format (4 bytes, big endian) and its bytes. The hash before the first row is the
//! [`genesis`] of the run, made of what is kept beside its records. This scheme is the same for
//! all formats of records, so that an older engine can tell a newer format from an altered one.

use phasegate_core::event::Record;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, JournalError, RunEntry};
use sha2::{Digest, Sha256};

use crate::format::{self, FORMAT};
use crate::limits::{MAX_BATCH, MAX_RECORD_BYTES, MAX_RECORDS, within};

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1.
    pub seq: u64,
    /// Its time, as in its bytes.
    pub at: Timestamp,
    /// The format of its bytes.
    pub format: u32,
    /// The record.
    pub bytes: Vec<u8>,
    /// See the module.
    pub hash: String,
}

impl Row {
    /// Where a journal that ends with this row ends.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash.clone(),
        }
    }
}

/// Where a run without records ends. Covers what is kept beside the records, so that altering that is noticed too.
#[must_use]
pub fn genesis(entry: &RunEntry) -> Head {
    let mut digest = Sha256::new();
    digest.update(b"phasegate journal 1\n");
    for text in [&entry.run, &entry.release, &entry.target] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    }
    digest.update(entry.created.as_millis().to_be_bytes());
    Head {
        seq: 0,
        hash: hex(&digest.finalize()),
    }
}

/// The beginning of a run with which something more is kept.
#[must_use]
pub fn beside(genesis: &Head, kept: Option<&str>) -> Head {
    let Some(kept) = kept else {
        return genesis.clone();
    };
    let mut digest = Sha256::new();
    digest.update(b"phasegate kept 1\n");
    digest.update(genesis.hash.as_bytes());
    digest.update(kept.as_bytes());
    Head {
        seq: genesis.seq,
        hash: hex(&digest.finalize()),
    }
}

/// The hash of a row with these contents after the hash `previous`.
#[must_use]
pub fn link(previous: &str, seq: u64, format: u32, bytes: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(previous.as_bytes());
    digest.update(seq.to_be_bytes());
    digest.update(format.to_be_bytes());
    digest.update(bytes);
    hex(&digest.finalize())
}

/// The rows that these records become after `after`.
///
/// # Errors
/// A limit, or a record that can't be written.
pub fn seal(after: &Head, records: &[Record]) -> Result<Vec<Row>, JournalError> {
    if records.len() > MAX_BATCH {
        return Err(JournalError::Limit(format!(
            "{} records in one append, at most {MAX_BATCH} may be",
            records.len()
        )));
    }
    let mut head = after.clone();
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        let seq = head.seq.saturating_add(1);
        if seq > MAX_RECORDS {
            return Err(JournalError::Limit(format!(
                "a run has at most {MAX_RECORDS} records"
            )));
        }
        in_time(record.at)?;
        let bytes = format::encode(record).map_err(|error| {
            JournalError::Storage(
                format!("record {seq} can't be written"),
                Some(Box::new(error)),
            )
        })?;
        within("a record", bytes.len(), MAX_RECORD_BYTES)?;
        let row = Row {
            seq,
            at: record.at,
            format: FORMAT,
            hash: link(&head.hash, seq, FORMAT, &bytes),
            bytes,
        };
        head = row.head();
        rows.push(row);
    }
    Ok(rows)
}

/// Refuses a time that doesn't fit into a column of the database.
pub(crate) fn in_time(at: Timestamp) -> Result<(), JournalError> {
    match i64::try_from(at.as_millis()) {
        Ok(_) => Ok(()),
        Err(_) => Err(JournalError::Limit(format!(
            "the time of a record is {} ms, at most {} are kept",
            at.as_millis(),
            i64::MAX
        ))),
    }
}

/// Checks the rows of a run from its beginning and returns its records and where it ends.
///
/// `anchored` are heads that this journal is known to have had: each must be in the chain.
///
/// # Errors
/// [`JournalError::Altered`] with the first row that is wrong, [`JournalError::Newer`] where it is
/// whole but of a later format, [`JournalError::Cut`] where it ends before an anchored head.
pub fn verify(
    run: &str,
    genesis: &Head,
    rows: impl IntoIterator<Item = Row>,
    anchored: &[Head],
) -> Result<(Vec<Record>, Head), JournalError> {
    let altered = |seq: u64, detail: String| JournalError::Altered {
        run: run.to_owned(),
        seq,
        detail,
    };
    let anchors = |head: &Head| match anchored
        .iter()
        .find(|anchor| anchor.seq == head.seq && anchor.hash != head.hash)
    {
        Some(_) => Err(altered(
            head.seq,
            "its hash is not the one that was anchored".to_owned(),
        )),
        None => Ok(()),
    };
    let mut head = genesis.clone();
    let mut records = Vec::new();
    anchors(&head)?;
    for row in rows {
        let seq = head.seq.saturating_add(1);
        if row.seq != seq {
            return Err(altered(seq, format!("record {} is in its place", row.seq)));
        }
        if seq > MAX_RECORDS {
            return Err(JournalError::Limit(format!(
                "{run} has more than {MAX_RECORDS} records"
            )));
        }
        if link(&head.hash, row.seq, row.format, &row.bytes) != row.hash {
            return Err(altered(seq, "its hash does not fit".to_owned()));
        }
        let record = format::decode(row.format, &row.bytes).map_err(|error| match error {
            format::Error::Newer(found) => JournalError::Newer {
                found,
                supported: FORMAT,
            },
            other => altered(seq, described(&other)),
        })?;
        if record.at != row.at {
            return Err(altered(seq, "the time beside it is not its own".to_owned()));
        }
        head = row.head();
        anchors(&head)?;
        records.push(record);
    }
    match anchored.iter().max_by_key(|anchor| anchor.seq) {
        Some(last) if last.seq > head.seq => Err(JournalError::Cut {
            run: run.to_owned(),
            expected: last.seq,
            found: head.seq,
        }),
        _ => Ok((records, head)),
    }
}

/// What an append after `after` meets where the journal of `run` ends at `found`.
pub(crate) fn mismatch(run: &str, after: &Head, found: &Head) -> Option<JournalError> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match found.seq.cmp(&after.seq) {
        Equal if found.hash == after.hash => None,
        Equal => Some(JournalError::Altered {
            run: run.to_owned(),
            seq: found.seq,
            detail: "its hash is not the one that was written".to_owned(),
        }),
        Less => Some(JournalError::Cut {
            run: run.to_owned(),
            expected: after.seq,
            found: found.seq,
        }),
        Greater => Some(JournalError::InUse(run.to_owned())),
    }
}

fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}
