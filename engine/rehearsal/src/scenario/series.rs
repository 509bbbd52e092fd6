//! Figures that change: over time, with the share of traffic, and with what is asked.

use std::collections::BTreeMap;

use phasegate_core::time::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::glob;

/// How many series may stand for each other in a row.
const MAX_CASES_DEEP: usize = 8;
/// Shares in percent are told apart to so many parts of one: they are sums of fractions.
const FINEST: f64 = 1e6;

/// A figure over time: straight lines between points, the first and the last go on for ever. None is no data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// Where its time begins.
    #[serde(default)]
    pub from: Origin,
    /// Time since then, and the figure from that time on; null is no data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<(Span, Option<f64>)>,
    /// In place of `points`: the candidate's share of the traffic in percent, and the figure from that share on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_share: Vec<(f64, Option<f64>)>,
    /// Whether the figure changes along a straight line rather than in steps.
    #[serde(default)]
    pub linear: bool,
    /// When another series stands for this one; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<Case>,
}

/// When another series stands for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What must be asked for: labels that a PromQL query selects by, or parameters of an address, by
    /// name; `version` is also the version of the pod that answers. A star stands for anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, String>,
    /// Only while the candidate has this share of the traffic or more, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_from: Option<f64>,
    /// Only while the candidate has less than this share, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_below: Option<f64>,
    /// The series that stands for it.
    pub take: String,
}

/// Where a time is counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The beginning of the scenario.
    #[default]
    Start,
    /// The time at which the workload's image last changed, in its Deployment or by one that came beside
    /// it; before any change there is no time, and the first point counts.
    Change,
    /// The time at which the versions' shares of the traffic last changed; before any change as above.
    Traffic,
}

/// When and for whom a figure is wanted.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// When the scenario began.
    pub start: Timestamp,
    /// The time that it is wanted for.
    pub at: Timestamp,
    /// When the image last changed before that time.
    pub changed: Option<Timestamp>,
    /// When the shares of the traffic last changed before that time.
    pub shifted: Option<Timestamp>,
    /// The candidate's share of the traffic at that time, in percent; none where there is no traffic.
    pub share: Option<f64>,
    /// What is asked for, by name.
    pub asked: Vec<(String, String)>,
}

impl Moment {
    fn rounded_share(&self) -> Option<f64> {
        self.share.map(|share| (share * FINEST).round() / FINEST)
    }
}

impl Series {
    /// What makes no sense about it, apart from names.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn check(&self) -> Result<(), String> {
        if self.points.is_empty() == self.by_share.is_empty() {
            return Err("a series needs `points` or `byShare`, one of them".to_owned());
        }
        if !self
            .points
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 < b.0))
        {
            return Err("the points are not in the order of time".to_owned());
        }
        if !self
            .by_share
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 < b.0))
        {
            return Err("the points of `byShare` are not in the order of the share".to_owned());
        }
        Ok(())
    }

    /// Whether it depends on the candidate's share of the traffic, or on when that changed.
    #[must_use]
    pub fn needs_traffic(&self) -> bool {
        self.from == Origin::Traffic
            || !self.by_share.is_empty()
            || self
                .cases
                .iter()
                .any(|case| case.share_from.is_some() || case.share_below.is_some())
    }

    /// The figure after so much time.
    #[must_use]
    pub fn at(&self, since: Span) -> Option<f64> {
        let points = self.points.iter();
        let points: Vec<(f64, Option<f64>)> = points
            .map(|(at, figure)| (to_f64(at.as_millis()), *figure))
            .collect();
        along(&points, to_f64(since.as_millis()), self.linear)
    }

    /// The figure at a moment, by its own points.
    fn own(&self, moment: &Moment) -> Option<f64> {
        if !self.by_share.is_empty() {
            return along(&self.by_share, moment.rounded_share()?, self.linear);
        }
        let since = match self.from {
            Origin::Start => moment.start,
            Origin::Change => moment.changed.unwrap_or(moment.at),
            Origin::Traffic => moment.shifted.unwrap_or(moment.at),
        };
        self.at(moment.at.since(since))
    }
}

impl Case {
    fn fits(&self, moment: &Moment) -> bool {
        let asked = |(name, pattern): (&String, &String)| {
            moment
                .asked
                .iter()
                .any(|(known, value)| known == name && glob(pattern, value))
        };
        let share = |holds: &dyn Fn(f64) -> bool| moment.rounded_share().is_some_and(holds);
        self.asked.iter().all(asked)
            && self
                .share_from
                .is_none_or(|least| share(&|share| share >= least))
            && self
                .share_below
                .is_none_or(|most| share(&|share| share < most))
    }
}

/// The figure of a series at a moment; none where there is no data, or no such series.
#[must_use]
pub fn figure(all: &BTreeMap<String, Series>, name: &str, moment: &Moment) -> Option<f64> {
    let mut series = all.get(name)?;
    for _ in 0..MAX_CASES_DEEP {
        match series.cases.iter().find(|case| case.fits(moment)) {
            Some(case) => series = all.get(&case.take)?,
            None => return series.own(moment),
        }
    }
    None
}

