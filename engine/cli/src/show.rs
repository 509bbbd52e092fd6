//! Plans and runs as text for people.

use std::fmt::Write as _;

use phasegate_core::plan::{Action, Phase, Plan, Requirement};
use phasegate_core::run::{End, GateView, Run, State, StepProgress};
use phasegate_core::strategy::Amount;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::window::{self, Decision};
use phasegate_core::workload::Rollout;
use phasegate_runtime::engine::Left;

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

/// A plan, for people: what is there, what is done, who is asked, and what abort does.
#[must_use]
pub(crate) fn plan(plan: &Plan, now: Timestamp, abort: &str) -> String {
    let mut text = String::new();
    head(&mut text, plan);
    there(&mut text, plan);
    text.push_str("\nsteps\n");
    for phase in &plan.phases {
        self::phase(&mut text, plan, phase);
    }
    gates(&mut text, plan);
    people(&mut text, plan, now);
    text.push_str("\nrollback\n");
    let policy = &plan.rollback;
    put(&mut text, "before it starts", "abort changes nothing");
    put(&mut text, "once it changed", abort);
    put(
        &mut text,
        "aims at",
        &format!(
            "{} in all; a step is tried again after {}, {} times, before people are called",
            policy.target, policy.step_timeout, policy.retries
        ),
    );
    text.push_str("\nplugins\n");
    for (name, pin) in &plan.plugins {
        put(
            &mut text,
            name,
            &format!("{} {} {}", pin.version, pin.source, short(&pin.digest)),
        );
    }
    for due in &plan.due {
        if plan.due.first() == Some(due) {
            text.push_str("\nowed afterwards\n");
        }
        put(&mut text, &format!("after {}", due.after), &due.task);
    }
    text.trim_end().to_owned()
}

fn head(text: &mut String, plan: &Plan) {
    let subject = &plan.subject;
    let _ = writeln!(
        text,
        "{} {} → {}  ({} change, environment {})",
        subject.name,
        subject.previous_version,
        subject.version,
        subject.change,
        subject.environment
    );
    put(text, "target", &plan.target.to_string());
    put(text, "image", &subject.image);
    put(text, "plan", &short(&plan.digest()));
}

fn there(text: &mut String, plan: &Plan) {
    let baseline = &plan.baseline;
    text.push_str("\nthere now\n");
    put(text, "image", &baseline.settings.image);
    put(
        text,
        "replicas",
        &format!(
            "{} wanted, {} ready",
            baseline.settings.replicas, baseline.ready
        ),
    );
    let rollout = match &baseline.settings.rollout {
        Rollout::RollingUpdate { surge, unavailable } => {
            format!("rolling update, surge {surge}, unavailable {unavailable}")
        }
        Rollout::Recreate => "recreate".to_owned(),
    };
    put(text, "rollout", &rollout);
    put(text, "revision", &baseline.revision.to_string());
    if let Some(tool) = &baseline.self_healing {
        put(text, "kept by", tool);
    }
}

fn phase(text: &mut String, plan: &Plan, phase: &Phase) {
    let mut title = phase.name.clone();
    if let Some(strategy) = &phase.strategy {
        let _ = write!(title, "  (strategy {})", strategy.offer.offer);
    }
    if let Some(timeout) = phase.timeout {
        let _ = write!(title, "  within {timeout}");
    }
    let _ = writeln!(text, "  {title}");
    for approval in plan.approvals.iter().filter(|a| a.before == phase.name) {
        let _ = writeln!(text, "    waits for {}", requirement(&approval.requirement));
    }
    for step in &phase.steps {
        let _ = writeln!(text, "    {:<18} {}", step.id, action(&step.action));
        if step.outage {
            let _ = writeln!(text, "    {:<18} declares an outage", "");
        }
        if step.point_of_no_return {
            let _ = writeln!(text, "    {:<18} point of no return", "");
        }
    }
    if !phase.gates.is_empty() {
        let _ = writeln!(text, "    gates in every step: {}", phase.gates.join(", "));
    }
}

