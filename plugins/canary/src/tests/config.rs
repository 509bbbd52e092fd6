//! What can be set, and what is refused.

use super::*;

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    let header = |name: &str, value: &str| {
        json!({ "steps": [{ "setHeaderRoute": { "match": [
            { "headerName": name, "headerValue": { "exact": value } },
        ] } }] })
    };
    let step = |step: Value| json!({ "steps": [step] });
    for (config, pointer) in [
        // Which form.
        (json!({}), ""),
        (json!({ "weights": [10], "steps": [] }), "/steps"),
        (json!({ "weights": [10], "stepWeight": 5 }), "/stepWeight"),
        (
            json!({ "stepWeight": 5, "stepWeights": [5] }),
            "/stepWeights",
        ),
        (json!({ "stepWeight": 5, "soak": "1m" }), "/soak"),
        (json!({ "weights": [10], "interval": "1m" }), "/interval"),
        (json!({ "stepWeights": [5], "maxWeight": 50 }), "/maxWeight"),
        (json!({ "weihgts": [10] }), "/weihgts"),
        // Weights.
        (json!({ "weights": [] }), "/weights"),
        (json!({ "weights": [10, 10] }), "/weights/1"),
        (json!({ "weights": [10, 50, 25] }), "/weights/2"),
        (json!({ "weights": [10, 101] }), "/weights/1"),
        (json!({ "weights": [-1] }), "/weights/0"),
        (json!({ "weights": [0.5] }), "/weights/0"),
        (
            json!({ "weights": (1..=51).collect::<Vec<_>>() }),
            "/weights",
        ),
        (json!({ "stepWeights": [2, 1] }), "/stepWeights/1"),
        (json!({ "stepWeights": [] }), "/stepWeights"),
        (json!({ "stepWeight": 0 }), "/stepWeight"),
        (json!({ "stepWeight": 1 }), "/stepWeight"),
        (json!({ "stepWeight": 5, "maxWeight": 0 }), "/maxWeight"),
        // Times.
        (json!({ "weights": [10], "soak": "0s" }), "/soak"),
        (json!({ "weights": [10], "soak": "50d" }), "/soak"),
        (json!({ "weights": [10, 20], "soak": ["1m"] }), "/soak"),
        (json!({ "weights": [10], "soak": ["0s"] }), "/soak/0"),
        (
            json!({ "weights": [10], "soak": "1m", "every": "2m" }),
            "/soak",
        ),
        (json!({ "weights": [10], "every": "11m" }), "/every"),
        (json!({ "weights": [10], "every": "0s" }), "/every"),
        (json!({ "stepWeight": 5, "interval": "0s" }), "/interval"),
        (json!({ "stepWeight": 5, "every": "2m" }), "/every"),
        (json!({ "weights": [10], "timeout": "0s" }), "/timeout"),
        (json!({ "weights": [10], "settle": "soon" }), "/settle"),
        // Steps.
        (json!({ "steps": [] }), "/steps"),
        (
            json!({ "steps": vec![json!({ "check": [] }); 61] }),
            "/steps",
        ),
        (step(json!({ "setwait": 10 })), "/steps/0"),
        (step(json!({ "setWeight": 101 })), "/steps/0/setWeight"),
        (
            json!({ "steps": [{ "setWeight": 20 }, { "setWeight": 20 }] }),
            "/steps/1/setWeight",
        ),
        (
            json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 10 }] }),
            "/steps/2/setWeight",
        ),
        // A number alone is a time in Argo Rollouts; here times have units.
        (
            step(json!({ "pause": { "duration": 10 } })),
            "/steps/0/pause/duration",
        ),
        (
            step(json!({ "pause": { "duration": "0s" } })),
            "/steps/0/pause/duration",
        ),
        (
            step(json!({ "pause": { "duration": "1m", "prompt": "Go on?" } })),
            "/steps/0/pause/prompt",
        ),
        (
            step(json!({ "pause": { "duration": "1m", "count": 1 } })),
            "/steps/0/pause/count",
        ),
        (
            step(json!({ "pause": { "count": 0 } })),
            "/steps/0/pause/count",
        ),
        (
            step(json!({ "pause": { "prompt": "" } })),
            "/steps/0/pause/prompt",
        ),
        (step(json!({ "check": ["nobody"] })), "/steps/0/check/0"),
        (
            step(json!({ "setCanaryScale": { "replicas": 0 } })),
            "/steps/0/setCanaryScale/replicas",
        ),
        (
            step(json!({ "setCanaryScale": { "weight": 0 } })),
            "/steps/0/setCanaryScale/weight",
        ),
        (
            step(json!({ "setCanaryScale": { "matchTrafficWeight": false } })),
            "/steps/0/setCanaryScale/matchTrafficWeight",
        ),
        (
            json!({ "weights": [10], "canaryScale": { "replicas": 0 } }),
            "/canaryScale/replicas",
        ),
        (
            header("x team", "shop"),
            "/steps/0/setHeaderRoute/match/0/headerName",
        ),
        (
            header("", "shop"),
            "/steps/0/setHeaderRoute/match/0/headerName",
        ),
        (
            header("x-team", "a\nb"),
            "/steps/0/setHeaderRoute/match/0/headerValue/exact",
        ),
        (
            header("x-team", ""),
            "/steps/0/setHeaderRoute/match/0/headerValue/exact",
        ),
        (
            json!({ "steps": [{ "setWeight": 100 }, { "mirror": 10 }] }),
            "/steps/1/mirror",
        ),
        (json!({ "weights": [10], "gates": ["nobody"] }), "/gates/0"),
    ] {
        let found = refused(&routed(config.clone()));
        assert_eq!(found[0].pointer, pointer, "{config}: {found:?}");
    }
}

