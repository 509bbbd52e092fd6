//! Commands that need no run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use phasegate_core::diagnostic::pages;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::desk::Desk;

#[test]
fn every_code_is_explained() {
    let desk = Desk::quick();
    let list = desk.run(&["explain"]).expect(0).stdout;
    for page in pages() {
        let code = page.code.to_string();
        assert!(list.contains(&code), "{code} is not in the list");
        let text = desk.run(&["explain", &code]).expect(0).stdout;
        assert!(
            text.starts_with(&code) && text.contains(page.title),
            "{text}"
        );
    }
    desk.run(&["explain", "PG9999"]).refused(2, "PG0118");
    desk.run(&["explain", "nonsense"]).refused(2, "PG0118");
}

#[test]
fn completions_know_the_commands() {
    let desk = Desk::quick();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.run(&["completions", shell]).expect(0).stdout;
        for command in ["rehearse", "hand-over", "completions"] {
            assert!(script.contains(command), "{shell} doesn't know {command}");
        }
    }
}

#[test]
fn schemas_are_those_of_the_repository() {
    let desk = Desk::quick();
    for kind in ["release", "policy", "scenario"] {
        let printed = desk.run(&["schema", kind]).expect(0).stdout;
        let schema: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let path = format!(
            "{}/../../schemas/{kind}.schema.json",
            env!("CARGO_MANIFEST_DIR")
        );
        assert!(fs::read_to_string(path).unwrap() == printed, "{kind}");
    }
}

#[test]
fn init_writes_files_that_work_and_overwrites_none() {
    let desk = Desk::quick();
    desk.run(&["init", "new", "--name", "shop"]).expect(0);
    desk.run(&["validate", "new/release.yaml", "new/scenario.yaml"])
        .expect(0);
    desk.run(&["rehearse", "new/release.yaml"]).expect(0);
    let before = fs::read(desk.path("new/release.yaml")).unwrap();
    desk.run(&["init", "new"]).expect(2);
    assert_eq!(fs::read(desk.path("new/release.yaml")).unwrap(), before);
    fs::remove_file(desk.path("new/release.yaml")).unwrap();
    desk.run(&["init", "new"]).expect(2);
    assert!(
        !desk.path("new/release.yaml").exists(),
        "half of it was written"
    );
    desk.run(&["init", "other", "--name", "No"])
        .refused(2, "PG0123");
}

#[test]
fn the_example_of_the_repository_is_valid_and_rehearses_well() {
    let desk = Desk::quick();
    let example =
        |name: &str| format!("{}/../../examples/hello/{name}", env!("CARGO_MANIFEST_DIR"));
    desk.run(&[
        "validate",
        &example("release.yaml"),
        &example("policy.yaml"),
        &example("scenario.yaml"),
    ])
    .expect(0);
    let rehearse = |seed: &str| {
        let release = example("release.yaml");
        desk.run(&["rehearse", &release, "--seed", seed])
            .expect(0)
            .stdout
    };
    let first = rehearse("7");
    assert!(first.contains("end: succeeded"), "{first}");
    assert_eq!(first, rehearse("7"), "the same seed, another transcript");
}

#[test]
fn a_rehearsal_that_is_not_as_expected_says_so() {
    let desk = Desk::quick();
    desk.edit("scenario.yaml", "end: succeeded", "end: rolled-back");
    let ended = desk.run(&["rehearse", "release.yaml"]).expect(1);
    assert!(ended.stderr.contains("PG0702"), "{}", ended.stderr);
    assert!(ended.stdout.contains("end: succeeded"), "{}", ended.stdout);
}

