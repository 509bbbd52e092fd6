//! A state directory, files to work with, and the processes that were started, ended by their ids.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up: far longer than it does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A release on the simulated cluster; `SCALE` and `SOAK` are replaced.
const RELEASE: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: hello}
version: \"1.1.0\"
change: minor
target:
  simulated: {scenario: scenario.yaml, scale: SCALE}
namespace: hello
workload:
  deployment: hello
  container: app
  image: registry.example/hello:{version}
  service: hello
gates:
  pods: {plugin: workload, policy: {interval: 10s, timeout: 2m}}
phases:
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: verify
    steps:
      - soak: {for: SOAK, every: 10s, gates: [pods]}
due:
  - {after: 24h, task: look at the error budget}
";

/// What a process left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this exit code; else both streams are shown.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// It was refused with this code: nothing on standard output, and a hint or what was expected.
    #[track_caller]
    pub(crate) fn refused(self, exit: i32, code: &str) -> Self {
        let this = self.expect(exit);
        assert_eq!(this.stdout, "", "nothing is data here");
        assert!(
            this.stderr.contains(&format!("error[{code}]")),
            "{code} is not in:\n{}",
            this.stderr
        );
        this
    }
}

/// Asks the simulated cluster at this address something, without `phasegate`.
pub(crate) fn ask(url: &str, method: &str, path: &str, content_type: &str, body: &str) -> Value {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{head}\n{body}");
    serde_json::from_str(body).unwrap()
}

pub(crate) struct Desk {
    folder: tempfile::TempDir,
    state: PathBuf,
}

impl Desk {
    /// A desk with the example's scenario and a release whose soak takes so long, at this speed.
    pub(crate) fn new(scale: u32, soak: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Self::within(folder, state, scale, soak)
    }

    /// The same with its state directory elsewhere.
    pub(crate) fn at(scale: u32, soak: &str, state: &Path) -> Self {
        Self::within(tempfile::tempdir().unwrap(), state.to_owned(), scale, soak)
    }

    fn within(folder: tempfile::TempDir, state: PathBuf, scale: u32, soak: &str) -> Self {
        let desk = Self { folder, state };
        let release = RELEASE
            .replace("SCALE", &scale.to_string())
            .replace("SOAK", soak);
        desk.write("release.yaml", &release);
        let example =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/scenario.yaml");
        let scenario = fs::read_to_string(example).unwrap();
        // The example's policy stays where it is: a test that wants one brings its own.
        desk.write(
            "scenario.yaml",
            &scenario.replace("policy: policy.yaml\n", ""),
        );
        desk
    }

    /// A desk on which a release takes a few seconds.
    pub(crate) fn quick() -> Self {
        Self::new(40, "30s")
    }

    /// A desk on which a soak outlasts the test.
    pub(crate) fn slow() -> Self {
        Self::new(20, "30m")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Changes a file; what is replaced must be there.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from} is not in {name}");
        self.write(name, &text.replace(from, to));
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// `phasegate`, in the desk's folder and with its state directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasegate"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PHASEGATE_STATE", self.state())
            .env_remove("PHASEGATE_POLICY")
            .stdin(Stdio::null());
        command
    }

    /// Runs `phasegate` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Starts `phasegate` and reads its NDJSON while it goes on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut child = self
            .command(arguments)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Started { child, lines }
    }

    /// What `--output json` prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let ended = self.run(&all).expect(0);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn cluster(&self) -> Option<Value> {
        let note = fs::read_to_string(self.state().join("simulated.json")).ok()?;
        serde_json::from_str(&note).ok()
    }

    /// Asks the simulated cluster something, without `phasegate`.
    pub(crate) fn ask(&self, method: &str, path: &str, content_type: &str, body: &str) -> Value {
        let note = self.cluster().unwrap();
        ask(
            note["url"].as_str().unwrap(),
            method,
            path,
            content_type,
            body,
        )
    }

    /// Ends the simulated cluster, so that the next command starts one anew.
    pub(crate) fn end_cluster(&self) {
        let pid = self.cluster().and_then(|note| note["pid"].as_i64());
        let pid = Pid::from_raw(i32::try_from(pid.unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        fs::remove_file(self.state().join("simulated.json")).unwrap();
    }

    /// The image that the Deployment asks for, by the cluster's own word.
    pub(crate) fn image(&self) -> String {
        let deployment = self.ask(
            "GET",
            "/apis/apps/v1/namespaces/hello/deployments/hello",
            "",
            "",
        );
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }

    /// Somebody else changes the Deployment.
    pub(crate) fn meddle(&self, merge: &str) {
        self.ask(
            "PATCH",
            "/apis/apps/v1/namespaces/hello/deployments/hello",
            "application/merge-patch+json",
            merge,
        );
    }

    /// The requests by which the cluster was changed; leases left out.
    pub(crate) fn changes(&self) -> Vec<String> {
        let requests = self.ask("GET", "/simulation/requests", "", "");
        let requests = requests.as_array().unwrap();
        assert!(!requests.is_empty(), "the cluster was asked nothing");
        let text = |request: &Value, field: &str| request[field].as_str().unwrap().to_owned();
        requests
            .iter()
            .filter(|request| text(request, "method") != "GET")
            .filter(|request| !text(request, "path").contains("/leases"))
            .map(|request| format!("{} {}", text(request, "method"), text(request, "path")))
            .collect()
    }

    /// The only run there is.
    pub(crate) fn only_run(&self) -> String {
        let runs = self.json(&["history"]);
        let runs = runs.as_array().unwrap();
        assert_eq!(runs.len(), 1);
        runs[0]["run"].as_str().unwrap().to_owned()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The simulated cluster outlives whoever started it. It is ours: the note names it.
        let pid = self.cluster().and_then(|note| note["pid"].as_i64());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A `phasegate` that runs.
pub(crate) struct Started {
    child: Child,
    lines: Receiver<String>,
}

impl Started {
    /// Waits for a line of this type, and for a text in it.
    #[track_caller]
    pub(crate) fn until(&self, kind: &str, part: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!("no line of type {kind} with `{part}` came");
            });
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["type"] == kind && line.contains(part) {
                return value;
            }
        }
    }

    /// Waits for its next line.
    #[track_caller]
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        let stdout: Vec<String> = self.lines.iter().collect();
        Ended {
            code: status.code(),
            stdout: stdout.join("\n"),
            stderr,
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
