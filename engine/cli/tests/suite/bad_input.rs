//! What is wrong with files is said with a code, what was expected and what was found, before
//! anything is touched.

use std::fs::{self, File};

use crate::desk::Desk;

/// Name, what is replaced in the release, by what, the code, and parts of the message.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "unknown field",
        "namespace: hello",
        "namespcae: hello",
        "PG0104",
        &["release.yaml:", "`namespcae`", "did you mean `namespace`?"],
    ),
    (
        "wrong type",
        "every: 10s",
        "every: [1]",
        "PG0105",
        &["release.yaml:", "expected", "found"],
    ),
    (
        "dangling gate",
        "gates: [pods]}\n  - name: verify",
        "gates: [podz]}\n  - name: verify",
        "PG0120",
        &["`podz`", "did you mean `pods`?"],
    ),
    (
        "duplicate phase",
        "- name: verify",
        "- name: deploy",
        "PG0121",
        &["`deploy`", "release.yaml:"],
    ),
    (
        "impossible number",
        "interval: 10s",
        "interval: 0s",
        "PG0122",
        &["expected", "found"],
    ),
    (
        "missing field",
        "change: minor\n",
        "",
        "PG0106",
        &["`change`"],
    ),
    (
        "no YAML",
        "kind: Release",
        "kind: [Release",
        "PG0107",
        &["release.yaml:"],
    ),
    (
        "a key twice",
        "change: minor",
        "change: minor\nchange: major",
        "PG0108",
        &["`change`"],
    ),
    (
        "unknown plugin",
        "plugin: rolling",
        "plugin: roling",
        "PG0120",
        &["did you mean `rolling`?"],
    ),
    (
        "config that does not fit its schema",
        "plugin: workload,",
        "plugin: workload, config: {maxRestarts: -1},",
        "PG0307",
        &[
            "release.yaml:15",
            "-1 is less than",
            "plugin inspect workload",
        ],
    ),
    (
        "no version in the image",
        "hello:{version}",
        "hello:latest",
        "PG0124",
        &["{version}"],
    ),
    (
        "context with the simulated cluster's name",
        "  simulated: {scenario: scenario.yaml, scale: 40}",
        "  kubernetes: {context: simulated}",
        "PG0407",
        &["expected", "found", "hint"],
    ),
];

#[test]
fn every_fault_of_a_release_has_its_code_and_nothing_is_touched() {
    for (name, from, to, code, parts) in CASES {
        let desk = Desk::quick();
        desk.edit("release.yaml", from, to);
        let ended = desk.run(&["run", "release.yaml"]).refused(2, code);
        for part in *parts {
            assert!(
                ended.stderr.contains(part),
                "{name}: `{part}` is not in:\n{}",
                ended.stderr
            );
        }
        assert!(!desk.state().exists(), "{name}: something was made");
    }
}

#[test]
fn files_that_are_too_big_too_deep_or_explode_are_refused() {
    let desk = Desk::quick();
    File::create(desk.path("big.yaml"))
        .unwrap()
        .set_len(100 << 20)
        .unwrap();
    let ended = desk.run(&["validate", "big.yaml"]).refused(2, "PG0102");
    assert!(ended.stderr.contains("104857600 bytes"), "{}", ended.stderr);

    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    desk.write("deep.yaml", &deep);
    desk.run(&["validate", "deep.yaml"]).refused(2, "PG0109");

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    desk.write("bomb.yaml", &bomb);
    let ended = desk.run(&["validate", "bomb.yaml"]).expect(2);
    let coded = ["PG0110", "PG0111"];
    assert!(
        coded.iter().any(|code| ended.stderr.contains(code)),
        "{}",
        ended.stderr
    );

    fs::write(desk.path("latin.yaml"), b"kind: Release\nname: caf\xe9\n").unwrap();
    let ended = desk.run(&["validate", "latin.yaml"]).refused(2, "PG0103");
    assert!(ended.stderr.contains("latin.yaml:2:10"), "{}", ended.stderr);
    assert!(ended.stderr.contains("0xe9"), "{}", ended.stderr);
}

#[test]
fn files_that_are_not_there_or_of_no_kind_are_refused() {
    let desk = Desk::quick();
    desk.run(&["validate", "none.yaml"]).refused(2, "PG0101");
    desk.run(&["validate", "."]).refused(2, "PG0101");
    desk.write("other.yaml", "kind: Deployment\n");
    let ended = desk.run(&["validate", "other.yaml"]).refused(2, "PG0117");
    assert!(ended.stderr.contains("kind: Scenario"), "{}", ended.stderr);
    desk.write("empty.yaml", "");
    desk.run(&["validate", "empty.yaml"]).refused(2, "PG0114");
    assert!(!desk.state().exists(), "validate makes nothing");
}

