use phasegate_plugin::testing::{Fake, call, router_target, split};
use phasegate_plugin::{Call, Error, Pair, Split};
use serde_json::{Value, json};

use super::PLUGIN;
use super::hosts::Sides;
use super::routes::{WHOLE, read, share};

const SIDES: Sides<'static> = Sides {
    namespace: "shop",
    stable: "shop",
    candidate: "shop-candidate",
};

fn router_call() -> Call {
    call("istio", json!({}))
}

fn to(host: &str) -> Value {
    json!({"destination": {"host": host, "port": {"number": 80}}})
}

fn plain() -> Vec<Value> {
    vec![json!({"match": [{"uri": {"prefix": "/"}}], "route": [to("shop")]})]
}

fn service(http: &[Value], status: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": "shop", "generation": 3, "resourceVersion": "9"},
        "spec": {"hosts": ["shop.example"], "gateways": ["edge"], "http": http},
        "status": status,
    })
}

fn policy(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    })
}

fn found(world: &Fake) -> Value {
    let cluster = world.cluster();
    cluster
        .object("VirtualService", "shop", "shop")
        .unwrap()
        .clone()
}

#[test]
fn weights_are_divided_and_put_back() {
    let before = service(&plain(), json!({}));
    let mut world = Fake::new().kubernetes(before.clone());
    let snapshot = world
        .run(|| PLUGIN.snapshot(&router_call(), &router_target()))
        .unwrap();
    world
        .run(|| PLUGIN.set(&router_call(), &router_target(), &split(2_500)))
        .unwrap();
    assert_eq!(
        found(&world)["spec"]["http"][0]["route"],
        json!([
            {"destination": {"host": "shop", "port": {"number": 80}}, "weight": 75},
            {"destination": {"host": "shop-candidate", "port": {"number": 80}}, "weight": 25},
        ])
    );
    let reading = world
        .run(|| PLUGIN.read(&router_call(), &router_target()))
        .unwrap();
    assert_eq!(reading.desired.candidate_weight, 2_500);
    world
        .run(|| PLUGIN.restore(&router_call(), &router_target(), &snapshot.to_string()))
        .unwrap();
    assert_eq!(found(&world), before);
}

#[test]
fn setting_again_replaces_what_was_set_before() {
    let once = share(&plain(), &SIDES, &split(1_000)).unwrap();
    for weight in [0, 1, 5_000, 9_999, WHOLE] {
        let again = share(&once, &SIDES, &split(weight)).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0]["route"].as_array().unwrap().len(), 2);
        assert_eq!(read(&again, &SIDES).unwrap().candidate_weight, weight);
    }
}

#[test]
fn a_share_that_is_no_percentage_is_counted_to_ten_thousand() {
    let result = share(&plain(), &SIDES, &split(50)).unwrap();
    let weights = [
        &result[0]["route"][0]["weight"],
        &result[0]["route"][1]["weight"],
    ];
    assert_eq!(weights, [9950, 50]);
}

