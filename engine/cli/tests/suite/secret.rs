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

const ROTATION: &str = include_str!("../../../../tests/scenarios/59-rotation/release.yaml");
const ROTATION_WORLD: &str = include_str!("../../../../tests/scenarios/59-rotation/scenario.yaml");

/// What is planted here, and its base64.
const PASSWORD: &str = "pl4nt3d T0PLANT B0PLANT";
const PASSWORD_ENCODED: &str = "cGw0bnQzZCBUMFBMQU5UIEIwUExBTlQ=";

/// A release that rotates a key of a Secret to a credential, and another one to what chance gives.
fn rotating() -> Desk {
    let desk = Desk::quick();
    let world = ROTATION_WORLD.split("expect:").next().unwrap();
    desk.write("scenario.yaml", world);
    let release = ROTATION
        .replace(
            "simulated: {}",
            "simulated: {scenario: scenario.yaml, scale: 240}",
        )
        .replace("file: new-db-password", "env: HOOK")
        .replace(
            "{credential: new-db-password}}",
            "{credential: new-db-password}, session: {random: {length: 64}, new: true}}",
        )
        .replace("for: 5m", "for: 1m");
    desk.write("release.yaml", &release);
    desk
}

/// The value of a rotated key gets from the credential into the Secret's copy, and is found nowhere else.
#[test]
fn a_rotated_value_is_in_the_copy_and_found_nowhere() {
    let desk = rotating();
    let plan = run(&desk, &["plan", "release.yaml"], PASSWORD).expect(0);
    let told = "password: rotated from credential new-db-password";
    assert!(plan.stdout.contains(told), "{}", plan.stdout);
    let ended = run(
        &desk,
        &["run", "release.yaml", "--output", "json"],
        PASSWORD,
    )
    .expect(0);
    let secrets = desk.ask(
        "GET",
        "/api/v1/namespaces/shop/secrets",
        "application/json",
        "",
    );
    let secrets = secrets["items"].as_array().unwrap();
    let copy = secrets
        .iter()
        .find(|one| one["metadata"]["name"] != "shop-db")
        .unwrap();
    assert_eq!(copy["data"]["password"], PASSWORD_ENCODED);
    assert_eq!(
        (&copy["data"]["user"], &copy["data"]["ca.der"]),
        (&"c2hvcA==".into(), &"//79".into())
    );
    let session = copy["data"]["session"].as_str().unwrap();
    assert!(session.len() > 64, "{session}");
    let id = desk.only_run();
    let report = desk.path("report.html");
    let report = report.to_str().unwrap();
    let mut told = vec![ended.stdout, ended.stderr, plan.stdout, plan.stderr];
    for arguments in [
        &["history", &id][..],
        &["status", &id],
        &["report", &id, "--output-file", report],
        &["plan", "release.yaml", "--version", "1.1.0"],
    ] {
        let ended = run(&desk, arguments, PASSWORD);
        told.extend([ended.stdout, ended.stderr]);
    }
    let mut kept = vec![PathBuf::from(report)];
    files(&desk.state(), &mut kept);
    let mut bytes: Vec<Vec<u8>> = told.into_iter().map(String::into_bytes).collect();
    bytes.extend(kept.iter().map(|path| fs::read(path).unwrap()));
    let tail = session.get(..40).unwrap();
    for part in &bytes {
        without_the_secret("what is told or kept", part);
        let text = String::from_utf8_lossy(part);
        assert!(!text.contains(PASSWORD_ENCODED) && !text.contains(tail));
    }
}

#[test]
fn a_rotation_without_its_value_does_not_begin() {
    let desk = rotating();
    let refused = desk.run(&["run", "release.yaml"]).refused(3, "PG0415");
    assert!(
        refused.stderr.contains("HOOK is not set"),
        "{}",
        refused.stderr
    );
    desk.edit(
        "release.yaml",
        "secrets: [shop-db/password]",
        "hosts: [db.example]",
    );
    let refused = desk.run(&["validate", "release.yaml"]).refused(2, "PG0135");
    assert!(
        refused.stderr.contains("shop-db/password"),
        "{}",
        refused.stderr
    );
}
