//! Plans and runs as text for people.

use std::fmt::Write as _;

use phasegate_core::plan::Action;
use phasegate_core::run::{End, GateView, Run, State, StepProgress};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::engine::Left;

mod plan;

pub(crate) use plan::plan;

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

fn put(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "  {label:<18} {value}");
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
    text.push('\n');
    text.push_str(&rail(run, marks));
    for line in world(run) {
        let _ = writeln!(text, "  {line}");
    }
    for gate in run.gates() {
        let _ = writeln!(text, "  {}", self::gate(&gate));
    }
    for line in next(run, awake, driven) {
        let _ = writeln!(text, "  {line}");
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

/// What was asked of the workload and what was read back.
#[must_use]
pub(crate) fn world(run: &Run) -> Vec<String> {
    let Some(seen) = run.observation() else {
        return Vec::new();
    };
    let wanted = seen.settings.replicas;
    let behind = if seen.observed_generation < seen.generation {
        ", not yet seen by the cluster"
    } else {
        ""
    };
    let mut lines = vec![format!("asked {wanted} x {}{behind}", seen.settings.image)];
    let mut read = format!(
        "read back {}/{wanted} updated, {}/{wanted} ready, {}/{wanted} available",
        seen.updated, seen.ready, seen.available
    );
    if seen.total > wanted {
        let _ = write!(read, ", {} in all", seen.total);
    }
    let _ = write!(read, " at {}", time_of_day(seen.at));
    lines.push(read);
    if let Some((pod, reason)) = seen.broken_pod() {
        lines.push(format!("pod {pod}: {reason}"));
    }
    lines
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

/// Who is awaited, and the command to give. `awake` is the run before its engine left, if it has.
#[must_use]
pub(crate) fn awaited(run: &Run, awake: &Run, driven: bool) -> Vec<String> {
    let id = run.id();
    let mut lines = Vec::new();
    match awake.state() {
        State::AwaitingPeople { reason } => {
            lines.push(format!("awaits {reason}"));
            lines.push(format!("give: {}", answer(awake)));
        }
        State::Paused => lines.push(format!("paused; `phasegate continue {id}` goes on")),
        State::RollingBackAwaitingPeople { reason } => {
            lines.push(format!("needs a decision: {reason}"));
            lines.push(stuck(run));
        }
        _ if run.stuck_now().is_some() => lines.push(stuck(run)),
        _ if !driven && !run.resting() => {
            lines.push(format!("`phasegate resume {id}` goes on with it"));
        }
        _ => {}
    }
    lines
}

/// Who is awaited, what abort would do, and what is owed.
#[must_use]
pub(crate) fn next(run: &Run, awake: &Run, driven: bool) -> Vec<String> {
    let id = run.id();
    let mut lines = awaited(run, awake, driven);
    if !crate::state::finished(run) {
        lines.push(format!("abort would: {}", run.abort_would()));
    }
    for owed in run.obligations().iter().filter(|o| o.discharged.is_none()) {
        lines.push(format!(
            "owed by {}: {} (`phasegate due done {id} {}`)",
            moment(owed.due),
            owed.task,
            owed.number
        ));
    }
    lines
}

fn stuck(run: &Run) -> String {
    let id = run.id();
    match run.stuck_now() {
        Some(stuck) => format!(
            "stuck at {}: {}; `phasegate retry {id}`, `phasegate skip {id} {}` or `phasegate hand-over {id} --reason …`",
            stuck.step, stuck.reason, stuck.step
        ),
        None => String::new(),
    }
}

/// The command by which people answer what the run waits for.
fn answer(run: &Run) -> String {
    let id = run.id();
    let missing = run
        .steps()
        .into_iter()
        .find(|s| s.progress == StepProgress::Now);
    let attestation = missing.and_then(|now| {
        run.plan().steps().find_map(|(_, step)| match &step.action {
            Action::Attest { name, .. } if step.id == now.id => Some(name.clone()),
            _ => None,
        })
    });
    let held = run
        .gates()
        .iter()
        .any(|gate| matches!(gate.decision, phasegate_core::judge::Decision::Hold { .. }));
    match attestation {
        Some(name) => format!("phasegate attest {id} {name} --text \"…\""),
        None if held => format!("phasegate retry {id}, or phasegate abort {id}"),
        None => format!("phasegate approve {id}"),
    }
}

/// How a run was left, in a sentence or two. `awake` is the run before its engine left, if it has.
#[must_use]
pub(crate) fn run_end(run: &Run, awake: &Run, left: Left) -> String {
    let id = run.id();
    let subject = &run.plan().subject;
    let took = run
        .ended_at()
        .map(|end| format!(" in {}", about(end.since(run.started_at()))))
        .unwrap_or_default();
    let mut text = match (run.state(), left) {
        (
            State::Ended {
                end: End::Succeeded,
            },
            _,
        ) => format!(
            "{id} succeeded{took}: {} {} serves",
            subject.name, subject.version
        ),
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
        | (State::RollingBackAwaitingPeople { .. }, _) => {
            format!("{id} needs a person: {}", stuck(run))
        }
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
    if let Some(cause) = run.cause() {
        let _ = write!(text, "\n  because: {}", cause.reason);
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
