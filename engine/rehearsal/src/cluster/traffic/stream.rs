//! What becomes of the requests of one source, stretch by stretch.

use std::collections::BTreeMap;

use phasegate_core::time::{Span, Timestamp};
use serde::Serialize;

use crate::cluster::store::Key;

/// Most stretches that are kept of one source; the counts go on beyond.
pub const MAX_STRETCHES: usize = 50_000;
/// Shares that differ by less are the same: they are sums of fractions.
const SAME: f64 = 1e-9;

/// Where the data plane takes the requests of one source: shares of them, out of 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Answered, by the version that answers.
    pub versions: BTreeMap<String, f64>,
    /// Sent, by the Service that they are sent to.
    pub backends: BTreeMap<String, f64>,
    /// Not answered: sent where nothing is ready, or nowhere.
    pub failed: f64,
    /// Why, for the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Copies, by the Service that they are sent to. What becomes of them is nobody's concern.
    pub mirrored: BTreeMap<String, f64>,
    /// Answered, by pod.
    #[serde(skip)]
    pub(in crate::cluster) pods: BTreeMap<Key, f64>,
}

/// A time during which the data plane did the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// What it did.
    pub flow: Flow,
}

/// What became of the requests of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// `service shop` or `route shop`.
    pub entry: String,
    /// How many requests came in each second.
    pub per_second: f64,
    /// How many came in.
    pub requests: f64,
    /// How many were not answered.
    pub failed: f64,
    /// How many copies were sent.
    pub mirrored: f64,
    /// How many were answered, by version.
    pub versions: BTreeMap<String, f64>,
    /// The stretches of time, oldest first.
    pub stretches: Vec<Stretch>,
    /// Whether there were more stretches than are kept.
    pub cut: bool,
}

impl Stream {
    pub(super) fn new(entry: String, per_second: f64, from: Timestamp) -> Self {
        let nothing = Stretch {
            from,
            to: from,
            flow: Flow::default(),
        };
        Self {
            entry,
            per_second,
            requests: 0.0,
            failed: 0.0,
            mirrored: 0.0,
            versions: BTreeMap::new(),
            stretches: vec![nothing],
            cut: false,
        }
    }

    /// The stretch in which most requests a second failed, if any did.
    #[must_use]
    pub fn worst(&self) -> Option<&Stretch> {
        let failing = self
            .stretches
            .iter()
            .filter(|stretch| stretch.flow.failed > 0.0 && stretch.from < stretch.to);
        failing.fold(None, |worst: Option<&Stretch>, stretch| match worst {
            Some(known) if known.flow.failed >= stretch.flow.failed => Some(known),
            _ => Some(stretch),
        })
    }

    /// The present flow has lasted until now.
    pub(super) fn count(&mut self, now: Timestamp) {
        let Some(last) = self.stretches.last_mut() else {
            return;
        };
        let requests = self.per_second * seconds(now.since(last.to));
        last.to = now;
        self.requests += requests;
        self.failed += requests * last.flow.failed;
        self.mirrored += requests * last.flow.mirrored.values().sum::<f64>();
        for (version, share) in &last.flow.versions {
            *self.versions.entry(version.clone()).or_default() += requests * share;
        }
    }

    /// From now on it is another one.
    pub(super) fn turn(&mut self, now: Timestamp, flow: Flow) {
        self.count(now);
        let full = self.stretches.len() >= MAX_STRETCHES;
        if let Some(last) = self.stretches.last_mut()
            && last.flow != flow
        {
            // Only the present pods are ever asked for.
            last.flow.pods.clear();
        }
        match self.stretches.last_mut() {
            // Nothing came in during a stretch without length.
            Some(last) if last.from == last.to => last.flow = flow,
            Some(last) if last.flow == flow => {}
            Some(last) if full => {
                last.flow = flow;
                self.cut = true;
            }
            _ => self.stretches.push(Stretch {
                from: now,
                to: now,
                flow,
            }),
        }
    }

    /// What the data plane did at a time; before the beginning, what it did then.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Stretch> {
        self.stretches.get(self.index_at(at))
    }

    fn index_at(&self, at: Timestamp) -> usize {
        self.stretches
            .partition_point(|stretch| stretch.from <= at)
            .saturating_sub(1)
    }

    /// When the shares of the versions last changed, up to then; none before the first change.
    pub(super) fn shifted_before(&self, at: Timestamp) -> Option<Timestamp> {
        let upto = self.stretches.get(..=self.index_at(at))?;
        upto.windows(2).rev().find_map(|pair| match pair {
            [before, after] if !same(&before.flow.versions, &after.flow.versions) => {
                Some(after.from)
            }
            _ => None,
        })
    }
}

fn same(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> bool {
    let near = |(name, share): (&String, &f64), other: &BTreeMap<String, f64>| {
        (share - other.get(name).copied().unwrap_or_default()).abs() < SAME
    };
    a.iter().all(|entry| near(entry, b)) && b.iter().all(|entry| near(entry, a))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a scenario are far below 2^53"
)]
fn seconds(span: Span) -> f64 {
    span.as_millis() as f64 / 1000.0
}