#[test]
fn there_is_one_header_route_at_a_time() {
    let route = |name: &str, value: &str| {
        json!({ "setHeaderRoute": { "name": name, "match": [
            { "headerName": "x-team", "headerValue": { "exact": value } },
        ] } })
    };
    let gone = |name: &str| json!({ "setHeaderRoute": { "name": name } });
    let of = |steps: Vec<Value>| routed(json!({ "steps": steps }));

    assert!(plan(&of(vec![route("a", "1"), route("a", "2")])).is_ok());
    assert!(plan(&of(vec![route("a", "1"), gone("a"), route("b", "2")])).is_ok());
    let problems = refused(&of(vec![route("a", "1"), route("b", "2")]));
    assert_eq!(problems[0].pointer, "/steps/1/setHeaderRoute/name");
    let problems = refused(&of(vec![route("a", "1"), gone("b")]));
    assert_eq!(problems[0].pointer, "/steps/1/setHeaderRoute/name");

    let problems = refused(&of(vec![json!({ "setWeight": 100 }), route("a", "1")]));
    assert_eq!(problems[0].pointer, "/steps/1/setHeaderRoute");
    let many: Vec<_> = (0..17)
        .map(|n| json!({ "headerName": format!("h{n}"), "headerValue": { "exact": "1" } }))
        .collect();
    let problems = refused(&of(vec![json!({ "setHeaderRoute": { "match": many } })]));
    assert_eq!(problems[0].pointer, "/steps/0/setHeaderRoute/match");
}

#[test]
fn a_fault_names_what_was_found() {
    for (config, message) in [
        (json!({ "weights": [50, 25] }), "weight 25 comes after 50"),
        (json!({ "weights": [50, 50] }), "weight 50 comes twice"),
        (json!({ "weights": [150] }), "150 is more than 100 percent"),
        (
            json!({ "weights": [1, 2], "soak": ["1m"] }),
            "1 times for 2 weights",
        ),
        (json!({ "stepWeight": 1 }), "100 weights, more than 50"),
        (
            json!({ "weights": [10], "soak": 5 }),
            "expected a duration (10m), or a list",
        ),
    ] {
        let found = refused(&routed(config));
        assert!(found[0].message.contains(message), "{found:?}");
    }
}

#[test]
fn a_workload_without_replicas_is_refused_with_and_without_a_router() {
    for mut situation in [
        bare(json!({ "weights": [10] })),
        routed(json!({ "weights": [10] })),
    ] {
        situation.workload.replicas = 0;
        let problems = refused(&situation);
        assert_eq!(problems[0].pointer, "");
        assert!(problems[0].message.starts_with("shop has 0 replicas"));
    }
}

#[test]
fn a_check_needs_a_gate_and_a_soak_does_not() {
    let mut situation = routed(json!({ "steps": [{ "check": [] }] }));
    situation.gates.clear();
    let problems = refused(&situation);
    assert_eq!(problems[0].pointer, "/steps/0/check");

    let mut situation = routed(json!({ "weights": [50], "soak": "20s" }));
    situation.gates.clear();
    // Nothing is said about how often, so a soak shorter than the usual 30s is looked at once.
    assert_eq!(notes(&situation)[2], "soak-50: 20s every 20s []");
}

#[test]
fn times_reach_the_steps() {
    let config = json!({
        "weights": [50], "soak": "5m", "every": "10s", "gates": ["latency"],
        "timeout": "90s", "settle": "20s",
    });
    let times = |step: Step| match step.action {
        Action::Deploy(deploy) => Some(deploy.timeout_ms),
        Action::Scale(scale) => Some(scale.timeout_ms),
        Action::Route(route) => Some(route.settle_ms),
        Action::Promote(promote) => Some(promote.timeout_ms),
        Action::Soak(_) => None,
        other => panic!("{other:?}"),
    };
    let (planned, ready, settled) = (plan(&routed(config)).unwrap(), 90 * SECOND, 20 * SECOND);
    let times: Vec<_> = planned.into_iter().filter_map(times).collect();
    assert_eq!(times, [ready, settled, ready, settled, ready]);

    let longest = json!({ "weights": [50], "soak": "49d" });
    assert_eq!(notes(&routed(longest))[2], "soak-50: 4233600s every 30s []");
    let planned = plan(&routed(json!({ "weights": [50] }))).unwrap();
    let Action::Soak(soak) = &planned[2].action else {
        panic!("{planned:?}");
    };
    assert_eq!(soak.duration_ms, 10 * MINUTE);
}

#[test]
fn validation_finds_what_needs_no_situation() {
    let config = json!({ "weights": [50, 25], "soak": "0s" }).to_string();
    let problems = PLUGIN.validate("strategy", "canary", &config);
    let pointers: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(pointers, ["/soak", "/weights/1"]);
    let config = json!({ "weights": [10, 25, 50, 100] }).to_string();
    assert!(PLUGIN.validate("strategy", "canary", &config).is_empty());
}

#[test]
fn it_asks_for_nothing_and_its_schema_names_every_setting() {
    let description = PLUGIN.describe();
    assert!(description.asks.is_empty());
    let schema: Value = serde_json::from_str(&description.offers[0].config_schema).unwrap();
    let settings: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let expected = [
        "canaryScale",
        "every",
        "gates",
        "interval",
        "maxWeight",
        "settle",
        "soak",
        "stepWeight",
        "stepWeights",
        "steps",
        "timeout",
        "weights",
    ];
    assert_eq!(settings, expected);
    assert_eq!(schema["additionalProperties"], false);
    let weight = &schema["properties"]["weights"]["items"];
    assert_eq!(
        *weight,
        json!({ "type": "integer", "minimum": 0, "maximum": 100 })
    );
}
