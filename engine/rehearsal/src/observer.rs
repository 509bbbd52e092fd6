//! The observer: judges a rehearsal from outside. It sees what the cluster shows and logs, and what the
//! network carried; of the engine it sees only the journal, to hold it against the cluster's log.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use serde_json::Value;

use crate::cluster::{Cluster, Kind, LoggedRequest, MAX_HISTORY, Observation};
use crate::scenario::Expect;
use crate::story::{Source, Story};
use crate::web::{Exchange, MAX_EXCHANGES};

/// What others than an engine call themselves. Whatever else changes something is held to be an engine.
const OTHERS: [&str; 2] = ["somebody/", "kubectl"];

/// The target's objects at one time, as far as a rollback must bring them back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    spec: Value,
    labels: Value,
    annotations: BTreeMap<String, String>,
}

impl Snapshot {
    /// The Deployment as it is now.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, deployment: &str) -> Self {
        let Some(object) = cluster.get(Kind::Deployment, namespace, deployment) else {
            return Self::default();
        };
        let annotations = object
            .pointer("/metadata/annotations")
            .and_then(Value::as_object);
        Self {
            spec: object.get("spec").cloned().unwrap_or_default(),
            labels: object
                .pointer("/metadata/labels")
                .cloned()
                .unwrap_or_default(),
            // The revision counts rollouts, those back among them.
            annotations: annotations
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "deployment.kubernetes.io/revision")
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }

    fn image(&self) -> Option<&str> {
        self.spec
            .pointer("/template/spec/containers/0/image")?
            .as_str()
    }

    fn replicas(&self) -> Option<u64> {
        self.spec.get("replicas")?.as_u64()
    }
}

/// The key of the effect that a request of the engine was made for: it stands in its User-Agent.
#[must_use]
pub fn effect_key(request: &LoggedRequest) -> Option<&str> {
    let (_, rest) = request.user_agent.split_once("(effect ")?;
    rest.strip_suffix(')')
}

/// Requests of the engine that changed something, leases left out: those are kept, not changed.
pub fn changes(requests: &[LoggedRequest]) -> impl Iterator<Item = &LoggedRequest> {
    requests.iter().filter(|request| {
        request.changed
            && !request.path.contains("/leases")
            && !OTHERS
                .iter()
                .any(|other| request.user_agent.starts_with(other))
    })
}

/// Where in the cluster's log each record of a journal was written: by the record's number, from 1, the
/// number of the last request before it.
pub type Order = BTreeMap<u64, u64>;

/// Holds the cluster's log against the journal: every change has an intent that was journalled
/// earlier, and no key changed the world twice. Where the order isn't known, times must do.
#[must_use]
pub fn against_journal(
    requests: &[LoggedRequest],
    records: &[Record],
    order: &Order,
) -> Vec<String> {
    let mut intents: BTreeMap<&str, (Timestamp, u64)> = BTreeMap::new();
    for (number, record) in (1..).zip(records) {
        if let Event::Intended { effect } = &record.event {
            let behind = order.get(&number).copied().unwrap_or_default();
            intents
                .entry(effect.key.as_str())
                .or_insert((record.at, behind));
        }
    }
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for request in changes(requests) {
        let what = format!("{} {} at {}", request.method, request.path, request.at);
        match effect_key(request) {
            None => faults.push(format!("{what}: changes something and names no effect")),
            Some(key) => {
                match intents.get(key) {
                    None => faults.push(format!("{what}: no intent for {key} in the journal")),
                    Some((at, behind)) if *at > request.at || *behind >= request.seq => {
                        faults.push(format!("{what}: the intent for {key} came later, at {at}"));
                    }
                    Some(_) => {}
                }
                if !seen.insert(key) {
                    faults.push(format!("{what}: {key} changed the world a second time"));
                }
            }
        }
    }
    faults
}

