//! Runs and their records.

use std::sync::Arc;

use phasegate_core::event::Record;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, JournalError, RunEntry};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Inner, Report, fault};
use crate::anchor::{self, Anchor, Held};
use crate::chain::{self, Row};
use crate::limits::{MAX_ENTRY_TEXT, MAX_RECORD_BYTES, MAX_RECORDS, MAX_RUNS_LISTED, within};
use crate::name;

/// A run as it is kept.
struct Found {
    number: i64,
    entry: RunEntry,
}

pub(super) fn create(
    inner: &Inner,
    entry: &RunEntry,
    first: &Record,
) -> Result<Head, JournalError> {
    name::check(&entry.run)?;
    within("a release's name", entry.release.len(), MAX_ENTRY_TEXT)?;
    within("a target", entry.target.len(), MAX_ENTRY_TEXT)?;
    let genesis = chain::genesis(entry);
    let rows = chain::seal(&genesis, std::slice::from_ref(first))?;
    let mut connection = inner.connection();
    let write = begin(&mut connection)?;
    if find(&write, &entry.run)?.is_some() {
        return Err(fault::plain(format!("run {} is there already", entry.run)));
    }
    let held = Held::create(&inner.layout.anchors(), &entry.run)?;
    if let Some(head) = held.read()?.head().filter(|head| head.seq > 0) {
        return Err(cut(&entry.run, head.seq, 0));
    }
    write
        .prepare_cached("INSERT INTO runs (id, release, target, created) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| {
            let created = signed(entry.created.as_millis());
            insert.execute(params![entry.run, entry.release, entry.target, created])
        })
        .map_err(fault::sql)?;
    insert(&write, write.last_insert_rowid(), &rows)?;
    // The anchor says that there is a run without records, so that a crash between the commit and
    // the next write isn't taken for an anchor that was lost.
    held.clear()?;
    held.write(&held.prepare(&Anchor::default(), &genesis, Vec::new()))?;
    let head = rows.last().map_or(genesis, Row::head);
    let anchor = held.read()?;
    commit(inner, write, held, &anchor, head, Vec::new())
}

pub(super) fn append(
    inner: &Inner,
    run: &str,
    after: &Head,
    records: &[Record],
) -> Result<Head, JournalError> {
    name::check(run)?;
    let rows = chain::seal(after, records)?;
    let mut connection = inner.connection();
    let held = Held::open(&inner.layout.anchors(), run)?;
    let write = begin(&mut connection)?;
    let (found, last) = tail(&write, run)?;
    let held = held.ok_or_else(|| unanchored(run, last.seq))?;
    let anchor = held.read()?;
    let missing = anchor.restorable(last.seq);
    let end = missing.last().map_or_else(|| last.clone(), Row::head);
    agrees(&write, &found, &anchor, &end)?;
    if let Some(fault) = chain::mismatch(run, after, &end) {
        return Err(fault);
    }
    let Some(head) = rows.last().map(Row::head) else {
        return Ok(end);
    };
    insert(&write, found.number, missing)?;
    insert(&write, found.number, &rows)?;
    // A slot that doesn't hold what is still missing may only be written after the commit.
    let beside = if missing.is_empty() { rows } else { Vec::new() };
    commit(inner, write, held, &anchor, head, beside)
}

/// Makes an append durable in both places, and then says so in the anchor. `beside` are its rows
/// where the anchor may be written beside the commit. See [`anchor`](crate::anchor).
fn commit(
    inner: &Inner,
    write: Transaction<'_>,
    held: Held,
    anchor: &Anchor,
    head: Head,
    beside: Vec<Row>,
) -> Result<Head, JournalError> {
    let held = Arc::new(held);
    let slot = Arc::new(held.prepare(anchor, &head, beside));
    let pending = if slot.has_rows {
        inner.beside.write(&held, &slot)
    } else {
        None
    };
    let committed = write.commit().map_err(fault::sql);
    match pending {
        Some(pending) => {
            let anchored = pending.wait();
            committed.and(anchored)?;
        }
        None => {
            committed?;
            held.write(&slot)?;
        }
    }
    held.settle(&slot)?;
    Ok(head)
}

pub(super) fn read(inner: &Inner, run: &str) -> Result<(Vec<Record>, Head, Report), JournalError> {
    name::check(run)?;
    let mut connection = inner.connection();
    // Before the database: a writer may be at work.
    let anchor = anchor::read(&inner.layout.anchors(), run)?;
    let snapshot = connection.transaction().map_err(fault::sql)?;
    let Some(found) = find(&snapshot, run)? else {
        return Err(match anchor.and_then(|anchor| anchor.head()) {
            Some(head) if head.seq > 0 => cut(run, head.seq, 0),
            _ => JournalError::NotFound(run.to_owned()),
        });
    };
    let mut rows = rows(&snapshot, &found)?;
    let last = rows.last().map_or(0, |row| row.seq);
    let anchor = anchor.ok_or_else(|| unanchored(run, last))?;
    let anchored = anchor.head().ok_or_else(|| JournalError::Altered {
        run: run.to_owned(),
        seq: last,
        detail: "its anchor can't be read".to_owned(),
    })?;
    let missing = anchor.restorable(last);
    let restored = missing.len() as u64;
    rows.extend_from_slice(missing);
    let genesis = chain::genesis(&found.entry);
    let (records, head) = chain::verify(run, &genesis, rows, &anchor.heads())?;
    if records.is_empty() {
        return Err(cut(run, 1, 0));
    }
    let report = Report {
        run: run.to_owned(),
        records: head.seq,
        head: head.clone(),
        anchored,
        restored,
    };
    Ok((records, head, report))
}

