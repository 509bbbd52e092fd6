//! What the engine costs, beside a peer that does the same without it, in the same run:
//! `cargo xtask bench`, `cargo xtask bench --output json`. How to read it: docs/benchmarks.md.
//!
//! A benchmark and not a test: numbers that miss their target are said, and nothing fails for them.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, starts the engine as a program and sets its files up"
)]

mod appends;
mod bare;
mod calls;
mod exploring;
mod program;
mod rehearsals;
mod row;
mod statistics;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

use crate::row::Row;

/// Measures the engine beside its peers.
#[derive(Parser)]
struct Arguments {
    /// How the figures are printed.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Measure only these; all if none is named.
    #[arg(value_enum)]
    what: Vec<What>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A plugin's call beside bare wasmtime.
    Call,
    /// Appends to the journal beside raw writes.
    Append,
    /// `phasegate validate` from the start of the process.
    Validate,
    /// Resident memory of a run.
    Memory,
    /// Rehearsals of a rolling release and of a canary.
    Rehearsal,
    /// A whole exploration of the canary, and its memory.
    Explore,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if phasegate_cli::builtin::all().is_empty() {
        bail!("built without plugins; start this with `cargo xtask bench`");
    }
    let all = [
        What::Call,
        What::Append,
        What::Validate,
        What::Memory,
        What::Rehearsal,
        What::Explore,
    ];
    let mut rows = Vec::new();
    for what in all {
        if arguments.what.is_empty() || arguments.what.contains(&what) {
            let name = what
                .to_possible_value()
                .map(|value| value.get_name().to_owned());
            let name = name.unwrap_or_default();
            eprintln!("==> measuring: {name}");
            rows.extend(measure(what).with_context(|| format!("{name} could not be measured"))?);
        }
    }
    match arguments.output {
        Output::Text => print!("{}", row::table(&rows)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
    }
    Ok(())
}

fn measure(what: What) -> anyhow::Result<Vec<Row>> {
    match what {
        What::Call => calls::measure(),
        What::Append => appends::measure(),
        What::Validate => program::validate(),
        What::Memory => program::memory(),
        What::Rehearsal => {
            let mut rows = rehearsals::rolling()?;
            rows.extend(rehearsals::canary()?);
            Ok(rows)
        }
        What::Explore => exploring::measure(),
    }
}

/// The example that newcomers see first.
fn example() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../examples/hello/release.yaml")
}
