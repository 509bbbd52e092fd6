//! Everything that can go wrong with a plugin, as the failures that the engine knows.

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};

/// Longest text of a plugin that is kept in a message, in bytes.
pub(crate) const MAX_TEXT: usize = 4 << 10;

/// The text cut to [`MAX_TEXT`] bytes, at a character.
pub(crate) fn cut(text: impl Into<String>) -> String {
    cut_to(text.into(), MAX_TEXT)
}

/// The text cut to so many bytes, at a character.
pub(crate) fn cut_to(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

pub(crate) fn not_a_component(plugin: &str, found: &str) -> Failure {
    Failure::new(
        Kind::Incompatible,
        codes::NOT_A_COMPONENT,
        format!(
            "plugin `{plugin}` is not a WebAssembly component: {}",
            cut(found)
        ),
    )
}

pub(crate) fn interface(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::Incompatible,
        codes::INTERFACE_MISMATCH,
        format!(
            "plugin `{plugin}` does not fit this engine: {}",
            cut(detail)
        ),
    )
}

pub(crate) fn permanent(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::Permanent,
        codes::PLUGIN_FAILED,
        format!("plugin `{plugin}`: {}", cut(detail)),
    )
}

pub(crate) fn trapped(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::Trap,
        codes::PLUGIN_TRAPPED,
        format!("plugin `{plugin}` trapped: {}", cut(detail)),
    )
}

pub(crate) fn timed_out(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::Timeout,
        codes::PLUGIN_TIMED_OUT,
        format!("plugin `{plugin}` took too long: {}", cut(detail)),
    )
}

pub(crate) fn out_of_memory(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::OutOfMemory,
        codes::PLUGIN_OUT_OF_MEMORY,
        format!("plugin `{plugin}` ran out of memory: {}", cut(detail)),
    )
}

pub(crate) fn denied(plugin: &str, detail: &str) -> Failure {
    Failure::new(
        Kind::Denied,
        codes::PLUGIN_DENIED,
        format!("plugin `{plugin}` was denied: {}", cut(detail)),
    )
}

pub(crate) fn unknown_offer(plugin: &str, kind: &str, offer: &str, offers: &str) -> Failure {
    Failure::new(
        Kind::Misconfigured,
        codes::PLUGIN_OFFER_UNKNOWN,
        format!("plugin `{plugin}` offers no {kind} `{offer}`; it offers {offers}"),
    )
}

pub(crate) fn internal(detail: impl Into<String>) -> Failure {
    Failure::new(Kind::Permanent, codes::INTERNAL, detail)
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let texts: Vec<_> = error.chain().map(ToString::to_string).collect();
    cut(texts.join(": "))
}
