//! `phasegate history`: the list of runs, what happened in one, and whether a journal is whole.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::run::Run;
use phasegate_runtime::plugin_ports::Level;
use phasegate_runtime::ports::Journal;
use serde::Serialize;

use crate::args::Verified;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome, internal};
use crate::files;
use crate::live;
use crate::runlog::{self, Logged};
use crate::show;
use crate::state::{State, damage, senseless};
use crate::stream::{Replay, StreamLine, lines};

/// A run in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    run: String,
    /// These three are none where the run was lost.
    release: Option<String>,
    target: Option<String>,
    created: Option<String>,
    records: u64,
    /// Where it is; none where its journal can't be read.
    state: Option<String>,
    /// The code of what is wrong with its journal.
    damaged: Option<String>,
}

/// Lists the runs, or prints the lines of one.
pub(super) async fn history(run: Option<&str>, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
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
    if runlog::path(&state.folder, id).is_file() {
        console.note(&format!(
            "`phasegate history {id} --plugins` prints what plugins logged"
        ));
    }
    Ok(Exit::Succeeded)
}

/// Prints what the plugins of a run logged.
pub(super) async fn plugins(named: &str, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
    let id = state.find(Some(named)).await?;
    let path = runlog::path(&state.folder, &id);
    if !path.exists() {
        console.note("its plugins logged nothing");
        return Ok(Exit::Succeeded);
    }
    let most = usize::try_from(runlog::MAX_BYTES).unwrap_or(usize::MAX);
    let bytes = files::read_up_to(&path.display().to_string(), most)?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        // A line of which an engine wrote half when it died is left out.
        let Ok(logged) = serde_json::from_str::<Logged>(line) else {
            continue;
        };
        if console.json() {
            console.data(line)?;
            continue;
        }
        let fields = logged.fields.iter();
        let fields: String = fields
            .filter_map(|(name, value)| Some(format!("  {name}={}", value.as_str()?)))
            .collect();
        let (time, level) = (show::moment(logged.time), word(logged.level));
        console.data(&show::plain(&format!(
            "{time}  {level:<5}  {}: {}{fields}",
            logged.plugin, logged.message
        )))?;
    }
    Ok(Exit::Succeeded)
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Lists every run, those that are damaged too. What is wrong with them is told after the list, and is
/// what the command ends with.
async fn list(state: &State, console: &Console) -> Outcome {
    let mut rows = Vec::new();
    let mut faults = Diagnostics::new();
    for entry in state.runs().await? {
        let (at, damaged) = match at(state, &entry.run).await {
            Ok(at) => (Some(at), None),
            Err(fault) => {
                let code = fault.code().to_string();
                faults.push(fault);
                (None, Some(code))
            }
        };
        rows.push(Row {
            run: entry.run,
            release: Some(entry.release),
            target: Some(entry.target),
            created: Some(show::moment(entry.created)),
            records: entry.records,
            state: at,
            damaged,
        });
    }
    let lost = state.journal.lost().await?;
    if !lost.is_empty() {
        faults.push(state.missing(&lost));
    }
    rows.extend(lost.into_iter().map(|run| Row {
        run,
        release: None,
        target: None,
        created: None,
        records: 0,
        state: None,
        damaged: Some(codes::JOURNAL_TAIL_CUT.to_string()),
    }));
    console.either(&rows, || in_words(&rows))?;
    if faults.is_empty() {
        return Ok(Exit::Succeeded);
    }
    Err(faults.into())
}

/// Where a run is, or what is wrong with its journal.
async fn at(state: &State, run: &str) -> Result<String, Diagnostic> {
    let read = state.journal.read(run).await;
    let (records, _) = read.map_err(|error| damage(&error, run))?;
    match Run::replay(run, &records) {
        Ok(run) => Ok(run.state().to_string()),
        Err(illegal) => Err(senseless(run, &illegal)),
    }
}

fn in_words(rows: &[Row]) -> String {
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
            match (&row.created, &row.target) {
                (Some(created), Some(target)) => {
                    format!("{:<widest$}  {created}  {target}  {at}", row.run)
                }
                _ => format!("{:<widest$}  lost: only its anchor is there  {at}", row.run),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A journal that is whole.
#[derive(Serialize)]
struct Whole {
    run: String,
    records: u64,
    head: String,
}

/// Recomputes the chain of one run, or of all.
pub(super) async fn verify(args: &Verified, folder: &Path, console: &Console) -> Outcome {
    let state = State::to_look(folder).await?;
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
            Ok(head) => {
                let (records, _) = state.journal.read(&run).await?;
                // A chain can be whole around records that make no sense.
                match Run::replay(&run, &records) {
                    Ok(_) => whole.push(Whole {
                        run,
                        records: head.seq,
                        head: head.hash,
                    }),
                    Err(illegal) => faults.push(senseless(&run, &illegal)),
                }
            }
            Err(error) => faults.push(damage(&error, &run)),
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
