//! `phasegate status` and `phasegate watch`.

use std::path::Path;

use phasegate_core::diagnostic::Diagnostic;
use phasegate_core::event::Identity;
use phasegate_core::plan::Subject;
use phasegate_core::run::{
    Answer, Approval, Attestation, Cause, GateView, Obligation, Run, State as RunState, StepView,
    Stuck, TakenOver, TrafficView,
};
use phasegate_core::time::Span;
use phasegate_core::workload::Observation;
use phasegate_runtime::ports::{Clock, Journal, JournalError};
use phasegate_world::clock::SystemClock;
use serde::Serialize;

use crate::args::Which;
use crate::console::Console;
use crate::drive::Progress;
use crate::exit::{Exit, Fault, Outcome};
use crate::show::{self, Marks};
use crate::state::{self, State, senseless};
use crate::stream::Replay;

/// How often a watched journal is read, in real time.
const WATCH_POLL: Span = Span::from_millis(250);
/// After so many looks without news it is asked whether an engine still drives.
pub(super) const QUIET_LOOKS: u32 = 8;

/// A run, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    run: &'a str,
    #[serde(flatten)]
    state: RunState,
    finished: bool,
    driven: bool,
    release: &'a Subject,
    target: String,
    plan: &'a str,
    started_by: &'a Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<&'a str>,
    started_at: String,
    ended_at: Option<String>,
    steps: Vec<StepView>,
    observation: Option<&'a Observation>,
    traffic: Option<TrafficView<'a>>,
    soak: Option<Soak>,
    gates: Vec<GateView>,
    cause: Option<&'a Cause>,
    stuck: Option<&'a Stuck>,
    taken_over: Option<&'a TakenOver>,
    approvals: &'a [Approval],
    attestations: &'a [Attestation],
    obligations: &'a [Obligation],
    /// What moves it on, where it waits for people on its way forward.
    answer: Option<Answer>,
    /// What people are to do, and by which command.
    next: Vec<String>,
    abort_would: String,
}

/// A run as it was found.
struct Seen {
    run: Run,
    /// The same before its engine left, if it has.
    awake: Run,
    driven: bool,
}

#[derive(Serialize)]
struct Soak {
    measured: Span,
    wanted: Span,
}

fn view(seen: &Seen) -> View<'_> {
    let Seen { run, awake, driven } = seen;
    let plan = run.plan();
    View {
        run: run.id(),
        state: run.state(),
        finished: state::finished(run),
        driven: *driven,
        release: &plan.subject,
        target: plan.targets(),
        plan: run.digest(),
        started_by: run.started_by(),
        supersedes: run.supersedes(),
        started_at: run.started_at().to_string(),
        ended_at: run.ended_at().map(|at| at.to_string()),
        steps: run.steps(),
        observation: run.observation(),
        traffic: run.traffic(),
        soak: run
            .soak()
            .map(|(measured, wanted)| Soak { measured, wanted }),
        gates: run.gates(),
        cause: run.cause(),
        stuck: run.stuck_now(),
        taken_over: run.taken_over(),
        approvals: run.approvals(),
        attestations: run.attestations(),
        obligations: run.obligations(),
        answer: awake.answer_awaited(),
        next: show::awaited(run, awake, *driven),
        abort_would: run.abort_would(),
    }
}

/// Shows a run, or all unfinished ones. Exits 0 whatever state it finds them in: to look is what was asked for.
pub(super) async fn status(args: &Which, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
    let runs = match &args.run {
        Some(named) => {
            let id = state.find(Some(named)).await?;
            vec![state.replay(&id).await?]
        }
        None => state.unfinished().await?,
    };
    let lost = match &args.run {
        Some(_) => None,
        None => state.lost().await?,
    };
    let mut seen = Vec::new();
    for run in runs {
        let driven = is_driven(&state, run.id()).await;
        let awake = match run.state() {
            RunState::Interrupted => state.awake(run.id()).await?,
            _ => run.clone(),
        };
        seen.push(Seen { run, awake, driven });
    }
    if console.json() {
        let views: Vec<View<'_>> = seen.iter().map(view).collect();
        match (args.run.is_some(), views.as_slice()) {
            (true, [one]) => console.document(one)?,
            _ => console.document(&views)?,
        }
        return told(lost);
    }
    if seen.is_empty() && lost.is_none() {
        console.data("no unfinished runs; `phasegate history` lists the others")?;
        return Ok(Exit::Succeeded);
    }
    let marks = Marks::for_locale();
    let texts: Vec<String> = seen
        .iter()
        .map(|seen| show::run(&seen.run, &seen.awake, seen.driven, marks))
        .collect();
    if !texts.is_empty() {
        console.data(&texts.join("\n\n"))?;
    }
    told(lost)
}

/// Runs that were lost are no less under way for it: they are told of behind those that are there.
fn told(lost: Option<Diagnostic>) -> Outcome {
    match lost {
        Some(lost) => Err(lost.into()),
        None => Ok(Exit::Succeeded),
    }
}

/// Whether an engine drives the run now.
pub(super) async fn is_driven(state: &State, run: &str) -> bool {
    // Where it can't be told somebody may: to say that nobody does would invite a second engine.
    state.journal.driven(run).await.unwrap_or(true)
}

/// Follows a run that another process drives, and exits as the run does.
pub(super) async fn watch(args: &Which, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
    let id = state.find(args.run.as_deref()).await?;
    let mut progress = Progress::new(console);
    let followed = follow(&state, &id, &mut progress).await;
    progress.end();
    let run = followed?;
    let exit = Exit::of_state(&run.state());
    if !run.resting() {
        console.note(&format!(
            "nobody drives {id}; `phasegate resume {id}` goes on with it"
        ));
    }
    Ok(exit)
}

/// A run that is followed by its journal.
#[derive(Default)]
pub(super) struct Following {
    replay: Replay,
    seen: usize,
    quiet: u32,
}

impl Following {
    /// How often it was looked in a row without news.
    pub(super) const fn quiet(&self) -> u32 {
        self.quiet
    }

    /// Looks once, and shows what is new.
    pub(super) async fn look(
        &mut self,
        state: &State,
        id: &str,
        progress: &mut Progress,
    ) -> Result<Run, Fault> {
        let (records, _) = state.journal.read(id).await?;
        self.replay
            .catch_up(id, &records, |seq, record, run| {
                progress.show(seq, record, run);
            })
            .map_err(|illegal| senseless(id, &illegal))?;
        self.quiet = if records.len() > self.seen {
            0
        } else {
            self.quiet.saturating_add(1)
        };
        self.seen = records.len();
        let run = self.replay.run().cloned();
        run.ok_or_else(|| JournalError::NotFound(id.to_owned()).into())
    }
}

async fn follow(state: &State, id: &str, progress: &mut Progress) -> Result<Run, Fault> {
    let mut following = Following::default();
    loop {
        let run = following.look(state, id, progress).await?;
        let left = following.quiet >= QUIET_LOOKS && !is_driven(state, id).await;
        if run.resting() || left {
            return Ok(run);
        }
        if following.quiet >= QUIET_LOOKS {
            following.quiet = 0;
        }
        let now = SystemClock.now();
        SystemClock.sleep_until(now.plus(WATCH_POLL)).await;
    }
}
