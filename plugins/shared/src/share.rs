//! Counts and percentages of pods, as Kubernetes writes and rounds them.

use schemars::JsonSchema;
use serde::Deserialize;

/// A count (`2`) or a percentage (`"25%"`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Share {
    /// So many pods.
    Count(u32),
    /// So many of a hundred; also a count that is written as text.
    Percent(#[schemars(regex(pattern = "^(100|[0-9]{1,2})%$|^[0-9]+$"))] String),
}

/// What becomes of a part of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// As for pods above the desired number.
    Up,
    /// As for pods that may be missing.
    Down,
}

impl Share {
    /// As the contract carries it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Percent(text) => text.clone(),
        }
    }

    /// The pods that it is of `replicas`; none where it isn't a share.
    #[must_use]
    pub fn pods(&self, replicas: u32, rounding: Rounding) -> Option<u32> {
        let text = self.text();
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().ok();
        };
        let percent: u32 = percent.parse().ok().filter(|percent| *percent <= 100)?;
        let hundredths = u64::from(replicas) * u64::from(percent);
        let pods = match rounding {
            Rounding::Up => hundredths.div_ceil(100),
            Rounding::Down => hundredths / 100,
        };
        u32::try_from(pods).ok()
    }

    /// Whether it is nothing at all, which Kubernetes refuses for both at once; none where it
    /// isn't a share.
    #[must_use]
    pub fn is_zero(&self) -> Option<bool> {
        // Of a hundred pods every percentage but 0 is some.
        self.pods(100, Rounding::Down).map(|pods| pods == 0)
    }
}

/// How far the number of pods may be from the desired one during a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// Pods above it.
    pub above: u32,
    /// Pods that may be missing.
    pub missing: u32,
}

impl Leeway {
    /// What the two settings come to: surge is rounded up, unavailable down, and where both come to
    /// nothing one pod may be missing, since else none could be replaced. None where one isn't a share.
    #[must_use]
    pub fn of(replicas: u32, surge: &Share, unavailable: &Share) -> Option<Self> {
        let above = surge.pods(replicas, Rounding::Up)?;
        let missing = unavailable.pods(replicas, Rounding::Down)?;
        let stuck = above == 0 && missing == 0;
        let missing = if stuck { 1 } else { missing };
        Some(Self { above, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> Share {
        text.parse()
            .map_or_else(|_| Share::Percent(text.to_owned()), Share::Count)
    }

    /// `maxSurge` and `maxUnavailable` as the Kubernetes API reference has them (apps/v1,
    /// RollingUpdateDeployment): "absolute number is calculated from percentage by rounding up", and
    /// "by rounding down".
    #[test]
    fn surge_is_rounded_up_and_unavailable_down() {
        // (replicas, surge, unavailable, above, missing)
        for row in [
            // 1 and 1: nothing to round.
            (4, "25%", "25%", 1, 1),
            // 2.5 up, 2.5 down.
            (10, "25%", "25%", 3, 2),
            // 0.75 up, 0.75 down.
            (3, "25%", "25%", 1, 0),
            // 0.25 up, 0.25 down.
            (1, "25%", "25%", 1, 0),
            // 1.65 up, 1.65 down.
            (5, "33%", "33%", 2, 1),
            // 0.07 up, 0.07 down.
            (7, "1%", "1%", 1, 0),
            // 6.93 up, 6.93 down.
            (7, "99%", "99%", 7, 6),
            // Everything.
            (7, "100%", "100%", 7, 7),
            // Counts stay as they are, also above the number of replicas.
            (2, "3", "1", 3, 1),
            (2, "1", "5", 1, 5),
            // One of each kind: 2.5 down.
            (10, "0", "25%", 0, 2),
            // 2.5 up.
            (10, "25%", "0", 3, 0),
            // 0.25 down is 0, and so is the surge: one.
            (1, "0", "25%", 0, 1),
            // 0.99 down is 0, and so is the surge: one.
            (3, "0%", "33%", 0, 1),
            // 0.75 down is 0, and so is the surge: one.
            (3, "0", "25%", 0, 1),
            // Nothing of nothing is nothing on both sides: one.
            (0, "25%", "25%", 0, 1),
        ] {
            let (replicas, surge, unavailable, above, missing) = row;
            let leeway = Leeway::of(replicas, &share(surge), &share(unavailable));
            assert_eq!(leeway, Some(Leeway { above, missing }), "{row:?}");
        }
    }

    #[test]
    fn what_is_no_share_comes_to_nothing() {
        for text in ["many", "101%", "-1", "25 %", "%", "4294967296"] {
            let share = Share::Percent(text.to_owned());
            assert_eq!(share.pods(10, Rounding::Up), None, "{text}");
            assert_eq!(share.is_zero(), None, "{text}");
            assert_eq!(Leeway::of(10, &share, &Share::Count(1)), None, "{text}");
        }
    }
}
