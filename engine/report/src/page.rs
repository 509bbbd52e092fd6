//! The page: one HTML file that needs nothing but itself.
//!
//! Each section has a file. Charts are SVG of which only the lines stretch with the page, so that
//! texts and marks keep their size at any width; every chart stands beside a table with its numbers.

mod back;
mod chart;
mod gates;
mod head;
mod people;
mod pods;
mod rest;
mod timeline;

use phasegate_core::time::Timestamp;

use crate::axis::Axis;
use crate::markup::Markup;
use crate::model::{LeftOut, Moment, Person, Report};
use crate::shown;

/// What the page may do: show itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = Markup::document();
    let overview = &report.overview;
    let title = format!(
        "{} {} → {}: {}",
        overview.name, overview.previous_version, overview.version, overview.state
    );
    let html = [("lang", "en"), ("xmlns", "http://www.w3.org/1999/xhtml")];
    page.el("html", &html, |m| {
        m.el("head", &[], |m| {
            m.empty("meta", &[("charset", "utf-8")]);
            m.empty(
                "meta",
                &[
                    ("http-equiv", "Content-Security-Policy"),
                    ("content", POLICY),
                ],
            );
            m.empty("meta", &[("name", "referrer"), ("content", "no-referrer")]);
            m.empty(
                "meta",
                &[("name", "color-scheme"), ("content", "light dark")],
            );
            m.empty(
                "meta",
                &[
                    ("name", "viewport"),
                    ("content", "width=device-width, initial-scale=1"),
                ],
            );
            m.leaf("title", &[], &title);
            m.style(include_str!("page/style.css"));
        });
        m.el("body", &[], |m| {
            chart::patterns(m);
            head::header(m, report);
            m.el("main", &[], |m| sections(m, report));
            rest::footer(m);
        });
    });
    page.finish()
}

fn sections(m: &mut Markup, report: &Report) {
    let axis = timeline::axis(&report.timeline);
    timeline::section(m, report, &axis);
    back::section(m, report);
    pods::section(m, report, &axis);
    gates::section(m, report);
    people::section(m, report);
    people::owed(m, report);
    rest::plugins(m, report);
    rest::journal(m, report);
    rest::story(m, report);
    rest::left_out(m, &report.left_out);
}

/// A section with a heading, and an anchor that the table of contents leads to.
fn section(m: &mut Markup, id: &'static str, title: &str, inside: impl FnOnce(&mut Markup)) {
    let heading = format!("{id}-heading");
    m.el(
        "section",
        &[("id", id), ("aria-labelledby", &heading)],
        |m| {
            m.leaf("h2", &[("id", &heading)], title);
            inside(m);
        },
    );
}

/// A table that scrolls by itself where the page is too narrow for it.
fn table(m: &mut Markup, caption: &str, heads: &[&str], rows: impl FnOnce(&mut Markup)) {
    let region = [
        ("class", "scroll"),
        ("role", "region"),
        ("aria-label", caption),
        ("tabindex", "0"),
    ];
    m.el("div", &region, |m| {
        m.el("table", &[], |m| {
            m.leaf("caption", &[], caption);
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| {
                    for head in heads {
                        m.leaf("th", &[("scope", "col")], head);
                    }
                });
            });
            m.el("tbody", &[], rows);
        });
    });
}

/// A cell with a point in time.
fn at(m: &mut Markup, moment: Moment, start: Timestamp) {
    m.el("td", &[("class", "time")], |m| {
        let machine = moment.0.to_string();
        m.leaf("time", &[("datetime", &machine)], &shown::moment(moment.0));
        m.leaf(
            "span",
            &[("class", "offset")],
            &shown::offset(moment.0, start),
        );
    });
}

/// A cell with somebody's name and what vouches for it.
fn who(m: &mut Markup, person: Option<&Person>) {
    m.el("td", &[], |m| {
        if let Some(person) = person {
            m.leaf("bdi", &[], &person.name);
            m.el("span", &[("class", "offset")], |m| {
                m.text("verified by ");
                m.leaf("bdi", &[], &person.verified_by);
            });
        }
    });
}

/// A word in a coloured frame.
fn badge(m: &mut Markup, class: &str, word: &str) {
    m.leaf("span", &[("class", &format!("badge {class}"))], word);
}

/// Says what a limit left out of a section.
fn cut(m: &mut Markup, report: &Report, what: &str) {
    for left in report.left_out.iter().filter(|left| left.what == what) {
        m.leaf("p", &[("class", "cut")], &in_words(left));
    }
}

fn in_words(left: &LeftOut) -> String {
    format!(
        "{} of {} {} are shown; the others are in the journal.",
        left.shown, left.of, left.what
    )
}

/// A part of the width, for an attribute.
fn percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A place on the timeline, which leaves room for a mark at either end.
fn place(axis: &Axis, time: Timestamp) -> f64 {
    0.02 + axis.at(time) * 0.96
}
