//! The engine dies, the API server can't be reached, and others change the workload, in the middle of a canary.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::space::{Space, cluster};
use crate::traffic::{CANARY, desk, route, workload};

/// How often the engine is killed in one canary.
const KILLS: usize = 20;

/// Each change of the cluster that this namespace's engines made, by effect: how often it was made.
fn changes(space: &Space) -> BTreeMap<String, u32> {
    let mut changes = BTreeMap::new();
    for entry in space.audited() {
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        let done = entry["responseStatus"]["code"].as_u64() < Some(300);
        let object = &entry["objectRef"];
        let changed = matches!(
            entry["verb"].as_str(),
            Some("create" | "update" | "patch" | "delete")
        );
        if let Some((_, effect)) = agent.split_once("(effect ")
            && object["resource"] != "leases"
            && changed
            && done
        {
            let what = format!("{effect} {} {}", entry["verb"], object["resource"]);
            *changes.entry(what).or_default() += 1;
        }
    }
    changes
}

/// Nothing was changed twice, and there were changes.
fn each_once(space: &Space) {
    let changes = changes(space);
    let twice: Vec<_> = changes.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    assert!(changes.len() > 8, "{changes:#?}");
}

/// Begins a release, and kills its engine and those that resume it, after a line or a few more each time.
fn killed(desk: &Desk, first: &[&str], kills: usize, least: usize) -> usize {
    let mut killed = 0;
    let mut order = first.to_vec();
    for turn in 0..kills {
        order.extend(["--output", "json"]);
        if !desk.start(&order).kill_after(least + turn % 3) {
            break;
        }
        killed += 1;
        order = vec!["resume"];
    }
    killed
}

#[test]
fn an_engine_that_is_killed_twenty_times_comes_to_the_end_of_its_canary() {
    let space = Space::new("killed");
    workload(&space, "shop", None);
    route(&space);
    let desk = desk(&space, CANARY, "2s");
    let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop"));
    let kills = killed(&desk, &["run", "release.yaml"], KILLS, 2);
    assert_eq!(kills, KILLS);
    desk.run(&["resume"]).expect(0);
    plane.end().served_by(&["1", "2"]);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
    each_once(&space);
}

#[test]
fn an_engine_that_is_killed_twenty_times_comes_back_from_its_canary() {
    let space = Space::new("killed-back");
    workload(&space, "shop", None);
    route(&space);
    let desk = desk(&space, CANARY, "5m");
    let before = space.get(&["httproute", "shop"])["spec"].clone();
    let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop"));
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    run.kill_after(1);
    let abort = ["abort", "--reason", "it doesn't look right"];
    let kills = killed(&desk, &abort, KILLS - 1, 1);
    assert!(kills > 7, "{kills} kills only");
    if kills == KILLS - 1 {
        desk.run(&["resume"]).expect(1);
    }
    plane.end().served_by(&["1", "2"]);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    assert_eq!(space.get(&["httproute", "shop"])["spec"], before);
    space.only(&["shop"]);
    each_once(&space);
}

/// A program of the cluster, which this test takes in hand.
struct Program(&'static str);

impl Program {
    fn process(&self) -> String {
        let record = fs::read_to_string(cluster().join("cluster.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let processes = record["processes"].as_array().unwrap();
        let found = processes.iter().find(|process| process["name"] == self.0);
        found.unwrap()["pid"].to_string()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Starts it again as it was.
    fn again(&self) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let restarted = Command::new(cargo)
            .args(["xtask", "cluster", "--folder"])
            .arg(cluster())
            .args(["restart", self.0])
            .status();
        assert!(restarted.unwrap().success());
    }
}

/// A canary during whose soak something befalls the cluster, and which succeeds all the same.
fn canary_during(name: &str, befalls: impl FnOnce()) {
    let space = Space::alone(name);
    workload(&space, "shop", None);
    route(&space);
    let desk = desk(&space, CANARY, "5s");
    let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop"));
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5s");
    befalls();
    run.end().expect(0);
    plane.end().served_by(&["1", "2"]);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
}

#[test]
fn an_api_server_that_is_killed_and_comes_back_holds_up_a_canary_and_no_customer() {
    canary_during("api-server", || {
        let server = Program("kube-apiserver");
        server.signal("-KILL");
        thread::sleep(Duration::from_secs(5));
        server.again();
    });
}

#[test]
fn a_storage_that_stands_still_holds_up_a_canary_and_no_customer() {
    canary_during("etcd", || {
        let storage = Program("etcd");
        storage.signal("-STOP");
        thread::sleep(Duration::from_secs(8));
        storage.signal("-CONT");
    });
}
