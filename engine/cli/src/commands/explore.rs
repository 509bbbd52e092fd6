//! `phasegate rehearse --explore`: every point of failure of a release in its scenario.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_rehearsal::explore::{ALIKE, MAX_CASES};
use serde::Serialize;
use serde_json::Value;

use crate::args::Rehearse;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::explore::{self, Explored, Options};
use crate::rehearsal::Inputs;

/// What `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    seed: u64,
    end: &'a str,
    faults: &'a [String],
    cases: usize,
    left_out: usize,
    /// How often each gate was asked in a soak, at most; null where soaks lasted as long as is planned.
    soaks: Option<u32>,
    alike: usize,
    rehearsals: usize,
    per_second: f64,
    ends: &'a BTreeMap<String, usize>,
    coverage: Value,
    gaps: Vec<String>,
    worst: Option<Slowest<'a>>,
    broken_cases: usize,
    broken: Vec<Wrong<'a>>,
    shortest: Option<Wrong<'a>>,
    transcript: Option<&'a str>,
}

#[derive(Serialize)]
struct Slowest<'a> {
    case: &'a str,
    took: String,
}

#[derive(Serialize)]
struct Wrong<'a> {
    case: String,
    faults: &'a [String],
}

/// Explores a release. To be called outside of any runtime, as a rehearsal is.
pub(super) fn explore(args: &Rehearse, console: &Console, inputs: &Inputs<'_>) -> Outcome {
    let options = Options {
        limit: args.limit.unwrap_or(MAX_CASES),
        full_soaks: args.full_soaks,
        remake: None,
    };
    let mut first = None;
    let explored = explore::explore(inputs, options, &mut |progress| {
        console.note(&format!(
            "{} of {} cases, {:.0} rehearsals a second, {} broken",
            progress.played, progress.cases, progress.rate, progress.broken
        ));
        // Whoever waits for the rest can begin with this one.
        if first != progress.first {
            first = progress.first;
            console.note(first.as_deref().unwrap_or_default());
        }
    })?;
    show(args, console, &explored)?;
    conclude(args, &explored)
}

fn show(args: &Rehearse, console: &Console, explored: &Explored) -> Result<(), Fault> {
    let findings = &explored.findings;
    let told = Told {
        seed: args.seed,
        end: &explored.end,
        faults: &explored.faults,
        cases: explored.cases,
        left_out: explored.left_out(),
        soaks: explored.soaks,
        alike: explored.alike,
        rehearsals: explored.rehearsals,
        per_second: explored.rate(),
        ends: &findings.ends,
        coverage: findings.coverage(),
        gaps: findings.gaps(),
        worst: findings.worst.as_ref().map(|worst| Slowest {
            case: &worst.case,
            took: worst.took.to_string(),
        }),
        broken_cases: findings.broken_cases,
        broken: findings.broken.iter().map(wrong).collect(),
        shortest: findings.shortest.as_ref().map(wrong),
        transcript: explored.transcript.as_deref(),
    };
    console.either(&told, || in_words(&told, &findings.table(), explored))
}

fn wrong(broken: &phasegate_rehearsal::explore::Broken) -> Wrong<'_> {
    Wrong {
        case: broken.case.to_string(),
        faults: &broken.faults,
    }
}

/// Writing into a string doesn't fail.
fn in_words(told: &Told<'_>, table: &str, explored: &Explored) -> String {
    let mut out = String::new();
    if !told.faults.is_empty() {
        let _ = writeln!(
            out,
            "{}\nend: {}  (seed {}), not as the scenario expects: nothing more was tried",
            told.transcript.unwrap_or_default().trim_end(),
            told.end,
            told.seed
        );
        return out.trim_end().to_owned();
    }
    let _ = writeln!(out, "undisturbed: {}  (seed {})", told.end, told.seed);
    let _ = writeln!(
        out,
        "{} cases, {} rehearsals in {}, {:.0} a second",
        explored.findings.played, told.rehearsals, explored.took, told.per_second
    );
    if told.left_out > 0 {
        let _ = writeln!(
            out,
            "left out: {} of {} cases, for the limit; those at later calls and records of each kind",
            told.left_out, told.cases
        );
    }
    if let Some(times) = told.soaks {
        let _ = writeln!(
            out,
            "soaks: shortened to {times} times that each gate is asked; an undisturbed rehearsal passes the same calls and records in each step with --full-soaks"
        );
    }
    if told.alike > 0 {
        let _ = writeln!(
            out,
            "not tried: {} points at which something is looked at or asked once more in a step; the first {ALIKE} times and the last are",
            told.alike
        );
    }
    let ends: Vec<String> = told
        .ends
        .iter()
        .map(|(end, count)| format!("{end} {count}"))
        .collect();
    let _ = writeln!(out, "ends: {}\n\n{table}", ends.join(", "));
    for gap in &told.gaps {
        let _ = writeln!(out, "never tried: {gap}");
    }
    if let Some(worst) = &told.worst {
        let _ = writeln!(
            out,
            "worst time to safety: {}, at {}",
            worst.took, worst.case
        );
    }
    let _ = writeln!(out, "broken: {} cases", told.broken_cases);
    if let Some(shortest) = &told.shortest {
        let _ = writeln!(
            out,
            "\nthe shortest of them, {} (seed {}):\n{}",
            shortest.case,
            told.seed,
            told.transcript.unwrap_or_default()
        );
        for fault in shortest.faults {
            let _ = writeln!(out, "broken: {fault}");
        }
    }
    out.trim_end().to_owned()
}

/// As with a single rehearsal: good if everything was as it must be, however runs ended.
fn conclude(args: &Rehearse, explored: &Explored) -> Outcome {
    let broken = &explored.findings.broken;
    let found = broken.iter().flat_map(|broken| {
        let faults = broken.faults.iter();
        faults.map(|fault| format!("{}: {fault}", broken.case))
    });
    let found: Vec<String> = explored.faults.iter().cloned().chain(found).collect();
    if found.is_empty() {
        return Ok(Exit::Succeeded);
    }
    let mut faults = Diagnostics::new();
    for fault in found {
        faults.push(
            Diagnostic::new(
                codes::INVARIANT_BROKEN,
                "the rehearsal was not as it must be",
            )
            .found(fault)
            .hint(format!(
                "the transcript above shows the shortest case; --seed {} repeats it",
                args.seed
            )),
        );
    }
    Err(Fault {
        diagnostics: faults,
        exit: Exit::RolledBack,
    })
}
