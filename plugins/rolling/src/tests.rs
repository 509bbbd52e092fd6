use phasegate_plugin::strategy::{Action, Amount, Check, Deploy, Placement, Soak};
use phasegate_plugin::testing::{Fake, situation};
use phasegate_plugin::{Error, Problem, Result, Situation, Step};
use serde_json::{Value, json};

use super::PLUGIN;

fn plan_in(situation: &Situation) -> Result<Vec<Step>> {
    Fake::new().run(|| PLUGIN.plan(situation))
}

fn plan(config: Value) -> Result<Vec<Step>> {
    plan_in(&situation("rolling", config))
}

fn problems(config: Value) -> Vec<Problem> {
    match plan(config) {
        Err(Error::Misconfigured(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_settings_it_deploys_in_place_and_asks_every_gate() {
    let deploy = Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: None,
        unavailable: None,
        timeout_ms: 300_000,
    };
    let expected = vec![
        Step::new("deploy", Action::Deploy(deploy)),
        Step::new("check", Action::Check(Check { gates: vec![] })),
    ];
    assert_eq!(plan(json!({})).unwrap(), expected);
}

#[test]
fn settings_reach_the_steps() {
    let config = json!({
        "maxSurge": "25%", "maxUnavailable": 0, "timeout": "90s", "gates": ["health"],
        "soak": { "for": "5m", "every": "10s", "gates": ["latency"] },
    });
    let deploy = Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: Some("25%".to_owned()),
        unavailable: Some("0".to_owned()),
        timeout_ms: 90_000,
    };
    let check = Check {
        gates: vec!["health".to_owned()],
    };
    let soak = Soak {
        duration_ms: 300_000,
        interval_ms: 10_000,
        gates: vec!["latency".to_owned()],
    };
    let expected = vec![
        Step::new("deploy", Action::Deploy(deploy)),
        Step::new("check", Action::Check(check)),
        Step::new("soak", Action::Soak(soak)),
    ];
    assert_eq!(plan(config).unwrap(), expected);
}

#[test]
fn an_action_is_refused_rather_than_left_out() {
    let mut acting = situation("rolling", json!({}));
    acting.actions = vec!["warm".to_owned()];
    let Err(Error::Misconfigured(problems)) = plan_in(&acting) else {
        panic!("an action was left out");
    };
    assert!(problems[0].message.contains("make `warm` a step"));
}

#[test]
fn a_phase_without_gates_has_nothing_to_check() {
    let mut bare = situation("rolling", json!({}));
    bare.gates.clear();
    let steps = plan_in(&bare).unwrap();
    let ids: Vec<_> = steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["deploy"]);
}

#[test]
fn a_gate_that_the_phase_does_not_have_is_refused() {
    let problems = problems(json!({ "gates": ["health", "helth"] }));
    assert_eq!(problems[0].pointer, "/gates/1");
    assert_eq!(
        problems[0].message,
        "the phase has no gate `helth`; it has: health, latency"
    );
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    for (config, pointer) in [
        (
            json!({ "maxSurge": 0, "maxUnavailable": "0%" }),
            "/maxUnavailable",
        ),
        (json!({ "maxSurge": "many" }), "/maxSurge"),
        (json!({ "maxSurge": "101%" }), "/maxSurge"),
        (json!({ "timeout": "0s" }), "/timeout"),
        (json!({ "timeout": "soon" }), "/timeout"),
        (
            json!({ "soak": { "for": "1m", "every": "2m" } }),
            "/soak/every",
        ),
        (
            json!({ "soak": { "for": "1m", "every": "0s" } }),
            "/soak/every",
        ),
        (json!({ "soak": { "for": 60 } }), "/soak/for"),
        (json!({ "maxsurge": 1 }), "/maxsurge"),
    ] {
        let found = problems(config.clone());
        assert_eq!(found[0].pointer, pointer, "{config}");
    }
}

#[test]
fn settings_that_leave_nothing_to_serve_are_refused() {
    // (replicas, surge, unavailable, whether it is refused)
    for row in [
        (4, json!(1), json!("100%"), true),
        (4, json!(1), json!(4), true),
        (4, json!(1), json!(3), false),
        // 99% of 4 are 3.96: 3.
        (4, json!(1), json!("99%"), false),
        // 25% of 1 are 0.25, so 0; with a surge of 0 one may be missing, and there is one.
        (1, json!(0), json!("25%"), true),
        // 25% of 1 above are 0.25, so 1.
        (1, json!("25%"), json!("25%"), false),
        // 33% of 2 are 0.66, so 0; with a surge of 0 one may be missing, and one is left.
        (2, json!(0), json!("33%"), false),
        // The Deployment's own surge holds.
        (4, json!(null), json!("100%"), true),
        (1, json!(null), json!("25%"), false),
        // Nothing serves in any case.
        (0, json!(1), json!("100%"), false),
    ] {
        let (replicas, surge, unavailable, refused) = row.clone();
        let config = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        let mut situation = situation("rolling", config);
        situation.workload.replicas = replicas;
        match plan_in(&situation) {
            Err(Error::Misconfigured(problems)) => {
                assert!(refused, "{row:?}: {problems:?}");
                assert_eq!(problems[0].pointer, "/maxUnavailable");
                assert!(problems[0].message.contains("nothing would serve"));
            }
            other => assert!(other.is_ok() && !refused, "{row:?}: {other:?}"),
        }
    }
}

#[test]
fn validation_finds_what_planning_refuses() {
    let config = json!({ "maxSurge": 0, "maxUnavailable": 0 }).to_string();
    let problems = PLUGIN.validate("strategy", "rolling", &config);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("can't both be 0"));
    assert!(PLUGIN.validate("strategy", "rolling", "{}").is_empty());
    assert_eq!(PLUGIN.validate("gate", "rolling", "{}").len(), 1);
}

#[test]
fn nothing_is_revised() {
    let situation = situation("rolling", json!({}));
    let revised = Fake::new().run(|| PLUGIN.revise(&situation, &[], &[]));
    assert_eq!(revised, Ok(None));
}

#[test]
fn it_asks_for_nothing_and_its_schema_names_every_setting() {
    let description = PLUGIN.describe();
    assert!(description.asks.is_empty());
    let schema: Value = serde_json::from_str(&description.offers[0].config_schema).unwrap();
    let settings: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        settings,
        ["gates", "maxSurge", "maxUnavailable", "soak", "timeout"]
    );
    assert_eq!(schema["additionalProperties"], false);
}
