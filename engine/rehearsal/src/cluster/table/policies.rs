//! The columns of what keeps the number of pods and of what shares traffic.

use serde_json::{Value, json};

use super::{AGE, Column};
use crate::cluster::json::{at, int, list, text};
use crate::cluster::kinds::Kind;

pub(super) fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::HorizontalPodAutoscaler => &[
            ("Reference", "string", false),
            ("Targets", "string", false),
            ("MinPods", "string", false),
            ("MaxPods", "string", false),
            ("Replicas", "string", false),
            AGE,
        ],
        Kind::PodDisruptionBudget => &[
            ("Min Available", "string", false),
            ("Max Unavailable", "string", false),
            ("Allowed Disruptions", "integer", false),
            AGE,
        ],
        Kind::HttpRoute => &[("Hostnames", "string", false), AGE],
        Kind::Ingress => &[("Class", "string", false), ("Hosts", "string", false), AGE],
        Kind::VirtualService => &[
            ("Gateways", "string", false),
            ("Hosts", "string", false),
            AGE,
        ],
        Kind::DestinationRule => &[("Host", "string", false), AGE],
        Kind::Gateway => &[
            ("Class", "string", false),
            ("Address", "string", false),
            ("Programmed", "string", false),
            AGE,
        ],
        _ => &[AGE],
    }
}

pub(super) fn cells(kind: Kind, name: Value, age: Value, object: &Value) -> Vec<Value> {
    let number = |path: &[&str]| json!(int(object, path).unwrap_or_default().to_string());
    let or_na = |path: &[&str]| match at(object, path) {
        Value::Null => json!("N/A"),
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    };
    let names = |path: &[&str]| {
        json!(match at(object, path) {
            Value::Null => String::new(),
            names => names.to_string(),
        })
    };
    match kind {
        Kind::HorizontalPodAutoscaler => {
            let target = |field: &str| text(object, &["spec", "scaleTargetRef", field]);
            vec![
                name,
                json!(format!("{}/{}", target("kind"), target("name"))),
                json!("<unknown>"),
                number(&["spec", "minReplicas"]),
                number(&["spec", "maxReplicas"]),
                number(&["status", "currentReplicas"]),
                age,
            ]
        }
        Kind::PodDisruptionBudget => vec![
            name,
            or_na(&["spec", "minAvailable"]),
            or_na(&["spec", "maxUnavailable"]),
            json!(int(object, &["status", "disruptionsAllowed"]).unwrap_or_default()),
            age,
        ],
        Kind::HttpRoute => vec![name, names(&["spec", "hostnames"]), age],
        Kind::VirtualService => {
            let gateways = names(&["spec", "gateways"]);
            vec![name, gateways, names(&["spec", "hosts"]), age]
        }
        Kind::DestinationRule => vec![name, json!(text(object, &["spec", "host"])), age],
        Kind::Ingress => {
            let class = match text(object, &["spec", "ingressClassName"]) {
                "" => "<none>",
                class => class,
            };
            let rules = list(object, &["spec", "rules"]).iter();
            let hosts = rules.map(|rule| text(rule, &["host"]));
            let hosts: Vec<&str> = hosts.filter(|host| !host.is_empty()).collect();
            let hosts = match hosts.join(",") {
                none if none.is_empty() => "*".to_owned(),
                hosts => hosts,
            };
            vec![name, json!(class), json!(hosts), age]
        }
        Kind::Gateway => {
            let programmed = list(object, &["status", "conditions"])
                .iter()
                .find(|condition| text(condition, &["type"]) == "Programmed")
                .map_or("", |condition| text(condition, &["status"]));
            let address = list(object, &["status", "addresses"])
                .first()
                .map_or("", |address| text(address, &["value"]));
            vec![
                name,
                json!(text(object, &["spec", "gatewayClassName"])),
                json!(address),
                json!(programmed),
                age,
            ]
        }
        _ => vec![name, age],
    }
}
