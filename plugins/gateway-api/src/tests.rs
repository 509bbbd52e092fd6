use phasegate_plugin::testing::{Fake, call, router_target, split};
use phasegate_plugin::{Call, Error, Pair, Split};
use serde_json::{Value, json};

use super::PLUGIN;
use super::rules::{Sides, WHOLE, read, share};

const SIDES: Sides<'static> = Sides {
    stable: "shop",
    candidate: "shop-candidate",
};

fn router_call() -> Call {
    call("gateway-api", json!({}))
}

fn plain() -> Vec<Value> {
    vec![json!({
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"name": "shop", "port": 80}],
    })]
}

fn route(rules: &[Value], observed: u64) -> Value {
    let condition =
        |name: &str| json!({"type": name, "status": "True", "observedGeneration": observed});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop", "generation": 3, "resourceVersion": "9"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": rules},
        "status": {"parents": [{
            "parentRef": {"name": "edge"},
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        }]},
    })
}

fn rules(world: &Fake) -> Value {
    let route = world.cluster().object("HTTPRoute", "shop", "shop").unwrap();
    route["spec"]["rules"].clone()
}

#[test]
fn a_route_that_no_gateway_has_taken_is_refused_before_anything_changes() {
    let mut orphan = route(&plain(), 3);
    orphan["status"] = json!({});
    let mut world = Fake::new().kubernetes(orphan);
    let refused = world.run(|| PLUGIN.snapshot(&router_call(), &router_target()));
    let why = format!("{:?}", refused.unwrap_err());
    assert!(why.starts_with("Retryable"), "{why}");
    assert!(why.contains("no gateway has taken HTTPRoute shop"), "{why}");
}

#[test]
fn weights_are_divided_and_put_back() {
    let mut world = Fake::new().kubernetes(route(&plain(), 3));
    let snapshot = world
        .run(|| PLUGIN.snapshot(&router_call(), &router_target()))
        .unwrap();
    world
        .run(|| PLUGIN.set(&router_call(), &router_target(), &split(2_500)))
        .unwrap();
    assert_eq!(
        rules(&world)[0]["backendRefs"],
        json!([
            {"name": "shop", "port": 80, "weight": 7500},
            {"name": "shop-candidate", "port": 80, "weight": 2500},
        ])
    );
    let reading = world
        .run(|| PLUGIN.read(&router_call(), &router_target()))
        .unwrap();
    assert_eq!(reading.desired.candidate_weight, 2_500);
    world
        .run(|| PLUGIN.restore(&router_call(), &router_target(), &snapshot.to_string()))
        .unwrap();
    assert_eq!(rules(&world), json!(plain()));
}

#[test]
fn setting_again_replaces_what_was_set_before() {
    let once = share(&plain(), &SIDES, &split(1_000)).unwrap();
    for weight in [0, 1, 5_000, WHOLE] {
        let again = share(&once, &SIDES, &split(weight)).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0]["backendRefs"].as_array().unwrap().len(), 2);
        assert_eq!(read(&again, &SIDES).unwrap().candidate_weight, weight);
    }
}

#[test]
fn other_rules_and_the_part_of_other_backends_are_kept() {
    let other = json!({"backendRefs": [{"name": "images", "port": 80}]});
    let shared = json!({"backendRefs": [
        {"name": "shop", "port": 80, "weight": 3}, {"name": "legacy", "port": 80, "weight": 1},
    ]});
    let result = share(&[other.clone(), shared], &SIDES, &split(5_000)).unwrap();
    assert_eq!(result[0], other);
    // Three quarters of the whole for the two, as before: 5000 + 5000 beside 10000 / 3.
    assert_eq!(
        result[1]["backendRefs"],
        json!([
            {"name": "shop", "port": 80, "weight": 5000},
            {"name": "shop-candidate", "port": 80, "weight": 5000},
            {"name": "legacy", "port": 80, "weight": 3333},
        ])
    );
}

#[test]
fn headers_become_a_rule_before_the_shared_one() {
    let asked = Split {
        headers: vec![Pair::new("x-canary", "yes")],
        ..split(0)
    };
    let result = share(&plain(), &SIDES, &asked).unwrap();
    assert_eq!(result.len(), 2);
    assert_eq!(
        result[0]["matches"],
        json!([{
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "Exact", "name": "x-canary", "value": "yes"}],
        }])
    );
    assert_eq!(
        result[0]["backendRefs"],
        json!([{"name": "shop-candidate", "port": 80, "weight": 1}])
    );
    let found = read(&result, &SIDES).unwrap();
    assert_eq!((found.candidate_weight, found.headers.len()), (0, 1));
    assert_eq!(share(&result, &SIDES, &split(0)).unwrap().len(), 1);
}

#[test]
fn copies_are_a_filter_that_comes_and_goes() {
    let asked = Split {
        mirror_weight: 2_000,
        ..split(0)
    };
    let result = share(&plain(), &SIDES, &asked).unwrap();
    assert_eq!(
        result[0]["filters"],
        json!([{"type": "RequestMirror", "requestMirror": {
            "backendRef": {"name": "shop-candidate", "port": 80},
            "fraction": {"numerator": 2000, "denominator": 10000},
        }}])
    );
    assert_eq!(read(&result, &SIDES).unwrap().mirror_weight, 2_000);
    let without = share(&result, &SIDES, &split(0)).unwrap();
    assert_eq!(without[0].get("filters"), None);
}

#[test]
fn a_route_is_settled_when_its_gateways_took_the_present_generation() {
    for (observed, settled) in [(2, false), (3, true)] {
        let mut world = Fake::new().kubernetes(route(&plain(), observed));
        let reading = world
            .run(|| PLUGIN.read(&router_call(), &router_target()))
            .unwrap();
        assert_eq!(reading.settled, settled);
    }
    let mut nobody = route(&plain(), 3);
    nobody["status"] = json!({});
    let mut world = Fake::new().kubernetes(nobody);
    assert!(
        !world
            .run(|| PLUGIN.read(&router_call(), &router_target()))
            .unwrap()
            .settled
    );
}

#[test]
fn a_route_that_leads_elsewhere_is_found_before_anything_changes() {
    let elsewhere = [json!({"backendRefs": [{"name": "other", "port": 80}]})];
    let mut world = Fake::new().kubernetes(route(&elsewhere, 3));
    let answer = world.run(|| PLUGIN.snapshot(&router_call(), &router_target()));
    assert!(matches!(answer, Err(Error::Permanent(_))), "{answer:?}");
}
