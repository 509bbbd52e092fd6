//! `phasegate report`: what a run was, as one HTML page.

use std::path::Path;

use phasegate_core::event::Record;
use phasegate_report::{Kept, Source};
use phasegate_runtime::ports::Journal;

use crate::args;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::files;
use crate::state::{State, senseless};

/// Makes the report of a run: the page, or the model of it for programs.
pub(super) async fn report(args: &args::Report, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
    let id = state.find(Some(&args.run)).await?;
    let (records, head) = state.journal.read(&id).await?;
    let kept = Kept::Verified { head: &head.hash };
    let report = of(&id, &records, kept)?;
    if console.json() {
        console.document(&report)?;
    }
    match &args.output_file {
        Some(path) => write(&report, path, console)?,
        None if console.json() => {}
        None => console.data(phasegate_report::page(&report).trim_end())?,
    }
    Ok(Exit::Succeeded)
}

/// Writes the report of a run that was just driven. How the run ended is what its command exits
/// with, so that a report which can't be written is told and nothing more.
pub(super) async fn after(state: &State, id: &str, path: &Path, console: &Console) {
    let written = async {
        let (records, head) = state.journal.read(id).await?;
        let kept = Kept::Verified { head: &head.hash };
        write(&of(id, &records, kept)?, path, console)
    };
    if let Err(fault) = written.await {
        console.faults(&fault.diagnostics);
    }
}

/// Writes the report of a rehearsal, which is in no journal.
pub(super) fn rehearsed(records: &[Record], path: &Path, console: &Console) -> Result<(), Fault> {
    if records.is_empty() {
        console.note("the run did not begin, so there is nothing to report");
        return Ok(());
    }
    let run = phasegate_rehearsal::rehearse::RUN;
    write(&of(run, records, Kept::Rehearsal)?, path, console)
}

fn of(
    run: &str,
    records: &[Record],
    kept: Kept<'_>,
) -> Result<phasegate_report::model::Report, Fault> {
    let source = Source { run, records, kept };
    phasegate_report::report(&source).map_err(|illegal| senseless(run, &illegal).into())
}

fn write(
    report: &phasegate_report::model::Report,
    path: &Path,
    console: &Console,
) -> Result<(), Fault> {
    files::replace(path, phasegate_report::page(report).as_bytes())?;
    console.note(&format!("the report is in {}", path.display()));
    Ok(())
}
