//! How long a request may take.

use phasegate_core::time::Span;
use wasmtime::component::Resource;

use crate::bindings::wasi_http::wasi::http::types;
use crate::state::State;

/// The one time that the port can keep.
#[derive(Default)]
pub struct RequestOptions {
    first_byte: Option<types::Duration>,
}

impl RequestOptions {
    /// The port answers whole, so that the first byte is there when the last one is.
    pub(super) fn timeout(&self) -> Option<Span> {
        const NS_PER_MS: u64 = 1_000_000;
        let ns = self.first_byte?;
        Some(Span::from_millis(ns.div_ceil(NS_PER_MS).max(1)))
    }
}

/// Time-outs that can't be kept are not supported, as the contract lets the host say.
impl types::HostRequestOptions for State {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.table.push(RequestOptions::default())?)
    }

    fn connect_timeout(
        &mut self,
        this: Resource<RequestOptions>,
    ) -> wasmtime::Result<Option<types::Duration>> {
        self.table.get(&this)?;
        Ok(None)
    }

    fn set_connect_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        duration: Option<types::Duration>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get(&this)?;
        Ok(duration.map_or(Ok(()), |_| Err(())))
    }

    fn first_byte_timeout(
        &mut self,
        this: Resource<RequestOptions>,
    ) -> wasmtime::Result<Option<types::Duration>> {
        Ok(self.table.get(&this)?.first_byte)
    }

    fn set_first_byte_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        duration: Option<types::Duration>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get_mut(&this)?.first_byte = duration;
        Ok(Ok(()))
    }

    fn between_bytes_timeout(
        &mut self,
        this: Resource<RequestOptions>,
    ) -> wasmtime::Result<Option<types::Duration>> {
        self.table.get(&this)?;
        Ok(None)
    }

    fn set_between_bytes_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        duration: Option<types::Duration>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get(&this)?;
        Ok(duration.map_or(Ok(()), |_| Err(())))
    }

    fn drop(&mut self, this: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_at_least_a_millisecond() {
        let timeout = |first_byte| RequestOptions { first_byte }.timeout();
        assert_eq!(timeout(None), None);
        assert_eq!(timeout(Some(0)), Some(Span::from_millis(1)));
        assert_eq!(timeout(Some(1_000_001)), Some(Span::from_millis(2)));
        assert!(timeout(Some(u64::MAX)).is_some());
    }
}
