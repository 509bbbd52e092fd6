//! What a run that waits says of the answer, and that the commands which it names are taken.

use crate::desk::Desk;

/// The commands in backticks behind `give: `, as arguments.
fn given(status: &str) -> Vec<Vec<String>> {
    let line = status
        .lines()
        .find_map(|line| line.trim().strip_prefix("give: "));
    let line = line.unwrap_or_else(|| panic!("nothing is to be given in\n{status}"));
    line.split('`')
        .filter_map(|part| part.strip_prefix("phasegate "))
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .collect()
}

#[test]
fn drift_names_the_commands_that_decide_it_and_each_is_taken() {
    for (nth, exit, said) in [
        (0, 0, "the run goes on with what is there"),
        (1, 0, "1.1.0 serves"),
        (2, 1, "aborted"),
    ] {
        let desk = Desk::new(100, "60s");
        // No gate: it could fail before it is seen why.
        desk.edit(
            "release.yaml",
            ", every: 10s, gates: [pods]}",
            ", every: 10s}",
        );
        let run = desk.start(&["run", "release.yaml", "--no-wait"]);
        run.until("step-started", "soak");
        desk.meddle(r#"{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/hello:1.0.9"}]}}}}"#);
        run.end().expect(5);
        let status = desk.run(&["status"]).expect(0).stdout;
        assert!(
            status.contains("needs a decision: the image is"),
            "{status}"
        );
        let commands = given(&status);
        let id = desk.only_run();
        let wanted = [
            format!("continue {id} --drift adopt"),
            format!("continue {id} --drift force"),
            format!("abort {id}"),
        ];
        let named: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
        assert_eq!(named, wanted, "{status}");
        let command: Vec<&str> = commands[nth].iter().map(String::as_str).collect();
        let ended = desk.run(&command).expect(exit);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains(said), "{command:?}:\n{told}");
    }
}

#[test]
fn an_approval_that_is_missing_behind_an_attestation_is_what_is_asked_for() {
    let desk = Desk::quick();
    desk.write(
        "policy.yaml",
        "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\nroles: {lead: [somebody-else]}\napprovals:\n  - {roles: [lead]}\nattestations:\n  - {name: backup, prompt: Is there one?}\n",
    );
    let run = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--no-wait",
    ];
    desk.run(&run).expect(5);
    let plan = desk.run(&["plan", "release.yaml", "--policy", "policy.yaml"]);
    for part in [
        "; an approval holds for ",
        "no longer than a phase may take",
    ] {
        assert!(plan.stdout.contains(part), "{part}:\n{}", plan.stdout);
    }
    let first = desk.json(&["status"])[0]["answer"].clone();
    desk.run(&["attest", "backup", "--text", "yes", "--no-wait"])
        .expect(5);
    let status = desk.run(&["status"]).expect(0).stdout;
    let id = desk.only_run();
    let commands = given(&status);
    assert_eq!(commands[0], ["approve", &id], "{status}");
    let answer = &desk.json(&["status"])[0]["answer"];
    assert_eq!(answer["answer"], "approve", "{first} came first");
    desk.run(&["abort"]).expect(3);
}

#[test]
fn a_canary_shows_both_sides_and_its_traffic_as_asked_and_as_read() {
    let desk = Desk::quick();
    let world = format!(
        "{}/../../tests/scenarios/34-canary-weights",
        env!("CARGO_MANIFEST_DIR")
    );
    let scenario = std::fs::read_to_string(format!("{world}/scenario.yaml")).unwrap();
    let release = std::fs::read_to_string(format!("{world}/release.yaml")).unwrap();
    desk.write("scenario.yaml", &scenario);
    assert!(release.contains("target: {simulated: {}}"), "{release}");
    desk.write(
        "release.yaml",
        &release.replace(
            "target: {simulated: {}}",
            "target: {simulated: {scenario: scenario.yaml, scale: 20}}",
        ),
    );
    let run = desk.start(&["run", "release.yaml"]);
    run.until("step-started", "soak");
    let status = desk.run(&["status"]).expect(0).stdout;
    for part in [
        "stable shop wants ",
        "candidate shop-",
        "traffic: asked ",
        "; read back ",
    ] {
        assert!(status.contains(part), "`{part}` is not in\n{status}");
    }
    let json = &desk.json(&["status"])[0]["traffic"];
    assert_eq!(
        json["asked"]["candidateWeight"],
        json["read"]["desired"]["candidateWeight"]
    );
    assert_ne!(json["asked"]["candidateWeight"], 0);
}

/// A rollback that fails for good.
fn stuck() -> Desk {
    let desk = Desk::new(200, "30m");
    let scenario = std::fs::read_to_string(desk.path("scenario.yaml")).unwrap();
    let faults = "\nfaults:\n  - {method: PATCH, kind: Deployment, skip: 1, count: 1000, effect: {status: 500}}\n";
    desk.write("scenario.yaml", &format!("{scenario}{faults}"));
    desk.edit(
        "release.yaml",
        "due:\n",
        "rollback: {target: 5m, stepTimeout: 5m, retries: 2}\ndue:\n",
    );
    let run = desk.start(&["run", "release.yaml"]);
    run.until("step-started", "soak");
    desk.run(&["abort"]).expect(0);
    run.end().expect(4);
    desk
}

#[test]
fn a_stuck_rollback_that_is_handed_over_says_who_took_it() {
    let desk = stuck();
    let id = desk.only_run();
    let status = desk.run(&["status"]).expect(0).stdout;
    for command in ["phasegate retry", "phasegate skip", "phasegate hand-over"] {
        assert!(status.contains(command), "{command} is not in\n{status}");
    }
    let ended = desk.run(&["retry", &id]).expect(4);
    assert!(
        ended.stderr.contains("needs a person: stuck at restore"),
        "{}",
        ended.stderr
    );
    let ended = desk
        .run(&["hand-over", &id, "--reason", "by hand"])
        .expect(4);
    let said = "was left where it is: the rollback was stuck at restore";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("took over by hand: by hand"),
        "{}",
        ended.stderr
    );
    let status = desk.run(&["status", &id]).expect(0).stdout;
    assert!(status.contains("took over by hand: by hand"), "{status}");
    let json = desk.json(&["status", &id]);
    assert_eq!(json["takenOver"]["reason"], "by hand");
    assert_eq!(json["takenOver"]["step"], "restore");
}

#[test]
fn a_compensation_that_is_left_out_says_who_did_so() {
    let desk = stuck();
    let ended = desk.run(&["skip", "restore"]).expect(4);
    assert!(ended.stderr.contains("left it out"), "{}", ended.stderr);
    let id = desk.only_run();
    let status = desk.run(&["status", &id]).expect(0).stdout;
    assert!(status.contains("stuck at restore, "), "{status}");
}

#[test]
fn a_rollback_after_success_needs_the_name_of_the_run() {
    let desk = Desk::quick();
    let ended = desk.run(&["rollback"]).expect(2);
    assert!(ended.stderr.contains("<RUN>"), "{}", ended.stderr);
}
