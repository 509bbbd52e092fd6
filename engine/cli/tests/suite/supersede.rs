//! A new version that arrives in the middle of a run.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::desk::{Desk, Started};

const OLD: &str = "registry.example/hello:1.0.0";
const FIRST: &str = "registry.example/hello:1.1.0";
const NEXT: &str = "registry.example/hello:1.2.0";
const TARGET: &str = "simulated/hello/hello";
const SUPERSEDE: [&str; 3] = ["run", "next.yaml", "--supersede"];

/// A desk with a run whose soak outlasts the test, and the next version's release.
fn in_a_soak() -> (Desk, Started, String) {
    let desk = Desk::slow();
    let release = fs::read_to_string(desk.path("release.yaml")).unwrap();
    let next = release.replace("1.1.0", "1.2.0").replace("30m", "30s");
    desk.write("next.yaml", &next);
    let first = desk.start(&["run", "release.yaml"]);
    first.until("step-started", "soak");
    let id = desk.only_run();
    assert_eq!(desk.image(), FIRST);
    (desk, first, id)
}

/// The same with nobody who drives it.
fn interrupted() -> (Desk, String) {
    let (desk, first, id) = in_a_soak();
    first.signal(Signal::TERM);
    first.end().expect(5);
    (desk, id)
}

/// The run that is not this one.
fn other(desk: &Desk, id: &str) -> String {
    let runs = desk.json(&["history"]);
    let mut runs = runs.as_array().unwrap().iter();
    let other = runs.find(|run| run["run"] != id).unwrap();
    other["run"].as_str().unwrap().to_owned()
}

fn kept_for(desk: &Desk) -> String {
    let held = desk.json(&["lock", "show", TARGET]);
    assert!(held["claim"]["handed_over_by"].is_string(), "{held}");
    held["claim"]["run"].as_str().unwrap().to_owned()
}

/// How the claim came and went, in the cluster's own words.
fn claims(desk: &Desk) -> Vec<String> {
    let changes = desk.changes().into_iter();
    let claims = changes
        .filter(|change| change.contains("phasegate-claim") || change.contains("/configmaps"));
    claims
        .map(|change| change.split(' ').next().unwrap().to_owned())
        .collect()
}

