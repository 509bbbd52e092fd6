//! Commands to a run: into its durable inbox, and then, if no engine drives the run, this one does.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::event::{Command, Identity};
use phasegate_core::run::Run;
use phasegate_core::time::Span;
use phasegate_runtime::ports::{Clock, Journal, JournalError};
use phasegate_world::clock::SystemClock;

use super::release;
use super::run::{Driven, drive_on};
use crate::args::{self, Driving};
use crate::console::Console;
use crate::drive;
use crate::exit::{Exit, Fault, Outcome};
use crate::show::short;
use crate::state::State;

/// How long an answer of the engine that drives is waited for, in real time.
const ANSWER_TIMEOUT: Span = Span::from_secs(60);
/// How often it is looked for.
const ANSWER_POLL: Span = Span::from_millis(100);
/// After how many looks it is asked whether the engine still lives.
const LOOKS: u32 = 10;
/// What a digest begins with.
const DIGEST_KIND: &str = "sha256:";
/// How often a run may change hands before a command gives up.
const HANDS: u32 = 20;

/// Tells the run that is meant.
pub(super) async fn tell(
    folder: &Path,
    console: &Console,
    driven: &args::Driven,
    command: Command,
) -> Outcome {
    let state = State::existing(folder).await?;
    let run = state.find(driven.run.as_deref()).await?;
    give(&state, console, &run, command, driven.driving).await
}

/// `phasegate approve`: the approval is of the run's plan as it is in the journal.
pub(super) async fn approve(args: &args::Approve, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let id = state.find(args.run.run.as_deref()).await?;
    let run = state.replay(&id).await?;
    if let Some(read) = &args.digest {
        same_plan(&run, read)?;
    }
    let command = Command::Approve {
        plan: run.digest().to_owned(),
        requirement: args.requirement.clone(),
    };
    give(&state, console, &id, command, args.run.driving).await
}

/// Whoever approves has read this plan. Less of its digest than `plan` shows would be that of many others.
fn same_plan(run: &Run, read: &str) -> Result<(), Diagnostic> {
    let digest = run.digest();
    let bare = read.strip_prefix(DIGEST_KIND).unwrap_or(read);
    let read = format!("{DIGEST_KIND}{bare}");
    if digest.starts_with(&read) && read.len() >= short(digest).len() {
        return Ok(());
    }
    if digest.starts_with(&read) {
        let message = "so little of a digest is that of many plans";
        return Err(Diagnostic::new(codes::PLAN_DRIFTED, message)
            .expected("as much of it as `phasegate plan` shows, or more")
            .found(read)
            .hint("`phasegate status --output json` has the whole digest under `plan`"));
    }
    Err(Diagnostic::new(
        codes::PLAN_DRIFTED,
        "the run's plan is not the one that you have read",
    )
    .expected(format!("plan {read}"))
    .found(format!("plan {digest}"))
    .hint("`phasegate status --output json` has the digest of the run's plan under `plan`: read that plan before you approve it"))
}

/// `phasegate attest [RUN] NAME --text …`
pub(super) async fn attest(args: &args::Attest, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let (run, name) = last_of(&state, &args.names).await?;
    let command = Command::Attest {
        name,
        text: args.text.clone(),
    };
    give(&state, console, &run, command, args.driving).await
}

/// `phasegate skip [RUN] STEP`
pub(super) async fn skip(args: &args::Skip, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let (run, step) = last_of(&state, &args.names).await?;
    give(&state, console, &run, Command::Skip { step }, args.driving).await
}

/// The run and the name, of which the run may be left out.
async fn last_of(state: &State, names: &[String]) -> Result<(String, String), Fault> {
    match names {
        [run, name] => Ok((state.find(Some(run)).await?, name.clone())),
        [name] => Ok((state.find(None).await?, name.clone())),
        _ => Err(Diagnostic::new(codes::MISSING_FIELD, "a name is missing").into()),
    }
}

