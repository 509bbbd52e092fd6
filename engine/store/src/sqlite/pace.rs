//! How quick appends are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Up to here an append may keep the async runtime's thread from other work.
const QUICK: Duration = Duration::from_millis(2);

/// Whether the last append was quick. The first one isn't: it makes room in SQLite's log.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicBool);

impl Pace {
    /// Whether the next append may be expected to be.
    pub(super) fn quick(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Carries out an append and takes note of how long it took.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is the disk of this machine that is timed, whatever the time in the world"
    )]
    pub(super) fn of<T>(&self, append: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = append();
        self.0.store(start.elapsed() <= QUICK, Ordering::Relaxed);
        done
    }
}
