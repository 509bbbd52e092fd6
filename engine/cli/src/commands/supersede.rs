//! `phasegate run --supersede`: a new run takes the place of the one that holds its target.
//!
//! The old run is told to go back, by the engine that drives it or, where none does, by this process; it hands
//! its claim over to the new run, which plans with what is there then. Nobody else can take the target in
//! between. What the new run begins with is kept before the old one is told, so that `resume` can begin it.

use std::collections::BTreeSet;
use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes, listed};
use phasegate_core::event::Command;
use phasegate_core::plan::Plan;
use phasegate_core::run::Run;
use phasegate_core::window::{self, Decision};
use phasegate_core::workload::Target;
use phasegate_runtime::engine::Predecessor;
use phasegate_runtime::planner;
use phasegate_runtime::ports::{Journal, JournalError};

use super::order::Order;
use super::predecessor::{Waited, Waiting};
use super::run::{self, How, Setting};
use super::succession::{Succession, forget};
use crate::args::Driving;
use crate::console::Console;
use crate::drive;
use crate::exit::{self, Exit, Fault, Outcome};
use crate::state::State;

fn targets(setting: &Setting) -> Vec<Target> {
    let cluster = setting.cluster.as_str();
    let loaded = &setting.given.loaded;
    let workloads = loaded.release.workloads();
    let targets = workloads
        .iter()
        .map(|(_, workload)| planner::target_of(loaded, workload, cluster));
    targets.collect()
}

pub(super) fn refused(message: String, hint: String) -> Fault {
    Diagnostic::new(codes::SUPERSEDE_REFUSED, message)
        .hint(hint)
        .into()
}

