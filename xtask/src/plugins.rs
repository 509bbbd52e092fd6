//! The plugins of this repository, built as components.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::exec;
use crate::setup;
use crate::wasm_std::{Source, TARGET};
use crate::workspace::Workspace;

/// The folder of those plugins that are there for tests alone.
const FIXTURES: &str = "fixtures";

/// Builds every plugin and puts those that changed into `<target>/plugins`, where the engine takes
/// those from that ship with it, and the fixtures of tests into `<target>/fixtures`.
///
/// A file whose content is the same keeps its time stamp, so that what depends on it isn't rebuilt.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let wasm_std = setup::ensure(workspace, Source::Auto)?;
    let folder = workspace.root.join("plugins");
    if !folder.join("Cargo.toml").is_file() {
        bail!("{} is no cargo workspace", folder.display());
    }
    exec::say("building the plugins");
    let mut command = exec::cargo(&folder);
    command
        .args(["build", "--workspace", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(workspace.target.join("wasm"))
        .stdout(Stdio::piped());
    wasm_std.apply(&mut command);
    let messages = exec::output(&mut command)?;
    let components = components(&messages)?;
    if components.is_empty() {
        bail!("no member of {} is a plugin", folder.display());
    }
    let (fixtures, plugins): (Vec<_>, Vec<_>) = components
        .into_iter()
        .partition(|component| component.fixture);
    put(&plugins, &workspace.components())?;
    put(&fixtures, &workspace.fixtures())
}

/// Makes a folder hold these components and no others.
fn put(components: &[Component], into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    for component in components {
        let target = into.join(format!("{}.wasm", component.name));
        let changed = replace_if_changed(&component.file, &target)?;
        let state = if changed { "new" } else { "unchanged" };
        exec::say(format!("plugin {}: {state}", component.name));
    }
    remove_strangers(into, components)
}

/// A built plugin.
#[derive(Debug, PartialEq, Eq)]
struct Component {
    /// The name of the crate's folder, which is the one that release files use.
    name: String,
    file: PathBuf,
    /// Whether it must not ship.
    fixture: bool,
}

/// Reads cargo's messages; what isn't built anew is reported as well.
fn components(messages: &str) -> anyhow::Result<Vec<Component>> {
    let mut found: Vec<Component> = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("cargo printed something that isn't JSON")?;
        let text = |pointer: &str| message.pointer(pointer).and_then(|value| value.as_str());
        if text("/reason") != Some("compiler-artifact") {
            continue;
        }
        let files = message.get("filenames").and_then(|value| value.as_array());
        let wasm = files
            .into_iter()
            .flatten()
            .filter_map(|value| value.as_str())
            .find(|file| file.ends_with(".wasm"));
        let folder = text("/manifest_path").and_then(|path| Path::new(path).parent());
        let name = folder.and_then(Path::file_name);
        let (Some(folder), Some(name), Some(file)) = (folder, name, wasm) else {
            continue;
        };
        let fixture = folder
            .parent()
            .is_some_and(|above| above.ends_with(FIXTURES));
        let name = name.to_string_lossy().into_owned();
        if found.iter().any(|other| other.name == name) {
            bail!("two plugins are called {name}");
        }
        found.push(Component {
            name,
            file: file.into(),
            fixture,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether the file had to be replaced. Readers see the old or the new file, never half of one.
fn replace_if_changed(source: &Path, target: &Path) -> anyhow::Result<bool> {
    let bytes = fs::read(source).with_context(|| format!("can't read {}", source.display()))?;
    if fs::read(target).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let partial = target.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(&partial, target)?;
    Ok(true)
}

/// A plugin that was renamed or removed must not be found under its old name.
fn remove_strangers(folder: &Path, components: &[Component]) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_wasm = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        if is_wasm && !components.iter().any(|component| component.name == stem) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(folder: &str, files: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"{folder}/Cargo.toml","filenames":[{files}]}}"#
        )
    }

    #[test]
    fn components_are_found_among_cargos_messages() {
        let messages = [
            artifact("/registry/serde-1.0.0", r#""/t/libserde.rlib""#),
            artifact("/r/plugins/workload", r#""/t/phasegate_workload.wasm""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            artifact("/r/plugins/blue-green", r#""/t/libb.rlib","/t/b.wasm""#),
            artifact("/r/plugins/fixtures/wild", r#""/t/w.wasm""#),
        ]
        .join("\n");
        let found = components(&messages).unwrap();
        let names: Vec<_> = found.iter().map(|c| (c.name.as_str(), c.fixture)).collect();
        let expected = [("blue-green", false), ("wild", true), ("workload", false)];
        assert_eq!(names, expected);
        assert_eq!(found[0].file, Path::new("/t/b.wasm"));
    }

    #[test]
    fn two_plugins_of_one_name_are_refused() {
        let messages = [
            artifact("/r/gates/http", r#""/t/a.wasm""#),
            artifact("/r/routers/http", r#""/t/b.wasm""#),
        ]
        .join("\n");
        let error = components(&messages).unwrap_err();
        assert_eq!(error.to_string(), "two plugins are called http");
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let into = folder.path().join("plugins");
        let target = into.join("http.wasm");
        fs::create_dir(&into).unwrap();
        fs::write(&source, "one").unwrap();
        fs::write(into.join("old.wasm"), "").unwrap();
        fs::write(into.join("http.note"), "").unwrap();

        assert!(replace_if_changed(&source, &target).unwrap());
        assert!(!replace_if_changed(&source, &target).unwrap());
        fs::write(&source, "two").unwrap();
        assert!(replace_if_changed(&source, &target).unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "two");

        let component = Component {
            name: "http".to_owned(),
            file: source,
            fixture: false,
        };
        remove_strangers(&into, &[component]).unwrap();
        assert!(target.exists() && into.join("http.note").exists());
        assert!(!into.join("old.wasm").exists());
    }
}
