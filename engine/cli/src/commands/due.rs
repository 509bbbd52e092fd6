//! `phasegate due`: what is owed after runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use phasegate_core::config::{self, Left};
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::effect;
use phasegate_core::event::{Command, Event};
use phasegate_core::failure::Failure;
use phasegate_core::run::{Obligation, Run};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{Clock, Cluster, Journal};
use phasegate_world::clock::SystemClock;
use serde::Serialize;

use super::{commanding, release};
use crate::args::{Driving, DueDone};
use crate::compose::World;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::show;
use crate::state::{State, finished};

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
    /// Why the cluster could not be looked at, so that it is not known whether it is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_looked_at: Option<String>,
}

/// The clusters that were looked at, by their names in targets: each is connected to once.
type Worlds<'a> = BTreeMap<&'a str, Result<World, String>>;

/// Lists what is owed, the next first.
pub(super) async fn list(all: bool, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
    let (runs, faults) = state.whole().await?;
    let mut worlds = Worlds::new();
    let mut owed = Vec::new();
    for run in &runs {
        for obligation in run.obligations() {
            if !all && obligation.discharged.is_some() {
                continue;
            }
            let needed = needed_by(&runs, run, obligation);
            let (not_to_be_done, not_looked_at) = match needed {
                Some(why) => (Some(why), None),
                None => match in_use_again(&mut worlds, folder, run, obligation).await {
                    Ok(why) => (why, None),
                    Err(why) => (None, Some(why)),
                },
            };
            owed.push(Owed {
                run: run.id().to_owned(),
                obligation: obligation.clone(),
                not_to_be_done,
                not_looked_at,
            });
        }
    }
    owed.sort_by_key(|owed| owed.obligation.due);
    console.either(&owed, || {
        if owed.is_empty() {
            return "nothing is owed".to_owned();
        }
        owed.iter().map(row).collect::<Vec<_>>().join("\n")
    })?;
    // What is wrong with other runs keeps none from what it owes, and is told in the end.
    Ok(faults.into_result(Exit::Succeeded)?)
}

/// Whether what would be removed serves again, since a later release or somebody took it into use; or why the cluster
/// can't be looked at.
async fn in_use_again<'a>(
    worlds: &mut Worlds<'a>,
    folder: &Path,
    run: &'a Run,
    owed: &Obligation,
) -> Result<Option<String>, String> {
    let removes = owed.removes.filter(|_| owed.discharged.is_none());
    let Some(workload) = removes.and_then(|removes| run.plan().workload(removes)) else {
        return Ok(None);
    };
    let cluster = workload.target.cluster.as_str();
    if !worlds.contains_key(cluster) {
        let world = release::world_of(run, folder).await;
        worlds.insert(cluster, world.map_err(|fault| in_short(&fault)));
    }
    let Some(world) = worlds.get(cluster) else {
        return Ok(None);
    };
    let world = world.as_ref().map_err(Clone::clone)?;
    match world.cluster.observe(&workload.target).await {
        Ok(seen) => Ok(run.in_use_again(owed, &seen)),
        Err(failure) => Err(failure.message),
    }
}

/// Why copies of configurations are not to be removed yet: another run may go back to one of them longer than this one.
/// Once that is over they go, with the one or the other.
fn needed_by(runs: &[Run], run: &Run, owed: &Obligation) -> Option<String> {
    let copies = left_by(run, owed)?;
    let others = runs.iter().filter(|other| other.id() != run.id());
    let mut going = others.clone().filter(|other| !finished(other));
    if let Some(other) = going.find(|other| names_one_of(other, &copies)) {
        return Some(format!("run {} is under way and may need it", other.id()));
    }
    let mut theirs = others.flat_map(|other| {
        let all = other.obligations().iter();
        all.map(move |theirs| (other, theirs))
    });
    let (other, theirs) = theirs.find(|(other, theirs)| {
        let later = theirs.discharged.is_none() && theirs.due > owed.due;
        later && left_by(other, theirs).is_some_and(|theirs| !theirs.is_disjoint(&copies))
    })?;
    Some(format!(
        "run {} may go back to it until {}",
        other.id(),
        theirs.due
    ))
}

/// Whether a run leads pods to one of these copies, or away from one, whether it holds its targets by now or not.
fn names_one_of(run: &Run, copies: &BTreeSet<(String, Left)>) -> bool {
    run.plan().workloads.iter().any(|workload| {
        let place = place_of(&workload.target);
        workload.configs.iter().any(|config| {
            let names = [
                Some(&config.copy.name),
                Some(&config.before),
                config.idle.as_ref(),
            ];
            copies.iter().any(|(at, left)| {
                let named = names.iter().flatten().any(|name| **name == left.name);
                *at == place && left.kind == config.copy.kind && named
            })
        })
    })
}

/// Where copies of a target's configurations are.
fn place_of(target: &Target) -> String {
    format!("{}/{}", target.cluster, target.namespace)
}

