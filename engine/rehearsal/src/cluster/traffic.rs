//! Traffic: requests that come in at Services and routes, and where the data plane takes them.
//!
//! No request is looked at by itself. What the data plane does with the requests of a source is a
//! [`Flow`] of shares, which changes only when the data plane or a pod does; the stretches between
//! such changes are multiplied by their length. So traffic costs nothing while nothing happens.

mod flow;
mod stream;

use std::collections::BTreeMap;

use phasegate_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::flow::Entry;
pub use self::stream::{Flow, MAX_STRETCHES, Stream, Stretch};
use super::Cluster;
use super::kinds::{Kind, ROUTES};
use super::plane::RouteKey;
use super::routing::Asked;
use super::store::Key;

/// Requests that come in at a Service or a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The Service that they come in at. Either this or `route`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The HTTPRoute, Ingress or VirtualService that they come in at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Its namespace; none is that of the only one of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How many come in each second.
    pub per_second: f64,
    /// What they ask for. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Some of them have headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marked: Vec<Marked>,
}

/// A part of the requests, which has headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Marked {
    /// How many of a hundred requests.
    pub percent: f64,
    /// Their headers.
    pub headers: BTreeMap<String, String>,
}

impl Source {
    /// What makes no sense about it.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn check(&self) -> Result<(), String> {
        if self.service.is_some() == self.route.is_some() {
            return Err("traffic comes in at a `service` or at a `route`".to_owned());
        }
        let positive = |figure: f64| figure.is_finite() && figure > 0.0;
        if !positive(self.per_second) {
            return Err("`perSecond` must be more than nothing".to_owned());
        }
        let parts = self.marked.iter().map(|marked| marked.percent);
        if !parts.clone().all(positive) || parts.sum::<f64>() > 100.0 {
            return Err("the percentages of `marked` must be positive, and 100 at most".to_owned());
        }
        Ok(())
    }
}

/// A source, and what became of its requests so far.
#[derive(Debug)]
struct Inlet {
    stream: Stream,
    entry: Entry,
    /// Shares of the requests, and what those ask.
    parts: Vec<(f64, Asked)>,
    /// The version that answered most of them at the beginning.
    stable: String,
}

impl Inlet {
    fn new(source: &Source, entry: Entry, from: Timestamp) -> Self {
        let asked = |headers: BTreeMap<String, String>| Asked {
            path: source.path.clone().unwrap_or_else(|| "/".to_owned()),
            headers,
            ..Asked::plain()
        };
        let mut parts: Vec<(f64, Asked)> = source
            .marked
            .iter()
            .map(|marked| (marked.percent / 100.0, asked(marked.headers.clone())))
            .collect();
        let marked: f64 = parts.iter().map(|(part, _)| part).sum();
        if marked < 1.0 {
            parts.push((1.0 - marked, asked(BTreeMap::new())));
        }
        Self {
            stream: Stream::new(entry.to_string(), source.per_second, from),
            entry,
            parts,
            stable: String::new(),
        }
    }

    /// The share that other versions had than the one that served at the beginning.
    fn others_at(&self, at: Timestamp) -> f64 {
        let stretch = self.stream.at(at).map(|stretch| &stretch.flow.versions);
        stretch
            .into_iter()
            .flatten()
            .filter(|(version, _)| **version != self.stable)
            .map(|(_, share)| share)
            .sum()
    }
}

/// The traffic of a cluster.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    inlets: Vec<Inlet>,
}

impl Cluster {
    /// Lets traffic come in from now on.
    ///
    /// # Errors
    /// Where a source comes in at something that isn't there and whose namespace isn't said.
    pub fn begin_traffic(&mut self, sources: &[Source]) -> Result<(), String> {
        for source in sources {
            source.check()?;
            let entry = self.entry(source)?;
            let mut inlet = Inlet::new(source, entry, self.now);
            let flow = self.flow_of(&inlet);
            let most = flow.versions.iter().max_by(|a, b| a.1.total_cmp(b.1));
            inlet.stable = most.map(|(version, _)| version.clone()).unwrap_or_default();
            inlet.stream.turn(self.now, flow);
            self.traffic.inlets.push(inlet);
        }
        Ok(())
    }

