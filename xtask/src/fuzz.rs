//! Fuzz targets, built with the stable compiler.
use crate::workspace::Workspace;
use std::path::PathBuf;
pub(crate) const CI_SECONDS: u64 = 20;
pub(crate) const DEFAULT_SECONDS: u64 = 60;
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("fuzz")
}
pub(crate) fn exists(workspace: &Workspace) -> bool {
    folder(workspace).join("Cargo.toml").is_file()
}
pub(crate) fn run(_w: &Workspace, _t: &[String], _seconds: u64) -> anyhow::Result<()> {
    Ok(())
}
