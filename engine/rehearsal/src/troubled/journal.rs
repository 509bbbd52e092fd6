//! A journal at which the engine dies.

use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Inboxed, Journal, JournalError, RunEntry};

use super::hand::Hand;

pub(super) struct TroubledJournal(pub(super) Arc<dyn Journal>, pub(super) Hand);

impl TroubledJournal {
    async fn around(
        &self,
        seq: u64,
        write: impl Future<Output = Result<Head, JournalError>>,
    ) -> Result<Head, JournalError> {
        let hand = &self.1;
        if hand.trouble.append(seq, false, hand.clock.now()) {
            hand.die().await;
        }
        let head = write.await?;
        if hand.trouble.append(seq, true, hand.clock.now()) {
            hand.die().await;
        }
        Ok(head)
    }
}

#[async_trait]
impl Journal for TroubledJournal {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        self.around(1, self.0.create(entry, first)).await
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        let write = self.0.append(run, after, records);
        self.around(after.seq.saturating_add(1), write).await
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        self.0.read(run).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        self.0.runs(limit).await
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        self.0.drive(run).await
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        self.0.post(run, at, by, command).await
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        self.0.inbox(run, after).await
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        self.0.answer(run, id, refused).await
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        self.0.answered(run, id).await
    }

    fn seat(&self) -> String {
        self.0.seat()
    }
}
