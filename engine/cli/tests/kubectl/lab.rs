//! A simulated cluster for one test, and the `kubectl` that talks to it. Both end with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How long a line is waited for before a test gives up: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many times faster than the clock time passes in the cluster.
const SPEED: &str = "20";

/// The example's world, in which one image is never pulled.
fn scenario() -> String {
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello");
    let text = fs::read_to_string(example.join("scenario.yaml")).unwrap();
    let broken = "  pods:\n    - {image: 'registry.example/broken:*', pull: fails}\n";
    assert!(text.contains("  pods:\n"));
    text.replace("  pods:\n", broken)
}

/// The program that `cargo xtask setup` made available.
fn program() -> PathBuf {
    let folder = std::env::var_os("PHASEGATE_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../tools"),
        PathBuf::from,
    );
    let program = folder.join("kubectl");
    assert!(
        program.is_file(),
        "{} is missing; run `cargo xtask setup`, or say where it is with PHASEGATE_TOOLS",
        program.display()
    );
    program
}

pub(crate) struct Lab {
    folder: tempfile::TempDir,
    cluster: Child,
    url: String,
}

impl Drop for Lab {
    fn drop(&mut self) {
        end(&mut self.cluster);
    }
}

fn end(process: &mut Child) {
    // One that has ended already can't be ended again, and is waited for all the same.
    let _ = process.kill();
    let _ = process.wait();
}

impl Lab {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scenario.yaml"), scenario()).unwrap();
        let mut cluster = Command::new(env!("CARGO_BIN_EXE_phasegate"))
            .args(["simulate", "--listen", "127.0.0.1:0"])
            .args(["--scenario", "scenario.yaml", "--speed", SPEED])
            .args(["--output", "json"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = cluster.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self {
            folder,
            cluster,
            url: said["url"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// `kubectl`, that knows of no other cluster than this one.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(["--server", &self.url, "--namespace", "hello"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// It succeeds; what it printed.
    #[track_caller]
    pub(crate) fn works(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "kubectl {}\nstdout:\n{stdout}\nstderr:\n{stderr}",
            arguments.join(" ")
        );
        stdout
    }

    /// It fails and says this; what it printed.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str], part: &str) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && stderr.contains(part),
            "kubectl {} does not fail with `{part}`:\n{stderr}",
            arguments.join(" ")
        );
        stderr
    }

    /// Starts one that doesn't end by itself.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Watching {
        let mut process = self
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Watching { process, lines }
    }
}

/// A `kubectl` that watches.
pub(crate) struct Watching {
    process: Child,
    lines: Receiver<String>,
}

impl Watching {
    /// Its next line.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a line with this in it.
    #[track_caller]
    pub(crate) fn until(&self, part: &str) {
        while !self.next().contains(part) {}
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}
