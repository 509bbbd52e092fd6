//! When what took place: phases, steps, waiting and the way back on one line, with marks.

mod drawing;

use phasegate_core::run::{Level, StepProgress};
use phasegate_core::time::{Span, Timestamp};

use super::{at, badge, cut, section as titled, table, who};
use crate::axis::Axis;
use crate::markup::Markup;
use crate::model::{Filling, Mark, Report, Step, Timeline};
use crate::shown;

/// The axis of the timeline, and of what is drawn below it.
pub(super) fn axis(timeline: &Timeline) -> Axis {
    let mut cuts = vec![timeline.from.0, timeline.to.0];
    for step in &timeline.steps {
        cuts.extend(step.started_at.map(|at| at.0));
        cuts.extend(step.ended_at.map(|at| at.0));
    }
    for stretch in &timeline.stretches {
        cuts.extend([stretch.from.0, stretch.to.0]);
    }
    cuts.retain(|cut| *cut >= timeline.from.0 && *cut <= timeline.to.0);
    Axis::folding(cuts, |from, to| waits(timeline, from, to))
}

/// Whether the run only waited in this stretch: for time to pass, for people, or for an engine.
fn waits(timeline: &Timeline, from: Timestamp, to: Timestamp) -> bool {
    let soaks = timeline.steps.iter().any(|step| {
        let end = step.ended_at.unwrap_or(timeline.to);
        let covers = step.started_at.is_some_and(|begin| begin.0 <= from) && end.0 >= to;
        step.wanted.is_some() && covers
    });
    let idle = timeline.stretches.iter().any(|stretch| {
        stretch.filling != Filling::Back && stretch.from.0 <= from && stretch.to.0 >= to
    });
    soaks || idle
}

pub(super) fn section(m: &mut Markup, report: &Report, axis: &Axis) {
    let timeline = &report.timeline;
    titled(m, "timeline", "Timeline", |m| {
        m.el("figure", &[], |m| {
            drawing::drawing(m, timeline, axis);
            m.leaf("figcaption", &[], &caption(axis));
        });
        steps(m, timeline);
        cut(m, report, "steps");
        cut(m, report, "stretches of the timeline");
        marks(m, timeline);
        cut(m, report, "marks of the timeline");
    });
}

fn caption(axis: &Axis) -> String {
    let folded = axis.pieces().iter().filter(|piece| piece.folded).count();
    let what = "Phases above, steps below, and numbered marks, listed further down. \
                Numbers in the bars are those of the steps.";
    match folded {
        0 => what.to_owned(),
        _ => format!("{what} Shaded stretches are folded: they took longer than they are wide."),
    }
}

/// The class of the colour of a level.
pub(super) const fn of_level(level: Level) -> &'static str {
    match level {
        Level::Debug => "quiet",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "bad",
    }
}

fn steps(m: &mut Markup, timeline: &Timeline) {
    let start = timeline.from.0;
    let heads = ["#", "Step", "What it does", "Began", "Took", "State"];
    table(m, "Steps", &heads, |m| {
        for (number, step) in (1_usize..).zip(&timeline.steps) {
            m.el("tr", &[], |m| {
                m.leaf("td", &[("class", "number")], &number.to_string());
                m.foreign("th", &[("scope", "row")], &step.id);
                m.el("td", &[], |m| {
                    m.leaf("bdi", &[], &step.what);
                    for (said, words) in [
                        (step.outage, "declares an outage"),
                        (step.point_of_no_return, "point of no return"),
                    ] {
                        if said {
                            m.leaf("span", &[("class", "offset")], words);
                        }
                    }
                });
                match step.started_at {
                    Some(began) => at(m, began, start),
                    None => m.leaf("td", &[], "–"),
                }
                took(m, timeline, step);
                m.el("td", &[], |m| {
                    let (class, word) = match step.progress {
                        StepProgress::Done => ("good", "done"),
                        StepProgress::Now => ("info", "under way"),
                        StepProgress::Failed => ("bad", "failed"),
                        StepProgress::Ahead => ("quiet", "not begun"),
                    };
                    badge(m, class, word);
                });
            });
        }
    });
}

fn took(m: &mut Markup, timeline: &Timeline, step: &Step) {
    m.el("td", &[("class", "time")], |m| {
        let Some(from) = step.started_at else {
            m.text("–");
            return;
        };
        let to = step.ended_at.unwrap_or(timeline.to);
        m.text(&shown::span(to.0.since(from.0)));
        if let (Some(measured), Some(wanted)) = (step.measured, step.wanted) {
            let short = |span: Span| shown::span(span);
            let words = format!("measured {} of {}", short(measured), short(wanted));
            m.leaf("span", &[("class", "offset")], &words);
        }
    });
}

fn marks(m: &mut Markup, timeline: &Timeline) {
    if timeline.marks.is_empty() {
        return;
    }
    let start = timeline.from.0;
    let heads = ["#", "When", "What happened", "By"];
    table(m, "Marks", &heads, |m| {
        for (number, mark) in (1_usize..).zip(&timeline.marks) {
            mark_row(m, number, mark, start);
        }
    });
}

fn mark_row(m: &mut Markup, number: usize, mark: &Mark, start: Timestamp) {
    m.el("tr", &[], |m| {
        m.el("td", &[("class", "number")], |m| {
            let class = format!("badge round {}", of_level(mark.level));
            m.leaf("span", &[("class", &class)], &number.to_string());
        });
        at(m, mark.at, start);
        m.el("td", &[], |m| {
            m.leaf("bdi", &[], &mark.message);
            if mark.times > 1 {
                let times = format!("{} times in a row", mark.times);
                m.leaf("span", &[("class", "offset")], &times);
            }
            if let Some(step) = &mark.step {
                m.foreign("span", &[("class", "offset")], step);
            }
        });
        who(m, mark.by.as_ref());
    });
}
