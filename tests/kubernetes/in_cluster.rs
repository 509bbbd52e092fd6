//! Runs that Jobs drive, with their journals in the cluster: engines die, pods are deleted, people follow and command
//! from their desks, and whoever comes by goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use phasegate_store::SegmentJournal;
use phasegate_store::chain::Row;
use phasegate_store::segments::MAX_SHEET_BYTES;
use phasegate_world::clock::SystemClock;
use phasegate_world::kubernetes::{KubeCluster, KubeShelf, Options};
use serde_json::Value;

use crate::desk::{Desk, Started, client};
use crate::engines::{Engines, nothing};
use crate::plane::{Door, Plane};
use crate::rules::Place;
use crate::space::{Space, cluster};
use crate::traffic::{BLUE_GREEN, CANARY, route, workload_with, write};

pub(crate) const CANARY_ROLES: [&str; 4] = ["in-cluster", "in-place", "beside", "gateway-api"];

/// A workload whose pods find a node where those of engines don't.
pub(crate) fn workload(space: &Space, name: &str, colour: Option<&str>) {
    workload_with(space, name, colour, &nothing());
}

/// A cluster on which a canary can be driven from within.
pub(crate) struct Stage {
    pub(crate) space: Space,
    pub(crate) desk: Desk,
    pub(crate) engines: Engines,
    state: String,
}

impl Stage {
    pub(crate) fn new(name: &str, soak: &str) -> Self {
        let space = Space::new(name);
        workload(&space, "shop", None);
        route(&space);
        Self::with(space, CANARY, soak, &CANARY_ROLES)
    }

    pub(crate) fn with(space: Space, body: &str, soak: &str, roles: &[&str]) -> Self {
        let desk = Desk::admin(&space);
        let engines = Engines::new(&space, desk.kubeconfig(), roles);
        write(&desk, &space, body, soak);
        let state = format!("kubernetes:test/{}", space.name);
        Self {
            space,
            desk,
            engines,
            state,
        }
    }

    /// Submits the release and follows it.
    pub(crate) fn submit(&self) -> Started {
        let image = ["--image", "registry.test/phasegate:0.1.0"];
        let run = ["run", "release.yaml", "--in-cluster", "--output", "json"];
        self.desk.start(&[&run[..], &image[..]].concat())
    }

    /// Customers come in at the route.
    pub(crate) fn plane(&self) -> Plane {
        let door = Door::Route("shop");
        Plane::new(self.desk.kubeconfig(), &self.space.name, door)
    }

    /// Whoever follows the run sees it end so.
    #[track_caller]
    pub(crate) fn ends(&self, run: Started, code: i32) {
        let ended = run.end();
        let said = self.engines.said();
        assert_eq!(ended.code, Some(code), "{}\n{said}", ended.stderr);
    }

    /// A command about the run, from the desk.
    pub(crate) fn command(&self, arguments: &[&str], code: i32) -> String {
        let arguments = [&["--state", &self.state], arguments].concat();
        let ended = self.desk.run(&arguments);
        if ended.code != Some(code) {
            eprintln!("{}", self.engines.said());
        }
        ended.expect(code).stdout
    }

    pub(crate) fn run_id(&self) -> String {
        let runs = self.command(&["--output", "json", "history"], 0);
        let runs: Value = serde_json::from_str(&runs).unwrap();
        runs[0]["run"].as_str().unwrap().to_owned()
    }

    /// Waits until another engine has come. False where none is needed any more.
    pub(crate) fn another_engine(&self, before: usize) -> bool {
        self.space.until("another engine has come", || {
            if self.engines.counts().0 > before {
                return Some(true);
            }
            let jobs = self.space.get(&["jobs"]);
            (jobs["items"][0]["status"]["succeeded"] == 1).then_some(false)
        })
    }

    pub(crate) fn delete_pods(&self) {
        let label = "--selector=app.kubernetes.io/component=engine";
        self.space
            .kubectl(&["delete", "pods", label, "--wait=false"]);
    }

    fn delete_job(&self) {
        self.space
            .kubectl(&["delete", "jobs", "--all", "--wait=false"]);
    }

