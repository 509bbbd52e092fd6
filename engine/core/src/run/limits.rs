//! Every number that bounds a run and that no file sets.

use crate::time::Span;

/// How often the workload is looked at while it follows a write.
pub const SETTLE_INTERVAL: Span = Span::from_secs(2);
/// How soon after one look the next one may follow because the cluster says that something has changed.
pub const STIR_LEAST: Span = Span::from_millis(500);
/// How often the workload is looked at while people are awaited.
pub const WATCH_INTERVAL: Span = Span::from_secs(30);
/// Attempts at a forward write before the step counts as failed.
pub const WRITE_ATTEMPTS: u32 = 5;
/// Attempts at reading before it is said aloud; reading itself goes on until the step's deadline.
pub const READ_WARNING: u32 = 3;
/// Attempts at a notice that isn't critical.
pub const NOTICE_ATTEMPTS: u32 = 2;
/// Attempts at a critical notice before its fallback is used.
pub const CRITICAL_ATTEMPTS: u32 = 5;
/// The first wait before something is tried again; it doubles up to [`BACKOFF_MOST`].
pub const BACKOFF_FIRST: Span = Span::from_secs(1);
/// The longest wait before something is tried again.
pub const BACKOFF_MOST: Span = Span::from_secs(30);
/// The longest wait before the workload is looked at again where looking fails: a step's time goes on meanwhile.
pub const LOOK_BACKOFF_MOST: Span = Span::from_secs(5);
/// How old a look at both sides may be when traffic is shifted or something that serves is taken away.
pub const PROOF_AGE: Span = Span::from_secs(30);
/// How long the way back waits to see what it is about to write over.
pub const LOOK_FIRST: Span = Span::from_secs(10);
/// How long the collecting of diagnostics may hold up the way back.
pub const DIAGNOSIS_TIME: Span = Span::from_secs(10);
/// Time a check may take beyond what its gates' policies need.
pub const CHECK_SLACK: Span = Span::from_mins(30);
/// Time that a soak may take beyond twice its measured time.
pub const SOAK_SLACK: Span = Span::from_mins(30);
/// Approvals and attestations that a run keeps.
pub const PEOPLE_RECORDS: usize = 200;
/// How long what is to be made without an answer - a claim, a piece of the candidate - may still arrive: as long as
/// an API server works on a request unless it is told otherwise.
pub const ARRIVES: Span = Span::from_mins(1);
/// Times that one evaluation may say that it is still under way.
pub const PENDINGS: u32 = 100;
/// Effects that may be without an outcome at once.
pub const OUTSTANDING: usize = 300;
/// Of these, notices: one more is dropped, so that telling people never stands in the way of the rest.
pub const NOTICES: usize = 100;
/// The longest wait that a failure or a probe can ask for.
pub const AFTER_MOST: Span = Span::from_mins(5);
/// Rounds that one event may cause before the machine is declared to be running in circles.
pub const ROUNDS: u32 = 2000;
/// Times that a run may be taken back after success, retried or forced: each makes new keys.
pub const GENERATIONS: u32 = 1000;

/// How long to wait after so many failures.
#[must_use]
pub fn backoff(failures: u32) -> Span {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = BACKOFF_FIRST.times(1 << doublings);
    wait.min(BACKOFF_MOST)
}
