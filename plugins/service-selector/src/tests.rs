use phasegate_plugin::testing::{Fake, call, split};
use phasegate_plugin::{Call, Error, RouterTarget, Split};
use serde_json::{Value, json};

use super::{PLUGIN, WHOLE};

fn router_call() -> Call {
    let mut call = call("service-selector", json!({}));
    let mut extra: Value = serde_json::from_str(&call.extra).unwrap();
    extra["workload"]["stable"] = json!({
        "deployment": "shop-blue", "service": "shop", "labels": {"app": "shop", "version": "blue"},
    });
    extra["workload"]["candidate"] = json!({
        "deployment": "shop-green", "service": null,
        "labels": {"app": "shop", "version": "green"},
    });
    call.extra = extra.to_string();
    call
}

fn target() -> RouterTarget {
    RouterTarget {
        stable_service: "shop".to_owned(),
        candidate_service: String::new(),
        port: None,
    }
}

fn service(selector: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"selector": selector, "ports": [{"port": 80}]},
    })
}

fn pod(name: &str, colour: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "shop", "version": colour}},
    })
}

fn slice(endpoints: &[(&str, bool)]) -> Value {
    let endpoints = endpoints.iter().map(|(pod, ready)| {
        json!({"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}})
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "shop-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "shop"},
        },
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn blue() -> Value {
    json!({"app": "shop", "version": "blue"})
}

fn world(endpoints: &[(&str, bool)]) -> Fake {
    Fake::new()
        .kubernetes(service(blue()))
        .kubernetes(pod("blue-1", "blue"))
        .kubernetes(pod("green-1", "green"))
        .kubernetes(slice(endpoints))
}

fn selector(world: &Fake) -> Value {
    let service = world.cluster().object("Service", "shop", "shop").unwrap();
    service["spec"]["selector"].clone()
}

#[test]
fn it_switches_and_switches_back_and_keeps_what_is_not_its_own() {
    let mut world = world(&[("blue-1", true)]);
    let snapshot = world
        .run(|| PLUGIN.snapshot(&router_call(), &target()))
        .unwrap();
    world
        .run(|| PLUGIN.set(&router_call(), &target(), &split(WHOLE)))
        .unwrap();
    assert_eq!(selector(&world), json!({"app": "shop", "version": "green"}));
    world
        .run(|| PLUGIN.restore(&router_call(), &target(), &snapshot.to_string()))
        .unwrap();
    assert_eq!(selector(&world), blue());
    let service = world.cluster().object("Service", "shop", "shop").unwrap();
    assert_eq!(service["spec"]["ports"], json!([{"port": 80}]));
}

#[test]
fn labels_that_the_other_side_lacks_are_taken_off() {
    let mut world = Fake::new().kubernetes(service(json!({"app": "shop", "old": "yes"})));
    world
        .run(|| PLUGIN.set(&router_call(), &target(), &split(WHOLE)))
        .unwrap();
    assert_eq!(selector(&world), json!({"app": "shop", "version": "green"}));
}

#[test]
fn traffic_is_settled_when_only_pods_of_the_chosen_version_serve() {
    let cases: [(&[(&str, bool)], bool); 4] = [
        (&[("blue-1", true)], true),
        (&[("blue-1", true), ("green-1", false)], true),
        (&[("blue-1", true), ("green-1", true)], false),
        (&[], false),
    ];
    for (endpoints, settled) in cases {
        let mut world = world(endpoints);
        let reading = world
            .run(|| PLUGIN.read(&router_call(), &target()))
            .unwrap();
        assert_eq!(reading.settled, settled, "{endpoints:?}");
        assert_eq!(reading.desired.candidate_weight, 0);
        assert_eq!(reading.accepted.is_some(), settled);
    }
}

#[test]
fn a_selection_that_is_neither_version_is_no_reading() {
    let mut world = Fake::new().kubernetes(service(json!({"app": "other"})));
    let reading = world.run(|| PLUGIN.read(&router_call(), &target()));
    assert!(
        matches!(reading, Err(Error::Retryable { .. })),
        "{reading:?}"
    );
}

#[test]
fn shares_headers_and_copies_are_refused() {
    let header = phasegate_plugin::Pair::new("x-canary", "yes");
    let refused = [
        split(5_000),
        Split {
            headers: vec![header],
            ..split(0)
        },
        Split {
            mirror_weight: 100,
            ..split(0)
        },
    ];
    for asked in refused {
        let mut world = world(&[("blue-1", true)]);
        let answer = world.run(|| PLUGIN.set(&router_call(), &target(), &asked));
        assert!(matches!(answer, Err(Error::Permanent(_))), "{answer:?}");
        assert_eq!(selector(&world), blue());
    }
}

#[test]
fn without_a_candidate_there_is_nothing_to_switch_to() {
    let mut world = world(&[("blue-1", true)]);
    let plain = call("service-selector", json!({}));
    let answer = world.run(|| PLUGIN.set(&plain, &target(), &split(WHOLE)));
    assert!(matches!(answer, Err(Error::Permanent(_))), "{answer:?}");
}
