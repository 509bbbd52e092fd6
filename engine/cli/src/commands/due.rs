//! `phasegate due`: what is owed after runs.

use std::path::Path;

use phasegate_core::event::Command;
use phasegate_core::run::{Obligation, Run};
use phasegate_runtime::ports::Cluster;
use serde::Serialize;

use super::{commanding, release};
use crate::args::{Driving, DueDone};
use crate::compose::World;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::show;
use crate::state::State;

/// Something owed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Owed {
    run: String,
    #[serde(flatten)]
    obligation: Obligation,
    /// Why it is not to be done, where the cluster was looked at and shows that.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_to_be_done: Option<String>,
}

/// Lists what is owed, the next first.
pub(super) async fn list(all: bool, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder)?;
    let mut owed = Vec::new();
    for entry in state.runs().await? {
        let run = state.replay(&entry.run).await?;
        let open = |owed: &Obligation| owed.discharged.is_none() && owed.removes.is_some();
        let world = if run.obligations().iter().any(open) {
            // Whoever can't reach the cluster is told what the journal says.
            release::world_of(&run, folder).await.ok()
        } else {
            None
        };
        for obligation in run.obligations() {
            if all || obligation.discharged.is_none() {
                owed.push(Owed {
                    run: entry.run.clone(),
                    obligation: obligation.clone(),
                    not_to_be_done: in_use_again(world.as_ref(), &run, obligation).await,
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

/// Whether what would be removed serves again, since a later release or somebody took it into use.
async fn in_use_again(world: Option<&World>, run: &Run, owed: &Obligation) -> Option<String> {
    let open = owed.discharged.is_none();
    let workload = run.plan().workload(owed.removes.filter(|_| open)?)?;
    let seen = world?.cluster.observe(&workload.target).await.ok()?;
    run.in_use_again(owed, &seen)
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
    let warning = owed.not_to_be_done.as_ref();
    let warning = warning.map_or_else(String::new, |why| format!("; NOT to be removed: {why}"));
    format!("{} {number}  {state}  {task}{warning}", owed.run)
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
