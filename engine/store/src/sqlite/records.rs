//! Runs and their records: reading them.

#![expect(
    clippy::disallowed_methods,
    reason = "anchors are listed by their files"
)]

use std::path::Path;

use phasegate_core::event::Record;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, JournalError, RunEntry};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::schema::{self, MAX_SEQ};
use super::{Inner, Report, fault};
use crate::anchor;
use crate::chain::{self, Row};
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORDS, MAX_RUNS_LISTED};
use crate::name;

/// A run as it is kept.
pub(super) struct Found {
    pub(super) number: i64,
    pub(super) entry: RunEntry,
}

pub(super) fn read(inner: &Inner, run: &str) -> Result<(Vec<Record>, Head, Report), JournalError> {
    name::check(run)?;
    let mut connection = inner.connection();
    // Before the database: a writer may be at work.
    let anchor = anchor::read(&inner.layout.anchors(), run)?;
    let snapshot = connection.transaction().map_err(fault::sql)?;
    let Some(found) = find(&snapshot, run)? else {
        return Err(match anchor.as_ref().and_then(anchor::Anchor::head) {
            Some(head) if head.seq > 0 => cut(run, head.seq, 0),
            _ => JournalError::NotFound(run.to_owned()),
        });
    };
    let rows = rows(&snapshot, &found)?;
    let last = rows.last().map_or(0, |row| row.seq);
    let anchor = anchor.ok_or_else(|| unanchored(run, last))?;
    let anchored = anchor.head().ok_or_else(|| unreadable(run, last))?;
    let genesis = chain::genesis(&found.entry);
    let (records, head) = chain::verify(
        run,
        &genesis,
        rows,
        &anchor.heads().cloned().collect::<Vec<_>>(),
    )?;
    if records.is_empty() {
        return Err(cut(run, 1, 0));
    }
    let report = Report {
        run: run.to_owned(),
        records: head.seq,
        head: head.clone(),
        anchored: anchored.clone(),
    };
    Ok((records, head, report))
}

pub(super) fn runs(inner: &Inner, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
    let connection = inner.connection();
    let mut query = connection
        .prepare_cached(
            "SELECT number, id, release, target, created, \
             (SELECT max(key) & 1048575 FROM records WHERE key BETWEEN number << 20 AND (number << 20) + 1048575) \
             FROM runs ORDER BY number DESC LIMIT ?",
        )
        .map_err(fault::sql)?;
    let limit = limit.min(MAX_RUNS_LISTED) as i64;
    let mut found = query.query([limit]).map_err(fault::sql)?;
    let mut entries = Vec::new();
    while let Some(row) = found.next().map_err(fault::sql)? {
        entries.push(entry(row).map_err(fault::sql)?.entry);
    }
    Ok(entries)
}

/// Names of runs that are anchored but not in the database.
pub(super) fn lost(inner: &Inner) -> Result<Vec<String>, JournalError> {
    let connection = inner.connection();
    anchored(&inner.layout.anchors(), |run| {
        Ok(find(&connection, run)?.is_none())
    })
}

/// Names of runs of which an anchor says that there were records, as far as they are `wanted`.
pub(super) fn anchored(
    folder: &Path,
    wanted: impl Fn(&str) -> Result<bool, JournalError>,
) -> Result<Vec<String>, JournalError> {
    let files = std::fs::read_dir(folder)
        .map_err(|error| fault::io(format!("can't list {}", folder.display()), error))?;
    let mut runs = Vec::new();
    for file in files.flatten() {
        let Ok(run) = file.file_name().into_string() else {
            continue;
        };
        if runs.len() >= MAX_RUNS_LISTED || name::check(&run).is_err() {
            continue;
        }
        let anchor = anchor::read(folder, &run)?;
        let head = anchor.as_ref().and_then(anchor::Anchor::head);
        if head.is_some_and(|head| head.seq > 0) && wanted(&run)? {
            runs.push(run);
        }
    }
    runs.sort();
    Ok(runs)
}

/// The number of a run, for the tables that refer to it.
pub(super) fn number(connection: &Connection, run: &str) -> Result<i64, JournalError> {
    name::check(run)?;
    find(connection, run)?
        .map(|found| found.number)
        .ok_or_else(|| JournalError::NotFound(run.to_owned()))
}

pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, JournalError> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fault::sql)
}