    /// The journal is whole, and nothing of it was ever changed or taken away.
    pub(crate) fn journal_is_whole(&self) {
        let whole = self.command(&["history", "verify"], 0);
        assert!(whole.contains("whole"), "{whole}");
        let entries = self.space.audited();
        let of_journals: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["objectRef"]["resource"] == "configmaps")
            .filter(|entry| {
                let name = entry["objectRef"]["name"].as_str().unwrap_or_default();
                name.starts_with("phasegate-journal-")
            })
            .collect();
        let verbs = |wanted: &str| of_journals.iter().any(|entry| entry["verb"] == wanted);
        for changed in ["update", "patch", "delete"] {
            assert!(!verbs(changed), "{changed}: {of_journals:#?}");
        }
        assert!(verbs("create") && verbs("get"), "{of_journals:#?}");
        let segments = self
            .space
            .get(&["configmaps", "-l", "phasegate.dev/journal=segment"]);
        let segments = segments["items"].as_array().unwrap();
        assert!(segments.iter().all(|segment| segment["immutable"] == true));
    }
}

/// Nothing of a journal is left.
#[track_caller]
fn no_journal(space: &Space) {
    let left = space.get(&["configmaps,leases", "-l", "phasegate.dev/journal"]);
    assert!(left["items"].as_array().unwrap().is_empty(), "{left:#}");
}

/// Lets engines die at so many points, as long as the run says something: containers crash, a pod is deleted, and once
/// its node is lost. Each time another engine has come before the next one dies.
fn disturb(stage: &Stage, run: &Started, times: u32) {
    for time in 1..=times {
        // Where the run has ended nobody is left to die.
        if !run.goes_on() || !run.goes_on() {
            return;
        }
        let (before, _) = stage.engines.counts();
        match time {
            3 => stage.delete_pods(),
            9 => {
                stage.engines.hard(true);
                stage.delete_pods();
            }
            _ => stage.engines.crash(),
        }
        if !stage.another_engine(before) {
            return;
        }
    }
}

#[test]
fn a_canary_driven_by_a_job_survives_its_engines() {
    let stage = Stage::new("in-cluster-forward", "3s");
    let plane = stage.plane();
    let run = stage.submit();
    disturb(&stage, &run, 20);
    stage.ends(run, 0);
    let (started, pods) = stage.engines.counts();
    assert!(
        started >= 10 && pods >= 3,
        "{started} engines in {pods} pods"
    );
    plane.end().served_by(&["1", "2"]);
    stage.space.only(&["shop"]);
    assert_eq!(stage.space.image("shop"), "registry.test/shop:2");
    stage.journal_is_whole();
    stage.space.until("the Job is done", || {
        let jobs = stage.space.get(&["jobs"]);
        (jobs["items"][0]["status"]["succeeded"] == 1).then_some(())
    });
}

#[test]
fn a_canary_that_is_aborted_from_a_desk_goes_back_whatever_becomes_of_its_engines() {
    let stage = Stage::new("in-cluster-back", "5m");
    let plane = stage.plane();
    let run = stage.submit();
    run.until("soak for 5m");
    stage.engines.crash();
    stage.command(&["abort", "--reason", "it doesn't look right"], 0);
    disturb(&stage, &run, 10);
    stage.ends(run, 1);
    plane.end().served_by(&["1", "2"]);
    stage.space.only(&["shop"]);
    assert_eq!(stage.space.image("shop"), "registry.test/shop:1");
    stage.journal_is_whole();
}

