//! Time, from the clocks that the engine provides; virtual in a rehearsal. Strategies have none.

use crate::{Duration, host};

/// Milliseconds since the Unix epoch, UTC.
#[must_use]
pub fn now_ms() -> u64 {
    host::wall_ms()
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started_ns: u64,
}

const NS_PER_MS: u64 = 1_000_000;

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started_ns: host::monotonic_ns(),
        }
    }

    /// Time since the start, in whole milliseconds.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let ns = host::monotonic_ns().saturating_sub(self.started_ns);
        Duration::from_millis(u32::try_from(ns / NS_PER_MS).unwrap_or(u32::MAX))
    }
}
