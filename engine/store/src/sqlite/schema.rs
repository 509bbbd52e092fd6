//! The state directory and the tables.
//!
//! ```text
//! STATE/            0700
//!   journal.db      0600, and SQLite's -wal and -shm beside it
//!   anchors/RUN     where the journal of RUN ends
//!   locks/RUN.lock  held by the process that drives RUN
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasegate_runtime::ports::JournalError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault;
use crate::limits::BUSY_TIMEOUT;

/// The version of the tables, `PRAGMA user_version`. A later one is refused; when it goes up, the
/// step from the one before belongs into `prepare`.
pub const SCHEMA: u32 = 1;
/// Marks the file as a journal of this engine, `PRAGMA application_id`: "PGjl".
const APPLICATION: u32 = 0x5047_6a6c;
/// After how many pages of SQLite's log its content moves into the database: 4 MiB.
const CHECKPOINT_PAGES: u32 = 1000;
/// How many statements are kept prepared.
const STATEMENTS: usize = 32;
/// How often a lock is tried until [`BUSY_TIMEOUT`] is over.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Records have row ids: SQLite fills the pages of such a table in order when rows are added at its
/// end, where a table without them would split a page for every few records.
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
CREATE TABLE records (
    run INTEGER NOT NULL REFERENCES runs (number),
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (run, seq)
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

/// Where things are in a state directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
}

impl Layout {
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    pub(super) fn anchors(&self) -> PathBuf {
        self.folder.join("anchors")
    }

    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.folder.join("locks").join(format!("{name}.lock"))
    }

    /// Makes what is missing, for this user alone.
    fn make(&self) -> Result<(), JournalError> {
        for folder in [
            self.folder.clone(),
            self.anchors(),
            self.folder.join("locks"),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| {
                    fault::io(
                        format!("can't create the folder {}", folder.display()),
                        error,
                    )
                })?;
        }
        // SQLite gives its own files the rights of this one.
        private(&self.database())?;
        for folder in [Some(self.folder.as_path()), self.folder.parent()] {
            if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(|error| {
                        fault::io(format!("can't open the folder {}", folder.display()), error)
                    })?;
            }
        }
        Ok(())
    }
}

/// Opens a file that only this user may read, or makes it.
fn private(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| fault::io(format!("can't open {}", path.display()), error))
}

/// Takes a lock that the death of the process frees; none where another process has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, JournalError> {
    let file = private(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(fault::io(
            format!("can't lock {}", path.display()),
            error.into(),
        )),
    }
}

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

fn prepare(connection: &mut Connection) -> Result<(), JournalError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault::sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if !check_version(connection)? {
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(fault::sql)?;
        if mode != "wal" {
            return Err(fault::plain(
                "the file system of the state directory can't share memory, which the journal's database needs",
            ));
        }
    }
    for (name, value) in [
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
    ] {
        connection
            .pragma_update(None, name, value)
            .map_err(fault::sql)?;
    }
    connection
        .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .map_err(fault::sql)?;
    let make = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fault::sql)?;
    if !check_version(&make)? {
        make.execute_batch(TABLES).map_err(fault::sql)?;
        make.pragma_update(None, "application_id", APPLICATION)
            .map_err(fault::sql)?;
        make.pragma_update(None, "user_version", SCHEMA)
            .map_err(fault::sql)?;
    }
    make.commit().map_err(fault::sql)
}

/// Whether the tables are there; an error where they are of a later engine or of something else.
fn check_version(connection: &Connection) -> Result<bool, JournalError> {
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
        (0, 0, 0) => Ok(false),
        (APPLICATION, SCHEMA, _) => Ok(true),
        (APPLICATION, found, _) if found > SCHEMA => Err(JournalError::Newer {
            found,
            supported: SCHEMA,
        }),
        _ => Err(fault::plain(
            "the journal's file is a database of something else",
        )),
    }
}

/// The id that was made with the tables, and which folder they are in: a copy of a state directory is another seat.
fn seat(layout: &Layout, connection: &Connection) -> Result<String, JournalError> {
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