/// What there is to judge.
pub struct Evidence<'a> {
    /// What the cluster showed, whenever it changed.
    pub history: &'a [Observation],
    /// What the cluster was asked.
    pub requests: &'a [LoggedRequest],
    /// What the network carried.
    pub exchanges: &'a [Exchange],
    /// The journal of the run.
    pub records: &'a [Record],
    /// Where in the cluster's log its records were written.
    pub order: &'a Order,
    /// The target before.
    pub before: &'a Snapshot,
    /// The target after.
    pub after: &'a Snapshot,
    /// Whether a claim is left on the target.
    pub claimed: bool,
    /// The Service in front of the target.
    pub service: Option<&'a str>,
    /// The namespace.
    pub namespace: &'a str,
    /// How the run ended, in a word.
    pub end: &'a str,
    /// Why it turned back or was refused.
    pub reason: &'a str,
    /// How long the way back took, in milliseconds.
    pub rollback_ms: Option<u64>,
    /// The story.
    pub story: &'a Story,
}

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

/// Judges a rehearsal. Empty: everything was as it must be.
#[must_use]
pub fn judge(expect: &Expect, evidence: &Evidence<'_>) -> Vec<String> {
    let mut faults = against_journal(evidence.requests, evidence.records, evidence.order);
    let whole = evidence.requests.first().is_none_or(|first| first.seq == 1)
        && evidence.history.len() < MAX_HISTORY
        && evidence.exchanges.len() < MAX_EXCHANGES;
    let mut must = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    must(whole, "not everything that happened was kept".to_owned());
    if let Some(end) = &expect.end {
        must(
            end == evidence.end,
            format!("the run ends {}, not {end}", evidence.end),
        );
    }
    if let Some(reason) = &expect.reason {
        must(
            evidence.reason.contains(reason.as_str()),
            format!("the reason is `{}`, without `{reason}`", evidence.reason),
        );
    }
    if let Some(image) = &expect.image {
        let found = evidence.after.image().unwrap_or("none");
        must(found == image, format!("the image is {found}, not {image}"));
    }
    if let Some(replicas) = expect.replicas {
        let found = evidence.after.replicas().unwrap_or_default();
        must(
            found == u64::from(replicas),
            format!("{found} replicas are wanted, not {replicas}"),
        );
    }
    if let Some(least) = expect.ready_endpoints_at_least {
        let found = evidence
            .service
            .and_then(|service| fewest_ready(evidence.history, evidence.namespace, service));
        let enough =
            found.is_some_and(|found| found >= usize::try_from(least).unwrap_or(usize::MAX));
        must(
            enough,
            format!("{found:?} endpoints were ready at the worst moment, not {least}"),
        );
    }
    if let Some(as_before) = expect.as_before {
        must(
            (evidence.before == evidence.after) == as_before,
            format!(
                "the target is as before: {}, not {as_before}\nbefore: {:?}\nafter: {:?}",
                evidence.before == evidence.after,
                evidence.before,
                evidence.after
            ),
        );
    }
    if let Some(wanted) = &expect.changes {
        let found = changes_by_kind(evidence.requests);
        must(
            found == *wanted,
            format!("changed: {found:?}, not {wanted:?}"),
        );
    }
    if let Some(within) = expect.rollback_within {
        must(
            evidence
                .rollback_ms
                .is_some_and(|took| took <= within.as_millis()),
            format!(
                "the way back took {:?} ms, more than {within}",
                evidence.rollback_ms
            ),
        );
    }
    let ended = !["rollback-stuck", "not-started"].contains(&evidence.end);
    must(
        !ended || !evidence.claimed,
        "the target is still claimed".to_owned(),
    );
    let engine = evidence.story.of(Source::Engine);
    let mut rest = engine.as_slice();
    for part in &expect.story {
        match rest.iter().position(|line| line.contains(part.as_str())) {
            Some(at) => rest = rest.get(at..).unwrap_or_default(),
            None => must(false, format!("the story lacks `{part}` (in this order)")),
        }
    }
    for part in &expect.never {
        must(
            !engine.iter().any(|line| line.contains(part.as_str())),
            format!("the story holds `{part}`"),
        );
    }
    for part in &expect.notices {
        let told = evidence
            .exchanges
            .iter()
            .any(|exchange| exchange.method == "POST" && exchange.body.contains(part.as_str()));
        must(told, format!("no notice holds `{part}`"));
    }
    faults
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

const PLURALS: [&str; 8] = [
    "deployments",
    "configmaps",
    "secrets",
    "services",
    "pods",
    "jobs",
    "replicasets",
    "events",
];

#[cfg(test)]
mod tests;
