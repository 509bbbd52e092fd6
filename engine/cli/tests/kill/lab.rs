//! The folder of a case, and the processes in it: the simulated cluster, and one engine after the other.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use phasegate_core::event::Record;
use phasegate_rehearsal::cluster::LoggedRequest;
use phasegate_rehearsal::observer;
use phasegate_runtime::ports::Journal;
use phasegate_store::SqliteJournal;
use serde_json::{Value, json};

use super::PHASEGATE;
use super::cases::Case;

/// Lists of the cluster whose objects a run may change.
const LISTS: [&str; 3] = [
    "/apis/apps/v1/namespaces/shop/deployments",
    "/api/v1/namespaces/shop/services",
    "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes",
];

/// Marks that stay on a Deployment that a run made, so that a later `rollback` knows it.
const KEPT_MARKS: [&str; 1] = ["phasegate.dev/made-by"];

/// What is compared between a disturbed run and an undisturbed one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) exit: Option<i32>,
    /// What is there, by kind and name.
    pub(crate) specs: BTreeMap<String, Value>,
    pub(crate) claimed: bool,
    /// How many requests changed something, by kind.
    pub(crate) changes: BTreeMap<String, u32>,
}

/// The folder of a case, and the cluster that it started.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pid) = self.note().and_then(|note| note["pid"].as_u64()) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

impl Lab {
    pub(crate) fn new(case: &Case) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults: Vec<Value> = case.holds.iter().map(|hold| hold.fault()).collect();
        let http = if case.shape.fails {
            json!([{"path": "/health/db", "version": "2.0.0", "status": 500}])
        } else {
            json!([])
        };
        let (release, scenario) = case.shape.files();
        let scenario = format!("{scenario}http: {http}\nfaults: {}\n", json!(faults));
        std::fs::write(folder.path().join("release.yaml"), release).unwrap();
        std::fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        Self { folder }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn note(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.state().join("simulated.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn url(&self) -> Option<String> {
        Some(self.note()?["url"].as_str()?.to_owned())
    }

    fn get(&self, path: &str) -> Option<Value> {
        get(&self.url()?, path)
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        let answer = self
            .get("/simulation/requests")
            .expect("the cluster answers");
        let list = answer.get("requests").cloned().unwrap_or(answer);
        serde_json::from_value(list).expect("a request log")
    }

    /// How many writes were applied and not answered.
    pub(crate) fn held(&self) -> usize {
        let Some(answer) = self.get("/simulation/requests") else {
            return 0;
        };
        let list = answer.get("requests").cloned().unwrap_or(answer);
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .filter(|request| request["injected"] == true && request["status"].is_null())
            .count()
    }

    pub(crate) fn spawn(&self, first: bool) -> Child {
        let mut command = Command::new(PHASEGATE);
        command
            .arg("--state")
            .arg(self.state())
            .args(["--output", "json"]);
        if first {
            command
                .arg("run")
                .arg(self.folder.path().join("release.yaml"));
        } else {
            command.arg("resume");
        }
        let log = self.folder.path().join("stderr.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let journal = SqliteJournal::open(self.state()).unwrap();
            let runs = journal.runs(10).await.unwrap();
            assert_eq!(runs.len(), 1, "one run: {runs:?}");
            journal.read(&runs[0].run).await.unwrap().0
        })
    }

    pub(crate) fn end(&self, exit: Option<i32>) -> End {
        let mut specs = BTreeMap::new();
        for path in LISTS {
            let list = self.get(path).expect("a list");
            for object in list["items"].as_array().expect("items") {
                let name = format!("{path}/{}", object["metadata"]["name"]);
                let annotations = object["metadata"]["annotations"].as_object();
                let mut marks = annotations.into_iter().flat_map(|known| known.keys());
                assert!(
                    !marks.any(|mark| mark.starts_with("phasegate.dev/")
                        && !KEPT_MARKS.contains(&mark.as_str())),
                    "marks are left at {name}: {annotations:?}"
                );
                specs.insert(name, object["spec"].clone());
            }
        }
        let claim = self.get("/api/v1/namespaces/shop/configmaps/phasegate-claim-shop");
        End {
            exit,
            specs,
            claimed: claim.is_some_and(|claim| claim["kind"] == "ConfigMap"),
            changes: observer::changes_by_kind(&self.requests()),
        }
    }
}

fn get(url: &str, path: &str) -> Option<Value> {
    let authority = url.strip_prefix("http://")?.trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (_, body) = text.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}
