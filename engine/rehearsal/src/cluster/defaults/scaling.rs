//! Defaults and validation of what keeps the number of pods: autoscalers and disruption budgets.

use serde_json::{Value, json};

use crate::cluster::json::{at, int, list, set, set_default, text};
use crate::cluster::status::Cause;

/// What `autoscaling/v2` measures where nothing is said.
const CPU_TARGET: i64 = 80;

pub(super) fn fill_autoscaler(object: &mut Value) {
    set_default(object, &["spec", "minReplicas"], 1);
    if list(object, &["spec", "metrics"]).is_empty() {
        let target = json!({"type": "Utilization", "averageUtilization": CPU_TARGET});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        set(object, &["spec", "metrics"], json!([metric]));
    }
}

pub(super) fn check_autoscaler(new: &Value, causes: &mut Vec<Cause>) {
    for field in ["kind", "name"] {
        if text(new, &["spec", "scaleTargetRef", field]).is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    let least = int(new, &["spec", "minReplicas"]).unwrap_or(1);
    if least < 1 {
        let why = "must be greater than or equal to 1";
        causes.push(Cause::invalid("spec.minReplicas", &json!(least), why));
    }
    let most = int(new, &["spec", "maxReplicas"]).unwrap_or_default();
    if most < 1 {
        let why = "must be set and greater than 0";
        causes.push(Cause::required("spec.maxReplicas", why));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &json!(most), why));
    }
}

pub(super) fn check_budget(new: &Value, causes: &mut Vec<Cause>) {
    let given = |field: &str| !at(new, &["spec", field]).is_null();
    if given("minAvailable") && given("maxUnavailable") {
        let why = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::invalid("spec", at(new, &["spec"]), why));
    }
}
