//! Notifiers: tell people what happens.

use serde_json::Value;

use crate::bindings::notifier::exports::phasegate::notifier::notifier as wit;
use crate::config::{self, Config};
use crate::{Call, Offer, Problem, Result};

pub use wit::{Notice, Severity};

/// A notifier. The type is its config, filled from the release file.
pub trait Notifier: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among notifiers.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Tells it, at least once: `call.key` tells a repetition. What is returned comes back in
    /// `notice.thread`, to answer in the same thread.
    ///
    /// # Errors
    ///
    /// It wasn't told; the engine repeats what is retryable. A notifier never fails a run.
    fn notify(&self, call: &Call, notice: &Notice) -> Result<Option<Value>>;
}

/// A notifier as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    notify: fn(&Call, &Notice) -> Result<Option<Value>>,
}

impl Entry {
    /// The entry of a notifier.
    #[must_use]
    pub const fn of<T: Notifier>() -> Self {
        Self {
            offer: Offer::new::<T>("notifier", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            notify: |call, notice| call.config::<T>()?.notify(call, notice),
        }
    }

    pub(crate) fn notify(&self, call: &Call, notice: &Notice) -> Result<Option<Value>> {
        (self.notify)(call, notice)
    }
}

impl Severity {
    /// The word for it: `info`, `success`, `warning` or `critical`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
