//! Who had to agree, who did, who vouched, who commanded; and what is still owed.

use super::{at, badge, cut, section as titled, table, who};
use crate::markup::Markup;
use crate::model::{Owed, People, Report};
use crate::shown;

pub(super) fn section(m: &mut Markup, report: &Report) {
    let start = report.overview.started_at.0;
    let people = &report.people;
    titled(m, "people", "Approvals, attestations and commands", |m| {
        required(m, people);
        cut(m, report, "required approvals");
        if people.approvals.is_empty() {
            m.leaf("p", &[("class", "quiet")], "Nobody approved anything.");
        } else {
            let heads = ["Approved by", "When", "Requirement", "Plan"];
            table(m, "Approvals", &heads, |m| {
                for approval in &people.approvals {
                    m.el("tr", &[], |m| {
                        who(m, Some(&approval.by));
                        at(m, approval.at, start);
                        let all = "all that the person may meet";
                        m.foreign("td", &[], approval.requirement.as_deref().unwrap_or(all));
                        m.el("td", &[], |m| match approval.to_this_plan {
                            true => badge(m, "good", "this plan"),
                            false => badge(m, "bad", "another plan"),
                        });
                    });
                }
            });
        }
        cut(m, report, "approvals");
        if !people.attestations.is_empty() {
            let heads = ["Attested by", "When", "What", "In their words"];
            table(m, "Attestations", &heads, |m| {
                for attested in &people.attestations {
                    m.el("tr", &[], |m| {
                        who(m, Some(&attested.by));
                        at(m, attested.at, start);
                        m.foreign("td", &[], &attested.name);
                        m.foreign("td", &[], &attested.text);
                    });
                }
            });
        }
        cut(m, report, "attestations");
        if !people.commands.is_empty() {
            let heads = ["Given by", "When", "Command", "With"];
            table(m, "Commands", &heads, |m| {
                for command in &people.commands {
                    m.el("tr", &[], |m| {
                        who(m, Some(&command.by));
                        at(m, command.at, start);
                        m.leaf("td", &[("class", "code")], &command.command);
                        m.foreign("td", &[], &command.detail);
                    });
                }
            });
        }
        cut(m, report, "commands");
    });
}

fn required(m: &mut Markup, people: &People) {
    if people.required.is_empty() {
        m.leaf(
            "p",
            &[("class", "quiet")],
            "The plan asked nobody to approve it.",
        );
        return;
    }
    let heads = ["Required", "Where", "How many", "Of roles", "Held by"];
    table(m, "Required approvals", &heads, |m| {
        for required in &people.required {
            m.el("tr", &[], |m| {
                m.foreign("th", &[("scope", "row")], &required.name);
                m.foreign("td", &[], &required.place);
                m.leaf("td", &[("class", "number")], &required.count.to_string());
                m.foreign("td", &[], &required.roles.join(" or "));
                m.foreign("td", &[], &required.people.join(", "));
            });
        }
    });
}

pub(super) fn owed(m: &mut Markup, report: &Report) {
    titled(m, "owed", "Owed after the run", |m| {
        if report.owed.is_empty() {
            m.leaf("p", &[("class", "quiet")], "Nothing is owed.");
            return;
        }
        let heads = ["#", "What", "Due", "State"];
        table(m, "Obligations", &heads, |m| {
            for owed in &report.owed {
                owed_row(m, owed);
            }
        });
        cut(m, report, "things owed");
    });
}

fn owed_row(m: &mut Markup, owed: &Owed) {
    m.el("tr", &[], |m| {
        m.leaf("td", &[("class", "number")], &owed.number.to_string());
        m.foreign("td", &[], &owed.task);
        m.leaf("td", &[("class", "time")], &shown::moment(owed.due.0));
        m.el("td", &[], |m| match (&owed.met_by, owed.met_at) {
            (Some(by), Some(at)) => {
                badge(m, "good", "done");
                let words = format!("{}, {}", by.name, shown::moment(at.0));
                m.foreign("span", &[("class", "offset")], &words);
            }
            _ => badge(m, "warn", "open"),
        });
    });
}
