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
    beside(&space, &["worker", "cache"]);
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

/// Deployments beside the one that is released.
pub(crate) fn beside(space: &Space, names: &[&str]) {
    for other in names {
        let image = format!("registry.test/{other}:1");
        let mut object = deployment(other, 2, &image, &json!({}));
        let labels = json!({"app": other});
        object["spec"]["selector"]["matchLabels"] = labels.clone();
        object["spec"]["template"]["metadata"]["labels"] = labels;
        space.apply(&object).unwrap();
        let rollout = format!("deployment/{other}");
        space.kubectl(&["rollout", "status", &rollout, "--timeout=120s"]);
    }
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

const REPAIR: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: after
    steps:
      - act: {plugin: event-repair, config: {deployment: worker, job: {image: 'registry.test/tools:1', serviceAccount: ACCOUNT}}}
";

/// With the account `absent` the Job's pod isn't let in, so that the Job goes on until somebody ends it.
fn repairing(name: &str, account: &str) -> (Space, Desk) {
    let space = Space::new(name);
    workload(&space, "shop", None);
    beside(&space, &["worker"]);
    let desk = desk(&space, &REPAIR.replace("ACCOUNT", account), "1s");
    (space, desk)
}

/// Waits until a Job is there, which it is only once the worker has no pods.
fn repair_runs(space: &Space) {
    for _ in 0..600 {
        let jobs = space.get(&["jobs"]);
        if jobs["items"].as_array().is_some_and(|all| !all.is_empty()) {
            let pods = space.get(&["pods", "-l", "app=worker"]);
            assert_eq!(pods["items"], json!([]), "a pod is left beside the Job");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("no Job was made");
}

fn unmarked(space: &Space) {
    let worker = space.get(&["deployment", "worker"]);
    let marks = worker["metadata"]["annotations"].to_string();
    assert!(!marks.contains("event-repair"), "{marks}");
}

/// The old version serves, the pods are back, and the Job is stopped.
fn given_up(space: &Space) {
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    assert_eq!(wanted(space, "worker"), 2);
    let jobs = space.get(&["jobs"]);
    assert_eq!(jobs["items"][0]["spec"]["suspend"], true);
    unmarked(space);
}

#[test]
fn an_event_repair_that_is_killed_gives_the_pods_back_after_its_job() {
    let (space, desk) = repairing("repair-killed", "default");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("will keep Deployment worker without pods");
    assert!(run.kill_after(1), "it was still running");
    desk.run(&["resume"]).expect(0);
    assert_eq!(wanted(&space, "worker"), 2);
    assert_eq!(jobs(&space), 1);
    unmarked(&space);
}

#[test]
fn an_event_repair_that_is_aborted_gives_the_pods_back() {
    let (space, desk) = repairing("repair-aborted", "absent");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    repair_runs(&space);
    assert_eq!(wanted(&space, "worker"), 0);
    desk.run(&["abort", "--reason", "it takes too long"])
        .expect(0);
    run.end().expect(1);
    given_up(&space);
}

#[test]
fn an_event_repair_beside_which_somebody_scales_up_is_given_up() {
    let (space, desk) = repairing("repair-scaled", "absent");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    repair_runs(&space);
    space.kubectl(&["scale", "deployment/worker", "--replicas=2"]);
    run.end().expect(1);
    given_up(&space);
}
