//! Building and running the engine itself.

use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;

use crate::exec;
use crate::plugins;
use crate::workspace::Workspace;

/// The release that a newcomer sees first.
const EXAMPLE: &str = "examples/hello/release.yaml";

/// Builds the plugins and the engine.
pub(crate) fn build(workspace: &Workspace, release: bool) -> anyhow::Result<()> {
    plugins::build(workspace)?;
    exec::say("building the engine");
    let mut command = exec::cargo(&workspace.root);
    command.args(["build", "--package", "phasegate-cli"]);
    if release {
        command.arg("--release");
    }
    exec::run(&mut command)
}

/// Runs the example on the simulated cluster, with a state folder that is thrown away afterwards.
pub(crate) fn run(
    workspace: &Workspace,
    release: bool,
    arguments: &[String],
) -> anyhow::Result<ExitCode> {
    build(workspace, release)?;
    let state = tempfile::tempdir()?;
    let mut command = Command::new(engine(workspace, release));
    command
        .current_dir(&workspace.root)
        .args(["run", EXAMPLE, "--state"])
        .arg(state.path())
        .args(arguments);
    exec::say(exec::shown(&command));
    let status = command.status().context("can't start the engine")?;
    Ok(code_of(status))
}

/// Runs the benchmark program, optimised.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    plugins::build(workspace)?;
    exec::say("building the benchmarks, which takes a while");
    // The benchmarks start the engine as a program too.
    exec::run(exec::cargo(&workspace.root).args([
        "build",
        "--release",
        "--package",
        "phasegate-cli",
    ]))?;
    let status = exec::cargo(&workspace.root)
        .args(["run", "--release", "--package", "phasegate-tests"])
        .args(["--bin", "bench", "--"])
        .args(arguments)
        .status()
        .context("can't start cargo")?;
    Ok(code_of(status))
}

fn engine(workspace: &Workspace, release: bool) -> PathBuf {
    let profile = if release { "release" } else { "debug" };
    let name = format!("phasegate{}", std::env::consts::EXE_SUFFIX);
    workspace.target.join(profile).join(name)
}

/// The program's own exit code; one that was ended by a signal has none and counts as failed.
fn code_of(status: ExitStatus) -> ExitCode {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
