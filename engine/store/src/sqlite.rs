//! The journal in a state directory: SQLite in WAL mode with `synchronous=FULL`, and an anchor for each run.
//!
//! One connection is kept open and used by one thread at a time; calls run on the async runtime's
//! threads for blocking work. An append doesn't where the last one was quick: its caller waits for it
//! in any case, and two changes of thread take about as long as a flush that costs little. An error
//! doesn't prove that nothing was written: whoever gets one reads the run again before going on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use async_trait::async_trait;
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Inboxed, Journal, JournalError, RunEntry};
use rusqlite::Connection;

mod append;
mod commands;
pub(crate) mod fault;
mod folder;
mod log;
mod look;
mod pace;
mod records;
mod room;
mod schema;

#[cfg(test)]
mod tests;

pub use schema::SCHEMA;

use crate::anchor::Flushes;
use crate::name;
use folder::Layout;
use pace::Pace;

/// What a check of a run's journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The run.
    pub run: String,
    /// How many records it has, all of them checked.
    pub records: u64,
    /// Where it ends.
    pub head: Head,
    /// The latest head that the anchor knows. It is behind [`head`](Self::head) where an engine died between
    /// the two writes, or the power went.
    pub anchored: Head,
}

/// A journal in a directory.
#[derive(Clone, Debug)]
pub struct SqliteJournal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    connection: Mutex<Connection>,
    seat: String,
    pace: Pace,
    /// Whether this process has made room in SQLite's log.
    reserved: Once,
    /// What this process flushed of anchors.
    flushes: Mutex<Flushes>,
}

impl Inner {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in another call rolled its transaction back; the connection is sound.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room in SQLite's log, once. To be called in a transaction that writes.
    fn reserve(&self) {
        self.reserved.call_once(|| {
            // Without it appends are slower, and nothing worse.
            let _ = log::reserve(&self.layout.log());
        });
    }

    fn flushes(&self) -> MutexGuard<'_, Flushes> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteJournal {
    /// Opens the journal in the state directory; makes both where they are missing. A directory that is
    /// made is this user's alone; one that is there shares what is in it as it is shared itself.
    ///
    /// # Errors
    /// Where the directory can't be made or used, holds something else, or is of a later engine.
    pub fn open(state: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::open_by(state.into(), schema::open)
    }

    /// Opens the journal in the state directory to read it only, where it can't be written to. Makes nothing.
    ///
    /// # Errors
    /// Where it can't be read, or only where it can be written to as well.
    pub fn look(state: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::open_by(state.into(), look::open)
    }

    fn open_by(
        state: PathBuf,
        how: impl FnOnce(&Layout) -> Result<(Connection, String), JournalError>,
    ) -> Result<Self, JournalError> {
        // SQLite would take the beginning of a relative path for a scheme: `file:…`.
        let folder = std::path::absolute(&state).map_err(|error| {
            fault::io(format!("can't tell where {} is", state.display()), error)
        })?;
        let layout = Layout { folder };
        let (connection, seat) = how(&layout).map_err(|error| room::told(&layout, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                connection: Mutex::new(connection),
                seat,
                pace: Pace::default(),
                reserved: Once::new(),
                flushes: Mutex::default(),
            }),
        })
    }

    /// Whether the state directory holds a journal, for commands that only look and should make nothing.
    ///
    /// # Errors
    /// Where that can't be told: somebody else's directory is not an empty one.
    pub fn exists(state: &Path) -> Result<bool, JournalError> {
        let layout = Layout {
            folder: state.to_owned(),
        };
        let there = |path: &Path| match path.try_exists() {
            // A file in the place of the directory holds no journal.
            Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
            there => there,
        };
        there(&layout.database())
            .and_then(|there_is| Ok(there_is || there(&layout.anchors())?))
            .map_err(|error| {
                let what = format!("can't look into the state directory {}", state.display());
                fault::io(what, error)
            })
    }

    /// Runs that have an anchor where there is no database at all: it was lost as a whole, and to open the
    /// journal would make an empty one.
    ///
    /// # Errors
    /// Where the anchors can't be listed.
    pub fn gone(state: &Path) -> Result<Vec<String>, JournalError> {
        let layout = Layout {
            folder: state.to_owned(),
        };
        let length = layout.database().metadata().map_or(0, |about| about.len());
        if length > 0 || !layout.anchors().is_dir() {
            return Ok(Vec::new());
        }
        records::anchored(&layout.anchors(), |_| Ok(true))
    }

    /// Whether a process drives the run now. Unlike [`drive`](Journal::drive) this needs no right to write.
    ///
    /// # Errors
    /// Where it can't be told.
    pub fn driven(&self, run: &str) -> Result<bool, JournalError> {
        name::check(run)?;
        folder::is_locked(&self.inner.layout.lock(run))
    }

    /// Recomputes the chain of a run and compares it with its anchor.
    ///
    /// # Errors
    /// The first fault that was found.
    pub async fn verify(&self, run: &str) -> Result<Report, JournalError> {
        let run = run.to_owned();
        self.blocking(move |inner| records::read(inner, &run).map(|(_, _, report)| report))
            .await
    }

    /// Runs that have an anchor, but are not in the database: it was lost, or put back to an
    /// earlier state. [`verify`](Self::verify) says `Cut` of each.
    ///
    /// # Errors
    /// Where the anchors can't be listed.
    pub async fn lost(&self) -> Result<Vec<String>, JournalError> {
        self.blocking(records::lost).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let inner = Arc::clone(&self.inner);
        let told = move || work(&inner).map_err(|error| room::told(&inner.layout, error));
        tokio::task::spawn_blocking(told).await.map_err(|error| {
            JournalError::Storage(
                "the journal's work was broken off".to_owned(),
                Some(Box::new(error)),
            )
        })?
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        let (entry, first) = (entry.clone(), first.clone());
        self.blocking(move |inner| append::create(inner, &entry, &first))
            .await
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        if self.inner.pace.quick() {
            return append::append(&self.inner, run, after, records)
                .map_err(|error| room::told(&self.inner.layout, error));
        }
        let (run, after, records) = (run.to_owned(), after.clone(), records.to_vec());
        self.blocking(move |inner| append::append(inner, &run, &after, &records))
            .await
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        let run = run.to_owned();
        self.blocking(move |inner| {
            records::read(inner, &run).map(|(records, head, _)| (records, head))
        })
        .await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        self.blocking(move |inner| records::runs(inner, limit))
            .await
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        name::check(run)?;
        match folder::try_lock(&self.inner.layout.lock(run))? {
            Some(lock) => Ok(Box::new(lock)),
            None => Err(JournalError::InUse(run.to_owned())),
        }
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        let (run, by, command) = (run.to_owned(), by.clone(), command.clone());
        self.blocking(move |inner| commands::post(inner, &run, at, &by, &command))
            .await
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        let run = run.to_owned();
        self.blocking(move |inner| commands::inbox(inner, &run, after))
            .await
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        let (run, refused) = (run.to_owned(), refused.map(str::to_owned));
        self.blocking(move |inner| commands::answer(inner, &run, id, refused.as_deref()))
            .await
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        let run = run.to_owned();
        self.blocking(move |inner| commands::answered(inner, &run, id))
            .await
    }

    fn seat(&self) -> String {
        self.inner.seat.clone()
    }
}