#[test]
fn all_files_are_checked_and_all_their_faults_told() {
    let desk = Desk::quick();
    desk.edit("release.yaml", "change: minor", "change: tiny");
    desk.write(
        "policy.yaml",
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nrols: {}\n",
    );
    let ended = desk
        .run(&["validate", "release.yaml", "policy.yaml", "scenario.yaml"])
        .expect(2);
    assert!(
        ended.stderr.contains("release.yaml:5:9"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("did you mean `roles`?"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_plugin_that_is_no_component_is_refused() {
    let desk = Desk::quick();
    desk.edit(
        "release.yaml",
        "gates:\n  pods:",
        "plugins:\n  workload: {path: mine.wasm}\ngates:\n  pods:",
    );
    let ended = desk.run(&["plan", "release.yaml"]).refused(2, "PG0309");
    assert!(ended.stderr.contains("mine.wasm"), "{}", ended.stderr);
    let cases: [(&[u8], &str); 4] = [
        (b"\0asm\x01\0\0\0", "core WebAssembly module"),
        (b"#!/bin/sh\nrm -rf /\n", "text"),
        (b"\x7fELF\x02\x01\x01", "machine code"),
        (b"", "an empty file"),
    ];
    for (bytes, found) in cases {
        fs::write(desk.path("mine.wasm"), bytes).unwrap();
        for command in ["validate", "plan", "run"] {
            let ended = desk.run(&[command, "release.yaml"]).refused(2, "PG0301");
            assert!(ended.stderr.contains(found), "{}", ended.stderr);
        }
        desk.run(&["plugin", "inspect", "mine.wasm"])
            .refused(2, "PG0301");
    }
    fs::write(desk.path("mine.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let ended = desk.run(&["validate", "release.yaml"]).refused(2, "PG0302");
    assert!(ended.stderr.contains("phasegate:meta"), "{}", ended.stderr);
    desk.edit(
        "release.yaml",
        "{path: mine.wasm}",
        &format!("{{path: mine.wasm, digest: \"sha256:{}\"}}", "0".repeat(64)),
    );
    desk.run(&["validate", "release.yaml"]).refused(2, "PG0310");
}

#[test]
fn a_scenario_with_faults_is_refused_before_a_cluster_is_started() {
    let desk = Desk::quick();
    desk.edit("scenario.yaml", "  pods:\n", "  podz:\n");
    desk.run(&["validate", "scenario.yaml"])
        .refused(2, "PG0104");
    desk.run(&["run", "release.yaml"]).refused(2, "PG0104");
    assert!(!desk.state().join("simulated.json").exists());
    assert!(!desk.state().join("journal.db").exists());
}

#[test]
fn faults_are_json_on_standard_error_where_that_is_asked_for() {
    let desk = Desk::quick();
    desk.edit("release.yaml", "change: minor", "change: tiny");
    let ended = desk
        .run(&["validate", "release.yaml", "--output", "json"])
        .expect(2);
    assert_eq!(ended.stdout, "");
    let faults: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    let first = &faults["diagnostics"][0];
    assert_eq!(first["place"]["file"], "release.yaml");
    assert_eq!(first["place"]["line"], 5);
    assert!(first["code"].as_str().unwrap().starts_with("PG01"));
}

#[test]
fn what_the_command_line_does_not_take_exits_2() {
    let desk = Desk::quick();
    for arguments in [
        &["abrot"][..],
        &["run"],
        &["run", "release.yaml", "--on-cancel", "explode"],
        &["skip"],
        &["rehearse", "release.yaml", "--seed", "x"],
    ] {
        let ended = desk.run(arguments).refused(2, "PG0131");
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
        let json = desk
            .run(&[&["--output", "json"], arguments].concat())
            .expect(2);
        assert_eq!(json.stdout, "", "{arguments:?}");
        let told: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(told["diagnostics"][0]["code"], "PG0131", "{arguments:?}");
    }
    // Whoever gives no command at all gets the help too, as far as people read it.
    let helped = desk.run(&[]).refused(2, "PG0131");
    assert!(helped.stderr.contains("rehearse"), "{}", helped.stderr);
    desk.run(&["explain", "PG0131"]).expect(0);
    let ended = desk.run(&["abrot"]).expect(2);
    assert!(ended.stderr.contains("'abort'"), "{}", ended.stderr);
    desk.run(&["--help"]).expect(0);
    desk.run(&["--version"]).expect(0);
}

/// Who validates, rehearses or simulates is told the same.
#[test]
fn a_scenario_that_cant_be_made_is_told_alike_by_every_command() {
    let desk = Desk::quick();
    for (from, to, part) in [
        (
            "replicas: 3",
            "replicas: 100000000",
            "at most 1000 are taken",
        ),
        ("kind: Service\n", "kind: Servise\n", "Servise"),
    ] {
        let scenario = std::fs::read_to_string(desk.path("scenario.yaml")).unwrap();
        desk.edit("scenario.yaml", from, to);
        let told: Vec<String> = [
            &["validate", "scenario.yaml"][..],
            &["rehearse", "release.yaml", "--scenario", "scenario.yaml"],
            &["simulate", "--scenario", "scenario.yaml"],
        ]
        .into_iter()
        .map(|arguments| desk.run(arguments).refused(2, "PG0701").stderr)
        .collect();
        assert!(told[0].contains(part), "{}", told[0]);
        assert!(told[0].contains("--> scenario.yaml:"), "{}", told[0]);
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], told[2]);
        desk.write("scenario.yaml", &scenario);
    }
}
