//! When what took place, and what became of traffic and pods meanwhile.

use phasegate_core::run::{Level, StepProgress};
use phasegate_core::time::Span;
use serde::Serialize;

use super::{Moment, Person};

/// When what took place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Its beginning.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
    /// The steps, in the plan's order.
    pub steps: Vec<Step>,
    /// What filled the time besides steps.
    pub stretches: Vec<Stretch>,
    /// Points in time that matter.
    pub marks: Vec<Mark>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its phase.
    pub phase: String,
    /// Its id.
    pub id: String,
    /// What it does, in words.
    pub what: String,
    /// How far it is.
    pub progress: StepProgress,
    /// When it began.
    pub started_at: Option<Moment>,
    /// When it ended, or was broken off.
    pub ended_at: Option<Moment>,
    /// For a soak: the time that was measured.
    pub measured: Option<Span>,
    /// For a soak: the time that had to be.
    pub wanted: Option<Span>,
    /// Whether the old version can't come back after it.
    pub point_of_no_return: bool,
    /// Whether it says itself that nothing serves while it is under way.
    pub outage: bool,
}

/// What fills a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// A step may not begin yet.
    Waiting,
    /// The way back.
    Back,
    /// The run has ended, and goes back later.
    Rest,
    /// Nobody drives.
    Away,
}

/// A stretch of time besides steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    /// What fills it.
    pub filling: Filling,
    /// In words.
    pub what: String,
    /// Its beginning.
    pub from: Moment,
    /// Its end.
    pub to: Moment,
}

/// A point in time that matters.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When; the first time, if it was said several times in a row.
    pub at: Moment,
    /// The kind of line.
    #[serde(rename = "type")]
    pub kind: String,
    /// How grave it is.
    pub level: Level,
    /// The line.
    pub message: String,
    /// Whose command it was.
    pub by: Option<Person>,
    /// The step.
    pub step: Option<String>,
    /// How often it was said in a row.
    pub times: usize,
}

/// How traffic was shared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Of which workload; empty where there is one only.
    pub workload: String,
    /// The changes.
    pub shares: Vec<Share>,
}

/// The candidate's share of traffic from a moment on, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// From when.
    pub at: Moment,
    /// What was asked for.
    pub asked: Option<f64>,
    /// What was read back.
    pub read: Option<f64>,
    /// The line.
    pub message: String,
}

/// The pods of a workload over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Of which workload.
    pub workload: String,
    /// The changes.
    pub counts: Vec<Counted>,
    /// Until when they hold.
    pub until: Moment,
}

/// The pods from a moment on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// From when.
    pub at: Moment,
    /// None where nobody could tell.
    pub pods: Option<Count>,
}

/// Pods as they were counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// How many were asked for.
    pub wanted: u64,
    /// How many were ready.
    pub ready: u64,
    /// How many were made from the present template.
    pub updated: u64,
    /// How many there were.
    pub total: u64,
    /// The image that was asked for.
    pub image: String,
}
