//! Services.

use serde_json::{Value, json};

use super::exchange::{Exchange, apply, delete, force, get, merge, post, strategic};

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

pub(super) fn table() -> Vec<Exchange> {
    let port = json!([{"port": 80}]);
    let front = |colour: &str| {
        service(
            "front",
            &json!({"selector": {"app": "shop", "colour": colour}}),
        )
    };
    vec![
        post(
            "made",
            "services",
            service(
                "front",
                &json!({"selector": {"app": "shop"}, "ports": port}),
            ),
        )
        .keep("front"),
        post(
            "without an address",
            "services",
            service(
                "headless",
                &json!({"clusterIP": "None", "selector": {"app": "shop"}, "ports": port}),
            ),
        ),
        post(
            "with names for ports",
            "services",
            service(
                "named",
                &json!({"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
            ),
        ),
        post(
            "without ports",
            "services",
            service("bare", &json!({"selector": {"app": "shop"}})),
        ),
        post(
            "two ports without names",
            "services",
            service("two", &json!({"ports": [{"port": 80}, {"port": 81}]})),
        ),
        post(
            "a port out of range",
            "services",
            service("range", &json!({"ports": [{"port": 70000}]})),
        ),
        post(
            "a type that is none",
            "services",
            service("kind", &json!({"type": "Teapot", "ports": port})),
        ),
        post(
            "a name that begins with a digit",
            "services",
            service("1st", &json!({"ports": port})),
        ),
        merge(
            "switched",
            "services/front?fieldManager=phasegate",
            json!({"spec": {"selector": {"colour": "blue"}}}),
        ),
        strategic(
            "switched with what was read before",
            "services/front",
            json!({"metadata": {"resourceVersion": "$front.version"}, "spec": {"selector": {"colour": "green"}}}),
        ),
        apply("applied at odds", "services/front", "team", front("green")),
        force("applied by force", "services/front", "team", front("green")),
        merge(
            "another address",
            "services/front",
            json!({"spec": {"clusterIP": "10.0.0.250"}}),
        ),
        get("read", "services/front").seen_as(|answer| answer.body["spec"]["selector"].clone()),
        delete("removed", "services/front", json!({})),
        get("read when it is gone", "services/front"),
    ]
}
