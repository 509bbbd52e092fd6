//! Reports of runs and of rehearsals, as files and as data.

use std::fs;

use crate::desk::Desk;

/// A page that is one: it begins and ends as it must, and nothing in it runs or loads.
#[track_caller]
fn whole(page: &str, parts: &[&str]) {
    assert!(page.starts_with("<!DOCTYPE html>\n<html"), "{page:.100}");
    assert!(page.trim_end().ends_with("</html>"));
    for unwanted in ["<script", "<link", "<img", "@import", "src="] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
    for part in parts {
        assert!(page.contains(part), "{part} is not in the report");
    }
}

#[test]
fn a_run_is_reported_from_its_journal_alone() {
    let desk = Desk::quick();
    let page = desk.path("while-running.html");
    let file = page.to_str().unwrap();
    let ended = desk
        .run(&["run", "release.yaml", "--report", file])
        .expect(0);
    assert!(
        ended.stderr.contains("while-running.html"),
        "{}",
        ended.stderr
    );
    let written = fs::read_to_string(&page).unwrap();
    let run = desk.only_run();
    let verified = desk.json(&["history", "verify", &run]);
    let head = verified[0]["head"].as_str().unwrap();
    let parts = [
        run.as_str(),
        head,
        "verified",
        "hello 1.1.0 serves.",
        "30s measured",
        "look at the error budget",
        "builtin:rolling",
        "os-account:",
    ];
    whole(&written, &parts);

    // Long after, without the cluster: the journal is all that is needed, and the report is the same.
    let printed = desk.run(&["report", &run]).expect(0);
    assert!(printed.stdout == written, "{}", printed.stdout);
    assert_eq!(printed.stderr, "");
    let file = desk.path("again.html");
    let arguments = ["report", &run, "--output-file", file.to_str().unwrap()];
    let again = desk.run(&arguments);
    assert_eq!(again.expect(0).stdout, "", "the page is in the file");
    assert!(fs::read_to_string(&file).unwrap() == written);

    let model = desk.json(&["report", &run]);
    assert_eq!(model["schema"], 1);
    assert_eq!(model["overview"]["end"], "succeeded");
    assert_eq!(model["journal"]["head"], head);
    assert_eq!(model["journal"]["records"], verified[0]["records"]);
    assert_eq!(model["timeline"]["steps"].as_array().unwrap().len(), 3);
    assert_eq!(model["gates"][0]["name"], "pods");
}

#[test]
fn a_run_that_was_rolled_back_is_reported_and_its_exit_code_stays() {
    let desk = Desk::quick();
    desk.edit(
        "scenario.yaml",
        "  pods:\n",
        "  pods:\n    - {image: \"*:1.1.0\", crash: {after: 1s, log: [\"<b>cannot</b> open database\"]}}\n",
    );
    let page = desk.path("report.html");
    let file = page.to_str().unwrap();
    desk.run(&["run", "release.yaml", "--report", file])
        .expect(1);
    let written = fs::read_to_string(&page).unwrap();
    let parts = [
        "hello 1.0.0 serves again.",
        "What was rolled back and why",
        "CrashLoopBackOff",
        "&lt;b&gt;cannot&lt;/b&gt; open database",
        "within the target of",
    ];
    whole(&written, &parts);
}

#[test]
fn a_rehearsal_has_a_report_though_it_leaves_no_journal() {
    let desk = Desk::quick();
    let page = desk.path("rehearsal.html");
    let file = page.to_str().unwrap();
    desk.run(&["rehearse", "release.yaml", "--report", file])
        .expect(0);
    let written = fs::read_to_string(&page).unwrap();
    whole(&written, &["Report of a rehearsal", "not verified"]);
    assert!(!desk.state().exists());
}

#[test]
fn a_run_that_is_not_there_is_refused_as_history_refuses_it() {
    let desk = Desk::quick();
    desk.run(&["report", "nothing"]).refused(2, "PG0506");
    desk.run(&["run", "release.yaml"]).expect(0);
    let history = desk.run(&["history", "nothing"]).refused(2, "PG0506");
    let report = desk.run(&["report", "nothing"]).refused(2, "PG0506");
    assert_eq!(report.stderr, history.stderr);
}

#[test]
fn where_a_report_can_not_be_written_is_said_before_anything_begins() {
    let desk = Desk::quick();
    for command in ["run", "rehearse"] {
        let arguments = [command, "release.yaml", "--report", "no/such/folder/r.html"];
        let ended = desk.run(&arguments).refused(2, "PG0101");
        assert!(
            ended.stderr.contains("can't be written"),
            "{}",
            ended.stderr
        );
        let folder = desk.path("");
        let arguments = [
            command,
            "release.yaml",
            "--report",
            folder.to_str().unwrap(),
        ];
        desk.run(&arguments).refused(2, "PG0101");
    }
    assert!(!desk.state().exists(), "a run was begun");
}
