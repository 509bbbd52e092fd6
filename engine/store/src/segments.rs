//! The journal in a cluster: sheets on a [`Shelf`] that are made once and never changed.
//!
//! | Sheet | Holds |
//! |---|---|
//! | `phasegate-journal-RUN-0000000001` | the run's entry, in its notes, its first record, and what else an engine needs to drive it |
//! | `phasegate-journal-RUN-SEQ` | the records from that number on |
//! | `phasegate-command-RUN-ID`, `phasegate-answer-RUN-ID` | a command that was left, and what became of it |
//! | `phasegate-kept-RUN` | what an older engine kept beside a run, where no hash covers it |
//!
//! **To append is to make the next sheet.** Its name follows from where the journal ends, so that of two engines that
//! append after the same record one is told that there is such a sheet. It leaves: another engine wrote. A request
//! whose answer is missing is looked for, and made again until there is an answer.
//!
//! **Records that can wait** ([`Event::can_wait`](phasegate_core::event::Event::can_wait)) are kept back for at most
//! [`KEPT_BACK`] and go into one sheet with what comes next. An intent never waits, and takes those before it along.
//!
//! **The slip** of a run says which process drives, until it has been silent for [`HOLD`](phasegate_runtime::shelf::HOLD),
//! and where the journal ends, so that a cut-off tail is noticed. It is brought forward after each sheet; an engine
//! that dies in between leaves it behind by one sheet, which no more than hides the loss of that sheet.
//!
//! An engine that was silent for longer than its slip lasts asks for it before it writes anything, and leaves where
//! another has it. While it drives it waits for a server that is away as long as it takes.
//!
//! The chain is that of all journals ([`chain`]), and a reader checks it whole. It begins with what is kept with the run
//! as well.
//!
//! **A run is there as a whole or not at all**: its first sheet is the first that is made. To forget one takes that away
//! first but for the slip, so that what is left by somebody who was broken off is told from a run that was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::{Clock, Head, Inboxed, Journal, JournalError, RunEntry};
use phasegate_runtime::shelf::{Part, Sheet, Shelf};
use tokio::sync::{Mutex, MutexGuard};

use crate::chain::{self, Row};
use crate::limits::{MAX_ENTRY_TEXT, MAX_RUNS_LISTED, within};
use crate::name;

mod hold;
mod inbox;
mod page;
mod records;
mod shelf;

pub use hold::let_go;
pub use page::{Page, rows_of};

/// Most bytes of records in one sheet: a ConfigMap takes 1 MiB, and has names and notes as well.
pub const MAX_SHEET_BYTES: usize = 900 << 10;
/// How long records that can wait are kept back, by the clock of the journal.
pub const KEPT_BACK: Span = Span::from_secs(5);
/// Most records that are kept back.
pub const MAX_KEPT_BACK: usize = 200;
/// Most bytes that are kept back.
const MAX_BYTES_KEPT_BACK: usize = 256 << 10;
/// Most bytes of what is kept with a run: its first sheet holds a plan as well.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// A journal on a shelf. Cheap to clone; clones are the same process.
#[derive(Clone)]
pub struct SegmentJournal {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for SegmentJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentJournal")
            .field("place", &self.inner.shelf.place())
            .finish_non_exhaustive()
    }
}

struct Inner {
    shelf: Arc<dyn Shelf>,
    clock: Arc<dyn Clock>,
    /// Names this process in slips.
    process: String,
    /// Runs that this process drives.
    driven: std::sync::Mutex<BTreeMap<String, hold::Tenure>>,
    known: Mutex<BTreeMap<String, Known>>,
    /// What is to be kept with runs that are about to be created.
    to_keep: std::sync::Mutex<BTreeMap<String, String>>,
    /// Why the shelf doesn't answer, while it is asked again.
    trouble: std::sync::Mutex<Option<Failure>>,
}

/// What this process knows of a run.
#[derive(Default)]
struct Known {
    /// What is kept with it.
    kept: Option<String>,
    /// Its records that are on the shelf, all checked.
    records: Vec<Record>,
    /// Where the shelf's journal ends.
    head: Head,
    /// What is kept back, with what each is.
    back: Vec<(Row, Record)>,
    back_since: Timestamp,
    /// The slip as it was read or written last.
    slip: Option<phasegate_runtime::shelf::Slip>,
    /// The highest number of a command that is known to be there, and of how many an answer is.
    commands: u64,
    answers: u64,
}

