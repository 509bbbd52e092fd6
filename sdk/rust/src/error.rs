//! Why a call has no result.

use std::fmt;

use crate::bindings::imports::phasegate::types::common;
use crate::{Duration, Problem};

/// Why a call has no result, as the engine understands it.
///
/// Whatever has a `From` below can be passed up with `?`; its kind decides whether the engine asks
/// again.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// Not finished and nothing failed: the engine calls again with the same key after this time.
    Pending(Duration),
    /// The world was not ready; asking again may succeed.
    Retryable {
        /// What was not ready.
        message: String,
        /// When to ask again; none leaves it to the engine.
        after: Option<Duration>,
    },
    /// Asking again can't help.
    Permanent(String),
    /// The config is at fault.
    Misconfigured(Vec<Problem>),
}

/// What a plugin's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The world was not ready, and the engine decides when to ask again.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::Retryable {
            message: message.into(),
            after: None,
        }
    }

    /// The world was not ready and said when it will be.
    pub fn retryable_after(message: impl Into<String>, after: Duration) -> Self {
        Self::Retryable {
            message: message.into(),
            after: Some(after),
        }
    }

    /// Asking again can't help.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(message.into())
    }

    /// The config is at fault at this JSON pointer.
    pub fn misconfigured(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Misconfigured(vec![Problem::new(pointer, message)])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(after) => write!(f, "not finished, ask again in {after}"),
            Self::Retryable { message, .. } | Self::Permanent(message) => f.write_str(message),
            Self::Misconfigured(problems) => {
                f.write_str("the config is at fault")?;
                for problem in problems {
                    write!(f, "; {:?}: {}", problem.pointer, problem.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Permanent(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::Permanent(message.to_owned())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Permanent(error.to_string())
    }
}

impl From<Vec<Problem>> for Error {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Misconfigured(problems)
    }
}

impl From<Error> for common::Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Pending(after) => Self::Pending(after.as_millis()),
            Error::Retryable { message, after } => Self::Retryable(common::Retry {
                message,
                after_ms: after.map(Duration::as_millis),
            }),
            Error::Permanent(message) => Self::Permanent(message),
            Error::Misconfigured(problems) => Self::Misconfigured(problems),
        }
    }
}

impl Problem {
    /// A fault at a JSON pointer; the empty pointer means the whole config.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}
