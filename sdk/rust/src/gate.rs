//! Gates: a question to the outside world, with a verdict.

use serde::Serialize;

use crate::bindings::gate::exports::phasegate::gate::gate as wit;
use crate::config::{self, Config};
use crate::{Duration, Link, Offer, Problem, Result};

pub use wit::{Interval, Measurement, Question, Side, Status, Verdict};

/// A gate. The type is its config, filled from the release file.
///
/// A gate looks and changes nothing. No data is [`Verdict::inconclusive`], never a pass; an
/// [`Error`](crate::Error) says that the question couldn't be put at all.
pub trait Gate: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among gates.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// The question couldn't be put.
    fn evaluate(&self, question: &Question) -> Result<Verdict>;
}

/// A gate as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    evaluate: fn(&Question) -> Result<Verdict>,
}

impl Entry {
    /// The entry of a gate.
    #[must_use]
    pub const fn of<T: Gate>() -> Self {
        Self {
            offer: Offer::new::<T>("gate", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            evaluate: |question| question.call.config::<T>()?.evaluate(question),
        }
    }

    pub(crate) fn evaluate(&self, question: &Question) -> Result<Verdict> {
        (self.evaluate)(question)
    }
}

impl Verdict {
    /// A verdict with its reason: one sentence that an operator woken at night understands.
    pub fn new(status: Status, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            measurements: Vec::new(),
            links: Vec::new(),
            needs_ms: None,
            memory: None,
            extra: "{}".to_owned(),
        }
    }

    /// All is well.
    pub fn pass(reason: impl Into<String>) -> Self {
        Self::new(Status::Pass, reason)
    }

    /// Something is wrong.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::new(Status::Fail, reason)
    }

    /// There isn't enough to judge by.
    pub fn inconclusive(reason: impl Into<String>) -> Self {
        Self::new(Status::Inconclusive, reason)
    }

    /// Adds a figure that stands behind the verdict.
    #[must_use]
    pub fn measured(mut self, measurement: Measurement) -> Self {
        self.measurements.push(measurement);
        self
    }

    /// Adds something to open.
    #[must_use]
    pub fn link(mut self, title: impl Into<String>, url: impl Into<String>) -> Self {
        self.links.push(Link::new(title, url));
        self
    }

    /// Says how much longer the gate needs before it can judge.
    #[must_use]
    pub fn needs(mut self, more: Duration) -> Self {
        self.needs_ms = Some(more.as_millis());
        self
    }

    /// Leaves something for the next evaluation in the same step, as `question.memory`.
    ///
    /// # Errors
    ///
    /// What can't be written as JSON is [`Error::Permanent`](crate::Error::Permanent).
    pub fn remember(mut self, memory: &impl Serialize) -> Result<Self> {
        self.memory = Some(serde_json::to_string(memory)?);
        Ok(self)
    }
}

impl Measurement {
    /// A figure of the candidate; none, and what isn't finite, means no data.
    pub fn new(name: impl Into<String>, candidate: Option<f64>, status: Status) -> Self {
        let candidate = candidate.filter(|value| value.is_finite());
        Self {
            name: name.into(),
            unit: String::new(),
            candidate,
            stable: None,
            samples: None,
            limit: String::new(),
            band: match status {
                Status::Fail => "alert".to_owned(),
                Status::Pass | Status::Inconclusive => "normal".to_owned(),
            },
            status: match candidate {
                None if status == Status::Pass => Status::Inconclusive,
                _ => status,
            },
        }
    }

    /// The unit: `ms`, `%`, `requests/s`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// What was demanded, for people: `< 1 %`.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<String>) -> Self {
        self.limit = limit.into();
        self
    }

    /// The same figure of the stable side.
    #[must_use]
    pub fn stable(mut self, stable: Option<f64>) -> Self {
        self.stable = stable.filter(|value| value.is_finite());
        self
    }

    /// How many observations stand behind the figure.
    #[must_use]
    pub fn samples(mut self, samples: u64) -> Self {
        self.samples = Some(samples);
        self
    }

    /// `normal`, `warn`, `alert`, or a band of the gate's own.
    #[must_use]
    pub fn band(mut self, band: impl Into<String>) -> Self {
        self.band = band.into();
        self
    }
}

impl Question {
    /// What the last verdict of this step left, where it left something of this type.
    ///
    /// # Errors
    ///
    /// [`Error::Permanent`](crate::Error::Permanent) where it left something else.
    pub fn remembered<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>> {
        let memory = self.memory.as_deref().map(serde_json::from_str);
        Ok(memory.transpose()?)
    }
}
