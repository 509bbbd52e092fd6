//! `phasegate plan`: what a run would do. Nothing is changed.

use std::path::Path;
use std::sync::Arc;

use phasegate_core::plan::Plan;
use phasegate_runtime::planner;
use phasegate_store::MemoryJournal;
use serde::{Deserialize, Serialize};

use super::release;
use crate::args;
use crate::console::Console;
use crate::drive;
use crate::exit::{Exit, Outcome, internal};
use crate::{files, show};

/// What `plan --output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    digest: String,
    abort_would: &'a str,
    plan: &'a Plan,
}

/// A plan in a file, with the digest by which an edited one is told.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// The plan's digest when it was made.
    pub(super) digest: String,
    /// The plan.
    pub(super) plan: Plan,
}

/// Plans a release and shows the plan.
pub(super) async fn plan(args: &args::Plan, state: &Path, console: &Console) -> Outcome {
    let given = release::load(&args.file, &args.inputs)?;
    release::check(&given).await?;
    let world = release::world(&given, state, console).await?;
    let journal = Arc::new(MemoryJournal::new("plan"));
    let ready = release::engine(&given, &world, journal).await?;
    let who = drive::who();
    let prepared = planner::preview(
        &ready.parts.engine.world,
        &given.loaded,
        &given.policy,
        &given.cluster()?,
        &who.name,
    )
    .await?;
    let plan = prepared.plan;
    release::allowed(&ready, &world, &plan).await?;
    if let Some(path) = &args.out {
        let kept = Kept {
            digest: plan.digest(),
            plan: plan.clone(),
        };
        let text = serde_json::to_string_pretty(&kept)
            .map_err(|e| internal("the plan can't be written as JSON").caused_by(&e))?;
        files::replace(path, format!("{text}\n").as_bytes())?;
        console.note(&format!(
            "kept in {path}; run it with `phasegate run {} --plan {path}`",
            args.file,
            path = path.display()
        ));
    }
    let now = world.clock.now();
    let abort = show::abort_once_changed(&plan);
    let shown = Shown {
        digest: plan.digest(),
        abort_would: &abort,
        plan: &plan,
    };
    console.either(&shown, || show::plan(&plan, now))?;
    Ok(Exit::Succeeded)
}
