//! What the continuous integration runs.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

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
    check(licences_and_advisories(workspace));
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
fn cargo(workspace: &Workspace, folder: &PathBuf) -> Command {
    let mut command = exec::cargo(folder);
    if *folder != workspace.root {
        command.env("CARGO_TARGET_DIR", workspace.guests_target());
    }
    command
}

fn formatting(workspace: &Workspace, folder: &PathBuf) -> anyhow::Result<()> {
    exec::say(format!("formatting of {}", folder.display()));
    exec::run(cargo(workspace, folder).args(["fmt", "--all", "--check"]))
}

fn lints(workspace: &Workspace, folder: &PathBuf) -> anyhow::Result<()> {
    exec::say(format!("lints of {}", folder.display()));
    exec::run(
        cargo(workspace, folder)
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "-D", "warnings"]),
    )
}

/// Runs cargo-deny on every workspace; where it can't be had, that is said and isn't a failure.
fn licences_and_advisories(workspace: &Workspace) -> anyhow::Result<()> {
    let Some(deny) = cargo_deny(workspace) else {
        return Ok(());
    };
    let config = workspace.root.join("deny.toml");
    let mut advisories = true;
    for folder in members(workspace) {
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&deny);
            command
                .current_dir(&folder)
                .arg("--manifest-path")
                .arg(folder.join("Cargo.toml"))
                .args(arguments);
            command
        };
        if folder == workspace.root {
            let mut fetch = command(&["fetch", "--config"]);
            fetch.arg(&config).arg("db");
            if let Err(error) = exec::run_within(&mut fetch, ADVISORIES_LIMIT) {
                exec::say(format!("advisories are not checked: {error:#}"));
                advisories = false;
            }
        }
        exec::say(format!("dependencies of {}", folder.display()));
        let mut check = command(&["check", "--hide-inclusion-graph", "--config"]);
        check.arg(&config).args(["bans", "licenses", "sources"]);
        if advisories {
            check.args(["--disable-fetch", "advisories"]);
        }
        exec::run(&mut check)?;
    }
    Ok(())
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
