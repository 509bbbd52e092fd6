//! The story of a rehearsal: what happened, in order, with virtual times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use phasegate_core::run::{Level, Run};
use phasegate_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

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
    /// What a gate said last in a step, without its figures.
    #[serde(skip)]
    verdicts: BTreeMap<(String, String), String>,
}

impl Story {
    /// A story that begins at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            lines: Vec::new(),
            verdicts: BTreeMap::new(),
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
            // What the workload looks like is told by the cluster itself.
            if line.level < Level::Info || line.kind == "workload" {
                continue;
            }
            let place = line
                .step
                .as_deref()
                .or(line.phase.as_deref())
                .unwrap_or("run");
            let text = format!("{place:<16} {}", line.message).replace(run.id(), "RUN");
            if line.kind == "gate" {
                let gate = line.data.get("gate").and_then(Value::as_str);
                let key = (place.to_owned(), gate.unwrap_or_default().to_owned());
                let words = without_figures(&text);
                let same = self.verdicts.get(&key) == Some(&words);
                self.verdicts.insert(key, words);
                // Said once, for as long as a gate says the same about figures that always change.
                if same {
                    continue;
                }
            }
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

    /// Adds lines, at their times: each behind those of the same time.
    pub fn add(&mut self, lines: Vec<Told>) {
        for line in lines {
            if self.lines.len() >= MAX_LINES {
                return;
            }
            let at = self.lines.partition_point(|told| told.at <= line.at);
            self.lines.insert(at, line);
        }
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

/// What a verdict says apart from its figures.
fn without_figures(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_ascii_digit() && *c != '.')
        .collect()
}
