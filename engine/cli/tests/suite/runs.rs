//! Runs on a simulated cluster that is a process of its own.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use phasegate_cli::builtin;
use rustix::process::Signal;
use serde_json::Value;

use crate::desk::{Desk, ask};

const NEW: &str = "registry.example/hello:1.1.0";
const OLD: &str = "registry.example/hello:1.0.0";

/// The account that the tests run under, as `phasegate` names it.
fn account(desk: &Desk) -> String {
    let run = desk.only_run();
    let status = desk.json(&["status", &run]);
    status["startedBy"]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_plan_touches_nothing() {
    let desk = Desk::quick();
    let ended = desk.run(&["plan", "release.yaml"]).expect(0);
    for part in [
        "hello 1.0.0 → 1.1.0",
        "deploy in place",
        "soak for 30s",
        OLD,
        "brings 1.0.0",
        "builtin:rolling",
    ] {
        assert!(
            ended.stdout.contains(part),
            "`{part}` is not in\n{}",
            ended.stdout
        );
    }
    assert_eq!(desk.changes(), Vec::<String>::new());
    assert_eq!(desk.image(), OLD);
    assert!(!desk.state().join("journal.db").exists());
}

#[test]
fn a_release_succeeds_and_its_stream_is_its_history() {
    let desk = Desk::quick();
    let run = desk
        .run(&["run", "release.yaml", "--output", "json"])
        .expect(0);
    assert_eq!(desk.image(), NEW);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let wanted: BTreeSet<&str> = [
        "schema", "seq", "time", "run", "type", "phase", "step", "attempt", "level", "message",
        "data",
    ]
    .into();
    let mut last = 0;
    for line in &lines {
        let fields: BTreeSet<&str> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(fields, wanted);
        assert_eq!(line["schema"], 1);
        assert!(line["seq"].as_u64().unwrap() >= last);
        last = line["seq"].as_u64().unwrap();
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(lines[0]["type"], "planned");
    assert!(
        lines
            .iter()
            .any(|line| line["type"] == "ended" && line["message"] == "succeeded")
    );
    let id = desk.only_run();
    let history = desk.run(&["history", &id, "--output", "json"]).expect(0);
    assert_eq!(history.stdout, run.stdout);
    let watched = desk.run(&["watch", &id, "--output", "json"]).expect(0);
    assert_eq!(watched.stdout, run.stdout);
    let status = desk.json(&["status", &id]);
    assert_eq!(
        (&status["finished"], &status["end"]),
        (&true.into(), &"succeeded".into())
    );

    // What the run owes, and going back after all.
    let owed = desk.json(&["due"]);
    assert_eq!(owed[0]["number"], 1);
    desk.run(&["due", "done", &id, "1"]).expect(0);
    assert_eq!(desk.json(&["due"]), Value::Array(Vec::new()));
    assert_eq!(desk.json(&["due", "--all"]).as_array().unwrap().len(), 1);
    desk.run(&["abort", &id]).refused(3, "PG0601");
    let back = desk.run(&["rollback", &id]).expect(1);
    assert_eq!(desk.image(), OLD);
    // How long it took is said twice, and is the same.
    let took = |said: &str| {
        let (_, rest) = said.rsplit_once("rolled back in ").unwrap();
        rest.split([',', ':']).next().unwrap().to_owned()
    };
    assert_eq!(took(&back.stdout), took(&back.stderr), "{}", back.stderr);
}

#[test]
fn a_release_without_a_scenario_finds_an_earlier_version() {
    let desk = Desk::quick();
    desk.edit(
        "release.yaml",
        "{scenario: scenario.yaml, scale: 40}",
        "{scale: 40}",
    );
    let plan = desk.json(&["plan", "release.yaml"]);
    assert_eq!(plan["plan"]["subject"]["previousVersion"], "0.0.0");
    desk.run(&["run", "release.yaml"]).expect(0);
    assert_eq!(desk.image(), NEW);
}

#[test]
fn somebody_else_aborts() {
    let desk = Desk::slow();
    let run = desk.start(&["run", "release.yaml"]);
    run.until("step-started", "soak");
    let status = desk.json(&["status"]);
    assert_eq!(status[0]["driven"], true);
    assert!(status[0]["abortWould"].as_str().unwrap().contains("1.0.0"));
    let ended = desk.run(&["abort", "--reason", "enough"]).expect(0);
    assert!(ended.stdout.contains("took `abort`"), "{}", ended.stdout);
    let ended = run.end().expect(1);
    assert!(ended.stdout.contains("aborted: enough"), "{}", ended.stdout);
    assert_eq!(desk.image(), OLD);
    let run = desk.only_run();
    desk.run(&["resume", &run]).expect(1);
    desk.run(&["abort", &run]).refused(3, "PG0601");
}

#[test]
fn a_signal_leaves_the_run_and_another_command_goes_on_with_it() {
    let desk = Desk::slow();
    let run = desk.start(&["run", "release.yaml"]);
    run.until("changed", NEW);
    let told = Instant::now();
    run.signal(Signal::TERM);
    run.end().expect(5);
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
    let status = desk.json(&["status"]);
    assert_eq!(
        (&status[0]["state"], &status[0]["driven"]),
        (&"interrupted".into(), &false.into())
    );

    // Nobody drives: a pause drives, and resume goes on from it.
    let paused = desk.start(&["pause", "--reason", "lunch"]);
    paused.until("paused", "lunch");
    paused.signal(Signal::INT);
    paused.end().expect(5);
    desk.run(&["pause"]).refused(3, "PG0601");

    // `continue` drives, and its own signal aborts as it was told to.
    let resumed = desk.start(&["continue", "--on-cancel", "abort"]);
    resumed.until("step-started", "soak");
    resumed.signal(Signal::INT);
    let ended = resumed.end().expect(1);
    assert!(
        ended.stdout.contains("--on-cancel=abort"),
        "{}",
        ended.stdout
    );
    assert_eq!(desk.image(), OLD);
    let verified = desk.run(&["history", "verify"]).expect(0);
    assert!(verified.stdout.contains("whole"), "{}", verified.stdout);
}

#[test]
fn an_engine_that_was_killed_is_resumed() {
    let desk = Desk::new(40, "60s");
    let run = desk.start(&["run", "release.yaml"]);
    run.until("changed", NEW);
    run.signal(Signal::KILL);
    run.end();
    let watched = desk.run(&["watch"]).expect(5);
    assert!(
        watched.stderr.contains("phasegate resume"),
        "{}",
        watched.stderr
    );
    desk.run(&["resume"]).expect(0);
    assert_eq!(desk.image(), NEW);
    let patches = desk.changes();
    let patches = patches
        .iter()
        .filter(|change| change.starts_with("PATCH"))
        .count();
    assert_eq!(patches, 2, "the image once, and the marks off once");
}

#[test]
fn a_second_run_on_the_target_is_refused_and_leaves_nothing() {
    let desk = Desk::slow();
    let run = desk.start(&["run", "release.yaml"]);
    run.until("changed", NEW);
    let ended = desk.run(&["run", "release.yaml"]).refused(3, "PG0401");
    let first = desk.only_run();
    assert!(ended.stderr.contains(&first), "{}", ended.stderr);
    assert_eq!(fs::read_dir(desk.state().join("runs")).unwrap().count(), 1);
    desk.run(&["resume"]).refused(3, "PG0505");
    let held = desk.json(&["lock", "show", "simulated/hello/hello"]);
    assert_eq!(held["claim"]["run"], first.as_str());
    assert!(held["driver"].is_object());
    desk.run(&["lock", "break", "simulated/hello/hello", "--reason", "x"])
        .refused(3, "PG0505");
    run.signal(Signal::KILL);
    run.end();
    // A dead run's lock is for people to break.
    let broken = desk.run(&["lock", "break", "release.yaml", "--reason", "it is dead"]);
    assert!(broken.expect(0).stdout.contains("it is dead"));
    let held = desk.json(&["lock", "show", "release.yaml"]);
    assert_eq!(held["claim"], Value::Null);
    // One that is free already is told as such, to programs as well.
    let free = desk.json(&["lock", "break", "release.yaml", "--reason", "twice"]);
    assert_eq!(free["run"], Value::Null);
    assert_eq!(free["target"], "simulated/hello/hello");
    desk.edit(
        "release.yaml",
        "namespace: hello\n",
        "environments: {staging: {namespace: other}, production: {}}\nenvironment: production\nnamespace: hello\n",
    );
    let staging = ["lock", "show", "release.yaml", "--environment", "staging"];
    assert_eq!(desk.json(&staging)["target"], "simulated/other/hello");
}

#[test]
fn a_saved_plan_runs_unless_what_it_was_made_of_has_changed() {
    let desk = Desk::quick();
    desk.run(&["plan", "release.yaml", "--out", "plan.json"])
        .expect(0);
    desk.meddle(r#"{"spec": {"replicas": 5}}"#);
    let ended = desk
        .run(&["run", "release.yaml", "--plan", "plan.json"])
        .refused(3, "PG0603");
    assert!(
        ended.stderr.contains("the number of replicas was 3, is 5"),
        "{}",
        ended.stderr
    );
    desk.meddle(r#"{"spec": {"replicas": 3}}"#);
    // Nobody takes a gate out of a plan that was looked at.
    let plan = fs::read_to_string(desk.path("plan.json")).unwrap();
    let mut altered: Value = serde_json::from_str(&plan).unwrap();
    altered["plan"]["phases"][1]["steps"][0]["duration"] = "1s".into();
    desk.write("altered.json", &altered.to_string());
    desk.run(&["run", "release.yaml", "--plan", "altered.json"])
        .refused(3, "PG0603");
    // Nor is another version released than the one that was planned.
    desk.write("other.json", &plan.replace("1.1.0", "1.1.9"));
    desk.run(&["run", "release.yaml", "--plan", "other.json"])
        .refused(3, "PG0603");
    desk.write("none.json", "{}");
    desk.run(&["run", "release.yaml", "--plan", "none.json"])
        .refused(2, "PG0105");
    desk.run(&["run", "release.yaml", "--plan", "plan.json"])
        .expect(0);
    assert_eq!(desk.image(), NEW);
}

/// A run is bound to its target by the uid: a cluster that takes the place of another has other ones.
#[test]
fn a_simulated_cluster_that_was_started_anew_is_another_one() {
    let desk = Desk::quick();
    let uid = || {
        desk.run(&["plan", "release.yaml"]).expect(0);
        let path = "/apis/apps/v1/namespaces/hello/deployments/hello";
        desk.ask("GET", path, "", "")["metadata"]["uid"].clone()
    };
    let first = uid();
    assert!(first.is_string());
    assert_eq!(uid(), first, "the same process");
    desk.end_cluster();
    assert_ne!(uid(), first);
}

#[test]
fn a_seed_makes_a_simulated_cluster_what_it_was_before() {
    let uid = |seed: &str| {
        let desk = Desk::quick();
        let scenario = "scenario.yaml";
        let started = desk.start(&["simulate", "--scenario", scenario, "--seed", seed]);
        let url = started.next()["url"].clone();
        let path = "/apis/apps/v1/namespaces/hello/deployments/hello";
        let deployment = ask(url.as_str().unwrap(), "GET", path, "", "");
        deployment["metadata"]["uid"].clone()
    };
    assert_eq!(uid("7"), uid("7"));
    assert_ne!(uid("7"), uid("8"));
}

/// A plugin from elsewhere may do nothing until the operator says so; the refusal says how.
#[test]
fn a_plugin_from_a_file_gets_what_the_policy_grants() {
    let desk = Desk::quick();
    let (_, bytes) = builtin::all()
        .iter()
        .find(|(name, _)| *name == "workload")
        .unwrap();
    fs::write(desk.path("mine.wasm"), bytes).unwrap();
    desk.edit("release.yaml", "plugin: workload", "plugin: mine");
    desk.edit(
        "release.yaml",
        "gates:\n",
        "plugins:\n  mine: {path: mine.wasm}\ngates:\n",
    );
    desk.edit(
        "release.yaml",
        "timeout: 2m}",
        "timeout: 2m, errorLimit: 0}",
    );
    let refused = desk.run(&["run", "release.yaml"]).expect(1);
    let line = "add to the policy under plugins.grants: `- ";
    let (_, rest) = refused.stderr.split_once(line).unwrap();
    let (grant, _) = rest.split_once('`').unwrap();
    assert!(
        grant.contains("plugin: \"mine\", digest: \"sha256:"),
        "{grant}"
    );
    assert_eq!(desk.image(), OLD);

    // The line grants what was missing first; the plugin asks for two kinds of objects.
    let policy = format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nplugins:\n  grants:\n    - {grant}\n    - plugin: mine\n      may:\n        - kubernetes: {{group: apps, kind: Deployment, verbs: [get, find]}}\n        - kubernetes: {{kind: Pod, verbs: [get, find]}}\n"
    );
    desk.write("policy.yaml", &policy);
    desk.run(&["run", "release.yaml", "--policy", "policy.yaml"])
        .expect(0);
    assert_eq!(desk.image(), NEW);

    // Other bytes than those that somebody looked at get nothing.
    let digest = format!("sha256:{}", "0".repeat(64));
    desk.write("policy.yaml", &format!("apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nplugins:\n  grants:\n    - {{plugin: mine, digest: \"{digest}\", may: [{{http: \"a:1\"}}]}}\n"));
    desk.run(&["run", "release.yaml", "--policy", "policy.yaml"])
        .refused(2, "PG0310");
}

/// Nobody is waited for who can't come.
#[test]
fn an_approval_that_only_the_starter_could_give_is_refused_at_once() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let me = account(&desk);
    let policy = POLICY.replace("WHO", &me).replace("true", "false");
    desk.write("policy.yaml", &policy);
    let given = ["release.yaml", "--policy", "policy.yaml"];
    let ended = desk.run(&[&["run"], &given[..]].concat());
    let ended = ended.refused(2, "PG0204");
    let why = format!("{me} starts the run");
    assert!(ended.stderr.contains(&why), "{}", ended.stderr);
    desk.only_run();
    // Who is to approve it reads the plan first, and somebody else starts it.
    desk.run(&[&["plan"], &given[..]].concat()).expect(0);
}

const POLICY: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Policy
roles: {operations: [WHO]}
approvals:
  - {roles: [operations], starterMayApprove: true}
attestations:
  - {name: backup-tested, prompt: When was the last backup restored?}
";

#[test]
fn people_are_waited_for_and_answer_from_elsewhere() {
    let desk = Desk::quick();
    desk.write("policy.yaml", &POLICY.replace("WHO", "somebody-else"));
    let run = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--no-wait",
    ];
    let ended = desk.run(&run).expect(5);
    assert!(ended.stderr.contains("phasegate"), "{}", ended.stderr);
    let me = account(&desk);
    let ended = desk.run(&["approve"]).refused(3, "PG0605");
    assert!(ended.stderr.contains("somebody-else"), "{}", ended.stderr);
    desk.run(&["attest", "backup-testd", "--text", "x"])
        .refused(3, "PG0601");
    desk.run(&["abort"]).expect(3);
    assert_eq!(desk.image(), OLD);
    fs::remove_file(desk.path("policy.yaml")).unwrap();

    // The same, with the one who is asked.
    desk.write("policy.yaml", &POLICY.replace("WHO", &me));
    desk.run(&run).expect(5);
    let status = desk.run(&["status"]).expect(0).stdout;
    assert!(status.contains("awaits"), "{status}");
    desk.run(&["approve", "--digest", "sha256:0000000000000000"])
        .refused(3, "PG0603");
    // Less of the right one than is shown would be that of other plans, too.
    let listed = desk.run(&["status", "--output", "json"]).expect(0).stdout;
    let digest = listed.split("\"plan\": \"sha256:").nth(1).unwrap();
    for little in ["", "sha256:", &digest[..11]] {
        let ended = desk
            .run(&["approve", "--digest", little])
            .refused(3, "PG0603");
        assert!(
            ended.stderr.contains("that of many plans"),
            "{}",
            ended.stderr
        );
    }
    desk.run(&[
        "attest",
        "backup-tested",
        "--text",
        "yesterday, by me",
        "--no-wait",
    ])
    .expect(5);
    desk.run(&["approve", "--digest", &digest[..12]]).expect(0);
    assert_eq!(desk.image(), NEW);
}

#[test]
fn a_closed_window_refuses_the_start() {
    let desk = Desk::quick();
    // The scenario begins on a Tuesday.
    desk.write(
        "policy.yaml",
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nwindows:\n  - {zone: UTC, days: [sun], from: \"01:00\", to: \"02:00\"}\n",
    );
    let ended = desk
        .run(&["run", "release.yaml", "--policy", "policy.yaml"])
        .refused(3, "PG0606");
    assert!(ended.stderr.contains("opens at"), "{}", ended.stderr);
    assert_eq!(desk.changes(), Vec::<String>::new());
    assert_eq!(desk.json(&["history"]), Value::Array(Vec::new()));
}

#[test]
fn a_version_that_does_not_come_up_is_taken_back() {
    let desk = Desk::quick();
    desk.edit(
        "scenario.yaml",
        "  pods:\n",
        "  pods:\n    - {image: \"*:1.1.0\", crash: {after: 1s, log: [cannot open database]}}\n",
    );
    let ended = desk.run(&["run", "release.yaml"]).expect(1);
    assert_eq!(desk.image(), OLD);
    assert!(ended.stderr.contains("rolled back"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot open database"),
        "{}",
        ended.stderr
    );
}

/// A run that would change nothing would prove nothing, and `plan` may look all the same.
#[test]
fn a_version_that_serves_already_is_not_released_again() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let refused = desk.run(&["run", "release.yaml"]).refused(3, "PG0616");
    assert!(refused.stderr.contains("1.1.0"), "{}", refused.stderr);
    desk.only_run();
    desk.run(&["plan", "release.yaml"]).expect(0);
    desk.run(&["run", "release.yaml", "--version", "1.0.0"])
        .expect(0);
}
