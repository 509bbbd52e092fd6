//! Ports, the one loop, and the one place that performs effects.
//!
//! Start reading at [`engine::Engine::drive`]: it rebuilds a run from its journal, takes the lease, and
//! goes round: take what happened, journal it, let the core decide, perform what it decided.
//! [`perform`] is the only code that reaches the outside world on behalf of a run. [`planner`] makes
//! plans. [`ports`] says what adapters must offer, and [`shelf`] what a journal in a cluster needs.

pub mod engine;
pub mod lease;
pub mod perform;
pub mod planner;
pub mod plugin_ports;
pub mod ports;
pub mod shelf;
