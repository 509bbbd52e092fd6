//! Actions of a release on the cluster: what they do there, and that it is taken back.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::space::{Space, deployment};
use crate::traffic::{desk, workload};

const BODY: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: before
    steps:
      - act: {plugin: scale, config: {deployment: worker, replicas: 0}}
      - act: {plugin: job, config: {image: 'registry.test/tools:1', command: [tools, migrate]}}
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: after
    steps:
      - act: {plugin: configmap, config: {name: settings, set: {mode: new, old: null}}}
      - act: {plugin: restart, config: {deployment: cache}}
      - soak: {for: SOAK, every: 1s, gates: [pods]}
";

fn prepared(name: &str, soak: &str) -> (Space, Desk) {
    let space = Space::new(name);
    workload(&space, "shop", None);
    for other in ["worker", "cache"] {
        let image = format!("registry.test/{other}:1");
        let mut object = deployment(other, 2, &image, &json!({}));
        let labels = json!({"app": other});
        object["spec"]["selector"]["matchLabels"] = labels.clone();
        object["spec"]["template"]["metadata"]["labels"] = labels;
        space.apply(&object).unwrap();
        let rollout = format!("deployment/{other}");
        space.kubectl(&["rollout", "status", &rollout, "--timeout=120s"]);
    }
    space.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=mode=plain",
        "--from-literal=old=1",
        "--from-literal=other=x",
    ]);
    let desk = desk(&space, BODY, soak);
    (space, desk)
}

fn wanted(space: &Space, deployment: &str) -> Value {
    space.get(&["deployment", deployment])["spec"]["replicas"].clone()
}

fn settings(space: &Space) -> Value {
    space.get(&["configmap", "settings"])["data"].clone()
}

/// The Jobs that are there, each of which has run once.
fn jobs(space: &Space) -> usize {
    let jobs = space.get(&["jobs"]);
    let jobs = jobs["items"].as_array().unwrap();
    for job in jobs {
        assert_eq!(job["status"]["succeeded"], 1, "{job}");
    }
    jobs.len()
}

#[test]
fn actions_are_done_around_a_release() {
    let (space, desk) = prepared("acts", "2s");
    let pods = |space: &Space| {
        let found = space.get(&["pods", "-l", "app=cache"]);
        let found = found["items"].as_array().unwrap().iter();
        let there = found.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        there
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = pods(&space);
    let plan = desk.run(&["plan", "release.yaml"]).expect(0).stdout;
    assert!(plan.contains("have `scale` act"), "{plan}");
    desk.run(&["run", "release.yaml"]).expect(0);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    assert_eq!(wanted(&space, "worker"), 0);
    assert_eq!(settings(&space), json!({"mode": "new", "other": "x"}));
    assert_eq!(jobs(&space), 1);
    let after = pods(&space);
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
}

#[test]
fn what_actions_did_is_taken_back_with_the_release() {
    let (space, desk) = prepared("acts-back", "5m");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    assert_eq!(wanted(&space, "worker"), 0);
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    assert_eq!(wanted(&space, "worker"), 2);
    let before = json!({"mode": "plain", "old": "1", "other": "x"});
    assert_eq!(settings(&space), before);
    assert_eq!(jobs(&space), 1, "a Job is kept");
}

#[test]
fn an_engine_that_is_killed_among_actions_runs_none_twice() {
    let (space, desk) = prepared("acts-killed", "2s");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("will run Job");
    assert!(run.kill_after(1), "it was still running");
    desk.run(&["resume"]).expect(0);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    assert_eq!(settings(&space), json!({"mode": "new", "other": "x"}));
    assert_eq!(jobs(&space), 1);
}
