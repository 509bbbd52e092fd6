//! Runs and their records: adding to them. How an append becomes durable in two places is told in
//! [`anchor`](crate::anchor).

use std::sync::Arc;

use phasegate_core::event::Record;
use phasegate_runtime::ports::{Head, JournalError, RunEntry};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::beside::Pending;
use super::records::{Found, begin, cut, find, signed, tail, unanchored};
use super::{Inner, fault, schema};
use crate::anchor::{Anchor, Held, Known, Prepared};
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
    let known = held.read(None)?;
    if let Some(head) = known.anchor.head().filter(|head| head.seq > 0) {
        return Err(cut(&entry.run, head.seq, 0));
    }
    let held = Arc::new(held);
    let made = start(&held, &write, entry, &genesis, &rows)
        .map(|known| Append::new(inner, &held, known, &genesis, &rows))
        .and_then(|append| append.commit(write));
    if matches!(made, Err(JournalError::Full(_))) {
        // Nothing was committed: what found no room must not stay half-made.
        held.remove(&folder);
    }
    made
}

/// Inserts the run and its first record, and lets its anchor say that there are none yet, so that a
/// crash between the commit and the next write isn't taken for an anchor that was lost.
fn start(
    held: &Held,
    write: &Connection,
    entry: &RunEntry,
    genesis: &Head,
    rows: &[Row],
) -> Result<Known, JournalError> {
    write
        .prepare_cached("INSERT INTO runs (id, release, target, created) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| {
            let created = signed(entry.created.as_millis());
            insert.execute(params![entry.run, entry.release, entry.target, created])
        })
        .map_err(fault::sql)?;
    insert(write, write.last_insert_rowid(), rows)?;
    held.clear()?;
    held.write(&held.prepare(&Anchor::default(), genesis, Vec::new()))?;
    held.read(None)
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
    // Taken out, so that after a fault the anchor is read again.
    let known = held.read(inner.known().take())?;
    let settled = known.anchor.is_settled_at(after);
    let mut append = Append::new(inner, &Arc::new(held), known, after, &rows);
    if settled && append.slot.has_rows() {
        append.begin();
    }
    match insert_after(&append, &mut connection, run, after, &rows) {
        Ok(Ready::Rows(write)) => append.commit(write),
        Ok(Ready::Nothing(end)) => Ok(end),
        Err(fault) => {
            append.take_back();
            Err(fault)
        }
    }
}

/// What an append has come to before its commit.
enum Ready<'c> {
    /// Rows are inserted.
    Rows(Transaction<'c>),
    /// There were none; the journal ends here.
    Nothing(Head),
}

/// Checks that the journal ends at `after`, and inserts the rows.
fn insert_after<'c>(
    append: &Append<'_>,
    connection: &'c mut Connection,
    run: &str,
    after: &Head,
    rows: &[Row],
) -> Result<Ready<'c>, JournalError> {
    let write = begin(connection)?;
    append.inner.reserve();
    let (found, last) = tail(&write, run)?;
    let anchor = &append.known.anchor;
    let missing = anchor.restorable(last.seq);
    let end = missing.last().map_or_else(|| last.clone(), Row::head);
    agrees(&write, &found, anchor, &end)?;
    if let Some(fault) = chain::mismatch(run, after, &end) {
        return Err(fault);
    }
    if rows.is_empty() {
        return Ok(Ready::Nothing(end));
    }
    insert(&write, found.number, missing)?;
    insert(&write, found.number, rows)?;
    Ok(Ready::Rows(write))
}

/// An append on its way into both places. See [`anchor`](crate::anchor).
struct Append<'a> {
    inner: &'a Inner,
    held: Arc<Held>,
    known: Known,
    slot: Arc<Prepared>,
    /// The slot being written beside the commit.
    beside: Option<Pending>,
}

impl<'a> Append<'a> {
    /// An append of these rows after those that the anchor knows of.
    fn new(inner: &'a Inner, held: &Arc<Held>, known: Known, after: &Head, rows: &[Row]) -> Self {
        let head = rows.last().map_or_else(|| after.clone(), Row::head);
        let slot = held.prepare(&known.anchor, &head, rows.to_vec());
        Self {
            inner,
            held: Arc::clone(held),
            known,
            slot: Arc::new(slot),
            beside: None,
        }
    }

    /// Begins to write the slot. Only where all that came before is on disk in both places: the
    /// slot is the only place that can make up for a commit that a crash takes.
    fn begin(&mut self) {
        self.beside = self.inner.beside.write(&self.held, &self.slot);
    }

    /// Makes the rows durable in both places, and then says so in the mark.
    fn commit(mut self, write: Transaction<'_>) -> Result<Head, JournalError> {
        let committed = match write.commit().map_err(fault::sql) {
            Err(full @ JournalError::Full(_)) => {
                self.take_back();
                return Err(full);
            }
            // Any other fault leaves open whether the rows are in the log.
            committed => committed,
        };
        let anchored = match self.beside.take() {
            Some(beside) => beside.wait(),
            None if committed.is_ok() => self.held.write(&self.slot),
            None => Ok(()),
        };
        committed.and(anchored)?;
        self.held.settle(&self.slot)?;
        self.known.follow(&self.slot);
        let head = self.slot.head().clone();
        *self.inner.known() = Some(self.known);
        Ok(head)
    }

    /// The database did not take the rows: the anchor is not to say that they were written.
    fn take_back(self) {
        if let Some(beside) = self.beside {
            // However that went, what was there before is written over it.
            let _ = beside.wait();
            self.held.put_back(&self.known.anchor, &self.slot);
        }
    }
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
