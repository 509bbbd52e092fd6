//! Development tasks: everything that is more than plain cargo.
//!
//! `cargo xtask demo` and `cargo xtask test` are the two commands a newcomer needs; each sets up
//! what is missing first. `cargo xtask ci` is what the continuous integration runs.
//!
//! Start reading at [`Task`], then [`wasm_std`], which is the only part that isn't obvious.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool for developers: it starts programs, reads files and measures time by nature, and no engine code depends on it"
)]

mod apt;
mod checks;
mod cluster;
mod debian;
mod demo;
mod exec;
mod fuzz;
mod mutants;
mod plugins;
mod programs;
mod setup;
mod suites;
mod wasm_std;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Development tasks of Phasegate.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Makes this machine able to build and test: the WASM standard library, a C compiler,
    /// Prometheus, and with Go a control plane of Kubernetes.
    Setup {
        /// Where a missing standard library may come from.
        #[arg(long, value_enum, default_value_t = wasm_std::Source::Auto)]
        source: wasm_std::Source,
    },
    /// Builds every plugin as a component into `<target>/plugins`.
    Plugins,
    /// Builds plugins and engine.
    Build {
        /// Builds the engine optimised, which takes much longer.
        #[arg(long)]
        release: bool,
    },
    /// Builds what is missing and runs the example release on the simulated cluster.
    Demo {
        /// Runs the optimised engine.
        #[arg(long)]
        release: bool,
        /// Handed to `phasegate run` after the release file.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs every test of every workspace and prints one summary line at the end.
    Test {
        /// Only the tests whose names contain one of these.
        filter: Vec<String>,
    },
    /// Runs what the continuous integration runs: formatting, lints, licences, fuzzing, tests.
    Ci {
        /// How long each fuzz target runs.
        #[arg(long, default_value_t = fuzz::CI_SECONDS)]
        fuzz_seconds: u64,
    },
    /// Runs the fuzz targets, each for a while.
    Fuzz {
        /// Only these targets; all when none is named.
        targets: Vec<String>,
        /// How long each target runs.
        #[arg(long, default_value_t = fuzz::DEFAULT_SECONDS)]
        seconds: u64,
    },
    /// A Kubernetes control plane for tests, without containers; needs Go, and Linux.
    Cluster {
        #[command(subcommand)]
        order: cluster::Order,
        /// Where all that it writes is, instead of `cluster` in the target folder.
        #[arg(long, global = true)]
        folder: Option<PathBuf>,
    },
    /// Puts known faults into a copy of the code, one at a time, and sees that a test catches each.
    Mutants {
        /// Only those whose names contain one of these.
        filter: Vec<String>,
    },
    /// Runs the benchmarks.
    Bench {
        /// Handed to the benchmark program; `requests` alone measures on a control plane instead.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::discover()?;
    match task {
        Task::Setup { source } => {
            setup::run(&workspace, source)?;
        }
        Task::Plugins => plugins::build(&workspace)?,
        Task::Build { release } => demo::build(&workspace, release)?,
        Task::Demo { release, arguments } => return demo::run(&workspace, release, &arguments),
        Task::Test { filter } => return suites::run(&workspace, &filter),
        Task::Ci { fuzz_seconds } => return checks::run(&workspace, fuzz_seconds),
        Task::Fuzz { targets, seconds } => fuzz::run(&workspace, &targets, seconds)?,
        Task::Cluster { order, folder } => cluster::run(&workspace, &order, folder)?,
        Task::Mutants { filter } => return mutants::run(&workspace, &filter),
        Task::Bench { arguments } => return demo::bench(&workspace, &arguments),
    }
    Ok(ExitCode::SUCCESS)
}
