//! Asking the shelf until it answers: an API server that is away comes back, and what was sent and not answered is
//! looked for before it is sent again.

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::JournalError;
use phasegate_runtime::shelf::{Sheet, ShelfError};

use super::Inner;

/// How long a read is asked for again by whoever looks.
const READ_PATIENCE: Span = Span::from_mins(1);
/// How long a write is.
const WRITE_PATIENCE: Span = Span::from_mins(5);
/// How long either is by the engine that drives the run: a week, so that it is there when the server is. Until it can
/// write it does nothing, and its lease runs out.
pub(super) const DRIVING_PATIENCE: Span = Span::from_mins(7 * 24 * 60);
/// Time between two attempts: it doubles up to the most.
const LEAST_PAUSE: Span = Span::from_millis(200);
const MOST_PAUSE: Span = Span::from_secs(5);

/// Attempts until a time, with pauses in between. What they wait for can be told meanwhile.
pub(super) struct Attempts<'a> {
    inner: &'a Inner,
    until: Timestamp,
    pause: Span,
    failed: bool,
}

impl Attempts<'_> {
    /// Waits before the next one. False where there is none.
    pub(super) async fn again(&mut self, error: &ShelfError) -> bool {
        let clock = &self.inner.clock;
        let now = clock.now();
        if now >= self.until {
            return false;
        }
        self.failed = true;
        *self.inner.trouble() = Some(failure(error));
        clock.sleep_until(now.plus(self.pause)).await;
        let doubled = self.pause.as_millis().saturating_mul(2);
        self.pause = Span::from_millis(doubled).min(MOST_PAUSE);
        true
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if self.failed {
            *self.inner.trouble() = None;
        }
    }
}

impl Inner {
    pub(super) fn attempts(&self, patience: Span) -> Attempts<'_> {
        Attempts {
            inner: self,
            until: self.clock.now().plus(patience),
            pause: LEAST_PAUSE,
            failed: false,
        }
    }

    /// The answer to a read, or to a removal, which may be asked for any number of times.
    pub(super) async fn asked<T, F>(&self, ask: impl Fn() -> F) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, ShelfError>> + Send,
    {
        self.asked_within(READ_PATIENCE, ask).await
    }

    /// The same about a run, which this process may drive.
    pub(super) async fn asked_of<T, F>(
        &self,
        run: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, ShelfError>> + Send,
    {
        self.asked_within(self.patience(run, READ_PATIENCE), ask)
            .await
    }

    fn patience(&self, run: &str, otherwise: Span) -> Span {
        if self.drives(run) {
            DRIVING_PATIENCE
        } else {
            otherwise
        }
    }

    async fn asked_within<T, F>(
        &self,
        patience: Span,
        ask: impl Fn() -> F,
    ) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, ShelfError>> + Send,
    {
        let mut attempts = self.attempts(patience);
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if may_pass(&error) && attempts.again(&error).await => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Makes a sheet. False where there is another one of its name.
    pub(super) async fn put(&self, sheet: &Sheet) -> Result<bool, JournalError> {
        let mut attempts = self.attempts(self.patience(&sheet.run, WRITE_PATIENCE));
        let mut sent = false;
        loop {
            match self.shelf.put(sheet).await {
                Ok(()) => return Ok(true),
                // One that was sent before may have arrived.
                Err(ShelfError::Exists) => return Ok(sent && self.is_there(sheet).await?),
                Err(error) => {
                    sent |= matches!(error, ShelfError::Unknown(_));
                    if !may_pass(&error) || !attempts.again(&error).await {
                        return Err(failed(error));
                    }
                    // Another may have come meanwhile, and is about to make the sheet of this name.
                    self.confirm(&sheet.run).await?;
                }
            }
        }
    }

    async fn is_there(&self, sheet: &Sheet) -> Result<bool, JournalError> {
        let found = self
            .asked_of(&sheet.run, || self.shelf.get(&sheet.name))
            .await?;
        Ok(found.is_some_and(|found| found.text == sheet.text))
    }
}

/// Whether the same can go well a moment later.
pub(super) fn may_pass(error: &ShelfError) -> bool {
    match error {
        ShelfError::Exists | ShelfError::Changed => false,
        ShelfError::Unknown(_) => true,
        ShelfError::Failed(failure) => matches!(failure.kind, Kind::Retryable | Kind::Timeout),
    }
}

/// Why there was no answer.
fn failure(error: &ShelfError) -> Failure {
    match error {
        ShelfError::Failed(failure) => failure.clone(),
        other => {
            let words = other.to_string();
            Failure::new(Kind::Timeout, codes::CLUSTER_UNREACHABLE, words)
        }
    }
}

pub(super) fn failed(error: ShelfError) -> JournalError {
    JournalError::Storage(
        "the journal in the cluster can't be reached".to_owned(),
        Some(Box::new(error)),
    )
}
