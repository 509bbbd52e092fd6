//! The tables, and opening them.

#![expect(
    clippy::disallowed_methods,
    reason = "a database that another process holds is waited for, on a thread for blocking work"
)]

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use phasegate_runtime::ports::JournalError;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault;
use super::folder::{Layout, try_lock};
use crate::limits::{BUSY_TIMEOUT, MAX_RECORD_BYTES, MAX_RECORDS};

/// The version of the tables and anchors, `PRAGMA user_version`. A later one is refused, and so are those before the
/// first release; when it goes up after that, the step from the one before belongs into [`prepare`].
pub const SCHEMA: u32 = 3;
/// Marks the file as a journal of this engine, `PRAGMA application_id`: "PGjl".
const APPLICATION: u32 = 0x5047_6a6c;
/// After how many pages of SQLite's log its content moves into the database: 2 MiB.
pub(super) const CHECKPOINT_PAGES: u32 = 500;
/// Bytes of a page.
pub(super) const PAGE_BYTES: u32 = 4096;
/// Most bytes of a row: twice as many as those of a record.
const MAX_VALUE_BYTES: i32 = 8 << 20;
const _: () = assert!(MAX_VALUE_BYTES as usize >= 2 * MAX_RECORD_BYTES);
/// How many statements are kept prepared.
const STATEMENTS: usize = 32;
/// How often a lock is tried until [`BUSY_TIMEOUT`] is over.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How many bits of a record's key are its number within the run; the others are the run's.
const SEQ_BITS: u32 = 20;
/// The largest number that a key has room for.
pub(super) const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;
const _: () = assert!(MAX_RECORDS <= MAX_SEQ);

/// The key of a record: records of a run are beside each other, in their order. None where such a
/// record can't be.
pub(super) fn key(run: i64, seq: u64) -> Option<i64> {
    let seq = i64::try_from(seq).ok().filter(|seq| *seq < 1 << SEQ_BITS)?;
    run.checked_mul(1 << SEQ_BITS)?.checked_add(seq)
}

/// A record is in one tree, under its row id, and SQLite fills the pages of such a tree in order
/// when rows are added at its end: most appends change one page. An index of its own for run and
/// number would be a second page of each append.
const RECORDS: &str = "
CREATE TABLE records (
    key INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    hash TEXT NOT NULL,
    run INTEGER GENERATED ALWAYS AS (key >> 20) VIRTUAL,
    seq INTEGER GENERATED ALWAYS AS (key & 1048575) VIRTUAL
) STRICT;
";

const TABLES: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    release TEXT NOT NULL,
    target TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE inbox (
    run INTEGER NOT NULL REFERENCES runs (number),
    id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    command TEXT NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0,
    refused TEXT,
    PRIMARY KEY (run, id)
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('seat', lower(hex(randomblob(16))));
";

/// Opens the journal of a state directory and makes what is missing. Returns its seat too.
pub(super) fn open(layout: &Layout) -> Result<(Connection, String), JournalError> {
    layout.make()?;
    // Switching to WAL and making the tables are not for two processes at once. The name can't be a run's: it has a `_`.
    let lock = layout.lock("_open");
    let most = BUSY_TIMEOUT.as_millis() / LOCK_RETRY.as_millis();
    let mut tries = 0;
    let _lock = loop {
        if let Some(lock) = try_lock(&lock)? {
            break lock;
        }
        if tries >= most {
            return Err(fault::plain("another process keeps opening the journal"));
        }
        tries += 1;
        std::thread::sleep(LOCK_RETRY);
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(layout.database(), flags).map_err(fault::sql)?;
    prepare(&mut connection)?;
    let seat = seat(layout, &connection)?;
    Ok((connection, seat))
}

/// What holds for every connection, however it is opened.
pub(super) fn bounds(connection: &Connection) -> Result<(), JournalError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault::sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A damaged length doesn't make it load a giant.
    connection
        .set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        .map_err(fault::sql)?;
    // Without it a statement whose bound values once mattered to its plan is planned anew each time.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(fault::sql)?;
    Ok(())
}

/// Nothing that a damaged or forged database holds is taken on trust.
pub(super) fn distrust(connection: &Connection) -> Result<(), JournalError> {
    for (name, value) in [("trusted_schema", "OFF"), ("cell_size_check", "ON")] {
        connection
            .pragma_update(None, name, value)
            .map_err(fault::sql)?;
    }
    Ok(())
}

fn prepare(connection: &mut Connection) -> Result<(), JournalError> {
    bounds(connection)?;
    if version(connection)? == Version::None {
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(fault::sql)?;
        if mode != "wal" {
            return Err(fault::plain(
                "the file system of the state directory can't share memory, which the journal's database needs",
            ));
        }
    }
    for (name, value) in [("synchronous", "FULL"), ("foreign_keys", "ON")] {
        connection
            .pragma_update(None, name, value)
            .map_err(fault::sql)?;
    }
    distrust(connection)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .map_err(fault::sql)?;
    if version(connection)? == Version::This {
        return Ok(());
    }
    let make = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fault::sql)?;
    match version(&make)? {
        Version::This => {}
        Version::None => {
            make.execute_batch(TABLES)
                .and_then(|()| make.execute_batch(RECORDS))
                .and_then(|()| make.pragma_update(None, "application_id", APPLICATION))
                .map_err(fault::sql)?;
        }
    }
    make.pragma_update(None, "user_version", SCHEMA)
        .map_err(fault::sql)?;
    make.commit().map_err(fault::sql)
}

/// Whose tables a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    None,
    This,
}

/// Whose tables are there; an error where they are of a later engine or of something else.
pub(super) fn version(connection: &Connection) -> Result<Version, JournalError> {
    let pragma = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map(i32::cast_unsigned)
            .map_err(fault::sql)
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fault::sql)?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(Version::None),
        (APPLICATION, SCHEMA, _) => Ok(Version::This),
        (APPLICATION, found, _) if found > SCHEMA => Err(JournalError::Newer {
            found,
            supported: SCHEMA,
        }),
        (APPLICATION, found, _) => Err(fault::plain(format!(
            "the journal is of version {found}, from before the first release, and this engine reads version {SCHEMA}: \
             finish its runs with the engine that began them, or use another state directory"
        ))),
        _ => Err(fault::plain(
            "the journal's file is a database of something else",
        )),
    }
}

/// The id that was made with the tables, and which folder they are in: a copy of a state directory is another seat.
pub(super) fn seat(layout: &Layout, connection: &Connection) -> Result<String, JournalError> {
    let id: String = connection
        .query_row("SELECT value FROM meta WHERE name = 'seat'", [], |row| {
            row.get(0)
        })
        .map_err(fault::sql)?;
    let folder = layout
        .folder
        .metadata()
        .map_err(|error| fault::io("can't look at the state directory".to_owned(), error))?;
    Ok(format!("{id}-{:x}-{:x}", folder.dev(), folder.ino()))
}
