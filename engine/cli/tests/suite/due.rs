//! What is owed after a run, and how it is settled.

use crate::desk::Desk;
use crate::shared::POLICY;

const RELEASE: &str = include_str!("../../../../tests/scenarios/30-warm-rollback/release.yaml");
const SCENARIO: &str = include_str!("../../../../tests/scenarios/30-warm-rollback/scenario.yaml");

/// A blue-green release that keeps the old side for so long.
fn released(keep: &str) -> Desk {
    let desk = Desk::quick();
    let scenario = SCENARIO.split("acts:").next().unwrap();
    desk.write("scenario.yaml", scenario);
    let release = RELEASE
        .replace(
            "simulated: {}",
            "simulated: {scenario: scenario.yaml, scale: 240}",
        )
        .replace(
            "stableFor: 15m, keep: 24h",
            &format!("stableFor: 2m, every: 20s, keep: {keep}"),
        );
    desk.write("release.yaml", &release);
    desk.run(&["run", "release.yaml"]).expect(0);
    desk
}

fn names(desk: &Desk) -> Vec<String> {
    let list = desk.ask(
        "GET",
        "/apis/apps/v1/namespaces/shop/deployments",
        "application/json",
        "",
    );
    let items = list["items"].as_array().unwrap().iter();
    let name = |item: &serde_json::Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.map(name).collect()
}

#[test]
fn what_is_kept_is_removed_once_its_time_has_come_and_not_before() {
    let desk = released("1h");
    let run = desk.only_run();
    assert_eq!(names(&desk), ["shop-blue", "shop-green"]);
    let early = desk.run(&["due", "done", &run, "1"]).refused(3, "PG0601");
    assert!(early.stderr.contains("is kept until"), "{}", early.stderr);
    assert_eq!(names(&desk), ["shop-blue", "shop-green"]);
    // An hour of the cluster's is fifteen seconds of ours.
    let mut left = 80;
    while desk.run(&["due", "done", &run, "1"]).code != Some(0) {
        left -= 1;
        assert!(left > 0, "it never becomes due");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert_eq!(names(&desk), ["shop-green"]);
    let owed = desk.json(&["due"]);
    assert_eq!(owed.as_array().map(Vec::len), Some(0), "{owed}");
}

#[test]
fn what_came_back_is_not_owed_any_more() {
    let desk = released("24h");
    let run = desk.only_run();
    let owed = desk.json(&["due"]);
    assert_eq!(
        owed[0]["task"].as_str().map(|t| t.contains("shop-blue")),
        Some(true),
        "{owed}"
    );
    desk.run(&["rollback", &run, "--reason", "customers complain"])
        .expect(1);
    let owed = desk.json(&["due"]);
    assert_eq!(owed.as_array().map(Vec::len), Some(0), "{owed}");
}

/// Whoever does by hand what is owed reads there that it is not to be done.
#[test]
fn what_is_in_use_again_is_not_to_be_removed() {
    let desk = released("24h");
    let owed = desk.json(&["due"]);
    assert!(owed[0]["notToBeDone"].is_null(), "{owed}");
    desk.ask(
        "PATCH",
        "/apis/apps/v1/namespaces/shop/deployments/shop-blue",
        "application/merge-patch+json",
        r#"{"spec": {"replicas": 2}}"#,
    );
    let owed = desk.json(&["due"]);
    let why = owed[0]["notToBeDone"].as_str().unwrap_or_default();
    assert!(why.contains("shop-blue is in use again"), "{owed}");
    let list = desk.run(&["due"]).expect(0);
    assert!(list.stdout.contains("NOT to be removed"), "{}", list.stdout);
}

/// A cluster that can't be looked at leaves the question open, and the list says so.
#[test]
fn what_can_not_be_looked_at_is_not_taken_for_safe_to_remove() {
    let desk = released("24h");
    desk.end_cluster();
    let owed = desk.json(&["due"]);
    let why = owed[0]["notLookedAt"].as_str().unwrap_or_default();
    assert!(why.contains("[PG"), "{owed}");
    assert!(owed[0]["notToBeDone"].is_null(), "{owed}");
    let list = desk.run(&["due"]).expect(0);
    assert!(
        list.stdout.contains("look whether it is in use"),
        "{}",
        list.stdout
    );
}

const CONFIGURED: &str = include_str!("../../../../tests/scenarios/58-configuration/release.yaml");
const CONFIGURED_WORLD: &str =
    include_str!("../../../../tests/scenarios/58-configuration/scenario.yaml");

/// The content goes to and fro: what the second run would remove the fourth may go back to.
#[test]
fn a_copy_that_another_run_may_go_back_to_is_not_removed() {
    let desk = Desk::quick();
    desk.write(
        "scenario.yaml",
        CONFIGURED_WORLD.split("expect:").next().unwrap(),
    );
    let copies = || -> Vec<String> {
        let path = "/api/v1/namespaces/shop/configmaps";
        let list = desk.ask("GET", path, "application/json", "");
        let items = list["items"].as_array().unwrap().iter();
        let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.contains("-pg")).collect()
    };
    let release = |level: &str, keep: &str| {
        let release = CONFIGURED
            .replace(
                "simulated: {}",
                "simulated: {scenario: scenario.yaml, scale: 240}",
            )
            .replace("from: config", "from: level")
            .replace("    - {secret: shop-keys}\n", "")
            .replace("for: 5m", "for: 1m");
        desk.write(
            "release.yaml",
            &format!("{release}rollback: {{keep: {keep}}}\n"),
        );
        desk.write("level", level);
        desk.run(&["run", "release.yaml"]).expect(0);
    };
    release("debug", "1s");
    let first = copies();
    assert_eq!(first.len(), 1);
    release("info", "1s");
    release("debug", "24h");
    release("info", "24h");
    assert_eq!(copies().len(), 2);
    let owed = desk.json(&["due"]);
    // The second run's, and the fourth's, are about the first copy.
    let of_first = |owed: &serde_json::Value| {
        let task = owed["task"].as_str().unwrap_or_default();
        task.contains(&first[0])
    };
    let owed: Vec<&serde_json::Value> = owed
        .as_array()
        .unwrap()
        .iter()
        .filter(|o| of_first(o))
        .collect();
    assert_eq!(owed.len(), 2, "{owed:?}");
    let why = owed[0]["notToBeDone"].as_str().unwrap_or_default();
    let other = owed[1]["run"].as_str().unwrap();
    assert!(
        why.contains(other) && why.contains("may go back"),
        "{owed:?}"
    );
    let run = owed[0]["run"].as_str().unwrap();
    let number = owed[0]["number"].to_string();
    let refused = desk
        .run(&["due", "done", run, &number])
        .refused(3, "PG0601");
    assert!(refused.stderr.contains(other), "{}", refused.stderr);
    // By the clock on the wall all of it is due; the world's is earlier, and so the others are refused there.
    let met = desk.run(&["due", "meet"]);
    assert!(!met.stdout.contains(run), "{}", met.stdout);
    assert!(copies().contains(&first[0]));
}

