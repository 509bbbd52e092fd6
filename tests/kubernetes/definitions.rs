//! Routes are checked by the definitions of the modules that publish them, rules and all.

use serde_json::{Value, json};

use crate::space::Space;

fn route(weight: i64, filters: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{
                "filters": filters,
                "backendRefs": [
                    {"name": "shop", "port": 80, "weight": 100 - weight},
                    {"name": "shop-candidate", "port": 80, "weight": weight},
                ],
            }],
        },
    })
}

#[test]
fn a_route_of_the_gateway_is_taken_defaulted_and_refused_by_its_definition() {
    let space = Space::new("gateway");
    space.apply(&route(10, &json!([]))).unwrap();
    let taken = space.get(&["httproute/shop"]);
    let rule = &taken["spec"]["rules"][0];
    assert_eq!(rule["backendRefs"][1]["weight"], 10);
    assert_eq!(
        rule["matches"][0]["path"]["value"], "/",
        "defaulted: {taken}"
    );

    let refused = space.apply(&route(101, &json!([]))).unwrap_err();
    assert!(
        refused.contains("weight") && refused.contains("greater than or equal to 0"),
        "{refused}"
    );
    // Not by a type but by a rule of the definition.
    let redirect = json!([{"type": "RequestRedirect", "requestRedirect": {"hostname": "b.test"}}]);
    let refused = space.apply(&route(10, &redirect)).unwrap_err();
    assert!(
        refused.contains("must not be used together with backendRefs"),
        "{refused}"
    );
    assert_eq!(
        space.get(&["httproute/shop"])["spec"],
        taken["spec"],
        "what is refused changes nothing"
    );
}

#[test]
fn a_virtual_service_is_taken_and_refused_by_its_definition() {
    let space = Space::new("istio");
    let service = |weight: &Value| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "shop"},
            "spec": {
                "hosts": ["shop"],
                "http": [{"route": [{"destination": {"host": "shop", "subset": "stable"}, "weight": weight}]}],
            },
        })
    };
    space.apply(&service(&json!(100))).unwrap();
    let refused = space.apply(&service(&json!("all"))).unwrap_err();
    assert!(refused.contains("weight"), "{refused}");
    let subset = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "shop"},
        "spec": {"host": "shop", "subsets": [{"name": "stable", "labels": {"version": "1"}}]},
    });
    space.apply(&subset).unwrap();
}
