//! What can be counted from outside.

use std::collections::BTreeMap;

use serde_json::Value;

use super::journal::changes;
use crate::cluster::{LoggedRequest, Observation};
use crate::web::Exchange;

/// The fewest ready endpoints of the Service at any time.
#[must_use]
pub fn fewest_ready(history: &[Observation], namespace: &str, service: &str) -> Option<usize> {
    let of = |seen: &Observation| {
        let service = seen
            .services
            .iter()
            .find(|s| s.namespace == namespace && s.name == service)?;
        let endpoints = service.endpoints.values().sum::<usize>();
        // A pod that has gone serves nobody, whatever the data plane still believes.
        Some(endpoints.saturating_sub(service.gone))
    };
    history.iter().filter_map(of).min()
}

/// What people were told, in a line each: the notices that the webhook posted, and what became of them.
#[must_use]
pub fn notices(exchanges: &[Exchange]) -> Vec<String> {
    let posts = exchanges
        .iter()
        .filter(|exchange| exchange.method == "POST");
    let told = posts.filter_map(|exchange| {
        let body: Value = serde_json::from_str(&exchange.body).ok()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let host = exchange.url.split('/').nth(2).unwrap_or_default();
        let answer = exchange
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        Some(format!(
            "to {host} ({answer}), {}: {} - {}",
            text("event"),
            text("title"),
            text("text").replace('\n', " / ")
        ))
    });
    told.collect()
}

/// What should have been told, and was not taken where it was sent.
pub(super) fn untold(expected: &[String], exchanges: &[Exchange]) -> Vec<String> {
    let fault = |part: &String| {
        let holds = |exchange: &&Exchange| {
            exchange.method == "POST" && exchange.body.contains(part.as_str())
        };
        let answers = exchanges
            .iter()
            .filter(holds)
            .map(|exchange| exchange.status);
        let answers: Vec<Option<u16>> = answers.collect();
        let taken = |answer: &Option<u16>| matches!(answer, Some(200..300));
        match answers.len() {
            _ if answers.iter().any(taken) => None,
            0 => Some(format!("no notice holds `{part}`")),
            tries => Some(format!(
                "a notice with `{part}` was sent, {tries} times in all, and never taken"
            )),
        }
    };
    expected.iter().filter_map(fault).collect()
}

/// Counts by kind, as people read them.
pub(super) fn in_words(counts: &BTreeMap<String, u32>) -> String {
    let counts = counts
        .iter()
        .map(|(kind, count)| format!("{count} to {kind}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}

/// How many requests of the engine changed an object, by kind.
#[must_use]
pub fn changes_by_kind(requests: &[LoggedRequest]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for request in changes(requests) {
        let plural = request
            .path
            .split('?')
            .next()
            .unwrap_or_default()
            .split('/')
            .rev()
            .find(|part| PLURALS.contains(part));
        let count: &mut u32 = counts
            .entry(plural.unwrap_or("other").to_owned())
            .or_default();
        *count = count.saturating_add(1);
    }
    counts
}

const PLURALS: [&str; 17] = [
    "deployments",
    "configmaps",
    "secrets",
    "podtemplates",
    "services",
    "pods",
    "jobs",
    "replicasets",
    "events",
    "httproutes",
    "gateways",
    "ingresses",
    "virtualservices",
    "destinationrules",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "networkpolicies",
];
