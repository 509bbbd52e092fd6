//! Journals in the cluster that somebody damaged, or began to take away.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::space::{Space, deployment};
use crate::traffic::{BLUE_GREEN, workload, write};

const OTHER: &str = "\
workload: {deployment: other, container: main, image: 'registry.test/shop:{version}'}
phases:
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
";

/// A release that succeeds, and the name of its run.
fn released(desk: &Desk, state: &str, version: &str) -> String {
    let run = [
        "--state",
        state,
        "run",
        "release.yaml",
        "--version",
        version,
    ];
    desk.run(&run).expect(0);
    let history = ["--state", state, "--output", "json", "history"];
    let runs: Value = serde_json::from_str(&desk.run(&history).expect(0).stdout).unwrap();
    runs[0]["run"].as_str().unwrap().to_owned()
}

fn first(run: &str) -> String {
    format!("phasegate-journal-{run}-0000000001")
}

/// Grants a plugin more than the run was given.
fn damage(space: &Space, run: &str) {
    let mut sheet = space.get(&["configmap", &first(run)]);
    let kept = sheet["data"]["kept"].as_str().unwrap().to_owned();
    assert!(kept.contains("credentials"), "{kept}");
    sheet["data"]["kept"] = json!(format!("{kept} "));
    let metadata = sheet["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    space.kubectl(&["delete", "configmap", &first(run)]);
    space.apply(&sheet).unwrap();
}

#[test]
fn a_damaged_journal_keeps_nobody_from_what_is_owed_and_what_is_left_of_one_is_taken_away() {
    let space = Space::new("remains");
    workload(&space, "shop-blue", Some("blue"));
    let other = deployment("other", 1, "registry.test/shop:1", &json!({}));
    space.apply(&other).unwrap();
    space.kubectl(&["rollout", "status", "deployment/other", "--timeout=120s"]);
    let desk = Desk::admin(&space);
    let state = format!("kubernetes:test/{}", space.name);
    write(
        &desk,
        &space,
        &BLUE_GREEN.replace("keep: 1h", "keep: 5s"),
        "1s",
    );
    let owes = released(&desk, &state, "2");
    write(&desk, &space, OTHER, "1s");
    let damaged = released(&desk, &state, "2");
    let broken_off = released(&desk, &state, "3");
    damage(&space, &damaged);
    let command = |arguments: &[&str], code| {
        let ended = desk
            .run(&[&["--state", &state], arguments].concat())
            .expect(code);
        format!("{}{}", ended.stdout, ended.stderr)
    };
    let told = command(&["status", &damaged], 2);
    assert!(told.contains("PG0502"), "{told}");
    sleep(Duration::from_secs(5));
    let told = command(&["due", "meet"], 2);
    assert!(told.contains("PG0502") && told.contains(&damaged), "{told}");
    assert!(told.contains(&format!("{owes} 1: done")), "{told}");
    space.only(&["other", "shop-green"]);
    // As whoever forgets it does first, and is broken off.
    let slip = format!("phasegate-journal-{broken_off}");
    space.kubectl(&["delete", "lease", &slip]);
    space.kubectl(&["delete", "configmap", &first(&broken_off)]);
    let of = |run: &str| {
        let label = format!("phasegate.dev/run={run}");
        let left = space.get(&["configmaps,leases", "-l", &label]);
        left["items"].as_array().unwrap().len()
    };
    assert!(of(&broken_off) > 0);
    command(&["history", "forget", &broken_off], 0);
    assert_eq!(of(&broken_off), 0);
    let told = command(&["history", "forget", "--keep", "0"], 2);
    assert!(told.contains(&format!("{owes}: forgotten")), "{told}");
    assert!(told.contains("PG0502"), "{told}");
    assert_eq!(of(&owes), 0);
    assert!(of(&damaged) > 0);
}
