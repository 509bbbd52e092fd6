use phasegate_plugin::testing::{Fake, call};
use phasegate_plugin::{Call, Error};
use serde_json::{Value, json};

use super::PLUGIN;

fn deployment(wanted: u32, there: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "worker", "namespace": "shop"},
        "spec": {"replicas": wanted},
        "status": {"replicas": there, "availableReplicas": there},
    })
}

fn hpa() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "worker-hpa", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "worker"}, "minReplicas": 2, "maxReplicas": 4},
    })
}

fn act(replicas: u32, autoscaler: &str) -> Call {
    let config = json!({"deployment": "worker", "replicas": replicas, "autoscaler": autoscaler});
    call("scale", config)
}

fn wanted(fake: &Fake) -> Value {
    fake.cluster()
        .object("Deployment", "shop", "worker")
        .unwrap()["spec"]["replicas"]
        .clone()
}

#[test]
fn the_pods_are_awaited_and_the_recorded_number_comes_back() {
    let call = act(0, "refuse");
    let mut fake = Fake::new().kubernetes(deployment(3, 3)).kubernetes(hpa());
    let prepared = fake.run(|| PLUGIN.prepare(&call)).unwrap();
    let waits = fake.run(|| PLUGIN.run(&call, &prepared.token));
    assert!(matches!(waits, Err(Error::Pending(_))), "{waits:?}");
    assert_eq!(wanted(&fake), 0);
    let mut fake = fake.kubernetes(deployment(0, 0));
    assert!(fake.run(|| PLUGIN.run(&call, &prepared.token)).is_ok());
    for _ in 0..2 {
        fake.run(|| PLUGIN.undo(&call, &prepared.token)).unwrap();
        assert_eq!(wanted(&fake), 3);
    }
}

#[test]
fn an_autoscaler_is_refused_or_gets_other_bounds() {
    let mut fake = Fake::new().kubernetes(deployment(3, 3)).kubernetes(hpa());
    let refused = fake.run(|| PLUGIN.prepare(&act(6, "refuse"))).unwrap_err();
    assert!(refused.to_string().contains("worker-hpa"), "{refused}");

    let call = act(6, "bounds");
    let prepared = fake.run(|| PLUGIN.prepare(&call)).unwrap();
    let bounds = |fake: &Fake| {
        let found = fake
            .cluster()
            .object("HorizontalPodAutoscaler", "shop", "worker-hpa");
        let spec = &found.unwrap()["spec"];
        (spec["minReplicas"].clone(), spec["maxReplicas"].clone())
    };
    let waits = fake.run(|| PLUGIN.run(&call, &prepared.token));
    assert!(matches!(waits, Err(Error::Pending(_))), "{waits:?}");
    assert_eq!(bounds(&fake), (json!(6), json!(6)));
    assert_eq!(wanted(&fake), 3, "the number is the autoscaler's to set");
    let mut fake = fake.kubernetes(deployment(6, 6));
    assert!(fake.run(|| PLUGIN.run(&call, &prepared.token)).is_ok());
    fake.run(|| PLUGIN.undo(&call, &prepared.token)).unwrap();
    assert_eq!(bounds(&fake), (json!(2), json!(4)));
}

#[test]
fn where_nothing_was_changed_nothing_is_put_back() {
    let call = act(3, "refuse");
    let mut fake = Fake::new().kubernetes(deployment(3, 3));
    let prepared = fake.run(|| PLUGIN.prepare(&call)).unwrap();
    assert!(fake.run(|| PLUGIN.run(&call, &prepared.token)).is_ok());
    // The action before it, which had asked for the same, is undone first.
    let mut fake = fake.kubernetes(deployment(5, 5));
    fake.run(|| PLUGIN.undo(&call, &prepared.token)).unwrap();
    assert_eq!(wanted(&fake), 5);
}

#[test]
fn a_number_that_somebody_else_has_set_stays() {
    let call = act(0, "refuse");
    let mut fake = Fake::new().kubernetes(deployment(3, 3));
    let prepared = fake.run(|| PLUGIN.prepare(&call)).unwrap();
    let mut fake = fake.kubernetes(deployment(5, 5));
    for refused in [
        fake.run(|| PLUGIN.run(&call, &prepared.token)).map(drop),
        fake.run(|| PLUGIN.undo(&call, &prepared.token)),
    ] {
        assert!(refused.unwrap_err().to_string().contains("somebody else"));
    }
    assert_eq!(wanted(&fake), 5);
}

#[test]
fn the_deployment_that_is_released_is_not_its_to_scale() {
    let own = call("scale", json!({"deployment": "shop", "replicas": 1}));
    let refused = Fake::new().run(|| PLUGIN.prepare(&own)).unwrap_err();
    assert!(refused.to_string().contains("released"), "{refused}");
}
