//! The drawing of the timeline: lanes of bars, folded stretches, numbered marks, and times.

use phasegate_core::run::{Level, StepProgress};
use phasegate_core::time::Timestamp;

use super::of_level;
use crate::axis::{Axis, Piece};
use crate::markup::Markup;
use crate::model::{Filling, Step, Timeline};
use crate::page::{percent, place};
use crate::shown;

/// The top of each lane, and the height of the whole.
const FOLDS: u32 = 0;
const PHASES: u32 = 20;
const STEPS: u32 = 46;
const MARKS: u32 = 88;
const TICKS: u32 = 122;
const HEIGHT: &str = "130";
/// The height of a lane.
const LANE: u32 = 22;
/// The least width of what takes no time.
const LEAST: f64 = 0.004;
/// From which width on there is room for a name, and for a number.
const ROOM_NAME: f64 = 0.1;
const ROOM_NUMBER: f64 = 0.022;
/// How close marks may be without being drawn as one.
const CLOSE: f64 = 0.036;
/// How close two times on the axis may be.
const TICK: f64 = 0.14;

pub(super) fn drawing(m: &mut Markup, timeline: &Timeline, axis: &Axis) {
    let began = timeline
        .steps
        .iter()
        .filter(|step| step.started_at.is_some());
    let about = format!(
        "Timeline of {} steps and {} marks over {}; the tables below have the same.",
        began.count(),
        timeline.marks.len(),
        shown::span(timeline.to.0.since(timeline.from.0))
    );
    let drawing = [
        ("class", "timeline"),
        ("width", "100%"),
        ("height", HEIGHT),
        ("role", "img"),
        ("aria-label", &about),
    ];
    m.el("div", &[("class", "plot")], |m| {
        lanes(m);
        m.el("svg", &drawing, |m| {
            for piece in axis.pieces().iter().filter(|piece| piece.folded) {
                fold(m, timeline, axis, piece);
            }
            phases(m, timeline, axis);
            for (number, step) in (1_usize..).zip(&timeline.steps) {
                step_bar(m, timeline, axis, number, step);
            }
            stretches(m, timeline, axis);
            pins(m, timeline, axis);
            ticks(m, timeline, axis);
        });
    });
}

/// What the lanes are.
fn lanes(m: &mut Markup) {
    let gutter = [
        ("class", "scale"),
        ("width", "56"),
        ("height", HEIGHT),
        ("aria-hidden", "true"),
    ];
    m.el("svg", &gutter, |m| {
        for (lane, words) in [(PHASES, "phases"), (STEPS, "steps"), (MARKS, "marks")] {
            let y = (lane + 15).to_string();
            let text = [
                ("class", "tick"),
                ("x", "50"),
                ("y", &y),
                ("text-anchor", "end"),
            ];
            m.leaf("text", &text, words);
        }
    });
}

/// What filled the time besides steps.
fn stretches(m: &mut Markup, timeline: &Timeline, axis: &Axis) {
    for stretch in &timeline.stretches {
        let (class, top) = match stretch.filling {
            Filling::Waiting => ("bar waiting", STEPS),
            Filling::Back => ("bar back", STEPS),
            Filling::Rest => ("bar rest", STEPS),
            Filling::Away => ("bar away", PHASES),
        };
        let span = (stretch.from.0, stretch.to.0);
        bar(m, axis, span, top, class, &stretch.what, None);
    }
}

/// A bar, with as much of its name as there is room for.
fn bar(
    m: &mut Markup,
    axis: &Axis,
    (from, to): (Timestamp, Timestamp),
    top: u32,
    class: &str,
    name: &str,
    number: Option<usize>,
) {
    let left = place(axis, from);
    let wide = (place(axis, to) - left).max(LEAST);
    let label = match number {
        _ if wide >= ROOM_NAME => number.map_or(name.to_owned(), |n| format!("{n} {name}")),
        Some(number) if wide >= ROOM_NUMBER => number.to_string(),
        _ => String::new(),
    };
    let frame = [
        ("x", percent(left)),
        ("y", top.to_string()),
        ("width", percent(wide)),
        ("height", LANE.to_string()),
    ];
    let frame = frame
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    m.el("svg", &frame, |m| {
        let lane = LANE.to_string();
        m.el(
            "rect",
            &[
                ("class", class),
                ("width", "100%"),
                ("height", &lane),
                ("rx", "3"),
            ],
            |m| {
                let took = shown::span(to.since(from));
                m.leaf("title", &[], &format!("{name}, {took}"));
            },
        );
        if !label.is_empty() {
            m.leaf(
                "text",
                &[("x", "6"), ("y", "15"), ("class", "on-bar")],
                &label,
            );
        }
    });
}

fn phases(m: &mut Markup, timeline: &Timeline, axis: &Axis) {
    let mut phases: Vec<(&str, Timestamp, Timestamp)> = Vec::new();
    for step in &timeline.steps {
        let Some(from) = step.started_at else {
            continue;
        };
        let to = step.ended_at.unwrap_or(timeline.to).0;
        match phases.last_mut() {
            Some((phase, _, end)) if *phase == step.phase => *end = (*end).max(to),
            _ => phases.push((&step.phase, from.0, to)),
        }
    }
    for (phase, from, to) in phases {
        bar(m, axis, (from, to), PHASES, "bar phase", phase, None);
    }
    for back in timeline
        .stretches
        .iter()
        .filter(|s| s.filling == Filling::Back)
    {
        let span = (back.from.0, back.to.0);
        bar(m, axis, span, PHASES, "bar back", "way back", None);
    }
}

