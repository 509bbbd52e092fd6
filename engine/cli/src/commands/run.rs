//! `phasegate run` and `phasegate resume`.

use std::path::Path;
use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::event::Command;
use phasegate_core::plan::{FORMAT, Plan};
use phasegate_core::run::Run;
use phasegate_core::time::Span;
use phasegate_runtime::engine::{Error as EngineError, Left, Options, Predecessor, Start};
use phasegate_runtime::planner;
use phasegate_runtime::ports::{Clock, Journal as _, JournalError};
use phasegate_world::clock::SystemClock;
use phasegate_world::entropy;

use super::order::Order;
use super::plan::Kept;
use super::release::{self, Given, Ready};
use super::{report, supersede};
use crate::args::{self, Driving};
use crate::compose::World;
use crate::console::Console;
use crate::drive::{self, Progress, Signals};
use crate::exit::{self, Fault, Outcome, internal};
use crate::runlog::RunLog;
use crate::seat::Seat;
use crate::state::State;
use crate::{files, plugins};

/// How often a run that another process seems to drive is asked for again: a command that only
/// looks holds it for a moment.
const DRIVE_ATTEMPTS: u32 = 5;
/// Time between two such attempts.
const DRIVE_RETRY: Span = Span::from_millis(100);
/// How often the inbox is looked at, in real time.
const INBOX_REAL: Span = Span::from_millis(250);
/// The same for an inbox in a cluster.
const INBOX_AWAY: Span = Span::from_secs(1);

/// Plans a release, starts it and follows it to its end.
pub(super) async fn run(args: &args::Run, folder: &Path, console: &Console) -> Outcome {
    if let Some(path) = &args.report {
        files::may_be_written(path)?;
    }
    let order = Order::read(args)?;
    let how = How {
        driving: args.driving,
        report: args.report.as_deref(),
    };
    let setting = Setting::of(&order, folder, console).await?;
    if args.supersede {
        if Seat::of(folder)?.is_some() {
            let message = "`--supersede` needs a state directory, where the next run is kept until it can begin";
            return Err(Diagnostic::new(codes::NOT_FOR_A_CLUSTER, message)
                .hint("abort the run that holds the target, and run this one then")
                .into());
        }
        if let Some(before) = supersede::holder(&setting).await? {
            return supersede::begin(order, setting, &before, how, console).await;
        }
        console.note("no run holds the target: this one begins at once");
    }
    let plan = setting.plan().await?;
    let id = setting.new_id()?;
    let begun = setting.begin(&id, plan, None, how, console).await?;
    begun.outcome
}

/// How a run that is asked for is to be followed.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) driving: Driving,
    pub(super) report: Option<&'a Path>,
}

/// Everything that it takes to plan a run and to begin it.
pub(super) struct Setting {
    pub(super) given: Given,
    /// How its cluster is called in targets.
    pub(super) cluster: String,
    /// The plan that is to be run, where one was kept.
    pub(super) saved: Option<Plan>,
    pub(super) world: World,
    pub(super) state: State,
    pub(super) ready: Ready,
    log: Arc<RunLog>,
}

/// A run that was to begin.
pub(super) struct Begun {
    pub(super) outcome: Outcome,
    /// Whether it is in the journal.
    pub(super) under_way: bool,
}

impl Setting {
    /// Loads what is asked for, says what is wrong with it, and finds its world.
    pub(super) async fn of(order: &Order, folder: &Path, console: &Console) -> Result<Self, Fault> {
        let setting = Self::away(order, folder, console).await?;
        plugins::readable(&setting.ready.kept.credentials)?;
        Ok(setting)
    }

    /// The same for a run that is driven elsewhere, where its credentials are.
    pub(super) async fn away(
        order: &Order,
        folder: &Path,
        console: &Console,
    ) -> Result<Self, Fault> {
        let (given, saved) = order.given()?;
        release::check(&given).await?;
        State::to_begin(folder).await?;
        let mut world = release::world(&given, folder, console).await?;
        let log = RunLog::new(world.clock.clone());
        world.log = log.clone();
        let state = State::open(folder).await?;
        let ready = release::engine(&given, &world, state.journal.clone()).await?;
        let cluster = given.cluster()?;
        Ok(Self {
            given,
            cluster,
            saved,
            world,
            state,
            ready,
            log,
        })
    }

    /// The plan by what is there now; where one was kept that one, if it still fits.
    pub(super) async fn plan(&self) -> Result<Plan, Fault> {
        let prepared = self.prepared().await?;
        release::allowed(&self.ready, &self.world, &prepared).await?;
        self.as_saved(prepared)
    }

    /// The same for a run that is driven elsewhere: whether whoever drives it may do all of it is looked at there.
    pub(super) async fn plan_away(&self) -> Result<Plan, Fault> {
        self.as_saved(self.prepared().await?)
    }

