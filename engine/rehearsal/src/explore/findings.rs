//! What an exploration found, folded from one rehearsal after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use phasegate_core::effect::Direction;
use phasegate_core::time::Span;
use serde_json::{Value, json};

use super::Case;
use crate::trouble::{Fault, KINDS, Kind, Mischief, Point, Seen, way};

/// Most cases with a broken invariant that are kept; more are only counted.
const MAX_BROKEN: usize = 20;

/// A case in which something was not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The case.
    pub case: Case,
    /// What was not as it must be.
    pub faults: Vec<String>,
}

/// The case that took longest from its first fault until the old version served again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worst {
    /// The case.
    pub case: String,
    /// How long it took.
    pub took: Span,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many cases were played.
    pub played: usize,
    /// In how many something was not as it must be.
    pub broken_cases: usize,
    /// The first of them, in the order in which cases are made.
    pub broken: Vec<Broken>,
    /// The one with the fewest faults, and of those the earliest.
    pub shortest: Option<Broken>,
    /// The worst time to safety.
    pub worst: Option<Worst>,
    /// How the runs ended.
    pub ends: BTreeMap<String, usize>,
    /// Kinds that were asked for, in each direction.
    asked: BTreeSet<(Kind, Direction)>,
    counts: BTreeMap<String, usize>,
}

/// The cell of the coverage table that a fault is counted in.
pub(super) fn cell(fault: &Fault) -> String {
    let row = match &fault.point {
        Point::Call { kind, .. } => kind.as_str(),
        Point::Record(_) => "record",
    };
    name(row, fault.direction, fault.mischief)
}

fn name(row: &str, direction: Direction, mischief: Mischief) -> String {
    format!("{row} {} {}", way(direction), mischief.as_str())
}

impl Findings {
    /// These calls could have been troubled: what is never troubled of them is a gap in the table.
    pub fn saw(&mut self, seen: &[Seen]) {
        for passed in seen {
            if let Point::Call { kind, .. } = passed.point {
                self.asked.insert((kind, passed.direction));
            }
        }
    }

    /// Adds a rehearsal. To be called in the order of the cases.
    pub fn add(&mut self, case: Case, end: &str, faults: Vec<String>, to_safety: Option<Span>) {
        self.played = self.played.saturating_add(1);
        let count = self.ends.entry(end.to_owned()).or_default();
        *count = count.saturating_add(1);
        // The first of two faults only turns the run: it was tried by itself.
        if let Some(fault) = case.0.last() {
            let count = self.counts.entry(cell(fault)).or_default();
            *count = count.saturating_add(1);
        }
        if let Some(took) = to_safety
            && self.worst.as_ref().is_none_or(|worst| worst.took < took)
        {
            let case = case.to_string();
            self.worst = Some(Worst { case, took });
        }
        if faults.is_empty() {
            return;
        }
        self.broken_cases = self.broken_cases.saturating_add(1);
        let broken = Broken { case, faults };
        let fewer = |than: &Broken| broken.case.0.len() < than.case.0.len();
        if self.shortest.as_ref().is_none_or(fewer) {
            self.shortest = Some(broken.clone());
        }
        if self.broken.len() < MAX_BROKEN {
            self.broken.push(broken);
        }
    }

    fn count(&self, row: &str, direction: Direction, mischief: Mischief) -> usize {
        let key = name(row, direction, mischief);
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// Calls that were asked for and not troubled in a way in which they could have been.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for (kind, direction) in &self.asked {
            for mischief in Mischief::OF_CALLS {
                if mischief.impossible(kind.nature()).is_none()
                    && self.count(kind.as_str(), *direction, mischief) == 0
                {
                    gaps.push(name(kind.as_str(), *direction, mischief));
                }
            }
        }
        gaps
    }

    /// The coverage table: a row for each kind of call and direction, a column for each fault.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{:<18}", "effect, direction");
        for mischief in Mischief::OF_CALLS {
            let _ = write!(out, "  {}", mischief.as_str());
        }
        out.push('\n');
        let mut reasons = BTreeSet::new();
        let mut unasked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for kind in KINDS {
            for direction in [Direction::Forward, Direction::Back] {
                if !self.asked.contains(&(kind, direction)) {
                    let kinds = unasked.entry(way(direction)).or_default();
                    kinds.push(kind.as_str());
                    continue;
                }
                let row = format!("{} {}", kind.as_str(), way(direction));
                let _ = write!(out, "{row:<18}");
                for mischief in Mischief::OF_CALLS {
                    let width = mischief.as_str().len();
                    let text = match mischief.impossible(kind.nature()) {
                        Some(reason) => {
                            reasons.insert((mischief.as_str(), reason));
                            "-".to_owned()
                        }
                        None => self.count(kind.as_str(), direction, mischief).to_string(),
                    };
                    let _ = write!(out, "  {text:>width$}");
                }
                out.push('\n');
            }
        }
        for direction in [Direction::Forward, Direction::Back] {
            let count = |mischief| self.count("record", direction, mischief);
            let _ = writeln!(
                out,
                "records, {}: the engine dies before {} of them and after {}, an operator aborts at {}",
                way(direction),
                count(Mischief::DeathBefore),
                count(Mischief::DeathAfter),
                count(Mischief::Abort)
            );
        }
        for (fault, reason) in reasons {
            let _ = writeln!(out, "-  {fault}: {reason}");
        }
        for (direction, kinds) in unasked {
            let kinds = kinds.join(", ");
            let _ = writeln!(out, "never asked for here, {direction}: {kinds}");
        }
        out
    }

    /// The same for programs: every cell that can be, with its count.
    #[must_use]
    pub fn coverage(&self) -> Value {
        let mut rows = Vec::new();
        for (kind, direction) in &self.asked {
            for mischief in Mischief::OF_CALLS {
                let count = self.count(kind.as_str(), *direction, mischief);
                let mut row = json!({
                    "effect": kind.as_str(),
                    "direction": way(*direction),
                    "fault": mischief.as_str(),
                    "cases": count,
                });
                if let Some(reason) = mischief.impossible(kind.nature()) {
                    row = json!({
                        "effect": kind.as_str(),
                        "direction": way(*direction),
                        "fault": mischief.as_str(),
                        "impossible": reason,
                    });
                }
                rows.push(row);
            }
        }
        for direction in [Direction::Forward, Direction::Back] {
            for mischief in [Mischief::DeathBefore, Mischief::DeathAfter, Mischief::Abort] {
                rows.push(json!({
                    "effect": "record",
                    "direction": way(direction),
                    "fault": mischief.as_str(),
                    "cases": self.count("record", direction, mischief),
                }));
            }
        }
        Value::Array(rows)
    }
}
