//! The clocks: the machine's own, and one that runs at a multiple of its speed.
//!
//! This is the one place of the engine that asks the machine for the time or waits.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::Clock;
use serde::Deserialize;

use crate::http::{LocalError, get_local};

/// The longest that is slept at a time. A laptop that was closed looks at the clock again after
/// this, since timers of the machine stand still while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);
/// The fastest that simulated time may go.
pub const MAX_SCALE: f64 = 100_000.0;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this adapter is what the ban sends everybody to"
    )]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a machine that doesn't know the time.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(millis(since))
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left == Span::ZERO {
                return;
            }
            sleep(left.to_std().min(LONGEST_SLEEP)).await;
        }
    }
}

/// The clock of a simulated cluster that runs as a process of its own, where time may go faster.
///
/// It is read once; from then on the real time that went by since counts `scale` times.
#[derive(Clone, Copy, Debug)]
pub struct ScaledClock {
    base: Timestamp,
    scale: f64,
    started: Instant,
}

/// A clock that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScaledClockError {
    /// The simulated cluster did not answer.
    #[error("the simulated cluster's clock can't be read")]
    Unreachable(#[source] LocalError),
    /// What it answered is no clock.
    #[error("the simulated cluster's clock makes no sense: {0}")]
    Nonsense(String),
}

#[derive(Deserialize)]
struct Reading {
    now_ms: u64,
    scale: f64,
}

impl ScaledClock {
    /// A clock that shows `base` now, and goes `scale` times as fast as the machine's.
    ///
    /// # Errors
    /// Where the scale isn't above 0 and at most [`MAX_SCALE`].
    pub fn new(base: Timestamp, scale: f64) -> Result<Self, ScaledClockError> {
        if !(scale > 0.0 && scale <= MAX_SCALE) {
            return Err(ScaledClockError::Nonsense(format!("the scale {scale}")));
        }
        Ok(Self {
            base,
            scale,
            started: instant(),
        })
    }

    /// Reads the clock of the simulated cluster at `endpoint`, for example `http://127.0.0.1:8001`.
    ///
    /// # Errors
    /// Where it doesn't answer within a few seconds, or answers something else than a clock.
    pub async fn read(endpoint: &str) -> Result<Self, ScaledClockError> {
        let body = get_local(endpoint, "/simulation/clock")
            .await
            .map_err(ScaledClockError::Unreachable)?;
        let reading: Reading = serde_json::from_slice(&body)
            .map_err(|error| ScaledClockError::Nonsense(error.to_string()))?;
        Self::new(Timestamp::from_millis(reading.now_ms), reading.scale)
    }

    /// How many times faster than the machine's clock it goes.
    #[must_use]
    pub const fn scale(&self) -> f64 {
        self.scale
    }
}

#[async_trait]
impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().mul_f64(self.scale);
        self.base.plus(Span::from_millis(millis(elapsed)))
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left == Span::ZERO {
                return;
            }
            let real = Duration::try_from_secs_f64(left.to_std().as_secs_f64() / self.scale);
            // Rounded up to the timer's own grain, so that the loop doesn't spin.
            let real = real.unwrap_or(LONGEST_SLEEP).max(Duration::from_millis(1));
            sleep(real.min(LONGEST_SLEEP)).await;
        }
    }

    fn budget(&self, span: Span) -> Span {
        let real = span.to_std().as_secs_f64() * self.scale;
        let stretched = Duration::try_from_secs_f64(real).map_or(u64::MAX, millis);
        span.max(Span::from_millis(stretched))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a reading of the machine's clock"
)]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that waits")]
async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_starts_at_its_base_and_never_goes_back() {
        let base = Timestamp::from_millis(1_000_000);
        let clock = ScaledClock::new(base, 1000.0).unwrap();
        let first = clock.now();
        assert!(first >= base);
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_budget_is_never_less_than_it_is_on_the_wall_nor_than_it_is_here() {
        let second = Span::from_secs(1);
        let at = |scale| ScaledClock::new(Timestamp::ZERO, scale).unwrap();
        assert_eq!(at(60.0).budget(second), Span::from_mins(1));
        assert_eq!(at(0.1).budget(second), second);
        assert_eq!(SystemClock.budget(second), second);
        let longest = Span::from_millis(u64::MAX);
        assert_eq!(at(60.0).budget(longest), longest);
    }

    #[test]
    fn a_scale_that_makes_no_sense_is_refused() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 200_000.0] {
            assert!(ScaledClock::new(Timestamp::ZERO, scale).is_err(), "{scale}");
        }
    }

    #[test]
    fn sleeping_ends_when_the_time_has_come_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let clock = ScaledClock::new(Timestamp::ZERO, 10_000.0).unwrap();
        let at = clock.now().plus(Span::from_mins(1));
        runtime.block_on(clock.sleep_until(at));
        assert!(clock.now() >= at);
        let system = SystemClock;
        runtime.block_on(system.sleep_until(Timestamp::ZERO));
        let at = system.now().plus(Span::from_millis(5));
        runtime.block_on(system.sleep_until(at));
        assert!(system.now() >= at);
    }
}
