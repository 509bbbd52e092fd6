//! What an Ingress says, and what ingress-nginx makes of the canaries beside it.

use std::sync::Arc;

use serde_json::Value;

use super::{Backend, Match, Path, Rule, Table};
use crate::cluster::json::{at, list, text};
use crate::cluster::store::Key;

const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
/// What a canary's weight is a part of, where it doesn't say.
const USUAL_TOTAL: u64 = 100;
/// What a canary's header must be, where it doesn't say.
const USUAL_VALUE: &str = "always";

/// Whether an Ingress only takes a part of another one's requests.
pub(in crate::cluster) fn is_canary(ingress: &Value) -> bool {
    text(ingress, &["metadata", "annotations", CANARY]) == "true"
}

/// A canary's annotation, by the end of its name.
fn note<'a>(canary: &'a Value, end: &str) -> Option<&'a str> {
    at(canary, &["metadata", "annotations"])
        .get(format!("{CANARY}-{end}"))?
        .as_str()
}

impl Table {
    /// Reads the spec of an Ingress, and those of the canaries in its namespace.
    pub(in crate::cluster) fn of_ingress(
        ingress: &Value,
        canaries: &[Arc<Value>],
        exists: impl Fn(&Key) -> bool,
    ) -> Self {
        let namespace = text(ingress, &["metadata", "namespace"]);
        let backend = |backend: &Value, weight: u64| {
            let name = text(backend, &["service", "name"]);
            Backend {
                service: name.to_owned(),
                weight,
                valid: exists(&Key::new(namespace, name)),
            }
        };
        let mut table = Self::default();
        for rule in list(ingress, &["spec", "rules"]) {
            let host = text(rule, &["host"]);
            table.hostnames.push(match host {
                "" => "*".to_owned(),
                host => host.to_owned(),
            });
            for path in list(rule, &["http", "paths"]) {
                let own = at(path, &["backend"]);
                let found = canaries.iter().find_map(|canary| {
                    let other = same_path(canary, host, path)?;
                    Some((canary, at(other, &["backend"])))
                });
                let Some((canary, other)) = found else {
                    table.rules.push(rule_of(path, vec![backend(own, 1)], &[]));
                    continue;
                };
                if let Some(name) = note(canary, "by-header") {
                    let value = note(canary, "by-header-value").unwrap_or(USUAL_VALUE);
                    let header = [(name.to_owned(), value.to_owned())];
                    let to = vec![backend(other, 1)];
                    table.rules.push(rule_of(path, to, &header));
                }
                let number = |end: &str| note(canary, end).and_then(|text| text.parse().ok());
                let total = number("weight-total").unwrap_or(USUAL_TOTAL);
                let weight = number("weight").unwrap_or_default().min(total);
                let shared = vec![backend(own, total - weight), backend(other, weight)];
                table.rules.push(rule_of(path, shared, &[]));
            }
        }
        let rest = at(ingress, &["spec", "defaultBackend"]);
        if !rest.is_null() {
            let to = vec![backend(rest, 1)];
            table.rules.push(rule_of(&Value::Null, to, &[]));
        }
        table
    }
}

/// The path of a canary that is for the same requests.
fn same_path<'a>(canary: &'a Value, host: &str, path: &Value) -> Option<&'a Value> {
    list(canary, &["spec", "rules"])
        .iter()
        .filter(|rule| text(rule, &["host"]) == host)
        .flat_map(|rule| list(rule, &["http", "paths"]))
        .find(|other| {
            ["path", "pathType"]
                .iter()
                .all(|field| at(other, &[field]) == at(path, &[field]))
        })
}

fn rule_of(path: &Value, backends: Vec<Backend>, headers: &[(String, String)]) -> Rule {
    let prefix = match text(path, &["path"]) {
        "" => "/",
        prefix => prefix,
    };
    Rule {
        matches: vec![Match {
            path: match text(path, &["pathType"]) {
                "Exact" => Path::Exact(prefix.to_owned()),
                _ => Path::Elements(prefix.to_owned()),
            },
            headers: headers.to_vec(),
            ..Match::default()
        }],
        backends,
        mirrors: Vec::new(),
    }
}
