//! Commands about the program itself: `schema`, `explain`, `completions`.

use clap::CommandFactory;
use phasegate_core::diagnostic::{Code, Diagnostic, codes, page, pages};
use phasegate_core::spec::schema as schemas;

use crate::args::{Cli, Completions, Explain, FileKind, Schema};
use crate::console::Console;
use crate::exit::{Exit, Outcome, internal};

/// Prints a JSON Schema. It is JSON whatever `--output` says.
pub(super) fn schema(args: &Schema, console: &Console) -> Outcome {
    let schema = match args.kind {
        FileKind::Release => schemas::release(),
        FileKind::Policy => schemas::policy(),
        FileKind::Scenario => super::simulate::schema(),
    };
    console.document(&schema)?;
    Ok(Exit::Succeeded)
}

/// Prints the page of a code, or the list of codes.
pub(super) fn explain(args: &Explain, console: &Console) -> Outcome {
    let Some(asked) = &args.code else {
        let all: Vec<_> = pages().collect();
        console.either(&all, || {
            all.iter()
                .map(|page| format!("{}  {}", page.code, page.title))
                .collect::<Vec<_>>()
                .join("\n")
        })?;
        return Ok(Exit::Succeeded);
    };
    let unknown = |found: String| {
        Diagnostic::new(codes::INVALID_VALUE, "there is no such code")
            .expected("a code as an error prints it, for example PG0104")
            .found(found)
            .hint("`phasegate explain` lists all codes")
    };
    let code: Code = asked.parse().map_err(unknown)?;
    let page = page(code).ok_or_else(|| unknown(format!("{code}")))?;
    console.either(page, || page.to_string())?;
    Ok(Exit::Succeeded)
}

/// Prints a completion script.
pub(super) fn completions(args: &Completions, console: &Console) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "phasegate", &mut script);
    let script = String::from_utf8(script)
        .map_err(|e| internal("the completion script is no text").caused_by(&e))?;
    console.data(script.trim_end())?;
    Ok(Exit::Succeeded)
}
