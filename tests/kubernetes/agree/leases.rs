//! Leases, by which an engine drives a run.

use serde_json::{Value, json};

use super::exchange::{Exchange, get, post, put, replace};

fn lease(spec: &Value) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "shop"}, "spec": spec})
}

fn held(by: &str, transitions: u32) -> Value {
    lease(&json!({
        "holderIdentity": by, "leaseDurationSeconds": 15, "leaseTransitions": transitions,
        "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z",
    }))
}

pub(super) fn table() -> Vec<Exchange> {
    let renewed = json!({"spec": {"renewTime": "2026-01-02T03:04:15.000000Z"}});
    let changed = |name, spec| replace(name, "leases/shop", "back", json!({"spec": spec}));
    let path = "leases/shop?fieldManager=phasegate";
    vec![
        get("nobody has it", "leases/shop"),
        post("taken", "leases?fieldManager=phasegate", held("one", 1)).keep("first"),
        post("taken at the same time", "leases", held("two", 1)),
        replace("renewed", path, "first", renewed.clone()).keep("renewed"),
        replace(
            "renewed by who read it before",
            path,
            "first",
            renewed.clone(),
        ),
        replace(
            "taken over",
            path,
            "renewed",
            json!({"spec": {"holderIdentity": "two", "leaseTransitions": 2}}),
        )
        .keep("second"),
        replace("renewed by who lost it", path, "renewed", renewed.clone()),
        replace(
            "given back",
            path,
            "second",
            json!({"spec": {"holderIdentity": ""}}),
        )
        .keep("back"),
        get("read", "leases/shop"),
        put(
            "put whatever it was",
            "leases/shop",
            lease(&json!({"holderIdentity": "three"})),
        ),
        changed("held for no time", json!({"leaseDurationSeconds": 0})),
        changed(
            "held for less than no time",
            json!({"leaseDurationSeconds": -1, "leaseTransitions": -1}),
        ),
        changed("renewed at no time", json!({"renewTime": "yesterday"})),
        changed(
            "renewed at a time without its fraction",
            json!({"renewTime": "2026-01-02T03:04:05Z"}),
        ),
        changed("counted in words", json!({"leaseTransitions": "two"})),
    ]
}
