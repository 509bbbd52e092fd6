//! Runs and their records: adding to them. How the anchor follows is told in [`anchor`](crate::anchor).

use phasegate_core::event::Record;
use phasegate_runtime::ports::{Head, JournalError, RunEntry};
use rusqlite::{Connection, OptionalExtension, params};

use super::records::{Found, begin, cut, find, signed, tail, unanchored, unreadable};
use super::{Inner, fault, schema};
use crate::anchor::{Anchor, Held};
use crate::chain::{self, Row};
use crate::limits::{MAX_ENTRY_TEXT, within};
use crate::name;

pub(super) fn create(
    inner: &Inner,
    entry: &RunEntry,
    first: &Record,
) -> Result<Head, JournalError> {
    name::check(&entry.run)?;
    within("a release's name", entry.release.len(), MAX_ENTRY_TEXT)?;
    within("a target", entry.target.len(), MAX_ENTRY_TEXT)?;
    chain::in_time(entry.created)?;
    let genesis = chain::genesis(entry);
    let rows = chain::seal(&genesis, std::slice::from_ref(first))?;
    let mut connection = inner.connection();
    let write = begin(&mut connection)?;
    inner.reserve();
    if find(&write, &entry.run)?.is_some() {
        return Err(fault::plain(format!("run {} is there already", entry.run)));
    }
    let folder = inner.layout.anchors();
    let held = Held::create(&folder, &entry.run)?;
    if let Some(head) = held.read()?.head().filter(|head| head.seq > 0) {
        return Err(cut(&entry.run, head.seq, 0));
    }
    // The anchor says that there are no records yet, so that a crash after the commit isn't taken for an
    // anchor that was lost.
    let made = held.begin(&genesis).and_then(|()| {
        insert_run(&write, entry)?;
        insert(&write, write.last_insert_rowid(), &rows)?;
        write.commit().map_err(fault::sql)
    });
    if matches!(made, Err(JournalError::Full(_))) {
        // Nothing was committed: what found no room must not stay half-made.
        held.remove(&folder);
    }
    made?;
    anchored(inner, &held, &held.read()?, &genesis, &rows)
}

pub(super) fn append(
    inner: &Inner,
    run: &str,
    after: &Head,
    records: &[Record],
) -> Result<Head, JournalError> {
    inner.pace.of(|| append_timed(inner, run, after, records))
}

fn append_timed(
    inner: &Inner,
    run: &str,
    after: &Head,
    records: &[Record],
) -> Result<Head, JournalError> {
    name::check(run)?;
    let rows = chain::seal(after, records)?;
    let mut connection = inner.connection();
    let Some(held) = Held::open(&inner.layout.anchors(), run)? else {
        let (_, last) = tail(&connection, run)?;
        return Err(unanchored(run, last.seq));
    };
    let anchor = held.read()?;
    let write = begin(&mut connection)?;
    inner.reserve();
    let (found, end) = tail(&write, run)?;
    agrees(&write, &found, &anchor, &end)?;
    if let Some(fault) = chain::mismatch(run, after, &end) {
        return Err(fault);
    }
    if rows.is_empty() {
        return Ok(end);
    }
    insert(&write, found.number, &rows)?;
    write.commit().map_err(fault::sql)?;
    anchored(inner, &held, &anchor, after, &rows)
}

/// Lets the anchor follow a commit.
fn anchored(
    inner: &Inner,
    held: &Held,
    anchor: &Anchor,
    after: &Head,
    rows: &[Row],
) -> Result<Head, JournalError> {
    let head = rows.last().map_or_else(|| after.clone(), Row::head);
    held.write(anchor, &head, &mut inner.flushes())?;
    Ok(head)
}

/// Checks that the journal, which ends at `end`, has every head that is anchored.
fn agrees(
    connection: &Connection,
    found: &Found,
    anchor: &Anchor,
    end: &Head,
) -> Result<(), JournalError> {
    let run = &found.entry.run;
    let latest = anchor.head().ok_or_else(|| unreadable(run, end.seq))?;
    if latest.seq > end.seq {
        return Err(cut(run, latest.seq, end.seq));
    }
    for head in anchor.heads() {
        if head == end || *head == chain::genesis(&found.entry) {
            continue;
        }
        let hash: Option<String> = connection
            .prepare_cached("SELECT hash FROM records WHERE key = ?")
            .and_then(|mut query| {
                query
                    .query_row([schema::key(found.number, head.seq)], |row| row.get(0))
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

fn insert_run(connection: &Connection, entry: &RunEntry) -> Result<(), JournalError> {
    connection
        .prepare_cached("INSERT INTO runs (id, release, target, created) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| {
            let created = signed(entry.created.as_millis());
            insert.execute(params![entry.run, entry.release, entry.target, created])
        })
        .map(|_| ())
        .map_err(fault::sql)
}

fn insert(connection: &Connection, number: i64, rows: &[Row]) -> Result<(), JournalError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO records (key, at, format, bytes, hash) VALUES (?, ?, ?, ?, ?)")
        .map_err(fault::sql)?;
    for row in rows {
        // A key that is null would be chosen by SQLite.
        let key = schema::key(number, row.seq)
            .ok_or_else(|| JournalError::Limit(format!("no room for record {}", row.seq)))?;
        let at = signed(row.at.as_millis());
        insert
            .execute(params![key, at, row.format, row.bytes, row.hash])
            .map_err(fault::sql)?;
    }
    Ok(())
}
