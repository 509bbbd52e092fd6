//! What lies behind the lines of a chart: bands, and times of which nothing is known.

use super::Era;
use crate::axis::Axis;
use crate::markup::Markup;
use crate::model::Figure;
use crate::page::chart::{self, Scale, x};

/// The least width of a stretch.
const LEAST: f64 = 0.004;

/// Bands between limits where they are known; else where measurements lay in a band that is not normal.
pub(super) fn bands(m: &mut Markup, figure: &Figure, eras: &[Era], scale: Scale, axis: &Axis) {
    let (low, high) = scale.edges();
    let mut known = false;
    for era in eras {
        let mut edges = vec![low];
        edges.extend(
            era.demand
                .limits()
                .into_iter()
                .filter(|limit| scale.has(*limit)),
        );
        edges.push(high);
        for (from, to) in edges.iter().zip(edges.iter().skip(1)) {
            if let Some(shade) = era.demand.shade((from + to) / 2.0) {
                known = true;
                let class = format!("band-{}", shade.as_str());
                let span = (x(era.left), x(era.right));
                chart::area(m, &class, span, (scale.y(*to), scale.y(*from)));
            }
        }
    }
    if known {
        return;
    }
    for (class, left, right) in banded(figure, axis) {
        chart::area(m, class, (x(left), x(right)), (0.0, scale.height()));
    }
}

/// Stretches in which measurements lay in the same band, where that is not the normal one.
fn banded(figure: &Figure, axis: &Axis) -> Vec<(&'static str, f64, f64)> {
    let mut stretches: Vec<(&'static str, f64, f64)> = Vec::new();
    let mut open = false;
    for point in &figure.points {
        let here = axis.at(point.at.0);
        if open
            && !point.after_gap
            && let Some((_, _, right)) = stretches.last_mut()
        {
            *right = here;
        }
        let class = match point.band.as_deref() {
            Some("warn") => "band-warn",
            Some("alert") => "band-alert",
            _ => {
                open = false;
                continue;
            }
        };
        let goes_on = open && !point.after_gap;
        if !goes_on || stretches.last().is_none_or(|(last, ..)| *last != class) {
            stretches.push((class, here, (here + LEAST).min(1.0)));
        }
        open = true;
    }
    stretches
}

/// Where there was no data, and where nobody asked.
pub(super) fn unknown(m: &mut Markup, figure: &Figure, scale: Scale, axis: &Axis) {
    for piece in axis.pieces().iter().filter(|piece| piece.folded) {
        chart::area(
            m,
            "unasked",
            (x(piece.left), x(piece.right)),
            (0.0, scale.height()),
        );
    }
    let mut from: Option<f64> = None;
    let mut last = 0.0;
    for point in &figure.points {
        let here = axis.at(point.at.0);
        if point.after_gap
            && let Some(left) = from.take()
        {
            chart::area(m, "unknown", (x(left), x(last)), (0.0, scale.height()));
        }
        match point.candidate {
            None => {
                from.get_or_insert(here);
            }
            Some(_) => {
                if let Some(left) = from.take() {
                    chart::area(m, "unknown", (x(left), x(here)), (0.0, scale.height()));
                }
            }
        }
        last = here;
    }
    if let Some(left) = from {
        chart::area(
            m,
            "unknown",
            (x(left), x(last.max(left + LEAST))),
            (0.0, scale.height()),
        );
    }
}
