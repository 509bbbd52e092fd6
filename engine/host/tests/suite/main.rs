//! The host with the plugins that come with the engine, and with plugins that mean harm.

mod guest;
mod hostile;
mod real;
mod support;
