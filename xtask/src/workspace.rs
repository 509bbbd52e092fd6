//! Where things are: the repository, its target folder and the cache that outlives both.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::exec;

/// The folders of this repository that are cargo workspaces of their own, beside the root.
///
/// They build for WASM or with flags of their own, so they don't share the root's lock file.
const GUEST_WORKSPACES: [&str; 2] = ["sdk/rust", "plugins"];

/// The repository this tool belongs to.
pub(crate) struct Workspace {
    /// The folder with the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder; `CARGO_TARGET_DIR` and cargo's configuration are respected.
    pub(crate) target: PathBuf,
    /// What is kept between work trees: the WASM standard library, tools.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    /// Finds the repository of which this tool is a part.
    pub(crate) fn discover() -> anyhow::Result<Self> {
        // Cargo says at run time where the package is. What was true at compile time may be another
        // work tree that shares the target folder.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .context("start this tool as `cargo xtask`")?;
        let root = manifest
            .parent()
            .context("xtask isn't inside the repository any more")?
            .to_owned();
        let metadata =
            exec::output(exec::cargo(&root).args(["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata: serde_json::Value =
            serde_json::from_str(&metadata).context("cargo metadata printed something else")?;
        let target = metadata
            .get("target_directory")
            .and_then(|value| value.as_str())
            .context("cargo metadata names no target folder")?
            .into();
        let cache = cache_folder(|name| env::var_os(name).map(PathBuf::from))?;
        Ok(Self {
            root,
            target,
            cache,
        })
    }

    /// The workspaces for plugin authors' code that exist in this work tree.
    pub(crate) fn guests(&self) -> Vec<PathBuf> {
        GUEST_WORKSPACES
            .iter()
            .map(|folder| self.root.join(folder))
            .filter(|folder| folder.join("Cargo.toml").is_file())
            .collect()
    }

    /// Where the guest workspaces are built natively, for their tests and lints.
    pub(crate) fn guests_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Where the tests find programs that are not part of this repository.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where the finished components are.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Where the components are that only tests use.
    pub(crate) fn fixtures(&self) -> PathBuf {
        self.target.join("fixtures")
    }
}

/// `PHASEGATE_CACHE`, else `phasegate` in the user's cache folder.
fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let set = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    let folder = if let Some(own) = set("PHASEGATE_CACHE") {
        own
    } else if let Some(xdg) = set("XDG_CACHE_HOME") {
        xdg.join("phasegate")
    } else if let Some(home) = set("HOME") {
        home.join(".cache/phasegate")
    } else {
        bail!("set PHASEGATE_CACHE to a folder: there is no HOME to put a cache into");
    };
    // A relative folder would be another one in each directory that cargo is started in.
    std::path::absolute(&folder)
        .with_context(|| format!("can't tell where {} is", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn cache_with(variables: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        cache_folder(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(PathBuf::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_the_most_specific_variable_says() {
        let all = [
            ("HOME", "/home/u"),
            ("XDG_CACHE_HOME", "/x"),
            ("PHASEGATE_CACHE", "/p"),
        ];
        assert_eq!(cache_with(&all).unwrap(), Path::new("/p"));
        assert_eq!(cache_with(&all[..2]).unwrap(), Path::new("/x/phasegate"));
        assert_eq!(
            cache_with(&all[..1]).unwrap(),
            Path::new("/home/u/.cache/phasegate")
        );
    }

    #[test]
    fn an_empty_variable_counts_as_unset_and_nothing_at_all_is_an_error() {
        let empty = [("HOME", "/home/u"), ("PHASEGATE_CACHE", "")];
        assert_eq!(
            cache_with(&empty).unwrap(),
            Path::new("/home/u/.cache/phasegate")
        );
        let message = cache_with(&[]).unwrap_err().to_string();
        assert!(message.contains("PHASEGATE_CACHE"), "{message}");
    }
}
