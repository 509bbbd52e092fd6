use serde_json::json;

use super::*;
use crate::diagnostic::Code;
use crate::spec::release::Overrides;
use crate::spec::tighten;
use crate::strategy::{Amount, Placement, Step as Wanted};

const RELEASE: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: '2'
change: minor
target: {simulated: {}}
workloads:
  - {name: api, deployment: api, container: app, image: 'api:{version}'}
  - {name: web, deployment: web, container: app, image: 'web:{version}'}
actions:
  warm: {plugin: job, offer: job, config: {image: tools}, timeout: 3m}
  idle: {plugin: scale}
phases:
  - name: before
    steps: [act: {plugin: configmap}]
  - name: deploy
    strategy: {plugin: canary, actions: [warm]}
";

fn workload(name: &str) -> Workload {
    let workload = json!({
        "name": name, "image": format!("{name}:2"),
        "target": {
            "cluster": "simulated", "namespace": "default", "workload": name, "deployment": name, "container": "app",
        },
        "baseline": {
            "uid": "u", "resourceVersion": "1", "revision": 1,
            "settings": {"image": format!("{name}:1"), "replicas": 2, "rollout": {
                "type": "rollingUpdate", "surge": "1", "unavailable": "0",
            }},
            "version": "1", "ready": 2, "templateDigest": "d",
        },
    });
    serde_json::from_value(workload).unwrap()
}

fn wanted(id: &str, action: strategy::Action) -> Wanted {
    Wanted {
        id: id.to_owned(),
        action,
        extra: serde_json::Value::Null,
    }
}

fn deploy() -> Wanted {
    let deploy = strategy::Action::Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: None,
        unavailable: None,
        timeout: Span::from_mins(5),
    };
    wanted("deploy", deploy)
}

fn act(id: &str, action: &str) -> Wanted {
    let action = action.to_owned();
    wanted(id, strategy::Action::Act { action })
}

/// The plan in which the strategy wants these steps of each workload.
fn planned(steps: [Vec<Wanted>; 2]) -> Result<Plan, Diagnostics> {
    let builtin = ["job", "scale", "configmap", "canary"];
    let overrides = Overrides::default();
    let loaded = release::load("release.yaml", RELEASE.as_bytes(), &overrides, &builtin)?;
    let policy = Policy::default();
    let effective = tighten::tighten(&loaded, &policy)?;
    let pin = |name: &str| {
        let pin = Pin {
            source: format!("builtin:{name}"),
            digest: "sha256:0".to_owned(),
            version: "1".to_owned(),
        };
        (name.to_owned(), pin)
    };
    assemble(&Inputs {
        loaded: &loaded,
        workloads: vec![workload("api"), workload("web")],
        pins: builtin.map(pin).into(),
        resolve: &|_, plugin, _| Ok(plugin.to_owned()),
        planned: [("deploy".to_owned(), steps.into())].into(),
        policy: &policy,
        effective: &effective,
    })
}

#[test]
fn a_strategys_action_is_the_releases_on_the_workloads_own_target() {
    let both = || vec![deploy(), act("warm-up", "warm"), act("again", "warm")];
    let plan = planned([both(), vec![deploy(), act("warm-up", "warm")]]).unwrap();
    let steps = plan.steps().map(|(_, step)| step);
    let acts: Vec<_> = steps
        .filter(|step| step.action.kind() == "act")
        .map(|step| (step.id.as_str(), step.workload))
        .collect();
    let wanted = [
        ("before/act-1", 0),
        ("deploy/api/warm-up", 0),
        ("deploy/api/again", 0),
        ("deploy/web/warm-up", 1),
    ];
    assert_eq!(acts, wanted);
    let action = Action::Act {
        name: Some("warm".to_owned()),
        offer: Use {
            plugin: "job".to_owned(),
            offer: "job".to_owned(),
            config: json!({"image": "tools"}),
        },
        manifests: false,
        timeout: Span::from_mins(3),
    };
    let mut steps = plan.steps().map(|(_, step)| step);
    let step = steps.find(|step| step.id == "deploy/web/warm-up").unwrap();
    assert_eq!(step.action, action);
    let phase = plan.phases.iter().find(|phase| phase.name == "deploy");
    assert_eq!(phase.unwrap().actions, ["warm"]);
    // A plan of an engine that knew no such actions reads as before.
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    assert_eq!(text.matches("\"actions\"").count(), 1, "{text}");
}

#[test]
fn a_plugin_that_only_an_unused_action_needs_is_no_part_of_the_plan() {
    let plan = planned([vec![deploy()], vec![deploy(), act("warm-up", "warm")]]).unwrap();
    let pins: Vec<_> = plan.plugins.keys().collect();
    assert_eq!(pins, ["canary", "configmap", "job"]);
    let plan = planned([vec![deploy()], vec![deploy()]]).unwrap();
    let pins: Vec<_> = plan.plugins.keys().collect();
    assert_eq!(pins, ["canary", "configmap"]);
}

#[test]
fn an_action_that_the_phase_was_not_given_is_refused() {
    let refused = |name: &str| -> (Code, String) {
        let steps = [vec![deploy()], vec![deploy(), act("x", name)]];
        let faults = planned(steps).unwrap_err();
        let fault = faults.iter().next().unwrap();
        (fault.code(), fault.to_string())
    };
    for name in ["idle", "nobody"] {
        let (code, text) = refused(name);
        assert_eq!(code, codes::DANGLING_NAME);
        assert!(text.contains("`x` names the action") && text.contains("`warm`"));
    }
}

#[test]
fn nothing_comes_before_people_are_asked_that_came_after_it() {
    let step = |id: &str| {
        let action = match id {
            "ask" | "ask-again" => Action::Attest {
                name: id.to_owned(),
                prompt: "sure?".to_owned(),
            },
            _ => Action::Promote,
        };
        plan::Step::new(id.to_owned(), action)
    };
    let steps = |ids: &[&str]| ids.iter().map(|id| step(id)).collect::<Vec<_>>();
    let old = steps(&["first", "ask", "migrate", "ask-again", "last"]);
    let overtakes = |ids: &[&str]| {
        let new = steps(ids);
        let found = revise::overtakes(&old, &new);
        found.map(|(step, approval)| (step.to_owned(), approval.to_owned()))
    };
    let wrong = |step: &str, approval: &str| Some((step.to_owned(), approval.to_owned()));
    for fine in [
        &["first", "ask", "migrate", "ask-again", "last"][..],
        &["ask", "ask-again", "last"],
        &["ask", "first", "new", "migrate", "ask-again"],
    ] {
        assert_eq!(overtakes(fine), None, "{fine:?}");
    }
    let sooner = ["first", "migrate", "ask", "ask-again", "last"];
    assert_eq!(overtakes(&sooner), wrong("migrate", "ask"));
    let later = ["ask", "last", "migrate", "ask-again"];
    assert_eq!(overtakes(&later), wrong("last", "ask-again"));
    let other_way = ["ask-again", "ask", "migrate"];
    assert_eq!(overtakes(&other_way), wrong("ask-again", "ask"));
}
