//! What people are told to do about a run, and by which command.

use phasegate_core::run::{Answer, Run, State, TakenOver};

use super::moment;

/// Who is awaited, and the command to give. `awake` is the run before its engine left, if it has.
#[must_use]
pub(crate) fn awaited(run: &Run, awake: &Run, driven: bool) -> Vec<String> {
    let id = run.id();
    let mut lines = Vec::new();
    match awake.state() {
        State::AwaitingPeople { reason } => lines.extend(answer(awake, &reason)),
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

/// How a run is left whose way back can't be gone.
#[must_use]
pub(crate) fn stuck_end(run: &Run) -> String {
    let id = run.id();
    match run.taken_over() {
        Some(over) => format!(
            "{id} was left where it is: {}. The target is let go of, and what is there is theirs to see to",
            taken_over(over)
        ),
        None => format!("{id} needs a person: {}", stuck(run)),
    }
}

/// Who took a run over, and why.
#[must_use]
pub(crate) fn taken_over(over: &TakenOver) -> String {
    let TakenOver { by, at, step, .. } = over;
    let what = match &over.reason {
        Some(reason) => format!("took over by hand: {reason}"),
        None => "left it out".to_owned(),
    };
    format!(
        "the rollback was stuck at {step}, {} {what} ({})",
        by.name,
        moment(*at)
    )
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

/// What the run waits for, and the commands that answer it.
fn answer(run: &Run, reason: &str) -> Vec<String> {
    let id = run.id();
    let abort = format!("`phasegate abort {id}`");
    match run.answer_awaited() {
        Some(Answer::Approve { .. }) => vec![
            format!("awaits {reason}"),
            format!("give: `phasegate approve {id}`, or {abort}"),
        ],
        Some(Answer::Attest { name }) => vec![
            format!("awaits {reason}"),
            format!("give: `phasegate attest {id} {name} --text \"…\"`, or {abort}"),
        ],
        Some(Answer::Retry { .. }) => vec![
            format!("held by {reason}"),
            format!(
                "it goes on by itself once the gate can tell; give: `phasegate retry {id}` to ask it at once, or {abort}"
            ),
        ],
        Some(Answer::Drift { adopt, force }) => {
            let mut commands = Vec::new();
            if adopt {
                commands.push(format!(
                    "`phasegate continue {id} --drift adopt` goes on with what is there"
                ));
            }
            if force {
                commands.push(format!(
                    "`phasegate continue {id} --drift force` writes once more what the plan says"
                ));
            }
            commands.push(format!("{abort} goes back"));
            vec![
                format!("needs a decision: {reason}"),
                format!("give: {}", commands.join("; ")),
            ]
        }
        Some(Answer::Nothing) => vec![
            format!("awaits {reason}"),
            format!("it goes on by itself once that is over; or give: {abort}"),
        ],
        None => vec![format!("awaits {reason}")],
    }
}
