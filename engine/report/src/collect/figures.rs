//! Figures of a gate over time, and which of many make up the picture.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::time::Timestamp;
use phasegate_core::verdict::Measurement;

use super::{Cuts, name};
use crate::limits;
use crate::model::{Demanded, Figure, Measured, Moment, Point};
use crate::shown::clipped;

#[derive(Default)]
pub(crate) struct Figures {
    figures: Vec<Figure>,
    demands: usize,
    /// Figures beyond the limit, by name as far as names are kept.
    more: BTreeSet<String>,
}

impl Figures {
    /// Takes in what a gate measured at once. `breaks` says that nothing was measured for long before.
    pub(crate) fn take(&mut self, at: Timestamp, measured: &[Measurement], breaks: bool) {
        for figure in &mut self.figures {
            figure.since = figure.since.saturating_add(1);
        }
        for measurement in measured {
            let known = name(&measurement.name);
            let index = self.figures.iter().position(|figure| figure.name == known);
            let figure = match index {
                Some(index) => self.figures.get_mut(index),
                None if self.figures.len() < limits::FIGURES => {
                    self.figures.push(begun(known, at, measurement));
                    self.figures.last_mut()
                }
                None => {
                    if self.more.len() < limits::GATES {
                        self.more.insert(known);
                    }
                    None
                }
            };
            if let Some(figure) = figure {
                self.demands = self.demands.saturating_add(usize::from(!measure(
                    figure,
                    at,
                    measurement,
                    breaks,
                )));
            }
        }
    }

    pub(crate) fn finish(mut self, gate: &str, cuts: &mut Cuts) -> Vec<Figure> {
        let shown = self.figures.len();
        let of = shown.saturating_add(self.more.len());
        cuts.note(&format!("figures of gate {gate}"), of, shown);
        cuts.note(
            &format!("changes of the demands of gate {gate}"),
            self.demands,
            0,
        );
        for figure in &mut self.figures {
            figure.points = thinned(std::mem::take(&mut figure.points));
        }
        self.figures
    }
}

fn begun(known: String, at: Timestamp, measurement: &Measurement) -> Figure {
    Figure {
        name: known,
        unit: clipped(&measurement.unit, limits::UNIT),
        measured: 0,
        points: Vec::new(),
        demands: Vec::new(),
        last: last(at, measurement),
        since: 0,
    }
}

fn band(measurement: &Measurement) -> Option<String> {
    (!measurement.band.is_empty()).then(|| name(&measurement.band))
}

/// Takes a measurement in. False where its demand is one too many to be kept.
fn measure(figure: &mut Figure, at: Timestamp, measurement: &Measurement, breaks: bool) -> bool {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    figure.measured = figure.measured.saturating_add(1);
    figure.points.push(Point {
        at: Moment(at),
        candidate: finite(measurement.candidate),
        stable: finite(measurement.stable),
        word: measurement.status.into(),
        band: band(measurement),
        // Where the gate spoke without this figure, nothing was measured either.
        after_gap: breaks || figure.since > 1,
    });
    figure.since = 0;
    figure.last = last(at, measurement);
    let words = name(&measurement.limit);
    if figure
        .demands
        .last()
        .is_some_and(|last| last.words == words)
    {
        return true;
    }
    if figure.demands.len() >= limits::DEMANDS {
        return false;
    }
    figure.demands.push(Demanded {
        from: Moment(at),
        words,
    });
    true
}

fn last(at: Timestamp, measurement: &Measurement) -> Measured {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    let (candidate, stable) = (finite(measurement.candidate), finite(measurement.stable));
    let difference = candidate
        .zip(stable)
        .map(|(candidate, stable)| candidate - stable);
    let percent = difference
        .zip(stable)
        .filter(|(_, stable)| *stable != 0.0)
        .map(|(difference, stable)| difference / stable.abs() * 100.0);
    Measured {
        at: Moment(at),
        candidate,
        stable,
        difference,
        percent,
        limit: name(&measurement.limit),
        word: measurement.status.into(),
        band: band(measurement),
        samples: measurement.samples,
    }
}

/// The points that make up the picture: of each of many stretches of time the first, the last, and
/// of either side the lowest and the highest; the first without data, and the first that is no pass.
/// No point is made up.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return points;
    };
    if points.len() <= limits::COLUMNS.saturating_mul(4) {
        return points;
    }
    let from = first.at.0;
    let columns = u64::try_from(limits::COLUMNS).unwrap_or(1);
    let wide = last.at.0.since(from).as_millis().div_ceil(columns).max(1);
    let mut chosen: BTreeMap<(u64, &str), (usize, f64)> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        let column = point.at.0.since(from).as_millis() / wide;
        let mut offer = |role, score: f64| {
            let best = chosen.entry((column, role)).or_insert((index, score));
            if score > best.1 {
                *best = (index, score);
            }
        };
        offer("first", 0.0);
        offer("last", f64::from(u32::try_from(index).unwrap_or(u32::MAX)));
        for (low, high, value) in [
            ("low", "high", point.candidate),
            ("stable low", "stable high", point.stable),
        ] {
            if let Some(value) = value {
                offer(low, -value);
                offer(high, value);
            }
        }
        if point.candidate.is_none() {
            offer("no data", 0.0);
        }
        if point.word != crate::model::Word::Pass {
            offer("no pass", 0.0);
        }
    }
    let kept: BTreeSet<usize> = chosen.values().map(|(index, _)| *index).collect();
    let mut gap = false;
    let mut thinned = Vec::new();
    for (index, mut point) in points.into_iter().enumerate() {
        gap |= point.after_gap;
        if kept.contains(&index) {
            point.after_gap = std::mem::take(&mut gap);
            thinned.push(point);
        }
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Word;

    fn point(second: u64, candidate: Option<f64>) -> Point {
        Point {
            at: Moment(Timestamp::from_millis(second * 1000)),
            candidate,
            stable: None,
            word: candidate.map_or(Word::Inconclusive, |_| Word::Pass),
            band: None,
            after_gap: false,
        }
    }

    #[test]
    fn of_many_points_the_peak_the_hole_and_the_break_are_kept() {
        let mut points: Vec<Point> = (0..20_000)
            .map(|second| point(second, Some(f64::from(u32::try_from(second % 7).unwrap()))))
            .collect();
        points[9_999] = point(9_999, Some(1e6));
        points[12_345] = point(12_345, None);
        points[15_001].after_gap = true;
        let thinned = thinned(points);
        assert!(thinned.len() <= limits::COLUMNS * 8, "{}", thinned.len());
        let at = |second: u64| thinned.iter().find(|p| p.at.0.as_millis() == second * 1000);
        assert_eq!(at(0).unwrap().candidate, Some(0.0));
        assert_eq!(at(9_999).unwrap().candidate, Some(1e6));
        assert_eq!(at(12_345).unwrap().candidate, None);
        assert_eq!(at(19_999).map(|p| p.after_gap), Some(false));
        let gaps: Vec<u64> = thinned
            .iter()
            .filter(|p| p.after_gap)
            .map(|p| p.at.0.as_millis() / 1000)
            .collect();
        assert_eq!(gaps.len(), 1);
        assert!((15_001..15_200).contains(&gaps[0]), "{gaps:?}");
    }
}
