//! The program at work on the cluster: a folder with a release, and the account by which the cluster is reached.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::space::{Space, cluster};

/// How long a program that runs may say nothing: the longest soak of a test, and time to spare.
const LIMIT: Duration = Duration::from_secs(300);

/// The roles that are published with the engine, by the names of their files.
pub(crate) const IN_PLACE: &[&str] = &["in-place", "diagnosis"];

/// What a command left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this exit code; else both streams are shown.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{stdout}\nstderr:\n{stderr}"
        );
        self
    }
}

/// A client of the cluster that a kubeconfig names.
pub(crate) async fn client(kubeconfig: &Path) -> kube::Client {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options);
    kube::Client::try_from(config.await.unwrap()).unwrap()
}

/// A folder to work in, as an account of the cluster.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Desk {
    /// A desk whose account may do in the space what these published roles say, and nothing else.
    pub(crate) fn of(space: &Space, roles: &[&str]) -> Self {
        space.kubectl(&["create", "serviceaccount", "deployer"]);
        let account = format!("--serviceaccount={}:deployer", space.name);
        for role in roles {
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rbac");
            let manifest = manifest.join(format!("{role}.yaml")).display().to_string();
            space.kubectl(&["apply", "-f", &manifest]);
            let role = format!("phasegate-{role}");
            let bound = format!("--role={role}");
            space.kubectl(&["create", "rolebinding", &role, &bound, &account]);
        }
        let token = space.kubectl(&["create", "token", "deployer"]);
        Self::with_token(space, token.trim())
    }

    /// A desk whose account has this token.
    pub(crate) fn with_token(space: &Space, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = space.kubectl(&["config", "view", "--raw", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = json!({"token": token});
        config["contexts"][0]["name"] = json!("test");
        config["current-context"] = json!("test");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { folder, kubeconfig }
    }

    /// A desk of whoever may do everything.
    pub(crate) fn admin(space: &Space) -> Self {
        let desk = Self::with_token(space, "");
        let text = space.kubectl(&["config", "view", "--raw", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["contexts"][0]["name"] = json!("test");
        config["current-context"] = json!("test");
        fs::write(&desk.kubeconfig, config.to_string()).unwrap();
        desk
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API server is.
    pub(crate) fn server(&self) -> String {
        let config = self.config();
        let server = &config["clusters"][0]["cluster"]["server"];
        server.as_str().unwrap().to_owned()
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.kubeconfig).unwrap()).unwrap()
    }

    /// Sets something about the cluster, or takes it out.
    pub(crate) fn edit_cluster(&self, field: &str, value: Option<&str>) {
        let mut config = self.config();
        let cluster = config["clusters"][0]["cluster"].as_object_mut().unwrap();
        match value {
            Some(value) => cluster.insert(field.to_owned(), json!(value)),
            None => cluster.remove(field),
        };
        fs::write(&self.kubeconfig, config.to_string()).unwrap();
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where runs are recorded.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        self.start_as(None, arguments)
    }

    /// Starts the program under an account of the machine, by its name; under one's own if there is none.
    pub(crate) fn start_as(&self, account: Option<&str>, arguments: &[&str]) -> Started {
        let mut command = self.command(account, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Started::new(command.spawn().unwrap())
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as(None, arguments)
    }

    /// The same under an account.
    pub(crate) fn run_as(&self, account: Option<&str>, arguments: &[&str]) -> Ended {
        Ended::of(self.command(account, arguments).output().unwrap())
    }

    fn command(&self, account: Option<&str>, arguments: &[&str]) -> Command {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../debug/phasegate");
        assert!(
            program.is_file(),
            "there is no {}; run `cargo build --workspace`",
            program.display()
        );
        // For the gate that asks the API server: the machine's authorities are those of the cluster.
        let trusted = cluster().join("certificates/apiserver.crt");
        let mut command = match account {
            None => Command::new(program),
            // In a user namespace that knows this account only: files stay those of whoever runs the suite.
            Some(account) => {
                let mut command = Command::new("unshare");
                let number = uid(account);
                command.args(["--user", "--map-user", &number, "--"]);
                command.arg(program);
                command
            }
        };
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PHASEGATE_STATE", self.state())
            .env("SSL_CERT_FILE", trusted)
            .env("PATH", path())
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy");
        command
    }
}

/// Where programs are: before those of the machine, the ones that make manifests, of known versions.
fn path() -> OsString {
    let mut path = cluster().join("renderers").into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap());
    path
}

/// The number of an account of the machine.
fn uid(account: &str) -> String {
    let id = Command::new("id").args(["-u", account]).output().unwrap();
    assert!(id.status.success(), "there is no account {account}");
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// What is heard of a program.
pub(crate) enum Heard {
    Line(String),
    Nothing,
    Ended,
}

/// A program that runs. It goes with the value.
pub(crate) struct Started {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    said: RefCell<String>,
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Started {
    fn new(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        // Read all the time, or a full pipe would stop the program.
        thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            lines,
            errors: Some(errors),
            said: RefCell::default(),
        }
    }

    /// The next line; none once it has ended.
    #[track_caller]
    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => {
                self.said.borrow_mut().push_str(&format!("{line}\n"));
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("it says nothing any more:\n{}", self.said.borrow())
            }
        }
    }

    /// The next thing that is heard of it within a time.
    pub(crate) fn hear(&self, within: Duration) -> Heard {
        match self.lines.recv_timeout(within) {
            Ok(line) => {
                self.said.borrow_mut().push_str(&format!("{line}\n"));
                Heard::Line(line)
            }
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::Ended,
        }
    }

    /// Reads what it says until a line has this in it.
    #[track_caller]
    pub(crate) fn until(&self, part: &str) {
        while let Some(line) = self.next() {
            if line.contains(part) {
                return;
            }
        }
        panic!("it never said `{part}`:\n{}", self.said.borrow());
    }

    /// Reads a line. False where it has ended.
    #[track_caller]
    pub(crate) fn goes_on(&self) -> bool {
        self.next().is_some()
    }

    /// Reads so many lines, and kills it, as a crash would. False if it has ended before that.
    pub(crate) fn kill_after(self, lines: usize) -> bool {
        (0..lines).all(|_| self.next().is_some())
    }

    /// Sends it a signal, as `kill` calls it.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        while self.next().is_some() {}
        let code = self.child.wait().unwrap().code();
        let errors = self.errors.take().unwrap();
        Ended {
            code,
            stdout: self.said.take(),
            stderr: errors.join().unwrap(),
        }
    }
}
