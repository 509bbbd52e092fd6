//! A Prometheus of its own for a test, with a history that was written beforehand.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_runtime::ports::{Clock, Http, HttpRequest};
use phasegate_world::clock::SystemClock;
use phasegate_world::http::LiveHttp;
use tempfile::TempDir;

/// How often a start is tried: between choosing a port and taking it, somebody else may take it.
const STARTS: u32 = 5;
/// How often it is looked whether the server is ready, and how long is waited in between.
const LOOKS: u32 = 600;
const BETWEEN: Span = Span::from_millis(100);
/// History and future are as long, so that a slow machine never runs out of samples.
const HALF: i64 = 1_800;
/// The distance of the samples, in seconds.
const EVERY: usize = 15;
/// Who may ask where the web server is configured with [`LOCKED`]: `phasegate:open sesame`.
pub(crate) const LOGIN: &str = "cGhhc2VnYXRlOm9wZW4gc2VzYW1l";
/// A web server that lets in only whoever has the login.
pub(crate) const LOCKED: &str = "basic_auth_users:\n  phasegate: $2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";
/// A web server that lets everybody in.
pub(crate) const OPEN: &str = "";

/// A running server; it ends with the value.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    /// When its history was written, in milliseconds since the Unix epoch.
    pub(crate) now: u64,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A value so many seconds after the history was written; negative before. None is no sample.
pub(crate) type Value = fn(i64) -> Option<f64>;

/// A family of series: its name and type, and each series by its name with its labels.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) series: Vec<(String, Value)>,
}

impl Server {
    /// Starts a server with this history, and what its web server is configured with.
    pub(crate) async fn start(history: &[Family], web: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemClock.now().as_millis();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("history.om"), exposition(history, now / 1000)).unwrap();
        std::fs::write(place("prometheus.yml"), "global: {}\n").unwrap();
        std::fs::write(place("web.yml"), web).unwrap();
        let blocks = tool("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([place("history.om"), place("data")])
            .status();
        assert!(blocks.unwrap().success(), "promtool takes the history");
        for _ in 0..STARTS {
            let (mut process, port) = spawn(folder.path());
            if is_ready(&mut process, port).await {
                let _folder = folder;
                return Self {
                    process,
                    port,
                    now,
                    _folder,
                };
            }
            end(&mut process);
        }
        panic!("Prometheus does not start in {}", folder.path().display());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends the server, and waits for its end.
    pub(crate) fn end(&mut self) {
        end(&mut self.process);
    }
}

/// A program that `cargo xtask setup` made available.
fn tool(name: &str) -> Command {
    let folder = std::env::var_os("PHASEGATE_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../tools"),
        PathBuf::from,
    );
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing; run `cargo xtask setup`, or say where it is with PHASEGATE_TOOLS",
        program.display()
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn spawn(folder: &Path) -> (Child, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let place = |name: &str| folder.join(name).display().to_string();
    let log = File::create(folder.join("log")).unwrap();
    let process = tool("prometheus")
        .arg(format!("--config.file={}", place("prometheus.yml")))
        .arg(format!("--web.config.file={}", place("web.yml")))
        .arg(format!("--storage.tsdb.path={}", place("data")))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(log)
        .spawn();
    (process.unwrap(), port)
}

async fn is_ready(process: &mut Child, port: u16) -> bool {
    let clock = Arc::new(SystemClock);
    let http = LiveHttp::new(clock.clone());
    for _ in 0..LOOKS {
        let answer = http
            .send(HttpRequest {
                method: "GET".to_owned(),
                url: format!("http://127.0.0.1:{port}/-/ready"),
                headers: vec![Pair::new("authorization", format!("Basic {LOGIN}"))],
                body: None,
                timeout: Span::from_secs(5),
                max_body: 1_000,
            })
            .await;
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        if answer.is_ok_and(|answer| answer.status == 200) {
            return true;
        }
        clock.sleep_until(clock.now().plus(BETWEEN)).await;
    }
    false
}

fn end(process: &mut Child) {
    // One that has ended already can't be ended again, and is waited for all the same.
    let _ = process.kill();
    let _ = process.wait();
}

/// The history as OpenMetrics.
fn exposition(families: &[Family], now: u64) -> String {
    let mut text = String::new();
    for Family { name, kind, series } in families {
        writeln!(text, "# TYPE {name} {kind}").unwrap();
        for (series, value) in series {
            for after in (-HALF..=HALF).step_by(EVERY) {
                if let Some(value) = value(after) {
                    let at = now.checked_add_signed(after).unwrap();
                    writeln!(text, "{series} {value} {at}").unwrap();
                }
            }
        }
    }
    text.push_str("# EOF\n");
    text
}
