//! What the cluster shows and what it is asked, as lines of the story.
//!
//! States that follow each other within [`SETTLES`] are told as one, the last: a controller's work is a
//! flurry of small changes. A state with fewer endpoints than before is always told.

use phasegate_core::time::{Span, Timestamp};

use crate::cluster::{Cluster, LoggedRequest, Observation, ObservedRoute, ObservedService};
use crate::observer;
use crate::story::{Source, Told};

/// How long a state must last to be told.
const SETTLES: Span = Span::from_secs(1);

/// Of a namespace that has had more Deployments than this only what has changed is told.
const TOLD_WHOLE: usize = 2;

/// Follows one namespace of a cluster.
#[derive(Debug, Default)]
pub struct Witness {
    namespace: String,
    observations: usize,
    last_request: u64,
    pending: Option<State>,
    told: Option<State>,
    brief: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    at: Timestamp,
    /// What there is to tell, by what it is about.
    parts: Vec<(String, String)>,
    deployments: usize,
    endpoints: usize,
}

impl Witness {
    /// Follows a namespace from the beginning.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..Self::default()
        }
    }

    /// What is new since the last look.
    pub fn look(&mut self, cluster: &Cluster) -> Vec<Told> {
        let mut lines = Vec::new();
        for seen in cluster.history().iter().skip(self.observations) {
            self.see(seen, &mut lines);
        }
        self.observations = cluster.history().len();
        let now = cluster.now();
        if self
            .pending
            .as_ref()
            .is_some_and(|state| now.since(state.at) >= SETTLES)
        {
            self.settle(&mut lines);
        }
        let requests = cluster.requests();
        // Looked at after every record, so that what was told is not gone through again.
        let told = requests.partition_point(|request| request.seq <= self.last_request);
        for request in observer::changes(requests.get(told..).unwrap_or_default()) {
            lines.push(written(request));
        }
        self.last_request = requests.last().map_or(0, |request| request.seq);
        lines
    }

    /// What is left to tell at the end.
    pub fn close(&mut self, cluster: &Cluster) -> Vec<Told> {
        let mut lines = self.look(cluster);
        self.settle(&mut lines);
        lines
    }

    fn see(&mut self, seen: &Observation, lines: &mut Vec<Told>) {
        let state = self.state(seen);
        self.brief |= state.deployments > TOLD_WHOLE;
        if let Some(pending) = &self.pending {
            let lasted = seen.at.since(pending.at) >= SETTLES;
            let worse = self
                .told
                .as_ref()
                .is_some_and(|told| pending.endpoints < told.endpoints);
            let better = state.endpoints > pending.endpoints;
            if lasted || (worse && better) {
                self.settle(lines);
            }
        }
        if self.told.is_none() {
            lines.push(state.line(None));
            self.told = Some(state);
        } else {
            self.pending = Some(state);
        }
    }

    fn settle(&mut self, lines: &mut Vec<Told>) {
        if let Some(state) = self.pending.take() {
            let told = self.told.as_ref();
            if told.is_none_or(|told| told.parts != state.parts) {
                lines.push(state.line(told.filter(|_| self.brief)));
            }
            self.told = Some(state);
        }
    }

    fn state(&self, seen: &Observation) -> State {
        let mut parts = Vec::new();
        let mut endpoints = 0;
        for deployment in &seen.deployments {
            if deployment.namespace != self.namespace {
                continue;
            }
            let image = deployment.images.first().map_or("no image", String::as_str);
            let image = image.rsplit('/').next().unwrap_or(image);
            let text = format!(
                "{} wants {} of {image}, {} ready",
                deployment.name, deployment.wanted, deployment.ready
            );
            parts.push((format!("Deployment {}", deployment.name), text));
        }
        let deployments = parts.len();
        let routes = || {
            let routes = seen.routes.iter();
            routes.filter(|route| route.namespace == self.namespace)
        };
        let mut entries = Vec::new();
        for service in &seen.services {
            if service.namespace != self.namespace {
                continue;
            }
            let total: usize = service.endpoints.values().sum();
            endpoints += total.saturating_sub(service.gone);
            // What comes in at a route is told of the route.
            if !routes().any(|route| route.backends.contains(&service.name)) {
                entries.push((service.name.clone(), traffic_of_service(service)));
            }
        }
        for route in routes() {
            entries.push((format!("route {}", route.name), traffic_of_route(route)));
        }
        let several = entries.len() > 1;
        parts.extend(entries.into_iter().map(|(name, text)| {
            let text = if several {
                format!("{name}: {text}")
            } else {
                text
            };
            (name, text)
        }));
        if parts.is_empty() {
            parts.push((String::new(), "nothing is there".to_owned()));
        }
        State {
            at: seen.at,
            parts,
            deployments,
            endpoints,
        }
    }
}

fn traffic_of_service(service: &ObservedService) -> String {
    let ends = service.endpoints.iter().map(|(image, count)| {
        let tag = image.rsplit(':').next().unwrap_or(image);
        format!("{count} of {tag}")
    });
    let gone = if service.gone > 0 {
        format!(", {} of them gone", service.gone)
    } else {
        String::new()
    };
    format!("traffic to {}{gone}", listed(ends.collect()))
}

fn traffic_of_route(route: &ObservedRoute) -> String {
    let shares = route.versions.iter();
    let shares = shares.map(|(version, parts)| format!("{} of {version}", percent(*parts)));
    let failed = if route.failed > 0 {
        format!(", {} fails", percent(route.failed))
    } else {
        String::new()
    };
    format!("traffic to {}{failed}", listed(shares.collect()))
}

fn listed(parts: Vec<String>) -> String {
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(" and ")
    }
}

/// Parts of ten thousand, as people say them.
fn percent(parts: u32) -> String {
    match (parts / 100, parts % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, rest) if rest.is_multiple_of(10) => format!("{whole}.{}%", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}%"),
    }
}

impl State {
    /// The whole of it, or what differs from what was told before.
    fn line(&self, before: Option<&Self>) -> Told {
        let known = before.map_or(&[][..], |before| before.parts.as_slice());
        let news = self.parts.iter().filter(|part| !known.contains(part));
        let mut texts: Vec<String> = news.map(|(_, text)| text.clone()).collect();
        let gone = known
            .iter()
            .filter(|(about, _)| !self.parts.iter().any(|(other, _)| other == about));
        texts.extend(gone.map(|(about, _)| format!("{about} is gone")));
        Told {
            at: self.at,
            source: Source::Cluster,
            text: texts.join("; "),
        }
    }
}

fn written(request: &LoggedRequest) -> Told {
    let object: Vec<&str> = request.path.split('/').rev().take(2).collect();
    let object: Vec<&str> = object.into_iter().rev().collect();
    let key = observer::effect_key(request).unwrap_or("no effect");
    // The run's id is left out: it is the same for every key.
    let key = key.split_once('/').map_or(key, |(_, rest)| rest);
    let lost = if request.status.is_none() {
        ", its answer is lost"
    } else {
        ""
    };
    Told {
        at: request.at,
        source: Source::Cluster,
        text: format!("{} {} for {key}{lost}", request.method, object.join("/")),
    }
}

#[cfg(test)]
mod tests;
