//! Why a request to the outside world, or a plugin, gave no answer.

use serde::{Deserialize, Serialize};

use crate::diagnostic::Code;
use crate::time::Span;

/// What kind of failure it was, which decides whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Not finished, and nothing failed: ask again with the same key.
    Pending,
    /// The world was not ready; asking again may succeed.
    Retryable,
    /// Asking again can't help.
    Permanent,
    /// The configuration is at fault.
    Misconfigured,
    /// The plugin trapped.
    Trap,
    /// The time for the call ran out.
    Timeout,
    /// The plugin wanted more memory than it may have.
    OutOfMemory,
    /// The right that it needs was not granted.
    Denied,
    /// The plugin speaks another version of the contract, or isn't a plugin.
    Incompatible,
    /// Somebody else changed the object, or holds the target.
    Conflict,
    /// The lease or the epoch of this engine is out of date.
    Fenced,
}

impl Kind {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Retryable | Self::Timeout | Self::Conflict
        )
    }
}

/// A fault in a configuration, at a JSON pointer within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) into the config; empty for the whole.
    pub pointer: String,
    /// What is wrong, for people.
    pub message: String,
}

/// A request that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: Kind,
    /// The code under which `phasegate explain` has a page.
    pub code: Code,
    /// What happened, for people: a lower-case fragment.
    pub message: String,
    /// When asking again makes sense, where the other side said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// The faults of a configuration, for `Misconfigured`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure without a time to ask again.
    #[must_use]
    pub fn new(kind: Kind, code: Code, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            after: None,
            problems: Vec::new(),
        }
    }

    /// The same failure, to be tried again after `after`.
    #[must_use]
    pub fn again_after(mut self, after: Option<Span>) -> Self {
        self.after = after;
        self
    }
}
