//! Plans and runs as text for people.

use std::fmt::Write as _;

use phasegate_core::run::{End, GateView, Run, State, StepProgress};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::engine::Left;

mod action;
mod people;
mod plan;
mod world;

pub(crate) use people::{awaited, next};
pub(crate) use plan::{abort_once_changed, plan};
pub(crate) use world::world;

/// How many characters of a digest tell two apart.
const DIGEST_SHOWN: usize = 19;

/// A digest as far as it is needed to recognise it.
#[must_use]
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_SHOWN).collect()
}

/// The time of day, UTC, of a moment.
#[must_use]
pub(crate) fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    let clock = text
        .split_once('T')
        .map_or(text.as_str(), |(_, clock)| clock);
    clock.chars().take(8).collect()
}

/// A time of day, with its date where that isn't today's.
#[must_use]
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let date: String = text.chars().take_while(|c| *c != 'T').collect();
    format!("{date} {} UTC", time_of_day(at))
}

/// A length of time without the milliseconds that nobody reads.
#[must_use]
pub(crate) fn about(span: Span) -> Span {
    let ms = span.as_millis();
    if ms < 1000 {
        return span;
    }
    Span::from_secs(ms / 1000)
}

/// What people, plugins or clusters wrote on one line: it must not move the terminal's cursor, nor look like
/// a line of ours.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn put(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "  {label:<18} {}", plain(value));
}

/// Marks of how far a step is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// Done, now, ahead, failed.
    marks: [&'static str; 4],
}

impl Marks {
    /// Marks of one column each.
    pub(crate) const UNICODE: Self = Self {
        marks: ["✓", "●", "·", "✗"],
    };
    /// For terminals and fonts that have no others.
    pub(crate) const ASCII: Self = Self {
        marks: ["+", ">", ".", "x"],
    };

    /// The mark for a step that is this far.
    #[must_use]
    pub(crate) const fn of(self, progress: StepProgress) -> &'static str {
        let [done, now, ahead, failed] = self.marks;
        match progress {
            StepProgress::Done => done,
            StepProgress::Now => now,
            StepProgress::Ahead => ahead,
            StepProgress::Failed => failed,
        }
    }

    /// Marks that the user's locale can show.
    #[must_use]
    pub(crate) fn for_locale() -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(std::env::var_os)
            .find(|value| !value.is_empty());
        // Without a locale a terminal of today still shows UTF-8; only one that says otherwise doesn't.
        match set {
            Some(locale) => {
                let locale = locale.to_string_lossy().to_ascii_lowercase();
                let plain = matches!(locale.as_str(), "c" | "posix");
                if plain || (locale.contains('.') && !locale.contains("utf")) {
                    Self::ASCII
                } else {
                    Self::UNICODE
                }
            }
            None => Self::UNICODE,
        }
    }
}

/// Where a run is, for people.
#[must_use]
pub(crate) fn run(run: &Run, awake: &Run, driven: bool, marks: Marks) -> String {
    let plan = run.plan();
    let subject = &plan.subject;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {} {} → {}",
        run.id(),
        subject.name,
        subject.previous_version,
        subject.version
    );
    put(&mut text, "state", &run.state().to_string());
    put(&mut text, "target", &plan.targets());
    put(
        &mut text,
        "started",
        &format!("{} by {}", moment(run.started_at()), run.started_by().name),
    );
    if let Some(ended) = run.ended_at() {
        put(&mut text, "ended", &moment(ended));
    }
    put(&mut text, "plan", &short(run.digest()));
    if let Some(before) = run.supersedes() {
        put(&mut text, "in place of", before);
    }
    let driver = if driven {
        "an engine drives it"
    } else {
        "nobody drives it"
    };
    if !crate::state::finished(run) {
        put(&mut text, "driven", driver);
    }
    if let Some(cause) = run.cause() {
        put(&mut text, "went back", &cause.reason);
    }
    if let Some(over) = run.taken_over() {
        put(&mut text, "taken over", &people::taken_over(over));
    }
    text.push('\n');
    text.push_str(&rail(run, marks));
    for line in world(run) {
        let _ = writeln!(text, "  {}", plain(&line));
    }
    for gate in run.gates() {
        let _ = writeln!(text, "  {}", plain(&self::gate(&gate)));
    }
    for line in next(run, awake, driven) {
        let _ = writeln!(text, "  {}", plain(&line));
    }
    text.trim_end().to_owned()
}

