//! What was rolled back and why.

use super::timeline::of_level;
use super::{badge, cut, section as titled, table};
use crate::markup::Markup;
use crate::model::{Back, Report};
use crate::shown;

pub(super) fn section(m: &mut Markup, report: &Report) {
    if report.back.is_empty() {
        return;
    }
    titled(m, "back", "What was rolled back and why", |m| {
        for back in &report.back {
            one(m, report, back);
        }
        cut(m, report, "ways back");
        cut(m, report, "stages of a way back");
        cut(m, report, "events of the diagnosis");
        cut(m, report, "log lines of the diagnosis");
    });
}

fn one(m: &mut Markup, report: &Report, back: &Back) {
    m.el("p", &[("class", "because")], |m| {
        m.leaf("strong", &[], "Why: ");
        m.leaf("bdi", &[], &back.reason);
    });
    m.el("dl", &[("class", "facts")], |m| {
        let fact = |m: &mut Markup, name: &str, value: &str| {
            m.el("div", &[], |m| {
                m.leaf("dt", &[], name);
                m.foreign("dd", &[], value);
            });
        };
        let by = match &back.by {
            Some(by) => format!("{} ({})", by.name, by.verified_by),
            None => "the engine".to_owned(),
        };
        fact(m, "Decided by", &by);
        fact(m, "In step", back.step.as_deref().unwrap_or("none"));
        fact(m, "Turned back", &shown::moment(back.at.0));
        let ended = match back.ended_at {
            Some(ended) => format!(
                "{}, after {}",
                shown::moment(ended.0),
                shown::span(ended.0.since(back.at.0))
            ),
            None => "not yet".to_owned(),
        };
        fact(m, "Ended", &ended);
    });
    stages(m, back);
    lines(m, "Events of the workload", &back.events);
    lines(m, "Last log lines of the pods that failed", &back.logs);
    if back.events.is_empty() && back.logs.is_empty() && !report.overview.rehearsal {
        m.leaf(
            "p",
            &[("class", "quiet")],
            "Nothing was collected from pods.",
        );
    }
}

fn stages(m: &mut Markup, back: &Back) {
    let heads = ["After the turn", "Then took", "What", "Kind"];
    table(m, "Stages of the way back", &heads, |m| {
        for stage in &back.stages {
            m.el("tr", &[], |m| {
                let since = shown::offset(stage.at.0, back.at.0);
                m.leaf("td", &[("class", "time")], &since);
                let took = stage.took.map(shown::span);
                m.leaf("td", &[("class", "time")], took.as_deref().unwrap_or("–"));
                m.foreign("td", &[], &stage.message);
                m.el("td", &[], |m| badge(m, of_level(stage.level), &stage.kind));
            });
        }
    });
}

/// Lines as they came.
fn lines(m: &mut Markup, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    m.leaf("h3", &[], title);
    m.el("ul", &[("class", "log")], |m| {
        for line in lines {
            m.foreign("li", &[], line);
        }
    });
}
