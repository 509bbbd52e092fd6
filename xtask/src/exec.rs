//! Starting programs.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How often a program with a time limit is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The cargo that started this tool, so that the toolchain stays the same.
pub(crate) fn cargo(folder: &Path) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(folder);
    // `cargo run` describes this package to us; inherited, it would make build scripts that look
    // at these variables run again and again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Says what is about to happen, on stderr.
pub(crate) fn say(what: impl AsRef<str>) {
    eprintln!("==> {}", what.as_ref());
}

/// What a person would type to do the same.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_name().map_or_else(
        || program.display().to_string(),
        |n| n.to_string_lossy().into(),
    );
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs to the end with the terminal inherited; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("can't start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed with {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed on stdout; stderr is inherited.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed with {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that isn't text", shown(command)))
}

/// Runs with the terminal inherited, but stops the program when `limit` has passed.
///
/// What the program started itself is stopped too: on Unix it is the leader of a process group.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> anyhow::Result<()> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("can't start `{}`", shown(command)))?;
    let started = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("`{}` failed with {status}", shown(command)),
            None if started.elapsed() >= limit => break,
            None => thread::sleep(POLL_INTERVAL),
        }
    }
    // The group first: once the leader is reaped its number means nothing any more.
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    let _ = child.kill();
    child.wait()?;
    bail!(
        "`{}` was stopped after {} s",
        shown(command),
        limit.as_secs()
    );
}

/// Whether a program of this name answers to `--version`.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_stopped_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let script = format!("(sleep 60; touch {}) & wait", late.display());
        let started = Instant::now();
        let error = run_within(
            Command::new("sh").args(["-c", &script]),
            Duration::from_millis(100),
        )
        .unwrap_err();
        assert!(error.to_string().contains("was stopped after"), "{error}");
        // The upper bound is the hang itself: were it waited for, the file would be there.
        assert!(started.elapsed() < Duration::from_secs(60));
        assert!(!late.exists());
    }

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("`sh -c exit 3` failed"), "{message}");
        assert!(message.contains('3'), "{message}");
    }

    #[test]
    fn a_missing_program_is_an_error_and_not_installed() {
        let name = "phasegate-no-such-program";
        assert!(!is_installed(name));
        let error = run(&mut Command::new(name)).unwrap_err();
        assert!(error.to_string().contains("can't start"), "{error}");
    }
}
