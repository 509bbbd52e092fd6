//! The vocabulary in which a strategy plans. It mirrors the strategy contract in `wit/`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Span;

/// Which of the two versions a step is about.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The version that serves.
    #[default]
    Stable,
    /// The version that is to serve.
    Candidate,
}

impl Slot {
    /// Whether it is the version that serves when the run begins.
    #[must_use]
    pub const fn is_stable(&self) -> bool {
        matches!(self, Self::Stable)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        }
    }
}

/// A number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// Exactly so many.
    Count(u32),
    /// Of the replicas that stable had when the run began, and of more where somebody has scaled it up
    /// since. Rounded up.
    Percent(u8),
}

impl Amount {
    /// The number of replicas, of `whole`.
    #[must_use]
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let exact = u64::from(whole) * u64::from(percent);
                u32::try_from(exact.div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Where the new version is brought up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// In stable's own Deployment.
    #[default]
    InPlace,
    /// In a Deployment of its own.
    Beside,
}

/// All traffic, in the unit of [`Split`].
pub const WHOLE: u32 = 10_000;

/// How traffic is shared between stable and candidate.
#[derive(Clone, Debug, Default, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Out of 10,000.
    pub candidate_weight: u32,
    /// All must match; matching requests go to the candidate.
    #[serde(default)]
    pub headers: Vec<crate::verdict::Pair>,
    /// Out of 10,000; copies of requests, answers thrown away.
    #[serde(default)]
    pub mirror_weight: u32,
}

/// Headers are the same in any order, and their names in upper and lower case: routers read them back as the
/// data plane keeps them.
impl PartialEq for Split {
    fn eq(&self, other: &Self) -> bool {
        let named = |split: &Self| {
            let headers = split.headers.iter();
            let mut headers: Vec<_> = headers
                .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
                .collect();
            headers.sort();
            headers
        };
        self.candidate_weight == other.candidate_weight
            && self.mirror_weight == other.mirror_weight
            && (self.headers == other.headers || named(self) == named(other))
    }
}

impl Split {
    /// So much of the traffic to the candidate, and nothing else.
    #[must_use]
    pub const fn weight(candidate_weight: u32) -> Self {
        Self {
            candidate_weight,
            headers: Vec::new(),
            mirror_weight: 0,
        }
    }

    /// Whether the candidate gets nothing at all.
    #[must_use]
    pub fn spares_candidate(&self) -> bool {
        self.candidate_weight == 0 && self.headers.is_empty() && self.mirror_weight == 0
    }

    /// The fewest ready pods that the candidate needs for it, where `whole` serve everything.
    #[must_use]
    pub fn candidate_needs(&self, whole: u32) -> u32 {
        share(self.candidate_weight.max(self.mirror_weight), whole)
            .max(u32::from(!self.spares_candidate()))
    }

    /// The fewest ready pods that stable needs for it, where `whole` serve everything.
    #[must_use]
    pub fn stable_needs(&self, whole: u32) -> u32 {
        share(WHOLE.saturating_sub(self.candidate_weight), whole)
    }
}

/// A share of `whole` pods, rounded up so that capacity is never short.
fn share(weight: u32, whole: u32) -> u32 {
    let exact = u64::from(whole) * u64::from(weight.min(WHOLE));
    u32::try_from(exact.div_ceil(u64::from(WHOLE))).unwrap_or(u32::MAX)
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to the candidate", percent(self.candidate_weight))?;
        for pair in &self.headers {
            write!(f, ", all with {}: {}", pair.name, pair.value)?;
        }
        if self.mirror_weight > 0 {
            write!(f, ", {} mirrored", percent(self.mirror_weight))?;
        }
        Ok(())
    }
}

fn percent(weight: u32) -> String {
    let (whole, rest) = (weight / 100, weight % 100);
    match rest {
        0 => format!("{whole}%"),
        rest if rest.is_multiple_of(10) => format!("{whole}.{}%", rest / 10),
        rest => format!("{whole}.{rest:02}%"),
    }
}

/// What a router can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterFeatures {
    /// Any share of traffic, not only all or nothing.
    pub weights: bool,
    /// Requests with certain headers go to the candidate.
    pub header_match: bool,
    /// Copies of requests go to the candidate.
    pub mirror: bool,
}

