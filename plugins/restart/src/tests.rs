use phasegate_plugin::action::Progress;
use phasegate_plugin::testing::{Fake, call};
use phasegate_plugin::{Call, Error};
use serde_json::{Value, json};

use super::{PLUGIN, RESTARTED};

fn deployment(updated: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "worker", "namespace": "shop", "generation": 2},
        "spec": {"replicas": 3, "template": {"spec": {"containers": []}}},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": updated, "availableReplicas": 3},
    })
}

fn act() -> Call {
    call("restart", json!({"deployment": "worker"}))
}

#[test]
fn it_restarts_once_and_waits_for_every_pod() {
    let mut fake = Fake::new().kubernetes(deployment(1));
    let token = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    assert!(token.summary.contains("3 pods"), "{}", token.summary);
    let probe = |fake: &mut Fake| fake.run(|| PLUGIN.probe(&act(), &token.token)).unwrap();
    assert_eq!(probe(&mut fake), Progress::NotDone);
    let run = |fake: &mut Fake| fake.run(|| PLUGIN.run(&act(), &token.token));
    assert!(matches!(run(&mut fake), Err(Error::Pending(_))));
    let pointer = format!(
        "/spec/template/metadata/annotations/{}",
        RESTARTED.replace('/', "~1")
    );
    let mark = |fake: &Fake| {
        let found = fake
            .cluster()
            .object("Deployment", "shop", "worker")
            .unwrap();
        found.pointer(&pointer).cloned()
    };
    let first = mark(&fake);
    assert!(first.is_some());
    assert_eq!(probe(&mut fake), Progress::Running);
    assert!(matches!(run(&mut fake), Err(Error::Pending(_))));
    assert_eq!(mark(&fake), first, "the pods are not replaced twice");
    let mut there = fake
        .cluster()
        .object("Deployment", "shop", "worker")
        .unwrap()
        .clone();
    there["status"]["updatedReplicas"] = json!(3);
    let mut fake = fake.kubernetes(there);
    assert_eq!(probe(&mut fake), Progress::Done);
    assert!(run(&mut fake).unwrap().summary.contains("restarted 3 pods"));
}

#[test]
fn a_deployment_that_is_not_there_is_said_before_anything_runs() {
    let mut fake = Fake::new();
    assert!(fake.run(|| PLUGIN.prepare(&act())).is_err());
}

#[test]
fn the_deployment_that_is_released_is_not_its_to_restart() {
    let mut fake = Fake::new();
    let own = call("restart", json!({"deployment": "shop"}));
    let refused = fake.run(|| PLUGIN.prepare(&own)).unwrap_err();
    assert!(refused.to_string().contains("released"), "{refused}");
}