    async fn prepared(&self) -> Result<Plan, Fault> {
        let prepared = planner::prepare(
            &self.ready.parts.engine.world,
            &self.given.loaded,
            &self.given.policy,
            &self.cluster,
            &drive::who().name,
        )
        .await?;
        Ok(prepared.plan)
    }

    fn as_saved(&self, now: Plan) -> Result<Plan, Fault> {
        match &self.saved {
            Some(saved) => unchanged(saved.clone(), now),
            None => Ok(now),
        }
    }

    /// A name for a run of the release.
    pub(super) fn new_id(&self) -> Result<String, Fault> {
        let name = &self.given.loaded.release.metadata.name;
        entropy::run_id(name, self.world.clock.now()).map_err(|e| {
            internal("the run can't be given a name")
                .caused_by(&e)
                .into()
        })
    }

    /// Begins the run and follows it to its end.
    pub(super) async fn begin(
        &self,
        id: &str,
        plan: Plan,
        after: Option<Predecessor<'_>>,
        how: How<'_>,
        console: &Console,
    ) -> Result<Begun, Fault> {
        let (state, ready) = (&self.state, &self.ready);
        let kept = ready.kept.with_templates(&plan, &self.world)?;
        state.keep(id, &ready.components, &kept).await?;
        if !state.is_away() {
            self.log.open(&state.folder, id);
        }
        let options = options(state, &self.world, how.driving)?;
        let (_signals, nudges) = Signals::listen(how.driving.on_cancel, console)?;
        let mut progress = Progress::new(console);
        let by = drive::who();
        let start = Start {
            run: id,
            plan,
            by: &by,
            after,
        };
        let engine = &ready.parts.engine;
        let started = engine.begin(start, &options, nudges, &mut progress).await;
        progress.end();
        let under_way = state.journal.read(id).await.is_ok();
        let outcome = match started {
            Ok((run, left)) => drive::conclude(state, console, &run, left).await,
            Err(error) => {
                if !under_way {
                    plugins::forget(&state.folder, id);
                }
                Err(exit::engine(&error, id, under_way))
            }
        };
        if let Some(path) = how.report.filter(|_| under_way) {
            report::after(state, id, path, console).await;
        }
        Ok(Begun { outcome, under_way })
    }
}

/// A plan that was kept in a file.
pub(super) fn read_plan(file: &str, bytes: &[u8]) -> Result<Plan, Fault> {
    let Kept { digest, plan } =
        serde_json::from_slice(bytes).map_err(|e| drive::not_a_plan(file, &e))?;
    if plan.digest() != digest {
        return Err(Diagnostic::new(
            codes::PLAN_DRIFTED,
            format!("`{file}` was changed since it was planned"),
        )
        .expected(digest)
        .found(plan.digest())
        .hint("plan again instead of editing a plan")
        .into());
    }
    if plan.format == FORMAT {
        return Ok(plan);
    }
    Err(Diagnostic::new(
        codes::PLAN_DRIFTED,
        format!("`{file}` is a plan of another engine"),
    )
    .expected(format!("format {FORMAT}"))
    .found(format!("format {}", plan.format))
    .hint("plan again")
    .into())
}

/// The saved plan, if the world, the release, its policy and its plugins are what they were.
fn unchanged(saved: Plan, now: Plan) -> Result<Plan, Fault> {
    let pairs = saved.workloads.iter().zip(&now.workloads);
    let mut differences = pairs
        .clone()
        .flat_map(|(before, now)| planner::drift(before, &now.baseline))
        .collect::<Vec<_>>();
    for (name, pin) in &saved.plugins {
        match now.plugins.get(name) {
            Some(found) if found.digest == pin.digest => {}
            Some(found) => differences.push(format!(
                "plugin {name} was {}, is {}",
                pin.digest, found.digest
            )),
            None => differences.push(format!("plugin {name} is not used any more")),
        }
    }
    if differences.is_empty() {
        // What changes by itself, such as the Deployment's resource version, is no drift.
        let mut workloads = now.workloads.clone();
        for (workload, before) in workloads.iter_mut().zip(&saved.workloads) {
            workload.baseline.clone_from(&before.baseline);
        }
        let again = Plan { workloads, ..now };
        if again.digest() == saved.digest() {
            return Ok(saved);
        }
        differences.push("the release, its policy or the saved plan was changed".to_owned());
    }
    Err(Diagnostic::new(
        codes::PLAN_DRIFTED,
        "the saved plan no longer fits what is there",
    )
    .expected("the facts that the plan was made of")
    .found(differences.join("\n"))
    .hint("look at what changed, then plan again and have it approved again")
    .into())
}

