//! `phasegate lock`: which run holds a target, and letting go of it by hand.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::failure::Failure;
use phasegate_core::workload::Target;
use phasegate_runtime::engine::Error as EngineError;
use phasegate_runtime::planner;
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Cluster, Holder, Journal, JournalError, LeaseError, Leases, Stamp,
};
use phasegate_world::entropy;
use serde::Serialize;

use super::release::{self, SIMULATED};
use super::succession;
use crate::args::{Inputs, Lock, LockBreak, LockCommand, LockTarget};
use crate::console::Console;
use crate::drive;
use crate::exit::{self, Exit, Fault, Outcome, internal};
use crate::show;
use crate::state::State;

/// Who holds a target.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    target: String,
    claim: Option<ClaimRecord>,
    driver: Option<Holder>,
    driver_until: Option<String>,
}

/// Shows or breaks a lock.
pub(super) async fn lock(args: &Lock, folder: &Path, console: &Console) -> Outcome {
    match &args.command {
        LockCommand::Show(args) => show(args, folder, console).await,
        LockCommand::Break(args) => break_lock(args, folder, console).await,
    }
}

/// The target that is named: as `cluster/namespace/deployment`, or by a release file.
fn target_of(named: &str, environment: Option<&str>) -> Result<Target, Fault> {
    // A context's name may have slashes; the two names after it have none.
    if let [deployment, namespace, cluster] = named.rsplitn(3, '/').collect::<Vec<_>>().as_slice()
        && !cluster.is_empty()
        && !is_a_file(named)
    {
        return Ok(Target {
            cluster: (*cluster).to_owned(),
            namespace: (*namespace).to_owned(),
            workload: (*deployment).to_owned(),
            deployment: (*deployment).to_owned(),
            container: String::new(),
            service: None,
            config_maps: Vec::new(),
            secrets: Vec::new(),
            beside: None,
        });
    }
    if Path::new(named).is_file() {
        let inputs = Inputs {
            environment: environment.map(str::to_owned),
            ..Inputs::default()
        };
        let given = release::load(named, &inputs)?;
        let cluster = given.cluster()?;
        let workloads = given.loaded.release.workloads();
        let mut targets = workloads
            .iter()
            .map(|(_, workload)| planner::target_of(&given.loaded, workload, &cluster));
        return match (targets.next(), targets.next()) {
            (Some(target), None) => Ok(target),
            (first, second) => {
                let named = first.into_iter().chain(second).chain(targets);
                let named = named.map(|target| target.to_string()).collect::<Vec<_>>();
                Err(Diagnostic::new(
                    codes::INVALID_VALUE,
                    format!(
                        "`{named_by}` deploys several workloads",
                        named_by = given.loaded.release.metadata.name
                    ),
                )
                .expected(format!("one of: {}", named.join(", ")))
                .hint("name the target itself")
                .into())
            }
        };
    }
    Err(
        Diagnostic::new(codes::INVALID_VALUE, format!("`{named}` is no target"))
            .expected(format!(
                "{SIMULATED}/NAMESPACE/DEPLOYMENT, CONTEXT/NAMESPACE/DEPLOYMENT, or a release file"
            ))
            .found(format!("`{named}`"))
            .hint("`phasegate status` names the target of a run")
            .into(),
    )
}

/// Whether a file is meant, be it there or not.
fn is_a_file(named: &str) -> bool {
    let path = Path::new(named);
    let kind = path.extension().and_then(|kind| kind.to_str());
    path.is_file() || matches!(kind, Some("yaml" | "yml"))
}

fn failed(failure: &Failure) -> Fault {
    planner::diagnostic(failure, "the cluster").into()
}

