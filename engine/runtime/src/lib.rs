//! Ports, the one loop, and the one place that performs effects.

pub mod ports;