/// Goes on with a run, or begins one that was to take another's place and has not come to it.
pub(super) async fn resume(args: &args::Resume, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder).await?;
    if let Some(pending) = supersede::pending(&state, args.run.as_deref()).await? {
        return supersede::resume(pending, folder, args.driving, console).await;
    }
    let run = state.find(args.run.as_deref()).await?;
    if state.is_away() && !state.journal.driven(&run).await? {
        let before = state.replay(&run).await?;
        if !crate::state::finished(&before) {
            release::able(&state, &before, false).await?;
            may_go_on(&state, &before).await?;
        }
    }
    match drive_on(&state, &run, args.driving, console).await? {
        Driven::Here(outcome) => {
            supersede::remind(&state, &run, console).await?;
            Ok(outcome)
        }
        Driven::Elsewhere => Err(JournalError::InUse(run).into()),
    }
}

/// Refuses to go on with a run of a cluster's journal by an account that may not finish it: whoever may is to come by, and
/// finds it as it is. One that goes back is helped by whatever can be done.
async fn may_go_on(state: &State, before: &Run) -> Result<(), Fault> {
    if before.cause().is_some() || is_aborted(state, before).await? {
        return Ok(());
    }
    let world = release::world_of(before, &state.folder).await?;
    let parts = release::engine_of(state, before, &world).await?;
    release::may(&parts, &world, before.plan()).await
}

/// Whether an abort waits in the run's inbox: whoever drives next takes it first.
async fn is_aborted(state: &State, run: &Run) -> Result<bool, Fault> {
    let waiting = state.journal.inbox(run.id(), run.inbox()).await?;
    let mut waiting = waiting.iter();
    Ok(waiting.any(|asked| matches!(asked.command, Command::Abort { .. })))
}

/// Who drove a run.
pub(super) enum Driven {
    /// This process, and this is how it ended.
    Here(exit::Exit),
    /// Another process drives it.
    Elsewhere,
}

/// Drives a run that is in the journal, from wherever it is, and says how it was left.
pub(super) async fn drive_on(
    state: &State,
    id: &str,
    driving: Driving,
    console: &Console,
) -> Result<Driven, Fault> {
    let before = state.replay(id).await?;
    if crate::state::finished(&before) && idle(state, &before).await? {
        let exit = drive::conclude(state, console, &before, Left::Resting).await?;
        return Ok(Driven::Here(exit));
    }
    match drive_here(state, &before, driving, console).await? {
        Some(drove) => {
            let exit = drive::conclude(state, console, &drove.run, drove.left).await?;
            Ok(Driven::Here(exit))
        }
        None => Ok(Driven::Elsewhere),
    }
}

/// A run that this process drove.
pub(super) struct Drove {
    pub(super) run: Run,
    pub(super) left: Left,
    /// Whether a signal asked for it to go back.
    pub(super) aborted: bool,
}

/// Drives a run that is in the journal. None where another process drives it.
pub(super) async fn drive_here(
    state: &State,
    before: &Run,
    driving: Driving,
    console: &Console,
) -> Result<Option<Drove>, Fault> {
    let id = before.id();
    let mut world = release::world_of(before, &state.folder).await?;
    let log = RunLog::new(world.clock.clone());
    if !state.is_away() {
        log.open(&state.folder, id);
    }
    world.log = log;
    let parts = release::engine_of(state, before, &world).await?;
    let options = options(state, &world, driving)?;
    for _ in 0..DRIVE_ATTEMPTS {
        let (signals, nudges) = Signals::listen(driving.on_cancel, console)?;
        let mut progress = Progress::new(console);
        let left = parts
            .engine
            .drive(id, &options, nudges, &mut progress)
            .await;
        progress.end();
        match left {
            Ok((run, left)) => {
                let aborted = signals.aborted();
                return Ok(Some(Drove { run, left, aborted }));
            }
            Err(EngineError::Journal(JournalError::InUse(_))) => {
                let now = SystemClock.now();
                SystemClock.sleep_until(now.plus(DRIVE_RETRY)).await;
            }
            Err(error) => return Err(exit::engine(&error, id, true)),
        }
    }
    Ok(None)
}

/// Whether nobody has left a command that is still to be looked at.
async fn idle(state: &State, run: &Run) -> Result<bool, Fault> {
    for command in state.journal.inbox(run.id(), run.inbox()).await? {
        if state
            .journal
            .answered(run.id(), command.id)
            .await?
            .is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn options(
    state: &State,
    world: &World,
    driving: Driving,
) -> Result<Options, Diagnostic> {
    let mut options = drive::options(driving)?;
    // Each look at an inbox in a cluster is a request to its API server.
    let real = if state.is_away() {
        INBOX_AWAY
    } else {
        INBOX_REAL
    };
    // People wait in real time, however fast the world's time goes.
    options.inbox_poll = world.stretched(real);
    options.give_back = world.stretched(options.give_back);
    Ok(options)
}
