//! The `phasegate` binary as a library: composition root, commands, output and exit codes.
//!
//! Start reading at [`compose`], where an engine is put together, and [`main`], which runs a command.
//! `args` is the command line, `commands` has a file per command, `drive` runs an engine in the
//! foreground, `stream` projects a journal onto lines, and `live` and `show` are how people see them.

pub mod args;
pub mod book;
pub mod builtin;
pub mod cache;
mod commands;
pub mod compose;
pub mod console;
pub mod contents;
mod drive;
pub mod exit;
pub mod explore;
pub mod files;
pub mod job;
mod live;
pub mod manifests;
mod misuse;
pub mod plugins;
pub mod rehearsal;
pub mod runlog;
pub mod seat;
mod show;
pub mod simulated;
pub mod state;
pub mod stream;

use std::ffi::OsString;

use clap::Parser;

use crate::args::Cli;
use crate::console::Console;
use crate::exit::Exit;

/// Runs `phasegate` with these arguments, the program's name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return misused(&arguments, &error),
    };
    let global = &cli.global;
    let console = Console::new(global.output, global.color, global.quiet);
    let outcome = commands::run(&cli, &console);
    if let Some(full) = cache::full() {
        let hint = full.hint_text().unwrap_or_default();
        console.note(&format!(
            "warning[{}]: {}; {hint}",
            full.code(),
            full.message()
        ));
    }
    match outcome {
        Ok(exit) => exit,
        Err(fault) => {
            console.faults(&fault.diagnostics);
            fault.exit
        }
    }
}

/// Ends a process whose arguments are no command. Help and version are what was asked for; everything
/// else is bad input.
fn misused(arguments: &[OsString], error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Where it can't be printed, nobody can be told.
        let _ = error.print();
        return Exit::Succeeded;
    }
    let output = misuse::asked(arguments, "--output");
    let console = Console::new(output, misuse::asked(arguments, "--color"), false);
    if misuse::is_help(error) && !console.json() {
        let _ = error.print();
    }
    console.faults(&misuse::fault(error).into());
    Exit::BadInput
}
