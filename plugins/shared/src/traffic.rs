//! What strategies have in common that bring the new version up beside the old one and share traffic
//! between the two.

use phasegate_plugin::strategy::{self, Action, Amount, Deploy, Placement, Route, Scale, Slot};
use phasegate_plugin::{Duration, Problem, Situation, Split};
use schemars::JsonSchema;
use serde::Deserialize;

/// Weight of all traffic, as the contract counts it.
pub const ALL_TRAFFIC: u32 = 10_000;

/// Most characters of a question to people: it stands on one line of a terminal or a message.
const MAX_PROMPT: usize = 500;

/// How often gates are asked where nothing is said.
const USUAL_INTERVAL: Duration = Duration::from_secs(30);

/// How long pods have to become ready, where nothing is said.
#[must_use]
pub fn default_timeout() -> Duration {
    Duration::from_mins(5)
}

/// How long to wait after traffic was moved, where nothing is said.
#[must_use]
pub fn default_settle() -> Duration {
    Duration::from_secs(10)
}

/// A question to people.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a question, or `prompt` and `count`")]
pub enum Approve {
    /// Only the question.
    Prompt(String),
    /// The question, and how many must agree.
    People(People),
}

/// Who is asked what.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct People {
    /// What they are asked.
    #[serde(default)]
    pub prompt: Option<String>,
    /// How many must agree.
    #[serde(default)]
    pub count: Option<u32>,
}

impl Approve {
    /// The step; `otherwise` is asked where the config has no question.
    #[must_use]
    pub fn action(&self, otherwise: String) -> Action {
        match self {
            Self::Prompt(prompt) => ask(Some(prompt), None, otherwise),
            Self::People(people) => people.action(otherwise),
        }
    }

    /// Faults that the schema can't express.
    #[must_use]
    pub fn problems(&self, pointer: &str) -> Vec<Problem> {
        match self {
            Self::Prompt(prompt) => prompt_problem(prompt, pointer.to_owned())
                .into_iter()
                .collect(),
            Self::People(people) => people.problems(pointer),
        }
    }
}

impl People {
    /// See [`Approve::action`].
    #[must_use]
    pub fn action(&self, otherwise: String) -> Action {
        ask(self.prompt.as_deref(), self.count, otherwise)
    }

    /// See [`Approve::problems`].
    #[must_use]
    pub fn problems(&self, pointer: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(prompt) = &self.prompt {
            problems.extend(prompt_problem(prompt, format!("{pointer}/prompt")));
        }
        if self.count == Some(0) {
            let message = "somebody has to agree: at least 1";
            problems.push(Problem::new(format!("{pointer}/count"), message));
        }
        problems
    }
}

fn ask(prompt: Option<&str>, count: Option<u32>, otherwise: String) -> Action {
    Action::Approve(strategy::Approve {
        prompt: prompt.map_or(otherwise, str::to_owned),
        count: count.unwrap_or(1),
    })
}

fn prompt_problem(prompt: &str, pointer: String) -> Option<Problem> {
    let length = prompt.chars().count();
    if prompt.trim().is_empty() {
        return Some(Problem::new(pointer, "the question is empty"));
    }
    let message = format!("the question has {length} characters, more than {MAX_PROMPT}");
    (length > MAX_PROMPT).then(|| Problem::new(pointer, message))
}

/// Brings the new version up in a Deployment of its own.
#[must_use]
pub fn deploy_beside(replicas: Amount, timeout: Duration) -> Action {
    Action::Deploy(Deploy {
        placement: Placement::Beside,
        replicas,
        surge: None,
        unavailable: None,
        timeout_ms: timeout.as_millis(),
    })
}

/// Changes a number of replicas.
#[must_use]
pub fn scale(slot: Slot, replicas: Amount, timeout: Duration) -> Action {
    Action::Scale(Scale {
        slot,
        replicas,
        timeout_ms: timeout.as_millis(),
    })
}

/// Shares traffic, then waits.
#[must_use]
pub fn route(split: Split, settle: Duration) -> Action {
    Action::Route(Route {
        split,
        settle_ms: settle.as_millis(),
    })
}

/// Everything to the new version; no matches, no copies.
#[must_use]
pub fn everything() -> Split {
    Split {
        candidate_weight: ALL_TRAFFIC,
        headers: Vec::new(),
        mirror_weight: 0,
    }
}

/// Holds, and keeps asking: every so often as the config says, or else every 30s and at least once.
#[must_use]
pub fn soak(duration: Duration, every: Option<Duration>, gates: &[String]) -> Action {
    let interval = every.unwrap_or_else(|| USUAL_INTERVAL.min(duration));
    Action::Soak(strategy::Soak {
        duration_ms: duration.as_millis(),
        interval_ms: interval.as_millis(),
        gates: gates.to_vec(),
    })
}

/// Faults of a time of holding: `why` says what it is good for.
#[must_use]
pub fn soak_problem(
    pointer: &str,
    duration: Duration,
    every: Option<Duration>,
    why: &str,
) -> Option<Problem> {
    if duration == Duration::ZERO {
        return Some(Problem::new(pointer, why));
    }
    let every = every.filter(|every| *every > duration)?;
    let message = format!(
        "`every` {every} is longer than the soak of {duration}: the gates would never be asked"
    );
    Some(Problem::new(pointer, message))
}

/// Faults of the settings that every such strategy has.
#[must_use]
pub fn problems(timeout: Duration, every: Option<Duration>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if timeout == Duration::ZERO {
        let message = "the pods need some time to become ready";
        problems.push(Problem::new("/timeout", message));
    }
    if every == Some(Duration::ZERO) {
        let message = "the gates can't be asked without a pause";
        problems.push(Problem::new("/every", message));
    }
    problems
}

/// The fault of a workload at which nothing can be tried out: it has no pods, and so no traffic.
#[must_use]
pub fn asleep(situation: &Situation) -> Option<Problem> {
    let message = format!(
        "{} has 0 replicas, so there is no traffic to try the new version on; scale it up, or use the strategy `rolling`",
        situation.workload.name
    );
    (situation.workload.replicas == 0).then(|| Problem::new("", message))
}
