//! Puts the plugins that ship with the engine into the binary: the components that `cargo xtask
//! plugins` left in `<target>/plugins`, or those in `PHASEGATE_PLUGINS_DIR`.
//!
//! Without them the engine is built all the same, and says so when a plugin is asked for: a first
//! `cargo check` should need no WebAssembly toolchain.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script reads what was built and writes into its own OUT_DIR"
)]

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PHASEGATE_PLUGINS_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    let folder = match env::var_os("PHASEGATE_PLUGINS_DIR") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => target_of(&out).map(|target| target.join("plugins")),
    };
    let mut found = Vec::new();
    if let Some(folder) = &folder {
        // A folder that isn't there yet counts as changed each time, so that it is noticed once it is.
        println!("cargo::rerun-if-changed={}", folder.display());
        found = components(folder);
    }
    if found.is_empty() {
        println!(
            "cargo::warning=phasegate is built without its plugins; run `cargo xtask build` to have them"
        );
    }
    let mut table = String::from("&[\n");
    for (name, path) in &found {
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    table.push(']');
    let into = out.join("plugins.rs");
    fs::write(into, table)?;
    Ok(())
}

/// Cargo's target folder: the ancestor in which cargo notes what it knows of the compiler.
fn target_of(out: &Path) -> Option<PathBuf> {
    out.ancestors()
        .find(|folder| {
            ["CACHEDIR.TAG", ".rustc_info.json"]
                .iter()
                .any(|mark| folder.join(mark).is_file())
        })
        .map(Path::to_owned)
}

/// Names and absolute paths of the components in a folder, by name.
fn components(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path().canonicalize().ok()?;
            let wasm = path
                .extension()
                .is_some_and(|extension| extension == "wasm");
            let name = path.file_stem()?.to_str()?.to_owned();
            wasm.then_some((name, path))
        })
        .collect();
    found.sort();
    found
}
