//! What a scenario says that the metrics of autoscalers call for.

use phasegate_core::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share is a sum of fractions: so little more than a whole number of pods needs none more.
const SLACK: f64 = 1e-6;

/// What the metrics of autoscalers call for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoscalerRule {
    /// The name of the HorizontalPodAutoscaler: exact, or with `*` for any run of characters.
    pub hpa: String,
    /// So many pods. Either this or `needs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants: Option<Count>,
    /// So many pods for all of the traffic, and of them the part that its own pods answer: those that the
    /// selector of its target chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Count>,
}

impl AutoscalerRule {
    /// What makes no sense about it.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn check(&self) -> Result<(), String> {
        match (&self.wants, &self.needs) {
            (Some(count), None) | (None, Some(count)) if count.ascending() => Ok(()),
            (Some(_), None) | (None, Some(_)) => {
                Err("the points are not in the order of time".to_owned())
            }
            _ => Err("an autoscaler follows `wants` or `needs`, one of them".to_owned()),
        }
    }
}

/// A number of pods, or one that changes over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a number of pods, or pairs of a time and a number"
)]
pub enum Count {
    /// Always so many.
    Always(u32),
    /// Time since the beginning, and the number from then on.
    Over(Vec<(Span, u32)>),
}

impl Count {
    /// Whether its points follow each other in time.
    fn ascending(&self) -> bool {
        match self {
            Self::Always(_) => true,
            Self::Over(points) => {
                !points.is_empty()
                    && points
                        .windows(2)
                        .all(|pair| matches!(pair, [a, b] if a.0 < b.0))
            }
        }
    }

    /// The number after so much time.
    #[must_use]
    pub fn at(&self, since: Span) -> u32 {
        match self {
            Self::Always(count) => *count,
            Self::Over(points) => points
                .iter()
                .rev()
                .find(|(from, _)| *from <= since)
                .or(points.first())
                .map_or(0, |(_, count)| *count),
        }
    }
}

/// So many of a number of pods as a share of the traffic needs, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a part of a number of 32 bits is one"
)]
pub(super) fn part_of(needs: u32, share: f64) -> i64 {
    (f64::from(needs) * share - SLACK).ceil() as i64
}
