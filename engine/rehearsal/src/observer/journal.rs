//! The cluster's log beside the journal: what changed, and whether it was meant to.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::effect::{Deed, Id, Outcome, Progress, Request};
use phasegate_core::event::{Event, Record};
use phasegate_core::failure::Kind;
use phasegate_core::time::Timestamp;

use crate::cluster::LoggedRequest;

/// What others than an engine call themselves. Whatever else changes something is held to be an engine.
const OTHERS: [&str; 2] = ["somebody/", "kubectl"];

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
/// earlier, and no key changed the world twice, but for actions that weren't finished. Where the order isn't known, times must do.
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
    let more = unfinished(records);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
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
                let times = seen.entry(key).or_default();
                *times += 1;
                if *times > 1 + more.get(key).copied().unwrap_or_default() {
                    faults.push(format!("{what}: {key} changed the world a second time"));
                }
            }
        }
    }
    faults
}

/// How often an action was found to be under way: what takes several changes makes one of them each time that it is
/// asked, and says that it isn't finished. Nobody can say so of one that is taken back: it is asked for again.
fn unfinished(records: &[Record]) -> BTreeMap<&str, usize> {
    let mut actions: BTreeMap<Id, &str> = BTreeMap::new();
    let mut undone: BTreeSet<Id> = BTreeSet::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        let effect = match &record.event {
            Event::Intended { effect } => {
                if let Request::Act { deed } = &effect.request {
                    actions.insert(effect.id, effect.key.as_str());
                    if matches!(deed, Deed::Undo { .. }) {
                        undone.insert(effect.id);
                    }
                }
                continue;
            }
            Event::Finished {
                effect,
                outcome: Outcome::Failed { failure },
            } if failure.kind == Kind::Pending => effect,
            Event::Probed {
                effect,
                progress: Progress::Running { .. },
            } => effect,
            Event::Probed {
                effect,
                progress: Progress::NotDone,
            } if undone.contains(effect) => effect,
            _ => continue,
        };
        if let Some(key) = actions.get(effect) {
            *times.entry(key).or_default() += 1;
        }
    }
    times
}
