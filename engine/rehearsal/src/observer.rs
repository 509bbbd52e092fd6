//! The observer: judges a rehearsal from outside. It sees what the cluster shows and logs, and what the
//! network carried; of the engine it sees only the journal, to hold it against the cluster's log.

mod answers;
mod capacity;
mod counts;
mod journal;
mod said;
mod snapshot;
mod traffic;

use phasegate_core::event::Record;
use phasegate_core::time::Span;

pub use self::counts::{changes_by_kind, fewest_ready, notices};
pub use self::journal::{Order, against_journal, changes, effect_key};
pub use self::said::compared;
pub use self::snapshot::Snapshot;
pub use self::traffic::{Totals, totals};
use crate::cluster::{LoggedRequest, MAX_HISTORY, MAX_MOVES, Move, Observation, Picture, Stream};
use crate::scenario::Expect;
use crate::story::Story;
use crate::web::{Exchange, MAX_EXCHANGES};

/// What there is to judge.
pub struct Evidence<'a> {
    /// What the cluster showed, whenever it changed.
    pub history: &'a [Observation],
    /// What the cluster was asked.
    pub requests: &'a [LoggedRequest],
    /// What became of the requests of the scenario's traffic.
    pub traffic: &'a [Stream],
    /// What served before the run.
    pub scene: &'a Picture,
    /// The writes to what makes pods or leads to them.
    pub moves: &'a [Move],
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
    /// Whether a claim is left on the target of which the run does not say so.
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

/// Judges a rehearsal. Empty: everything was as it must be.
#[must_use]
pub fn judge(expect: &Expect, evidence: &Evidence<'_>) -> Vec<String> {
    let mut faults = against_journal(evidence.requests, evidence.records, evidence.order);
    faults.extend(capacity::judge(evidence));
    faults.extend(traffic::judge(expect, evidence));
    faults.extend(said::judge(expect, evidence));
    let whole = evidence.requests.first().is_none_or(|first| first.seq == 1)
        && evidence.history.len() < MAX_HISTORY
        && evidence.exchanges.len() < MAX_EXCHANGES
        && evidence.moves.len() < MAX_MOVES
        && !evidence.traffic.iter().any(|stream| stream.cut);
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
        let found = found.map_or_else(
            || "no Service was seen".to_owned(),
            |found| format!("{found} endpoints were ready at the worst moment"),
        );
        must(
            enough,
            format!("{found}; {least} have to be ready at any time"),
        );
    }
    if let Some(as_before) = expect.as_before {
        let differences = evidence.before.differences(evidence.after);
        must(
            differences.is_empty() == as_before,
            format!(
                "everything is as before: {}, not {as_before}\n{}",
                differences.is_empty(),
                differences.join("\n")
            ),
        );
    }
    if let Some(wanted) = &expect.changes {
        let found = changes_by_kind(evidence.requests);
        must(
            found == *wanted,
            format!(
                "changes: {}, not {}",
                counts::in_words(&found),
                counts::in_words(wanted)
            ),
        );
    }
    if let Some(within) = expect.rollback_within {
        let took = evidence.rollback_ms.map(Span::from_millis);
        let found = took.map_or_else(
            || format!("there was no way back, to take at most {within}"),
            |took| format!("the way back took {took}, more than {within}"),
        );
        must(took.is_some_and(|took| took <= within), found);
    }
    let ended = !["rollback-stuck", "not-started"].contains(&evidence.end);
    must(
        !ended || !evidence.claimed,
        "the target is still claimed".to_owned(),
    );
    faults.extend(counts::untold(&expect.notices, evidence.exchanges));
    faults
}

#[cfg(test)]
mod tests;
