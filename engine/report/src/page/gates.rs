//! Gates: the candidate against stable, and a chart for every figure with its bands and verdicts.

mod figure;

use phasegate_core::time::Timestamp;

use super::{at, badge, cut, percent, section as titled, table};
use crate::axis::Axis;
use crate::markup::Markup;
use crate::model::{Cell, Figure, Gate, Measured, Report, Streak, Word};
use crate::shown;

/// The height of the strip of verdicts.
const STRIP: &str = "16";
/// The least width of a cell.
const LEAST: f64 = 0.003;

pub(super) fn section(m: &mut Markup, report: &Report) {
    titled(m, "gates", "Gates", |m| {
        if report.gates.is_empty() {
            m.leaf("p", &[("class", "quiet")], "No gate was asked.");
            return;
        }
        let start = report.overview.started_at.0;
        m.leaf("h3", &[], "Candidate against stable");
        compared(m, report, start);
        m.leaf("h3", &[], "Charts");
        legend(m);
        for gate in &report.gates {
            card(m, report, gate, start);
        }
        cut(m, report, "gates");
    });
}

fn class(word: Word) -> &'static str {
    match word {
        Word::Pass => "good",
        Word::Inconclusive => "quiet",
        Word::Error => "warn",
        Word::Fail => "bad",
    }
}

fn compared(m: &mut Markup, report: &Report, start: Timestamp) {
    let heads = [
        "Gate",
        "Figure",
        "Candidate",
        "Stable",
        "Difference",
        "Demanded",
        "Verdict",
        "Band",
        "Samples",
        "Measured",
    ];
    let name = "Last measurement of every figure";
    table(m, name, &heads, |m| {
        for gate in &report.gates {
            for figure in &gate.figures {
                row(m, gate, figure, start);
            }
            if gate.figures.is_empty() {
                m.el("tr", &[], |m| {
                    m.foreign("th", &[("scope", "row")], &gate.name);
                    m.leaf("td", &[("colspan", "9")], "gave no figures");
                });
            }
        }
    });
}

fn row(m: &mut Markup, gate: &Gate, figure: &Figure, start: Timestamp) {
    let Measured {
        candidate, stable, ..
    } = figure.last;
    m.el("tr", &[], |m| {
        m.foreign("th", &[("scope", "row")], &gate.name);
        m.foreign("td", &[], &figure.name);
        // What passes without a figure is no number: a version, a word.
        let passed = figure.last.word == Word::Pass;
        let none = if passed { "–" } else { "no data" };
        let value = |value: Option<f64>, none: &str| {
            value.map_or(none.to_owned(), |v| shown::with_unit(v, &figure.unit))
        };
        m.foreign("td", &[("class", "number")], &value(candidate, none));
        m.foreign("td", &[("class", "number")], &value(stable, "–"));
        m.foreign("td", &[("class", "number")], &difference(figure));
        m.foreign("td", &[], &figure.last.limit);
        m.el("td", &[], |m| {
            badge(m, class(figure.last.word), figure.last.word.as_str());
        });
        m.foreign("td", &[], figure.last.band.as_deref().unwrap_or("–"));
        let samples = figure.last.samples.map(|samples| samples.to_string());
        m.leaf(
            "td",
            &[("class", "number")],
            samples.as_deref().unwrap_or("–"),
        );
        m.el("td", &[("class", "time")], |m| {
            m.text(&shown::offset(figure.last.at.0, start));
            if figure.since > 0 {
                let since = format!("asked {} times since without it", figure.since);
                m.leaf("span", &[("class", "offset")], &since);
            }
        });
    });
}

/// `+0.9 % (+300 %)`.
fn difference(figure: &Figure) -> String {
    let Some(difference) = figure.last.difference else {
        return "–".to_owned();
    };
    let sign = |value: f64| if value > 0.0 { "+" } else { "" };
    let points = shown::with_unit(difference, &figure.unit);
    let mut text = format!("{}{points}", sign(difference));
    if let Some(percent) = figure.last.percent {
        text.push_str(&format!(" ({}{percent:.1} %)", sign(percent)));
    }
    text
}

fn legend(m: &mut Markup) {
    let keys = [
        ("candidate", "candidate"),
        ("stable", "stable"),
        ("limit", "demanded"),
        ("band-normal", "normal"),
        ("band-warn", "warn"),
        ("band-alert", "alert"),
        ("unknown", "no data"),
        ("cell-pass", "pass"),
        ("cell-fail", "fail"),
        ("cell-inconclusive", "inconclusive"),
        ("cell-error", "no verdict"),
    ];
    m.el("ul", &[("class", "legend")], |m| {
        for (class, words) in keys {
            m.el("li", &[], |m| {
                let class = format!("key {class}");
                m.leaf("span", &[("class", &class), ("aria-hidden", "true")], "");
                m.text(words);
            });
        }
    });
}