/// The copies that an obligation is about, if it is one of those.
fn left_by(run: &Run, owed: &Obligation) -> Option<BTreeSet<(String, Left)>> {
    let place = owed.removes_copies.filter(|_| owed.discharged.is_none())?;
    let workload = run.plan().workload(place)?;
    let place = place_of(&workload.target);
    let left = config::left(&workload.configs).into_iter();
    Some(left.map(|left| (place.clone(), left)).collect())
}

fn in_short(fault: &Fault) -> String {
    let first = fault.diagnostics.iter().next();
    first.map_or_else(String::new, |fault| {
        format!("[{}] {}", fault.code(), fault.message())
    })
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
    let warning = match (&owed.not_to_be_done, &owed.not_looked_at) {
        (Some(why), _) => format!("; NOT to be removed: {why}"),
        (None, Some(why)) => {
            format!("; look whether it is in use before it is removed: {why}")
        }
        (None, None) => String::new(),
    };
    format!("{} {number}  {state}  {task}{warning}", owed.run)
}

/// Says that something is done. The run itself stays as it is.
pub(super) async fn done(args: &DueDone, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let run = state.find(Some(&args.run)).await?;
    let (runs, _) = state.whole().await?;
    if let Some(of) = runs.iter().find(|other| other.id() == run) {
        let mut owed = of.obligations().iter();
        let owed = owed.find(|owed| owed.number == args.number);
        if let Some(why) = owed.and_then(|owed| needed_by(&runs, of, owed)) {
            return Err(Diagnostic::new(codes::COMMAND_ILLEGAL, why)
                .hint("`phasegate due` lists what is owed")
                .into());
        }
    }
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

/// Does what has become due and an engine can do. Whatever can't be done stays owed, and the next one tries again.
pub(super) async fn meet(folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    let (runs, mut faults) = state.whole().await?;
    let mut met = Vec::new();
    for run in &runs {
        let now = SystemClock.now();
        let due = run.obligations().iter().filter(|owed| {
            let open = owed.discharged.is_none() && owed.due <= now;
            owed.of_an_engine().is_some() && open && needed_by(&runs, run, owed).is_none()
        });
        for owed in due {
            let obligation = owed.number;
            let command = Command::Discharge { obligation };
            let driving = Driving::default();
            let given = match may_meet(&state, run).await {
                Ok(()) => commanding::give(&state, console, run.id(), command, driving).await,
                Err(refused) => Err(refused),
            };
            match given {
                Ok(_) => {
                    let tried = tried(&state, run.id(), obligation, &mut faults).await?;
                    met.push(tried);
                }
                Err(fault) => fault
                    .diagnostics
                    .iter()
                    .cloned()
                    .for_each(|f| faults.push(f)),
            }
        }
    }
    console.either(&met, || match met.as_slice() {
        [] => "nothing is due that an engine can do".to_owned(),
        met => met.iter().map(Met::row).collect::<Vec<_>>().join("\n"),
    })?;
    // What is wrong with other runs keeps none from what it owes, and is told in the end.
    Ok(faults.into_result(Exit::Succeeded)?)
}

/// What failed last in a run.
async fn last_failure(state: &State, run: &str) -> Result<Option<Failure>, Fault> {
    let (records, _) = state.journal.read(run).await?;
    let mut records = records.into_iter().rev();
    Ok(records.find_map(|record| match record.event {
        Event::Finished {
            outcome: effect::Outcome::Failed { failure },
            ..
        } => Some(failure),
        _ => None,
    }))
}

/// Refuses an account that may not finish what it would begin: the target would be left claimed.
async fn may_meet(state: &State, run: &Run) -> Result<(), Fault> {
    let world = release::world_of(run, &state.folder).await?;
    let parts = release::engine_of(state, run, &world).await?;
    release::may(&parts, &world, run.plan()).await
}

/// What came of an obligation. One that is still owed, and a claim that was left, are faults.
async fn tried(
    state: &State,
    id: &str,
    number: u32,
    faults: &mut Diagnostics,
) -> Result<Met, Fault> {
    let run = state.replay(id).await?;
    let mut owed = run.obligations().iter();
    let met = Met {
        run: id.to_owned(),
        number,
        done: owed.any(|owed| owed.number == number && owed.discharged.is_some()),
    };
    let left = run
        .claims_left()
        .filter_map(|place| run.plan().workload(place))
        .next();
    if met.done && left.is_none() {
        return Ok(met);
    }
    if let Some(failure) = last_failure(state, id).await? {
        let fault = Diagnostic::new(failure.code, met.row()).found(failure.to_string());
        faults.push(match left {
            Some(workload) => fault.hint(format!(
                "the run may still hold its target: `phasegate lock break {}` frees it",
                workload.target
            )),
            None => fault.hint("`phasegate due meet` tries again"),
        });
    }
    Ok(met)
}

/// An obligation that was tried.
#[derive(Serialize)]
struct Met {
    run: String,
    number: u32,
    done: bool,
}

impl Met {
    fn row(&self) -> String {
        let what = if self.done {
            "done"
        } else {
            "still owed; `phasegate history` says why"
        };
        format!("{} {}: {what}", self.run, self.number)
    }
}
