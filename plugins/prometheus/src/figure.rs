//! One figure of points, or why there is none.

use phasegate_plugin::Duration;
use phasegate_plugins_shared::limits::{Bands, Range};

use crate::answer::Point;
use crate::config::{RangeQuery, Reduce};

/// How far the time of an answer and the engine's may differ. Beyond it the answer is an old one,
/// from a cache, or one of the clocks is wrong; either way nobody knows which time is judged.
const CLOCKS_APART_MS: u64 = 5 * 60_000;
/// How many steps before the end the last point may lie: data on its way to a remote store.
const LATE_STEPS: u64 = 2;

/// Why there is no figure.
#[derive(Debug, PartialEq)]
pub(crate) struct NoData {
    pub(crate) reason: String,
    /// How much longer it takes until there may be one, where that is known.
    pub(crate) needs: Option<Duration>,
}

impl From<String> for NoData {
    fn from(reason: String) -> Self {
        Self {
            reason,
            needs: None,
        }
    }
}

/// What is expected of an instant query: a number, of about now.
pub(crate) fn instant(points: &[Point], now: u64) -> Result<f64, NoData> {
    let point = points
        .last()
        .ok_or_else(|| NoData::from("no point".to_owned()))?;
    let apart = point.at.abs_diff(now);
    if apart > CLOCKS_APART_MS {
        let seconds = apart / 1000;
        let direction = if point.at < now { "behind" } else { "ahead of" };
        return Err(NoData::from(format!(
            "the answer's time is {seconds} s {direction} the engine's clock: an old answer, or a wrong clock"
        )));
    }
    let number = point.value;
    number.ok_or_else(|| NoData::from("it is not a finite number".to_owned()))
}

/// The times at which a range query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Steps {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) step: Duration,
}

impl Steps {
    /// Whole steps that end now, so that the last point is of now.
    pub(crate) fn back(end: u64, over: Duration, step: Duration) -> Self {
        let whole = over.as_millis() / step.as_millis().max(1);
        let length = u64::from(whole.max(1)) * u64::from(step.as_millis());
        Self {
            start: end.saturating_sub(length),
            end,
            step,
        }
    }

    /// How many points there can be.
    fn count(self) -> u64 {
        (self.end - self.start.min(self.end)) / self.step_ms() + 1
    }

    fn step_ms(self) -> u64 {
        u64::from(self.step.as_millis()).max(1)
    }
}

/// One figure of points over time.
pub(crate) fn reduced(
    points: &[Point],
    steps: Steps,
    range: &RangeQuery,
    limits: Range,
    bands: Bands,
) -> Result<f64, NoData> {
    let good: Vec<(u64, f64)> = points
        .iter()
        .filter_map(|point| Some((point.at, point.value?)))
        .collect();
    let (Some(&(_, first)), Some(&(last_at, last))) = (good.first(), good.last()) else {
        return Err(NoData::from("no point is a finite number".to_owned()));
    };
    let late = steps.end.saturating_sub(last_at);
    if late > LATE_STEPS * steps.step_ms() {
        // The time of day and not how long ago: what is said must not change with every look.
        let message = format!("there is none since {}", time_of_day(last_at));
        return Err(NoData::from(message));
    }
    covered(good.len(), steps, range)?;
    let values = || good.iter().map(|(_, value)| *value);
    let count = good.len() as f64;
    Ok(match range.reduce {
        Reduce::Last => last,
        Reduce::Mean => values().sum::<f64>() / count,
        Reduce::Max => values().fold(f64::NEG_INFINITY, f64::max),
        Reduce::Min => values().fold(f64::INFINITY, f64::min),
        Reduce::Growth if good.len() < 2 => {
            return Err(NoData::from("one point alone has no growth".to_owned()));
        }
        Reduce::Growth => last - first,
        Reduce::Breaches => {
            let breaks = |value: &f64| !limits.holds(*value) || bands.of(*value) == "alert";
            values().filter(breaks).count() as f64 * 100.0 / count
        }
    })
}

