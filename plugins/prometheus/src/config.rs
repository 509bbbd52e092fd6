//! What a release file sets.

use std::collections::BTreeMap;

use phasegate_plugin::Duration;
use phasegate_plugins_shared::limits::{Bands, Range};
use schemars::JsonSchema;
use serde::Deserialize;

/// A query to Prometheus, or one for each side, and what the figure must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prometheus {
    /// Where Prometheus is, without `/api/v1`: `http://prometheus.monitoring.svc:9090`.
    pub(crate) url: String,
    /// Where people find it, for links; `url` where it isn't given.
    #[serde(default)]
    pub(crate) external_url: Option<String>,
    /// Name of the credential that the engine adds to the requests.
    #[serde(default)]
    pub(crate) credential: Option<String>,
    /// Headers, by name. What is secret belongs into `credential`.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// How long each answer may take.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Duration,
    /// How the figure is called in reports.
    #[serde(default = "default_name")]
    pub(crate) name: String,
    /// Its unit: `ms`, `%`.
    #[serde(default)]
    pub(crate) unit: String,
    /// PromQL for one figure. Either this, or `candidate` and `stable`.
    #[serde(default)]
    pub(crate) query: Option<String>,
    /// PromQL for the candidate's figure; placeholders are filled for the candidate.
    #[serde(default)]
    pub(crate) candidate: Option<String>,
    /// PromQL for stable's figure; placeholders are filled for stable.
    #[serde(default)]
    pub(crate) stable: Option<String>,
    /// When stable is looked at: now, or before the run began.
    #[serde(default)]
    pub(crate) stable_at: StableAt,
    /// Bounds of `{{window}}`, the time since traffic last changed.
    #[serde(default)]
    pub(crate) window: Window,
    /// Asks for points over time, and makes one figure of them.
    #[serde(default)]
    pub(crate) range: Option<RangeQuery>,
    /// How many observations the figure must stand on before it counts.
    #[serde(default)]
    pub(crate) minimum_samples: Option<MinimumSamples>,
    /// The candidate's figure must be this or less.
    #[serde(default)]
    pub(crate) max: Option<f64>,
    /// The candidate's figure must be this or more.
    #[serde(default)]
    pub(crate) min: Option<f64>,
    /// Where all is well. Bands are looked at in the order alert, warn, normal. A value in none is
    /// `normal` where no such band is given; otherwise `warn` where `alert` is given and `warn`
    /// isn't; otherwise `alert`.
    #[serde(default)]
    pub(crate) normal: Option<Range>,
    /// Where somebody should look. The gate passes; the release's gate policy may act on the band.
    #[serde(default)]
    pub(crate) warn: Option<Range>,
    /// Where the gate fails.
    #[serde(default)]
    pub(crate) alert: Option<Range>,
    /// How much worse than stable the candidate may be, in the figure's unit.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub(crate) delta_max: Option<f64>,
    /// How much worse than stable the candidate may be, in percent of stable.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub(crate) delta_percent: Option<f64>,
    /// The same as a factor: candidate by stable; where lower is worse, stable by candidate.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) ratio_max: Option<f64>,
    /// Which of `deltaMax` and the relative limit must hold. Needed where both are given.
    #[serde(default)]
    pub(crate) need: Option<Need>,
    /// In which direction the figure is worse than stable's.
    #[serde(default)]
    pub(crate) worse: Worse,
}

/// When stable is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StableAt {
    /// At the same time as the candidate: both serve.
    #[default]
    Now,
    /// Before the run began, over a window of the same length: the new version took the old one's
    /// place.
    Baseline,
}

/// Which of several limits must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Need {
    /// One is enough.
    Any,
    /// Each of them.
    All,
}

/// A direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Worse {
    /// A higher figure is worse: errors, latency.
    #[default]
    Higher,
    /// A lower figure is worse: successes.
    Lower,
}

/// Bounds of a length of time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Window {
    /// The least. Until so much time has passed, a query reaches back before the change.
    pub(crate) min: Duration,
    /// The most. The longer it is, the later a query notices what begins late.
    pub(crate) max: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            min: Duration::from_mins(1),
            max: Duration::from_mins(10),
        }
    }
}

/// Points over time, and how one figure is made of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RangeQuery {
    /// How far back the points begin; the window since traffic last changed where it isn't given.
    #[serde(default)]
    pub(crate) over: Option<Duration>,
    /// The distance of the points.
    #[serde(default = "default_step")]
    pub(crate) step: Duration,
    /// How one figure is made of them.
    pub(crate) reduce: Reduce,
    /// With `breaches`: how many percent of the points may be outside of the limits.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub(crate) tolerate: f64,
    /// How many percent of the points must have data before the figure counts.
    #[serde(default = "default_coverage")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) coverage: f64,
}

/// How one figure is made of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reduce {
    /// The last point.
    Last,
    /// The mean of all points.
    Mean,
    /// The highest.
    Max,
    /// The lowest.
    Min,
    /// The last less the first.
    Growth,
    /// The share of points, in percent, that are outside of `max`, `min` or in `alert`.
    Breaches,
}

/// A count of observations, and how many are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MinimumSamples {
    /// PromQL for the count. Where two sides are compared it is asked for both.
    pub(crate) query: String,
    /// The least that is needed, on each side.
    #[schemars(range(min = 1))]
    pub(crate) at_least: u32,
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_name() -> String {
    "value".to_owned()
}

fn default_step() -> Duration {
    Duration::from_secs(15)
}

fn default_coverage() -> f64 {
    80.0
}

impl Prometheus {
    /// The limits of the figure itself.
    pub(crate) fn limits(&self) -> Range {
        Range {
            at_most: self.max,
            at_least: self.min,
            ..Range::default()
        }
    }

    pub(crate) fn bands(&self) -> Bands {
        Bands {
            normal: self.normal,
            warn: self.warn,
            alert: self.alert,
        }
    }

    /// The relative limit as a factor.
    pub(crate) fn factor(&self) -> Option<f64> {
        let percent = self.delta_percent.map(|percent| 1.0 + percent / 100.0);
        percent.or(self.ratio_max)
    }

    /// Whether candidate and stable are held against each other.
    pub(crate) fn compares(&self) -> bool {
        self.delta_max.is_some() || self.factor().is_some()
    }

    pub(crate) fn counts_breaches(&self) -> bool {
        let reduce = self.range.as_ref().map(|range| range.reduce);
        reduce == Some(Reduce::Breaches)
    }
}
