//! Who may depend on whom: `core ← runtime ← {host, store, registry, world, rehearsal} ← cli`, `core ← report ← cli`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const ENGINE: &str = "phasegate-";

/// What each crate of the engine may depend on, of the engine's own crates.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("core", &[]),
    ("runtime", &["core"]),
    ("report", &["core"]),
    ("host", &["core", "runtime"]),
    ("store", &["core", "runtime"]),
    ("registry", &["core", "runtime"]),
    ("world", &["core", "runtime"]),
    ("rehearsal", &["core", "runtime"]),
    (
        "cli",
        &[
            "core",
            "runtime",
            "host",
            "store",
            "registry",
            "report",
            "world",
            "rehearsal",
        ],
    ),
];

/// What must not be anywhere below the core: it is pure.
const IMPURE: [&str; 8] = [
    "tokio",
    "wasmtime",
    "kube",
    "hyper",
    "rusqlite",
    "rustix",
    "reqwest",
    "async-trait",
];

#[expect(
    clippy::disallowed_methods,
    reason = "the test asks cargo for the dependency graph"
)]
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Normal dependencies by package name.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let normal = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter();
        let names = normal
            .filter(|dependency| dependency["kind"].is_null() && dependency["optional"] == false)
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
        let name = package["name"].as_str().expect("name").to_owned();
        found
            .entry(name)
            .or_insert_with(BTreeSet::new)
            .extend(names);
    }
    found
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let dependencies = dependencies(&metadata());
    for (name, allowed) in ALLOWED {
        let own = &dependencies[&format!("{ENGINE}{name}")];
        let of_engine: BTreeSet<&str> = own.iter().filter_map(|d| d.strip_prefix(ENGINE)).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let beyond: Vec<_> = of_engine.difference(&allowed).collect();
        assert!(beyond.is_empty(), "{name} depends on {beyond:?}");
    }
    let known: BTreeSet<String> = ALLOWED
        .iter()
        .map(|(name, _)| format!("{ENGINE}{name}"))
        .collect();
    let others = dependencies
        .keys()
        .filter(|name| name.starts_with(ENGINE) && !known.contains(*name));
    assert_eq!(
        others.collect::<Vec<_>>(),
        ["phasegate-tests"],
        "a crate that this test doesn't know"
    );
}

#[test]
fn nothing_impure_is_below_the_core() {
    let dependencies = dependencies(&metadata());
    let mut below = BTreeSet::new();
    let mut to_see = vec!["phasegate-core".to_owned()];
    while let Some(name) = to_see.pop() {
        for next in dependencies.get(&name).into_iter().flatten() {
            if below.insert(next.clone()) {
                to_see.push(next.clone());
            }
        }
    }
    let impure: Vec<_> = IMPURE
        .iter()
        .filter(|name| below.contains(**name))
        .collect();
    assert!(impure.is_empty(), "the core reaches {impure:?}");
    assert!(
        below.contains("serde_json"),
        "the graph was read: {below:?}"
    );
}
