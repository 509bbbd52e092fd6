//! The engine is killed with SIGKILL: between a write to the cluster and its outcome, in the rollback, in
//! the rollback of a run that was resumed already, and at any other moment. Whoever resumes it finds the
//! same end as an undisturbed run, and by the cluster's own log nothing was changed twice, and nothing
//! without an intent in the journal.
//!
//! A kill between a write and its outcome is exact: the simulated cluster, a process of its own, applies
//! the write and holds the answer back; the test sees the write in the cluster's log and kills the engine,
//! which is still waiting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the test starts and kills processes and waits for them"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use phasegate_core::event::Record;
use phasegate_rehearsal::cluster::LoggedRequest;
use phasegate_rehearsal::observer;
use phasegate_runtime::ports::Journal;
use phasegate_store::SqliteJournal;
use serde_json::{Value, json};

/// The kills that the suite must make at least.
const KILLS: usize = 60;
const BETWEEN: usize = 20;
const IN_ROLLBACK: usize = 15;
const IN_RESUMED_ROLLBACK: usize = 10;
/// After so long something hangs; far above what the slowest machine needs.
const PATIENCE: Duration = Duration::from_secs(120);
const PHASEGATE: &str = env!("CARGO_BIN_EXE_phasegate");

/// A write of the engine whose answer is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Claim,
    /// The nth write to the Deployment, from 0.
    Write(u32),
    Release,
}

impl Hold {
    fn fault(self) -> Value {
        let (method, kind, skip) = match self {
            Self::Claim => ("POST", "ConfigMap", 0),
            Self::Write(nth) => ("PATCH", "Deployment", nth),
            Self::Release => ("DELETE", "ConfigMap", 0),
        };
        json!({"method": method, "kind": kind, "skip": skip, "count": 1, "effect": "answerHeld"})
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    strategy: &'static str,
    /// Whether the gate after the deployment says no.
    fails: bool,
}

impl Shape {
    /// The number of the first write of the way back; none is on it where all goes well.
    fn first_write_back(self) -> Option<u32> {
        let forward = if self.strategy == "recreate" { 2 } else { 1 };
        self.fails.then_some(forward)
    }
}

#[derive(Clone, Debug)]
struct Case {
    shape: Shape,
    holds: Vec<Hold>,
    /// Kill the first engine after so many lines of its story.
    after_lines: Option<usize>,
}

/// What is compared between a disturbed run and an undisturbed one.
#[derive(Clone, Debug, PartialEq)]
struct End {
    exit: Option<i32>,
    spec: Value,
    claimed: bool,
    changes: BTreeMap<String, u32>,
}

#[derive(Default)]
struct Tally {
    kills: AtomicUsize,
    between: AtomicUsize,
    in_rollback: AtomicUsize,
    in_resumed_rollback: AtomicUsize,
}

/// The folder of a case, and the cluster that it started.
struct Lab {
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
    fn new(case: &Case) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let release = RELEASE.replace("STRATEGY", case.shape.strategy);
        std::fs::write(folder.path().join("release.yaml"), release).unwrap();
        let faults: Vec<Value> = case.holds.iter().map(|hold| hold.fault()).collect();
        let http = if case.shape.fails {
            json!([{"path": "/health/db", "version": "2.0.0", "status": 500}])
        } else {
            json!([])
        };
        let scenario = SCENARIO
            .replace("FAULTS", &json!(faults).to_string())
            .replace("HTTP", &http.to_string());
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

    fn requests(&self) -> Vec<LoggedRequest> {
        let answer = self
            .get("/simulation/requests")
            .expect("the cluster answers");
        let list = answer.get("requests").cloned().unwrap_or(answer);
        serde_json::from_value(list).expect("a request log")
    }

    /// How many writes were applied and not answered.
    fn held(&self) -> usize {
        let Some(answer) = self.get("/simulation/requests") else {
            return 0;
        };
        let list = answer.get("requests").cloned().unwrap_or(answer);
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .filter(|request| request["injected"] == true && request["status"].is_null())
            .count()
    }

