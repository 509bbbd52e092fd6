//! A credential that is a whole address: the notice arrives there, and the address is found nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::desk::{Desk, Ended};

const HOOK: &str = "https://hooks.slack.com/services/T0PLANT/B0PLANT/pl4nt3dsecretpl4nt3d";
/// Base64 of parts of it, at each of the three offsets, without what the neighbours decide.
const ENCODED: [&str; 3] = [
    "cGw0bnQzZHNlY3JldHBs",
    "BsNG50M2RzZWNyZXRwbD",
    "wbDRudDNkc2VjcmV0cGw",
];

/// A release that tells Slack through its own webhook, and a world that answers at that address only.
fn desk() -> Desk {
    let desk = Desk::quick();
    desk.edit(
        "release.yaml",
        "due:\n",
        "credentials:\n  hook: {env: HOOK, hosts: ['hooks.slack.com:443'], url: true}\nnotifications:\n  - {name: chat, plugin: slack, config: {webhook: 'https://hooks.slack.com', credential: hook}}\ndue:\n",
    );
    let path = HOOK.trim_start_matches("https://hooks.slack.com");
    desk.edit(
        "scenario.yaml",
        "expect:",
        &format!("http:\n  - {{host: hooks.slack.com, method: POST, path: {path}, body: ok}}\n  - {{host: hooks.slack.com, status: 404, body: no_team}}\nexpect:"),
    );
    desk
}

fn run(desk: &Desk, arguments: &[&str], hook: &str) -> Ended {
    let output = desk.command(arguments).env("HOOK", hook).output();
    Ended::of(output.unwrap())
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

#[track_caller]
fn without_the_secret(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parts = ["T0PLANT", "B0PLANT", "pl4nt3d"];
    for part in parts.iter().chain(&ENCODED) {
        assert!(!text.contains(part), "{what} has {part}");
    }
}

#[test]
fn a_webhook_that_is_a_secret_is_told_and_found_nowhere() {
    let desk = desk();
    let ended = run(&desk, &["run", "release.yaml", "--output", "json"], HOOK).expect(0);
    without_the_secret("the stream", ended.stdout.as_bytes());
    without_the_secret("standard error", ended.stderr.as_bytes());
    assert!(!ended.stdout.contains("notice-failed"), "{}", ended.stdout);
    let id = desk.only_run();
    let report = desk.path("report.html");
    let report = report.to_str().unwrap();
    for arguments in [
        &["history", &id][..],
        &["history", &id, "--plugins"],
        &["status", &id],
        &["report", &id, "--output-file", report],
        &["plan", "release.yaml"],
    ] {
        let ended = run(&desk, arguments, HOOK);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        without_the_secret(&arguments.join(" "), said.as_bytes());
    }
    without_the_secret("the report", &fs::read(report).unwrap());
    let mut kept = Vec::new();
    files(&desk.state(), &mut kept);
    assert!(kept.iter().any(|path| path.ends_with("journal.db")));
    for path in kept {
        without_the_secret(&path.display().to_string(), &fs::read(&path).unwrap());
    }
}

/// The world answers 404 anywhere else: that nothing failed above shows that the address was the credential's.
#[test]
fn another_address_is_not_where_the_notice_arrives() {
    let desk = desk();
    let other = HOOK.replace("B0PLANT", "B1PLANT");
    let ended = run(&desk, &["run", "release.yaml", "--output", "json"], &other).expect(0);
    assert!(ended.stdout.contains("notice-failed"), "{}", ended.stdout);
    without_the_secret("the stream", ended.stdout.replace("B1PLANT", "").as_bytes());
    assert!(!ended.stdout.contains("B1PLANT"), "{}", ended.stdout);
    // One of another host is sent nowhere, and not shown either.
    let evil = HOOK.replace("hooks.slack.com", "evil.example");
    let refused = run(
        &desk,
        &[
            "run",
            "release.yaml",
            "--version",
            "1.2.0",
            "--output",
            "json",
        ],
        &evil,
    );
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        said.contains("holds no address at hooks.slack.com:443"),
        "{said}"
    );
    without_the_secret("the stream", said.as_bytes());
}

#[test]
fn an_address_and_a_header_at_once_are_refused() {
    let desk = desk();
    desk.edit(
        "release.yaml",
        "url: true",
        "url: true, header: 'X: {secret}'",
    );
    let refused = desk.run(&["validate", "release.yaml"]).refused(2, "PG0128");
    assert!(
        refused.stderr.contains("goes into no header"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_credential_that_is_not_there_keeps_a_run_from_beginning() {
    let desk = desk();
    let refused = desk.run(&["run", "release.yaml"]).refused(3, "PG0415");
    for part in ["`hook`", "HOOK is not set"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let runs = desk.json(&["history"]);
    assert_eq!(runs.as_array().map(Vec::len), Some(0), "{runs}");
    let held = desk.json(&["lock", "show", "release.yaml"]);
    assert!(held["claim"].is_null(), "{held}");
}
