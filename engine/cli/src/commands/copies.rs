//! Copies of configurations that go with the journals of the runs that knew them.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::config::{ConfigKind, original};
use phasegate_core::failure::Failure;
use phasegate_core::run::Run;
use phasegate_core::workload::Target;
use phasegate_runtime::planner;
use phasegate_runtime::ports::Cluster;

use super::release;
use crate::compose::World;
use crate::console::Console;
use crate::exit::Fault;
use crate::state::State;

/// Copies by the namespace that they are in.
type Copies = BTreeMap<String, BTreeSet<(ConfigKind, String)>>;

/// Takes away the copies that runs which are about to be forgotten know, but for those that another run of the journal
/// could lead back to or that anything in the cluster refers to.
///
/// # Errors
/// Where it can't be told which these are, or one can't be removed: then the journals have to stay, or nobody would
/// know of them.
pub(super) async fn remove(state: &State, old: &[String], console: &Console) -> Result<(), Fault> {
    let (runs, faults) = state.whole().await?;
    let (goes, stays): (Vec<&Run>, Vec<&Run>) = runs
        .iter()
        .partition(|run| old.iter().any(|old| old == run.id()));
    let mut left = known(&goes);
    for (namespace, copies) in known(&stays) {
        if let Some(left) = left.get_mut(&namespace) {
            left.retain(|copy| !copies.contains(copy));
        }
    }
    left.retain(|_, copies| !copies.is_empty());
    let Some(run) = goes.first().filter(|_| !left.is_empty()) else {
        return Ok(());
    };
    if !faults.is_empty() {
        console.note("copies of configurations stay: a damaged run may need them");
        return Ok(());
    }
    let world = release::world_of(run, &state.folder).await?;
    for (namespace, copies) in &left {
        let removed = match under_way(&world, &goes, namespace).await {
            Ok(None) => world.cluster.remove_copies(namespace, copies).await,
            Ok(Some(run)) => {
                console.note(&format!(
                    "copies of configurations in namespace {namespace} stay: run {run} is under way there"
                ));
                continue;
            }
            Err(failure) => Err(failure),
        };
        let removed = removed.map_err(|failure| {
            let what = "the copies of configurations that go with the journals can't be removed";
            planner::diagnostic(&failure, what)
                .hint("`deploy/rbac/in-cluster.yaml` has the rights that it takes; no journal was forgotten")
        })?;
        for copy in removed {
            console.note(&format!("removed {copy}, to which nothing refers"));
        }
    }
    Ok(())
}

/// The run that holds a workload of the namespace: it may be about to use a copy that was there before it.
async fn under_way(
    world: &World,
    runs: &[&Run],
    namespace: &str,
) -> Result<Option<String>, Failure> {
    let workloads = runs.iter().flat_map(|run| &run.plan().workloads);
    let targets: BTreeMap<String, &Target> = workloads
        .filter(|workload| workload.target.namespace == namespace)
        .map(|workload| (workload.target.to_string(), &workload.target))
        .collect();
    for target in targets.values() {
        if let Some(claim) = world.cluster.claimed(target).await? {
            return Ok(Some(claim.run));
        }
    }
    Ok(None)
}

/// The copies that runs made or found.
fn known(runs: &[&Run]) -> Copies {
    let mut known = Copies::new();
    for workload in runs.iter().flat_map(|run| &run.plan().workloads) {
        for versioned in &workload.configs {
            let names = [
                Some(&versioned.copy.name),
                Some(&versioned.before),
                versioned.idle.as_ref(),
            ];
            let copies = names
                .into_iter()
                .flatten()
                .filter(|name| original(name) != name.as_str());
            known
                .entry(workload.target.namespace.clone())
                .or_default()
                .extend(copies.map(|name| (versioned.copy.kind, name.clone())));
        }
    }
    known
}
