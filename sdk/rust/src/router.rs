//! Routers: share traffic between stable and candidate.

use serde_json::Value;

use crate::bindings::router::exports::phasegate::router::router as wit;
use crate::config::{self, Config};
use crate::{Call, Offer, Problem, Result, Split};

pub use wit::{Features, Reading, Target};

/// A router. The type is its config, filled from the release file.
pub trait Router: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among routers.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// What it can do here.
    ///
    /// # Errors
    ///
    /// It can't be told now, or never.
    fn supports(&self, call: &Call) -> Result<Features>;

    /// Everything needed to put things back as they are now.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn snapshot(&self, call: &Call, target: &Target) -> Result<Value>;

    /// Asks the data plane to share traffic like this.
    ///
    /// # Errors
    ///
    /// It refuses, or doesn't answer.
    fn set(&self, call: &Call, target: &Target, split: &Split) -> Result<()>;

    /// What the data plane makes of it.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn read(&self, call: &Call, target: &Target) -> Result<Reading>;

    /// Puts things back as the snapshot has them.
    ///
    /// # Errors
    ///
    /// It can't be done, or not now.
    fn restore(&self, call: &Call, target: &Target, snapshot: &Value) -> Result<()>;
}

/// A router as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    pub(crate) supports: fn(&Call) -> Result<Features>,
    pub(crate) snapshot: fn(&Call, &Target) -> Result<Value>,
    pub(crate) set: fn(&Call, &Target, &Split) -> Result<()>,
    pub(crate) read: fn(&Call, &Target) -> Result<Reading>,
    pub(crate) restore: fn(&Call, &Target, &Value) -> Result<()>,
}

impl Entry {
    /// The entry of a router.
    #[must_use]
    pub const fn of<T: Router>() -> Self {
        Self {
            offer: Offer::new::<T>("router", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            supports: |call| call.config::<T>()?.supports(call),
            snapshot: |call, target| call.config::<T>()?.snapshot(call, target),
            set: |call, target, split| call.config::<T>()?.set(call, target, split),
            read: |call, target| call.config::<T>()?.read(call, target),
            restore: |call, target, snapshot| call.config::<T>()?.restore(call, target, snapshot),
        }
    }
}