fn card(m: &mut Markup, report: &Report, gate: &Gate, start: Timestamp) {
    let axis = Axis::squeezing(gate.asked.iter().map(|(from, to)| (from.0, to.0)));
    m.el("article", &[("class", "card")], |m| {
        m.el("h4", &[], |m| {
            m.leaf("bdi", &[], &gate.name);
            m.text(" ");
            m.foreign("span", &[("class", "quiet")], &gate.plugin);
        });
        tally(m, gate);
        m.el("div", &[("class", "figures")], |m| {
            for one in &gate.figures {
                figure::chart(m, gate, one, &axis, start);
            }
        });
        strip(m, gate, &axis);
        streaks(m, gate, start);
        links(m, gate);
        for what in [
            "figures",
            "changes of the demands",
            "addresses",
            "stretches of equal verdicts",
        ] {
            cut(m, report, &format!("{what} of gate {}", gate.name));
        }
    });
}

fn tally(m: &mut Markup, gate: &Gate) {
    let said = gate.said;
    m.el("p", &[("class", "tally")], |m| {
        for (count, word) in [
            (said.pass, Word::Pass),
            (said.fail, Word::Fail),
            (said.inconclusive, Word::Inconclusive),
            (said.error, Word::Error),
        ] {
            if count > 0 {
                badge(m, class(word), &format!("{count} {}", word.as_str()));
                m.text(" ");
            }
        }
    });
}

fn strip(m: &mut Markup, gate: &Gate, axis: &Axis) {
    let said = gate.said;
    let about = format!(
        "Verdicts of the gate over time: {} pass, {} fail, {} inconclusive, {} without a verdict.",
        said.pass, said.fail, said.inconclusive, said.error
    );
    m.el("div", &[("class", "plot")], |m| {
        let gutter = [
            ("class", "scale"),
            ("width", "56"),
            ("height", STRIP),
            ("aria-hidden", "true"),
        ];
        m.el("svg", &gutter, |m| {
            let text = [
                ("class", "tick"),
                ("x", "50"),
                ("y", "12"),
                ("text-anchor", "end"),
            ];
            m.leaf("text", &text, "verdict");
        });
        let frame = [
            ("class", "strip"),
            ("width", "100%"),
            ("height", STRIP),
            ("role", "img"),
            ("aria-label", &about),
        ];
        m.el("svg", &frame, |m| {
            let nexts = gate.cells.iter().skip(1).map(Some).chain([None]);
            for (cell, next) in gate.cells.iter().zip(nexts) {
                drawn(m, cell, next, axis);
            }
        });
    });
}

fn drawn(m: &mut Markup, cell: &Cell, next: Option<&Cell>, axis: &Axis) {
    let left = axis.at(cell.from.0).min(1.0 - LEAST);
    // A cell reaches up to the next one, but not over a time in which nobody asked.
    let reach = axis
        .pieces()
        .iter()
        .find(|piece| piece.from >= cell.to.0 && piece.folded);
    let edge = reach.map_or(1.0, |piece| piece.left);
    let right = next
        .map_or(1.0, |next| axis.at(next.from.0))
        .min(edge.max(left));
    let (top, height) = match cell.word {
        Word::Pass => ("9", "7"),
        Word::Inconclusive | Word::Error => ("4", "12"),
        Word::Fail => ("0", "16"),
    };
    let rect = [
        ("class", &*format!("cell-{}", cell.word.as_str())),
        ("x", &percent(left)),
        ("y", top),
        ("width", &percent((right - left).max(LEAST))),
        ("height", height),
    ];
    m.empty("rect", &rect);
}

fn streaks(m: &mut Markup, gate: &Gate, start: Timestamp) {
    let heads = [
        "Verdict",
        "Times",
        "First",
        "Last",
        "Step",
        "The last one's words",
    ];
    m.el("details", &[], |m| {
        m.leaf("summary", &[], "Verdicts in words");
        table(m, &format!("Verdicts of {}", gate.name), &heads, |m| {
            for streak in &gate.streaks {
                streak_row(m, streak, start);
            }
        });
    });
}

fn streak_row(m: &mut Markup, streak: &Streak, start: Timestamp) {
    m.el("tr", &[], |m| {
        m.el("td", &[], |m| {
            badge(m, class(streak.word), streak.word.as_str())
        });
        m.leaf("td", &[("class", "number")], &streak.times.to_string());
        at(m, streak.from, start);
        m.leaf(
            "td",
            &[("class", "time")],
            &shown::offset(streak.to.0, start),
        );
        m.foreign("td", &[], streak.step.as_deref().unwrap_or("–"));
        m.foreign("td", &[], &streak.message);
    });
}

fn links(m: &mut Markup, gate: &Gate) {
    if gate.links.is_empty() {
        return;
    }
    m.el("p", &[("class", "quiet")], |m| {
        m.text("Named by its last verdict: ");
        for link in &gate.links {
            let address = [("href", link.url.as_str()), ("rel", "noreferrer noopener")];
            m.el("a", &address, |m| m.leaf("bdi", &[], &link.title));
            m.foreign("span", &[("class", "offset")], &link.url);
            m.text(" ");
        }
    });
}
