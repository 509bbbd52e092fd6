//! What was released, by whom, when, and how it ended.

use phasegate_core::run::{End, StepProgress};

use super::badge;
use crate::markup::Markup;
use crate::model::{Overview, Report};
use crate::shown;

/// The sections, as the table of contents names them.
const CONTENTS: [(&str, &str); 9] = [
    ("timeline", "Timeline"),
    ("back", "The way back"),
    ("traffic", "Traffic and pods"),
    ("gates", "Gates"),
    ("people", "People"),
    ("owed", "Owed"),
    ("plugins", "Plugins"),
    ("journal", "Journal"),
    ("story", "Story"),
];

/// The class of the colour in which an end is shown.
fn colour(end: Option<End>) -> &'static str {
    match end {
        Some(End::Succeeded) => "good",
        Some(End::Cancelled | End::Superseded) => "quiet",
        Some(End::RollbackStuck | End::StayedForward) => "bad",
        Some(End::RolledBack | End::Refused) => "warn",
        None => "info",
    }
}

/// What came of it, in a sentence for somebody who reads nothing else.
fn outcome(overview: &Overview) -> String {
    let Overview {
        name,
        version,
        previous_version,
        ..
    } = overview;
    match overview.end {
        Some(End::Succeeded) => format!("{name} {version} serves."),
        Some(End::RolledBack) => format!("{name} {previous_version} serves again."),
        Some(End::Refused | End::Cancelled) => {
            format!("Nothing was changed; {name} {previous_version} serves.")
        }
        Some(End::Superseded) => "A later run took this one's place.".to_owned(),
        Some(End::StayedForward) => {
            format!("It stopped past the point of no return: {previous_version} can't come back.")
        }
        Some(End::RollbackStuck) => "The way back is stuck and needs a person.".to_owned(),
        None => format!(
            "It has not ended; this is how far it was at {}.",
            shown::moment(overview.as_of.0)
        ),
    }
}

pub(super) fn header(m: &mut Markup, report: &Report) {
    let overview = &report.overview;
    m.el("header", &[], |m| {
        let kind = if overview.rehearsal {
            "Report of a rehearsal, in a simulated world and in virtual time"
        } else {
            "Release report"
        };
        m.leaf("p", &[("class", "kind")], kind);
        m.el("h1", &[], |m| {
            m.leaf("bdi", &[], &overview.name);
            m.text(" ");
            m.leaf("bdi", &[("class", "version")], &overview.previous_version);
            m.leaf("span", &[("aria-hidden", "true")], " → ");
            m.leaf("span", &[("class", "unseen")], " to ");
            m.leaf("bdi", &[("class", "version")], &overview.version);
        });
        m.el("p", &[("class", "outcome")], |m| {
            badge(m, colour(overview.end), &overview.state);
            m.text(" ");
            m.leaf("bdi", &[], &outcome(overview));
        });
        if let Some(because) = &overview.because {
            m.el("p", &[("class", "because")], |m| {
                m.leaf("strong", &[], "Because: ");
                m.leaf("bdi", &[], because);
            });
        }
        m.el("div", &[("class", "tiles")], |m| tiles(m, report));
        m.el("dl", &[("class", "facts")], |m| facts(m, overview));
        contents(m, report);
    });
}

/// The numbers that are asked for first.
fn tiles(m: &mut Markup, report: &Report) {
    let overview = &report.overview;
    tile(m, "Took", &shown::span(overview.took), "");
    if let Some(rollback) = &overview.rollback {
        let (class, judged) = if rollback.within {
            ("good", "within")
        } else {
            ("bad", "beyond")
        };
        let target = format!("{judged} the target of {}", shown::span(rollback.target));
        tile_of(m, "Way back", &shown::span(rollback.took), &target, class);
    }
    let steps = &report.timeline.steps;
    let done = steps
        .iter()
        .filter(|step| step.progress == StepProgress::Done);
    let done = format!("{} of {}", done.count(), steps.len());
    tile(m, "Steps done", &done, "");
    let said = |count: fn(&crate::model::Tally) -> usize| -> usize {
        report.gates.iter().map(|gate| count(&gate.said)).sum()
    };
    let (fail, untold) = (said(|t| t.fail), said(|t| t.inconclusive + t.error));
    let verdicts = said(|t| t.pass) + fail + untold;
    let besides = format!("{fail} failed, {untold} could not tell");
    tile(m, "Verdicts of gates", &verdicts.to_string(), &besides);
    let people = &report.people;
    let besides = format!(
        "{} required; attestations: {}",
        people.required.len(),
        people.attestations.len()
    );
    tile(
        m,
        "Approvals",
        &people.approvals.len().to_string(),
        &besides,
    );
}

fn tile(m: &mut Markup, title: &str, value: &str, besides: &str) {
    tile_of(m, title, value, besides, "");
}

fn tile_of(m: &mut Markup, title: &str, value: &str, besides: &str, class: &str) {
    m.el("div", &[("class", "tile")], |m| {
        m.leaf("p", &[("class", "title")], title);
        m.leaf("p", &[("class", "value")], value);
        if !besides.is_empty() {
            m.leaf("p", &[("class", &format!("besides {class}"))], besides);
        }
    });
}

fn facts(m: &mut Markup, overview: &Overview) {
    let by = &overview.started_by;
    let ended = match overview.ended_at {
        Some(at) => shown::moment(at.0),
        None => format!("not yet; last record {}", shown::moment(overview.as_of.0)),
    };
    let drives = match overview.drives {
        1 => "one engine".to_owned(),
        drives => format!("an engine began to drive {drives} times"),
    };
    let service = overview.service.as_deref().unwrap_or("none");
    let facts = [
        ("Run", overview.run.as_str()),
        ("Target", &overview.target),
        ("Environment", &overview.environment),
        ("Change", &overview.change),
        ("Started by", &format!("{} ({})", by.name, by.verified_by)),
        ("Started", &shown::moment(overview.started_at.0)),
        ("Ended", &ended),
        ("Driven by", &drives),
        ("Image", &overview.image),
        ("Image before", &overview.previous_image),
        ("Container", &overview.container),
        ("Service", service),
        ("Plan", &overview.plan),
    ];
    for (name, value) in facts {
        m.el("div", &[], |m| {
            m.leaf("dt", &[], name);
            let class = if name == "Plan" { "code" } else { "" };
            m.foreign("dd", &[("class", class)], value);
        });
    }
}

fn contents(m: &mut Markup, report: &Report) {
    m.el("nav", &[("aria-label", "Sections")], |m| {
        m.el("ul", &[], |m| {
            for (id, title) in CONTENTS {
                if id == "back" && report.back.is_empty() {
                    continue;
                }
                m.el("li", &[], |m| {
                    m.leaf("a", &[("href", &format!("#{id}"))], title);
                });
            }
        });
    });
}
