//! The chart of a figure: its bands, its limits, both sides, and where a verdict was no pass.
//!
//! A line goes from one measurement to the next. Where there is no data, or nobody asked, it ends:
//! nothing is drawn that was not measured.

mod shades;

use phasegate_core::time::Timestamp;

use crate::axis::Axis;
use crate::demand::Demand;
use crate::markup::Markup;
use crate::model::{Figure, Gate, Point, Word};
use crate::page::chart::{self, Scale, x};
use crate::page::percent;
use crate::shown;

/// How close to each other marks are drawn that say the same.
const CLOSE: f64 = 0.01;

/// A demand, and the part of the width over which it holds.
struct Era {
    left: f64,
    right: f64,
    demand: Demand,
}

pub(super) fn chart(m: &mut Markup, gate: &Gate, figure: &Figure, axis: &Axis, start: Timestamp) {
    let eras = eras(figure, axis);
    let scale = scale(figure, &eras);
    m.el("figure", &[], |m| {
        m.el("figcaption", &[], |m| {
            m.leaf("bdi", &[], &figure.name);
            if !figure.unit.is_empty() {
                m.foreign("span", &[("class", "quiet")], &format!(" in {}", figure.unit));
            }
            let limit = &figure.last.limit;
            if !limit.is_empty() {
                m.foreign("span", &[("class", "quiet")], &format!(", demanded {limit}"));
            }
        });
        if figure.points.iter().all(|point| point.candidate.is_none()) {
            let passed = figure.points.iter().any(|point| point.word == Word::Pass);
            let words = if passed {
                "It is no number, so that there is nothing to draw."
            } else {
                "There was no data."
            };
            m.leaf("p", &[("class", "quiet")], words);
            return;
        }
        chart::chart(
            m,
            &about(gate, figure),
            scale,
            &times(figure, axis, start),
            |m| {
                shades::bands(m, figure, &eras, scale, axis);
                shades::unknown(m, figure, scale, axis);
                limits(m, figure, &eras, scale, axis);
                for (class, side) in SIDES {
                    lines(m, class, figure, side, scale, axis);
                }
            },
            |m| {
                labels(m, figure, &eras, scale);
                for (class, side) in SIDES {
                    lone(m, class, figure, side, scale, axis);
                }
                marks(m, figure, scale, axis);
            },
        );
        if figure.points.len() < figure.measured {
            let words = format!(
                "Drawn from {} of {} measurements: the highest, lowest, first and last of each stretch.",
                figure.points.len(),
                figure.measured
            );
            m.leaf("p", &[("class", "thinned")], &words);
        }
    });
}

type Side = fn(&Point) -> Option<f64>;

/// Both sides. What is drawn last lies on top.
const SIDES: [(&str, Side); 2] = [
    ("line stable", |point| point.stable),
    ("line candidate", |point| point.candidate),
];

fn eras(figure: &Figure, axis: &Axis) -> Vec<Era> {
    let ends = figure
        .demands
        .iter()
        .skip(1)
        .map(|next| axis.at(next.from.0));
    let ends = ends.chain([1.0]);
    let era = |(index, (demanded, right)): (usize, (&crate::model::Demanded, f64))| Era {
        left: if index == 0 {
            0.0
        } else {
            axis.at(demanded.from.0)
        },
        right,
        demand: Demand::read(&demanded.words, &figure.unit),
    };
    figure
        .demands
        .iter()
        .zip(ends)
        .enumerate()
        .map(era)
        .collect()
}

fn scale(figure: &Figure, eras: &[Era]) -> Scale {
    let values = figure
        .points
        .iter()
        .flat_map(|point| [point.candidate, point.stable])
        .flatten();
    let mut wishes: Vec<f64> = eras.iter().flat_map(|era| era.demand.limits()).collect();
    let stable = figure.points.iter().filter_map(|point| point.stable);
    let highest = stable.fold(None, |most: Option<f64>, value| {
        Some(most.map_or(value, |most| most.max(value)))
    });
    for era in eras {
        let moving = era.demand.relative.iter();
        wishes.extend(moving.filter_map(|limit| Some(limit.at(highest?))));
    }
    Scale::over(values, &wishes)
}

/// What a chart shows, for whoever can't see it.
fn about(gate: &Gate, figure: &Figure) -> String {
    let values = || figure.points.iter().filter_map(|point| point.candidate);
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let last = figure.last.candidate;
    format!(
        "{} of gate {}: {} measurements of the candidate between {} and {}, the last {}.",
        figure.name,
        gate.name,
        figure.measured,
        shown::with_unit(least, &figure.unit),
        shown::with_unit(most, &figure.unit),
        last.map_or("without data".to_owned(), |last| shown::with_unit(
            last,
            &figure.unit
        ))
    )
}

