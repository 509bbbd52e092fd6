//! The pure heart of Phasegate: no clock, no I/O, no async.

pub mod diagnostic;
pub mod time;