/// Old and new name each other, the old version came back in between, and the target was free at no time.
fn check(desk: &Desk, first: &str) {
    assert_eq!(desk.image(), NEXT);
    let next = other(desk, first);
    let before = desk.json(&["status", first]);
    assert_eq!(before["end"], "superseded");
    assert_eq!(before["cause"]["supersededBy"], next.as_str());
    let after = desk.json(&["status", &next]);
    assert_eq!(after["end"], "succeeded");
    assert_eq!(after["supersedes"], first);
    assert_eq!(after["release"]["previousVersion"], "1.0.0");
    // Taken; handed over; the new run finds it there already, and makes it its own; let go of.
    assert_eq!(claims(desk), ["POST", "PUT", "POST", "PUT", "DELETE"]);
    let held = desk.json(&["lock", "show", TARGET]);
    assert_eq!(held["claim"], Value::Null);
    let left = fs::read_dir(desk.state().join("runs")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left = left.filter(|name| name.contains("succession"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_run_that_is_driven_goes_back_and_the_next_one_follows() {
    let (desk, first, id) = in_a_soak();
    let ended = desk.run(&SUPERSEDE).expect(0);
    assert!(ended.stderr.contains("goes back first"), "{}", ended.stderr);
    let ended = first.end().expect(1);
    assert!(ended.stdout.contains("superseded by"), "{}", ended.stdout);
    check(&desk, &id);
}

#[test]
fn where_no_engine_drives_the_command_does() {
    let (desk, id) = interrupted();
    let ended = desk.run(&SUPERSEDE).expect(0);
    assert!(ended.stdout.contains("restored") || ended.stdout.contains("serves again"));
    assert!(
        ended.stdout.contains(&format!("in place of {id}")),
        "{}",
        ended.stdout
    );
    check(&desk, &id);
    // Nothing to supersede is nothing to wait for.
    desk.edit("next.yaml", "1.2.0", "1.3.0");
    let ended = desk.run(&SUPERSEDE).expect(0);
    assert!(
        ended.stderr.contains("no run holds the target"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_next_run_dies_while_the_old_one_goes_back() {
    let (desk, id) = interrupted();
    let next = desk.start(&SUPERSEDE);
    next.until("superseded", &id);
    next.signal(Signal::KILL);
    next.end();
    // The old run alone is brought back, and says who is to follow.
    let ended = desk.run(&["resume", &id]).expect(1);
    assert!(
        ended.stderr.contains("was to take its place"),
        "{}",
        ended.stderr
    );
    assert_eq!(desk.image(), OLD);
    let kept = kept_for(&desk);
    let shown = desk.run(&["lock", "show", TARGET]).expect(0);
    for part in [&*kept, "has not begun", "phasegate resume", "lock break"] {
        assert!(
            shown.stdout.contains(part),
            "{part} is not in {}",
            shown.stdout
        );
    }
    // Nobody else takes the target meanwhile, and no third run comes next.
    let ended = desk.run(&["run", "next.yaml"]).refused(3, "PG0401");
    assert!(ended.stderr.contains(&kept), "{}", ended.stderr);
    desk.run(&SUPERSEDE).refused(3, "PG0614");
    desk.run(&["resume"]).expect(0);
    check(&desk, &id);
}

#[test]
fn both_runs_are_gone_on_with_by_one_resume() {
    let (desk, id) = interrupted();
    let next = desk.start(&SUPERSEDE);
    next.until("superseded", &id);
    next.signal(Signal::KILL);
    next.end();
    desk.run(&["resume"]).expect(0);
    check(&desk, &id);
}

#[test]
fn the_next_run_dies_as_soon_as_it_has_begun() {
    let (desk, id) = interrupted();
    let next = desk.start(&SUPERSEDE);
    next.until("planned", "in place of");
    next.signal(Signal::KILL);
    next.end();
    desk.run(&["resume"]).expect(0);
    assert_eq!(desk.image(), NEXT);
    let next = other(&desk, &id);
    assert_eq!(desk.json(&["status", &next])["supersedes"], id.as_str());
    assert_eq!(desk.json(&["lock", "show", TARGET])["claim"], Value::Null);
}

#[test]
fn a_next_run_that_never_comes_is_let_go_of_by_people() {
    let (desk, id) = interrupted();
    let next = desk.start(&SUPERSEDE);
    next.until("superseded", &id);
    next.signal(Signal::KILL);
    next.end();
    desk.run(&["resume", &id]).expect(1);
    let kept = kept_for(&desk);
    desk.run(&["lock", "break", TARGET, "--reason", "it is not wanted"])
        .expect(0);
    desk.run(&["resume", &kept]).refused(2, "PG0506");
    desk.run(&["run", "next.yaml"]).expect(0);
    assert_eq!(desk.image(), NEXT);
}

#[test]
fn of_two_that_want_the_place_one_has_it() {
    let (desk, id) = interrupted();
    let next = desk.start(&SUPERSEDE);
    next.until("superseded", &id);
    next.signal(Signal::STOP);
    let ended = desk.run(&SUPERSEDE).refused(3, "PG0614");
    assert!(ended.stderr.contains(&id), "{}", ended.stderr);
    next.signal(Signal::CONT);
    next.end().expect(0);
    check(&desk, &id);
}

#[test]
fn a_rollback_that_is_stuck_keeps_the_next_run_from_beginning() {
    let (desk, id) = interrupted();
    // Somebody deletes the Deployment and makes another one.
    let path = "/apis/apps/v1/namespaces/hello/deployments";
    let mut deployment = desk.ask("GET", &format!("{path}/hello"), "", "");
    desk.ask("DELETE", &format!("{path}/hello"), "", "");
    deployment["metadata"] = serde_json::json!({"name": "hello", "namespace": "hello"});
    deployment.as_object_mut().unwrap().remove("status");
    desk.ask("POST", path, "application/json", &deployment.to_string());
    let ended = desk.run(&SUPERSEDE).expect(4);
    assert!(ended.stderr.contains("error[PG0615]"), "{}", ended.stderr);
    assert!(ended.stderr.contains("phasegate retry"), "{}", ended.stderr);
    assert_eq!(desk.only_run(), id, "the next run has not begun");
    desk.run(&["resume"]).expect(4);
    desk.run(&["hand-over", &id, "--reason", "by hand"])
        .expect(4);
    // What people took over is kept for nobody.
    assert_eq!(desk.json(&["lock", "show", TARGET])["claim"], Value::Null);
    let ended = desk.run(&["resume", "hello"]);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(desk.only_run(), id);
}

#[test]
fn a_saved_plan_follows_if_it_fits_what_the_old_run_puts_back() {
    let desk = Desk::slow();
    let release = fs::read_to_string(desk.path("release.yaml")).unwrap();
    let next = release.replace("1.1.0", "1.2.0").replace("30m", "30s");
    desk.write("next.yaml", &next);
    desk.run(&["plan", "next.yaml", "--out", "plan.json"])
        .expect(0);
    let first = desk.start(&["run", "release.yaml"]);
    first.until("step-started", "soak");
    let id = desk.only_run();
    // A plan made in the middle of the run takes its version for the stable one.
    desk.run(&["plan", "next.yaml", "--out", "late.json"])
        .expect(0);
    let late = desk.run(&["run", "next.yaml", "--supersede", "--plan", "late.json"]);
    let late = late.refused(3, "PG0603");
    assert!(late.stderr.contains("leave out --plan"), "{}", late.stderr);
    assert_eq!(
        desk.json(&["status"])[0]["state"],
        "running",
        "nothing was changed"
    );
    desk.run(&["run", "next.yaml", "--supersede", "--plan", "plan.json"])
        .expect(0);
    first.end().expect(1);
    check(&desk, &id);
}

#[test]
fn a_plan_that_no_longer_fits_leaves_the_target_free() {
    let desk = Desk::slow();
    desk.run(&["plan", "release.yaml", "--out", "plan.json"])
        .expect(0);
    let first = desk.start(&["run", "release.yaml"]);
    first.until("step-started", "soak");
    let id = desk.only_run();
    first.signal(Signal::TERM);
    first.end().expect(5);
    desk.meddle(r#"{"spec": {"replicas": 5}}"#);
    let ended = desk.run(&["run", "release.yaml", "--supersede", "--plan", "plan.json"]);
    let ended = ended.expect(3);
    assert!(ended.stderr.contains("error[PG0603]"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the target is free"),
        "{}",
        ended.stderr
    );
    assert_eq!(desk.only_run(), id);
    assert_eq!(desk.image(), OLD);
    assert_eq!(desk.json(&["lock", "show", TARGET])["claim"], Value::Null);
}

#[test]
fn what_is_wrong_with_the_next_release_is_said_before_the_old_run_is_touched() {
    let (desk, first, _) = in_a_soak();
    desk.edit("next.yaml", "deployment: hello", "deployment: helo");
    // It isn't the target that the run holds, and there is no such Deployment.
    desk.run(&SUPERSEDE).refused(2, "PG0402");
    desk.edit("next.yaml", "deployment: helo", "deployment: hello");
    desk.edit("next.yaml", "service: hello", "service: helo");
    desk.run(&SUPERSEDE).refused(2, "PG0402");
    assert_eq!(desk.json(&["status"])[0]["state"], "running");
    first.signal(Signal::KILL);
    first.end();
}

#[test]
fn no_approval_of_the_old_run_counts_for_the_next_one() {
    let desk = Desk::slow();
    let policy = "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nroles: {operations: [WHO]}\napprovals:\n  - {roles: [operations], starterMayApprove: true}\n";
    desk.write("policy.yaml", &policy.replace("WHO", "nobody-yet"));
    let run = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--no-wait",
    ];
    desk.run(&run).expect(5);
    let id = desk.only_run();
    let status = desk.json(&["status", &id]);
    let me = status["startedBy"]["name"].as_str().unwrap();
    desk.run(&["abort"]).expect(3);
    desk.write("policy.yaml", &policy.replace("WHO", me));
    desk.run(&run).expect(5);
    let first = other(&desk, &id);
    let approved = desk.start(&["approve"]);
    approved.until("step-started", "soak");
    // The very same release again.
    let ended = desk.run(&[&run[..], &["--supersede"]].concat()).expect(5);
    assert!(ended.stderr.contains("approve"), "{}", ended.stderr);
    approved.end().expect(1);
    let waiting = desk.json(&["status"]);
    assert_eq!(waiting[0]["supersedes"], first.as_str());
    assert_eq!(waiting[0]["approvals"], Value::Array(Vec::new()));
    let before = desk.json(&["status", &first]);
    assert_eq!(before["approvals"].as_array().unwrap().len(), 1);
    assert_eq!(desk.image(), OLD);
}

#[test]
fn a_next_run_that_is_called_off_leaves_the_target_free() {
    let (desk, id) = interrupted();
    let mut given = SUPERSEDE.to_vec();
    given.extend(["--on-cancel", "abort"]);
    let next = desk.start(&given);
    next.until("superseded", &id);
    next.signal(Signal::INT);
    next.end().expect(3);
    assert_eq!(desk.only_run(), id);
    assert_eq!(desk.image(), OLD);
    assert_eq!(desk.json(&["lock", "show", TARGET])["claim"], Value::Null);
    desk.run(&["resume"]).refused(2, "PG0506");
}
