//! By weight: what a plan looks like behind a router.

use super::*;

#[test]
fn weights_are_held_one_after_the_other() {
    let config = json!({ "weights": [10, 25, 50, 100], "soak": ["5m", "30m", "30m", "10m"] });
    let expected = [
        "deploy: candidate 10%",
        "route-10: traffic 1000",
        "soak-10: 300s every 30s []",
        "scale-25: candidate 25%",
        "route-25: traffic 2500",
        "soak-25: 1800s every 30s []",
        "scale-50: candidate 50%",
        "route-50: traffic 5000",
        "soak-50: 1800s every 30s []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "soak-100: 600s every 30s []",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn before_the_promotion_the_candidate_has_everything_whatever_the_last_weight() {
    let config = json!({ "weights": [50], "soak": "1m" });
    let expected = [
        "deploy: candidate 50%",
        "route-50: traffic 5000",
        "soak-50: 60s every 30s []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn weight_nought_brings_the_candidate_up_and_routes_nothing() {
    let config = json!({ "weights": [0, 100], "soak": "1m" });
    let expected = [
        "deploy: candidate 1",
        "soak-0: 60s every 30s []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "soak-100: 60s every 30s []",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn a_list_of_steps_reads_as_in_argo_rollouts() {
    let config = json!({
        "every": "10s",
        "gates": ["latency"],
        "steps": [
            { "setCanaryScale": { "replicas": 2 } },
            { "check": ["health"] },
            { "setHeaderRoute": { "name": "us", "match": [
                { "headerName": "x-team", "headerValue": { "exact": "shop" } },
            ] } },
            { "pause": {} },
            { "setHeaderRoute": { "name": "us" } },
            { "setCanaryScale": { "matchTrafficWeight": true } },
            { "setWeight": 20 },
            { "pause": { "duration": "10m" } },
            { "setWeight": 40 },
            { "pause": { "prompt": "Numbers fine?", "count": 2 } },
            { "check": [] },
        ],
    });
    let expected = [
        "deploy: candidate 2",
        "check-0: ask [\"health\"]",
        "route-step-3: traffic 0 x-team=shop",
        "approve-0: 1.4.0 gets 0% of the traffic of shop: go on? (1)",
        "route-step-5: traffic 0",
        "scale-step-6: candidate 1",
        "scale-20: candidate 20%",
        "route-20: traffic 2000",
        "soak-20: 600s every 10s [\"latency\"]",
        "scale-40: candidate 40%",
        "route-40: traffic 4000",
        "approve-40: Numbers fine? (2)",
        "check-40: ask []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn copies_are_carried_and_end_before_the_candidate_shrinks() {
    let config = json!({ "steps": [
        { "mirror": 50 },
        { "pause": { "duration": "5m" } },
        { "mirror": 0 },
        { "setWeight": 10 },
    ] });
    let expected = [
        "deploy: candidate 50%",
        "route-step-1: traffic 0 mirror 5000",
        "soak-0: 300s every 30s []",
        "route-step-3: traffic 0",
        "scale-step-3: candidate 1",
        "scale-10: candidate 10%",
        "route-10: traffic 1000",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn what_is_done_twice_at_a_weight_is_told_apart() {
    let config = json!({ "steps": [
        { "setWeight": 20 },
        { "check": ["health"] },
        { "pause": { "duration": "5m" } },
        { "pause": {} },
        { "pause": { "duration": "10m" } },
        { "check": ["latency"] },
    ] });
    let notes = notes(&routed(config));
    let ids: Vec<_> = notes
        .iter()
        .filter_map(|note| note.split(':').next())
        .collect();
    let expected = [
        "check-20",
        "soak-20",
        "approve-20",
        "soak-20-2",
        "check-20-2",
    ];
    assert_eq!(ids[2..7], expected);
}

#[test]
fn with_all_traffic_matches_and_copies_end() {
    let config = json!({ "steps": [
        { "setHeaderRoute": { "match": [
            { "headerName": "x-team", "headerValue": { "exact": "shop" } },
        ] } },
        { "mirror": 20 },
        { "setWeight": 30 },
        { "setWeight": 100 },
        { "pause": { "duration": "5m" } },
    ] });
    let expected = [
        "deploy: candidate 1",
        "route-step-1: traffic 0 x-team=shop",
        "scale-step-2: candidate 20%",
        "route-step-2: traffic 0 x-team=shop mirror 2000",
        "scale-30: candidate 50%",
        "route-30: traffic 3000 x-team=shop mirror 2000",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "soak-100: 300s every 30s []",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn weights_can_grow_by_themselves() {
    let config = json!({ "stepWeight": 20, "maxWeight": 50, "interval": "2m" });
    let expected = [
        "deploy: candidate 20%",
        "route-20: traffic 2000",
        "soak-20: 120s every 30s []",
        "scale-40: candidate 40%",
        "route-40: traffic 4000",
        "soak-40: 120s every 30s []",
        "scale-50: candidate 50%",
        "route-50: traffic 5000",
        "soak-50: 120s every 30s []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);

    let config = json!({ "stepWeights": [1, 80], "canaryScale": { "weight": 100 } });
    let expected = [
        "deploy: candidate 100%",
        "route-1: traffic 100",
        "soak-1: 60s every 30s []",
        "route-80: traffic 8000",
        "soak-80: 60s every 30s []",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&routed(config)), expected);
}

#[test]
fn stable_keeps_its_replicas_so_an_autoscaler_is_no_trouble() {
    let config = json!({ "weights": [10, 50, 100] });
    let situation = autoscaled(routed(config), 5, 20);
    for step in plan(&situation).unwrap() {
        if let Action::Scale(scale) = step.action {
            assert_eq!(scale.slot, Slot::Candidate);
        }
    }
}

#[test]
fn no_more_replicas_are_asked_than_the_autoscaler_may_keep() {
    let scale = json!({ "replicas": 21 });
    let listed = json!({ "steps": [{ "setCanaryScale": scale }] });
    let overall = json!({ "weights": [10], "canaryScale": scale });
    for (config, pointer) in [
        (listed, "/steps/0/setCanaryScale/replicas"),
        (overall, "/canaryScale/replicas"),
    ] {
        let situation = autoscaled(routed(config.clone()), 5, 20);
        let problems = refused(&situation);
        assert_eq!(problems[0].pointer, pointer);
        assert!(
            problems[0].message.contains("maximum of 20"),
            "{problems:?}"
        );
        assert!(plan(&autoscaled(routed(config), 5, 21)).is_ok());
    }
}

#[test]
fn only_what_the_router_can_do_is_planned() {
    let header = json!({ "setHeaderRoute": { "match": [
        { "headerName": "x-team", "headerValue": { "exact": "shop" } },
    ] } });
    type Lose = fn(&mut RouterFeatures);
    let without: [(Value, &str, Lose); 4] = [
        (json!([{ "setWeight": 10 }]), "/steps/0/setWeight", |r| {
            r.weights = false;
        }),
        (json!([header.clone()]), "/steps/0/setHeaderRoute", |r| {
            r.header_match = false
        }),
        (json!([{ "mirror": 10 }]), "/steps/0/mirror", |r| {
            r.mirror = false;
        }),
        (
            json!([{ "setWeight": 0 }, header, { "setWeight": 99 }]),
            "/steps/2/setWeight",
            |r| r.weights = false,
        ),
    ];
    for (steps, pointer, lose) in without {
        let mut situation = routed(json!({ "steps": steps }));
        assert!(plan(&situation).is_ok(), "{steps}");
        lose(situation.router.as_mut().unwrap());
        let problems = refused(&situation);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].pointer, pointer, "{problems:?}");
    }
}

#[test]
fn all_or_nothing_needs_no_weights() {
    let mut situation = routed(json!({ "weights": [0, 100], "soak": "1m" }));
    situation.router.as_mut().unwrap().weights = false;
    assert!(plan(&situation).is_ok());
}
