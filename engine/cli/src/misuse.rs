//! Arguments that are no command line of ours, told as every other fault is.

use std::ffi::OsString;

use clap::ValueEnum;
use clap::error::{ContextKind, ErrorKind};
use phasegate_core::diagnostic::{Diagnostic, codes};

/// The value of an option that says how faults are told, from arguments that could not be read as a whole.
pub(crate) fn asked<T: ValueEnum + Default>(arguments: &[OsString], option: &str) -> T {
    let mut words = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy())
        .take_while(|argument| argument != "--");
    let mut found = None;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix(option) {
            Some("") => words.next().map(std::borrow::Cow::into_owned),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        found = value.or(found);
    }
    found
        .and_then(|value| T::from_str(&value, false).ok())
        .unwrap_or_default()
}

/// Whether the error is the help of a command that needs a command of its own.
pub(crate) fn is_help(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// The fault in the parser's words: its first line, what it lists below, its tips and the usage.
pub(crate) fn fault(error: &clap::Error) -> Diagnostic {
    let fault = |message: &str| Diagnostic::new(codes::COMMAND_LINE, message);
    if is_help(error) {
        return fault("a command is missing")
            .expected("one of the commands that `--help` lists")
            .found("none");
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut head = text.lines().take_while(|line| !line.trim().is_empty());
    let message = head.next().unwrap_or("it can't be read");
    let mut fault = fault(message.trim_end_matches(':'));
    let listed: Vec<&str> = head.map(unbracketed).collect();
    if !listed.is_empty() {
        fault = fault.expected(listed.join(", "));
    }
    let kinds = [
        ContextKind::InvalidValue,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidArg,
    ];
    let missing = error.kind() == ErrorKind::MissingRequiredArgument;
    let found = kinds.into_iter().find_map(|kind| error.get(kind));
    if let Some(found) = found.filter(|_| !missing) {
        fault = fault.found(format!("`{found}`"));
    }
    let told = |mark: &'static str| {
        let lines = text.lines().map(str::trim);
        lines.filter_map(move |line| line.strip_prefix(mark))
    };
    let mut hints: Vec<String> = told("tip: ").map(str::to_owned).collect();
    hints.extend(told("Usage: ").map(|usage| format!("usage: {usage}")));
    if hints.is_empty() {
        return fault;
    }
    fault.hint(hints.join("; "))
}

fn unbracketed(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix('[')
        .and_then(|line| line.strip_suffix(']'))
        .unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;
    use crate::console::Format;

    fn told(arguments: &[&str]) -> String {
        let all = std::iter::once(&"phasegate").chain(arguments);
        fault(&Cli::try_parse_from(all).unwrap_err()).to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        assert_eq!(
            told(&["run", "release.yaml", "--verison", "2"]),
            "error[PG0131]: unexpected argument '--verison' found
     found: `--verison`
      hint: a similar argument exists: '--version'; usage: phasegate run --version <V> <FILE>"
        );
        assert_eq!(
            told(&["run"]),
            "error[PG0131]: the following required arguments were not provided
  expected: <FILE>
      hint: usage: phasegate run <FILE>"
        );
        let value = told(&["status", "--output", "xml"]);
        assert!(
            value.starts_with(
                "error[PG0131]: invalid value 'xml' for '--output <OUTPUT>'
  expected: possible values: text, json
     found: `xml`
      hint: "
            ),
            "{value}"
        );
    }

    #[test]
    fn a_command_that_needs_another_says_so() {
        assert!(told(&[]).contains("a command is missing"));
        assert!(told(&["lock"]).contains("a command is missing"));
        assert!(told(&["abrot"]).contains("'abort'"), "{}", told(&["abrot"]));
    }

    #[test]
    fn how_faults_are_told_is_read_from_arguments_that_are_wrong() {
        let asked = |arguments: &[&str]| {
            let all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            asked::<Format>(&all, "--output")
        };
        assert_eq!(
            asked(&["phasegate", "--output", "json", "rnu"]),
            Format::Json
        );
        assert_eq!(asked(&["phasegate", "rnu", "--output=json"]), Format::Json);
        for other in [
            &["phasegate", "rnu"][..],
            &["phasegate", "--output"],
            &["phasegate", "--output-file", "json"],
            &["phasegate", "run", "--", "--output", "json"],
        ] {
            assert_eq!(asked(other), Format::Text, "{other:?}");
        }
    }
}
