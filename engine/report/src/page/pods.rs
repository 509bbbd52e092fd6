//! Traffic and pods over time, as they were asked for and as they were read back, on the timeline's axis.

use phasegate_core::time::Timestamp;

use super::chart::{self, Scale, number, x};
use super::{at, cut, percent, place, section as titled, table};
use crate::axis::Axis;
use crate::markup::Markup;
use crate::model::{Counted, Pods, Report, Timeline, Traffic};
use crate::shown;

pub(super) fn section(m: &mut Markup, report: &Report, axis: &Axis) {
    titled(m, "traffic", "Traffic and pods", |m| {
        let timeline = &report.timeline;
        if report.traffic.is_empty() {
            let words =
                "The run shared no traffic by weight: traffic follows the pods that are ready.";
            m.leaf("p", &[("class", "quiet")], words);
        }
        for traffic in &report.traffic {
            shares(m, timeline, axis, traffic);
        }
        cut(m, report, "changes of traffic");
        cut(m, report, "lines on traffic of further workloads");
        if report.pods.is_empty() {
            m.leaf("p", &[("class", "quiet")], "The run read no pods.");
        }
        for pods in &report.pods {
            counts(m, timeline, axis, pods);
        }
        cut(m, report, "changes of pods");
        cut(m, report, "lines on pods of further workloads");
    });
}

/// Values that hold from one moment to the next; none where nobody could tell.
type Held = Vec<(Timestamp, Option<f64>)>;

/// Steps from one moment to the next, broken where there is no value.
fn steps(m: &mut Markup, axis: &Axis, scale: Scale, class: &str, held: &Held, until: Timestamp) {
    let ends = held.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let mut path: Vec<(f64, f64)> = Vec::new();
    for ((from, value), to) in held.iter().zip(ends) {
        match value {
            Some(value) => {
                let y = scale.y(*value);
                path.push((x(place(axis, *from)), y));
                path.push((x(place(axis, to)), y));
            }
            None if !path.is_empty() => chart::line(m, class, &std::mem::take(&mut path)),
            None => {}
        }
    }
    if !path.is_empty() {
        chart::line(m, class, &path);
    }
}

/// The area below steps.
fn below(m: &mut Markup, axis: &Axis, scale: Scale, class: &str, held: &Held, until: Timestamp) {
    let ends = held.iter().skip(1).map(|(at, _)| *at).chain([until]);
    for ((from, value), to) in held.iter().zip(ends) {
        let span = (x(place(axis, *from)), x(place(axis, to)));
        match value {
            Some(value) => chart::area(m, class, span, (scale.y(*value), scale.height())),
            None => chart::area(m, "unknown", span, (0.0, scale.height())),
        }
    }
}

/// What was folded on the timeline is folded here, and phases begin where they do there.
fn backdrop(m: &mut Markup, timeline: &Timeline, axis: &Axis, scale: Scale) {
    for piece in axis.pieces().iter().filter(|piece| piece.folded) {
        let span = (x(place(axis, piece.from)), x(place(axis, piece.to)));
        chart::area(m, "fold", span, (0.0, scale.height()));
        for edge in [span.0, span.1] {
            chart::line(m, "fold-edge", &[(edge, 0.0), (edge, scale.height())]);
        }
    }
    let mut last = "";
    for step in &timeline.steps {
        if let Some(from) = step.started_at
            && last != step.phase
        {
            last = &step.phase;
            let left = x(place(axis, from.0));
            chart::line(m, "phase-line", &[(left, 0.0), (left, scale.height())]);
        }
    }
}

/// The times below a chart on the timeline's axis.
fn times(timeline: &Timeline, axis: &Axis) -> Vec<(f64, String)> {
    let start = timeline.from.0;
    let label = |time: Timestamp| (place(axis, time), shown::offset(time, start));
    vec![label(start), label(timeline.to.0)]
}

/// The table of a chart's numbers, for whoever wants them.
fn numbers(m: &mut Markup, caption: &str, heads: &[&str], rows: impl FnOnce(&mut Markup)) {
    m.el("details", &[], |m| {
        m.leaf("summary", &[], caption);
        table(m, caption, heads, rows);
    });
}

fn title(m: &mut Markup, what: &str, workload: &str) {
    m.el("h3", &[], |m| {
        m.text(what);
        if !workload.is_empty() {
            m.text(" of ");
            m.leaf("bdi", &[], workload);
        }
    });
}

fn legend(m: &mut Markup, keys: &[(&str, &str)]) {
    m.el("ul", &[("class", "legend")], |m| {
        for (class, words) in keys {
            m.el("li", &[], |m| {
                m.leaf(
                    "span",
                    &[("class", &format!("key {class}")), ("aria-hidden", "true")],
                    "",
                );
                m.text(words);
            });
        }
    });
}

