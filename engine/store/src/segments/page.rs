//! What is on a sheet: records as lines, and the notes beside them.
//!
//! A line is a record's number, time, format and hash, and its bytes, which are JSON without a line's end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Inboxed, JournalError, RunEntry};
use phasegate_runtime::shelf::{Part, Sheet};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_SHEET_BYTES;
use crate::chain::Row;
use crate::limits::within;

/// Where a sheet's text is.
pub(super) const TEXT: &str = "text";
/// Where on the first sheet it is what is kept with the run.
const KEPT: &str = "kept";
/// The note that is the run's entry.
const ENTRY: &str = "entry";
/// The note that is the number of the last record.
const LAST: &str = "last";

/// Rows and what a sheet says of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The run's entry; the first sheet has it.
    pub entry: Option<RunEntry>,
    /// What is kept with the run, on its first sheet.
    pub kept: Option<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

pub(super) fn name_of(run: &str, seq: u64) -> String {
    format!("phasegate-journal-{run}-{seq:010}")
}

pub(super) fn command_name(run: &str, id: u64) -> String {
    format!("phasegate-command-{run}-{id:06}")
}

pub(super) fn answer_name(run: &str, id: u64) -> String {
    format!("phasegate-answer-{run}-{id:06}")
}

pub(super) fn kept_name(run: &str) -> String {
    format!("phasegate-kept-{run}")
}

/// A line's bytes beside the record's: two numbers of at most 20 digits, a format, a hash, and what is between them.
const LABEL_BYTES: usize = 128;

/// Refuses rows that one sheet can't hold.
pub(super) fn fits(rows: &[Row]) -> Result<(), JournalError> {
    let bytes = rows
        .iter()
        .map(|row| row.bytes.len().saturating_add(LABEL_BYTES));
    let bytes = bytes.fold(0_usize, usize::saturating_add);
    within(
        "an append to a journal in a cluster",
        bytes,
        MAX_SHEET_BYTES,
    )
}

fn lines(rows: &[Row]) -> Result<String, JournalError> {
    let mut text = String::new();
    for row in rows {
        let bytes = std::str::from_utf8(&row.bytes).map_err(|error| unwritable(row.seq, error))?;
        let at = row.at.as_millis();
        writeln!(text, "{} {at} {} {} {bytes}", row.seq, row.format, row.hash)
            .map_err(|error| unwritable(row.seq, error))?;
    }
    Ok(text)
}

fn unwritable(seq: u64, error: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError::Storage(
        format!("record {seq} can't be written"),
        Some(Box::new(error)),
    )
}

fn sheet(name: String, run: &str, part: Part, text: String) -> Sheet {
    Sheet {
        name,
        run: run.to_owned(),
        part,
        notes: BTreeMap::new(),
        text: BTreeMap::from([(TEXT.to_owned(), text)]),
    }
}

/// The first sheet of a run.
pub(super) fn first(
    entry: &RunEntry,
    kept: Option<&str>,
    rows: &[Row],
) -> Result<Sheet, JournalError> {
    let mut first = sheet(
        name_of(&entry.run, 1),
        &entry.run,
        Part::First,
        lines(rows)?,
    );
    if let Some(kept) = kept {
        first.text.insert(KEPT.to_owned(), kept.to_owned());
    }
    first.notes.insert(ENTRY.to_owned(), json(entry)?);
    noted(&mut first, rows);
    Ok(first)
}

/// The sheet that follows the record before `rows`.
pub(super) fn segment(run: &str, after: u64, rows: &[Row]) -> Result<Sheet, JournalError> {
    let name = name_of(run, after.saturating_add(1));
    let mut segment = sheet(name, run, Part::Segment, lines(rows)?);
    noted(&mut segment, rows);
    Ok(segment)
}

fn noted(sheet: &mut Sheet, rows: &[Row]) {
    if let Some(row) = rows.last() {
        sheet.notes.insert(LAST.to_owned(), row.seq.to_string());
    }
}

pub(super) fn command(run: &str, command: &Inboxed) -> Result<Sheet, JournalError> {
    let name = command_name(run, command.id);
    Ok(sheet(name, run, Part::Command, json(command)?))
}

pub(super) fn answer(
    run: &str,
    id: u64,
    answer: &Result<(), String>,
) -> Result<Sheet, JournalError> {
    let name = answer_name(run, id);
    Ok(sheet(name, run, Part::Answer, json(answer)?))
}

fn json(value: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| {
        JournalError::Storage(
            "it can't be written as JSON".to_owned(),
            Some(Box::new(error)),
        )
    })
}

/// What a sheet's text is as JSON.
pub(super) fn read<T: DeserializeOwned>(sheet: &Sheet) -> Result<T, JournalError> {
    let text = sheet.text.get(TEXT).map_or("", String::as_str);
    serde_json::from_str(text).map_err(|error| {
        let what = format!("`{}` is not what an engine wrote", sheet.name);
        JournalError::Storage(what, Some(Box::new(error)))
    })
}

/// The run's entry, by the notes of its first sheet.
pub(super) fn entry(sheet: &Sheet) -> Option<RunEntry> {
    let entry: RunEntry = serde_json::from_str(sheet.notes.get(ENTRY)?).ok()?;
    (entry.run == sheet.run).then_some(entry)
}

/// The number of the last record, by the notes.
pub(super) fn last(sheet: &Sheet) -> u64 {
    let noted = sheet.notes.get(LAST).and_then(|last| last.parse().ok());
    noted.unwrap_or_default()
}

/// The rows of a sheet. Of a line that makes no sense a row that no chain has is made, so that the check names it.
#[must_use]
pub fn rows_of(sheet: &Sheet) -> Page {
    let text = sheet.text.get(TEXT).map_or("", String::as_str);
    Page {
        entry: entry(sheet),
        kept: sheet.text.get(KEPT).cloned(),
        rows: text.lines().map(row).collect(),
    }
}

fn row(line: &str) -> Row {
    let parsed = || {
        let mut parts = line.splitn(5, ' ');
        Some(Row {
            seq: parts.next()?.parse().ok()?,
            at: Timestamp::from_millis(parts.next()?.parse().ok()?),
            format: parts.next()?.parse().ok()?,
            hash: parts.next()?.to_owned(),
            bytes: parts.next()?.as_bytes().to_vec(),
        })
    };
    parsed().unwrap_or(Row {
        seq: 0,
        at: Timestamp::ZERO,
        format: 0,
        bytes: line.as_bytes().to_vec(),
        hash: String::new(),
    })
}

impl Page {
    /// The sheet that is this page of the run, at the place of the row with that number. For tests that damage one.
    ///
    /// # Errors
    /// Where a row holds what can't be written.
    pub fn sheet(&self, run: &str, seq: u64) -> Result<Sheet, JournalError> {
        match &self.entry {
            Some(entry) => first(entry, self.kept.as_deref(), &self.rows),
            None => segment(run, seq.saturating_sub(1), &self.rows),
        }
    }
}
