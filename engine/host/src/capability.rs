//! `phasegate:host`, one module per interface, and all of them put together in [`linker`].
//!
//! Linking is per component, rights are per call: each function looks at the rights of the call that
//! it is part of. What isn't allowed answers with the line that would allow it.

mod artifacts;
mod exchange;
mod http;
mod kubernetes;
mod log;
mod runner;
pub(crate) mod wasi_http;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::phasegate::host as wit;
use crate::state::State;

/// Everything that a component may import: this engine's interfaces, WASI with nothing granted, and
/// `wasi:http` before the same checks as `phasegate:host/http`.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wit::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    wit::http::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    wit::kubernetes::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    wit::runner::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    wit::artifacts::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    wasi_http::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl crate::bindings::phasegate::types::common::Host for State {}