fn along(points: &[(f64, Option<f64>)], here: f64, linear: bool) -> Option<f64> {
    let past = points
        .iter()
        .rev()
        .find(|(at, _)| *at <= here)
        .or(points.first())?;
    let next = points.iter().find(|(at, _)| *at > here);
    match (linear, past, next) {
        (true, (from, Some(a)), Some((to, Some(b)))) if here >= *from => {
            Some(a + (b - a) * (here - from) / (to - from))
        }
        _ => past.1,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a scenario are far below 2^53"
)]
const fn to_f64(ms: u64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(linear: bool) -> Series {
        Series {
            points: vec![
                (Span::ZERO, Some(0.2)),
                (Span::from_mins(4), Some(1.2)),
                (Span::from_mins(8), None),
            ],
            linear,
            ..Series::default()
        }
    }

    #[test]
    fn a_figure_keeps_its_value_until_the_next_point() {
        let steps = series(false);
        assert_eq!(steps.at(Span::from_mins(3)), Some(0.2));
        assert_eq!(steps.at(Span::from_mins(4)), Some(1.2));
        assert_eq!(steps.at(Span::from_mins(9)), None);
    }

    #[test]
    fn a_linear_figure_goes_straight_and_ends_where_data_ends() {
        let line = series(true);
        assert!((line.at(Span::from_mins(2)).unwrap() - 0.7).abs() < 1e-9);
        assert_eq!(line.at(Span::from_mins(6)), Some(1.2));
        assert_eq!(line.at(Span::from_mins(8)), None);
    }

    fn moment(minutes: u64, share: Option<f64>, asked: &[(&str, &str)]) -> Moment {
        let start = Timestamp::from_millis(1_000_000);
        Moment {
            start,
            at: start.plus(Span::from_mins(minutes)),
            changed: None,
            shifted: Some(start.plus(Span::from_mins(10))),
            share,
            asked: asked
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn time_is_counted_from_where_the_series_says() {
        let at = |from: Origin, minutes: u64| {
            let series = Series {
                from,
                ..series(false)
            };
            let all = BTreeMap::from([("errors".to_owned(), series)]);
            figure(&all, "errors", &moment(minutes, None, &[]))
        };
        assert_eq!(at(Origin::Start, 12), None);
        assert_eq!(at(Origin::Traffic, 12), Some(0.2));
        assert_eq!(at(Origin::Traffic, 14), Some(1.2));
        assert_eq!(at(Origin::Change, 14), Some(0.2), "nothing has changed yet");
    }

    #[test]
    fn a_figure_can_follow_the_share_and_what_is_asked() {
        let constant = |figure: f64| Series {
            points: vec![(Span::ZERO, Some(figure))],
            ..Series::default()
        };
        let case = |asked: &[(&str, &str)], from, below, take: &str| Case {
            asked: asked
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            share_from: from,
            share_below: below,
            take: take.to_owned(),
        };
        let errors = Series {
            cases: vec![
                case(&[("version", "1.1.*")], Some(25.0), None, "bad"),
                case(&[("version", "1.1.*")], None, None, "fair"),
                case(&[], None, Some(1.0), "quiet"),
            ],
            ..constant(0.1)
        };
        let bad = Series {
            by_share: vec![(25.0, Some(1.0)), (75.0, Some(3.0)), (90.0, None)],
            linear: true,
            ..Series::default()
        };
        let all = BTreeMap::from([
            ("errors".to_owned(), errors),
            ("bad".to_owned(), bad),
            ("fair".to_owned(), constant(0.5)),
            ("quiet".to_owned(), constant(0.0)),
        ]);
        let new = [("version", "1.1.0")];
        let old = [("version", "1.0.0")];
        for (share, asked, wanted) in [
            (Some(10.0), &new[..], Some(0.5)),
            (Some(25.0), &new, Some(1.0)),
            // A sum of fractions falls short of the share that it stands for.
            (Some(24.999_999_9), &new, Some(1.0)),
            (Some(50.0), &new, Some(2.0)),
            (Some(95.0), &new, None),
            (Some(50.0), &old, Some(0.1)),
            (Some(0.0), &old, Some(0.0)),
            (None, &new, Some(0.5)),
        ] {
            let found = figure(&all, "errors", &moment(1, share, asked));
            let near = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-6,
                (found, wanted) => found == wanted,
            };
            assert!(near, "{share:?} {asked:?}: {found:?}, not {wanted:?}");
        }
    }

    #[test]
    fn series_that_stand_for_each_other_end_without_data() {
        let circle = Series {
            cases: vec![Case {
                take: "a".to_owned(),
                ..Case::default()
            }],
            ..series(false)
        };
        let all = BTreeMap::from([("a".to_owned(), circle)]);
        assert_eq!(figure(&all, "a", &moment(1, None, &[])), None);
    }
}
