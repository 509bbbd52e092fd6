//! `phasegate due`: what is owed after runs.

use std::path::Path;

use phasegate_core::event::Command;
use phasegate_core::run::Obligation;
use serde::Serialize;

use super::commanding;
use crate::args::{Driving, DueDone};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::show;
use crate::state::State;

/// Something owed.
#[derive(Serialize)]
struct Owed {
    run: String,
    #[serde(flatten)]
    obligation: Obligation,
}

/// Lists what is owed, the next first.
pub(super) async fn list(all: bool, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder)?;
    let mut owed = Vec::new();
    for entry in state.runs().await? {
        let run = state.replay(&entry.run).await?;
        for obligation in run.obligations() {
            if all || obligation.discharged.is_none() {
                owed.push(Owed {
                    run: entry.run.clone(),
                    obligation: obligation.clone(),
                });
            }
        }
    }
    owed.sort_by_key(|owed| owed.obligation.due);
    console.either(&owed, || {
        if owed.is_empty() {
            return "nothing is owed".to_owned();
        }
        owed.iter().map(row).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Exit::Succeeded)
}

fn row(owed: &Owed) -> String {
    let Obligation {
        number,
        task,
        due,
        discharged,
        ..
    } = &owed.obligation;
    let state = match discharged {
        Some((by, at)) => format!("done by {} at {}", by.name, show::moment(*at)),
        None => format!("due {}", show::moment(*due)),
    };
    format!("{} {number}  {state}  {task}", owed.run)
}

/// Says that something is done. The run itself stays as it is.
pub(super) async fn done(args: &DueDone, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder)?;
    let run = state.find(Some(&args.run)).await?;
    let command = Command::Discharge {
        obligation: args.number,
    };
    let exit = commanding::give(&state, console, &run, command, Driving::default()).await?;
    // What the run came to long ago is not what this command came to.
    Ok(match exit {
        Exit::Waiting => exit,
        _ => Exit::Succeeded,
    })
}
