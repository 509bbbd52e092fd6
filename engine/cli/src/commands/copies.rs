//! Copies of configurations that go with the journals of the runs that knew them.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::config::{ConfigKind, original};
use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::failure::Failure;
use phasegate_core::run::Run;
use phasegate_core::workload::Target;
use phasegate_runtime::planner;
use phasegate_runtime::ports::Cluster;
use phasegate_world::kubernetes::MAX_COPIES;

use super::release;
use crate::compose::World;
use crate::console::Console;
use crate::exit::Fault;
use crate::state::State;

/// Most copies that a refusal names.
const NAMED: usize = 10;

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
    let world = release::world_of(run, &state.folder).await?;
    let mut unused = Copies::new();
    for (namespace, copies) in &left {
        let found = world.cluster.unused_copies(namespace, copies).await;
        unused.insert(namespace.clone(), found.map_err(|f| cannot(&f))?);
    }
    unused.retain(|_, copies| !copies.is_empty());
    if !faults.is_empty() && !unused.is_empty() {
        let why = "another run is damaged and may need";
        return Err(remain(why, &unused, "mend or remove the damaged run first").into());
    }
    for namespace in unused.keys() {
        let holds = under_way(&world, &goes, namespace).await;
        if let Some(run) = holds.map_err(|f| cannot(&f))? {
            let why = format!("run {run} is under way and may be about to use");
            return Err(remain(&why, &unused, "give the command again once it has ended").into());
        }
    }
    for (namespace, copies) in &mut unused {
        let removed = world.cluster.remove_copies(namespace, copies).await;
        for copy in removed.map_err(|f| cannot(&f))? {
            console.note(&format!("removed {copy}, to which nothing refers"));
            copies.retain(|(kind, name)| format!("{} {name}", kind.as_str()) != copy);
        }
    }
    unused.retain(|_, copies| !copies.is_empty());
    if unused.is_empty() {
        return Ok(());
    }
    let why =
        format!("{MAX_COPIES} were removed, which is as many as are at once, and there still are");
    Err(remain(&why, &unused, "give the command again").into())
}

fn cannot(failure: &Failure) -> Diagnostic {
    let what = "the copies of configurations that go with the journals can't be removed";
    planner::diagnostic(failure, what).hint(
        "`deploy/rbac/in-cluster.yaml` has the rights that it takes; no journal was forgotten",
    )
}

/// Why no journal is forgotten: nobody would know of these copies any more.
fn remain(why: &str, copies: &Copies, hint: &str) -> Diagnostic {
    let all = copies.iter().flat_map(|(namespace, copies)| {
        let named = move |(kind, name): &(ConfigKind, String)| {
            format!("{} {name} in {namespace}", kind.as_str())
        };
        copies.iter().map(named)
    });
    let all: Vec<String> = all.collect();
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Diagnostic::new(
        codes::COMMAND_ILLEGAL,
        format!("{why} copies of configurations that only these runs know of"),
    )
    .expected("that no copy is left that no journal knows of")
    .found(format!("{}{more}", named.join(", ")))
    .hint(format!("{hint}; no journal was forgotten"))
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
