//! Stands in for the autoscaler's decision: it follows a load, and kwok's pods have none. What is decided is what the scenario
//! says that the metrics call for, kept within what the HorizontalPodAutoscaler on the cluster allows, and written as its
//! controller writes it: through the Scale of its target, as the controller's own account.

use serde_json::{Value, json};

use crate::space::Space;

/// Whom Kubernetes lets change the Scale of anything for autoscalers, and nothing else about it.
const CONTROLLER: &str = "--as=system:serviceaccount:kube-system:horizontal-pod-autoscaler";

/// What the autoscalers of a scenario want, and when, as deeds.
pub(super) fn deeds(scenario: &Value) -> Vec<Value> {
    let rules = scenario["cluster"]["autoscalers"].as_array();
    let deed = |rule: &Value, point: &Value| json!({"at": point[0], "do": {"autoscale": {"hpa": rule["hpa"], "wants": point[1]}}});
    let rules = rules.into_iter().flatten();
    rules
        .flat_map(|rule| {
            let points = rule["wants"].as_array().unwrap().iter();
            points.map(move |point| deed(rule, point))
        })
        .collect()
}

/// One look of the autoscaler, when its metrics call for so many pods.
pub(super) fn looks(space: &Space, hpa: &str, wants: i64) {
    let hpa = space.get(&["horizontalpodautoscaler", hpa]);
    let spec = &hpa["spec"];
    let target = &spec["scaleTargetRef"];
    assert_eq!(target["kind"], "Deployment");
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/{}/scale",
        space.name,
        target["name"].as_str().unwrap()
    );
    let mut scale: Value =
        serde_json::from_str(&space.kubectl(&["get", "--raw", &path, CONTROLLER])).unwrap();
    let current = scale["spec"]["replicas"].as_i64().unwrap();
    let (least, most) = (&spec["minReplicas"], &spec["maxReplicas"]);
    // As fast as it may unless told otherwise: twice as many at a time, or four more.
    let fastest = (2 * current).max(current + 4);
    let size = wants.clamp(least.as_i64().unwrap(), most.as_i64().unwrap());
    let size = size.min(fastest);
    // With none the autoscaler is off.
    if current == 0 || size == current {
        return;
    }
    scale["spec"]["replicas"] = size.into();
    let written = space.run(
        &["replace", "--raw", &path, CONTROLLER, "-f", "-"],
        Some(&scale),
    );
    written.unwrap();
}
