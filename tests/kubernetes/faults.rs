//! The engine dies, the API server can't be reached, and others change the workload, in the middle of a canary.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::space::{Space, cluster};
use crate::traffic::{CANARY, desk, route, workload};

/// How often the engine is killed in one canary.
const KILLS: usize = 20;

/// Each change of the cluster that this namespace's engines made, by effect: how often it was made.
fn changes(space: &Space) -> BTreeMap<String, u32> {
    let log = fs::read_to_string(cluster().join("logs/audit.log")).unwrap();
    let mut changes = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(&space.name)) {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            // The server is writing it.
            continue;
        };
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        let done = entry["responseStatus"]["code"].as_u64() < Some(300);
        let object = &entry["objectRef"];
        let here = object["namespace"] == space.name && object["resource"] != "leases";
        let changed = matches!(
            entry["verb"].as_str(),
            Some("create" | "update" | "patch" | "delete")
        );
        if let Some((_, effect)) = agent.split_once("(effect ")
            && here
            && changed
            && done
            && entry["stage"] == "ResponseComplete"
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