/// As SQLite keeps numbers. What doesn't fit, times hundreds of millions of years from now, is kept as the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn find(connection: &Connection, run: &str) -> Result<Option<Found>, JournalError> {
    connection
        .prepare_cached("SELECT number, id, release, target, created, NULL FROM runs WHERE id = ?")
        .and_then(|mut query| query.query_row([run], entry).optional())
        .map_err(fault::sql)
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        number: row.get(0)?,
        entry: RunEntry {
            run: row.get(1)?,
            release: row.get(2)?,
            target: row.get(3)?,
            created: Timestamp::from_millis(row.get::<_, i64>(4)?.max(0).cast_unsigned()),
            records: row
                .get::<_, Option<i64>>(5)?
                .unwrap_or(0)
                .max(0)
                .cast_unsigned(),
        },
    })
}

/// The run and where the database has it end.
pub(super) fn tail(connection: &Connection, run: &str) -> Result<(Found, Head), JournalError> {
    let found = find(connection, run)?.ok_or_else(|| JournalError::NotFound(run.to_owned()))?;
    let last = connection
        .prepare_cached(
            "SELECT seq, hash FROM records WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1",
        )
        .and_then(|mut query| {
            let head = |row: &rusqlite::Row<'_>| {
                Ok(Head {
                    seq: row.get::<_, i64>(0)?.max(0).cast_unsigned(),
                    hash: row.get(1)?,
                })
            };
            query.query_row(all(found.number), head).optional()
        })
        .map_err(fault::sql)?;
    let last = last.unwrap_or_else(|| chain::genesis(&found.entry));
    Ok((found, last))
}

/// The first and the last key of a run.
fn all(number: i64) -> [Option<i64>; 2] {
    [schema::key(number, 0), schema::key(number, MAX_SEQ)]
}

/// The rows of a run as they are in the database, checked for their types and sizes only.
fn rows(connection: &Connection, found: &Found) -> Result<Vec<Row>, JournalError> {
    let mut query = connection
        .prepare_cached(
            "SELECT seq, at, format, hash, length(bytes), bytes FROM records \
             WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
        )
        .map_err(fault::sql)?;
    let most = signed(MAX_RECORDS.saturating_add(1));
    let [first, last] = all(found.number);
    let mut kept = query.query([first, last, Some(most)]).map_err(fault::sql)?;
    let mut rows = Vec::new();
    while let Some(row) = kept.next().map_err(fault::sql)? {
        let expected = rows.len() as u64 + 1;
        let row = parse(row).map_err(fault::sql)?;
        rows.push(row.ok_or_else(|| JournalError::Altered {
            run: found.entry.run.clone(),
            seq: expected,
            detail: "a column holds what can't be in it".to_owned(),
        })?);
    }
    Ok(rows)
}

fn parse(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Row>> {
    let number = |index| {
        row.get_ref(index).map(|value| {
            value
                .as_i64()
                .ok()
                .and_then(|number| u64::try_from(number).ok())
        })
    };
    let (seq, at, format) = (number(0)?, number(1)?, number(2)?);
    // The length comes first, so that a giant is not loaded to be refused.
    if number(4)?.is_none_or(|length| length > MAX_RECORD_BYTES as u64) {
        return Ok(None);
    }
    let (hash, bytes) = (row.get_ref(3)?, row.get_ref(5)?);
    let (Some(seq), Some(at), Some(format)) = (seq, at, format) else {
        return Ok(None);
    };
    let (Ok(format), Ok(hash), ValueRef::Blob(bytes)) =
        (u32::try_from(format), hash.as_str(), bytes)
    else {
        return Ok(None);
    };
    Ok(Some(Row {
        seq,
        at: Timestamp::from_millis(at),
        format,
        bytes: bytes.to_vec(),
        hash: hash.to_owned(),
    }))
}

pub(super) fn cut(run: &str, expected: u64, found: u64) -> JournalError {
    JournalError::Cut {
        run: run.to_owned(),
        expected,
        found,
    }
}

pub(super) fn unanchored(run: &str, seq: u64) -> JournalError {
    JournalError::Altered {
        run: run.to_owned(),
        seq,
        detail: "its anchor is missing, without which records cut off behind it can't be noticed"
            .to_owned(),
    }
}

pub(super) fn unreadable(run: &str, seq: u64) -> JournalError {
    JournalError::Altered {
        run: run.to_owned(),
        seq,
        detail: "its anchor can't be read".to_owned(),
    }
}
