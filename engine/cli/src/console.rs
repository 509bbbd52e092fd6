//! Standard output and standard error: data on the one, everything else on the other.

use std::io::{self, IsTerminal, Write};

use phasegate_core::diagnostic::Diagnostics;
use serde::Serialize;

use crate::exit::{Fault, internal};
use crate::files;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document, or one JSON object a line for live progress.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a command prints to.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// How data is printed.
    pub format: Format,
    /// Whether only data and errors are printed.
    pub quiet: bool,
    /// Whether standard output is coloured.
    pub colour: bool,
    /// Whether standard error is coloured.
    colour_errors: bool,
    /// Whether standard output is a terminal that can be drawn on.
    pub terminal: bool,
}

impl Console {
    /// A console as the user asked for it.
    #[must_use]
    pub fn new(format: Format, colour: Colour, quiet: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let terminal = io::stdout().is_terminal();
        Self {
            format,
            quiet,
            colour: on(terminal),
            colour_errors: on(io::stderr().is_terminal()),
            terminal: terminal && !dumb,
        }
    }

    /// Whether programs read the output.
    #[must_use]
    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// Where nobody reads it any more.
    pub fn data(&self, text: &str) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        written(writeln!(out, "{text}").and_then(|()| out.flush()))
    }

    /// Prints data as one JSON document, over several lines.
    ///
    /// # Errors
    /// As [`Console::data`].
    pub fn document(&self, data: &impl Serialize) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(data).map_err(unwritable)?;
        self.data(&text)
    }

    /// Prints data as people or as programs read it.
    ///
    /// # Errors
    /// As [`Console::data`].
    pub fn either(
        &self,
        data: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        if self.json() {
            self.document(data)
        } else {
            self.data(&text())
        }
    }

    /// Tells people something that isn't data.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json() {
            // Nobody can be told that standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Tells people or programs what went wrong.
    pub fn faults(&self, faults: &Diagnostics) {
        let mut out = io::stderr().lock();
        let text = if self.json() {
            serde_json::to_string(faults).unwrap_or_else(|_| faults.to_string())
        } else if self.colour_errors {
            coloured(&faults.to_string())
        } else {
            faults.to_string()
        };
        let _ = writeln!(out, "{text}");
    }
}

/// The first words of a fault in red, so that they are found among lines of progress.
fn coloured(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix("error[") {
            Some(rest) => match rest.split_once(']') {
                Some((code, rest)) => format!("\u{1b}[1;31merror[{code}]\u{1b}[0m{rest}"),
                None => line.to_owned(),
            },
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn unwritable(error: serde_json::Error) -> Fault {
    internal("data can't be written as JSON")
        .caused_by(&error)
        .into()
}

/// A reader that has seen enough (`| head`) is no fault of ours, and not one to speak of: the
/// process ends as if all had been read.
fn written(result: io::Result<()>) -> Result<(), Fault> {
    match result {
        Err(error) if files::is_full(&error) => Err(files::full("standard output", &error).into()),
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(internal("standard output can't be written to")
                .caused_by(&error)
                .into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_is_coloured() {
        assert_eq!(
            coloured("error[PG0104]: unknown\n  --> a:1:1"),
            "\u{1b}[1;31merror[PG0104]\u{1b}[0m: unknown\n  --> a:1:1"
        );
    }

    #[test]
    fn a_reader_that_left_is_no_fault() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(written(Err(gone())).is_ok());
        assert!(written(Err(io::Error::other("x"))).is_err());
    }
}
