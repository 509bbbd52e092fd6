//! When actions said that they aren't finished: what takes several changes makes one of them each time that it is asked.

use std::collections::BTreeMap;

use phasegate_core::effect::{Deed, Effect, Id, Outcome, Progress, Request};
use phasegate_core::event::{Event, Record};
use phasegate_core::failure::Kind;
use phasegate_core::time::Timestamp;

use super::Order;
use crate::cluster::LoggedRequest;

/// An action was found to be under way.
pub(super) struct Answered {
    at: Timestamp,
    /// The last request before the answer was journalled, where that is known.
    behind: Option<u64>,
    /// Whether the action said so itself, of what it had just done, and not a probe.
    pub(super) told: bool,
}

impl Answered {
    /// Whether it was journalled after one request and before another.
    pub(super) fn is_between(&self, before: &LoggedRequest, after: &LoggedRequest) -> bool {
        match self.behind {
            Some(behind) => before.seq <= behind && behind < after.seq,
            None => before.at <= self.at && self.at <= after.at,
        }
    }
}

/// By the keys of the actions.
pub(super) fn answers<'a>(
    records: &'a [Record],
    order: &Order,
) -> BTreeMap<&'a str, Vec<Answered>> {
    let mut actions: BTreeMap<Id, &Effect> = BTreeMap::new();
    let undoes = |effect: &Effect| matches!(&effect.request, Request::Act { deed } if matches!(deed, Deed::Undo { .. }));
    let mut answers: BTreeMap<&str, Vec<Answered>> = BTreeMap::new();
    for (number, record) in (1..).zip(records) {
        let (effect, told) = match &record.event {
            Event::Intended { effect } if matches!(effect.request, Request::Act { .. }) => {
                actions.insert(effect.id, effect);
                continue;
            }
            Event::Finished {
                effect,
                outcome: Outcome::Failed { failure },
            } if failure.kind == Kind::Pending => (effect, true),
            // Whoever says that it failed, or nothing, may have come about with what it was asked for.
            Event::Finished {
                effect,
                outcome: Outcome::Failed { .. } | Outcome::Unknown { .. },
            } => (effect, false),
            Event::Probed {
                effect,
                progress: Progress::Running { .. },
            } => (effect, false),
            // Nobody can say of one that is taken back how far it is: it is asked for again.
            Event::Probed {
                effect,
                progress: Progress::NotDone,
            } if actions.get(effect).is_some_and(|it| undoes(it)) => (effect, false),
            _ => continue,
        };
        if let Some(action) = actions.get(effect) {
            // Records that were written together are known by the last of them.
            let behind = order.range(number..).next().map(|(_, behind)| *behind);
            let at = record.at;
            let known = answers.entry(action.key.as_str()).or_default();
            known.push(Answered { at, behind, told });
        }
    }
    answers
}