const ROTATION: &str = include_str!("../../../../tests/scenarios/59-rotation/release.yaml");
const ROTATION_WORLD: &str = include_str!("../../../../tests/scenarios/59-rotation/scenario.yaml");
/// A run that leads pods away from a rotated Secret's copy waits for people; its claim is broken, and another run rotates on.
#[test]
fn a_copy_of_a_secret_is_not_removed_while_a_run_that_names_it_is_under_way() {
    let desk = Desk::quick();
    let world = ROTATION_WORLD.split("expect:").next().unwrap();
    desk.write("scenario.yaml", world);
    let credentials = ROTATION.split("credentials:").nth(1).unwrap();
    let credentials = credentials.split("gates:").next().unwrap();
    let release = ROTATION
        .replace(&format!("credentials:{credentials}"), "")
        .replace("{credential: new-db-password}", "{random: {length: 20}}")
        .replace(
            "simulated: {}",
            "simulated: {scenario: scenario.yaml, scale: 240}",
        )
        .replace("for: 5m", "for: 1m");
    desk.write(
        "release.yaml",
        &format!("{release}rollback: {{keep: 1s}}\n"),
    );
    desk.write("policy.yaml", POLICY);
    let copies = || -> Vec<String> {
        let path = "/api/v1/namespaces/shop/secrets";
        let list = desk.ask("GET", path, "application/json", "");
        let items = list["items"].as_array().unwrap().iter();
        let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.contains("-pg")).collect()
    };
    desk.run(&["run", "release.yaml"]).expect(0);
    let old = copies().pop().unwrap();
    let waits = [
        "run",
        "release.yaml",
        "--policy",
        "policy.yaml",
        "--no-wait",
    ];
    desk.run(&waits).expect(5);
    let going = desk.json(&["status"])[0]["run"]
        .as_str()
        .unwrap()
        .to_owned();
    desk.run(&[
        "lock",
        "break",
        "simulated/shop/shop",
        "--reason",
        "it waits for nobody",
    ])
    .expect(0);
    desk.run(&["run", "release.yaml"]).expect(0);
    let owed = desk.json(&["due"]);
    let (run, number) = (
        owed[0]["run"].as_str().unwrap(),
        owed[0]["number"].to_string(),
    );
    assert!(owed[0]["task"].as_str().unwrap().contains(&old), "{owed}");
    let why = owed[0]["notToBeDone"].as_str().unwrap_or_default();
    assert_eq!(why, format!("run {going} is under way and may need it"));
    let done = ["due", "done", run, &number];
    let refused = desk.run(&done).refused(3, "PG0601");
    assert!(refused.stderr.contains(&going), "{}", refused.stderr);
    let met = desk.run(&["due", "meet"]);
    assert!(!met.stdout.contains(run), "{}", met.stdout);
    assert!(copies().contains(&old));
    // Nothing needs it once that run has ended.
    desk.run(&["abort", &going]).expect(3);
    desk.run(&done).expect(0);
    assert!(!copies().contains(&old));
}
