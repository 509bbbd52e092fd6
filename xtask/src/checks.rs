//! What the continuous integration runs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;

use crate::cluster;
use crate::exec;
use crate::fuzz;
use crate::plugins;
use crate::suites;
use crate::workspace::Workspace;

/// Building cargo-deny takes minutes; where it doesn't succeed in time, the next run goes on.
const INSTALL_LIMIT: Duration = Duration::from_secs(720);

/// Downloading the advisories takes seconds.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(60);

/// Runs every check, also after one has failed; the tests' sum is the last line.
pub(crate) fn run(workspace: &Workspace, fuzz_seconds: u64) -> anyhow::Result<ExitCode> {
    plugins::build(workspace)?;
    let mut troubles = Vec::new();
    let mut check = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            exec::say(format!("failed: {error:#}"));
            troubles.push(format!("{error:#}"));
        }
    };
    for folder in members(workspace) {
        check(formatting(workspace, &folder));
        check(lints(workspace, &folder));
    }
    // Where there is no Go, the tests say so.
    if cluster::Go::find(workspace).is_ok() {
        exec::say("lints of tools/cluster");
        check(cluster::lint(workspace));
    }
    for result in dependencies(workspace) {
        check(result);
    }
    if fuzz::exists(workspace) {
        check(fuzz::run(workspace, &[], fuzz_seconds));
    }
    let mut report = suites::test(workspace, &[])?;
    for trouble in troubles {
        report.trouble(trouble);
    }
    report.print();
    Ok(report.code())
}

/// Every cargo workspace in the repository.
fn members(workspace: &Workspace) -> Vec<PathBuf> {
    let mut folders = vec![workspace.root.clone()];
    folders.extend(workspace.guests());
    if fuzz::exists(workspace) {
        folders.push(fuzz::folder(workspace));
    }
    folders
}

/// A cargo command for one of them, with the target folder that belongs to it.
fn cargo(workspace: &Workspace, folder: &Path) -> Command {
    let mut command = exec::cargo(folder);
    if folder != workspace.root {
        command.env("CARGO_TARGET_DIR", workspace.guests_target());
    }
    command
}

fn formatting(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    exec::say(format!("formatting of {}", folder.display()));
    exec::run(cargo(workspace, folder).args(["fmt", "--all", "--check"]))
        .with_context(|| format!("formatting of {}", folder.display()))
}

fn lints(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    exec::say(format!("lints of {}", folder.display()));
    let mut command = cargo(workspace, folder);
    command.args(["clippy", "--workspace", "--all-targets"]);
    if *folder == workspace.root {
        // Else nobody looks at the benchmark, and at what needs a control plane.
        command.args([
            "--features",
            "phasegate-tests/bench,phasegate-tests/kubernetes",
        ]);
    }
    exec::run(command.args(["--", "-D", "warnings"]))
        .with_context(|| format!("lints of {}", folder.display()))
}

/// Runs cargo-deny on every workspace; where it can't be had, that is said and isn't a failure.
fn dependencies(workspace: &Workspace) -> Vec<anyhow::Result<()>> {
    let Some(deny) = cargo_deny(workspace) else {
        return Vec::new();
    };
    let command = |folder: &Path| {
        let mut command = Command::new(&deny);
        command
            .current_dir(folder)
            .arg("--manifest-path")
            .arg(folder.join("Cargo.toml"))
            .arg("--config")
            .arg(workspace.root.join("deny.toml"));
        command
    };
    let mut what = vec!["bans", "licenses", "sources"];
    let mut fetch = command(&workspace.root);
    match exec::run_within(fetch.args(["fetch", "db"]), ADVISORIES_LIMIT) {
        Ok(()) => what.push("advisories"),
        Err(error) => exec::say(format!("advisories are not checked: {error:#}")),
    }
    let check = |folder: PathBuf| {
        exec::say(format!("dependencies of {}", folder.display()));
        let mut command = command(&folder);
        exec::run(
            command
                .args(["check", "--hide-inclusion-graph"])
                .args(&what),
        )
        .with_context(|| format!("dependencies of {}", folder.display()))
    };
    members(workspace).into_iter().map(check).collect()
}

/// Finds cargo-deny, or installs it into the cache.
fn cargo_deny(workspace: &Workspace) -> Option<PathBuf> {
    let tools = workspace.cache.join("tools");
    let name = format!("cargo-deny{}", env::consts::EXE_SUFFIX);
    let own = tools.join("bin").join(&name);
    if own.is_file() {
        return Some(own);
    }
    if exec::is_installed(&name) {
        return Some(name.into());
    }
    exec::say("installing cargo-deny into the cache");
    let build = workspace.cache.join("tools-build");
    let installed = exec::run_within(
        exec::cargo(&workspace.root)
            .args(["install", "cargo-deny", "--locked", "--quiet", "--root"])
            .arg(&tools)
            // Kept until it has succeeded, so that an attempt that ran out of time isn't lost.
            .arg("--target-dir")
            .arg(&build)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
        INSTALL_LIMIT,
    );
    match installed {
        Ok(()) => {
            // What can't be removed only takes space.
            let _ = fs::remove_dir_all(build);
            Some(own)
        }
        Err(error) => {
            exec::say(format!(
                "licences and advisories are not checked: {error:#}"
            ));
            None
        }
    }
}
