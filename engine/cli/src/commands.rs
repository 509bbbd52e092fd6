//! The commands, a file for each group of them.

mod about;
mod away;
mod commanding;
mod copies;
mod doctor;
mod due;
mod explore;
mod forget;
mod history;
mod init;
mod lock;
mod order;
mod plan;
mod plugin;
mod predecessor;
mod rehearse;
mod release;
mod report;
mod run;
mod simulate;
mod status;
mod succession;
mod supersede;
mod validate;

use phasegate_core::event::Command as RunCommand;
use phasegate_core::time::Span;
use phasegate_runtime::ports::Clock;
use phasegate_store::segments::let_go;
use phasegate_world::clock::SystemClock;

use crate::args::{self, Cli, Command, DueCommand, HistoryCommand};
use crate::console::Console;
use crate::exit::{Exit, Outcome, internal};

/// How long it may take to let go of a run in a cluster's journal.
const LET_GO: Span = Span::from_secs(2);

/// Runs the command, in a runtime of its own.
pub(crate) fn run(cli: &Cli, console: &Console) -> Outcome {
    if let Command::Rehearse(args) = &cli.command {
        return rehearse::rehearse(args, console);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal("no async runtime").caused_by(&error))?;
    let outcome = runtime.block_on(async {
        let outcome = live(cli, console).await;
        // Whoever drives next need not wait for this engine.
        let limit = SystemClock.now().plus(LET_GO);
        tokio::select! {
            () = let_go() => {}
            () = SystemClock.sleep_until(limit) => {}
        }
        outcome
    });
    // Whatever a plugin or a cluster still computes must not hold the user up.
    runtime.shutdown_background();
    outcome
}

/// Runs a command that takes place in the real world's time.
async fn live(cli: &Cli, console: &Console) -> Outcome {
    let state = cli.global.state.as_path();
    let tell = |run, command| commanding::tell(state, console, run, command);
    match &cli.command {
        Command::Init(args) => init::init(args, console),
        Command::Validate(args) => validate::validate(args, console).await,
        Command::Plan(args) => plan::plan(args, state, console).await,
        Command::Run(args) if args.away.in_cluster => away::run(args, state, console).await,
        Command::Run(args) => run::run(args, state, console).await,
        Command::Resume(args) if args.away.in_cluster => away::resume(args, state, console).await,
        Command::Resume(args) => run::resume(args, state, console).await,
        Command::Drive(args) => away::drive(args, state, console).await,
        Command::Status(args) => status::status(args, state, console).await,
        Command::Watch(args) => status::watch(args, state, console).await,
        Command::Approve(args) => commanding::approve(args, state, console).await,
        Command::Attest(args) => commanding::attest(args, state, console).await,
        Command::Pause(args) => {
            let reason = args.reason.clone();
            tell(&args.run, RunCommand::Pause { reason }).await
        }
        Command::Continue(args) => {
            let drift = args.drift.map(Into::into);
            tell(&args.run, RunCommand::Continue { drift }).await
        }
        Command::Abort(args) => {
            let reason = args.reason.clone();
            tell(&args.run, RunCommand::Abort { reason }).await
        }
        Command::Retry(args) => tell(args, RunCommand::Retry).await,
        Command::Skip(args) => commanding::skip(args, state, console).await,
        Command::HandOver(args) => {
            let reason = args.reason.clone();
            tell(&args.run, RunCommand::HandOver { reason }).await
        }
        Command::Rollback(args) => {
            let reason = args.reason.clone();
            // A run that has succeeded still, after it was told to go back, has refused to.
            let run = args::Driven {
                run: Some(args.run.clone()),
                driving: args.driving,
            };
            match tell(&run, RunCommand::RollBack { reason }).await? {
                Exit::Succeeded => Ok(Exit::Refused),
                other => Ok(other),
            }
        }
        Command::History(args) => match &args.command {
            Some(HistoryCommand::Forget(which)) => forget::forget(which, state, console).await,
            Some(HistoryCommand::Verify(which)) => history::verify(which, state, console).await,
            None => match &args.run {
                Some(run) if args.plugins => history::plugins(run, state, console).await,
                run => history::history(run.as_deref(), state, console).await,
            },
        },
        Command::Report(args) => report::report(args, state, console).await,
        Command::Lock(args) => lock::lock(args, state, console).await,
        Command::Due(args) => match &args.command {
            Some(DueCommand::Meet) => due::meet(state, console).await,
            Some(DueCommand::Done(done)) => due::done(done, state, console).await,
            None => due::list(args.all, state, console).await,
        },
        Command::Simulate(args) => simulate::simulate(args, console).await,
        Command::Rehearse(args) => rehearse::rehearse(args, console),
        Command::Plugin(args) => plugin::plugin(args, console).await,
        Command::Schema(args) => about::schema(args, console),
        Command::Explain(args) => about::explain(args, console),
        Command::Completions(args) => about::completions(args, console),
        Command::Doctor(args) => doctor::doctor(args, state, console).await,
    }
}
