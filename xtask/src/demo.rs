//! Building and running the engine itself.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;

use crate::cluster::{self, Cluster, Go};
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
///
/// On Unix this process makes way for the engine, so that Ctrl-C means what the engine says it
/// means: with a parent in between, that parent would end first and leave the engine behind.
pub(crate) fn run(
    workspace: &Workspace,
    release: bool,
    arguments: &[String],
) -> anyhow::Result<ExitCode> {
    build(workspace, release)?;
    let state = tempfile::tempdir()?.keep();
    let mut command = Command::new(engine(workspace, release));
    command
        .args(["run", EXAMPLE, "--state"])
        .arg(&state)
        .args(arguments);
    exec::say(exec::shown(&command));
    let mut command = and_remove(&state, &command);
    command.current_dir(&workspace.root);
    #[cfg(unix)]
    {
        let error = std::os::unix::process::CommandExt::exec(&mut command);
        Err(error).context("can't start the engine")
    }
    #[cfg(not(unix))]
    Ok(code_of(command.status().context("can't start the engine")?))
}

/// A shell that outlives Ctrl-C for as long as the program does, and then removes the folder.
///
/// A trap that does something, unlike an ignored signal, isn't inherited by the program.
fn and_remove(folder: &Path, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            r#"trap : INT TERM; "$@"; code=$?; rm -rf "$0"; exit $code"#,
        ])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// The benchmark that takes a control plane. Most of its time is waiting, so that it is built as tests are.
const REQUESTS: &str = "requests";

/// Counts what a canary asks of the API server, on a cluster of its own.
fn requests(workspace: &Workspace) -> anyhow::Result<()> {
    let go = Go::find(workspace).map_err(anyhow::Error::msg)?;
    // The program is built as its own suite builds it.
    exec::run(exec::cargo(&workspace.root).args([
        "test",
        "--workspace",
        "--no-run",
        "--test",
        "cli",
    ]))?;
    let folder = workspace.target.join("bench-cluster");
    let cluster = Cluster::up(workspace, &go, folder.clone())?;
    let mut measure = exec::cargo(&workspace.root);
    measure
        .args(["test", "--workspace", "--bench", REQUESTS])
        .args(["--features", "phasegate-tests/kubernetes"])
        .env("PHASEGATE_CLUSTER", cluster.folder());
    let measured = exec::run(&mut measure);
    let down = cluster::down(&folder);
    measured.and(down)
}

/// Runs the benchmark program, optimised.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments == [REQUESTS] {
        plugins::build(workspace)?;
        return requests(workspace).map(|()| ExitCode::SUCCESS);
    }
    plugins::build(workspace)?;
    exec::say("building the benchmarks, which takes a while");
    // The benchmarks start the engine as a program too. Both at once, so that what they have in
    // common is built once, whatever features each asks for.
    exec::run(
        exec::cargo(&workspace.root)
            .args(["build", "--release", "--bin", "phasegate", "--bin", "bench"])
            .args(["--package", "phasegate-cli", "--package", "phasegate-tests"])
            .args(["--features", "phasegate-tests/bench"]),
    )?;
    let name = format!("bench{}", std::env::consts::EXE_SUFFIX);
    let status = Command::new(workspace.target.join("release").join(name))
        .args(arguments)
        .current_dir(&workspace.root)
        .status()
        .context("can't start the benchmarks")?;
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_left_to_the_program_and_its_folder_is_removed() {
        let state = tempfile::tempdir().unwrap().keep();
        let mut program = Command::new("sh");
        // Its parent is the shell that waits for it.
        program.args(["-c", "test -d \"$0\" && kill -INT $PPID && exit 5"]);
        program.arg(&state);
        let status = and_remove(&state, &program).status().unwrap();
        assert_eq!(status.code(), Some(5));
        assert!(!state.exists());
    }
}
