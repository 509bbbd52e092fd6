//! The host with the plugins that come with the engine, and with plugins that mean harm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends there"
)]

mod guest;
mod hostile;
mod real;
mod support;
mod wasi_http;
