//! Conditions in the status of objects.

use phasegate_core::time::Timestamp;
use serde_json::{Value, json};

use super::json::{at, seconds, set, text};

/// What a condition says.
pub(super) struct Said<'a> {
    pub(super) kind: &'a str,
    pub(super) holds: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// The generation that it is about, where the kind of object says so.
    pub(super) generation: Option<i64>,
}

/// Sets a condition; its transition time changes only with its status.
pub(super) fn put(conditions: &mut Vec<Value>, said: &Said<'_>, now: Timestamp) {
    let status = if said.holds { "True" } else { "False" };
    let mut fresh = json!({
        "type": said.kind, "status": status, "reason": said.reason, "message": said.message,
        "lastTransitionTime": seconds(now),
    });
    if let Some(generation) = said.generation {
        set(&mut fresh, &["observedGeneration"], generation);
    }
    match conditions
        .iter_mut()
        .find(|known| text(known, &["type"]) == said.kind)
    {
        Some(known) => {
            if text(known, &["status"]) == status {
                let since = at(known, &["lastTransitionTime"]).clone();
                set(&mut fresh, &["lastTransitionTime"], since);
            }
            *known = fresh;
        }
        None => conditions.push(fresh),
    }
}
