//! What went wrong with a request, and what that means to whoever asked.

use std::fmt;

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::Span;
use phasegate_runtime::ports::{ChangeError, ObjectError};
use serde_json::Value;

use super::{printable_long, text};

/// What a request was about, for messages.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) verb: &'static str,
    /// As RBAC has it: `deployments.apps`.
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
    /// Empty for a collection.
    pub(super) name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace `{namespace}`"),
            None => Ok(()),
        }
    }
}

/// The API server's no.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `NotFound`, `AlreadyExists`, …; empty where it is no Kubernetes that answers.
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) retry_after: Option<Span>,
}

impl Refusal {
    /// What a watch says when it can't go on, a `Status`.
    pub(super) fn of_status(status: &Value) -> Self {
        let code = status.get("code").and_then(Value::as_u64);
        Self {
            status: code
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(500),
            reason: text(status, "/reason").to_owned(),
            message: printable_long(text(status, "/message")),
            retry_after: None,
        }
    }

    fn words(&self) -> String {
        if self.message.is_empty() {
            format!("status {}", self.status)
        } else {
            self.message.clone()
        }
    }

    /// Whether the server gave up waiting for its own storage, which may have done the work.
    fn is_half_done(&self) -> bool {
        let storage_is_late = matches!(self.reason.as_str(), "Timeout" | "ServerTimeout")
            || self.message.contains(STORAGE);
        matches!(self.status, 408 | 502 | 504) || (self.status == 500 && storage_is_late)
    }
}

/// By what the words of the API server's storage are told.
pub(super) const STORAGE: &str = "etcdserver: ";

/// Why a request has no answer that can be used.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It never left.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
    /// The time for it ran out; it may have arrived.
    TimedOut(Span),
    /// It was answered with a refusal.
    Refused(Refusal),
}

impl Fault {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 404)
    }

    /// Whether the object was changed since it was read, or a fresh one has this name.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 409)
    }

    pub(super) fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reason == "AlreadyExists")
    }

    pub(super) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 400)
    }

    /// As the failure of a read.
    pub(super) fn failure(&self, subject: &Subject) -> Failure {
        match self {
            Self::NotSent(why) | Self::Lost(why) => Failure::new(
                Kind::Retryable,
                codes::CLUSTER_UNREACHABLE,
                format!("could not {subject}: {why}"),
            ),
            Self::TimedOut(after) => Failure::new(
                Kind::Timeout,
                codes::CLUSTER_UNREACHABLE,
                format!("could not {subject}: no answer within {after}"),
            ),
            Self::Refused(refusal) => refused(refusal, subject),
        }
    }

    /// As the failure of a write, which may have taken place.
    pub(super) fn change_error(&self, subject: &Subject) -> ChangeError {
        match self {
            Self::Lost(why) => ChangeError::Unknown(format!(
                "the request to {subject} was sent and not answered: {why}"
            )),
            Self::TimedOut(after) => ChangeError::Unknown(format!(
                "the request to {subject} was sent and not answered within {after}"
            )),
            Self::Refused(refusal) if refusal.is_half_done() => ChangeError::Unknown(format!(
                "the API server can't tell whether it did {subject}: {}",
                refusal.words()
            )),
            Self::NotSent(_) | Self::Refused(_) => ChangeError::Failed(self.failure(subject)),
        }
    }

    /// As a plugin is told.
    pub(super) fn object_error(&self, subject: &Subject) -> ObjectError {
        match self {
            Self::NotSent(_) | Self::Lost(_) | Self::TimedOut(_) => {
                ObjectError::Unavailable(self.failure(subject).message)
            }
            Self::Refused(refusal) => match refusal.status {
                404 => ObjectError::NotFound,
                409 => ObjectError::Conflict(refusal.words()),
                403 => ObjectError::Denied(self.failure(subject).message),
                401 | 408 | 410 | 429 | 500..=599 => {
                    ObjectError::Unavailable(self.failure(subject).message)
                }
                _ => ObjectError::Invalid(refusal.words()),
            },
        }
    }
}

fn refused(refusal: &Refusal, subject: &Subject) -> Failure {
    let words = refusal.words();
    let (kind, code, message) = match refusal.status {
        404 => (
            Kind::Permanent,
            codes::WORKLOAD_NOT_FOUND,
            format!("could not {subject}: {words}"),
        ),
        409 => (
            Kind::Conflict,
            codes::CONFLICT,
            format!("could not {subject}: {words}"),
        ),
        // A token that has expired is renewed by whoever gave it: as long as nobody has, it is waited.
        401 => (
            Kind::Retryable,
            codes::CREDENTIALS_REFUSED,
            format!("could not {subject}: the API server doesn't accept the credentials: {words}"),
        ),
        403 => (
            Kind::Denied,
            codes::CLUSTER_REFUSED,
            format!("not allowed to {subject}: {words}"),
        ),
        408 | 410 | 429 | 500..=599 => (
            Kind::Retryable,
            codes::CLUSTER_UNREACHABLE,
            format!(
                "could not {subject}: the API server answered {}: {words}",
                refusal.status
            ),
        ),
        _ => (
            Kind::Permanent,
            codes::CLUSTER_REFUSED,
            format!("could not {subject}: {words}"),
        ),
    };
    Failure::new(kind, code, message).again_after(refusal.retry_after)
}
