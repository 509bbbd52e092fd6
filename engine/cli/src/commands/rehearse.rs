//! `phasegate rehearse`: a release through a scenario, in virtual time.

use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::spec::release::Target;
use phasegate_rehearsal::rehearse::Rehearsal;
use phasegate_rehearsal::scenario::Scenario;
use serde::Serialize;

use super::{explore, release, report, simulate};
use crate::args::Rehearse;
use crate::compose;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::rehearsal::{self, Inputs};
use crate::{files, plugins};

/// What `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    end: &'a str,
    seed: u64,
    faults: &'a [String],
    transcript: String,
}

/// Rehearses a release. To be called outside of any runtime: a rehearsal has one of its own, whose
/// time is virtual.
pub(crate) fn rehearse(args: &Rehearse, console: &Console) -> Outcome {
    if let Some(path) = &args.report {
        files::may_be_written(path)?;
    }
    let (given, scenario) = given(args)?;
    let inputs = Inputs {
        loaded: &given.loaded,
        policy: &given.policy,
        scenario: &scenario,
        components: plugins::of_release(&given.loaded, &given.folder)?,
        credentials: Arc::new(compose::Invented),
        cache: release::cache(),
        seed: args.seed,
    };
    if args.explore {
        return explore::explore(args, console, &inputs);
    }
    let rehearsal = rehearsal::play(inputs)?;
    show(args, console, &scenario, &rehearsal)?;
    if let Some(path) = &args.report {
        report::rehearsed(&rehearsal.records, path, console)?;
    }
    conclude(rehearsal, scenario.expect.end.is_some())
}

/// The release and the scenario, which may say under which policy and in which environment the one is
/// rehearsed. What the command line says wins.
fn given(args: &Rehearse) -> Result<(release::Given, Scenario), Fault> {
    // A release with several environments may need the scenario's before it can be read.
    let (file, first) = match &args.scenario {
        Some(file) => (file.clone(), None),
        None => {
            let given = release::load(&args.release, &args.inputs)?;
            (scenario_of(&given)?, Some(given))
        }
    };
    let scenario = simulate::load(&file)?;
    let mut inputs = args.inputs.clone();
    if let (None, Some(policy)) = (&inputs.policy, &scenario.policy) {
        let path = release::folder_of(&file).join(policy);
        inputs.policy = Some(path.display().to_string());
    }
    if inputs.environment.is_none() {
        inputs.environment.clone_from(&scenario.environment);
    }
    let same = inputs.policy == args.inputs.policy && inputs.environment == args.inputs.environment;
    match first.filter(|_| same) {
        Some(given) => Ok((given, scenario)),
        None => Ok((release::load(&args.release, &inputs)?, scenario)),
    }
}

/// The scenario of a release's own target.
fn scenario_of(given: &release::Given) -> Result<String, Diagnostic> {
    match &given.loaded.target {
        Target::Simulated(simulated) if simulated.scenario.is_some() => {
            let path = simulated.scenario.as_deref().unwrap_or_default();
            Ok(given.folder.join(path).display().to_string())
        }
        _ => Err(
            Diagnostic::new(codes::MISSING_FIELD, "a rehearsal needs a scenario")
                .expected("--scenario FILE, or a scenario in the release's simulated target")
                .hint("`phasegate init` writes one to begin with"),
        ),
    }
}

fn show(
    args: &Rehearse,
    console: &Console,
    scenario: &Scenario,
    rehearsal: &Rehearsal,
) -> Result<(), Fault> {
    let transcript = rehearsal.story.text();
    let told = Told {
        end: &rehearsal.end,
        seed: args.seed,
        faults: &rehearsal.faults,
        transcript,
    };
    console.either(&told, || {
        let mut text = told.transcript.trim_end().to_owned();
        if let Some(plan) = &rehearsal.planned {
            text.push_str(&format!(
                "\n\n{}\n",
                rehearsal::plan_in_words(plan, scenario)
            ));
        }
        text.push_str(&format!("\nend: {}  (seed {})", told.end, told.seed));
        text
    })
}

/// A rehearsal in which everything was as the scenario expects succeeds, however the run ended, if the
/// scenario says how it ends. Else nobody asked for another end than success, and a script that rehearses
/// before it runs must not take a rollback for one: it ends as `phasegate run` would.
fn conclude(rehearsal: Rehearsal, end_expected: bool) -> Outcome {
    if rehearsal.faults.is_empty() {
        return match (rehearsal.refused, rehearsal.run) {
            _ if end_expected => Ok(Exit::Succeeded),
            (Some(refused), _) => Err(refused.into()),
            (None, Some(run)) => Ok(Exit::of_state(&run.state())),
            (None, None) if rehearsal.planned.is_some() => Ok(Exit::Succeeded),
            (None, None) => Ok(Exit::Refused),
        };
    }
    let mut faults = Diagnostics::new();
    for fault in rehearsal.faults {
        faults.push(
            Diagnostic::new(
                codes::INVARIANT_BROKEN,
                "the rehearsal was not as it must be",
            )
            .found(fault)
            .hint("the transcript above shows what happened; the seed repeats it"),
        );
    }
    Err(Fault {
        diagnostics: faults,
        exit: Exit::RolledBack,
    })
}
