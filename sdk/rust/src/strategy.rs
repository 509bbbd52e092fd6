//! Strategies: pure functions from a situation to the steps that change it.

use crate::bindings::strategy::exports::phasegate::strategy::strategy as wit;
use crate::config::{self, Config};
use crate::{Offer, Problem, Result};

pub use wit::{
    Action, Amount, Approve, Autoscaler, Check, Deploy, Judged, Other, Outcome, Placement, Promote,
    Retire, Route, RouterFeatures, Scale, Situation, Slot, Soak, Step, Workload,
};

/// A strategy. The type is its config, filled from the release file.
///
/// A strategy has no clock, no randomness and no network: the same situation gives the same steps.
pub trait Strategy: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among strategies.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// The steps, in order. [`Action::Act`] performs one of [`Situation::actions`], as often as it is planned, for this
    /// workload; an action that is never planned is never performed.
    ///
    /// # Errors
    ///
    /// There is no way to do it in this situation.
    fn plan(&self, situation: &Situation) -> Result<Vec<Step>>;

    /// After a soak: other remaining steps, or none to keep them. The engine refuses a revision
    /// that drops a gate or an approval, shortens a soak below its minimum, or has an action where the
    /// plan had none. A step that is kept has the same id.
    ///
    /// # Errors
    ///
    /// There is no way to go on.
    fn revise(
        &self,
        _situation: &Situation,
        _done: &[Outcome],
        _remaining: &[Step],
    ) -> Result<Option<Vec<Step>>> {
        Ok(None)
    }
}

type Revise = fn(&Situation, &[Outcome], &[Step]) -> Result<Option<Vec<Step>>>;

/// A strategy as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    plan: fn(&Situation) -> Result<Vec<Step>>,
    revise: Revise,
}

impl Entry {
    /// The entry of a strategy.
    #[must_use]
    pub const fn of<T: Strategy>() -> Self {
        Self {
            offer: Offer::new::<T>("strategy", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            plan: |situation| situation.call.config::<T>()?.plan(situation),
            revise: |situation, done, remaining| {
                let config: T = situation.call.config()?;
                config.revise(situation, done, remaining)
            },
        }
    }

    pub(crate) fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        (self.plan)(situation)
    }

    pub(crate) fn revise(
        &self,
        situation: &Situation,
        done: &[Outcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>> {
        (self.revise)(situation, done, remaining)
    }
}

impl Step {
    /// A step. Its id is unique within the plan and names it in the journal and on the screen.
    pub fn new(id: impl Into<String>, action: Action) -> Self {
        Self {
            id: id.into(),
            action,
            extra: "{}".to_owned(),
        }
    }

    /// Declares that nothing serves after this step until the next deployment.
    #[must_use]
    pub fn with_outage(mut self) -> Self {
        self.extra = r#"{"outage":true}"#.to_owned();
        self
    }
}

impl Amount {
    /// All replicas.
    pub const ALL: Self = Self::Percent(100);
}
