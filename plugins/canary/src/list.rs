//! The list of steps, in the words that users of Argo Rollouts know.

use phasegate_plugin::{Duration, Pair, Problem};
use phasegate_plugins_shared::traffic::{self, People};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::arithmetic::Percent;

/// Most headers that a request can be matched by.
const MAX_HEADERS: usize = 16;

/// One step of the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Entry {
    /// Gives the candidate this share of the traffic, in percent.
    SetWeight(Percent),
    /// Holds and keeps asking the gates; without `duration`, waits for people.
    Pause(Pause),
    /// Gives the candidate other replicas than its weight needs.
    SetCanaryScale(CanaryScale),
    /// Sends matching requests to the candidate.
    SetHeaderRoute(HeaderRoute),
    /// Sends the candidate copies of this share of the requests, in percent; 0 ends it.
    Mirror(Percent),
    /// Asks gates once, by name; all of the phase where none is named.
    Check(Vec<String>),
    /// Performs this action of the phase, and waits until it is done.
    Act(String),
}

/// A time of holding, or a question to people.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Pause {
    /// How long to hold.
    #[serde(default)]
    pub(crate) duration: Option<Duration>,
    /// What people are asked.
    #[serde(default)]
    prompt: Option<String>,
    /// How many must agree; 1.
    #[serde(default)]
    count: Option<u32>,
}

impl Pause {
    /// The people who are asked, where there is no duration.
    pub(crate) fn people(&self) -> People {
        People {
            prompt: self.prompt.clone(),
            count: self.count,
        }
    }
}

/// Replicas of the candidate, apart from its weight. It never has fewer than its weight needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CanaryScale {
    /// So many.
    Replicas(u32),
    /// This share of stable's, in percent.
    Weight(Percent),
    /// As many as the weight needs.
    MatchTrafficWeight(bool),
}

impl CanaryScale {
    pub(crate) fn problem(self, pointer: &str) -> Option<Problem> {
        let (member, message) = match self {
            Self::Replicas(0) => ("replicas", "the candidate needs at least 1 replica"),
            Self::Weight(Percent::NONE) => ("weight", "the candidate needs at least 1 replica"),
            Self::MatchTrafficWeight(false) => (
                "matchTrafficWeight",
                "say `replicas` or `weight` to have other replicas than the weight needs",
            ),
            _ => return None,
        };
        Some(Problem::new(format!("{pointer}/{member}"), message))
    }
}

/// Requests that go to the candidate whatever the weight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HeaderRoute {
    /// Tells routes apart. There is one at a time: the same name replaces it.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// All must match. Without any, the route is taken away.
    #[serde(default, rename = "match")]
    matches: Vec<HeaderMatch>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderMatch {
    /// The header.
    header_name: String,
    /// What it must hold.
    header_value: HeaderValue,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderValue {
    /// This, and nothing else.
    exact: String,
}

impl HeaderRoute {
    /// As the contract carries them.
    pub(crate) fn headers(&self) -> Vec<Pair> {
        let pair = |header: &HeaderMatch| {
            Pair::new(
                header.header_name.clone(),
                header.header_value.exact.clone(),
            )
        };
        self.matches.iter().map(pair).collect()
    }

    fn problems(&self, pointer: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.matches.len() > MAX_HEADERS {
            let message = format!("{} headers, more than {MAX_HEADERS}", self.matches.len());
            problems.push(Problem::new(format!("{pointer}/match"), message));
        }
        for (index, header) in self.matches.iter().enumerate() {
            let name = &header.header_name;
            if !is_token(name) {
                let message = format!("`{name}` is no name of a header");
                let at = format!("{pointer}/match/{index}/headerName");
                problems.push(Problem::new(at, message));
            }
            let value = &header.header_value.exact;
            if value.is_empty() || value.chars().any(char::is_control) {
                let message = "a header's value is not empty and on one line";
                let at = format!("{pointer}/match/{index}/headerValue/exact");
                problems.push(Problem::new(at, message));
            }
        }
        problems
    }
}

/// Whether HTTP takes it for the name of a header (RFC 9110, `token`).
fn is_token(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(allowed)
}

/// Faults of the list that the schema can't express.
pub(crate) fn problems(entries: &[Entry], every: Option<Duration>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut route: Option<&HeaderRoute> = None;
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("/steps/{index}");
        match entry {
            Entry::Pause(pause) => problems.extend(pause_problems(pause, &at, every)),
            Entry::SetCanaryScale(scale) => {
                problems.extend(scale.problem(&format!("{at}/setCanaryScale")));
            }
            Entry::SetHeaderRoute(header) => {
                let at = format!("{at}/setHeaderRoute");
                problems.extend(header.problems(&at));
                if route.is_some_and(|before| before.name != header.name) {
                    let message = "there is one header route at a time; take the other one away first, with its name and no `match`";
                    problems.push(Problem::new(format!("{at}/name"), message));
                }
                route = Some(header).filter(|header| !header.matches.is_empty());
            }
            Entry::SetWeight(_) | Entry::Mirror(_) | Entry::Check(_) | Entry::Act(_) => {}
        }
    }
    problems
}

fn pause_problems(pause: &Pause, at: &str, every: Option<Duration>) -> Vec<Problem> {
    let at = format!("{at}/pause");
    let Some(duration) = pause.duration else {
        return pause.people().problems(&at);
    };
    let mut problems = Vec::new();
    let why = "a pause takes some time; without `duration` it waits for people";
    let pointer = format!("{at}/duration");
    problems.extend(traffic::soak_problem(&pointer, duration, every, why));
    for (member, set) in [
        ("prompt", pause.prompt.is_some()),
        ("count", pause.count.is_some()),
    ] {
        if set {
            let message = "people are asked by a pause without `duration`";
            problems.push(Problem::new(format!("{at}/{member}"), message));
        }
    }
    problems
}
