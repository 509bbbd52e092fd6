//! A plugin that is built for tests alone, as if it came with the engine: what it asks for is granted.

use std::path::Path;

use phasegate_runtime::ports::Component;
use sha2::{Digest, Sha256};

/// The fixture of that name; `bytes` reads a file.
pub(crate) fn fixture(name: &str, bytes: impl Fn(&Path) -> Vec<u8>) -> Component {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../fixtures");
    let bytes = bytes(&built.join(format!("{name}.wasm")));
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Component {
        name: name.to_owned(),
        source: format!("builtin:{name}"),
        digest: format!("sha256:{digest}"),
        bytes: bytes.into(),
    }
}
