//! `phasegate history forget`: the journals of old runs are taken out of a cluster.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::run::Run;
use serde::Serialize;

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
    let mut runs = Vec::new();
    match args.keep {
        None => {
            let id = state.find(args.run.as_deref()).await?;
            let run = state.replay(&id).await?;
            if let Some(why) = needed(&run) {
                return Err(
                    Diagnostic::new(codes::COMMAND_ILLEGAL, format!("{id} {why}"))
                        .hint("end it, and say what is done with `phasegate due done`")
                        .into(),
                );
            }
            runs.push(id);
        }
        Some(keep) => {
            for entry in state.runs().await?.into_iter().skip(keep) {
                let run = state.replay(&entry.run).await?;
                match needed(&run) {
                    Some(why) => console.note(&format!("{} {why}, and stays", entry.run)),
                    None => runs.push(entry.run),
                }
            }
        }
    }
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
    Ok(Exit::Succeeded)
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