/// The run that holds a target of the release, if one does and its place can be taken from here.
pub(super) async fn holder(setting: &Setting) -> Result<Option<String>, Fault> {
    let cluster = &setting.ready.parts.engine.world.cluster;
    let mut runs = BTreeSet::new();
    for target in targets(setting) {
        let claim = cluster.claimed(&target).await;
        let claim = claim.map_err(|failure| planner::diagnostic(&failure, "the cluster"))?;
        let Some(claim) = claim else { continue };
        if let Some(before) = &claim.handed_over_by {
            let run = &claim.run;
            let message = format!("{target} is kept for {run}, which takes the place of {before}");
            return Err(Diagnostic::new(codes::SUPERSEDED_ALREADY, message)
                .hint(format!(
                    "`phasegate resume {run}` begins it; `phasegate lock break {target}` frees the target"
                ))
                .into());
        }
        runs.insert(claim.run);
    }
    let mut names = runs.iter();
    let (Some(run), more) = (names.next(), names.next().is_some()) else {
        return Ok(None);
    };
    if more {
        let names = listed(runs.iter().map(String::as_str));
        let message = format!("several runs hold the targets: {names}");
        let hint = "one run can be superseded; abort the others first".to_owned();
        return Err(refused(message, hint));
    }
    match setting.state.journal.read(run).await {
        Ok(_) => Ok(Some(run.clone())),
        Err(JournalError::NotFound(_)) => Err(refused(
            format!("run {run} holds the target and is not in this state directory"),
            "supersede it where it was started, or abort it there; check --state".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Says what is wrong with the new run as far as that can be told before the old one is back.
async fn preview(setting: &Setting, before: &Run) -> Result<(), Fault> {
    let given = &setting.given;
    let (loaded, now) = (&given.loaded, setting.world.clock.now());
    let change = loaded.release.change;
    if let Decision::Closed { reason, opens_at } =
        window::evaluate(&given.policy, now, &loaded.environment, change)
    {
        let closed = phasegate_runtime::engine::Error::Window { reason, opens_at };
        return Err(exit::engine(&closed, before.id(), false));
    }
    if let Some(saved) = &setting.saved {
        return fits(saved, before);
    }
    match setting.plan().await {
        Ok(_) => Ok(()),
        // The old run's own candidate is in the way; it will be gone.
        Err(fault) if only_the_old_run(&fault) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn only_the_old_run(fault: &Fault) -> bool {
    let mut faults = fault.diagnostics.iter();
    faults.all(|fault| fault.code() == codes::NO_PLACE_BESIDE)
}

/// A kept plan must fit what the old run will have put back: what it recorded.
fn fits(saved: &Plan, before: &Run) -> Result<(), Fault> {
    let recorded = &before.plan().workloads;
    let mut differences = Vec::new();
    for workload in &saved.workloads {
        let target = workload.target.to_string();
        let same = recorded.iter().find(|r| r.target.to_string() == target);
        if let Some(recorded) = same {
            differences.extend(planner::drift(workload, &recorded.baseline));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("the saved plan won't fit once {} is back", before.id());
    Err(Diagnostic::new(codes::PLAN_DRIFTED, message)
        .expected("a plan made of what was there before that run")
        .found(differences.join("\n"))
        .hint("leave out --plan, so that the plan is made when the old version serves again")
        .into())
}

/// Takes the place of `before`, if that lets itself be superseded.
pub(super) async fn begin(
    order: Order,
    setting: Setting,
    before: &str,
    how: How<'_>,
    console: &Console,
) -> Outcome {
    let run = setting.state.replay(before).await?;
    let succession = Succession {
        run: setting.new_id()?,
        after: before.to_owned(),
        order: order.rooted()?,
    };
    let asked = asked(&setting, &succession);
    run.may(&drive::who(), &asked).map_err(|refusal| Fault {
        diagnostics: Diagnostic::new(refusal.code, refusal.message)
            .hint(refusal.hint)
            .into(),
        exit: Exit::Refused,
    })?;
    preview(&setting, &run).await?;
    let guard = setting.state.journal.drive(&succession.run).await?;
    succession.keep(&setting.state.folder)?;
    carry_on(&setting, &succession, guard, how, console).await
}

/// Goes on with a run that was to take another's place and has not begun.
pub(super) async fn resume(
    succession: Succession,
    folder: &Path,
    driving: Driving,
    console: &Console,
) -> Outcome {
    let how = How {
        driving,
        report: None,
    };
    let setting = Setting::of(&succession.order, folder, console).await?;
    let guard = setting.state.journal.drive(&succession.run).await?;
    // Whoever had the lock until now may have begun it.
    if Succession::find(&setting.state, &succession.run)
        .await?
        .is_none()
    {
        return Err(JournalError::InUse(succession.run).into());
    }
    carry_on(&setting, &succession, guard, how, console).await
}

fn asked(setting: &Setting, succession: &Succession) -> Command {
    Command::Supersede {
        run: succession.run.clone(),
        targets: targets(setting).iter().map(Target::to_string).collect(),
    }
}

async fn carry_on(
    setting: &Setting,
    succession: &Succession,
    guard: Box<dyn Send + Sync>,
    how: How<'_>,
    console: &Console,
) -> Outcome {
    let (state, id, before) = (&setting.state, &*succession.run, &*succession.after);
    let waiting = Waiting {
        state,
        before,
        id,
        asked: asked(setting, succession),
        driving: how.driving,
        console,
    };
    match waiting.bring_back().await {
        Ok(Waited::Back) => {}
        Ok(Waited::Left) => {
            console.note(&format!(
                "{id} has not begun; `phasegate resume {id}` begins it once {before} is back"
            ));
            return Ok(Exit::Waiting);
        }
        Ok(Waited::CalledOff) => {
            decline(setting, succession, how, console).await;
            console.note(&format!("{id} was called off; {before} is back"));
            return Ok(Exit::Refused);
        }
        Err(fault) => {
            // A way back that is stuck can be helped: what the new run begins with is kept for then.
            let stuck = fault.exit == Exit::Stuck || fault.exit == Exit::Waiting;
            if !stuck {
                forget(&state.folder, id);
            }
            return Err(fault);
        }
    }
    let plan = match setting.plan().await {
        Ok(plan) => plan,
        Err(fault) => {
            decline(setting, succession, how, console).await;
            return Err(fault);
        }
    };
    let after = Some(Predecessor { run: before, guard });
    let begun = setting.begin(id, plan, after, how, console).await?;
    if begun.under_way {
        forget(&state.folder, id);
    } else {
        decline(setting, succession, how, console).await;
    }
    begun.outcome
}

/// Lets go of what is kept for a run that does not begin.
async fn decline(setting: &Setting, succession: &Succession, how: How<'_>, console: &Console) {
    let (id, before) = (&*succession.run, &*succession.after);
    let engine = &setting.ready.parts.engine;
    let let_go = match run::options(&setting.state, &setting.world, how.driving) {
        Ok(options) => engine
            .decline(id, before, &targets(setting), &options)
            .await
            .map_err(|error| exit::engine(&error, id, false)),
        Err(fault) => Err(fault.into()),
    };
    match let_go {
        Ok(()) => {
            forget(&setting.state.folder, id);
            console.note(&format!(
                "{id} does not begin; {before} is back and the target is free"
            ));
        }
        Err(fault) => {
            console.faults(&fault.diagnostics);
            console.note(&format!(
                "the target is kept for {id} still; `phasegate resume {id}` tries again, `phasegate lock break` frees it"
            ));
        }
    }
}

/// The run that `resume` is to begin rather than to go on with, if it is one that was to take another's place.
pub(super) async fn pending(
    state: &State,
    named: Option<&str>,
) -> Result<Option<Succession>, Fault> {
    let mut pending = Succession::all(state).await?;
    if pending.is_empty() {
        return Ok(None);
    }
    match named {
        Some(named) => {
            let exact = pending.iter().position(|kept| kept.run == named);
            if let Some(at) = exact {
                return Ok(Some(pending.swap_remove(at)));
            }
            pending.retain(|kept| kept.run.starts_with(named));
            let others = state.find(Some(named)).await.is_ok();
            let only = pending.len() == 1 && !others;
            Ok(only.then(|| pending.swap_remove(0)))
        }
        None => {
            let unfinished = state.unfinished().await?;
            let after = |run: &Run| pending.iter().any(|kept| kept.after == run.id());
            let others = unfinished.iter().filter(|run| !after(run)).count();
            let only = pending.len() == 1 && others == 0;
            Ok(only.then(|| pending.swap_remove(0)))
        }
    }
}

/// Says that another run is to follow the one that was resumed.
pub(super) async fn remind(state: &State, run: &str, console: &Console) -> Result<(), Fault> {
    for kept in Succession::all(state).await? {
        if kept.after == run {
            let id = kept.run;
            console.note(&format!(
                "{id} was to take its place and has not begun; `phasegate resume {id}` begins it"
            ));
        }
    }
    Ok(())
}
