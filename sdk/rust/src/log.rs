//! Lines for the run's log. The engine redacts secrets and cuts long lines.

use crate::bindings::imports::phasegate::host::log::Level;
use crate::{Pair, host};

/// For the plugin's author.
pub fn debug(message: impl AsRef<str>) {
    host::log(Level::Debug, message.as_ref(), &[]);
}

/// For whoever reads the run's log.
pub fn info(message: impl AsRef<str>) {
    host::log(Level::Info, message.as_ref(), &[]);
}

/// Something is odd, and the plugin goes on.
pub fn warn(message: impl AsRef<str>) {
    host::log(Level::Warn, message.as_ref(), &[]);
}

/// Something failed.
pub fn error(message: impl AsRef<str>) {
    host::log(Level::Error, message.as_ref(), &[]);
}

/// A line with fields that machines can read.
pub fn info_with(message: impl AsRef<str>, fields: &[Pair]) {
    host::log(Level::Info, message.as_ref(), fields);
}

/// Sends what a panic says to the log. A panic ends the instance as a trap that tells nobody
/// anything, since nothing unwinds in WebAssembly.
#[cfg(target_arch = "wasm32")]
pub(crate) fn panics() {
    std::panic::set_hook(Box::new(|panic| error(panic.to_string())));
}
