//! Published contracts stay as they are, and all of `wit/` resolves.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the suite reads the repository's own files, which have no adapter"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Contents of `wit/published.json`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    version: String,
    files: BTreeMap<String, String>,
}

impl Package {
    /// `phasegate:gate` 0.1.0 is in `phasegate-gate@0.1.0`.
    fn folder(&self) -> String {
        format!("{}@{}", self.name.replace(':', "-"), self.version)
    }
}

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn published() -> Published {
    let text = std::fs::read_to_string(wit().join("published.json")).expect("published.json");
    serde_json::from_str(&text).expect("published.json has the documented shape")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let name = entry.expect("entry").file_name();
            name.into_string().expect("file names are UTF-8")
        })
        .collect();
    names.sort();
    names
}

fn sha256(path: &Path) -> String {
    let content = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digest = Sha256::digest(&content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Differences between what is recorded for `package` and what `deps` holds, in words.
fn differences(package: &Package, deps: &Path) -> Vec<String> {
    let folder = deps.join(package.folder());
    let found: BTreeMap<String, String> = names(&folder)
        .into_iter()
        .map(|name| {
            let digest = sha256(&folder.join(&name));
            (name, digest)
        })
        .collect();
    let recorded = &package.files;
    let mut differences = Vec::new();
    for (name, digest) in recorded {
        match found.get(name) {
            None => differences.push(format!("{}/{name} is gone", package.folder())),
            Some(other) if other != digest => differences.push(format!(
                "{}/{name} changed: recorded {digest}, found {other}",
                package.folder()
            )),
            Some(_) => {}
        }
    }
    for name in found.keys().filter(|name| !recorded.contains_key(*name)) {
        differences.push(format!("{}/{name} is new", package.folder()));
    }
    differences
}

#[test]
fn a_published_package_is_never_edited() {
    let deps = wit().join("deps");
    let differences: Vec<String> = published()
        .packages
        .iter()
        .flat_map(|package| differences(package, &deps))
        .collect();
    assert!(
        differences.is_empty(),
        "published contracts are never edited; put the change into a new folder \
         wit/deps/NAME@VERSION and record it in wit/published.json:\n{}",
        differences.join("\n")
    );
}

#[test]
fn every_package_is_recorded_as_published() {
    let recorded: Vec<String> = {
        let mut folders: Vec<String> = published().packages.iter().map(Package::folder).collect();
        folders.sort();
        folders
    };
    assert_eq!(recorded, names(&wit().join("deps")));
}

#[test]
fn an_edited_package_is_noticed() {
    let deps = tempfile::tempdir().expect("temporary folder");
    let published = published();
    let package = published.packages.first().expect("a package");
    let folder = deps.path().join(package.folder());
    std::fs::create_dir(&folder).expect("folder");
    for name in package.files.keys() {
        let original = wit().join("deps").join(package.folder()).join(name);
        std::fs::copy(original, folder.join(name)).expect("copy");
    }
    assert_eq!(differences(package, deps.path()), Vec::<String>::new());

    let name = package.files.keys().next().expect("a file");
    let mut content = std::fs::read(folder.join(name)).expect("content");
    content.push(b'\n');
    std::fs::write(folder.join(name), content).expect("write");
    std::fs::write(folder.join("more.wit"), "").expect("write");
    let found = differences(package, deps.path());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(&format!("{name} changed")), "{found:?}");
    assert!(found[1].contains("more.wit is new"), "{found:?}");
}

/// All of `wit/` parses and resolves as one folder, the way every tool takes it.
fn resolve() -> wit_parser::Resolve {
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(wit()).expect("wit/ resolves");
    resolve
}

#[test]
fn folders_hold_the_packages_that_their_names_promise() {
    let resolve = resolve();
    let mut resolved: Vec<String> = resolve
        .package_names
        .keys()
        .filter(|name| name.version.is_some())
        .map(|name| name.to_string().replace(':', "-"))
        .collect();
    resolved.sort();
    assert_eq!(resolved, names(&wit().join("deps")));
}

#[test]
fn a_strategy_s_world_imports_only_the_log() {
    let resolve = resolve();
    let (_, world) = resolve
        .worlds
        .iter()
        .find(|(_, world)| {
            world.name == "plugin"
                && world
                    .package
                    .is_some_and(|id| resolve.packages[id].name.name == "strategy")
        })
        .expect("the strategy's world");
    let imports: Vec<String> = world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    assert_eq!(
        imports,
        ["phasegate:types/common@0.1.0", "phasegate:host/log@0.1.0"]
    );
}
