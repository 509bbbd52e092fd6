//! A program that outlives this tool: started, recorded, recognised, stopped.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::exec;

/// How often it is looked whether a program has ended, and how long is waited in between.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// How much of a log is shown when its program ended.
const LOG_LINES: usize = 12;

/// What is recorded of a running program: enough to stop it, and to start it again as it was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// When it was started, in the kernel's ticks: another process that gets its number later began later.
    started: u64,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a process group of its own, so that a Ctrl-C meant for this tool doesn't reach it.
    pub(crate) fn start(
        name: &str,
        program: PathBuf,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new(&program);
        command
            .args(&arguments)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start `{}`", exec::shown(&command)))?;
        let pid = child.id();
        let Some(started) = start_time(pid) else {
            // Without it nobody could tell later whether the number still means this program.
            let _ = child.kill();
            child.wait()?;
            bail!(
                "{name} ended at once, or this machine has no /proc:\n{}",
                tail(&log)
            );
        };
        Ok(Self {
            name: name.to_owned(),
            pid,
            started,
            program,
            arguments,
            log,
        })
    }

    /// Starts it again as it was; its log goes on.
    pub(crate) fn again(&self) -> anyhow::Result<Self> {
        let arguments = self.arguments.clone();
        Self::start(
            &self.name,
            self.program.clone(),
            arguments,
            self.log.clone(),
        )
    }

    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// An error that shows the end of its log, if it isn't running any more.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if !self.is_alive() {
            bail!("{} has ended:\n{}", self.name, tail(&self.log));
        }
        Ok(())
    }

    /// Stops it, unless it has ended; its number alone is never trusted.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        for signal in ["-TERM", "-KILL"] {
            if !self.is_alive() {
                return Ok(());
            }
            let pid = self.pid.to_string();
            // It may end by itself in between; whether it is gone is seen below.
            let _ = Command::new("kill")
                .args([signal, "--", &pid])
                .stderr(Stdio::null())
                .status();
            for _ in 0..LOOKS {
                if !self.is_alive() {
                    return Ok(());
                }
                thread::sleep(BETWEEN);
            }
        }
        bail!("{} (process {}) can't be stopped", self.name, self.pid)
    }
}

/// When a process was started, in ticks since the machine was; `None` if it isn't running.
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name, which may contain anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // One that has ended and that nobody has waited for is still listed.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    // The 22nd field of the whole line.
    fields.nth(18)?.parse().ok()
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Process {
        let arguments = vec!["600".to_owned()];
        Process::start("sleeper", "sleep".into(), arguments, folder.join("log")).unwrap()
    }

    #[test]
    fn a_program_is_recognised_from_its_record_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::to_string(&sleeper(folder.path())).unwrap();
        let read: Process = serde_json::from_str(&text).unwrap();
        assert!(read.is_alive());
        read.check().unwrap();
        read.stop().unwrap();
        assert!(!read.is_alive());
        read.stop().unwrap();
        assert!(read.check().is_err());
    }

    #[test]
    fn a_program_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("ready");
        let script = format!(
            "trap '' TERM; touch {}; while :; do sleep 1; done",
            heard.display()
        );
        let arguments = vec!["-c".to_owned(), script];
        let deaf = Process::start("deaf", "sh".into(), arguments, folder.path().join("log"));
        let deaf = deaf.unwrap();
        while !heard.exists() {
            thread::sleep(BETWEEN);
        }
        deaf.stop().unwrap();
        assert!(!deaf.is_alive());
    }

    #[test]
    fn another_process_with_the_same_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let real = sleeper(folder.path());
        let text = serde_json::to_string(&real).unwrap();
        let mut older: Process = serde_json::from_str(&text).unwrap();
        older.started = older.started.wrapping_sub(1);
        assert!(!older.is_alive());
        older.stop().unwrap();
        assert!(real.is_alive());
        real.stop().unwrap();
    }

    #[test]
    fn what_ended_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo why; sleep 0.1; exit 1".to_owned();
        let arguments = vec!["-c".to_owned(), script];
        let short = Process::start("short", "sh".into(), arguments, folder.path().join("log"));
        let short = short.unwrap();
        while short.is_alive() {
            thread::sleep(BETWEEN);
        }
        let error = short.check().unwrap_err().to_string();
        assert_eq!(error, "short has ended:\nwhy");
    }
}
