//! Actions: one thing outside the cluster's workloads.

use serde_json::Value;

use crate::bindings::action::exports::phasegate::action::action as wit;
use crate::config::{self, Config};
use crate::{Call, Error, Link, Offer, Problem, Result};

pub use wit::{Outcome, Preparation, Progress};

/// An action. The type is its config, filled from the release file.
pub trait Action: Config {
    /// The name that releases use.
    const NAME: &'static str;
    /// One line for people who choose among actions.
    const SUMMARY: &'static str;

    /// Faults that the schema can't express.
    fn validate(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Looks and changes nothing. What it returns is journalled before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// It can't be done here.
    fn prepare(&self, call: &Call) -> Result<Preparation>;

    /// Does it.
    ///
    /// # Errors
    ///
    /// It failed, or isn't finished ([`Error::Pending`]).
    fn run(&self, call: &Call, token: &Value) -> Result<Outcome>;

    /// After a crash: what became of it? By default nobody knows, and a person decides.
    ///
    /// # Errors
    ///
    /// It can't be told now.
    fn probe(&self, _call: &Call, _token: &Value) -> Result<Progress> {
        Ok(Progress::Unknown)
    }

    /// Undoes it. Called only where the preparation said that it is reversible.
    ///
    /// # Errors
    ///
    /// It failed, or can't be undone, which is what happens by default.
    fn undo(&self, _call: &Call, _token: &Value) -> Result<()> {
        Err(Error::permanent("this action can't be undone"))
    }

    /// Stops what runs.
    ///
    /// # Errors
    ///
    /// It can't be stopped.
    fn cancel(&self, _call: &Call, _token: &Value) -> Result<()> {
        Ok(())
    }
}

/// An action as the plugin lists it. Made by [`export!`](crate::export).
pub struct Entry {
    pub(crate) offer: Offer,
    pub(crate) prepare: fn(&Call) -> Result<Preparation>,
    pub(crate) run: fn(&Call, &Value) -> Result<Outcome>,
    pub(crate) probe: fn(&Call, &Value) -> Result<Progress>,
    pub(crate) undo: fn(&Call, &Value) -> Result<()>,
    pub(crate) cancel: fn(&Call, &Value) -> Result<()>,
}

impl Entry {
    /// The entry of an action.
    #[must_use]
    pub const fn of<T: Action>() -> Self {
        Self {
            offer: Offer::new::<T>("action", T::NAME, T::SUMMARY, |json| {
                config::check(json, T::validate)
            }),
            prepare: |call| call.config::<T>()?.prepare(call),
            run: |call, token| call.config::<T>()?.run(call, token),
            probe: |call, token| call.config::<T>()?.probe(call, token),
            undo: |call, token| call.config::<T>()?.undo(call, token),
            cancel: |call, token| call.config::<T>()?.cancel(call, token),
        }
    }
}

impl Preparation {
    /// What will be done, and what [`Action::run`] will need for it.
    pub fn new(summary: impl Into<String>, token: &Value) -> Self {
        Self {
            summary: summary.into(),
            token: token.to_string(),
            reversible: false,
        }
    }

    /// Says that [`Action::undo`] can undo it.
    #[must_use]
    pub fn reversible(mut self) -> Self {
        self.reversible = true;
        self
    }
}

impl Outcome {
    /// What was done.
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            outputs: "{}".to_owned(),
            links: Vec::new(),
        }
    }

    /// What later steps may know: a backup's id. A JSON object.
    #[must_use]
    pub fn outputs(mut self, outputs: &Value) -> Self {
        self.outputs = outputs.to_string();
        self
    }

    /// Adds something to open.
    #[must_use]
    pub fn link(mut self, title: impl Into<String>, url: impl Into<String>) -> Self {
        self.links.push(Link::new(title, url));
        self
    }
}