#[test]
fn a_desk_goes_on_where_the_job_is_gone_and_another_job_goes_on_after_it() {
    let stage = Stage::new("in-cluster-over", "30s");
    let plane = stage.plane();
    let run = stage.submit();
    run.until("soak for 30s");
    let id = stage.run_id();
    stage.engines.hard(true);
    stage.delete_job();
    stage.space.until("the pods are gone", || {
        let pods = stage
            .space
            .get(&["pods", "-l", "app.kubernetes.io/component=engine"]);
        pods["items"].as_array()?.is_empty().then_some(())
    });
    stage.space.until("its engine is known to be dead", || {
        let status = stage.command(&["--output", "json", "status", &id], 0);
        let status: Value = serde_json::from_str(&status).unwrap();
        (status["driven"] == false).then_some(())
    });
    let desk = stage
        .desk
        .start(&["--state", &stage.state, "resume", &id, "--output", "json"]);
    desk.until("resumed");
    sleep(Duration::from_secs(2));
    // The desk is closed without a word, and another Job comes by.
    drop(desk);
    let image = ["--image", "registry.test/phasegate:0.1.0"];
    let resume = ["resume", &id, "--in-cluster"];
    stage.command(&[&resume[..], &image[..]].concat(), 0);
    stage.ends(run, 0);
    plane.end().served_by(&["1", "2"]);
    stage.space.only(&["shop"]);
    stage.journal_is_whole();
    // What is over and owes nothing is forgotten, and nothing of it stays.
    stage.command(&["history", "forget", &id], 0);
    no_journal(&stage.space);
}

/// What was kept after a swap is removed by whoever comes by once it is due, as the published CronJob does.
#[test]
fn what_is_owed_is_done_by_the_cron_job_s_command() {
    let space = Space::new("in-cluster-due");
    workload(&space, "shop-blue", Some("blue"));
    let roles = ["in-cluster", "in-place", "beside", "service-selector"];
    let body = BLUE_GREEN.replace("keep: 1h", "keep: 5s");
    let stage = Stage::with(space, &body, "2s", &roles);
    stage.ends(stage.submit(), 0);
    sleep(Duration::from_secs(6));
    let manifest = format!("{}/../deploy/due.yaml", env!("CARGO_MANIFEST_DIR"));
    stage.space.kubectl(&["apply", "-f", &manifest]);
    let cron = stage.space.get(&["cronjob", "phasegate-due"]);
    let container = &cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<String> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| {
            argument
                .as_str()
                .unwrap()
                .replace("$(NAMESPACE)", &stage.space.name)
        })
        .collect();
    let said = stage.engines.once(&arguments);
    assert!(said.contains("done"), "{said}");
    stage.space.only(&["shop-green"]);
    let said = stage.engines.once(&arguments);
    assert!(said.contains("nothing is due"), "{said}");
}

#[test]
fn what_a_pod_would_lack_is_told_before_there_is_a_run() {
    let space = Space::new("in-cluster-lack");
    workload(&space, "shop", None);
    route(&space);
    let desk = Desk::of(&space, &["in-cluster", "in-place", "beside", "gateway-api"]);
    write(&desk, &space, CANARY, "3s");
    let run = ["run", "release.yaml", "--in-cluster"];
    let refused = desk.run(&run).expect(3).stderr;
    assert!(
        refused.contains("PG0510") && refused.contains("--image"),
        "{refused}"
    );
    // Without the right to make Jobs the API server refuses it, and nothing is left behind.
    let run = [&run[..], &["--image", "registry.test/phasegate:0.1.0"]].concat();
    let refused = desk.run(&run).expect(3).stderr;
    assert!(refused.contains("create jobs.batch"), "{refused}");
    no_journal(&space);
}

/// A namespace of the cluster, as a place for a journal.
struct Real {
    client: kube::Client,
    space: Space,
    processes: AtomicU64,
}

impl Real {
    async fn new() -> Self {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let place = PLACES.fetch_add(1, Ordering::SeqCst);
        let space = Space::new(&format!("journal-{place}"));
        Self {
            client: client(&cluster().join("kubeconfig")).await,
            space,
            processes: AtomicU64::new(0),
        }
    }

    fn shelf(&self) -> KubeShelf {
        let clock = Arc::new(SystemClock);
        KubeCluster::new(self.client.clone(), clock, Options::default()).shelf(&self.space.name)
    }
}

impl Place for Real {
    type Opened = SegmentJournal;

    fn open(&self) -> SegmentJournal {
        let process = self.processes.fetch_add(1, Ordering::SeqCst);
        let clock = Arc::new(SystemClock);
        SegmentJournal::new(Arc::new(self.shelf()), clock, format!("process-{process}"))
    }

    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
        crate::damage::damage(&self.shelf(), run, damage).await;
    }

    fn most(&self) -> usize {
        MAX_SHEET_BYTES
    }
}

mod journal {
    crate::contract!(super::Real::new().await);
}