impl SegmentJournal {
    /// The journal on this shelf, opened by a process of that name. No two that live have the same: one that is called
    /// as one before knows that this is dead, and need not wait for its slip to run out.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, clock: Arc<dyn Clock>, process: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                shelf,
                clock,
                process,
                driven: std::sync::Mutex::default(),
                known: Mutex::default(),
                to_keep: std::sync::Mutex::default(),
                trouble: std::sync::Mutex::default(),
            }),
        }
    }

    /// Whether a process drives the run now. To look is all that this does.
    ///
    /// # Errors
    /// Where the shelf doesn't answer.
    pub async fn driven(&self, run: &str) -> Result<bool, JournalError> {
        name::check(run)?;
        let slip = self.inner.asked(|| self.inner.shelf.slip(run)).await?;
        Ok(slip.is_some_and(|slip| slip.is_held(self.inner.clock.now())))
    }

    /// Reads the run anew, whatever this process knows of it, and returns where it ends: all up to there was checked.
    ///
    /// # Errors
    /// The first fault that was found.
    pub async fn verify(&self, run: &str) -> Result<Head, JournalError> {
        let mut known = self.inner.known().await;
        self.inner.flush(&mut known, run).await?;
        Ok(self.inner.load(run).await?.head)
    }

    /// Runs whose slip is there, and whose first records are not.
    ///
    /// # Errors
    /// Where the shelf doesn't answer.
    pub async fn lost(&self) -> Result<Vec<String>, JournalError> {
        let slips = self.inner.asked(|| self.inner.shelf.slips()).await?;
        let there = self.inner.firsts().await?;
        let gone = slips
            .into_iter()
            .filter(|slip| !slip.note.is_empty() && !there.contains_key(&slip.run));
        let mut runs: Vec<String> = gone.map(|slip| slip.run).collect();
        runs.sort();
        runs.dedup();
        Ok(runs)
    }

    /// Keeps what else an engine needs to drive the run: with its first record, which is about to be written.
    ///
    /// # Errors
    /// Where it is too large.
    pub fn keep(&self, run: &str, text: &str) -> Result<(), JournalError> {
        name::check(run)?;
        within("what a run needs", text.len(), MAX_KEPT_BYTES)?;
        self.inner.to_keep().insert(run.to_owned(), text.to_owned());
        Ok(())
    }

    /// What was kept for the run.
    ///
    /// # Errors
    /// Where the shelf doesn't answer, or the journal isn't what an engine wrote.
    pub async fn kept(&self, run: &str) -> Result<Option<String>, JournalError> {
        let mut runs = self.inner.known().await;
        if let Some(kept) = &self.inner.found(&mut runs, run).await?.kept {
            return Ok(Some(kept.clone()));
        }
        drop(runs);
        // The run may be of an engine that kept it in a sheet of its own.
        let name = page::kept_name(run);
        let sheet = self.inner.asked(|| self.inner.shelf.get(&name)).await?;
        Ok(sheet.and_then(|mut sheet| sheet.text.remove(page::TEXT)))
    }

    /// Runs of which something is there and neither a first record nor a slip that knows of one: to forget them was
    /// broken off, or an older engine's beginning was.
    ///
    /// # Errors
    /// Where the shelf doesn't answer.
    pub async fn remains(&self) -> Result<Vec<String>, JournalError> {
        let listed = || self.inner.shelf.list(None, &Part::ALL, false);
        let sheets = self.inner.asked(listed).await?;
        let slips = self.inner.asked(|| self.inner.shelf.slips()).await?;
        let firsts = sheets.iter().filter(|sheet| sheet.part == Part::First);
        let noted = slips.iter().filter(|slip| !slip.note.is_empty());
        let known: BTreeSet<&str> = firsts
            .map(|sheet| sheet.run.as_str())
            .chain(noted.map(|slip| slip.run.as_str()))
            .collect();
        let left: BTreeSet<&str> = sheets
            .iter()
            .map(|sheet| sheet.run.as_str())
            .filter(|run| !known.contains(run))
            .collect();
        Ok(left.into_iter().map(str::to_owned).collect())
    }

    /// Takes all that is kept of a run away: first what says that there is one.
    ///
    /// # Errors
    /// Where a process drives it, or the shelf doesn't answer; what is left goes with the next call, and
    /// [`SegmentJournal::remains`] tells of it.
    pub async fn forget(&self, run: &str) -> Result<u64, JournalError> {
        if self.driven(run).await? {
            return Err(JournalError::InUse(run.to_owned()));
        }
        let inner = &self.inner;
        inner.known().await.remove(run);
        inner.asked(|| inner.shelf.remove_slip(run)).await?;
        let listed = || inner.shelf.list(Some(run), &Part::ALL, false);
        let mut sheets = inner.asked(listed).await?;
        sheets.sort_by_key(|sheet| sheet.part);
        let mut removed = 0_u64;
        for sheet in &sheets {
            inner.asked(|| inner.shelf.remove(&sheet.name)).await?;
            removed = removed.saturating_add(1);
        }
        Ok(removed)
    }
}