/// A row for every step.
#[must_use]
pub(crate) fn rail(run: &Run, marks: Marks) -> String {
    let mut text = String::new();
    for step in run.steps() {
        let elapsed = step
            .elapsed
            .map(|elapsed| format!("  ({})", about(elapsed)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {} {:<18} {}{elapsed}",
            marks.of(step.progress),
            step.id,
            step.what
        );
    }
    text
}

/// A gate in a row.
#[must_use]
pub(crate) fn gate(gate: &GateView) -> String {
    let status = gate.status.map_or("not asked yet".to_owned(), |status| {
        format!("{status:?}").to_lowercase()
    });
    let mut text = format!("gate {}: {status}", gate.name);
    if !gate.reason.is_empty() {
        let _ = write!(text, ", {}", gate.reason);
    }
    let _ = write!(
        text,
        " (asked {}x, measured {})",
        gate.evaluations,
        about(gate.measured)
    );
    text
}

/// How a run was left, in a sentence or two. `awake` is the run before its engine left, if it has.
#[must_use]
pub(crate) fn run_end(run: &Run, awake: &Run, left: Left) -> String {
    let id = run.id();
    let subject = &run.plan().subject;
    // Where a run went back, how long that took is what its last record says, to the millisecond.
    let went_back = matches!(
        run.state(),
        State::Ended {
            end: End::RolledBack | End::Superseded
        }
    );
    let took = if went_back {
        run.rollback_time()
    } else {
        run.ended_at().map(|end| about(end.since(run.started_at())))
    };
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let text = match (run.state(), left) {
        (
            State::Ended {
                end: End::Succeeded,
            },
            _,
        ) => {
            let otherwise = run.serves_otherwise();
            let what = format!("{} {}", subject.name, subject.version);
            if otherwise.is_empty() {
                format!("{id} succeeded{took}: {what} serves")
            } else {
                let otherwise = otherwise.join(", ");
                format!("{id} succeeded{took}, but {what} is not everywhere: {otherwise}")
            }
        }
        (
            State::Ended {
                end: End::RolledBack,
            },
            _,
        ) => format!(
            "{id} rolled back{took}: {} {} serves",
            subject.name, subject.previous_version
        ),
        (
            State::Ended {
                end: End::RollbackStuck,
            },
            _,
        )
        | (State::RollingBackAwaitingPeople { .. }, _) => people::stuck_end(run),
        (
            State::Ended {
                end: End::Superseded,
            },
            _,
        ) => format!(
            "{id} superseded{took}: {} {} serves",
            subject.name, subject.previous_version
        ),
        (State::Ended { end }, _) => format!("{id} {end}{took}"),
        (_, Left::Waiting) => format!(
            "{id} is left as it is: {}",
            awaited(run, awake, false).join("; ")
        ),
        (state, _) => format!("{id} is {state}; `phasegate resume {id}` goes on"),
    };
    let mut text = plain(&text);
    if let Some(cause) = run.cause() {
        let _ = write!(text, "\n  because: {}", plain(&cause.reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let at: Timestamp = "2026-11-17T11:00:05-05:00".parse().unwrap();
        assert_eq!(time_of_day(at), "16:00:05");
        assert_eq!(moment(at), "2026-11-17 16:00:05 UTC");
        assert_eq!(short("sha256:0123456789abcdef01"), "sha256:0123456789ab");
    }
}