fn shares(m: &mut Markup, timeline: &Timeline, axis: &Axis, traffic: &Traffic) {
    title(m, "The candidate's share of traffic", &traffic.workload);
    legend(
        m,
        &[
            ("asked", "asked for"),
            ("read", "read back"),
            ("unknown", "not read back"),
        ],
    );
    let held = |share: fn(&crate::model::Share) -> Option<f64>| -> Held {
        let before = [(timeline.from.0, Some(0.0))];
        let since = traffic.shares.iter().map(|s| (s.at.0, share(s)));
        before.into_iter().chain(since).collect()
    };
    let (asked, read) = (held(|share| share.asked), held(|share| share.read));
    let until = timeline.to.0;
    let about = format!(
        "The candidate's share of traffic in percent, {} changes; the table below has the same.",
        traffic.shares.len()
    );
    let scale = Scale::shares();
    chart::chart(
        m,
        &about,
        scale,
        &times(timeline, axis),
        |m| {
            backdrop(m, timeline, axis, scale);
            below(m, axis, scale, "read-area", &read, until);
            steps(m, axis, scale, "line read", &read, until);
            steps(m, axis, scale, "line asked", &asked, until);
        },
        |_| {},
    );
    let heads = ["When", "Asked for", "Read back", "Line"];
    numbers(m, "Changes of traffic", &heads, |m| {
        for share in &traffic.shares {
            m.el("tr", &[], |m| {
                at(m, share.at, timeline.from.0);
                for value in [share.asked, share.read] {
                    let words = value.map(|value| shown::with_unit(value, "%"));
                    let words = words.as_deref().unwrap_or("no data");
                    m.leaf("td", &[("class", "number")], words);
                }
                m.foreign("td", &[], &share.message);
            });
        }
    });
}

fn counts(m: &mut Markup, timeline: &Timeline, axis: &Axis, pods: &Pods) {
    title(m, "Pods", &pods.workload);
    legend(
        m,
        &[
            ("asked", "asked for"),
            ("read", "ready"),
            ("updated", "of the present template"),
            ("unknown", "nobody could tell"),
        ],
    );
    let held = |count: fn(&crate::model::Count) -> u64| -> Held {
        let value = |counted: &Counted| counted.pods.as_ref().map(|pods| whole(count(pods)));
        pods.counts.iter().map(|c| (c.at.0, value(c))).collect()
    };
    let (wanted, ready, updated) = (held(|c| c.wanted), held(|c| c.ready), held(|c| c.updated));
    let all = [&wanted, &ready, &updated].into_iter().flatten();
    let most = all.filter_map(|(_, value)| *value).fold(1.0, f64::max);
    let scale = Scale::counts(most);
    let until = pods.until.0;
    let about = format!(
        "Pods over time, {most} at most, {} changes; the table below has the same.",
        pods.counts.len()
    );
    chart::chart(
        m,
        &about,
        scale,
        &times(timeline, axis),
        |m| {
            backdrop(m, timeline, axis, scale);
            below(m, axis, scale, "read-area", &ready, until);
            steps(m, axis, scale, "line read", &ready, until);
            steps(m, axis, scale, "line updated", &updated, until);
            steps(m, axis, scale, "line asked", &wanted, until);
        },
        |m| unread(m, axis, scale, pods),
    );
    counted(m, timeline, pods);
}

/// Before the first look nothing is known.
fn unread(m: &mut Markup, axis: &Axis, scale: Scale, pods: &Pods) {
    let Some(first) = pods.counts.first() else {
        return;
    };
    let right = place(axis, first.at.0);
    if right > 0.15 {
        let text = [
            ("class", "note"),
            ("x", &percent(0.02)),
            ("y", &number(scale.height() - 8.0)),
        ];
        m.leaf("text", &text, "not yet looked at");
    }
}

fn counted(m: &mut Markup, timeline: &Timeline, pods: &Pods) {
    let heads = [
        "When",
        "Asked for",
        "Ready",
        "Updated",
        "In all",
        "Image asked for",
    ];
    numbers(m, "Changes of pods", &heads, |m| {
        for counted in &pods.counts {
            m.el("tr", &[], |m| {
                at(m, counted.at, timeline.from.0);
                let Some(count) = &counted.pods else {
                    m.leaf("td", &[("colspan", "5")], "nobody could tell");
                    return;
                };
                for number in [count.wanted, count.ready, count.updated, count.total] {
                    m.leaf("td", &[("class", "number")], &number.to_string());
                }
                m.foreign("td", &[("class", "code")], &count.image);
            });
        }
    });
}

fn whole(count: u64) -> f64 {
    // No cluster has so many pods that this loses any.
    count as f64
}
