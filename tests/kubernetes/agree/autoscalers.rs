//! HorizontalPodAutoscalers as objects.

use serde_json::{Value, json};

use super::exchange::{Exchange, delete, get, merge, post};

fn autoscaler(name: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
    });
    let more = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(more);
    object
}

pub(super) fn table() -> Vec<Exchange> {
    let path = "horizontalpodautoscalers";
    let trial = format!("{path}?dryRun=All");
    let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]);
    vec![
        post(
            "made",
            path,
            autoscaler("shop", &json!({"maxReplicas": 5, "metrics": cpu})),
        ),
        post(
            "without metrics",
            &trial,
            autoscaler("other", &json!({"maxReplicas": 5})),
        ),
        post("without a maximum", &trial, autoscaler("other", &json!({}))),
        post(
            "more at least than at most",
            &trial,
            autoscaler("shop", &json!({"minReplicas": 3, "maxReplicas": 2})),
        ),
        merge(
            "bounded",
            "horizontalpodautoscalers/shop?fieldManager=phasegate",
            json!({"spec": {"minReplicas": 2}}),
        )
        .seen_as(|answer| answer.body["spec"].clone()),
        merge(
            "bounded below nothing",
            "horizontalpodautoscalers/shop",
            json!({"spec": {"minReplicas": -1}}),
        ),
        delete("removed", "horizontalpodautoscalers/shop", json!({})),
        get("gone", "horizontalpodautoscalers/shop"),
    ]
}
