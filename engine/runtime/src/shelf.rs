//! The port of a journal that is kept in a cluster: sheets that are made once and never changed, and one slip for
//! each run that says who drives it and where its journal ends.
//!
//! A sheet can only be *made*. Two engines that both want to write what comes next want to make the sheet of the
//! same name, so that one of them is told [`ShelfError::Exists`]: nobody writes over what another has written.

use std::collections::BTreeMap;

use async_trait::async_trait;
use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};

/// How long the slip of an engine that is silent keeps others from driving its run.
pub const HOLD: Span = crate::ports::LEASE_DURATION;

/// What a sheet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The first records of a run; there is a run where there is this.
    First,
    /// The records that follow.
    Segment,
    /// A command that was left for a run.
    Command,
    /// What became of a command.
    Answer,
    /// What else an engine needs to drive the run.
    Kept,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::First,
        Self::Segment,
        Self::Command,
        Self::Answer,
        Self::Kept,
    ];

    /// The word for it, in labels.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Segment => "segment",
            Self::Command => "command",
            Self::Answer => "answer",
            Self::Kept => "kept",
        }
    }
}

/// Something that is made once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Its name: lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// The run that it is of.
    pub run: String,
    /// What it is for.
    pub part: Part,
    /// Short words that are read without the text.
    pub notes: BTreeMap<String, String>,
    /// What it says. Empty where only the notes were asked for.
    pub text: BTreeMap<String, String>,
}

/// Who drives a run, and where its journal ends. The only thing on a shelf that is written over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slip {
    /// The run.
    pub run: String,
    /// Which process drives; empty for none.
    pub holder: String,
    /// When it last said so.
    pub renewed: Timestamp,
    /// Where the journal ends, as its last writer knew; empty for none.
    pub note: String,
    /// What was read, so that a write is refused where it was changed since; empty for a slip that is to be made.
    pub version: String,
}

impl Slip {
    /// Whether a process may drive, by this slip and at this time.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        !self.holder.is_empty() && self.renewed.plus(HOLD) > now
    }
}

/// What a shelf can't do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ShelfError {
    /// There is a sheet or slip of this name.
    #[error("there is one already")]
    Exists,
    /// The slip was changed since it was read, or is gone.
    #[error("it was changed since it was read")]
    Changed,
    /// It was sent and not answered: it may or may not have been done.
    #[error("{0}")]
    Unknown(String),
    /// It was not done.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Where the journals of runs are kept in a cluster. Every call is bounded in time.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Makes a sheet.
    async fn put(&self, sheet: &Sheet) -> Result<(), ShelfError>;
    /// A sheet, if there is one of that name.
    async fn get(&self, name: &str) -> Result<Option<Sheet>, ShelfError>;
    /// The sheets of a run, or of all, that are for one of these; in the order in which they were made. With their
    /// text if `whole`.
    async fn list(
        &self,
        run: Option<&str>,
        parts: &[Part],
        whole: bool,
    ) -> Result<Vec<Sheet>, ShelfError>;
    /// Takes a sheet away; success where there is none.
    async fn remove(&self, name: &str) -> Result<(), ShelfError>;
    /// The slip of a run.
    async fn slip(&self, run: &str) -> Result<Option<Slip>, ShelfError>;
    /// All slips.
    async fn slips(&self) -> Result<Vec<Slip>, ShelfError>;
    /// Writes a slip over the one that was read, or makes it; as it is then.
    async fn write(&self, slip: &Slip) -> Result<Slip, ShelfError>;
    /// Takes the slip of a run away; success where there is none.
    async fn remove_slip(&self, run: &str) -> Result<(), ShelfError>;
    /// Where the shelf is, the same for all who reach it.
    fn place(&self) -> String;
}
