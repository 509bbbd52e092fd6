//! The journal of a state, be it in a directory or in a cluster.

use async_trait::async_trait;
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::failure::Failure;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Inboxed, Journal, JournalError, RunEntry};
use phasegate_store::{SegmentJournal, SqliteJournal};

/// A journal, wherever it is.
#[derive(Clone, Debug)]
pub enum Book {
    /// In a state directory.
    Folder(SqliteJournal),
    /// In a cluster.
    Cluster(SegmentJournal),
}

impl Book {
    /// The port of it.
    fn port(&self) -> &dyn Journal {
        match self {
            Self::Folder(journal) => journal,
            Self::Cluster(journal) => journal,
        }
    }

    /// Whether a process drives the run now.
    ///
    /// # Errors
    /// Where it can't be told.
    pub async fn driven(&self, run: &str) -> Result<bool, JournalError> {
        match self {
            Self::Folder(journal) => journal.driven(run),
            Self::Cluster(journal) => journal.driven(run).await,
        }
    }

    /// Recomputes the chain of a run, compares it with where it is known to end, and returns where it ends.
    ///
    /// # Errors
    /// The first fault that was found.
    pub async fn verify(&self, run: &str) -> Result<Head, JournalError> {
        match self {
            Self::Folder(journal) => Ok(journal.verify(run).await?.head),
            Self::Cluster(journal) => journal.verify(run).await,
        }
    }

    /// Runs that are known to have been there and aren't.
    ///
    /// # Errors
    /// Where it can't be told.
    pub async fn lost(&self) -> Result<Vec<String>, JournalError> {
        match self {
            Self::Folder(journal) => journal.lost().await,
            Self::Cluster(journal) => journal.lost().await,
        }
    }
}

#[async_trait]
impl Journal for Book {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        self.port().create(entry, first).await
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        self.port().append(run, after, records).await
    }

    async fn flush(&self, run: &str) -> Result<(), JournalError> {
        self.port().flush(run).await
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        self.port().read(run).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        self.port().runs(limit).await
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        self.port().drive(run).await
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        self.port().post(run, at, by, command).await
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        self.port().inbox(run, after).await
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        self.port().answer(run, id, refused).await
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        self.port().answered(run, id).await
    }

    fn seat(&self) -> String {
        self.port().seat()
    }

    fn trouble(&self) -> Option<Failure> {
        self.port().trouble()
    }
}
