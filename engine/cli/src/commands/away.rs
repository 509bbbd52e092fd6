//! `run --in-cluster`: a run that a Job of its cluster drives, and that is followed from here; and `drive`, which is
//! what the Job's pods do.

use std::path::{Path, PathBuf};

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::run::{Run, State as RunState};
use phasegate_core::time::Span;
use phasegate_runtime::engine::{Left, Start, Unobserved};
use phasegate_runtime::planner;
use phasegate_runtime::ports::{Clock, JournalError};
use phasegate_world::clock::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use super::order::Order;
use super::run::{self as running, Setting};
use super::{release, report, status};
use crate::args::{self, Away, Driving};
use crate::compose::World;
use crate::console::Console;
use crate::drive::{self, Progress};
use crate::exit::{self, Exit, Fault, Outcome, internal};
use crate::job::Wanted;
use crate::seat::Seat;
use crate::state::{self, State};

/// How long a pod waits for the engine before it, which may be dead and isn't known to be.
const DRIVE_PATIENCE: Span = Span::from_mins(2);
/// Time between two attempts.
const DRIVE_PAUSE: Span = Span::from_secs(1);
/// How long a run may be without an engine before whoever follows it is told, and how often that is looked at.
const ALONE: Span = Span::from_secs(45);
const LOOK: Span = Span::from_millis(500);

/// Plans a release here, has a Job drive it and follows it.
pub(super) async fn run(args: &args::Run, state: &Path, console: &Console) -> Outcome {
    if args.supersede {
        return Err(refused(
            "`--supersede` can't be driven from within the cluster",
            "run it with a state directory, or abort the run that holds the target first",
        ));
    }
    let order = Order::read(args)?;
    let folder = seat(&order, &args.away, state)?.path();
    let setting = Setting::away(&order, &folder, console).await?;
    let seat = seat(&order, &args.away, state)?;
    let plan = setting.plan_away().await?;
    let id = setting.new_id()?;
    let wanted = Wanted {
        run: &id,
        seat: &seat,
        away: &args.away,
        credentials: &setting.ready.kept.credentials,
    };
    let cluster = &setting.world.cluster;
    let job = wanted.manifest()?;
    // What the API server would refuse is refused before there is a run.
    let tried = cluster.make_job(&seat.namespace, job.clone(), true).await;
    tried.map_err(|failure| planner::diagnostic(&failure, "the Job that is to drive the run"))?;
    let state = &setting.state;
    let kept = setting.ready.kept.with_templates(&plan, &setting.world)?;
    state.keep(&id, &setting.ready.components, &kept).await?;
    let start = Start {
        run: &id,
        plan,
        by: &drive::who(),
        after: None,
    };
    let engine = &setting.ready.parts.engine;
    let submitted = engine.submit(start, &mut Unobserved).await;
    submitted.map_err(|error| exit::engine(&error, &id, false))?;
    submit(&setting.world, &seat, job, &id, console).await?;
    let outcome = follow(state, &seat, &id, console).await;
    if let Some(path) = &args.report {
        report::after(state, &id, path, console).await;
    }
    outcome
}

/// Has another Job drive a run that is in the cluster's journal.
pub(super) async fn resume(args: &args::Resume, folder: &Path, console: &Console) -> Outcome {
    let Some(seat) = Seat::of(folder)? else {
        return Err(refused(
            "the run's journal is in a directory, where no pod can reach it",
            "give the journal of a cluster with --state kubernetes:CONTEXT/NAMESPACE",
        ));
    };
    let state = State::existing(folder).await?;
    let id = state.find(args.run.as_deref()).await?;
    let before = state.replay(&id).await?;
    let kept = state.kept(&id).await?;
    let wanted = Wanted {
        run: &id,
        seat: &seat,
        away: &args.away,
        credentials: &kept.credentials,
    };
    let job = wanted.manifest()?;
    let world = release::world_of(&before, folder).await?;
    submit(&world, &seat, job, &id, console).await?;
    follow(&state, &seat, &id, console).await
}

fn refused(message: &str, hint: &str) -> Fault {
    Diagnostic::new(codes::NOT_FOR_A_CLUSTER, message)
        .hint(hint)
        .into()
}

/// Where the journal is to be: in the release's cluster, in its namespace or the one that is named.
fn seat(order: &Order, away: &Away, state: &Path) -> Result<Seat, Fault> {
    if let Some(seat) = Seat::of(state)? {
        return Ok(seat);
    }
    let (given, _) = order.given()?;
    let context = given.cluster()?;
    let named = away.journal_namespace.as_deref();
    let namespace = named.unwrap_or(&given.loaded.namespace);
    let seat = Seat::of(&PathBuf::from(format!("kubernetes:{context}/{namespace}")))?;
    seat.ok_or_else(|| internal("a seat in a cluster is none").into())
}