    fn spawn(&self, first: bool) -> Child {
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

    fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    fn records(&self) -> Vec<Record> {
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

    fn end(&self, exit: Option<i32>) -> End {
        let deployment = self
            .get("/apis/apps/v1/namespaces/shop/deployments/shop")
            .expect("the Deployment");
        let annotations = deployment["metadata"]["annotations"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        assert!(
            !annotations
                .keys()
                .any(|name| name.starts_with("phasegate.dev/")),
            "marks are left: {annotations:?}"
        );
        let claim = self.get("/api/v1/namespaces/shop/configmaps/phasegate-claim-shop");
        End {
            exit,
            spec: deployment["spec"].clone(),
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

/// Plays a case to its end: the engine is killed at each hold, and resumed.
fn play(case: &Case, tally: &Tally) -> End {
    let lab = Lab::new(case);
    let mut killed = 0;
    let mut killed_forward = false;
    let began = Instant::now();
    for attempt in 0.. {
        assert!(
            attempt <= case.holds.len() + 1,
            "{case:?}: resumed too often\n{}",
            lab.stderr()
        );
        let mut engine = lab.spawn(attempt == 0);
        let lines = std::sync::Arc::new(AtomicUsize::new(0));
        let reader = count_lines(&mut engine, lines.clone());
        let exit = loop {
            assert!(
                began.elapsed() < PATIENCE,
                "{case:?} hangs\n{}",
                lab.stderr()
            );
            if let Some(status) = engine.try_wait().unwrap() {
                break Some(status);
            }
            let held = lab.held() > killed;
            let by_lines = attempt == 0
                && case
                    .after_lines
                    .is_some_and(|after| lines.load(Ordering::SeqCst) >= after);
            if held || by_lines {
                engine.kill().unwrap();
                engine.wait().unwrap();
                tally.kills.fetch_add(1, Ordering::SeqCst);
                if held {
                    killed += 1;
                    note_hold(case, &lab, tally, killed_forward);
                    killed_forward |= !held_write_is_back(case.shape, &lab);
                }
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        reader.join().unwrap();
        let Some(status) = exit else { continue };
        // An engine that was to be killed by its lines may be quicker than the test.
        assert_eq!(
            killed,
            case.holds.len(),
            "{case:?}: not every hold was met\n{}",
            lab.stderr()
        );
        let faults =
            observer::against_journal(&lab.requests(), &lab.records(), &observer::Order::new());
        assert!(faults.is_empty(), "{case:?}: {faults:#?}\n{}", lab.stderr());
        return lab.end(status.code());
    }
    unreachable!("the loop ends by a return or a failed assertion")
}

fn count_lines(
    engine: &mut Child,
    lines: std::sync::Arc<AtomicUsize>,
) -> std::thread::JoinHandle<()> {
    let stdout = engine.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if line.is_err() {
                return;
            }
            lines.fetch_add(1, Ordering::SeqCst);
        }
    })
}

/// Whether the write that was held last belongs to the way back.
fn held_write_is_back(shape: Shape, lab: &Lab) -> bool {
    let requests = lab.requests();
    let held = requests
        .iter()
        .rev()
        .find(|request| request.injected && request.status.is_none());
    shape.fails
        && held
            .and_then(observer::effect_key)
            .is_some_and(|key| key.contains("/rollback/"))
}

fn note_hold(case: &Case, lab: &Lab, tally: &Tally, resumed_before: bool) {
    tally.between.fetch_add(1, Ordering::SeqCst);
    if held_write_is_back(case.shape, lab) {
        tally.in_rollback.fetch_add(1, Ordering::SeqCst);
        if resumed_before || tally_of_case(lab) > 1 {
            tally.in_resumed_rollback.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// How many writes were held so far in this case: with the second, the run was resumed at least once.
fn tally_of_case(lab: &Lab) -> usize {
    lab.held()
}

fn cases() -> Vec<Case> {
    let rolling = Shape {
        strategy: "rolling",
        fails: false,
    };
    let recreate = Shape {
        strategy: "recreate",
        fails: false,
    };
    let rolling_back = Shape {
        strategy: "rolling",
        fails: true,
    };
    let recreate_back = Shape {
        strategy: "recreate",
        fails: true,
    };
    let held = |shape: Shape, holds: &[Hold]| Case {
        shape,
        holds: holds.to_vec(),
        after_lines: None,
    };
    use Hold::{Claim, Release, Write};
    let mut cases = Vec::new();
    for hold in [Claim, Write(0), Write(1), Release] {
        cases.push(held(rolling, &[hold]));
    }
    cases.push(held(rolling, &[Claim, Write(0)]));
    cases.push(held(rolling, &[Write(0), Write(1)]));
    cases.push(held(rolling, &[Claim, Write(0), Write(1), Release]));
    for hold in [Claim, Write(0), Write(1), Write(2), Release] {
        cases.push(held(recreate, &[hold]));
    }
    cases.push(held(
        recreate,
        &[Claim, Write(0), Write(1), Write(2), Release],
    ));
    for shape in [rolling_back, recreate_back] {
        let back = shape.first_write_back().expect("it goes back");
        let (restore, unmark) = (Write(back), Write(back + 1));
        for hold in [restore, unmark, Release] {
            cases.push(held(shape, &[hold]));
            // The run was resumed once, on its way forward.
            cases.push(held(shape, &[Write(0), hold]));
        }
        cases.push(held(shape, &[restore, unmark, Release]));
        cases.push(held(shape, &[Claim, restore, unmark]));
        cases.push(held(shape, &[Claim, Write(0), restore, unmark, Release]));
    }
    // Any other moment.
    for (shape, from) in [
        (rolling, 3),
        (recreate, 4),
        (rolling_back, 5),
        (recreate_back, 6),
    ] {
        for nth in 0..3 {
            cases.push(Case {
                shape,
                holds: Vec::new(),
                after_lines: Some(from + 7 * nth),
            });
        }
    }
    cases
}

#[test]
fn a_killed_engine_is_resumed_to_the_same_end() {
    let tally = Tally::default();
    let cases = cases();
    let mut undisturbed = BTreeMap::new();
    for case in &cases {
        undisturbed.entry(case.shape).or_insert_with(|| {
            let calm = Case {
                shape: case.shape,
                holds: Vec::new(),
                after_lines: None,
            };
            play(&calm, &Tally::default())
        });
    }
    for (shape, end) in &undisturbed {
        assert_eq!(end.exit, Some(if shape.fails { 1 } else { 0 }), "{shape:?}");
        assert!(!end.claimed, "{shape:?}");
    }
    let next = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else {
                        return;
                    };
                    let end = play(case, &tally);
                    assert_eq!(end, undisturbed[&case.shape], "{case:?}");
                }
            });
        }
    });
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    println!(
        "kills: {}, between a write and its outcome: {}, in rollback: {}, in the rollback of a resumed run: {}",
        count(&tally.kills),
        count(&tally.between),
        count(&tally.in_rollback),
        count(&tally.in_resumed_rollback)
    );
    assert!(
        count(&tally.kills) >= KILLS,
        "kills: {}",
        count(&tally.kills)
    );
    assert!(count(&tally.between) >= BETWEEN);
    assert!(count(&tally.in_rollback) >= IN_ROLLBACK);
    assert!(count(&tally.in_resumed_rollback) >= IN_RESUMED_ROLLBACK);
}

/// The files are read by people when a case fails.
#[test]
fn the_cases_are_what_they_say() {
    let cases = cases();
    let planned: usize = cases
        .iter()
        .map(|case| case.holds.len() + usize::from(case.after_lines.is_some()))
        .sum();
    assert!(planned >= KILLS, "{planned} kills are planned");
    assert!(Path::new(PHASEGATE).is_file());
}

const RELEASE: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: "2.0.0"
change: patch
target: {simulated: {scenario: scenario.yaml, scale: 40}}
namespace: shop
workload: {deployment: shop, container: app, image: "registry.example/shop:{version}", service: shop}
gates:
  pods: {plugin: workload, policy: {interval: 5s}}
  database:
    plugin: http
    config: {url: "http://shop.shop.svc/health/db"}
    policy: {interval: 5s}
phases:
  - {name: deploy, strategy: {plugin: STRATEGY, gates: [pods]}}
  - name: verify
    steps:
      - check: [database]
      - soak: {for: 10s, every: 5s, gates: [pods]}
"#;

const SCENARIO: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Scenario
cluster:
  objects:
    - apiVersion: v1
      kind: Namespace
      metadata: {name: shop}
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: shop, namespace: shop}
      spec:
        replicas: 3
        selector: {matchLabels: {app: shop}}
        template:
          metadata: {labels: {app: shop}}
          spec:
            containers:
              - {name: app, image: "registry.example/shop:1.0.0", ports: [{containerPort: 8080}]}
    - apiVersion: v1
      kind: Service
      metadata: {name: shop, namespace: shop}
      spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
http: HTTP
faults: FAULTS
"#;