/// Whether enough of the points have data.
fn covered(good: usize, steps: Steps, range: &RangeQuery) -> Result<(), NoData> {
    let expected = steps.count();
    // Rounded up: 80 % of 4 points are 4, not 3.
    let needed = (expected as f64 * range.coverage / 100.0).ceil() as u64;
    let good = u64::try_from(good).unwrap_or(u64::MAX);
    if good >= needed {
        return Ok(());
    }
    let missing = (needed - good).saturating_mul(steps.step_ms());
    Err(NoData {
        reason: format!("{good} of {expected} points have data, {needed} are needed"),
        needs: u32::try_from(missing).ok().map(Duration::from_millis),
    })
}

/// `17:00:19 UTC`.
fn time_of_day(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const END: u64 = 1_000_000;

    fn range(reduce: &str, coverage: f64) -> RangeQuery {
        let range = json!({ "reduce": reduce, "step": "10s", "coverage": coverage });
        serde_json::from_value(range).unwrap()
    }

    /// Points at each step until the end.
    fn points(values: &[Option<f64>]) -> Vec<Point> {
        let first = END - 10_000 * (values.len() as u64).saturating_sub(1);
        let values = values.iter().enumerate();
        values
            .map(|(n, &value)| Point {
                at: first + 10_000 * n as u64,
                value,
            })
            .collect()
    }

    fn figure(reduce: &str, values: &[Option<f64>]) -> Result<f64, NoData> {
        let steps = Steps::back(END, Duration::from_secs(40), Duration::from_secs(10));
        let limits = Range {
            at_most: Some(5.0),
            ..Range::default()
        };
        let range = range(reduce, 60.0);
        reduced(&points(values), steps, &range, limits, Bands::default())
    }

    #[test]
    fn points_become_one_figure() {
        let values = [Some(4.0), Some(8.0), Some(2.0), Some(6.0), Some(5.0)];
        for (reduce, expected) in [
            ("last", 5.0),
            ("mean", 5.0),
            ("max", 8.0),
            ("min", 2.0),
            ("growth", 1.0),
            ("breaches", 40.0),
        ] {
            assert_eq!(figure(reduce, &values), Ok(expected), "{reduce}");
        }
    }

    #[test]
    fn gaps_are_let_pass_up_to_the_coverage() {
        let gaps = [Some(4.0), None, Some(2.0), None, Some(6.0)];
        assert_eq!(figure("mean", &gaps), Ok(4.0));
        let more = [None, None, Some(2.0), None, Some(6.0)];
        let expected = NoData {
            reason: "2 of 5 points have data, 3 are needed".to_owned(),
            needs: Some(Duration::from_secs(10)),
        };
        assert_eq!(figure("mean", &more), Err(expected));
    }

    #[test]
    fn data_that_ended_is_no_data() {
        let ended = [Some(1.0), Some(1.0), None, None, None];
        let expected = "there is none since 00:16:10 UTC";
        assert_eq!(figure("last", &ended).unwrap_err().reason, expected);
        let late = [Some(1.0), Some(1.0), Some(2.0), None, None];
        assert_eq!(figure("last", &late), Ok(2.0));
        assert_eq!(
            figure("max", &[None, None]).unwrap_err().reason,
            "no point is a finite number"
        );
        assert!(figure("max", &[]).is_err());
    }

    #[test]
    fn one_point_has_no_growth() {
        let steps = Steps::back(END, Duration::from_secs(10), Duration::from_secs(10));
        let range = range("growth", 1.0);
        let one = points(&[Some(3.0)]);
        let none = reduced(&one, steps, &range, Range::default(), Bands::default());
        assert_eq!(none.unwrap_err().reason, "one point alone has no growth");
    }

    #[test]
    fn an_answer_of_another_time_is_no_data() {
        let of = |at| {
            instant(
                &[Point {
                    at,
                    value: Some(1.0),
                }],
                END,
            )
        };
        assert_eq!(of(END - CLOCKS_APART_MS), Ok(1.0));
        let old = of(END - CLOCKS_APART_MS - 1000).unwrap_err().reason;
        assert!(
            old.starts_with("the answer's time is 301 s behind"),
            "{old}"
        );
        assert!(of(END + CLOCKS_APART_MS + 1000).is_err());
    }

    #[test]
    fn steps_end_now() {
        let steps = Steps::back(END, Duration::from_secs(95), Duration::from_secs(30));
        assert_eq!((steps.start, steps.end, steps.count()), (910_000, END, 4));
    }
}