pub(super) fn runs(inner: &Inner, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
    let connection = inner.connection();
    let mut query = connection
        .prepare_cached(
            "SELECT number, id, release, target, created, \
             (SELECT max(seq) FROM records WHERE run = number) \
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
    let folder = inner.layout.anchors();
    let files = std::fs::read_dir(&folder)
        .map_err(|error| fault::io(format!("can't list {}", folder.display()), error))?;
    let mut lost = Vec::new();
    for file in files.flatten() {
        let Ok(run) = file.file_name().into_string() else {
            continue;
        };
        if lost.len() >= MAX_RUNS_LISTED || name::check(&run).is_err() {
            continue;
        }
        let anchored = anchor::read(&folder, &run)?.and_then(|anchor| anchor.head());
        if anchored.is_some_and(|head| head.seq > 0) && find(&connection, &run)?.is_none() {
            lost.push(run);
        }
    }
    lost.sort();
    Ok(lost)
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

fn find(connection: &Connection, run: &str) -> Result<Option<Found>, JournalError> {
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
fn tail(connection: &Connection, run: &str) -> Result<(Found, Head), JournalError> {
    let found = find(connection, run)?.ok_or_else(|| JournalError::NotFound(run.to_owned()))?;
    let last = connection
        .prepare_cached("SELECT seq, hash FROM records WHERE run = ? ORDER BY seq DESC LIMIT 1")
        .and_then(|mut query| {
            let head = |row: &rusqlite::Row<'_>| {
                Ok(Head {
                    seq: row.get::<_, i64>(0)?.max(0).cast_unsigned(),
                    hash: row.get(1)?,
                })
            };
            query.query_row([found.number], head).optional()
        })
        .map_err(fault::sql)?;
    let last = last.unwrap_or_else(|| chain::genesis(&found.entry));
    Ok((found, last))
}

/// Checks that the journal, which ends at `end`, has every head that is anchored.
fn agrees(
    connection: &Connection,
    found: &Found,
    anchor: &Anchor,
    end: &Head,
) -> Result<(), JournalError> {
    let run = &found.entry.run;
    let latest = anchor.head().ok_or_else(|| JournalError::Altered {
        run: run.clone(),
        seq: end.seq,
        detail: "its anchor can't be read".to_owned(),
    })?;
    if latest.seq > end.seq {
        return Err(cut(run, latest.seq, end.seq));
    }
    for head in anchor.heads() {
        if head == *end || head == chain::genesis(&found.entry) {
            continue;
        }
        let hash: Option<String> = connection
            .prepare_cached("SELECT hash FROM records WHERE run = ? AND seq = ?")
            .and_then(|mut query| {
                query
                    .query_row(params![found.number, signed(head.seq)], |row| row.get(0))
                    .optional()
            })
            .map_err(fault::sql)?;
        if hash.as_ref() != Some(&head.hash) {
            return Err(JournalError::Altered {
                run: run.clone(),
                seq: head.seq,
                detail: "its hash is not the one that was anchored".to_owned(),
            });
        }
    }
    Ok(())
}

fn insert(connection: &Connection, number: i64, rows: &[Row]) -> Result<(), JournalError> {
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO records (run, seq, at, format, bytes, hash) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .map_err(fault::sql)?;
    for row in rows {
        let at = signed(row.at.as_millis());
        insert
            .execute(params![
                number,
                signed(row.seq),
                at,
                row.format,
                row.bytes,
                row.hash
            ])
            .map_err(fault::sql)?;
    }
    Ok(())
}

/// The rows of a run as they are in the database, checked for their types and sizes only.
fn rows(connection: &Connection, found: &Found) -> Result<Vec<Row>, JournalError> {
    let mut query = connection
        .prepare_cached(
            "SELECT seq, at, format, hash, length(bytes), bytes FROM records \
             WHERE run = ? ORDER BY seq LIMIT ?",
        )
        .map_err(fault::sql)?;
    let most = signed(MAX_RECORDS.saturating_add(1));
    let mut kept = query.query([found.number, most]).map_err(fault::sql)?;
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

fn cut(run: &str, expected: u64, found: u64) -> JournalError {
    JournalError::Cut {
        run: run.to_owned(),
        expected,
        found,
    }
}

fn unanchored(run: &str, seq: u64) -> JournalError {
    JournalError::Altered {
        run: run.to_owned(),
        seq,
        detail: "its anchor is missing, without which records cut off behind it can't be noticed"
            .to_owned(),
    }
}