/// Gives a command to a run. If nobody drives it, this process does, and exits as the run ends.
pub(super) async fn give(
    state: &State,
    console: &Console,
    run: &str,
    command: Command,
    driving: Driving,
) -> Outcome {
    let who = drive::who();
    let journal = &state.journal;
    let mut posted = None;
    for _ in 0..HANDS {
        able(state, run, &who, &command, posted).await?;
        match journal.drive(run).await {
            Ok(guard) => {
                // Nobody drives: what the run says now is what it will say to the command. Its last record
                // may be long ago, and what is owed has become due since.
                if posted.is_none() {
                    as_of_now(state, run)
                        .await?
                        .may(&who, &command)
                        .map_err(|refusal| Fault {
                            diagnostics: Diagnostic::new(refusal.code, refusal.message)
                                .hint(refusal.hint)
                                .into(),
                            exit: Exit::Refused,
                        })?;
                    let now = SystemClock.now();
                    posted = Some(journal.post(run, now, &who, &command).await?);
                }
                drop(guard);
                if let Driven::Here(exit) = drive_on(state, run, driving, console).await? {
                    answered_well(state, run, posted).await?;
                    return Ok(exit);
                }
            }
            Err(JournalError::InUse(_)) => {
                let number = match posted {
                    Some(number) => number,
                    None => {
                        let now = SystemClock.now();
                        journal.post(run, now, &who, &command).await?
                    }
                };
                posted = Some(number);
                console.note(&format!(
                    "an engine drives {run}; `{}` is in its inbox",
                    command.name()
                ));
                if let Some(exit) = wait(state, console, run, number, &command).await? {
                    return Ok(exit);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(JournalError::InUse(run.to_owned()).into())
}

/// Refuses to become the engine of a run of a cluster's journal on a machine that lacks what the run needs, before
/// anything is asked of the run. What is owed after a run needs none of it. An abort is left for whoever drives next all
/// the same.
async fn able(
    state: &State,
    run: &str,
    who: &Identity,
    command: &Command,
    posted: Option<u64>,
) -> Result<(), Fault> {
    let owed = matches!(command, Command::Discharge { .. });
    if !state.is_away() || owed || state.journal.driven(run).await? {
        return Ok(());
    }
    let before = as_of_now(state, run).await?;
    if before.may(who, command).is_err() && posted.is_none() {
        // It is refused for its own sake.
        return Ok(());
    }
    let aborts = matches!(command, Command::Abort { .. });
    let lacks = release::able(state, &before, aborts || posted.is_some()).await;
    if lacks.is_err() && aborts && posted.is_none() {
        let now = SystemClock.now();
        state.journal.post(run, now, who, command).await?;
    }
    lacks
}

/// The run at the time that it is now in its world: since its last record something may have come due.
async fn as_of_now(state: &State, run: &str) -> Result<Run, Fault> {
    let before = state.replay(run).await?;
    let first = before.plan().workloads.first();
    if first.is_some_and(|first| first.target.cluster != release::SIMULATED) {
        // A real cluster goes by the machine's clock, and need not be asked.
        return Ok(before.as_of(SystemClock.now()));
    }
    // Where the world has ended the run can't be driven either; that is told by whoever tries.
    match release::world_of(&before, &state.folder).await {
        Ok(world) => Ok(before.as_of(world.clock.now())),
        Err(_) => Ok(before),
    }
}

/// Waits for the answer of the engine that drives. None where it has left without one.
async fn wait(
    state: &State,
    console: &Console,
    run: &str,
    number: u64,
    command: &Command,
) -> Result<Option<Exit>, Fault> {
    let deadline = SystemClock.now().plus(ANSWER_TIMEOUT);
    let mut looks = 0_u32;
    while SystemClock.now() < deadline {
        match state.journal.answered(run, number).await? {
            Some(Ok(())) => {
                let after = state.replay(run).await?;
                let told = serde_json::json!({
                    "run": run,
                    "command": command.name(),
                    "taken": true,
                    "state": after.state().to_string(),
                });
                console.either(&told, || {
                    format!("{run} took `{}`: {}", command.name(), after.state())
                })?;
                return Ok(Some(Exit::Succeeded));
            }
            Some(Err(refused)) => return Err(drive::refusal(&refused)),
            None => {}
        }
        looks = looks.saturating_add(1);
        if looks.is_multiple_of(LOOKS) && state.journal.drive(run).await.is_ok() {
            return Ok(None);
        }
        let now = SystemClock.now();
        SystemClock.sleep_until(now.plus(ANSWER_POLL)).await;
    }
    console.note(&format!(
        "no answer within {ANSWER_TIMEOUT}; the command stays in the inbox of {run}"
    ));
    Ok(Some(Exit::Waiting))
}

/// The command was refused after all, because the run went on before it was looked at.
async fn answered_well(state: &State, run: &str, number: Option<u64>) -> Result<(), Fault> {
    let Some(number) = number else {
        return Ok(());
    };
    match state.journal.answered(run, number).await? {
        Some(Err(refused)) => Err(drive::refusal(&refused)),
        _ => Ok(()),
    }
}
