//! The cluster's log beside the journal: what changed, and whether it was meant to.

use std::collections::BTreeMap;

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;

use super::answers::{Answered, answers};
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
    all_changes(requests).filter(|request| !is_others(request))
}

fn all_changes(requests: &[LoggedRequest]) -> impl Iterator<Item = &LoggedRequest> {
    let changed = |request: &&LoggedRequest| request.changed && !request.path.contains("/leases");
    requests.iter().filter(changed)
}

fn is_others(request: &LoggedRequest) -> bool {
    let mut others = OTHERS.iter();
    others.any(|other| request.user_agent.starts_with(other))
}

/// Where in the cluster's log each record of a journal was written: by the record's number, from 1, the
/// number of the last request before it.
pub type Order = BTreeMap<u64, u64>;

/// Holds the cluster's log against the journal: every change has an intent that was journalled
/// earlier, and no key changed the world twice, but for an action's that wasn't finished in between. Where the order isn't
/// known, times must do.
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
    let answered = answers(records, order);
    let mut seen: BTreeMap<&str, &LoggedRequest> = BTreeMap::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for request in all_changes(requests) {
        let last = last.insert(&request.path, request.seq).unwrap_or_default();
        if is_others(request) {
            continue;
        }
        let what = format!("{} {} at {}", request.method, request.path, request.at);
        let Some(key) = effect_key(request) else {
            faults.push(format!("{what}: changes something and names no effect"));
            continue;
        };
        match intents.get(key) {
            None => faults.push(format!("{what}: no intent for {key} in the journal")),
            Some((at, behind)) if *at > request.at || *behind >= request.seq => {
                faults.push(format!("{what}: the intent for {key} came later, at {at}"));
            }
            Some(_) => {}
        }
        if let Some(before) = seen.insert(key, request) {
            let known = answered.get(key).map_or(&[] as &[Answered], Vec::as_slice);
            let between = known
                .iter()
                .filter(|answer| answer.is_between(before, request));
            faults.extend(
                again(before, request, last, between)
                    .map(|why| format!("{what}: {key} changed the world a second time{why}")),
            );
        }
    }
    faults
}

/// What is wrong with a change that follows another one of the same key. An action may make one after each answer that
/// it isn't finished. Where that is a probe's word alone, the change before was never answered for: the same object
/// again is the same change again, unless it was changed by another key or somebody else meanwhile: `last` is the last
/// change of it before this one.
fn again<'a>(
    before: &LoggedRequest,
    request: &LoggedRequest,
    last: u64,
    between: impl Iterator<Item = &'a Answered>,
) -> Option<&'static str> {
    let (mut answered, mut told) = (false, false);
    for answer in between {
        answered = true;
        told |= answer.told;
    }
    if !answered {
        Some("")
    } else if !told && before.path == request.path && last <= before.seq {
        Some(", the same object, after a first time whose outcome nobody knew")
    } else {
        None
    }
}