impl Inner {
    async fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().await
    }

    fn to_keep(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        // A map is whole whatever its last user did.
        self.to_keep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        // It is replaced as a whole.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first sheet of each run, without its text.
    async fn firsts(&self) -> Result<BTreeMap<String, Sheet>, JournalError> {
        let listed = || self.shelf.list(None, &[Part::First], false);
        let sheets = self.asked(listed).await?;
        Ok(sheets
            .into_iter()
            .map(|sheet| (sheet.run.clone(), sheet))
            .collect())
    }
}

#[async_trait]
impl Journal for SegmentJournal {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        name::check(&entry.run)?;
        within("a release's name", entry.release.len(), MAX_ENTRY_TEXT)?;
        within("a target", entry.target.len(), MAX_ENTRY_TEXT)?;
        chain::in_time(entry.created)?;
        let kept = self.inner.to_keep().get(&entry.run).cloned();
        let genesis = chain::beside(&chain::genesis(entry), kept.as_deref());
        let rows = chain::seal(&genesis, std::slice::from_ref(first))?;
        page::fits(&rows)?;
        let sheet = page::first(entry, kept.as_deref(), &rows)?;
        let head = rows.last().map(Row::head).unwrap_or_default();
        let mut known = self.inner.known().await;
        // Without a record of its own it is not known whether an earlier engine made it.
        if !self.inner.put(&sheet).await? {
            return Err(JournalError::Storage(
                format!("run {} is there already", entry.run),
                None,
            ));
        }
        self.inner.to_keep().remove(&entry.run);
        let mut run = Known {
            kept,
            records: vec![first.clone()],
            head: head.clone(),
            ..Known::default()
        };
        self.inner.anchor(&entry.run, &mut run).await;
        known.insert(entry.run.clone(), run);
        Ok(head)
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        self.inner.append(run, after, records).await
    }

    async fn flush(&self, run: &str) -> Result<(), JournalError> {
        let mut known = self.inner.known().await;
        self.inner.flush(&mut known, run).await
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        let mut known = self.inner.known().await;
        self.inner.flush(&mut known, run).await?;
        let known = self.inner.caught_up(&mut known, run).await?;
        Ok((known.records.clone(), known.head.clone()))
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        let parts = [Part::First, Part::Segment];
        let listed = || self.inner.shelf.list(None, &parts, false);
        let sheets = self.inner.asked(listed).await?;
        let mut entries = Vec::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for sheet in &sheets {
            let records = last.entry(sheet.run.clone()).or_default();
            *records = page::last(sheet).max(*records);
            if sheet.part == Part::First
                && let Some(entry) = page::entry(sheet)
            {
                entries.push(entry);
            }
        }
        let newest = entries.into_iter().rev().take(limit.min(MAX_RUNS_LISTED));
        Ok(newest
            .map(|entry| RunEntry {
                records: last.get(&entry.run).copied().unwrap_or_default(),
                ..entry
            })
            .collect())
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        name::check(run)?;
        hold::take(&self.inner, run).await
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        self.inner.post(run, at, by, command).await
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        self.inner.inbox(run, after).await
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        self.inner.answer(run, id, refused).await
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        self.inner.answered(run, id).await
    }

    fn seat(&self) -> String {
        self.inner.shelf.place()
    }

    fn trouble(&self) -> Option<Failure> {
        self.inner.trouble().clone()
    }
}
