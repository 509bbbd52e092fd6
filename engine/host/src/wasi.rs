//! WASI with nothing granted: no files, no network, no variables. What languages need to start is
//! there; clocks and randomness come from the world, or stand still for a strategy.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::Clock;
use rand_core::TryRng;
use sha2::{Digest, Sha256};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

/// The moment at which a strategy's call takes place, wherever and whenever it does: 2020-01-01.
const FIXED_TIME: Timestamp = Timestamp::from_millis(1_577_836_800_000);
/// Bytes of standard error that a plugin may write at once.
const WRITE_PERMIT: usize = 64 << 10;

/// Time and chance as one call meets them.
#[derive(Clone)]
pub(crate) struct Surroundings {
    clock: PluginClock,
    seed: [u8; 32],
}

impl Surroundings {
    /// Nothing moves and nothing is left to chance: for strategies, `describe` and `validate`.
    pub(crate) fn fixed() -> Self {
        Self {
            clock: PluginClock(None),
            seed: [0; 32],
        }
    }

    /// The world's time, and randomness that follows from the host's seed and the call alone.
    pub(crate) fn of_the_world(clock: &Arc<dyn Clock>, seed: u64, call: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        for part in call {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self {
            clock: PluginClock(Some((Arc::clone(clock), clock.now()))),
            seed: hash.finalize().into(),
        }
    }

    pub(crate) fn context(&self, stderr: &Capture) -> WasiCtx {
        let mut insecure_seed = [0; 16];
        Stream::new(self.seed, b"insecure-seed").fill(&mut insecure_seed);
        let mut builder = WasiCtx::builder();
        builder
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .secure_random(Stream::new(self.seed, b"random"))
            .insecure_random(Stream::new(self.seed, b"insecure"))
            .insecure_random_seed(u128::from_le_bytes(insecure_seed))
            .max_random_size(crate::limits::RANDOM_BYTES)
            .wall_clock(self.clock.clone())
            .monotonic_clock(self.clock.clone())
            .stderr(stderr.clone());
        builder.build()
    }
}

/// The port's clock and when the call began, or a clock that stands still.
#[derive(Clone)]
struct PluginClock(Option<(Arc<dyn Clock>, Timestamp)>);

impl HostWallClock for PluginClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let now = self.0.as_ref().map_or(FIXED_TIME, |(clock, _)| clock.now());
        Duration::from_millis(now.as_millis())
    }
}

impl HostMonotonicClock for PluginClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.as_ref().map_or(0, |(clock, start)| {
            clock
                .now()
                .since(*start)
                .as_millis()
                .saturating_mul(1_000_000)
        })
    }
}

/// SHA-256 in counter mode: unpredictable without the seed, and the same for the same seed.
struct Stream {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    fn new(seed: [u8; 32], purpose: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update(purpose);
        Self {
            key: hash.finalize().into(),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    fn byte(&mut self) -> u8 {
        if let Some(&byte) = self.block.get(self.used) {
            self.used += 1;
            return byte;
        }
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(self.counter.to_le_bytes());
        self.block = hash.finalize().into();
        self.counter = self.counter.wrapping_add(1);
        self.used = 1;
        self.block.first().copied().unwrap_or_default()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.byte();
        }
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

/// What a plugin wrote to standard error: the last bytes, since a panic's text comes last.
#[derive(Clone)]
pub(crate) struct Capture {
    kept: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Capture {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            kept: Arc::default(),
            limit,
        }
    }

    /// What was written, as text.
    pub(crate) fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(self.limit);
        kept.drain(..excess);
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[async_trait::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let capture = Capture::new(8);
        capture.keep(b"0123456789");
        capture.keep(b"ab");
        assert_eq!(capture.text(), "456789ab");
    }

    #[test]
    fn randomness_follows_from_the_seed() {
        let draw = |seed: u8, purpose: &[u8]| {
            let mut bytes = [0; 100];
            Stream::new([seed; 32], purpose).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(1, b"a"), draw(1, b"a"));
        assert_ne!(draw(1, b"a"), draw(2, b"a"));
        assert_ne!(draw(1, b"a"), draw(1, b"b"));
    }
}
