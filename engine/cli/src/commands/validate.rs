//! `phasegate validate`: what is wrong with files, without asking the world.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::spec::policy::{self, PluginLimits};
use phasegate_core::spec::release::{self, Overrides};
use phasegate_core::yaml;
use phasegate_runtime::planner;
use serde::Serialize;

use super::release::{folder_of, host};
use crate::args::Validate;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::{builtin, compose, contents, files, manifests, plugins};

/// A file that nothing is wrong with.
#[derive(Serialize)]
struct Valid<'a> {
    file: &'a str,
    kind: &'static str,
    valid: bool,
}

/// Checks every file; the faults of all of them are told at once.
pub(super) async fn validate(args: &Validate, console: &Console) -> Outcome {
    let mut faults = Diagnostics::new();
    let mut valid = Vec::new();
    for file in &args.files {
        match one(args, file).await {
            Ok(kind) => valid.push(Valid {
                file,
                kind,
                valid: true,
            }),
            Err(found) => faults.append(found),
        }
    }
    if !faults.is_empty() {
        return Err(Fault {
            diagnostics: faults,
            exit: Exit::BadInput,
        });
    }
    console.either(&valid, || {
        valid
            .iter()
            .map(|valid| format!("{}: a valid {}", valid.file, valid.kind))
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(Exit::Succeeded)
}

async fn one(args: &Validate, file: &str) -> Result<&'static str, Diagnostics> {
    let bytes = files::read(file)?;
    let document = yaml::read(file, &bytes)?;
    match document.get("/kind").and_then(|kind| kind.as_str()) {
        Some("Policy") => {
            policy::load(file, &bytes)?;
            Ok("policy")
        }
        Some("Scenario") => {
            super::simulate::check(file, &bytes)?;
            Ok("scenario")
        }
        Some("Release") => {
            let overrides = Overrides {
                version: args.version.clone(),
                environment: args.environment.clone(),
            };
            release(file, &bytes, &overrides).await?;
            Ok("release")
        }
        other => {
            let found = other.map_or("no `kind`".to_owned(), |kind| format!("`{kind}`"));
            Err(
                Diagnostic::new(codes::WRONG_KIND, "this is no file of this engine")
                    .at(document.place("/kind"))
                    .expected("`kind: Release`, `kind: Policy` or `kind: Scenario`")
                    .found(found)
                    .hint("`phasegate init` writes a release to begin with")
                    .into(),
            )
        }
    }
}

async fn release(file: &str, bytes: &[u8], overrides: &Overrides) -> Result<(), Diagnostics> {
    let mut loaded = release::load(file, bytes, overrides, &builtin::NAMES)?;
    let folder = folder_of(file);
    contents::fill(&mut loaded, &folder)?;
    manifests::fill(&mut loaded, &folder)?;
    let components = plugins::of_release(&loaded, &folder)?;
    let set = compose::offline(host(&PluginLimits::default()), components)?;
    compose::prepare(&set).await?;
    planner::validate(&set, &loaded).await?;
    scenario_of(&loaded, &folder)
}

/// The scenario that the release names is part of what it needs.
fn scenario_of(loaded: &release::Loaded, folder: &Path) -> Result<(), Diagnostics> {
    let release::Target::Simulated(simulated) = &loaded.target else {
        return Ok(());
    };
    let Some(scenario) = &simulated.scenario else {
        return Ok(());
    };
    let file = folder.join(scenario).display().to_string();
    super::simulate::check(&file, &files::read(&file)?)
}
