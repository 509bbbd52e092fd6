//! Records: what is kept back, what is written, and what is read.

use std::collections::BTreeMap;

use phasegate_core::event::Record;
use phasegate_runtime::ports::{Head, JournalError};
use phasegate_runtime::shelf::{Part, Sheet};

use super::{Inner, KEPT_BACK, Known, MAX_BYTES_KEPT_BACK, MAX_KEPT_BACK, page};
use crate::chain::{self, Row};
use crate::name;

/// Most sheets that one look finds after those that are known: one for each record that a journal takes.
const MAX_SHEETS: u64 = crate::limits::MAX_RECORDS;

type Runs = BTreeMap<String, Known>;

impl Known {
    /// Where the journal ends, with what is kept back.
    fn end(&self) -> Head {
        self.back
            .last()
            .map_or_else(|| self.head.clone(), |(row, _)| row.head())
    }

    fn bytes_back(&self) -> usize {
        let bytes = self.back.iter().map(|(row, _)| row.bytes.len());
        bytes.fold(0, usize::saturating_add)
    }
}

impl Inner {
    /// The run, read where this process doesn't know it yet.
    pub(super) async fn found<'a>(
        &self,
        runs: &'a mut Runs,
        run: &str,
    ) -> Result<&'a mut Known, JournalError> {
        name::check(run)?;
        if !runs.contains_key(run) {
            let known = self.load(run).await?;
            runs.insert(run.to_owned(), known);
        }
        runs.get_mut(run)
            .ok_or_else(|| JournalError::NotFound(run.to_owned()))
    }

    /// All that is on the shelf of a run, checked.
    pub(super) async fn load(&self, run: &str) -> Result<Known, JournalError> {
        name::check(run)?;
        // Before the records, so that a writer at work is not mistaken for a cut.
        let slip = self.asked(|| self.shelf.slip(run)).await?;
        let anchor = slip.as_ref().and_then(|slip| anchored(&slip.note));
        let listed = || {
            self.shelf
                .list(Some(run), &[Part::First, Part::Segment], true)
        };
        let mut sheets = self.asked(listed).await?;
        sheets.sort_by(|a, b| a.name.cmp(&b.name));
        let Some(first) = sheets.first().filter(|sheet| sheet.part == Part::First) else {
            return Err(match anchor {
                Some(anchor) => JournalError::Cut {
                    run: run.to_owned(),
                    expected: anchor.seq,
                    found: 0,
                },
                None => JournalError::NotFound(run.to_owned()),
            });
        };
        let entry = page::entry(first).ok_or_else(|| JournalError::Altered {
            run: run.to_owned(),
            seq: 1,
            detail: "what is noted of the run is not what an engine wrote".to_owned(),
        })?;
        let kept = page::rows_of(first).kept;
        let genesis = chain::beside(&chain::genesis(&entry), kept.as_deref());
        let rows = sheets.iter().flat_map(|sheet| page::rows_of(sheet).rows);
        let anchors: Vec<Head> = anchor.into_iter().collect();
        let (records, head) = chain::verify(run, &genesis, rows, &anchors)?;
        Ok(Known {
            kept,
            records,
            head,
            slip,
            ..Known::default()
        })
    }

    /// The run with all that was written since it was read.
    pub(super) async fn caught_up<'a>(
        &self,
        runs: &'a mut Runs,
        run: &str,
    ) -> Result<&'a mut Known, JournalError> {
        let fresh = !runs.contains_key(run);
        let known = self.found(runs, run).await?;
        if fresh {
            return Ok(known);
        }
        for _ in 0..MAX_SHEETS {
            let name = page::name_of(run, known.head.seq.saturating_add(1));
            let Some(sheet) = self.asked_of(run, || self.shelf.get(&name)).await? else {
                break;
            };
            let rows = page::rows_of(&sheet).rows;
            let (records, head) = chain::verify(run, &known.head, rows, &[])?;
            known.records.extend(records);
            if head == known.head {
                break;
            }
            known.head = head;
        }
        Ok(known)
    }

    pub(super) async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        let rows = chain::seal(after, records)?;
        page::fits(&rows)?;
        let mut runs = self.known().await;
        self.confirm(run).await?;
        let known = self.found(&mut runs, run).await?;
        if chain::mismatch(run, after, &known.end()).is_some() && known.back.is_empty() {
            // Somebody else may have written since.
            self.caught_up(&mut runs, run).await?;
        }
        let known = self.found(&mut runs, run).await?;
        if let Some(fault) = chain::mismatch(run, after, &known.end()) {
            return Err(fault);
        }
        let now = self.clock.now();
        if known.back.is_empty() {
            known.back_since = now;
        } else {
            // What is kept back and what comes now may be more than one sheet takes.
            let all = known.back.iter().map(|(row, _)| row).chain(&rows);
            let all: Vec<Row> = all.cloned().collect();
            if page::fits(&all).is_err() {
                self.flush(&mut runs, run).await?;
            }
        }
        let known = self.found(&mut runs, run).await?;
        let all_can_wait = records.iter().all(|record| record.event.can_wait());
        known
            .back
            .extend(rows.into_iter().zip(records.iter().cloned()));
        let end = known.end();
        let is_full =
            known.back.len() >= MAX_KEPT_BACK || known.bytes_back() >= MAX_BYTES_KEPT_BACK;
        if !all_can_wait || is_full || known.back_since.plus(KEPT_BACK) <= now {
            self.flush(&mut runs, run).await?;
        }
        Ok(end)
    }

    /// What was kept back for too long is written.
    pub(super) async fn flush_if_due(
        &self,
        runs: &mut Runs,
        run: &str,
    ) -> Result<(), JournalError> {
        let due = runs.get(run).is_some_and(|known| {
            !known.back.is_empty() && known.back_since.plus(KEPT_BACK) <= self.clock.now()
        });
        if due {
            self.flush(runs, run).await?;
        }
        Ok(())
    }

    /// Writes what is kept back, as one sheet.
    pub(super) async fn flush(&self, runs: &mut Runs, run: &str) -> Result<(), JournalError> {
        let Some(known) = runs.get_mut(run).filter(|known| !known.back.is_empty()) else {
            return Ok(());
        };
        let rows: Vec<Row> = known.back.iter().map(|(row, _)| row.clone()).collect();
        let sheet: Sheet = page::segment(run, known.head.seq, &rows)?;
        let written = match self.confirm(run).await {
            Ok(()) => self.put(&sheet).await,
            Err(error) => Err(error),
        };
        if let Ok(false) | Err(JournalError::InUse(_)) = written {
            // Another engine drives or wrote what comes next: what this one knows of the run is worth nothing.
            runs.remove(run);
            return Err(JournalError::InUse(run.to_owned()));
        }
        written?;
        known.head = known.end();
        let written = std::mem::take(&mut known.back);
        known
            .records
            .extend(written.into_iter().map(|(_, record)| record));
        self.anchor(run, known).await;
        Ok(())
    }
}

/// The head that a slip's note is.
pub(super) fn anchored(note: &str) -> Option<Head> {
    let (seq, hash) = note.split_once(' ')?;
    Some(Head {
        seq: seq.parse().ok()?,
        hash: hash.to_owned(),
    })
}

pub(super) fn note(head: &Head) -> String {
    format!("{} {}", head.seq, head.hash)
}
