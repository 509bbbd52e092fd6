//! What a call has used so far, and the limits that stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

use crate::limits::Limits;

/// Why the host stopped a call. Travels through wasmtime as an error and is recognised on the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it computed for more than {0}")]
    Compute(phasegate_core::time::Span),
    #[error("it made more than {0} requests in one call")]
    HostCalls(u32),
    #[error("it read more than {0} bytes in one call")]
    Received(usize),
    #[error("it put more than {0} bytes into requests in one call")]
    Sent(usize),
}

/// What a call may still put into the requests that it prepares. Its streams share it.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    most: usize,
    left: Arc<AtomicUsize>,
}

impl Outbox {
    fn new(most: usize) -> Self {
        Self {
            most,
            left: Arc::new(AtomicUsize::new(most)),
        }
    }

    /// Counts bytes of a request: sent, kept or thrown away.
    pub(crate) fn put(&self, bytes: usize) -> Result<(), Stop> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map(drop)
            .map_err(|_| Stop::Sent(self.most))
    }
}

/// The exchanges of a call that are under way at the same time.
#[derive(Debug)]
pub(crate) struct Exchanges {
    most: usize,
    taken: Arc<()>,
}

/// One of them, as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    _taken: Arc<()>,
}

impl Exchanges {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::new(()),
        }
    }

    /// None where there are as many as there may be.
    pub(crate) fn enter(&self) -> Option<Place> {
        // This holds one of the references itself.
        (Arc::strong_count(&self.taken) <= self.most).then(|| Place {
            _taken: Arc::clone(&self.taken),
        })
    }
}

/// Counts what a call uses.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    memory: usize,
    exhausted: Option<String>,
    host_calls: u32,
    received: usize,
    outbox: Outbox,
    ticks: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: 0,
            exhausted: None,
            host_calls: 0,
            received: 0,
            outbox: Outbox::new(limits.sent_bytes),
            ticks: 0,
        }
    }

    /// Counts a request to the outside world.
    pub(crate) fn host_call(&mut self) -> Result<(), Stop> {
        if self.host_calls >= self.limits.host_calls {
            return Err(Stop::HostCalls(self.limits.host_calls));
        }
        self.host_calls += 1;
        Ok(())
    }

    /// Counts bytes that the plugin is given.
    pub(crate) fn receive(&mut self, bytes: usize) -> Result<(), Stop> {
        self.received = self.received.saturating_add(bytes);
        if self.received > self.limits.received_bytes {
            return Err(Stop::Received(self.limits.received_bytes));
        }
        Ok(())
    }

    /// Counts bytes that the plugin puts into requests.
    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Counts a tick of the epoch during which the plugin computed.
    pub(crate) fn tick(&mut self) -> Result<(), Stop> {
        self.ticks += 1;
        let most = self.limits.compute.as_millis() / crate::ticker::TICK.as_millis().max(1);
        if self.ticks > most {
            return Err(Stop::Compute(self.limits.compute));
        }
        Ok(())
    }

    /// What it wanted more of than it may have.
    pub(crate) fn exhausted(&self) -> Option<&str> {
        self.exhausted.as_deref()
    }

    /// Notes that a limit of wasmtime's was hit, since its error says so in words only.
    pub(crate) fn exhaust(&mut self, what: String) {
        self.exhausted.get_or_insert(what);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.limits.memory_bytes {
            self.exhaust(format!(
                "it wanted {total} bytes of memory, more than the {} it may have",
                self.limits.memory_bytes
            ));
            // Not an error: some languages ask for more than they need and go on without it.
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.limits.table_elements;
        if !fits {
            self.exhaust(format!(
                "it wanted a table of {desired} elements, more than the {} it may have",
                self.limits.table_elements
            ));
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_requests_is_counted_together() {
        let outbox = Outbox::new(10);
        let stream = outbox.clone();
        assert_eq!(stream.put(6), Ok(()));
        assert_eq!(outbox.put(5), Err(Stop::Sent(10)));
        assert_eq!(outbox.put(4), Ok(()));
        assert_eq!(stream.put(1), Err(Stop::Sent(10)));
    }

    #[test]
    fn a_place_is_there_again_when_it_is_left() {
        let exchanges = Exchanges::new(2);
        let places = (exchanges.enter().unwrap(), exchanges.enter().unwrap());
        assert!(exchanges.enter().is_none());
        drop(places.0);
        assert!(exchanges.enter().is_some());
    }
}
