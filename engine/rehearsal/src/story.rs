//! The story of a rehearsal: what happened, in order, with virtual times.

use std::fmt::Write as _;

use phasegate_core::run::{Level, Run};
use phasegate_core::time::Timestamp;
use serde::Serialize;

/// Most lines of a story.
pub const MAX_LINES: usize = 100_000;

/// Who tells a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The run.
    Engine,
    /// The cluster, as the observer sees it.
    Cluster,
    /// Somebody who acts.
    Person,
    /// The one who plays the rehearsal.
    Stage,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub source: Source,
    /// What.
    pub text: String,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Story {
    start: Timestamp,
    lines: Vec<Told>,
}

impl Story {
    /// A story that begins at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self {
            start,
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn tell(&mut self, at: Timestamp, source: Source, text: impl Into<String>) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(Told {
                at,
                source,
                text: text.into(),
            });
        }
    }

    /// Adds what a record of a run brought about.
    pub fn record(&mut self, run: &Run) {
        for line in run.said() {
            if line.level < Level::Info {
                continue;
            }
            let place = line
                .step
                .as_deref()
                .or(line.phase.as_deref())
                .unwrap_or("run");
            let text = format!("{place:<22} {}", line.message).replace(run.id(), "RUN");
            self.tell(run.now(), Source::Engine, text);
        }
    }

    /// The lines of one source.
    #[must_use]
    pub fn of(&self, source: Source) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line.source == source)
            .map(|line| line.text.as_str())
            .collect()
    }

    /// All lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[Told] {
        &self.lines
    }

    /// Adds the lines of another story, at their times.
    pub fn merge(&mut self, lines: Vec<Told>) {
        self.lines.extend(lines);
        self.lines.sort_by_key(|line| line.at);
    }

    /// The story as text: a line each, with the time since the beginning.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let seconds = line.at.since(self.start).as_millis() / 1000;
            let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let who = match line.source {
                Source::Engine => "",
                Source::Cluster => "    cluster: ",
                Source::Person => "    person: ",
                Source::Stage => "    stage: ",
            };
            // Writing into a string doesn't fail.
            let _ = writeln!(
                out,
                "+{hours:02}:{minutes:02}:{rest:02}  {who}{}",
                line.text
            );
        }
        out
    }
}
