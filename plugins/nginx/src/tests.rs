use phasegate_plugin::testing::{Fake, call, router_target, split};
use phasegate_plugin::{Call, Error, Pair, Split};
use serde_json::{Value, json};

use super::PLUGIN;
use super::canary::{Notes, WHOLE};

fn router_call() -> Call {
    call("nginx", json!({}))
}

fn path(path: &str, service: &str) -> Value {
    json!({
        "path": path, "pathType": "Prefix",
        "backend": {"service": {"name": service, "port": {"number": 80}}},
    })
}

fn ingress(name: &str, paths: &[Value], annotations: Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": name, "namespace": "shop", "resourceVersion": "7", "annotations": annotations,
        },
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["shop.example"], "secretName": "shop"}],
            "rules": [
                {"host": "shop.example", "http": {"paths": paths}},
                {"host": "images.example", "http": {"paths": [path("/", "images")]}},
            ],
        },
    })
}

fn own() -> Value {
    let rewrite = json!({"nginx.ingress.kubernetes.io/proxy-body-size": "8m"});
    ingress(
        "shop",
        &[path("/", "shop"), path("/img", "images")],
        rewrite,
    )
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "shop-candidate", "namespace": "shop", "uid": "5e"},
    })
}

fn canary(world: &Fake) -> Option<Value> {
    let cluster = world.cluster();
    cluster.object("Ingress", "shop", "shop-candidate").cloned()
}

fn note<'a>(ingress: &'a Value, name: &str) -> &'a Value {
    let name = format!("nginx.ingress.kubernetes.io/{name}");
    &ingress["metadata"]["annotations"][name]
}

#[test]
fn a_canary_ingress_comes_and_goes_and_the_own_one_is_never_written() {
    let mut world = Fake::new().kubernetes(own()).kubernetes(service());
    let snapshot = world
        .run(|| PLUGIN.snapshot(&router_call(), &router_target()))
        .unwrap();
    for weight in [1_000, 2_500, WHOLE] {
        world
            .run(|| PLUGIN.set(&router_call(), &router_target(), &split(weight)))
            .unwrap();
        let reading = world
            .run(|| PLUGIN.read(&router_call(), &router_target()))
            .unwrap();
        assert_eq!(reading.desired.candidate_weight, weight);
        assert!(reading.settled && reading.accepted.is_none());
    }
    let made = canary(&world).unwrap();
    assert_eq!(note(&made, "canary"), "true");
    assert_eq!(note(&made, "canary-weight"), "100");
    // It goes with the candidate's Service, whatever becomes of the run.
    let owner =
        json!({"apiVersion": "v1", "kind": "Service", "name": "shop-candidate", "uid": "5e"});
    assert_eq!(made["metadata"]["ownerReferences"], json!([owner]));
    // Only what leads to stable, in the same class, without what the own Ingress says of its requests.
    assert_eq!(
        made["spec"],
        json!({
            "ingressClassName": "nginx",
            "rules": [{"host": "shop.example", "http": {"paths": [path("/", "shop-candidate")]}}],
        })
    );
    assert_eq!(note(&made, "proxy-body-size"), &Value::Null);
    world
        .run(|| PLUGIN.restore(&router_call(), &router_target(), &snapshot.to_string()))
        .unwrap();
    assert_eq!(canary(&world), None);
    assert_eq!(
        world.cluster().object("Ingress", "shop", "shop"),
        Some(&own())
    );
}

#[test]
fn nothing_for_the_candidate_is_no_canary_ingress() {
    let mut world = Fake::new().kubernetes(own()).kubernetes(service());
    for weight in [0, 5_000, 0, 0] {
        world
            .run(|| PLUGIN.set(&router_call(), &router_target(), &split(weight)))
            .unwrap();
        assert_eq!(canary(&world).is_some(), weight > 0);
    }
    let reading = world
        .run(|| PLUGIN.read(&router_call(), &router_target()))
        .unwrap();
    assert!(reading.settled);
    assert_eq!(reading.desired.candidate_weight, 0);
}

#[test]
fn a_canary_ingress_that_was_there_keeps_all_but_its_share() {
    let theirs = ingress(
        "shop-candidate",
        &[path("/", "shop-candidate")],
        json!({
            "nginx.ingress.kubernetes.io/canary": "true",
            "nginx.ingress.kubernetes.io/canary-weight": "0",
            "nginx.ingress.kubernetes.io/canary-by-cookie": "tester",
        }),
    );
    let mut world = Fake::new().kubernetes(own()).kubernetes(theirs.clone());
    let snapshot = world
        .run(|| PLUGIN.snapshot(&router_call(), &router_target()))
        .unwrap();
    let asked = Split {
        headers: vec![Pair::new("X-Canary", "yes")],
        ..split(1_050)
    };
    world
        .run(|| PLUGIN.set(&router_call(), &router_target(), &asked))
        .unwrap();
    let now = canary(&world).unwrap();
    let notes = ["canary-weight", "canary-weight-total", "canary-by-cookie"];
    assert_eq!(
        notes.map(|name| note(&now, name)),
        ["1050", "10000", "tester"]
    );
    assert_eq!(now["spec"], theirs["spec"]);
    let reading = world
        .run(|| PLUGIN.read(&router_call(), &router_target()))
        .unwrap();
    assert_eq!(reading.desired.candidate_weight, 1_050);
    assert_eq!(reading.desired.headers, asked.headers);
    world
        .run(|| PLUGIN.restore(&router_call(), &router_target(), &snapshot.to_string()))
        .unwrap();
    assert_eq!(canary(&world), Some(theirs));
}

#[test]
fn what_a_canary_ingress_cannot_do_is_refused() {
    let headers = |count: usize| vec![Pair::new("x-canary", "yes"); count];
    for (headers, mirror_weight) in [(headers(2), 0), (headers(0), 100)] {
        let asked = Split {
            headers,
            mirror_weight,
            ..split(0)
        };
        let refused = Notes::of(&asked);
        assert!(matches!(refused, Err(Error::Permanent(_))), "{refused:?}");
    }
    let features = PLUGIN.supports(&router_call()).unwrap();
    assert!(features.weights && features.header_match && !features.mirror);
}

#[test]
fn what_cannot_be_shared_is_found_before_anything_changes() {
    let elsewhere = ingress("shop", &[path("/", "other")], json!({}));
    let itself = ingress(
        "shop",
        &[path("/", "shop")],
        json!({"nginx.ingress.kubernetes.io/canary": "true"}),
    );
    let stranger = ingress("shop-candidate", &[path("/", "other")], json!({}));
    for objects in [vec![elsewhere], vec![itself], vec![own(), stranger]] {
        let mut world = Fake::new();
        for object in &objects {
            world = world.kubernetes(object.clone());
        }
        let answer = world.run(|| PLUGIN.snapshot(&router_call(), &router_target()));
        assert!(matches!(answer, Err(Error::Permanent(_))), "{answer:?}");
    }
}
