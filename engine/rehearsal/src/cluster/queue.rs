//! What the controllers have to do, and when.

use std::collections::BTreeMap;

use phasegate_core::time::Timestamp;

use super::kinds::Kind;
use super::store::Key;

/// One thing for a controller to look at. Looking is level-based: it may happen once too often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Deployment(Key),
    ReplicaSet(Key),
    Job(Key),
    Pod(Key),
    Endpoints(Key),
    /// The data plane takes over what the endpoint slice of a Service says.
    Route(Key),
    /// An autoscaler looks at its target.
    Autoscaler(Key),
    /// A Gateway says that it is ready.
    Gateway(Key),
    /// The status of an HTTPRoute follows its spec.
    RouteStatus(Key),
    /// The data plane takes over what a route of a kind says.
    RouteTable(Kind, Key),
    /// Dependents of an object that is gone, by its uid.
    Orphans(String),
    /// An object that waits for its dependents to go.
    Foreground(Kind, Key),
    /// A namespace that is being emptied.
    Namespace(String),
}

/// Work by time, ties in the order in which it was asked for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<(Timestamp, u64), Work>,
    places: BTreeMap<Work, (Timestamp, u64)>,
    sequence: u64,
}

impl Queue {
    /// Asks for work at a time; work that is already due by then stays where it is.
    pub(super) fn schedule(&mut self, at: Timestamp, work: Work) {
        if let Some(place) = self.places.get(&work) {
            if place.0 <= at {
                return;
            }
            let place = *place;
            self.due.remove(&place);
        }
        self.sequence += 1;
        let place = (at, self.sequence);
        self.places.insert(work.clone(), place);
        self.due.insert(place, work);
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The first work that is due by then.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Work)> {
        let entry = self.due.first_entry()?;
        let at = entry.key().0;
        if at > now {
            return None;
        }
        let work = entry.remove();
        self.places.remove(&work);
        Some((at, work))
    }
}
