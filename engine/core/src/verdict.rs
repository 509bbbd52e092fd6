//! What a gate is asked and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::{Span, Timestamp};

/// A gate's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The demand is met.
    Pass,
    /// The demand is not met.
    Fail,
    /// There is no telling: no data, too little, not finite.
    Inconclusive,
}

/// One figure behind a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// Its unit, `%`, `ms`, or empty for a bare number.
    #[serde(default)]
    pub unit: String,
    /// The candidate's figure; none means no data. Never NaN or infinite: the host makes those none.
    #[serde(default)]
    pub candidate: Option<f64>,
    /// Stable's figure, where the two are compared.
    #[serde(default)]
    pub stable: Option<f64>,
    /// How many observations stand behind the figure.
    #[serde(default)]
    pub samples: Option<u64>,
    /// What was demanded, for people.
    #[serde(default)]
    pub limit: String,
    /// `normal`, `warn`, `alert`, or a band of the gate's own; may be empty.
    #[serde(default)]
    pub band: String,
    /// The verdict on this figure alone.
    pub status: Status,
}

/// A titled address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What is behind it.
    pub title: String,
    /// Where it is.
    pub url: String,
}

/// A name and a value: a label, a header, a field of a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Pair {
    /// A pair of the two.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// What a gate said, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Pass, fail or inconclusive.
    pub status: Status,
    /// One sentence for an operator woken at night.
    pub reason: String,
    /// The figures behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// Where to look further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// How much longer an inconclusive gate needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Span>,
    /// What the gate wants to be given back at its next evaluation in this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Value>,
    /// Whatever else the gate reports.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Its beginning.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// A side of the comparison and how to tell it from the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The version on this side.
    pub version: String,
    /// The Kubernetes Service in front of it; empty where there is none.
    pub service: String,
    /// Labels by which its pods or series are told apart.
    #[serde(default)]
    pub labels: Vec<Pair>,
}

/// What a gate is asked, apart from where in the release the call is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// To be judged: since the workload last changed, until now.
    pub window: Interval,
    /// The time before the run began, of the same length at most.
    pub baseline: Interval,
    /// The candidate's share of traffic, out of 10,000.
    pub candidate_weight: u32,
    /// The version that is being released.
    pub candidate: Side,
    /// The version that served when the run began.
    pub stable: Side,
    /// How often this gate was asked before in this step.
    pub evaluation: u32,
    /// What the last verdict left for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Value>,
}
