//! Other remaining steps: only where stable has grown.

use phasegate_plugin::strategy::Outcome;

use super::*;

/// What is left of a plan after `last`, and what the plugin makes of it when there are `replicas` by then.
fn revised(situation: &Situation, last: &str, replicas: u32) -> Option<Vec<String>> {
    let planned = plan(situation).unwrap();
    let at = planned.iter().position(|step| step.id == last).unwrap();
    let done = [Outcome {
        step: format!("deploy/{last}"),
        elapsed_ms: MINUTE,
        judged: vec![],
    }];
    let mut later = situation.clone();
    later.workload.replicas = replicas;
    let answer = Fake::new().run(|| PLUGIN.revise(&later, &done, &planned[at + 1..]));
    answer
        .unwrap()
        .map(|steps| steps.iter().map(note).collect())
}

#[test]
fn counts_grow_with_stable() {
    let situation = bare(json!({ "weights": [10, 50, 100], "soak": "1m" }));
    let expected = [
        "scale-50: candidate 10",
        "stable-50: stable 10",
        "soak-50: 60s every 30s []",
        "scale-100: candidate 100%",
        "stable-100: stable 0",
        "soak-100: 60s every 30s []",
        "promote: promote",
    ];
    assert_eq!(revised(&situation, "soak-10", 20).unwrap(), expected);
}

#[test]
fn nothing_is_revised_where_stable_is_as_it_was_or_smaller() {
    let situation = bare(json!({ "weights": [10, 50, 100], "soak": "1m" }));
    for replicas in [0, 1, 5, 9, 10] {
        assert_eq!(revised(&situation, "soak-10", replicas), None, "{replicas}");
    }
    // Only percentages remain, and these grow by themselves.
    assert_eq!(revised(&situation, "soak-50", 20), None);
}

#[test]
fn percentages_need_no_revision() {
    let situation = routed(json!({ "weights": [10, 50, 100], "soak": "1m" }));
    assert_eq!(revised(&situation, "soak-10", 20), None);
}

#[test]
fn a_fixed_scale_gives_way_where_the_weight_needs_more_by_now() {
    let situation = routed(json!({
        "weights": [10, 50], "soak": "1m", "canaryScale": { "replicas": 8 },
    }));
    let expected = [
        "scale-50: candidate 50%",
        "route-50: traffic 5000",
        "soak-50: 60s every 30s []",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    // 8 are enough for half of 10, not for half of 20.
    assert_eq!(revised(&situation, "soak-10", 10), None);
    let steps = revised(&situation, "soak-10", 20);
    assert_eq!(steps.unwrap(), expected);
}

#[test]
fn what_can_no_longer_be_planned_is_finished_as_it_was_planned() {
    let situation = bare(json!({ "weights": [10, 50] }));
    let remaining = plan(&situation).unwrap();
    let grown = |mut situation: Situation| {
        situation.workload.replicas = 20;
        situation
    };
    for later in [
        autoscaled(grown(situation.clone()), 1, 50),
        // A step that nobody planned.
        grown(situation.clone()),
    ] {
        let done = [Outcome {
            step: "deploy/soak-99".to_owned(),
            elapsed_ms: 0,
            judged: vec![],
        }];
        let answer = Fake::new().run(|| PLUGIN.revise(&later, &done, &remaining));
        assert_eq!(answer, Ok(None));
    }
}

/// Whatever the replicas were and are by now: what is left asks for no less than before, anywhere, and
/// keeps every gate, every approval, every action, every share of traffic and their order.
#[test]
fn a_revision_never_shrinks_and_drops_nothing() {
    let config = json!({ "steps": [
        { "setWeight": 10 },
        { "pause": { "duration": "1m" } },
        { "act": "warm" },
        { "setWeight": 35 },
        { "pause": {} },
        { "check": ["health"] },
        { "setWeight": 80 },
    ] });
    let mut revisions = 0;
    for (situation, scale) in [
        (bare(config.clone()), json!(null)),
        (routed(config.clone()), json!({ "replicas": 4 })),
    ] {
        for before in 1..=30 {
            let mut config = config.clone();
            if !scale.is_null() {
                config["canaryScale"] = scale.clone();
            }
            let mut situation = situation.clone();
            situation.call.config = config.to_string();
            situation.workload.replicas = before;
            situation.actions = vec!["warm".to_owned()];
            let planned = plan(&situation).unwrap();
            let rest = |steps: Vec<Step>| -> Vec<Step> {
                let soak = steps.iter().position(|step| step.id == "soak-10");
                steps[soak.unwrap() + 1..].to_vec()
            };
            let remaining = rest(planned);
            for now in 1..=30 {
                let done = [Outcome {
                    step: "deploy/soak-10".to_owned(),
                    elapsed_ms: MINUTE,
                    judged: vec![],
                }];
                let mut later = situation.clone();
                later.workload.replicas = now;
                let answer = Fake::new().run(|| PLUGIN.revise(&later, &done, &remaining));
                let Some(steps) = answer.unwrap() else {
                    continue;
                };
                revisions += 1;
                assert!(now > before, "{before} became {now}");
                assert_eq!(steps, rest(plan(&later).unwrap()));
                let kept = |steps: &[Step]| -> Vec<Step> {
                    let changes = |step: &&Step| !matches!(step.action, Action::Scale(_));
                    steps.iter().filter(changes).cloned().collect()
                };
                assert_eq!(kept(&steps), kept(&remaining));
            }
        }
    }
    assert!(revisions > 300, "{revisions}");
}
