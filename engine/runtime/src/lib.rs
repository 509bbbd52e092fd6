//! Ports, the one loop, and the one place that performs effects.

pub mod plugin_ports;
pub mod ports;
