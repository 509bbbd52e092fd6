//! Ways back.

use phasegate_core::run::Level;
use phasegate_core::time::Span;
use serde::Serialize;

use super::{Moment, Person};

/// A way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Back {
    /// When the run turned.
    pub at: Moment,
    /// When it ended, if it has.
    pub ended_at: Option<Moment>,
    /// The line with which it turned.
    pub message: String,
    /// Why.
    pub reason: String,
    /// Who asked for it; none where the engine decided.
    pub by: Option<Person>,
    /// The step that was under way.
    pub step: Option<String>,
    /// What was done.
    pub stages: Vec<Stage>,
    /// Events of the workload.
    pub events: Vec<String>,
    /// Last lines of the pods that failed.
    pub logs: Vec<String>,
}

/// Something that was done on the way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// When.
    pub at: Moment,
    /// How long until the next.
    pub took: Option<Span>,
    /// The kind of line.
    #[serde(rename = "type")]
    pub kind: String,
    /// How grave it is.
    pub level: Level,
    /// The line.
    pub message: String,
}
