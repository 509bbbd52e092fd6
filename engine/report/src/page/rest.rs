//! What stands at the end: plugins, the journal, the story, and what was left out.

use super::timeline::of_level;
use super::{at, badge, cut, in_words, section, table};
use crate::markup::Markup;
use crate::model::{LeftOut, Report};

pub(super) fn plugins(m: &mut Markup, report: &Report) {
    section(m, "plugins", "Plugins", |m| {
        if report.plugins.is_empty() {
            m.leaf("p", &[("class", "quiet")], "The plan used no plugin.");
            return;
        }
        let heads = ["Plugin", "Version", "From", "Used for", "Digest"];
        table(m, "Plugins and their digests", &heads, |m| {
            for plugin in &report.plugins {
                m.el("tr", &[], |m| {
                    m.foreign("th", &[("scope", "row")], &plugin.name);
                    m.foreign("td", &[], &plugin.version);
                    m.foreign("td", &[("class", "code")], &plugin.source);
                    m.foreign("td", &[], &plugin.used_for.join(", "));
                    m.foreign("td", &[("class", "code long")], &plugin.digest);
                });
            }
        });
        cut(m, report, "plugins");
    });
}

pub(super) fn journal(m: &mut Markup, report: &Report) {
    let journal = &report.journal;
    section(m, "journal", "Journal", |m| {
        m.el("p", &[], |m| match journal.verified {
            true => {
                badge(m, "good", "verified");
                m.text(" The chain of records was recomputed and held against its anchor when this report was made.");
            }
            false => {
                badge(m, "quiet", "not verified");
                m.text(" A rehearsal keeps its records in memory, without a chain.");
            }
        });
        m.el("dl", &[("class", "facts")], |m| {
            let head = journal.head.as_deref().unwrap_or("none");
            for (name, value) in [
                ("Records", journal.records.to_string().as_str()),
                ("Head", head),
                ("Run", &report.overview.run),
            ] {
                m.el("div", &[], |m| {
                    m.leaf("dt", &[], name);
                    m.foreign("dd", &[("class", "code long")], value);
                });
            }
        });
    });
}

pub(super) fn story(m: &mut Markup, report: &Report) {
    let start = report.overview.started_at.0;
    section(m, "story", "Story", |m| {
        m.el("details", &[], |m| {
            let summary = format!("{} lines, verdicts that pass left out", report.story.len());
            m.leaf("summary", &[], &summary);
            let heads = ["Record", "When", "Step", "Line", "Kind"];
            table(m, "What was said", &heads, |m| {
                for said in &report.story {
                    m.el("tr", &[], |m| {
                        m.leaf("td", &[("class", "number")], &said.seq.to_string());
                        at(m, said.at, start);
                        m.foreign("td", &[], said.step.as_deref().unwrap_or("–"));
                        m.foreign("td", &[], &said.message);
                        m.el("td", &[], |m| badge(m, of_level(said.level), &said.kind));
                    });
                }
            });
        });
        cut(m, report, "lines of the story");
    });
}

pub(super) fn left_out(m: &mut Markup, left_out: &[LeftOut]) {
    if left_out.is_empty() {
        return;
    }
    section(m, "left-out", "Left out", |m| {
        m.leaf(
            "p",
            &[],
            "A report is bounded in size. All of this is in the journal, which `phasegate history` prints.",
        );
        m.el("ul", &[], |m| {
            for left in left_out {
                m.foreign("li", &[], &in_words(left));
            }
        });
    });
}

pub(super) fn footer(m: &mut Markup) {
    m.el("footer", &[], |m| {
        let words = format!(
            "Made from the run's journal by phasegate {}. Times are UTC.",
            env!("CARGO_PKG_VERSION")
        );
        m.leaf("p", &[], &words);
    });
}
