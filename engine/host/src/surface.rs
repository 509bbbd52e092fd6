//! What a component imports and exports at its top level, read without compiling it, and compared
//! with what this engine has: wasmtime's own words for a mismatch tell nobody anything.

use phasegate_core::failure::Failure;
use wasmparser::{Parser, Payload};

use crate::fault;
use crate::kind::Kind;

/// Most imports and exports of a component.
const MAX_NAMES: usize = 1000;
/// The version of this engine's own interfaces.
const OWN: &str = "0.1.0";
/// The version of WASI's.
const WASI: &str = "0.2.12";

/// What a component may import.
const IMPORTS: [(&str, &str); 35] = [
    ("phasegate:types/common", OWN),
    ("phasegate:host/log", OWN),
    ("phasegate:host/http", OWN),
    ("phasegate:host/kubernetes", OWN),
    ("phasegate:host/runner", OWN),
    ("phasegate:host/artifacts", OWN),
    ("wasi:cli/environment", WASI),
    ("wasi:cli/exit", WASI),
    ("wasi:cli/stdin", WASI),
    ("wasi:cli/stdout", WASI),
    ("wasi:cli/stderr", WASI),
    ("wasi:cli/terminal-input", WASI),
    ("wasi:cli/terminal-output", WASI),
    ("wasi:cli/terminal-stdin", WASI),
    ("wasi:cli/terminal-stdout", WASI),
    ("wasi:cli/terminal-stderr", WASI),
    ("wasi:clocks/monotonic-clock", WASI),
    ("wasi:clocks/wall-clock", WASI),
    ("wasi:filesystem/preopens", WASI),
    ("wasi:filesystem/types", WASI),
    ("wasi:http/outgoing-handler", WASI),
    ("wasi:http/types", WASI),
    ("wasi:io/error", WASI),
    ("wasi:io/poll", WASI),
    ("wasi:io/streams", WASI),
    ("wasi:random/insecure", WASI),
    ("wasi:random/insecure-seed", WASI),
    ("wasi:random/random", WASI),
    ("wasi:sockets/instance-network", WASI),
    ("wasi:sockets/ip-name-lookup", WASI),
    ("wasi:sockets/network", WASI),
    ("wasi:sockets/tcp", WASI),
    ("wasi:sockets/tcp-create-socket", WASI),
    ("wasi:sockets/udp", WASI),
    ("wasi:sockets/udp-create-socket", WASI),
];

/// The interface that every plugin exports.
pub(crate) const META: &str = "phasegate:meta/meta@0.1.0";

