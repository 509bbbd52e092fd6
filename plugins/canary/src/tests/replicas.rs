//! By replicas: what a plan looks like without a router.

use super::*;

#[test]
fn ten_replicas_become_one_of_ten_then_five_of_ten_then_ten() {
    let config = json!({ "weights": [10, 50, 100], "soak": ["30m", "15m", "5m"] });
    let expected = [
        "deploy: candidate 1",
        "stable-10: stable 9",
        "soak-10: 1800s every 30s []",
        "scale-50: candidate 5",
        "stable-50: stable 5",
        "soak-50: 900s every 30s []",
        "scale-100: candidate 100%",
        "stable-100: stable 0",
        "soak-100: 300s every 30s []",
        "promote: promote",
    ];
    assert_eq!(notes(&bare(config)), expected);
}

#[test]
fn stable_keeps_its_last_pods_for_the_promotion_unless_all_traffic_is_asked_for() {
    let config = json!({ "weights": [10, 50], "soak": "1m" });
    let expected = [
        "deploy: candidate 1",
        "stable-10: stable 9",
        "soak-10: 60s every 30s []",
        "scale-50: candidate 5",
        "stable-50: stable 5",
        "soak-50: 60s every 30s []",
        "scale-100: candidate 100%",
        "promote: promote",
    ];
    assert_eq!(notes(&bare(config)), expected);
}

#[test]
fn one_replica_is_half_until_it_is_all_and_the_log_says_so() {
    let mut situation = bare(json!({ "weights": [10, 50, 100], "soak": "1m" }));
    situation.workload.replicas = 1;
    let mut world = Fake::new();
    let steps = world.run(|| PLUGIN.plan(&situation)).unwrap();
    let notes: Vec<_> = steps.iter().map(note).collect();
    let expected = [
        "deploy: candidate 1",
        "soak-10: 60s every 30s []",
        "soak-50: 60s every 30s []",
        "stable-100: stable 0",
        "soak-100: 60s every 30s []",
        "promote: promote",
    ];
    assert_eq!(notes, expected);
    let lines: Vec<_> = world.logged().iter().map(|line| &line.message).collect();
    let told =
        "10% of the traffic of shop can't be had by replicas: the candidate gets 50%, 1 of 2 pods";
    assert_eq!(lines, [told]);
}

#[test]
fn pauses_checks_and_approvals_come_where_the_list_has_them() {
    let config = json!({ "steps": [
        { "setWeight": 10 },
        { "check": ["health"] },
        { "pause": { "duration": "5m" } },
        { "setWeight": 50 },
        { "pause": {} },
    ] });
    let expected = [
        "deploy: candidate 1",
        "stable-10: stable 9",
        "check-10: ask [\"health\"]",
        "soak-10: 300s every 30s []",
        "scale-50: candidate 5",
        "stable-50: stable 5",
        "approve-50: 1.4.0 gets 50% of the traffic of shop: go on? (1)",
        "scale-100: candidate 100%",
        "promote: promote",
    ];
    assert_eq!(notes(&bare(config)), expected);
}

#[test]
fn an_autoscaler_would_fight_it_so_it_is_refused() {
    let situation = autoscaled(bare(json!({ "weights": [10, 100] })), 5, 20);
    let problems = refused(&situation);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].pointer, "");
    assert!(
        problems[0]
            .message
            .contains("its autoscaler would give them back"),
        "{problems:?}"
    );
}

#[test]
fn what_only_a_router_can_do_is_refused_where_it_stands() {
    let header = json!({ "match": [{ "headerName": "a", "headerValue": { "exact": "b" } }] });
    for (config, pointer) in [
        (json!({ "weights": [0, 10] }), "/weights/0"),
        (
            json!({ "weights": [10], "canaryScale": { "replicas": 3 } }),
            "/canaryScale",
        ),
        (
            json!({ "steps": [{ "setWeight": 10 }, { "setHeaderRoute": header }] }),
            "/steps/1/setHeaderRoute",
        ),
        (
            json!({ "steps": [{ "setWeight": 10 }, { "mirror": 10 }] }),
            "/steps/1/mirror",
        ),
        (
            json!({ "steps": [{ "setWeight": 10 }, { "setCanaryScale": { "replicas": 3 } }] }),
            "/steps/1/setCanaryScale",
        ),
        (
            json!({ "steps": [{ "pause": {} }, { "setWeight": 10 }] }),
            "/steps/0/pause",
        ),
    ] {
        let problems = refused(&bare(config.clone()));
        assert_eq!(problems.len(), 1, "{config}: {problems:?}");
        assert_eq!(problems[0].pointer, pointer, "{config}: {problems:?}");
    }
}
