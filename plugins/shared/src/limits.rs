//! Limits of a figure, and the bands that they make.

use schemars::JsonSchema;
use serde::Deserialize;

/// Numbers between limits, all of which must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// Less than this.
    #[serde(default)]
    pub below: Option<f64>,
    /// More than this.
    #[serde(default)]
    pub above: Option<f64>,
    /// This or less.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// This or more.
    #[serde(default)]
    pub at_least: Option<f64>,
}

impl Range {
    /// Whether the value is within all limits.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        self.below.is_none_or(|limit| value < limit)
            && self.above.is_none_or(|limit| value > limit)
            && self.at_most.is_none_or(|limit| value <= limit)
            && self.at_least.is_none_or(|limit| value >= limit)
    }

    /// Whether there is no limit at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.words().is_empty()
    }

    /// `> 1 and <= 5`.
    #[must_use]
    pub fn words(self) -> String {
        let limits = [
            (">", self.above),
            (">=", self.at_least),
            ("<", self.below),
            ("<=", self.at_most),
        ];
        let words: Vec<_> = limits
            .iter()
            .filter_map(|(sign, limit)| Some(format!("{sign} {}", (*limit)?)))
            .collect();
        words.join(" and ")
    }
}

/// Bands of a figure. They are looked at in the order alert, warn, normal. A value in none is
/// `normal` where no such band is given; otherwise `warn` where `alert` is given and `warn` isn't;
/// otherwise `alert`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bands {
    /// Where all is well.
    pub normal: Option<Range>,
    /// Where somebody should look.
    pub warn: Option<Range>,
    /// Where the gate fails.
    pub alert: Option<Range>,
}

impl Bands {
    fn named(self) -> [(&'static str, Option<Range>); 3] {
        [
            ("normal", self.normal),
            ("warn", self.warn),
            ("alert", self.alert),
        ]
    }

    /// Whether there is any.
    #[must_use]
    pub fn any(self) -> bool {
        self.named().iter().any(|(_, band)| band.is_some())
    }

    /// The names of bands that have no limit.
    pub fn without_limits(self) -> impl Iterator<Item = &'static str> {
        let empty = |(name, band): (&'static str, Option<Range>)| {
            band.is_some_and(Range::is_empty).then_some(name)
        };
        self.named().into_iter().filter_map(empty)
    }

    /// `normal < 200, alert >= 500`.
    #[must_use]
    pub fn words(self) -> String {
        let words: Vec<_> = self
            .named()
            .iter()
            .filter_map(|(name, band)| Some(format!("{name} {}", (*band)?.words())))
            .collect();
        words.join(", ")
    }

    /// The band of a value.
    #[must_use]
    pub fn of(self, value: f64) -> &'static str {
        let within = |band: Option<Range>| band.is_some_and(|band| band.holds(value));
        if within(self.alert) {
            "alert"
        } else if within(self.warn) {
            "warn"
        } else if within(self.normal) || self.normal.is_none() {
            "normal"
        } else if self.alert.is_some() && self.warn.is_none() {
            "warn"
        } else {
            "alert"
        }
    }
}