/// The names at the top level of a component.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Surface {
    /// Reads a component's names.
    pub(crate) fn read(plugin: &str, bytes: &[u8]) -> Result<Self, Failure> {
        if Parser::is_core_wasm(bytes) {
            let found = "it is a core module; make a component of it with your language's tool";
            return Err(fault::not_a_component(plugin, found));
        }
        if !Parser::is_component(bytes) {
            let found = match bytes {
                [] => "the file is empty",
                _ => "it does not begin as one",
            };
            return Err(fault::not_a_component(plugin, found));
        }
        let broken =
            |e: wasmparser::BinaryReaderError| fault::not_a_component(plugin, &e.to_string());
        let mut surface = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let name = import.map_err(broken)?.name;
                        surface.imports.push(name.full_name().into_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let name = export.map_err(broken)?.name;
                        surface.exports.push(name.full_name().into_owned());
                    }
                }
                _ => {}
            }
            if surface.imports.len() + surface.exports.len() > MAX_NAMES {
                let found = format!("it has more than {MAX_NAMES} imports and exports");
                return Err(fault::not_a_component(plugin, &found));
            }
        }
        Ok(surface)
    }

    /// The kinds that the component is; a failure where it doesn't fit this engine.
    pub(crate) fn check(&self, plugin: &str) -> Result<Vec<Kind>, Failure> {
        for import in &self.imports {
            import_is_known(import).map_err(|detail| fault::interface(plugin, &detail))?;
        }
        let mut kinds = Vec::new();
        for kind in Kind::ALL {
            if self.exports(plugin, &kind.interface())? {
                kinds.push(kind);
            }
        }
        if !self.exports(plugin, META)? {
            let detail = format!("it does not export {META}, which every plugin does");
            return Err(fault::interface(plugin, &detail));
        }
        if kinds.is_empty() {
            let kinds = Kind::ALL.map(Kind::interface).join(", ");
            let detail = format!("it exports none of {kinds}");
            return Err(fault::interface(plugin, &detail));
        }
        Ok(kinds)
    }

    /// Whether the interface is exported, in a version that fits.
    fn exports(&self, plugin: &str, wanted: &str) -> Result<bool, Failure> {
        let (name, version) = split(wanted);
        let found: Vec<_> = self
            .exports
            .iter()
            .map(|export| split(export))
            .filter(|(export, _)| *export == name)
            .collect();
        if found.iter().any(|(_, has)| compatible(has, version)) {
            return Ok(true);
        }
        match found.first() {
            None => Ok(false),
            Some((_, has)) => {
                let detail =
                    format!("it exports {name}@{has}, and this engine speaks {name}@{version}");
                Err(fault::interface(plugin, &detail))
            }
        }
    }
}

fn import_is_known(import: &str) -> Result<(), String> {
    let (name, version) = split(import);
    let known = IMPORTS.iter().find(|(known, _)| *known == name);
    match known {
        Some((_, has)) if compatible(version, has) => Ok(()),
        Some((_, has)) => Err(format!(
            "it imports {import}, and this engine has {name}@{has}"
        )),
        None => Err(format!(
            "it imports {import}, which this engine does not have"
        )),
    }
}

/// `a:b/c@1.2.3` as name and version; the version is empty where there is none.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// Whether a version stands for the same contract: the same major version, or within 0 the same minor one.
fn compatible(one: &str, other: &str) -> bool {
    let track = |version: &str| {
        let mut parts = version.splitn(3, '.');
        let major: u64 = parts.next()?.parse().ok()?;
        let minor: u64 = parts.next()?.parse().ok()?;
        let rest_is_plain = parts.next()?.bytes().all(|b| b.is_ascii_digit());
        rest_is_plain.then_some(if major == 0 { (0, minor) } else { (major, 0) })
    };
    track(one).is_some() && track(one) == track(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_track_fit() {
        assert!(compatible("0.1.0", "0.1.9"));
        assert!(compatible("0.2.3", "0.2.12"));
        assert!(compatible("1.4.0", "1.0.0"));
        assert!(!compatible("0.1.0", "0.2.0"));
        assert!(!compatible("1.0.0", "2.0.0"));
        assert!(!compatible("0.3.0-rc-2026-01-01", "0.3.0"));
        assert!(!compatible("", ""));
    }

    #[test]
    fn unknown_imports_are_named_with_what_is_there_instead() {
        assert!(import_is_known("wasi:io/poll@0.2.3").is_ok());
        assert!(import_is_known("wasi:sockets/udp-create-socket@0.2.0").is_ok());
        let fault = |name: &str| import_is_known(name).unwrap_err();
        assert_eq!(
            fault("phasegate:host/log@0.2.0"),
            "it imports phasegate:host/log@0.2.0, and this engine has phasegate:host/log@0.1.0"
        );
        assert!(import_is_known("wasi:http/outgoing-handler@0.2.0").is_ok());
        assert!(
            fault("wasi:http/outgoing-handler@0.3.0")
                .contains("has wasi:http/outgoing-handler@0.2.12")
        );
        assert!(fault("wasi:http/incoming-handler@0.2.0").contains("does not have"));
        assert!(fault("env").contains("imports env, which this engine does not have"));
    }
}
