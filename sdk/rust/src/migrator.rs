//! Migrators: bring a database from one schema to the next.

use crate::bindings::migrator::exports::phasegate::migrator::migrator as wit;
use crate::config::{self, Config};
use crate::{Call, Error, Offer, Problem, Result};

pub use wit::{Breakdown, Database, Impact, Migration, Planned, Report, State};

/// A migrator. The type is its config, filled from the release file.
pub trait Migrator: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among migrators.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// What is applied and what isn't. Changes nothing.
    ///
    /// # Errors
    ///
    /// It can't be told.
    fn inspect(&self, call: &Call) -> Result<Database>;

    /// Exactly these, in this order; anything else that is pending stays so.
    ///
    /// # Errors
    ///
    /// The tool couldn't be run. A migration that failed is a report.
    fn apply(&self, call: &Call, migrations: &[Planned]) -> Result<Report>;

    /// Is the schema what the history says?
    ///
    /// # Errors
    ///
    /// The tool couldn't be run.
    fn verify(&self, call: &Call) -> Result<Report>;

    /// Down to these heads; none is the empty history.
    ///
    /// # Errors
    ///
    /// The tool couldn't be run, or can't go back at all, which is what happens by default.
    fn revert(&self, _call: &Call, _to: &[String]) -> Result<Report> {
        Err(Error::permanent("this migrator can't revert"))
    }

    /// Stops what runs.
    ///
    /// # Errors
    ///
    /// It can't be stopped.
    fn cancel(&self, _call: &Call) -> Result<()> {
        Ok(())
    }
}

/// A migrator as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    pub(crate) inspect: fn(&Call) -> Result<Database>,
    pub(crate) apply: fn(&Call, &[Planned]) -> Result<Report>,
    pub(crate) verify: fn(&Call) -> Result<Report>,
    pub(crate) revert: fn(&Call, &[String]) -> Result<Report>,
    pub(crate) cancel: fn(&Call) -> Result<()>,
}

impl Entry {
    /// The entry of a migrator.
    #[must_use]
    pub const fn of<T: Migrator>() -> Self {
        Self {
            offer: Offer::new::<T>("migrator", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            inspect: |call| call.config::<T>()?.inspect(call),
            apply: |call, migrations| call.config::<T>()?.apply(call, migrations),
            verify: |call| call.config::<T>()?.verify(call),
            revert: |call, to| call.config::<T>()?.revert(call, to),
            cancel: |call| call.config::<T>()?.cancel(call),
        }
    }
}