#[test]
fn plugins_tell_what_they_are() {
    let desk = Desk::quick();
    let all = desk.json(&["plugin", "list"]);
    let names: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| plugin["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "apply",
            "blue-green",
            "canary",
            "configmap",
            "event-repair",
            "gateway-api",
            "http",
            "istio",
            "job",
            "nginx",
            "prometheus",
            "recreate",
            "restart",
            "rolling",
            "scale",
            "service-selector",
            "slack",
            "webhook",
            "window",
            "workload"
        ]
    );
    let text = desk.run(&["plugin", "inspect", "rolling"]).expect(0).stdout;
    assert!(
        text.contains("strategy rolling") && text.contains("sha256:"),
        "{text}"
    );
    let ended = desk
        .run(&["plugin", "inspect", "roling"])
        .refused(2, "PG0309");
    assert!(
        ended.stderr.contains("did you mean `rolling`?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let desk = Desk::quick();
    let checks = desk.json(&["doctor"]);
    let bad = checks
        .as_array()
        .unwrap()
        .iter()
        .any(|c| c["health"] == "bad");
    assert!(!bad, "{checks:#}");
    assert!(!desk.state().exists(), "to look makes nothing");
    fs::create_dir(desk.state()).unwrap();
    fs::write(
        desk.state().join("journal.db"),
        "not a database, by far, whatever one may think of it",
    )
    .unwrap();
    let ended = desk.run(&["doctor"]).expect(3);
    assert!(ended.stdout.contains("PG0507"), "{}", ended.stdout);
}

#[test]
fn a_state_directory_without_runs_says_so() {
    let desk = Desk::quick();
    for arguments in [
        &["status"][..],
        &["watch"],
        &["resume"],
        &["abort"],
        &["history"],
        &["history", "verify"],
        &["due"],
    ] {
        desk.run(arguments).refused(2, "PG0506");
    }
    assert!(!desk.state().exists(), "to look makes nothing");
}

#[test]
fn a_note_of_the_cluster_that_cannot_be_read_is_not_taken_for_none() {
    let desk = Desk::quick();
    desk.run(&["plan", "release.yaml"]).expect(0);
    let path = desk.state().join("simulated.json");
    let note = fs::read_to_string(&path).unwrap();
    fs::write(&path, &note[..note.len() / 2]).unwrap();
    for command in ["plan", "run"] {
        desk.run(&[command, "release.yaml"]).refused(2, "PG0507");
    }
    let doctor = desk.run(&["doctor"]).expect(3);
    assert!(
        doctor.stdout.contains("simulated.json"),
        "{}",
        doctor.stdout
    );
    fs::write(&path, note).unwrap();
    desk.run(&["plan", "release.yaml"]).expect(0);
}

#[test]
fn a_lock_is_not_broken_without_a_reason_nor_an_empty_policy_taken_for_none() {
    let desk = Desk::quick();
    desk.run(&["lock", "break", "release.yaml", "--reason", " "])
        .refused(2, "PG0118");
    let mut validate = desk.command(&["plan", "release.yaml"]);
    validate.env("PHASEGATE_POLICY", "");
    let ended = crate::desk::Ended::of(validate.output().unwrap()).refused(2, "PG0101");
    assert!(
        ended.stderr.contains("PHASEGATE_POLICY"),
        "{}",
        ended.stderr
    );
}

/// A process that was killed keeps its number until its parent has asked for its end.
#[test]
fn the_doctor_and_a_run_agree_about_the_simulated_cluster() {
    let desk = Desk::quick();
    let mut cluster = desk
        .command(&["simulate", "--listen", "127.0.0.1:0", "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(cluster.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut note: Value = serde_json::from_str(&line).unwrap();
    note["started"] = json!(1_794_931_200_000_u64);
    fs::create_dir(desk.state()).unwrap();
    fs::write(desk.state().join("simulated.json"), note.to_string()).unwrap();
    let found = |health: &str, part: &str, exit: i32| {
        let told = desk.run(&["doctor", "--output", "json"]).expect(exit);
        let checks: Value = serde_json::from_str(&told.stdout).unwrap();
        let mut checks = checks.as_array().unwrap().iter();
        let check = checks.find(|check| check["what"] == "simulated cluster");
        let check = check.unwrap();
        assert_eq!(check["health"], health, "{check}");
        assert!(check["found"].as_str().unwrap().contains(part), "{check}");
    };
    found("good", "http://", 0);
    // It hangs.
    let pid = Pid::from_child(&cluster);
    kill_process(pid, Signal::STOP).unwrap();
    found("bad", "does not answer", 3);
    let run = desk.run(&["run", "release.yaml"]).refused(3, "PG0403");
    assert!(run.stderr.contains("does not answer"), "{}", run.stderr);
    // It was killed, and nobody has asked for its end.
    kill_process(pid, Signal::KILL).unwrap();
    while !is_dead(pid) {
        std::thread::yield_now();
    }
    found("note", "has ended", 0);
    desk.run(&["run", "release.yaml"]).expect(0);
    cluster.wait().unwrap();
}

/// Whether a process is one that only its number is left of.
fn is_dead(pid: Pid) -> bool {
    let about = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let (_, state) = about.rsplit_once(") ").unwrap();
    state.starts_with('Z')
}