async fn submit(
    world: &World,
    seat: &Seat,
    job: serde_json::Value,
    run: &str,
    console: &Console,
) -> Result<(), Fault> {
    let made = world.cluster.make_job(&seat.namespace, job, false).await;
    let path = seat.path().display().to_string();
    let job = made.map_err(|failure| -> Fault {
        let fault = planner::diagnostic(&failure, "the Job that is to drive the run");
        let hint = format!(
            "the run is in the journal: `phasegate --state {path} resume {run}` drives it from here"
        );
        Fault::from(fault.hint(hint)).exits(Exit::Waiting)
    })?;
    console.note(&format!(
        "Job {job} in namespace {} drives {run}; from anywhere: phasegate --state {path} status",
        seat.namespace
    ));
    Ok(())
}

/// Follows the run to its end. A signal ends the following, and not the run.
async fn follow(state: &State, seat: &Seat, id: &str, console: &Console) -> Outcome {
    let path = seat.path().display().to_string();
    let fail = |e: std::io::Error| internal("signals can't be listened to").caused_by(&e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let mut progress = Progress::new(console);
    let followed = tokio::select! {
        followed = to_the_end(state, id, &mut progress, console) => Some(followed),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    progress.end();
    let Some(run) = followed else {
        console.note(&format!(
            "the run goes on without you: `phasegate --state {path} watch {id}` follows it, `phasegate --state {path} abort {id}` takes it back"
        ));
        return Ok(Exit::Waiting);
    };
    drive::conclude(state, console, &run?, Left::Resting).await
}

async fn to_the_end(
    state: &State,
    id: &str,
    progress: &mut Progress,
    console: &Console,
) -> Result<Run, Fault> {
    let mut following = status::Following::default();
    let mut alone_since = SystemClock.now();
    let mut told = false;
    loop {
        let run = following.look(state, id, progress).await?;
        if state::finished(&run) || run.stuck_now().is_some() {
            return Ok(run);
        }
        let now = SystemClock.now();
        if following.quiet() < status::QUIET_LOOKS || status::is_driven(state, id).await {
            alone_since = now;
            told = false;
        } else if !told && now >= alone_since.plus(ALONE) {
            told = true;
            console.note(&format!(
                "no engine has driven {id} for {ALONE}; `kubectl describe job` and the pod's log say why, `phasegate resume {id}` drives it from here"
            ));
        }
        SystemClock.sleep_until(now.plus(LOOK)).await;
    }
}

/// What the Job's pods do: drive the run to its end, however it ends, and succeed then. Whatever else happens is for
/// the next pod.
pub(super) async fn drive(args: &args::Drive, folder: &Path, console: &Console) -> Outcome {
    let state = State::in_pod(folder).await?;
    let until = SystemClock.now().plus(DRIVE_PATIENCE);
    loop {
        let before = state.replay(&args.run).await?;
        if matches!(before.state(), RunState::Planned) {
            may_drive(&before, &state).await?;
        }
        let drove = running::drive_here(&state, &before, Driving::default(), console).await;
        match drove {
            Ok(Some(drove)) => {
                drive::conclude(&state, console, &drove.run, drove.left).await?;
                return Ok(match drove.left {
                    Left::Resting => Exit::Succeeded,
                    Left::Waiting | Left::Interrupted => Exit::Waiting,
                });
            }
            // The engine before it may be dead: its slip and its lease run out.
            Ok(None) => {}
            Err(fault) if is_held(&fault) => {}
            Err(fault) => return Err(fault),
        }
        let now = SystemClock.now();
        if now >= until {
            return Err(JournalError::InUse(args.run.clone()).into());
        }
        SystemClock.sleep_until(now.plus(DRIVE_PAUSE)).await;
    }
}

fn is_held(fault: &Fault) -> bool {
    let mut faults = fault.diagnostics.iter();
    faults.all(|fault| [codes::TARGET_BUSY, codes::STATE_IN_USE].contains(&fault.code()))
}

/// Refuses a run that has not begun and that this pod's account may not finish.
async fn may_drive(run: &Run, state: &State) -> Result<(), Fault> {
    let world = release::world_of(run, &state.folder).await?;
    let parts = release::engine_of(state, run, &world).await?;
    release::may(&parts, &world, run.plan()).await
}
