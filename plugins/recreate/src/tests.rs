use phasegate_plugin::strategy::{Action, Amount, Check, Deploy, Placement, Scale, Slot, Soak};
use phasegate_plugin::testing::{Fake, situation};
use phasegate_plugin::{Error, Result, Step};
use serde_json::{Value, json};

use super::PLUGIN;

fn plan(config: Value) -> Result<Vec<Step>> {
    Fake::new().run(|| PLUGIN.plan(&situation("recreate", config)))
}

#[test]
fn it_stops_everything_then_starts_everything_and_declares_the_outage() {
    let stop = Scale {
        slot: Slot::Stable,
        replicas: Amount::Count(0),
        timeout_ms: 120_000,
    };
    let deploy = Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: None,
        unavailable: None,
        timeout_ms: 300_000,
    };
    let steps = plan(json!({})).unwrap();
    let actions: Vec<_> = steps.iter().map(|step| step.action.clone()).collect();
    let expected = [
        Action::Scale(stop),
        Action::Deploy(deploy),
        Action::Check(Check { gates: vec![] }),
    ];
    assert_eq!(actions, expected);
    let extras: Vec<_> = steps.iter().map(|step| step.extra.as_str()).collect();
    assert_eq!(extras, [r#"{"outage":true}"#, "{}", "{}"]);
}

#[test]
fn settings_reach_the_steps() {
    let config = json!({ "stopTimeout": "10s", "timeout": "1m", "soak": { "for": "2m" } });
    let steps = plan(config).unwrap();
    let timeouts: Vec<_> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Scale(scale) => Some(scale.timeout_ms),
            Action::Deploy(deploy) => Some(deploy.timeout_ms),
            _ => None,
        })
        .collect();
    assert_eq!(timeouts, [10_000, 60_000]);
    let soak = Soak {
        duration_ms: 120_000,
        interval_ms: 30_000,
        gates: vec![],
    };
    assert_eq!(steps.last().unwrap().action, Action::Soak(soak));
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    for (config, pointer) in [
        (json!({ "stopTimeout": "0s" }), "/stopTimeout"),
        (json!({ "timeout": "0s" }), "/timeout"),
        (json!({ "gates": ["nobody"] }), "/gates/0"),
        (
            json!({ "soak": { "for": "5m", "gates": ["nobody"] } }),
            "/soak/gates/0",
        ),
        (json!({ "maxSurge": 1 }), "/maxSurge"),
    ] {
        match plan(config.clone()) {
            Err(Error::Misconfigured(problems)) => {
                assert_eq!(problems[0].pointer, pointer, "{config}");
            }
            other => panic!("{config}: {other:?}"),
        }
    }
}

#[test]
fn step_ids_are_unique() {
    let steps = plan(json!({ "soak": { "for": "5m" } })).unwrap();
    let ids: Vec<_> = steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["stop", "deploy", "check", "soak"]);
}
