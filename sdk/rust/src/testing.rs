//! Calls a plugin natively, in a world that a test scripts.
//!
//! [`Fake`] takes the engine's place: what it was told is what the plugin finds, and it remembers
//! what the plugin did. What wasn't scripted fails the test and says what was asked for.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a test that asks for what nobody scripted fails here"
)]

mod calls;
mod cluster;
mod fake;
mod managed;

pub use calls::{call, notice, question, router_target, situation, split};
pub use cluster::Cluster;
pub use fake::{Body, Fake, Logged, Sent};

pub(crate) use fake::world;
