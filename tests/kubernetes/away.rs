//! Runs whose journals are in the cluster, where their engines stall, are cut off, or are missing; and what people do
//! to them from their desks meanwhile.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{Desk, Heard, Started};
use crate::engines::{ACCOUNT, Engines, nothing};
use crate::in_cluster::{CANARY_ROLES, Stage, workload};
use crate::line::Mode;
use crate::plane::{Door, Plane};
use crate::proxy::Proxy;
use crate::space::Space;
use crate::traffic::{CANARY, ROLLING, route, workload_with, write};

/// Longer than an engine's slip lasts, and than a command that looks waits for a server that is away.
const OUTAGE: Duration = Duration::from_secs(75);
/// A pod may be deleted so often in one canary.
const DELETIONS: usize = 20;

const IMAGE: [&str; 2] = ["--image", "registry.test/phasegate:0.1.0"];

fn seat(space: &Space) -> String {
    format!("kubernetes:test/{}", space.name)
}

/// A command about a run of the journal, and what it said.
#[track_caller]
fn command(desk: &Desk, seat: &str, arguments: &[&str], code: i32) -> String {
    let ended = desk.run(&[&["--state", seat], arguments].concat());
    let ended = ended.expect(code);
    format!("{}{}", ended.stdout, ended.stderr)
}

fn json(desk: &Desk, seat: &str, arguments: &[&str]) -> Value {
    let arguments = [&["--state", seat, "--output", "json"], arguments].concat();
    serde_json::from_str(&desk.run(&arguments).expect(0).stdout).unwrap()
}

fn only_run(desk: &Desk, seat: &str) -> String {
    let runs = json(desk, seat, &["history"]);
    runs[0]["run"].as_str().unwrap().to_owned()
}

fn is_driven(desk: &Desk, seat: &str, id: &str) -> bool {
    json(desk, seat, &["status", id])["driven"] == true
}

/// A canary that a desk drives with its journal in the cluster, and its customers.
fn driven_from_a_desk(space: &Space, desk: &Desk, soak: &str, how: &[&str]) -> (Started, Plane) {
    workload(space, "shop", None);
    route(space);
    let plane = customers(space);
    write(desk, space, CANARY, soak);
    let state = seat(space);
    let run = ["--state", &state, "run", "release.yaml", "--output", "json"];
    let run = desk.start(&[&run[..], how].concat());
    run.until(&format!("soak for {soak}"));
    (run, plane)
}

/// Customers at the route, who come to the cluster by no proxy.
fn customers(space: &Space) -> Plane {
    let door = Door::Route("shop");
    Plane::new(Desk::admin(space).kubeconfig(), &space.name, door)
}

#[test]
fn an_engine_that_stalls_leaves_its_run_to_the_one_that_followed_it() {
    let space = Space::new("away-stalls");
    let (desk, other) = (Desk::admin(&space), Desk::admin(&space));
    let (stalled, plane) = driven_from_a_desk(&space, &desk, "30s", &[]);
    let state = seat(&space);
    let id = only_run(&other, &state);
    stalled.signal("-STOP");
    space.until("its engine is held for dead", || {
        (!is_driven(&other, &state, &id)).then_some(())
    });
    let follower = other.start(&["--state", &state, "resume", &id, "--output", "json"]);
    follower.until("resumed");
    stalled.signal("-CONT");
    let left = stalled.end().expect(5).stderr;
    assert!(left.contains("PG0505"), "{left}");
    // Whoever followed it has noticed nothing.
    follower.end().expect(0);
    let records = command(&other, &state, &["history", &id], 0);
    assert_eq!(records.matches("drives, epoch").count(), 2, "{records}");
    command(&other, &state, &["history", "verify"], 0);
    plane.end().served_by(&["1", "2"]);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
}

#[test]
fn an_engine_waits_for_an_api_server_that_is_away_and_forgets_no_abort() {
    let space = Space::new("away-server");
    let desk = Desk::admin(&space);
    let proxy = Proxy::before(&desk);
    let (run, plane) = driven_from_a_desk(&space, &desk, "5m", &["--on-cancel", "abort"]);
    proxy.set(Mode::Busy(503, None));
    sleep(OUTAGE);
    run.signal("-INT");
    // What it was told while it can do nothing is done once it can.
    sleep(Duration::from_secs(2));
    proxy.set(Mode::Well);
    let told = run.end().expect(1).stderr;
    let waits = "nothing is done until the journal can be reached again";
    assert_eq!(told.matches(waits).count(), 1, "{told}");
    plane.end().served_by(&["1", "2"]);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    space.only(&["shop"]);
    command(&desk, &seat(&space), &["history", "verify"], 0);
}

