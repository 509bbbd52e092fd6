//! The plugins that ship with the engine, as bytes in the binary.

use phasegate_core::diagnostic::{Diagnostic, codes};

/// Name and component of each, put here by `build.rs`.
static PLUGINS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// The names that release files may use without defining them. They are the same whether or not
/// the binary was built with its plugins, so that a file is as valid on one as on the other.
pub const NAMES: [&str; 20] = [
    "apply",
    "blue-green",
    "canary",
    "configmap",
    "event-repair",
    "gateway-api",
    "http",
    "istio",
    "job",
    "nginx",
    "prometheus",
    "recreate",
    "restart",
    "rolling",
    "scale",
    "service-selector",
    "slack",
    "webhook",
    "window",
    "workload",
];

/// Every plugin in the binary: its name and its component.
#[must_use]
pub fn all() -> &'static [(&'static str, &'static [u8])] {
    PLUGINS
}

/// The fault of a binary that was built without its plugins.
#[must_use]
pub fn without() -> Diagnostic {
    Diagnostic::new(
        codes::PLUGIN_NOT_FOUND,
        "this binary was built without the built-in plugins",
    )
    .hint("run `cargo xtask build`, which builds them first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_plugins_in_the_binary() {
        let found: Vec<&str> = PLUGINS.iter().map(|(name, _)| *name).collect();
        assert!(
            found == NAMES,
            "the plugins in the binary are {found:?}; run `cargo xtask plugins` before the tests"
        );
    }
}
