//! `phasegate history`: the list of runs, what happened in one, and whether a journal is whole.

use std::path::Path;

use phasegate_core::diagnostic::Diagnostics;
use phasegate_runtime::ports::{Journal, JournalError};
use serde::Serialize;

use crate::args::Which;
use crate::console::Console;
use crate::exit::{self, Exit, Fault, Outcome, internal};
use crate::live;
use crate::show;
use crate::state::{State, senseless};
use crate::stream::{Replay, StreamLine, lines};

/// A run in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    run: String,
    release: String,
    target: String,
    created: String,
    records: u64,
    /// Where it is; none where its journal can't be read.
    state: Option<String>,
    /// The code of what is wrong with its journal.
    damaged: Option<String>,
}

/// Lists the runs, or prints the lines of one.
pub(super) async fn history(run: Option<&str>, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder)?;
    match run {
        Some(named) => {
            let id = state.find(Some(named)).await?;
            print(&state, &id, console).await
        }
        None => list(&state, console).await,
    }
}

async fn print(state: &State, id: &str, console: &Console) -> Outcome {
    let (records, _) = state.journal.read(id).await?;
    let mut all: Vec<StreamLine> = Vec::new();
    Replay::default()
        .catch_up(id, &records, |seq, record, run| {
            all.extend(lines(seq, record, run));
        })
        .map_err(|illegal| senseless(id, &illegal))?;
    for line in &all {
        if console.json() {
            let text = serde_json::to_string(line)
                .map_err(|e| internal("a line can't be written as JSON").caused_by(&e))?;
            console.data(&text)?;
        } else {
            console.data(&live::text(line, console.colour))?;
        }
    }
    Ok(Exit::Succeeded)
}

async fn list(state: &State, console: &Console) -> Outcome {
    let mut rows = Vec::new();
    for entry in state.runs().await? {
        let (at, damaged) = match state.replay(&entry.run).await {
            Ok(run) => (Some(run.state().to_string()), None),
            Err(fault) => {
                let code = fault.diagnostics.iter().next().map(|first| first.code());
                (None, code.map(|code| code.to_string()))
            }
        };
        rows.push(Row {
            run: entry.run,
            release: entry.release,
            target: entry.target,
            created: show::moment(entry.created),
            records: entry.records,
            state: at,
            damaged,
        });
    }
    console.either(&rows, || {
        if rows.is_empty() {
            return "no runs".to_owned();
        }
        let widest = rows.iter().map(|row| row.run.len()).max().unwrap_or(0);
        rows.iter()
            .map(|row| {
                let at = match (&row.state, &row.damaged) {
                    (Some(state), _) => state.clone(),
                    (None, Some(code)) => format!("damaged ({code})"),
                    (None, None) => "damaged".to_owned(),
                };
                format!(
                    "{:<widest$}  {}  {}  {at}",
                    row.run, row.created, row.target
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(Exit::Succeeded)
}

/// A journal that is whole.
#[derive(Serialize)]
struct Whole {
    run: String,
    records: u64,
    head: String,
    /// Records that only the anchor has, since an engine died between two writes.
    restored: u64,
}

/// Recomputes the chain of one run, or of all.
pub(super) async fn verify(args: &Which, folder: &Path, console: &Console) -> Outcome {
    let state = State::existing(folder)?;
    let runs = match &args.run {
        // A run that was lost is in no list, and is still asked about by its name.
        Some(named) => vec![state.find(Some(named)).await.unwrap_or(named.clone())],
        None => {
            let mut runs: Vec<String> = state
                .runs()
                .await?
                .into_iter()
                .map(|entry| entry.run)
                .collect();
            runs.extend(state.journal.lost().await?);
            runs.sort();
            runs.dedup();
            runs
        }
    };
    let mut faults = Diagnostics::new();
    let mut whole = Vec::new();
    for run in runs {
        match state.journal.verify(&run).await {
            Ok(report) => {
                let (records, _) = state.journal.read(&run).await?;
                // A chain can be whole around records that make no sense.
                match phasegate_core::run::Run::replay(&run, &records) {
                    Ok(_) => whole.push(Whole {
                        run,
                        records: report.records,
                        head: report.head.hash,
                        restored: report.restored,
                    }),
                    Err(illegal) => faults.push(senseless(&run, &illegal)),
                }
            }
            Err(error) => faults.push(of_run(&error, &run)),
        }
    }
    if !faults.is_empty() {
        return Err(Fault::from(faults));
    }
    console.either(&whole, || {
        if whole.is_empty() {
            return "no runs".to_owned();
        }
        whole
            .iter()
            .map(|whole| {
                format!(
                    "{}: whole, {} records, head {}",
                    whole.run,
                    whole.records,
                    whole.head.chars().take(12).collect::<String>()
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(Exit::Succeeded)
}

fn of_run(error: &JournalError, run: &str) -> phasegate_core::diagnostic::Diagnostic {
    exit::journal(error).because(format!("while the journal of {run} was checked"))
}