#[test]
fn a_desk_that_lacks_the_credentials_of_a_run_does_not_become_its_engine() {
    let space = Space::new("away-lacks");
    let desk = Desk::admin(&space);
    // Nobody runs its pods: they find no node.
    Engines::without_kubelet(&space);
    workload_with(&space, "shop", None, &nothing());
    let credentials = "credentials:\n  slack: {env: PHASEGATE_TEST_NOWHERE, hosts: ['slack.test:443'], header: 'authorization: Bearer {secret}'}\nnotifications:\n  - {name: people, plugin: webhook, config: {url: 'https://slack.test/', credential: slack}, on: [succeeded]}\n";
    write(&desk, &space, &format!("{ROLLING}{credentials}"), "5m");
    let run = [
        "run",
        "release.yaml",
        "--in-cluster",
        "--credentials",
        "keys",
    ];
    let run = desk.start(&[&run[..], &IMAGE[..], &["--output", "json"]].concat());
    run.until("planned");
    let state = seat(&space);
    let id = only_run(&desk, &state);
    let given = |given: &[&str], done: &str| {
        let told = command(&desk, &state, given, 3);
        for part in [
            "PG0415",
            "PHASEGATE_TEST_NOWHERE",
            "--in-cluster --image",
            done,
        ] {
            assert!(told.contains(part), "{given:?}: {part}: {told}");
        }
        let left = [
            "configmaps",
            "-l",
            "phasegate.dev/journal in (command,answer)",
        ];
        space.get(&left)["items"].as_array().unwrap().len()
    };
    assert_eq!(given(&["pause", &id], "nothing was changed"), 0);
    assert_eq!(given(&["resume", &id], "nothing was changed"), 0);
    // Whoever drives next turns back first.
    assert_eq!(given(&["abort", &id], "is in its inbox"), 1);
    assert!(!is_driven(&desk, &state, &id));
}

/// An approval, a pause, a report and a follower who goes away, with the journal in a namespace of its own.
#[test]
fn people_lead_a_run_that_a_job_drives_from_their_desks() {
    let (space, journal) = (Space::new("away-people"), Space::new("away-journal"));
    let desk = Desk::admin(&space);
    workload(&space, "shop", None);
    route(&space);
    let plane = customers(&space);
    let engines = Engines::new(&journal, desk.kubeconfig(), &["in-cluster"]);
    for role in &CANARY_ROLES[1..] {
        space.binds(role, &format!("{}:{ACCOUNT}", journal.name));
    }
    write(&desk, &space, CANARY, "20s");
    desk.write(
        "policy.yaml",
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nstarterMayApprove: true\nroles: {lead: [WHO]}\napprovals:\n  - {roles: [lead]}\n"
            .replace("WHO", &who())
            .as_str(),
    );
    let run = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--in-cluster",
    ];
    let place = ["--journal-namespace", &journal.name];
    let run = desk.start(&[&run[..], &IMAGE[..], &place[..]].concat());
    let state = seat(&journal);
    let id = journal.until("there is a run", || {
        let runs = json(&desk, &state, &["history"]);
        Some(runs[0]["run"].as_str()?.to_owned())
    });
    let says = |part: &str| {
        journal.until(part, || {
            let records = command(&desk, &state, &["history", &id], 0);
            records.contains(part).then_some(())
        });
    };
    says("0 of 1 approvals");
    let none = space.get(&["configmaps,leases,jobs", "-l", "phasegate.dev/journal"]);
    assert_eq!(none["items"], json!([]));
    command(&desk, &state, &["approve", &id], 0);
    says("soak for 20s");
    let said = command(&desk, &state, &["pause", &id], 0);
    assert!(said.contains("paused"), "{said}\n{}", engines.said());
    // Whoever follows goes home; the Job stays, and its pod.
    run.signal("-INT");
    let left = run.end().expect(5).stderr;
    assert!(left.contains("the run goes on without you"), "{left}");
    assert!(is_driven(&desk, &state, &id));
    let (before, _) = engines.counts();
    command(&desk, &state, &["continue", &id], 0);
    journal.until("the run is at its end", || {
        let jobs = journal.get(&["jobs"]);
        (jobs["items"][0]["status"]["succeeded"] == 1).then_some(())
    });
    assert_eq!(engines.counts().0, before, "{}", engines.said());
    let status = json(&desk, &state, &["status", &id]);
    assert_eq!(status["driven"], false, "{status}");
    command(
        &desk,
        &state,
        &["report", &id, "--output-file", "report.html"],
        0,
    );
    let report = fs::read_to_string(desk.kubeconfig().with_file_name("report.html")).unwrap();
    for part in [id.as_str(), "paused", "approved"] {
        assert!(report.contains(part), "{part}");
    }
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    plane.end().served_by(&["1", "2"]);
}

fn who() -> String {
    let said = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// The second pod of a Job that is deleted is made anew after twenty seconds, and each further one after twice as long.
/// So each time somebody has another Job drive the run.
#[test]
fn a_canary_survives_the_deletion_of_twenty_of_its_pods() {
    let stage = Stage::new("away-deleted", "75s");
    let plane = stage.plane();
    let run = stage.submit();
    run.until("soak for 1m15s");
    let (id, state) = (stage.run_id(), seat(&stage.space));
    let (_, first) = stage.engines.counts();
    for _ in 0..DELETIONS {
        let (_, before) = stage.engines.counts();
        stage.delete_pods();
        let resume = ["--state", &state, "resume", &id, "--in-cluster"];
        let job = stage.desk.start(&[&resume[..], &IMAGE[..]].concat());
        stage.space.until("another pod's engine has come", || {
            (stage.engines.counts().1 > before).then_some(())
        });
        drop(job);
    }
    // It was not at its end before the last one was deleted.
    assert!(!matches!(run.hear(Duration::ZERO), Heard::Ended));
    stage.ends(run, 0);
    let (_, pods) = stage.engines.counts();
    assert!(pods >= first + DELETIONS, "{pods} pods");
    plane.end().served_by(&["1", "2"]);
    stage.space.only(&["shop"]);
    stage.journal_is_whole();
}