fn times(figure: &Figure, axis: &Axis, start: Timestamp) -> Vec<(f64, String)> {
    let label = |time: Timestamp| (axis.at(time), shown::offset(time, start));
    let pieces = axis.pieces();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return figure
            .points
            .first()
            .map(|p| label(p.at.0))
            .into_iter()
            .collect();
    };
    let mut labels = vec![label(first.from)];
    for piece in pieces.iter().filter(|piece| piece.folded) {
        let near = labels
            .last()
            .is_some_and(|(before, _)| piece.right - before < 0.15);
        if !near && piece.right < 0.85 {
            labels.push(label(piece.to));
        }
    }
    if last.to > first.from {
        labels.push((1.0, shown::offset(last.to, start)));
    }
    labels
}

fn limits(m: &mut Markup, figure: &Figure, eras: &[Era], scale: Scale, axis: &Axis) {
    for era in eras {
        for limit in era.demand.limits() {
            if scale.has(limit) {
                let y = scale.y(limit);
                chart::line(m, "limit", &[(x(era.left), y), (x(era.right), y)]);
            }
        }
        for moving in &era.demand.relative {
            let limit = |point: &Point| {
                let here = axis.at(point.at.0);
                let within = here >= era.left && here <= era.right;
                point
                    .stable
                    .filter(|_| within)
                    .map(|stable| moving.at(stable))
            };
            for run in runs(figure, limit, scale, axis) {
                chart::line(m, "limit", &run);
            }
        }
    }
}

/// Measurements that follow each other without a break, as points of the drawing.
fn runs(
    figure: &Figure,
    side: impl Fn(&Point) -> Option<f64>,
    scale: Scale,
    axis: &Axis,
) -> Vec<Vec<(f64, f64)>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for point in &figure.points {
        let value = side(point);
        if (point.after_gap || value.is_none()) && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
        }
        if let Some(value) = value {
            run.push((x(axis.at(point.at.0)), scale.y(value)));
        }
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

fn lines(m: &mut Markup, class: &str, figure: &Figure, side: Side, scale: Scale, axis: &Axis) {
    for run in runs(figure, side, scale, axis) {
        if run.len() > 1 {
            chart::line(m, class, &run);
        }
    }
}

/// A measurement between two breaks is a point.
fn lone(m: &mut Markup, class: &str, figure: &Figure, side: Side, scale: Scale, axis: &Axis) {
    for run in runs(figure, side, scale, axis) {
        if let [(left, y)] = run.as_slice() {
            let class = class.replace("line", "dot");
            chart::dot(m, &class, left / x(1.0), *y, &figure.name);
        }
    }
}

/// The last limits, in figures at the right.
fn labels(m: &mut Markup, figure: &Figure, eras: &[Era], scale: Scale) {
    let Some(era) = eras.last() else {
        return;
    };
    let mut last: Option<f64> = None;
    for limit in era.demand.limits() {
        let y = scale.y(limit);
        if !scale.has(limit) || last.is_some_and(|last| last - y < 14.0) {
            continue;
        }
        last = Some(y);
        let text = [
            ("class", "limit-label"),
            ("x", &*percent(0.995)),
            ("y", &chart::number((y - 4.0).max(10.0))),
            ("text-anchor", "end"),
        ];
        m.leaf("text", &text, &shown::with_unit(limit, &figure.unit));
    }
}

/// A mark at every measurement that was no pass, where there is room for one.
fn marks(m: &mut Markup, figure: &Figure, scale: Scale, axis: &Axis) {
    let mut last: Option<(f64, Word)> = None;
    for point in &figure.points {
        let here = axis.at(point.at.0);
        let near = last.is_some_and(|(at, word)| word == point.word && here - at < CLOSE);
        if point.word == Word::Pass || near {
            continue;
        }
        last = Some((here, point.word));
        let y = point
            .candidate
            .map_or(scale.height() - 5.0, |value| scale.y(value));
        let value = point.candidate.map_or("no data".to_owned(), |value| {
            shown::with_unit(value, &figure.unit)
        });
        let word = point.word.as_str();
        let about = format!("{}, {value}, {word}", shown::moment(point.at.0));
        chart::dot(m, &format!("mark-{word}"), here, y, &about);
    }
}
