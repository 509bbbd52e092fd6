//! `phasegate history forget`: the journals of old runs are taken out of a cluster.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::run::Run;
use phasegate_store::SegmentJournal;
use serde::Serialize;

use super::copies;
use crate::args::Forget;
use crate::book::Book;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::state::{self, State};

/// What was taken away.
#[derive(Serialize)]
struct Forgotten {
    run: String,
    objects: u64,
}

/// Forgets a run, or all but the newest.
pub(super) async fn forget(args: &Forget, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let Book::Cluster(journal) = &*state.journal else {
        return Err(Diagnostic::new(
            codes::STATE_MISPLACED,
            "runs are forgotten in a cluster's journal only",
        )
        .expected("--state kubernetes:CONTEXT/NAMESPACE")
        .found("a directory")
        .hint("a state directory that isn't needed any more is removed as a whole")
        .into());
    };
    let (runs, faults) = match args.keep {
        None => (vec![one(&state, journal, args).await?], Diagnostics::new()),
        Some(keep) => all_but(&state, journal, keep, console).await?,
    };
    // Before the journals that know of them are gone.
    copies::remove(&state, &runs, console).await?;
    let mut forgotten = Vec::new();
    for run in runs {
        let objects = journal.forget(&run).await.map_err(Fault::from)?;
        forgotten.push(Forgotten { run, objects });
    }
    console.either(&forgotten, || {
        if forgotten.is_empty() {
            return "nothing to forget".to_owned();
        }
        let lines = forgotten
            .iter()
            .map(|gone| format!("{}: forgotten, {} objects", gone.run, gone.objects));
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(faults.into_result(Exit::Succeeded)?)
}

/// The run that is named: one that nothing is needed of any more, or one that somebody began to forget.
async fn one(state: &State, journal: &SegmentJournal, args: &Forget) -> Result<String, Fault> {
    if let Some(named) = &args.run
        && journal.remains().await?.contains(named)
    {
        return Ok(named.clone());
    }
    let id = state.find(args.run.as_deref()).await?;
    let run = state.replay(&id).await?;
    match needed(&run) {
        Some(why) => Err(
            Diagnostic::new(codes::COMMAND_ILLEGAL, format!("{id} {why}"))
                .hint("end it, and say what is done with `phasegate due done`")
                .into(),
        ),
        None => Ok(id),
    }
}

/// All that nothing is needed of any more but the newest, with what was left of others; and what is wrong with runs
/// that stay, since what they hold can't be told.
async fn all_but(
    state: &State,
    journal: &SegmentJournal,
    keep: usize,
    console: &Console,
) -> Result<(Vec<String>, Diagnostics), Fault> {
    let newest: Vec<String> = state
        .runs()
        .await?
        .into_iter()
        .map(|entry| entry.run)
        .take(keep)
        .collect();
    let (runs, faults) = state.whole().await?;
    let mut old = Vec::new();
    for run in runs
        .iter()
        .filter(|run| newest.iter().all(|new| new != run.id()))
    {
        match needed(run) {
            Some(why) => console.note(&format!("{} {why}, and stays", run.id())),
            None => old.push(run.id().to_owned()),
        }
    }
    old.extend(journal.remains().await?);
    Ok((old, faults))
}

/// Why the journal of a run is needed still.
fn needed(run: &Run) -> Option<&'static str> {
    if !state::finished(run) {
        return Some("is not over");
    }
    let mut owed = run.obligations().iter();
    owed.any(|owed| owed.discharged.is_none())
        .then_some("owes something")
}
