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

/// Most faults of a configuration that are told in one line.
const MAX_TOLD: usize = 3;

/// A request that gave no answer. Shown with the faults of a configuration, where that is why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", told(.problems))]
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

fn told(problems: &[Problem]) -> String {
    let mut text = String::new();
    for (index, problem) in problems.iter().take(MAX_TOLD).enumerate() {
        text.push_str(if index == 0 { ": " } else { "; " });
        if !problem.pointer.is_empty() {
            text.push_str(&format!("at `{}`: ", problem.pointer));
        }
        text.push_str(&problem.message);
    }
    match problems.len().saturating_sub(MAX_TOLD) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;

    #[test]
    fn a_config_that_is_at_fault_is_told_with_what_is_wrong() {
        let mut failure = Failure::new(
            Kind::Misconfigured,
            codes::PLUGIN_MISCONFIGURED,
            "plugin `slack`: its config is at fault",
        );
        assert_eq!(
            failure.to_string(),
            "plugin `slack`: its config is at fault"
        );
        let problem = |pointer: &str, message: &str| Problem {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        failure.problems = vec![problem("/url", "not a URL"), problem("", "no channel")];
        assert_eq!(
            failure.to_string(),
            "plugin `slack`: its config is at fault: at `/url`: not a URL; no channel"
        );
        failure.problems.extend(vec![problem("/x", "y"); 7]);
        assert!(failure.to_string().ends_with("at `/x`: y; and 6 more"));
    }
}