    fn entry(&self, source: &Source) -> Result<Entry, String> {
        let (kinds, name) = match (&source.service, &source.route) {
            (Some(service), _) => (&[Kind::Service][..], service.as_str()),
            (None, route) => (&ROUTES[..], route.as_deref().unwrap_or_default()),
        };
        let named = |kind: &Kind| {
            let namespace = source.namespace.as_deref().unwrap_or_default();
            let objects = self.store.list(*kind, namespace);
            let objects = objects.filter(|(key, _)| key.name == name);
            let found: Vec<_> = objects.map(|(key, _)| (*kind, key.clone())).collect();
            found
        };
        let found: Vec<RouteKey> = kinds.iter().flat_map(named).collect();
        let (kind, key) = match (found.as_slice(), &source.namespace) {
            ([one], _) => one.clone(),
            // It may come about later.
            ([], Some(namespace)) => {
                let first = kinds.first().copied().unwrap_or(Kind::Service);
                (first, Key::new(namespace.as_str(), name))
            }
            (found, _) => {
                let many = if found.is_empty() {
                    "no"
                } else {
                    "more than one"
                };
                let names: Vec<&str> = kinds.iter().map(|kind| kind.info().name).collect();
                return Err(format!(
                    "traffic comes in at {} `{name}`, and there is {many} such object; give its `namespace`",
                    names.join(" or ")
                ));
            }
        };
        Ok(match kind {
            Kind::Service => Entry::Service(key),
            kind => Entry::Route((kind, key)),
        })
    }

    /// The share of all traffic that other versions have than those that served at the beginning, at a
    /// time up to now; none where there is no traffic.
    pub(crate) fn candidate_share(&self, at: Timestamp) -> Option<f64> {
        self.weighted(|inlet| inlet.others_at(at))
    }

    /// The share of all traffic that is answered by some pods now.
    pub(super) fn share_of_pods(&self, chosen: impl Fn(&Key) -> bool) -> Option<f64> {
        self.weighted(|inlet| {
            let pods = inlet
                .stream
                .stretches
                .last()
                .map(|last| last.flow.pods.iter());
            let chosen = pods.into_iter().flatten().filter(|(pod, _)| chosen(pod));
            chosen.map(|(_, share)| share).sum()
        })
    }

    fn weighted(&self, share: impl Fn(&Inlet) -> f64) -> Option<f64> {
        let inlets = self.traffic.inlets.iter();
        let rate = |inlet: &Inlet| inlet.stream.per_second;
        let all: f64 = inlets.clone().map(rate).sum();
        let part: f64 = inlets.map(|inlet| rate(inlet) * share(inlet)).sum();
        (all > 0.0).then(|| part / all)
    }

    /// When the versions' shares of the traffic last changed, up to then.
    pub(crate) fn traffic_shifted(&self, before: Timestamp) -> Option<Timestamp> {
        let inlets = self.traffic.inlets.iter();
        inlets
            .filter_map(|inlet| inlet.stream.shifted_before(before))
            .max()
    }

    /// What became of it up to now.
    #[must_use]
    pub fn traffic(&self) -> Vec<Stream> {
        let inlets = self.traffic.inlets.iter();
        let mut streams: Vec<Stream> = inlets.map(|inlet| inlet.stream.clone()).collect();
        for stream in &mut streams {
            stream.count(self.now);
        }
        streams
    }

    /// Whether what is counted is what the data plane does.
    #[cfg(test)]
    pub(super) fn traffic_is_current(&self) -> bool {
        self.traffic.inlets.iter().all(|inlet| {
            let last = inlet.stream.stretches.last();
            last.is_some_and(|last| last.flow == self.flow_of(inlet))
        })
    }

    /// The data plane or a pod has changed.
    pub(super) fn turn_traffic(&mut self) {
        let mut inlets = std::mem::take(&mut self.traffic.inlets);
        for inlet in &mut inlets {
            let flow = self.flow_of(inlet);
            inlet.stream.turn(self.now, flow);
        }
        self.traffic.inlets = inlets;
    }
}
