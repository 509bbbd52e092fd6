//! A shelf in memory, which can lose answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::Clock;
use phasegate_runtime::shelf::{Part, Sheet, Shelf, ShelfError, Slip};
use phasegate_store::SegmentJournal;

/// What becomes of the next sheet that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every suite lets answers get lost")]
pub(crate) enum Lost {
    /// It never arrived.
    Request,
    /// It was made, and nobody was told.
    Answer,
}

#[derive(Default)]
struct Inner {
    sheets: Vec<Sheet>,
    slips: BTreeMap<String, Slip>,
    version: u64,
    lost: Vec<Lost>,
    /// Until when nothing is answered, by the shelf's own time.
    away: u64,
}

/// Time that goes on whenever somebody waits.
#[derive(Default)]
pub(crate) struct Fake {
    inner: Mutex<Inner>,
    now: AtomicU64,
    processes: AtomicU64,
}

#[allow(dead_code, reason = "not every suite uses all of it")]
impl Fake {
    /// The next sheets meet these misfortunes, the last one first.
    pub(crate) fn lose(&self, lost: &[Lost]) {
        self.inner.lock().unwrap().lost = lost.to_vec();
    }

    /// Nothing is answered for so long.
    pub(crate) fn away(&self, span: Span) {
        let now = self.now.load(Ordering::SeqCst);
        self.inner.lock().unwrap().away = now + span.as_millis();
    }

    fn there(&self) -> Result<(), ShelfError> {
        if self.now.load(Ordering::SeqCst) >= self.inner.lock().unwrap().away {
            return Ok(());
        }
        let (kind, code) = (Kind::Retryable, codes::CLUSTER_UNREACHABLE);
        Err(Failure::new(kind, code, "nobody answers").into())
    }

    pub(crate) fn advance(&self, span: Span) {
        self.now.fetch_add(span.as_millis(), Ordering::SeqCst);
    }

    /// The names of all sheets for this, in the order in which they were made.
    pub(crate) fn names(&self, part: Part) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let sheets = inner.sheets.iter().filter(|sheet| sheet.part == part);
        sheets.map(|sheet| sheet.name.clone()).collect()
    }
}

/// The journal as another process would open it.
pub(crate) fn open(shelf: &Arc<Fake>) -> SegmentJournal {
    let process = shelf.processes.fetch_add(1, Ordering::SeqCst);
    open_as(shelf, &format!("process-{process}"))
}

pub(crate) fn open_as(shelf: &Arc<Fake>, process: &str) -> SegmentJournal {
    let clock = Arc::new(Waits(Arc::clone(shelf)));
    SegmentJournal::new(Arc::clone(shelf) as _, clock, process.to_owned())
}

struct Waits(Arc<Fake>);

#[async_trait]
impl Clock for Waits {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000 + self.0.now.load(Ordering::SeqCst))
    }

    async fn sleep_until(&self, at: Timestamp) {
        // A slip is renewed for as long as the test lasts: only short waits end.
        let wait = at.since(self.now());
        if wait > Span::from_secs(4)
            && wait <= Span::from_secs(6)
            && tokio::task::try_id().is_some()
        {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.0.advance(wait);
    }
}

#[async_trait]
impl Shelf for Fake {
    async fn put(&self, sheet: &Sheet) -> Result<(), ShelfError> {
        tokio::task::yield_now().await;
        self.there()?;
        let mut inner = self.inner.lock().unwrap();
        let lost = inner.lost.pop();
        let unknown = || Err(ShelfError::Unknown("no answer".to_owned()));
        if lost == Some(Lost::Request) {
            return unknown();
        }
        if inner.sheets.iter().any(|found| found.name == sheet.name) {
            return Err(ShelfError::Exists);
        }
        inner.sheets.push(sheet.clone());
        match lost {
            Some(_) => unknown(),
            None => Ok(()),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Sheet>, ShelfError> {
        self.there()?;
        let inner = self.inner.lock().unwrap();
        let found = inner.sheets.iter().find(|sheet| sheet.name == name);
        Ok(found.cloned())
    }

    async fn list(
        &self,
        run: Option<&str>,
        parts: &[Part],
        _: bool,
    ) -> Result<Vec<Sheet>, ShelfError> {
        let inner = self.inner.lock().unwrap();
        let sheets = inner
            .sheets
            .iter()
            .filter(|sheet| parts.contains(&sheet.part) && run.is_none_or(|run| run == sheet.run));
        Ok(sheets.cloned().collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ShelfError> {
        let mut inner = self.inner.lock().unwrap();
        inner.sheets.retain(|sheet| sheet.name != name);
        Ok(())
    }

    async fn slip(&self, run: &str) -> Result<Option<Slip>, ShelfError> {
        tokio::task::yield_now().await;
        self.there()?;
        Ok(self.inner.lock().unwrap().slips.get(run).cloned())
    }

    async fn slips(&self) -> Result<Vec<Slip>, ShelfError> {
        Ok(self.inner.lock().unwrap().slips.values().cloned().collect())
    }

    async fn write(&self, slip: &Slip) -> Result<Slip, ShelfError> {
        tokio::task::yield_now().await;
        self.there()?;
        let mut inner = self.inner.lock().unwrap();
        let found = inner.slips.get(&slip.run);
        match found {
            Some(_) if slip.version.is_empty() => return Err(ShelfError::Exists),
            Some(found) if found.version != slip.version => return Err(ShelfError::Changed),
            None if !slip.version.is_empty() => return Err(ShelfError::Changed),
            _ => {}
        }
        inner.version += 1;
        let written = Slip {
            version: inner.version.to_string(),
            ..slip.clone()
        };
        inner.slips.insert(slip.run.clone(), written.clone());
        Ok(written)
    }

    async fn remove_slip(&self, run: &str) -> Result<(), ShelfError> {
        self.inner.lock().unwrap().slips.remove(run);
        Ok(())
    }

    fn place(&self) -> String {
        "fake".to_owned()
    }
}
