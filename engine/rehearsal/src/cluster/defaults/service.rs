//! Defaults and validation of Services.

use serde_json::{Value, json};

use crate::cluster::ids::Ids;
use crate::cluster::json::{at, list, list_mut, set, set_default, text};
use crate::cluster::status::Cause;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const HIGHEST_PORT: i64 = 65_535;
const NAME_LIMIT: usize = 63;

pub(super) fn fill(object: &mut Value, ids: &mut Ids) {
    set_default(object, &["spec", "type"], "ClusterIP");
    set_default(object, &["spec", "sessionAffinity"], "None");
    if text(object, &["spec", "type"]) != "ExternalName" {
        if text(object, &["spec", "clusterIP"]).is_empty() {
            set(object, &["spec", "clusterIP"], ids.cluster_ip());
        }
        let address = at(object, &["spec", "clusterIP"]).clone();
        set_default(object, &["spec", "clusterIPs"], json!([address]));
        set_default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
        set_default(object, &["spec", "ipFamilyPolicy"], "SingleStack");
        set_default(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
    for port in list_mut(object, &["spec", "ports"]) {
        set_default(port, &["protocol"], "TCP");
        let number = at(port, &["port"]).clone();
        set_default(port, &["targetPort"], number);
    }
    set_default(object, &["status", "loadBalancer"], json!({}));
}

pub(super) fn check(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let kind = text(new, &["spec", "type"]);
    let name = text(new, &["metadata", "name"]);
    if name.len() > NAME_LIMIT || name.contains('.') {
        let why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', and be at most 63 characters";
        causes.push(Cause::invalid("metadata.name", &Value::from(name), why));
    }
    let ports = list(new, &["spec", "ports"]);
    let headless = text(new, &["spec", "clusterIP"]) == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && text(port, &["name"]).is_empty() {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        }
        for field in ["port", "targetPort"] {
            let value = at(port, &[field]);
            let fits = |number| (1..=HIGHEST_PORT).contains(&number);
            if !value.as_i64().is_none_or(fits) {
                let why = "must be between 1 and 65535, inclusive";
                let field = format!("spec.ports[{index}].{field}");
                causes.push(Cause::invalid(field, value, why));
            }
        }
    }
    if !TYPES.contains(&kind) {
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: "spec.type".to_owned(),
            message: format!(
                "Unsupported value: \"{kind}\": supported values: \"{}\"",
                TYPES.join("\", \"")
            ),
        });
    }
    let before = text(old, &["spec", "clusterIP"]);
    let after = at(new, &["spec", "clusterIP"]);
    if !before.is_empty() && before != "None" && after.as_str() != Some(before) {
        let why = "may not change once set";
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!([after]), why));
    }
}
