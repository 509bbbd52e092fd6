//! What a report says, before it is a page: for the page, and for programs.

mod back;
mod gate;
mod people;
mod timeline;

use phasegate_core::run::{End, Level};
use phasegate_core::time::{Span, Timestamp};
use serde::{Serialize, Serializer};

pub use back::{Back, Stage};
pub use gate::{Cell, Demanded, Figure, Gate, Measured, Point, Streak, Tally, Word};
pub use people::{Agreed, Asked, Attested, Owed, People, Required};
pub use timeline::{Count, Counted, Filling, Mark, Pods, Share, Step, Stretch, Timeline, Traffic};

/// The version of the model's form. Fields may be added to it; a change of what is there makes it 2.
pub const SCHEMA: u32 = 1;

/// A point in time, written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A run, as its records tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was released, and how it ended.
    pub overview: Overview,
    /// When what took place.
    pub timeline: Timeline,
    /// Shares of traffic, per workload.
    pub traffic: Vec<Traffic>,
    /// Pods, per workload.
    pub pods: Vec<Pods>,
    /// What gates measured and said.
    pub gates: Vec<Gate>,
    /// Who had a say.
    pub people: People,
    /// The ways back, where there were any; the last one last.
    pub back: Vec<Back>,
    /// What is owed.
    pub owed: Vec<Owed>,
    /// Who the plugins are.
    pub plugins: Vec<Plugin>,
    /// What the report was made of.
    pub journal: Journal,
    /// What was said, gates that pass left out.
    pub story: Vec<Said>,
    /// What the report's limits left out.
    pub left_out: Vec<LeftOut>,
}

/// What was released, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The run's id.
    pub run: String,
    /// Whether it took place in a simulated world and in virtual time.
    pub rehearsal: bool,
    /// The release.
    pub name: String,
    /// The type of change.
    pub change: String,
    /// The version that was to serve.
    pub version: String,
    /// The version that served before.
    pub previous_version: String,
    /// The environment.
    pub environment: String,
    /// Cluster, namespace and Deployment.
    pub target: String,
    /// The container whose image was released.
    pub container: String,
    /// The Service in front of it.
    pub service: Option<String>,
    /// The image that was to run.
    pub image: String,
    /// The image that ran before.
    pub previous_image: String,
    /// The plan's digest.
    pub plan: String,
    /// Who started it.
    pub started_by: Person,
    /// When.
    pub started_at: Moment,
    /// When it ended, if it has.
    pub ended_at: Option<Moment>,
    /// The time of the last record.
    pub as_of: Moment,
    /// From the start to the end, or to the last record.
    pub took: Span,
    /// Where it is, in words.
    pub state: String,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// Why it went back.
    pub because: Option<String>,
    /// How long the way back took.
    pub rollback: Option<RollbackTime>,
    /// How many times an engine began to drive it.
    pub drives: usize,
}

/// Somebody, and how the engine knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The name.
    pub name: String,
    /// What vouches for it.
    pub verified_by: String,
}

/// How long the way back took, and how long it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackTime {
    /// How long it took, or has taken so far.
    pub took: Span,
    /// How long it should.
    pub target: Span,
    /// Whether it was, or is so far, within its target.
    pub within: bool,
}

/// A plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Its name in the release.
    pub name: String,
    /// The version that it says it is.
    pub version: String,
    /// Where it came from.
    pub source: String,
    /// Which bytes it is.
    pub digest: String,
    /// What it is used for.
    pub used_for: Vec<String>,
}

/// What the report was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// How many records.
    pub records: usize,
    /// The hash at the end of their chain, where they are chained.
    pub head: Option<String>,
    /// Whether the chain was recomputed and held against its anchor.
    pub verified: bool,
}

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The number of the record that brought it about.
    pub seq: u64,
    /// When.
    pub at: Moment,
    /// The kind of line.
    #[serde(rename = "type")]
    pub kind: String,
    /// How grave it is.
    pub level: Level,
    /// The step.
    pub step: Option<String>,
    /// The line.
    pub message: String,
}

/// What a limit left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// How many there were.
    pub of: usize,
    /// How many are shown.
    pub shown: usize,
}