fn step_bar(m: &mut Markup, timeline: &Timeline, axis: &Axis, number: usize, step: &Step) {
    let Some(from) = step.started_at else {
        return;
    };
    let to = step.ended_at.unwrap_or(timeline.to);
    let class = match step.progress {
        StepProgress::Failed => "bar failed",
        StepProgress::Now => "bar now",
        StepProgress::Done | StepProgress::Ahead if step.wanted.is_some() => "bar soak",
        StepProgress::Done | StepProgress::Ahead => "bar step",
    };
    // The phase stands above already.
    let name = step
        .id
        .strip_prefix(step.phase.as_str())
        .unwrap_or(&step.id);
    let mut name = name.trim_start_matches('/').to_owned();
    if let Some(measured) = step.measured {
        name.push_str(&format!(", {} measured", shown::span(measured)));
    }
    bar(m, axis, (from.0, to.0), STEPS, class, &name, Some(number));
}

fn fold(m: &mut Markup, timeline: &Timeline, axis: &Axis, piece: &Piece) {
    let (left, right) = (place(axis, piece.from), place(axis, piece.to));
    m.empty(
        "rect",
        &[
            ("class", "fold"),
            ("x", &percent(left)),
            ("y", "18"),
            ("width", &percent(right - left)),
            ("height", "90"),
        ],
    );
    for x in [percent(left), percent(right)] {
        let edge = [
            ("class", "fold-edge"),
            ("x1", x.as_str()),
            ("x2", &x),
            ("y1", "18"),
            ("y2", "108"),
        ];
        m.empty("line", &edge);
    }
    m.leaf(
        "text",
        &[
            ("class", "fold-label"),
            ("x", &percent((left + right) / 2.0)),
            ("y", &(FOLDS + 12).to_string()),
            ("text-anchor", "middle"),
        ],
        &filled_by(timeline, piece),
    );
}

/// How long a folded stretch took, and what filled it where that is no step.
fn filled_by(timeline: &Timeline, piece: &Piece) -> String {
    let took = shown::span(piece.to.since(piece.from));
    let covers = |from: Timestamp, to: Timestamp| from <= piece.from && to >= piece.to;
    let filled = |filling: Filling| {
        let mut stretches = timeline.stretches.iter();
        stretches.any(|s| s.filling == filling && covers(s.from.0, s.to.0))
    };
    if filled(Filling::Away) {
        format!("{took} undriven")
    } else if filled(Filling::Waiting) {
        format!("{took} waiting")
    } else if filled(Filling::Rest) {
        format!("{took} at rest")
    } else {
        took
    }
}

/// Marks that are too close to each other for a pin each share one.
fn pins(m: &mut Markup, timeline: &Timeline, axis: &Axis) {
    let mut pins: Vec<(f64, usize, usize, Level)> = Vec::new();
    for (number, mark) in (1_usize..).zip(&timeline.marks) {
        let x = place(axis, mark.at.0);
        match pins.last_mut() {
            Some((first, _, last, level)) if x - *first < CLOSE => {
                *last = number;
                *level = (*level).max(mark.level);
            }
            _ => pins.push((x, number, number, mark.level)),
        }
    }
    for (x, first, last, level) in pins {
        let x = percent(x);
        let class = format!("pin {}", of_level(level));
        let stem = [
            ("class", "stem"),
            ("x1", x.as_str()),
            ("x2", &x),
            ("y1", "18"),
            ("y2", &MARKS.to_string()),
        ];
        m.empty("line", &stem);
        let centre = (MARKS + 10).to_string();
        m.empty(
            "circle",
            &[("class", &class), ("cx", &x), ("cy", &centre), ("r", "10")],
        );
        let label = match last - first {
            0 => first.to_string(),
            _ => format!("{first}–{last}"),
        };
        let small = if label.chars().count() > 2 {
            "pin-label small"
        } else {
            "pin-label"
        };
        let text = [
            ("class", small),
            ("x", x.as_str()),
            ("y", &(MARKS + 14).to_string()),
            ("text-anchor", "middle"),
        ];
        m.leaf("text", &text, &label);
    }
}

fn ticks(m: &mut Markup, timeline: &Timeline, axis: &Axis) {
    let pieces = axis.pieces().iter();
    let mut times = vec![timeline.from.0];
    times.extend(pieces.map(|piece| piece.to));
    let end = place(axis, timeline.to.0);
    let mut last: Option<f64> = None;
    for time in times {
        let x = place(axis, time);
        let is_end = time == timeline.to.0;
        let near = last.is_some_and(|last| x - last < TICK) || (!is_end && end - x < 1.6 * TICK);
        if near && last.is_some() {
            continue;
        }
        let anchor = match (last, is_end) {
            (None, _) => "start",
            (_, true) => "end",
            _ => "middle",
        };
        last = Some(x);
        let text = [
            ("class", "tick"),
            ("x", &percent(x)),
            ("y", &TICKS.to_string()),
            ("text-anchor", anchor),
        ];
        m.leaf("text", &text, &shown::offset(time, timeline.from.0));
    }
}
