use phasegate_plugin::strategy::{
    Action, Amount, Approve, Autoscaler, Check, Deploy, Placement, Promote, Retire, Route,
    RouterFeatures, Scale, Slot, Soak,
};
use phasegate_plugin::testing::{Fake, situation};
use phasegate_plugin::{Error, Problem, Result, Situation, Split, Step};
use phasegate_plugins_shared::testing::follow;
use serde_json::{Value, json};

use super::PLUGIN;

const SECOND: u32 = 1000;
const MINUTE: u32 = 60 * SECOND;
const HOUR: u32 = 60 * MINUTE;

/// Four replicas behind a router that can do nothing but send everything to one side.
fn switching(config: Value) -> Situation {
    let mut situation = situation("blue-green", config);
    situation.router = Some(RouterFeatures {
        weights: false,
        header_match: false,
        mirror: false,
        extra: "{}".to_owned(),
    });
    situation
}

fn plan_in(situation: &Situation) -> Result<Vec<Step>> {
    Fake::new().run(|| PLUGIN.plan(situation))
}

fn plan(config: Value) -> Result<Vec<Step>> {
    plan_in(&switching(config))
}

fn refused(planned: Result<Vec<Step>>) -> Vec<Problem> {
    match planned {
        Err(Error::Misconfigured(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

fn ids(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.id.as_str()).collect()
}

fn deploy(replicas: Amount, timeout_ms: u32) -> Action {
    Action::Deploy(Deploy {
        placement: Placement::Beside,
        replicas,
        surge: None,
        unavailable: None,
        timeout_ms,
    })
}

fn scale(timeout_ms: u32) -> Action {
    Action::Scale(Scale {
        slot: Slot::Candidate,
        replicas: Amount::Percent(100),
        timeout_ms,
    })
}

fn switch(settle_ms: u32) -> Action {
    Action::Route(Route {
        split: Split {
            candidate_weight: 10_000,
            headers: vec![],
            mirror_weight: 0,
        },
        settle_ms,
    })
}

fn soak(duration_ms: u32, interval_ms: u32, gates: &[&str]) -> Action {
    Action::Soak(Soak {
        duration_ms,
        interval_ms,
        gates: gates.iter().map(|&gate| gate.to_owned()).collect(),
    })
}

fn retire(after_ms: u32, remove: bool) -> Action {
    Action::Retire(Retire {
        slot: Slot::Stable,
        after_ms,
        remove,
    })
}

#[test]
fn without_settings_every_gate_is_asked_before_the_switch_and_after_it() {
    let promote = Action::Promote(Promote {
        timeout_ms: 5 * MINUTE,
    });
    let expected = vec![
        Step::new("deploy", deploy(Amount::Percent(100), 5 * MINUTE)),
        Step::new("preview-check", Action::Check(Check { gates: vec![] })),
        Step::new("scale", scale(5 * MINUTE)),
        Step::new("switch", switch(10 * SECOND)),
        Step::new("soak", soak(15 * MINUTE, 30 * SECOND, &[])),
        Step {
            extra: r#"{"swap":true}"#.to_owned(),
            ..Step::new("promote", promote)
        },
        Step::new("retire", retire(24 * HOUR, true)),
    ];
    assert_eq!(plan(json!({})).unwrap(), expected);
}

#[test]
fn settings_reach_the_steps() {
    let config = json!({
        "timeout": "90s", "previewReplicas": 1, "previewGates": ["health"], "previewSoak": "5m",
        "approve": { "prompt": "Seen it?", "count": 2 }, "settle": "20s", "stableFor": "30m",
        "gates": ["latency"], "every": "10s", "keep": "48h",
    });
    let promote = Action::Promote(Promote {
        timeout_ms: 90 * SECOND,
    });
    let approve = Action::Approve(Approve {
        prompt: "Seen it?".to_owned(),
        count: 2,
    });
    let check = Action::Check(Check {
        gates: vec!["health".to_owned()],
    });
    let expected = vec![
        Step::new("deploy", deploy(Amount::Count(1), 90 * SECOND)),
        Step::new("preview-check", check),
        Step::new("preview-soak", soak(5 * MINUTE, 10 * SECOND, &["health"])),
        Step::new("approve", approve),
        Step::new("scale", scale(90 * SECOND)),
        Step::new("switch", switch(20 * SECOND)),
        Step::new("soak", soak(30 * MINUTE, 10 * SECOND, &["latency"])),
        Step {
            extra: r#"{"swap":true}"#.to_owned(),
            ..Step::new("promote", promote)
        },
        Step::new("retire", retire(48 * HOUR, true)),
    ];
    assert_eq!(plan(config).unwrap(), expected);
}

#[test]
fn actions_are_performed_before_the_switch_and_after_it() {
    let config = json!({
        "previewGates": [], "approve": "Seen it?", "beforeSwitch": "expand", "afterSwitch": "warm",
    });
    let mut situation = switching(config);
    situation.actions = vec!["expand".to_owned(), "warm".to_owned()];
    let steps = plan_in(&situation).unwrap();
    let expected = [
        "deploy",
        "approve",
        "before-switch",
        "scale",
        "switch",
        "after-switch",
        "soak",
        "promote",
        "retire",
    ];
    assert_eq!(ids(&steps), expected);
    assert_eq!(steps[2].action, Action::Act("expand".to_owned()));
    assert_eq!(steps[5].action, Action::Act("warm".to_owned()));
}

#[test]
fn actions_that_are_not_there_or_never_performed_are_refused() {
    let config = json!({ "beforeSwitch": "expand", "afterSwitch": "worm" });
    let mut situation = switching(config);
    situation.actions = ["expand", "warm"].map(str::to_owned).to_vec();
    let problems = refused(plan_in(&situation));
    assert_eq!(problems[0].pointer, "/afterSwitch");
    assert!(problems[0].message.contains("it has: expand, warm"));
    assert_eq!(problems[1].pointer, "");
    assert!(problems[1].message.contains("the action `warm`"));
    assert_eq!(problems.len(), 2);
}

#[test]
fn without_a_router_it_is_refused_as_a_whole() {
    let mut bare = switching(json!({}));
    bare.router = None;
    let problems = refused(plan_in(&bare));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].pointer, "");
    assert!(
        problems[0].message.contains("the release has none"),
        "{problems:?}"
    );
}

#[test]
fn a_workload_without_replicas_is_refused() {
    let mut asleep = switching(json!({}));
    asleep.workload.replicas = 0;
    let problems = refused(plan_in(&asleep));
    assert_eq!(problems[0].pointer, "");
    assert!(problems[0].message.starts_with("shop has 0 replicas"));
}

#[test]
fn a_preview_at_full_strength_needs_no_count() {
    for replicas in [4, 5, 400] {
        let steps = plan(json!({ "previewReplicas": replicas })).unwrap();
        let expected = deploy(Amount::Percent(100), 5 * MINUTE);
        assert_eq!(steps[0].action, expected, "{replicas}");
    }
    let steps = plan(json!({ "previewReplicas": 3 })).unwrap();
    assert_eq!(steps[0].action, deploy(Amount::Count(3), 5 * MINUTE));
}

#[test]
fn nothing_that_comes_between_leaves_nothing_to_scale() {
    let config = json!({ "previewGates": [] });
    let expected = ["deploy", "switch", "soak", "promote", "retire"];
    assert_eq!(ids(&plan(config).unwrap()), expected);

    let config = json!({ "previewGates": [], "approve": "Seen it?" });
    let steps = plan(config).unwrap();
    let approve = Action::Approve(Approve {
        prompt: "Seen it?".to_owned(),
        count: 1,
    });
    assert_eq!(steps[1].action, approve);
    assert_eq!(ids(&steps)[1..4], ["approve", "scale", "switch"]);
}

#[test]
fn people_are_asked_by_the_names_of_version_and_workload() {
    let steps = plan(json!({ "approve": {} })).unwrap();
    let approve = Action::Approve(Approve {
        prompt: "Is 1.4.0 fit to take the traffic of shop?".to_owned(),
        count: 1,
    });
    assert_eq!(steps[2].action, approve);
}

#[test]
fn a_phase_without_gates_has_nothing_to_check_and_still_soaks() {
    let mut bare = switching(json!({ "previewSoak": "20s" }));
    bare.gates.clear();
    let steps = plan_in(&bare).unwrap();
    let expected = [
        "deploy",
        "preview-soak",
        "scale",
        "switch",
        "soak",
        "promote",
        "retire",
    ];
    assert_eq!(ids(&steps), expected);
    // Nothing is said about how often, so a soak shorter than the usual 30s is looked at once.
    assert_eq!(steps[1].action, soak(20 * SECOND, 20 * SECOND, &[]));
}

#[test]
fn the_old_side_can_be_left_scaled_to_nothing() {
    let steps = plan(json!({ "retire": "scale" })).unwrap();
    assert_eq!(steps.last().unwrap().action, retire(0, false));
    let steps = plan(json!({ "retire": "remove", "keep": "0s" })).unwrap();
    assert_eq!(steps.last().unwrap().action, retire(0, true));
}

#[test]
fn the_live_colour_changes_nothing_in_the_plan() {
    let planned = ["blue", "green"].map(|colour| {
        let mut situation = switching(json!({}));
        situation.workload.live = Some(colour.to_owned());
        plan_in(&situation).unwrap()
    });
    assert_eq!(planned[0], planned[1]);
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    for (config, pointer) in [
        (json!({ "timeout": "0s" }), "/timeout"),
        (json!({ "timeout": "50d" }), "/timeout"),
        (json!({ "settle": "soon" }), "/settle"),
        (json!({ "previewReplicas": 0 }), "/previewReplicas"),
        (json!({ "previewReplicas": -1 }), "/previewReplicas"),
        (
            json!({ "previewGates": ["health", "nobody"] }),
            "/previewGates/1",
        ),
        (json!({ "gates": ["nobody"] }), "/gates/0"),
        (json!({ "previewSoak": "0s" }), "/previewSoak"),
        (
            json!({ "previewSoak": "1m", "previewGates": [] }),
            "/previewSoak",
        ),
        (
            json!({ "previewSoak": "1m", "every": "2m" }),
            "/previewSoak",
        ),
        (json!({ "stableFor": "0s" }), "/stableFor"),
        (json!({ "stableFor": "1m", "every": "2m" }), "/stableFor"),
        (json!({ "every": "0s" }), "/every"),
        (json!({ "approve": "  " }), "/approve"),
        (json!({ "approve": "?".repeat(501) }), "/approve"),
        (json!({ "approve": { "prompt": "" } }), "/approve/prompt"),
        (json!({ "approve": { "count": 0 } }), "/approve/count"),
        (json!({ "approve": 2 }), "/approve"),
        (json!({ "keep": "24h", "retire": "scale" }), "/keep"),
        (json!({ "retire": "delete" }), "/retire"),
        (json!({ "previewreplicas": 1 }), "/previewreplicas"),
    ] {
        let found = refused(plan(config.clone()));
        assert_eq!(found[0].pointer, pointer, "{config}: {found:?}");
    }
}

#[test]
fn validation_finds_what_needs_no_situation() {
    let config = json!({ "stableFor": "0s", "every": "0s" }).to_string();
    let problems = PLUGIN.validate("strategy", "blue-green", &config);
    let pointers: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(pointers, ["/every", "/stableFor"]);
    assert!(PLUGIN.validate("strategy", "blue-green", "{}").is_empty());
}

#[test]
fn nothing_is_revised() {
    let situation = switching(json!({}));
    let remaining = plan_in(&situation).unwrap();
    let revised = Fake::new().run(|| PLUGIN.revise(&situation, &[], &remaining));
    assert_eq!(revised, Ok(None));
}

#[test]
fn it_asks_for_nothing_and_its_schema_names_every_setting() {
    let description = PLUGIN.describe();
    assert!(description.asks.is_empty());
    let schema: Value = serde_json::from_str(&description.offers[0].config_schema).unwrap();
    let settings: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let expected = [
        "afterSwitch",
        "approve",
        "beforeSwitch",
        "every",
        "gates",
        "keep",
        "previewGates",
        "previewReplicas",
        "previewSoak",
        "retire",
        "settle",
        "stableFor",
        "timeout",
    ];
    assert_eq!(settings, expected);
    assert_eq!(schema["additionalProperties"], false);
}

/// Every combination of the settings that change the plan, at every number of replicas, with and
/// without gates and an autoscaler: no prefix of the plan leaves less capacity than there was, and all
/// traffic goes to a candidate at full strength.
#[test]
fn no_prefix_of_any_plan_takes_capacity_away() {
    let mut plans = 0;
    for replicas in 1..=50 {
        for preview in [None, Some(1), Some(replicas), Some(replicas + 1)] {
            for bits in 0..64_u32 {
                let mut config = json!({});
                if let Some(preview) = preview {
                    config["previewReplicas"] = json!(preview);
                }
                let on = |bit: u32| bits & (1 << bit) != 0;
                if on(0) {
                    config["previewSoak"] = json!("1m");
                }
                if on(1) {
                    config["approve"] = json!("Seen it?");
                }
                if on(2) && !on(0) {
                    config["previewGates"] = json!([]);
                }
                if on(5) {
                    config["beforeSwitch"] = json!("warm");
                    config["afterSwitch"] = json!("warm");
                }
                let mut situation = switching(config);
                situation.workload.replicas = replicas;
                if on(3) {
                    situation.gates.clear();
                }
                if on(5) {
                    situation.actions = vec!["warm".to_owned()];
                }
                if on(4) {
                    situation.workload.autoscaler = Some(Autoscaler {
                        minimum: 1,
                        maximum: replicas,
                    });
                }
                let steps = plan_in(&situation).unwrap();
                let states = follow(&situation, &steps).unwrap();
                let end = states.last().unwrap();
                assert_eq!(
                    (end.stable, end.candidate, end.weight),
                    (0, replicas, 10_000)
                );
                plans += 1;
            }
        }
    }
    assert_eq!(plans, 50 * 4 * 64);
}

/// The model that the property is checked with does notice what it is there for.
#[test]
fn the_model_notices_a_plan_that_breaks_a_law() {
    let situation = switching(json!({ "previewReplicas": 1 }));
    let steps = plan_in(&situation).unwrap();
    let without = |id: &str| -> Vec<Step> {
        let kept = steps.iter().filter(|step| step.id != id);
        kept.cloned().collect()
    };
    let broken = |steps: &[Step]| follow(&situation, steps).unwrap_err();
    assert!(broken(&without("scale")).starts_with("switch: the candidate is too small"));
    assert!(broken(&without("switch")).starts_with("promote: promoted at a weight of 0"));
    assert!(broken(&without("promote")).starts_with("retire: only the old side is retired"));
    let twice: Vec<Step> = steps.iter().chain(&steps).cloned().collect();
    assert_eq!(broken(&twice), "deploy: two steps have this id");
}
