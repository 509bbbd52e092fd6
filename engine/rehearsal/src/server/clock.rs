//! The time a simulated cluster lives in.

use async_trait::async_trait;
use phasegate_core::time::{Span, Timestamp};
use tokio::time::Instant;

/// A clock that can be waited on.
#[async_trait]
pub trait Now: Send + Sync + 'static {
    /// What time it is in the cluster.
    fn now(&self) -> Timestamp;

    /// Returns once it is at least that time in the cluster.
    async fn sleep_until(&self, at: Timestamp);

    /// How many times faster than real time it goes; none where time is virtual.
    fn scale(&self) -> Option<f64> {
        None
    }
}

/// Virtual time: tokio's clock, which a test or a rehearsal pauses, counted from a base.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    base: Timestamp,
    start: Instant,
}

impl VirtualClock {
    /// A clock at which it is `base` now. To be made inside the runtime whose clock is paused.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The longest single wait; a later moment takes several.
const LONGEST_WAIT: Span = Span::from_mins(24 * 60);

#[expect(
    clippy::disallowed_methods,
    reason = "this module is the clock of the simulated world"
)]
async fn wait(span: Span) {
    tokio::time::sleep_until(Instant::now() + span.min(LONGEST_WAIT).to_std()).await;
}

#[async_trait]
impl Now for VirtualClock {
    fn now(&self) -> Timestamp {
        self.base
            .plus(Span::from_millis(millis(self.start.elapsed())))
    }

    async fn sleep_until(&self, at: Timestamp) {
        while self.now() < at {
            wait(at.since(self.now())).await;
        }
    }
}

/// Real time, faster or slower by a factor, counted from a base.
#[derive(Clone, Debug)]
pub struct ScaledClock {
    base: Timestamp,
    start: Instant,
    scale: f64,
}

/// The slowest and the fastest that a scaled clock may go.
const SCALES: (f64, f64) = (0.001, 100_000.0);

impl ScaledClock {
    /// A clock at which it is `base` now and which goes `scale` times as fast as real time. A scale
    /// that is not a number counts as 1; others are brought between 0.001 and 100 000.
    #[must_use]
    pub fn starting_at(base: Timestamp, scale: f64) -> Self {
        let scale = if scale.is_nan() {
            1.0
        } else {
            scale.clamp(SCALES.0, SCALES.1)
        };
        Self {
            base,
            start: Instant::now(),
            scale,
        }
    }
}

#[async_trait]
impl Now for ScaledClock {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float saturates, and time is not negative"
    )]
    fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed().as_secs_f64() * self.scale * 1000.0;
        self.base.plus(Span::from_millis(elapsed as u64))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a wait need not be exact: it is checked again"
    )]
    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let now = self.now();
            if now >= at {
                return;
            }
            let real = at.since(now).as_millis() as f64 / self.scale;
            wait(Span::from_millis((real.ceil() as u64).max(1))).await;
        }
    }

    fn scale(&self) -> Option<f64> {
        Some(self.scale)
    }
}

#[async_trait]
impl phasegate_runtime::ports::Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Now::now(self)
    }

    async fn sleep_until(&self, at: Timestamp) {
        Now::sleep_until(self, at).await;
    }
}
