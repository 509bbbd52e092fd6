//! The point of no return: what is said of it before, and how a run ends past it.

use crate::desk::Desk;

const NEW: &str = "registry.example/hello:1.1.0";

/// A release whose old version can't come back once it is deployed, followed by such a soak.
fn desk(soak: &str) -> Desk {
    let desk = Desk::new(40, soak);
    desk.edit(
        "release.yaml",
        "  - name: verify\n",
        "    pointOfNoReturn: true\n  - name: verify\n",
    );
    desk
}

#[test]
fn a_run_past_the_point_of_no_return_stays_forward() {
    let desk = desk("30m");
    let plan = desk.run(&["plan", "release.yaml"]).expect(0).stdout;
    for part in [
        "point of no return",
        "after deploy/check",
        "abort and failures leave 1.1.0 where it is",
    ] {
        assert!(plan.contains(part), "`{part}` is not in\n{plan}");
    }
    let run = desk.start(&["run", "release.yaml"]);
    run.until("step-started", "soak");
    let status = desk.json(&["status"]);
    let would = status[0]["abortWould"].as_str().unwrap();
    assert_eq!(
        would,
        "stop here and stay forward: the point of no return is passed"
    );
    desk.run(&["run", "release.yaml", "--supersede"])
        .refused(3, "PG0613");
    desk.run(&["abort", "--reason", "enough"]).expect(0);
    let ended = run.end().expect(6);
    assert!(ended.stdout.contains("stayed forward"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("rolling back"), "{}", ended.stdout);
    assert_eq!(desk.image(), NEW);
    let id = desk.only_run();
    // Whoever looks later reads the same, and nothing can bring the old version back.
    desk.run(&["resume", &id]).expect(6);
    desk.run(&["watch", &id]).expect(6);
    assert_eq!(desk.json(&["status", &id])["end"], "stayed-forward");
    desk.run(&["rollback", &id]).refused(3, "PG0601");
    let held = desk.json(&["lock", "show", "release.yaml"]);
    assert!(held["claim"].is_null(), "{held}");
    desk.run(&["history", "verify"]).expect(0);
}

#[test]
fn before_the_point_of_no_return_abort_goes_back() {
    let desk = desk("30m");
    let run = desk.start(&["run", "release.yaml"]);
    run.until("changed", NEW);
    desk.run(&["abort"]).expect(0);
    run.end().expect(1);
    assert_eq!(desk.image(), "registry.example/hello:1.0.0");
}

#[test]
fn a_run_that_succeeded_past_it_is_not_rolled_back() {
    let desk = desk("20s");
    desk.run(&["run", "release.yaml"]).expect(0);
    let refused = desk
        .run(&["rollback", &desk.only_run()])
        .refused(3, "PG0607");
    let hint = "release the old code's successor";
    assert!(refused.stderr.contains(hint), "{}", refused.stderr);
    assert_eq!(desk.image(), NEW);
}

#[test]
fn a_point_of_no_return_before_the_new_version_serves_is_refused_at_its_line() {
    let desk = Desk::quick();
    desk.edit(
        "release.yaml",
        "phases:\n",
        "phases:\n  - name: before\n    pointOfNoReturn: true\n    steps:\n      - check: [pods]\n",
    );
    let refused = desk.run(&["validate", "release.yaml"]).refused(2, "PG0128");
    for part in ["release.yaml:18:", "the phase `deploy` or a later one"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}
