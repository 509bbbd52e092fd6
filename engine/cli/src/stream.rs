//! The progress of a run as one stream of lines, projected from its journal.
//!
//! Whoever follows a run live, watches it from another process or reads its history sees the same
//! lines: each record brings about those that [`Run::said`] holds after it. Every other rendering is
//! made of them.

use phasegate_core::event::Record;
use phasegate_core::run::{Illegal, Level, Run};
use phasegate_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The version of the lines' form. Fields may be added to it; a change of what is there makes it 2.
pub const SCHEMA: u32 = 1;

/// A line of the stream. Every field is always there; what doesn't apply is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamLine {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The number of the record that brought it about. Several lines may share one.
    pub seq: u64,
    /// The record's time: RFC 3339, UTC.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// The run.
    pub run: String,
    /// A stable word for the kind of line.
    #[serde(rename = "type")]
    pub kind: String,
    /// The phase, on the way forward.
    pub phase: Option<String>,
    /// The step.
    pub step: Option<String>,
    /// Which attempt, where something is tried again.
    pub attempt: Option<u32>,
    /// How grave it is.
    pub level: Level,
    /// A sentence.
    pub message: String,
    /// The same for machines.
    pub data: Value,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// The lines that the last record of a run brought about.
#[must_use]
pub fn lines(seq: u64, record: &Record, run: &Run) -> Vec<StreamLine> {
    run.said()
        .iter()
        .map(|line| StreamLine {
            schema: SCHEMA,
            seq,
            time: record.at,
            run: run.id().to_owned(),
            kind: line.kind.to_owned(),
            phase: line.phase.clone(),
            step: line.step.clone(),
            attempt: line.attempt,
            level: line.level,
            message: line.message.clone(),
            data: line.data.clone(),
        })
        .collect()
}

/// A run that is read from a journal, record by record.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    run: Option<Run>,
    seq: u64,
}

impl Replay {
    /// Takes in the records that it doesn't know yet, and hands each on with the run after it.
    /// `records` are all records of the run, from the first.
    ///
    /// # Errors
    /// Where the records are not what this engine would have written.
    pub fn catch_up(
        &mut self,
        id: &str,
        records: &[Record],
        mut each: impl FnMut(u64, &Record, &Run),
    ) -> Result<(), Illegal> {
        let known = usize::try_from(self.seq).unwrap_or(usize::MAX);
        for record in records.iter().skip(known) {
            match &mut self.run {
                None => self.run = Some(Run::begin(id, record)?),
                Some(run) => {
                    run.apply(record)?;
                }
            }
            self.seq = self.seq.saturating_add(1);
            if let Some(run) = &self.run {
                each(self.seq, record, run);
            }
        }
        Ok(())
    }

    /// The run as far as it is known.
    #[must_use]
    pub const fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }
}