fn gates(text: &mut String, plan: &Plan) {
    if plan.gates.is_empty() {
        return;
    }
    text.push_str("\ngates\n");
    for (name, gate) in &plan.gates {
        let policy = &gate.policy;
        let mut about = format!("{} every {}", gate.offer.plugin, policy.interval);
        if policy.sustained > Span::ZERO {
            let _ = write!(about, ", fails after {} of breach", policy.sustained);
        } else {
            let _ = write!(about, ", {} failures let pass", policy.failure_limit);
        }
        let _ = write!(
            about,
            ", {} without data, {} errors",
            policy.inconclusive_limit, policy.error_limit
        );
        put(text, name, &about);
    }
}

fn people(text: &mut String, plan: &Plan, now: Timestamp) {
    let subject = &plan.subject;
    text.push_str("\npeople and windows\n");
    if plan.approvals.is_empty() {
        put(text, "approvals", "none needed");
    }
    for approval in &plan.approvals {
        put(
            text,
            &format!("before {}", approval.before),
            &requirement(&approval.requirement),
        );
    }
    let window = match window::evaluate(&plan.calendar, now, &subject.environment, subject.change) {
        Decision::Open { .. } if plan.calendar.windows.is_empty() => "none set".to_owned(),
        Decision::Open { .. } => "open now".to_owned(),
        Decision::Closed { reason, opens_at } => match opens_at {
            Some(at) => format!("closed: {reason}; opens at {}", moment(at)),
            None => format!("closed: {reason}"),
        },
    };
    put(text, "windows", &window);
    put(
        text,
        "waits for people",
        &format!("at most {}, then goes back", plan.people_timeout),
    );
}

/// Who must agree, in words.
#[must_use]
pub(crate) fn requirement(requirement: &Requirement) -> String {
    let starter = if requirement.starter_may_approve {
        ""
    } else {
        ", not who started the run"
    };
    format!(
        "{} of {} ({}){starter}, for {}",
        requirement.count,
        requirement.roles.join(" or "),
        requirement.people.join(", "),
        requirement.expires
    )
}

/// What a step does, in words.
fn action(action: &Action) -> String {
    let amount = |amount: &Amount| match amount {
        Amount::Count(count) => format!("{count} replicas"),
        Amount::Percent(percent) => format!("{percent}% of the replicas"),
    };
    match action {
        Action::Deploy {
            replicas,
            surge,
            unavailable,
            timeout,
        } => {
            let mut text = format!("deploy in place, {}", amount(replicas));
            if let Some(surge) = surge {
                let _ = write!(text, ", surge {surge}");
            }
            if let Some(unavailable) = unavailable {
                let _ = write!(text, ", unavailable {unavailable}");
            }
            let _ = write!(text, ", ready within {timeout}");
            text
        }
        Action::Scale { replicas, timeout } => {
            format!("scale to {}, ready within {timeout}", amount(replicas))
        }
        Action::Check { gates } => format!("check {}", gates.join(", ")),
        Action::Soak {
            duration,
            interval,
            gates,
        } if gates.is_empty() => {
            format!("soak for {duration}, looking every {interval}")
        }
        Action::Soak {
            duration,
            interval,
            gates,
        } => format!(
            "soak for {duration}, asking {} every {interval}",
            gates.join(", ")
        ),
        Action::Approve {
            prompt,
            requirement: asked,
        } => format!("wait for {}: {prompt}", requirement(asked)),
        Action::Attest { name, prompt } => format!("wait for attestation {name}: {prompt}"),
        Action::Notify {
            notifier, title, ..
        } => format!("tell {notifier}: {title}"),
    }
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
    put(&mut text, "target", &plan.target.to_string());
    put(
        &mut text,
        "started",
        &format!("{} by {}", moment(run.started_at()), run.started_by().name),
    );
    if let Some(ended) = run.ended_at() {
        put(&mut text, "ended", &moment(ended));
    }
    put(&mut text, "plan", &short(run.digest()));
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