#[test]
fn other_routes_and_the_part_of_other_destinations_are_kept() {
    let redirect = json!({"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}});
    let images = json!({"route": [to("images")], "timeout": "3s"});
    let mut stable = to("shop");
    stable["weight"] = json!(75);
    let mut legacy = to("legacy");
    legacy["weight"] = json!(25);
    let shared = json!({"route": [stable, legacy], "retries": {"attempts": 2}});
    let http = [redirect.clone(), images.clone(), shared];
    let result = share(&http, &SIDES, &split(5_000)).unwrap();
    assert_eq!(result[..2], [redirect, images]);
    assert_eq!(result[2]["retries"], json!({"attempts": 2}));
    // Three quarters of the whole for the two, as before: 5000 + 5000 beside 10000 / 3.
    let route = result[2]["route"].as_array().unwrap();
    let weights: Vec<_> = route.iter().map(|to| &to["weight"]).collect();
    assert_eq!(weights, [5000, 5000, 3333]);
    assert_eq!(route[2]["destination"], legacy["destination"]);
}

#[test]
fn a_qualified_host_stays_one_and_a_subset_stays_with_stable() {
    let qualified = json!({"route": [{
        "destination": {"host": "shop.shop.svc.cluster.local", "subset": "v1"},
    }]});
    let result = share(&[qualified], &SIDES, &split(1_000)).unwrap();
    assert_eq!(
        result[0]["route"],
        json!([
            {"destination": {"host": "shop.shop.svc.cluster.local", "subset": "v1"}, "weight": 90},
            {"destination": {"host": "shop-candidate.shop.svc.cluster.local"}, "weight": 10},
        ])
    );
    for host in [
        "shop.other",
        "shopping",
        "shop.shop.example",
        "shop.shopper",
    ] {
        let elsewhere = [json!({"route": [to(host)]})];
        assert!(read(&elsewhere, &SIDES).is_err(), "{host}");
    }
}

#[test]
fn headers_become_a_route_before_the_shared_one() {
    let asked = Split {
        headers: vec![Pair::new("X-Canary", "yes")],
        ..split(0)
    };
    let result = share(&plain(), &SIDES, &asked).unwrap();
    assert_eq!(result.len(), 2);
    assert_eq!(
        result[0]["match"],
        json!([{"uri": {"prefix": "/"}, "headers": {"x-canary": {"exact": "yes"}}}])
    );
    let destination = &result[0]["route"][0]["destination"];
    assert_eq!(destination["host"], "shop-candidate");
    let found = read(&result, &SIDES).unwrap();
    assert_eq!(found.candidate_weight, 0);
    assert_eq!(found.headers, [Pair::new("x-canary", "yes")]);
    assert_eq!(share(&result, &SIDES, &split(0)).unwrap().len(), 1);
}

#[test]
fn copies_come_and_go_and_those_to_others_stay() {
    let mut audited = plain();
    let audit = json!({"destination": {"host": "audit"}, "percentage": {"value": 100.0}});
    audited[0]["mirrors"] = json!([audit]);
    let asked = Split {
        mirror_weight: 2_050,
        ..split(0)
    };
    let result = share(&audited, &SIDES, &asked).unwrap();
    let ours = json!({
        "destination": {"host": "shop-candidate", "port": {"number": 80}},
        "percentage": {"value": 20.5},
    });
    assert_eq!(result[0]["mirrors"], json!([audit, ours]));
    assert_eq!(read(&result, &SIDES).unwrap().mirror_weight, 2_050);
    let without = share(&result, &SIDES, &split(0)).unwrap();
    assert_eq!(without[0]["mirrors"], json!([audit]));
    let mut old = plain();
    old[0]["mirror"] = json!({"host": "audit"});
    let refused = share(&old, &SIDES, &asked);
    assert!(matches!(refused, Err(Error::Permanent(_))), "{refused:?}");
}

#[test]
fn it_is_settled_where_nothing_is_said_and_else_when_the_present_generation_is() {
    let said = |status: &str, observed: Value| json!({"conditions": [{"type": "Reconciled", "status": status}], "observedGeneration": observed});
    for (status, settled, accepted) in [
        (json!({}), true, false),
        (said("True", json!("3")), true, true),
        (said("True", json!(3)), true, true),
        (said("True", json!("2")), false, false),
        (said("Unknown", json!("3")), false, false),
    ] {
        let mut world = Fake::new().kubernetes(service(&plain(), status.clone()));
        let reading = world
            .run(|| PLUGIN.read(&router_call(), &router_target()))
            .unwrap();
        let found = (reading.settled, reading.accepted.is_some());
        assert_eq!(found, (settled, accepted), "{status}");
    }
}

#[test]
fn what_cannot_be_shared_is_found_before_anything_changes() {
    let elsewhere = service(&[json!({"route": [to("other")]})], json!({}));
    let mut world = Fake::new().kubernetes(elsewhere);
    let answer = world.run(|| PLUGIN.snapshot(&router_call(), &router_target()));
    assert!(matches!(answer, Err(Error::Permanent(_))), "{answer:?}");
    let subset =
        |name: &str| json!({"destination": {"host": "shop", "subset": name}, "weight": 50});
    let several = [json!({"route": [subset("v1"), subset("v2")]})];
    let refused = share(&several, &SIDES, &split(1));
    assert!(matches!(refused, Err(Error::Permanent(_))), "{refused:?}");
}

#[test]
fn a_candidate_is_talked_to_as_stable_is_or_gets_no_traffic() {
    let tls = json!({"tls": {"mode": "ISTIO_MUTUAL"}});
    let of_stable = policy("shop", json!({"host": "shop", "trafficPolicy": tls}));
    let host = "shop-candidate.shop.svc.cluster.local";
    let of_candidate = policy("next", json!({"host": host, "trafficPolicy": tls}));
    let wildcard = policy("all", json!({"host": "*.shop.svc.cluster.local"}));
    let silent = policy("shop", json!({"host": "shop", "subsets": [{"name": "v1"}]}));
    let unused = json!({"host": "shop", "subsets": [{"name": "v0", "trafficPolicy": tls}]});
    for (rules, fine) in [
        (vec![], true),
        (vec![of_stable.clone()], false),
        (vec![of_stable.clone(), of_candidate], true),
        (vec![of_stable, wildcard], true),
        (vec![silent], true),
        (vec![policy("shop", unused)], true),
    ] {
        let mut world = Fake::new().kubernetes(service(&plain(), json!({})));
        for rule in &rules {
            world = world.kubernetes(rule.clone());
        }
        let answer = world.run(|| PLUGIN.snapshot(&router_call(), &router_target()));
        assert_eq!(answer.is_ok(), fine, "{rules:?}: {answer:?}");
    }
}