async fn show(args: &LockTarget, folder: &Path, console: &Console) -> Outcome {
    let target = target_of(&args.target, args.environment.as_deref())?;
    let world = release::world_named(&target.cluster, folder).await?;
    let claim = world
        .cluster
        .claimed(&target)
        .await
        .map_err(|f| failed(&f))?;
    let driver = world
        .cluster
        .holder(&target)
        .await
        .map_err(|e| exit::engine(&EngineError::Lease(e), "", false))?;
    let held = Held {
        target: target.to_string(),
        claim,
        driver: driver.as_ref().map(|(holder, _)| holder.clone()),
        driver_until: driver.as_ref().map(|(_, until)| until.to_string()),
    };
    console.either(&held, || {
        let claim = match &held.claim {
            Some(claim) if claim.handed_over_by.is_some() => format!(
                "kept for run {run}, started by {}, in place of {}; it has not begun: `phasegate resume {run}` begins it, `phasegate lock break {target}` frees the target",
                claim.started_by,
                claim.handed_over_by.as_deref().unwrap_or_default(),
                run = claim.run,
            ),
            Some(claim) => format!(
                "held by run {}, started by {}, plan {}",
                claim.run,
                claim.started_by,
                show::short(&claim.plan)
            ),
            None => "free".to_owned(),
        };
        let driver = match (&held.driver, &held.driver_until) {
            (Some(holder), Some(until)) => format!("engine {} until {until}", holder.engine),
            _ => "no engine".to_owned(),
        };
        format!("{}: {claim}; driven by {driver}", held.target)
    })?;
    Ok(Exit::Succeeded)
}

/// Lets go of a target. An engine that drives it is protected: its lease can't be had.
async fn break_lock(args: &LockBreak, folder: &Path, console: &Console) -> Outcome {
    if args.reason.trim().is_empty() {
        return Err(
            Diagnostic::new(codes::INVALID_VALUE, "a lock is broken for a reason")
                .expected("--reason with the reason in words")
                .found("nothing")
                .hint("say how you know that nothing drives the run")
                .into(),
        );
    }
    let target = target_of(&args.target, args.environment.as_deref())?;
    let world = release::world_named(&target.cluster, folder).await?;
    let state = State::open(folder).await?;
    let Some(claim) = world
        .cluster
        .claimed(&target)
        .await
        .map_err(|f| failed(&f))?
    else {
        let told = serde_json::json!({"target": target.to_string(), "run": null});
        console.either(&told, || format!("{target} is free"))?;
        return Ok(Exit::Succeeded);
    };
    // A run of this state directory is not taken away from the process that drives it.
    // Nor is one that a process of this state directory is about to begin.
    let kept = claim.handed_over_by.is_some();
    let _guard = match state.journal.read(&claim.run).await {
        Err(JournalError::NotFound(_)) if !kept => None,
        // A journal that can't be believed doesn't say either that nothing drives the run.
        Ok(_) | Err(_) => Some(state.journal.drive(&claim.run).await?),
    };
    let engine = entropy::engine_id()
        .map_err(|e| internal("this engine can't be given a name").caused_by(&e))?;
    let holder = Holder {
        engine,
        seat: state.journal.seat(),
        run: claim.run.clone(),
    };
    let lease = |e: LeaseError| exit::engine(&EngineError::Lease(e), &claim.run, false);
    let grant = world
        .cluster
        .acquire(&target, &holder)
        .await
        .map_err(lease)?;
    let stamp = Stamp {
        run: claim.run.clone(),
        epoch: grant.epoch,
        key: format!("lock-break/{}", drive::who().name),
    };
    let released = Cluster::release(&world.cluster, &target, &stamp).await;
    // The lease runs out by itself where it can't be given back.
    let _ = Leases::release(&world.cluster, &target, &holder, &grant).await;
    released.map_err(|error| match error {
        ChangeError::Failed(failure) => failed(&failure),
        ChangeError::Unknown(message) => Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            "it is not known whether the lock was broken",
        )
        .because(message)
        .hint("`phasegate lock show` tells")
        .into(),
    })?;
    if kept {
        succession::forget(&state.folder, &claim.run);
    }
    let told = serde_json::json!({
        "target": target.to_string(),
        "run": claim.run,
        "brokenBy": drive::who().name,
        "reason": args.reason,
    });
    console.either(&told, || {
        format!(
            "{target} is free; run {} held it. Reason: {}. The workload was left as it is",
            claim.run, args.reason
        )
    })?;
    Ok(Exit::Succeeded)
}
