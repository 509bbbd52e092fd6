//! What the exit code of `phasegate` says, and the faults that end a command.

use std::io;
use std::process::ExitCode;

use phasegate_core::diagnostic::{Code, Diagnostic, Diagnostics, codes};
use phasegate_core::run::{End, State};
use phasegate_runtime::engine::Error as EngineError;
use phasegate_runtime::ports::{JournalError, LeaseError};

/// How a command ended. `docs/cli.md` lists the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked; a run succeeded.
    Succeeded,
    /// The run failed and the old version serves again.
    RolledBack,
    /// What was given can't be used.
    BadInput,
    /// Refused, or cancelled, before anything was changed.
    Refused,
    /// The way back is stuck and needs a person.
    Stuck,
    /// The run waits: for people, or for an engine that goes on with it.
    Waiting,
    /// The run stopped past the point of no return.
    StayedForward,
    /// The engine is at fault.
    Internal,
}

/// Every code, for the reference.
pub const ALL: [(Exit, &str); 8] = [
    (Exit::Succeeded, "succeeded"),
    (Exit::RolledBack, "failed, and rolled back"),
    (Exit::BadInput, "bad input: nothing was started"),
    (
        Exit::Refused,
        "refused or cancelled before anything was changed",
    ),
    (Exit::Stuck, "the rollback is stuck and needs a person"),
    (
        Exit::Waiting,
        "waiting for people, or interrupted: `phasegate resume` goes on",
    ),
    (
        Exit::StayedForward,
        "stopped past the point of no return: stayed forward",
    ),
    (Exit::Internal, "internal error"),
];

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::RolledBack => 1,
            Self::BadInput => 2,
            Self::Refused => 3,
            Self::Stuck => 4,
            Self::Waiting => 5,
            Self::StayedForward => 6,
            Self::Internal => 70,
        }
    }

    /// What a run that is left in this state exits with.
    #[must_use]
    pub const fn of_state(state: &State) -> Self {
        match state {
            State::Ended { end } => match end {
                End::Succeeded => Self::Succeeded,
                End::RolledBack | End::Superseded => Self::RolledBack,
                End::Refused | End::Cancelled => Self::Refused,
                End::StayedForward => Self::StayedForward,
                End::RollbackStuck => Self::Stuck,
            },
            State::RollingBackAwaitingPeople { .. } => Self::Stuck,
            State::Planned
            | State::Running { .. }
            | State::Paused
            | State::AwaitingPeople { .. }
            | State::Interrupted
            | State::RollingBack => Self::Waiting,
        }
    }

    /// What a fault that stopped a command before it changed anything exits with.
    #[must_use]
    pub fn of_code(code: Code) -> Self {
        let input = [
            codes::WORKLOAD_NOT_FOUND,
            codes::UNSUPPORTED_TARGET,
            codes::KUBECONFIG_UNUSABLE,
            codes::CONTEXT_UNKNOWN,
            codes::RUN_NOT_FOUND,
            codes::JOURNAL_TAIL_CUT,
            codes::JOURNAL_ALTERED,
            codes::JOURNAL_NEWER,
            codes::JOURNAL_UNREADABLE,
        ];
        match code.number() {
            901.. => Self::Internal,
            _ if input.contains(&code) => Self::BadInput,
            400..=699 => Self::Refused,
            _ => Self::BadInput,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the user is told.
    pub diagnostics: Diagnostics,
    /// What the process exits with.
    pub exit: Exit,
}

/// How commands end.
pub type Outcome = Result<Exit, Fault>;

impl Fault {
    /// The same, with another exit code.
    #[must_use]
    pub const fn exits(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl From<Diagnostics> for Fault {
    fn from(diagnostics: Diagnostics) -> Self {
        let exit = diagnostics
            .iter()
            .next()
            .map_or(Exit::Internal, |first| Exit::of_code(first.code()));
        Self { diagnostics, exit }
    }
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics::from(diagnostic).into()
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        journal(&error).into()
    }
}

/// A fault that only the engine can be at fault for.
#[must_use]
pub fn internal(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(codes::INTERNAL, message)
        .hint("this is a fault of the engine; please report it")
}

/// What the file system said to the journal, where it was a file system that spoke.
fn refused_by(error: &JournalError) -> Option<io::ErrorKind> {
    let JournalError::Storage(_, Some(source)) = error else {
        return None;
    };
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Whether the journal can't be written to, so that it may still be readable.
#[must_use]
pub fn may_not_write(error: &JournalError) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(
        refused_by(error),
        Some(PermissionDenied | ReadOnlyFilesystem)
    )
}

/// What to do about a journal that can't be used.
fn hint_of(error: &JournalError) -> &'static str {
    match refused_by(error) {
        Some(io::ErrorKind::PermissionDenied) => {
            "it is another account's: whoever made the directory has to share it (`phasegate explain PG0507` says how); check --state, too"
        }
        Some(io::ErrorKind::ReadOnlyFilesystem) => {
            "on a read-only disk runs can be looked at (status, history, report) and nothing can be told to them"
        }
        _ => {
            "check --state, and that you may read and write there; a damaged database has to come from a backup, together with the folder `anchors`"
        }
    }
}

/// A fault of the journal, coded.
#[must_use]
pub fn journal(error: &JournalError) -> Diagnostic {
    let fault = |code| Diagnostic::new(code, error.to_string());
    match error {
        JournalError::NotFound(_) => fault(codes::RUN_NOT_FOUND)
            .hint("`phasegate history` lists the runs of this state directory; check --state"),
        JournalError::Cut {
            expected, found, ..
        } => fault(codes::JOURNAL_TAIL_CUT)
            .expected(format!("{expected} records"))
            .found(format!("{found} records"))
            .hint("restore the state directory from where it is whole; nothing was changed in it"),
        JournalError::Altered { seq, detail, .. } => fault(codes::JOURNAL_ALTERED)
            .expected(format!(
                "record {seq} and its anchor as the engine wrote them"
            ))
            .found(detail.clone())
            .hint("restore the state directory from a backup; nothing was changed in it"),
        JournalError::Newer { found, supported } => fault(codes::JOURNAL_NEWER)
            .expected(format!("format {supported} or older"))
            .found(format!("format {found}"))
            .hint("use the newer engine; nothing was changed in the journal"),
        JournalError::InUse(_) => {
            fault(codes::STATE_IN_USE).hint("`phasegate watch` follows the run from here")
        }
        JournalError::Full(source) => fault(codes::JOURNAL_WRITE_FAILED)
            .caused_by(&**source)
            .hint("make room, then give the command again: nothing was done that isn't in the journal"),
        JournalError::Storage(_, source) => {
            let fault = fault(codes::JOURNAL_UNREADABLE).hint(hint_of(error));
            match source {
                Some(source) => fault.caused_by(&**source),
                None => fault,
            }
        }
        JournalError::Limit(_) => {
            fault(codes::JOURNAL_WRITE_FAILED).hint("a limit of the journal was reached")
        }
    }
}

/// Why an engine could not begin, or stopped. `under_way` says that there is a run to resume.
#[must_use]
pub fn engine(error: &EngineError, run: &str, under_way: bool) -> Fault {
    let resume = format!("`phasegate resume {run}` goes on from where the journal ends");
    let diagnostic = match error {
        EngineError::Journal(error @ JournalError::Full(_)) if under_way => journal(error).hint(
            format!("make room, then {resume}: nothing was done that isn't in the journal"),
        ),
        EngineError::Journal(error) => journal(error),
        EngineError::Lease(LeaseError::Held { holder, until }) => {
            Diagnostic::new(codes::TARGET_BUSY, error.to_string())
                .expected("a target that no engine drives")
                .found(format!(
                    "engine {} with run {} until {until}",
                    holder.engine, holder.run
                ))
                .hint(format!("`phasegate watch {}` follows it", holder.run))
        }
        EngineError::Lease(LeaseError::Lost) => {
            Diagnostic::new(codes::LEASE_LOST, error.to_string()).hint(resume)
        }
        EngineError::Lease(LeaseError::Failed(failure)) | EngineError::Cluster(failure) => {
            let fault = Diagnostic::new(failure.code, failure.to_string());
            if under_way { fault.hint(resume) } else { fault }
        }
        EngineError::Busy {
            run,
            started_by,
            target,
        } => Diagnostic::new(codes::TARGET_BUSY, error.to_string())
            .expected(format!("no unfinished run on {target}"))
            .found(format!("run {run}, started by {started_by}"))
            .hint(format!(
                "`phasegate status {run}` shows where it is; `phasegate resume {run}` or `phasegate abort {run}` ends it"
            )),
        EngineError::Window { opens_at, .. } => {
            let fault = Diagnostic::new(codes::WINDOW_CLOSED, error.to_string());
            match opens_at {
                Some(at) => fault.hint(format!("the window opens at {at}")),
                None => fault.hint("no opening is in sight; ask whoever keeps the policy"),
            }
        }
        EngineError::Fenced(_) => Diagnostic::new(codes::STALE_EPOCH, error.to_string())
            .hint(format!("`phasegate watch {run}` follows it")),
        EngineError::Illegal(_) => internal(error.to_string()),
    };
    let fault = Fault::from(diagnostic);
    if under_way && fault.exit == Exit::Refused {
        return fault.exits(Exit::Waiting);
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_its_own() {
        let mut numbers: Vec<u8> = ALL.iter().map(|(exit, _)| exit.code()).collect();
        numbers.dedup();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 70]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_bad_input_and_a_busy_target_is_a_refusal() {
        for (code, exit) in [
            (codes::UNKNOWN_FIELD, Exit::BadInput),
            (codes::UNKNOWN_ROLE, Exit::BadInput),
            (codes::NOT_A_COMPONENT, Exit::BadInput),
            (codes::SCENARIO_INVALID, Exit::BadInput),
            (codes::JOURNAL_ALTERED, Exit::BadInput),
            (codes::TARGET_BUSY, Exit::Refused),
            (codes::WINDOW_CLOSED, Exit::Refused),
            (codes::PLAN_DRIFTED, Exit::Refused),
            (codes::INTERNAL, Exit::Internal),
        ] {
            assert_eq!(Exit::of_code(code), exit, "{code}");
        }
    }

    #[test]
    fn an_error_in_the_middle_of_a_run_leaves_it_waiting() {
        let full =
            || EngineError::Journal(JournalError::Full(Box::new(std::io::Error::other("x"))));
        assert_eq!(engine(&full(), "r", true).exit, Exit::Waiting);
        assert_eq!(engine(&full(), "r", false).exit, Exit::Refused);
    }
}