/// One thing that a strategy wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum Action {
    /// Bring the version up and wait until it is ready.
    Deploy {
        /// In place or beside.
        placement: Placement,
        /// How many replicas.
        replicas: Amount,
        /// Pods above the wanted number during the rollout: a count or a percentage; none keeps the workload's own.
        #[serde(default)]
        surge: Option<String>,
        /// Pods that may be missing during the rollout: a count or a percentage; none keeps the workload's own.
        #[serde(default)]
        unavailable: Option<String>,
        /// How long it may take to become ready.
        timeout: Span,
    },
    /// Change a number of replicas and wait until it is reached.
    Scale {
        /// Whose replicas.
        slot: Slot,
        /// How many.
        replicas: Amount,
        /// How long it may take.
        timeout: Span,
    },
    /// Share traffic.
    Route {
        /// How.
        split: Split,
        /// How long the data plane may take to follow.
        settle: Span,
    },
    /// Ask gates once; all must pass. None named means all of the phase's.
    Check {
        /// Gates by name.
        gates: Vec<String>,
    },
    /// Hold, and keep asking.
    Soak {
        /// Measured time to hold.
        duration: Span,
        /// How often to look; the gates' own intervals apply where this is zero.
        interval: Span,
        /// Gates by name; none named means all of the phase's.
        gates: Vec<String>,
    },
    /// Wait for people.
    Approve {
        /// What they are asked.
        prompt: String,
        /// How many must agree.
        count: u32,
    },
    /// The new version becomes stable.
    Promote {
        /// How long it may take.
        timeout: Span,
    },
    /// Take a version out of service for good.
    Retire {
        /// Which.
        slot: Slot,
        /// How long to keep it.
        after: Span,
        /// Delete it rather than scale it to nothing.
        remove: bool,
    },
    /// Perform an action of the release, by name.
    Act {
        /// The action's name.
        action: String,
    },
    /// A step of a later minor version of the contract.
    Other {
        /// Its name there.
        name: String,
        /// Its parameters.
        params: Value,
    },
}

/// One step of a strategy's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the strategy's plan; names the step in the journal and on the screen.
    pub id: String,
    /// What is to be done.
    pub action: Action,
    /// Room to grow. `{"outage": true}` declares that nothing serves during the step.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

/// The bounds that an autoscaler keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Fewest replicas.
    pub minimum: u32,
    /// Most replicas.
    pub maximum: u32,
}

/// What a strategy is told, apart from where in the release the call is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Situation {
    /// The workload's name.
    pub workload: String,
    /// Replicas when the run began; in a revision those that serve everything by then.
    pub replicas: u32,
    /// The autoscaler's bounds, where there is one.
    pub autoscaler: Option<Autoscaler>,
    /// The colour that serves, where colours are used.
    pub live: Option<String>,
    /// What the release's router can do; none where there is none.
    pub router: Option<RouterFeatures>,
    /// The gates of the strategy's phase.
    pub gates: Vec<String>,
    /// The actions of the release.
    pub actions: Vec<String>,
}

/// What became of a gate in a finished step, for `revise`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The gate.
    pub gate: String,
    /// Its last status.
    pub status: crate::verdict::Status,
    /// Its last figures.
    pub values: Value,
}

/// What became of a finished step, for `revise`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The step.
    pub step: String,
    /// How long it took.
    pub elapsed: Span,
    /// What its gates said last.
    pub judged: Vec<Judged>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_up_so_that_capacity_is_never_short() {
        assert_eq!(Amount::Percent(50).of(3), 2);
        assert_eq!(Amount::Percent(1).of(3), 1);
        assert_eq!(Amount::Percent(0).of(3), 0);
        assert_eq!(Amount::Percent(100).of(7), 7);
        assert_eq!(Amount::Count(4).of(9), 4);
    }

    #[test]
    fn headers_are_the_same_however_a_data_plane_keeps_them() {
        use crate::verdict::Pair;
        let by = |headers: &[(&str, &str)]| Split {
            headers: headers
                .iter()
                .map(|(name, value)| Pair::new(*name, *value))
                .collect(),
            ..Split::weight(10)
        };
        let asked = by(&[("X-Team", "a"), ("X-Canary", "Yes")]);
        assert_eq!(asked, by(&[("x-canary", "Yes"), ("x-team", "a")]));
        assert_ne!(asked, by(&[("x-canary", "yes"), ("x-team", "a")]));
        assert_ne!(asked, by(&[("x-canary", "Yes")]));
        assert_ne!(by(&[]), Split::weight(11));
    }
}
