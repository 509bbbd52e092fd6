//! What a call has used so far, and the limits that stop it.

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
}

/// Counts what a call uses.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    memory: usize,
    exhausted: Option<String>,
    host_calls: u32,
    received: usize,
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
