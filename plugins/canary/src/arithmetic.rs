//! Weights and counts. Everything here is about whole pods, so every rule is one of rounding.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A share of traffic or of replicas, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "u8")]
pub(crate) struct Percent(u8);

impl Percent {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(100);

    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// As the contract counts traffic.
    pub(crate) fn of_traffic(self) -> u32 {
        u32::from(self.0) * 100
    }

    /// Both together; never more than all.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(100))
    }

    /// Whether some of the traffic goes to one side and some to the other.
    pub(crate) fn is_shared(self) -> bool {
        self > Self::NONE && self < Self::ALL
    }
}

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number <= 100 {
            return Ok(Self(number));
        }
        Err(format!("{number} is more than 100 percent"))
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 100 })
    }
}

/// The replicas that can carry a share of what `replicas` carry: rounded up, so that capacity is never short.
pub(crate) fn needed(replicas: u32, share: Percent) -> u32 {
    let exact = u64::from(replicas) * u64::from(share.0);
    u32::try_from(exact.div_ceil(100)).unwrap_or(u32::MAX)
}

/// Pods on either side, where traffic follows pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) candidate: u32,
    pub(crate) stable: u32,
}

impl Counts {
    /// How far the candidate's share of the pods is from `weight`, as a fraction: hundredths of a pod
    /// over pods.
    fn error(self, weight: Percent) -> (u64, u64) {
        let pods = u64::from(self.candidate) + u64::from(self.stable);
        let has = u64::from(self.candidate) * 100;
        (has.abs_diff(pods * u64::from(weight.0)), pods)
    }

    /// Whether this is nearer to `weight` than `other` is.
    fn is_nearer(self, other: Self, weight: Percent) -> bool {
        let (error, pods) = self.error(weight);
        let (other_error, other_pods) = other.error(weight);
        u128::from(error) * u128::from(other_pods) < u128::from(other_error) * u128::from(pods)
    }

    /// The candidate's share of the pods in whole percent, rounded to the nearest.
    pub(crate) fn share(self) -> u64 {
        let pods = u64::from(self.candidate) + u64::from(self.stable);
        (u64::from(self.candidate) * 200 + pods)
            .checked_div(pods * 2)
            .unwrap_or(0)
    }
}

/// The pods on either side that come nearest to a weight when pods are all that decides, as a basic
/// canary of Argo Rollouts has them: as many as there were or one more, and at least one on either
/// side while traffic is shared. Of two that are equally near, the one with fewer pods, and then the
/// one with more of the candidate.
pub(crate) fn by_replicas(replicas: u32, weight: Percent) -> Counts {
    let up = needed(replicas, weight);
    if !weight.is_shared() {
        let stable = replicas.saturating_sub(up);
        return Counts {
            candidate: up,
            stable,
        };
    }
    let mut best = Counts {
        candidate: 1,
        stable: replicas.max(1),
    };
    let exact = u64::from(replicas) * u64::from(weight.0);
    let down = u32::try_from(exact / 100).unwrap_or(u32::MAX);
    // From the least wanted to the most, so that the last of equals stays.
    for pods in [replicas.saturating_add(1), replicas] {
        for candidate in [down, up] {
            let Some(stable) = pods.checked_sub(candidate) else {
                continue;
            };
            let counts = Counts { candidate, stable };
            if candidate > 0 && stable > 0 && !best.is_nearer(counts, weight) {
                best = counts;
            }
        }
    }
    best
}

/// Weights that grow by `step` and end at `most`, the last of them cut to it.
pub(crate) fn linear(step: Percent, most: Percent) -> Vec<Percent> {
    let mut weights = Vec::new();
    let mut weight = Percent::NONE;
    while weight < most && step > Percent::NONE {
        weight = weight.and(step).min(most);
        weights.push(weight);
    }
    weights
}
