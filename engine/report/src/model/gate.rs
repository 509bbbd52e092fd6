//! What gates measured and said.

use phasegate_core::verdict::{Link, Status};
use serde::Serialize;

use super::Moment;

/// What a gate measured and said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// The plugin, and its offer.
    pub plugin: String,
    /// What was said how often.
    pub said: Tally,
    /// Cells of a strip: what was said in stretches of time, the gravest where there was more.
    pub cells: Vec<Cell>,
    /// Verdicts that say the same, one after the other.
    pub streaks: Vec<Streak>,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Addresses that its last verdict names.
    pub links: Vec<Link>,
    /// Stretches of time in which it was asked without a break.
    pub asked: Vec<(Moment, Moment)>,
}

/// What a gate said; the later, the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// The demand is met.
    Pass,
    /// There is no telling.
    Inconclusive,
    /// It gave no verdict.
    Error,
    /// The demand is not met.
    Fail,
}

impl Word {
    /// The word as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
            Self::Fail => "fail",
        }
    }
}

impl From<Status> for Word {
    fn from(status: Status) -> Self {
        match status {
            Status::Pass => Self::Pass,
            Status::Fail => Self::Fail,
            Status::Inconclusive => Self::Inconclusive,
        }
    }
}

/// What was said how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Passes.
    pub pass: usize,
    /// Failures.
    pub fail: usize,
    /// Verdicts that could not tell.
    pub inconclusive: usize,
    /// Times without a verdict.
    pub error: usize,
}

/// What was said in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The first of them.
    pub from: Moment,
    /// The last of them.
    pub to: Moment,
    /// The gravest of them.
    pub word: Word,
    /// How many there were.
    pub times: usize,
}

/// Verdicts that say the same, one after the other in one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Streak {
    /// The first.
    pub from: Moment,
    /// The last.
    pub to: Moment,
    /// What they say.
    pub word: Word,
    /// How many.
    pub times: usize,
    /// In which step.
    pub step: Option<String>,
    /// The last one's line.
    pub message: String,
}

/// A figure of a gate over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// How often it was measured.
    pub measured: usize,
    /// What was measured; of many values those that make up the picture.
    pub points: Vec<Point>,
    /// What was demanded, and from when on.
    pub demands: Vec<Demanded>,
    /// The last measurement.
    pub last: Measured,
    /// How often the gate was asked since without this figure.
    pub since: usize,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When.
    pub at: Moment,
    /// The candidate's figure; none means no data.
    pub candidate: Option<f64>,
    /// Stable's.
    pub stable: Option<f64>,
    /// The verdict on it.
    pub word: Word,
    /// Its band.
    pub band: Option<String>,
    /// Whether nothing was measured between the one before and this one.
    pub after_gap: bool,
}

/// A demand, and from when on it held.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Demanded {
    /// From when on.
    pub from: Moment,
    /// In the gate's words.
    pub words: String,
}

/// The last measurement of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// When.
    pub at: Moment,
    /// The candidate's figure.
    pub candidate: Option<f64>,
    /// Stable's.
    pub stable: Option<f64>,
    /// The candidate's less stable's.
    pub difference: Option<f64>,
    /// The same in percent of stable's.
    pub percent: Option<f64>,
    /// What was demanded.
    pub limit: String,
    /// The verdict on it.
    pub word: Word,
    /// Its band.
    pub band: Option<String>,
    /// How many observations stand behind it.
    pub samples: Option<u64>,
}
