//! What a scenario says of its rehearsal: the policy, the environment, and that nothing but a plan is wanted.

use std::fs;

use crate::desk::Desk;

/// Closed on the day on which the example's scenario begins.
const CLOSED: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Policy
windows:
  - {environments: [production], zone: UTC, days: [sun], from: \"01:00\", to: \"02:00\", reason: on quiet Sundays}
";
const OPEN: &str = "apiVersion: phasegate.dev/v1alpha1\nkind: Policy\n";

/// A release with two environments, and a scenario in a folder of its own that has a policy beside it.
fn desk(says: &str) -> Desk {
    let desk = Desk::quick();
    desk.edit(
        "release.yaml",
        "namespace: hello\n",
        "environments: {staging: {}, production: {}}\nnamespace: hello\n",
    );
    fs::create_dir(desk.path("worlds")).unwrap();
    let scenario = fs::read_to_string(desk.path("scenario.yaml")).unwrap();
    let said = format!("kind: Scenario\n{says}");
    let scenario = scenario.replace("kind: Scenario\n", &said);
    let (scenario, _) = scenario.split_once("expect:").unwrap();
    desk.write("worlds/sunday.yaml", scenario);
    desk.write("worlds/policy.yaml", CLOSED);
    desk.write("open.yaml", OPEN);
    desk
}

const REHEARSE: [&str; 4] = [
    "rehearse",
    "release.yaml",
    "--scenario",
    "worlds/sunday.yaml",
];

fn end(desk: &Desk, more: &[&str], exit: i32) -> String {
    let arguments = [&REHEARSE[..], &["--output", "json"], more].concat();
    let told = desk.run(&arguments).expect(exit).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let transcript = told["transcript"].as_str().unwrap();
    let end = told["end"].as_str().unwrap();
    format!("{end}: {transcript}")
}

#[test]
fn a_scenario_names_its_policy_and_its_environment() {
    let desk = desk("policy: policy.yaml\nenvironment: production\n");
    let closed = end(&desk, &[], 3);
    assert!(closed.starts_with("not-started"), "{closed}");
    assert!(closed.contains("on quiet Sundays"), "{closed}");
    // The command line knows better, about each by itself.
    let open = end(&desk, &["--policy", "open.yaml"], 0);
    assert!(open.starts_with("succeeded"), "{open}");
    assert!(open.contains("in production"), "{open}");
    let staging = end(&desk, &["--environment", "staging"], 0);
    assert!(staging.starts_with("succeeded"), "{staging}");
    assert!(staging.contains("in staging"), "{staging}");
    // So does a scenario that the release's own target names.
    desk.edit(
        "release.yaml",
        "scenario: scenario.yaml",
        "scenario: worlds/sunday.yaml",
    );
    desk.edit(
        "release.yaml",
        "environments: {staging: {}, production: {}}\n",
        "",
    );
    let own = ["rehearse", "release.yaml", "--output", "json"];
    let own = desk.run(&own).expect(3).stdout;
    assert!(own.contains("not-started"), "{own}");
}

#[test]
fn what_a_scenario_names_and_is_not_there_is_refused() {
    let absent = desk("policy: rules.yaml\nenvironment: production\n");
    let refused = absent.run(&REHEARSE).refused(2, "PG0101");
    assert!(
        refused.stderr.contains("worlds/rules.yaml"),
        "{}",
        refused.stderr
    );
    let unknown = desk("environment: prodction\n");
    let refused = unknown.run(&REHEARSE).refused(2, "PG0125");
    assert!(refused.stderr.contains("production"), "{}", refused.stderr);
    let empty = desk("policy: \" \"\n");
    empty
        .run(&["validate", "worlds/sunday.yaml"])
        .refused(2, "PG0701");
}

#[test]
fn a_dry_run_plans_and_touches_nothing() {
    let desk = desk("environment: staging\ndryRun: true\n");
    let told = desk.run(&REHEARSE).expect(0).stdout;
    for part in [
        "planned, and no more",
        "hello 1.0.0 → 1.1.0",
        "deploy in place",
        "end: not-started",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("POST") && !told.contains("PATCH"), "{told}");
}

/// A script that rehearses before it runs must not take a rollback for a success.
#[test]
fn a_rehearsal_without_an_expected_end_ends_as_the_run_would() {
    let desk = desk("environment: staging\n");
    desk.run(&REHEARSE).expect(0);
    let fails = "acts: [{at: 5s, do: {abort: not today}}]\n";
    let world = desk.path("worlds/sunday.yaml");
    let scenario = fs::read_to_string(&world).unwrap();
    fs::write(&world, format!("{scenario}{fails}")).unwrap();
    let ended = desk.run(&REHEARSE).expect(1);
    assert!(
        ended.stdout.contains("end: rolled-back"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stderr.contains("error["), "{}", ended.stderr);
    // Where that is what is expected, it is as it must be.
    let expects = format!("{scenario}{fails}expect: {{end: rolled-back}}\n");
    fs::write(&world, expects).unwrap();
    desk.run(&REHEARSE).expect(0);
}
