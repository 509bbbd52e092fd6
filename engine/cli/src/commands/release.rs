//! What several commands do with a release file: load it, find its world, plan it.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is made for the simulated cluster"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes, listed, nearest};
use phasegate_core::failure::Failure;
use phasegate_core::plan::Plan;
use phasegate_core::run::Run;
use phasegate_core::spec::policy::{self, PluginLimits, Policy};
use phasegate_core::spec::release::{self, Loaded, Overrides, Target};
use phasegate_host::HostConfig;
use phasegate_registry::default_cache_dir;
use phasegate_runtime::planner;
use phasegate_runtime::plugin_ports::CompiledCache;
use phasegate_runtime::ports::{Clock, Component, Journal, Plugins};
use phasegate_world::clock::SystemClock;
use phasegate_world::{connect, kubernetes};

use super::simulate;
use crate::args::Inputs;
use crate::compose::{self, Parts, World};
use crate::console::Console;
use crate::exit::{Fault, internal};
use crate::plugins::Kept;
use crate::seat::Seat;
use crate::simulated::{self, Wanted};
use crate::state::State;
use crate::{builtin, contents, files, manifests, plugins};

/// Most missing rights that are named in a message.
const MAX_NAMED: usize = 40;

/// How the simulated cluster is called in targets; every other name is one of a context.
pub(super) const SIMULATED: &str = connect::SIMULATED;

/// A release with the policy that holds for it.
pub(super) struct Given {
    /// The release.
    pub(super) loaded: Loaded,
    /// The policy; the default one where none was given.
    pub(super) policy: Policy,
    /// The folder of the release's file, which paths in it are relative to.
    pub(super) folder: PathBuf,
}

impl Given {
    /// How the cluster of the release is called in targets.
    pub(super) fn cluster(&self) -> Result<String, Diagnostic> {
        match &self.loaded.target {
            Target::Simulated(_) => Ok(SIMULATED.to_owned()),
            Target::Kubernetes(kubernetes) => connect::name_of(kubernetes.context.as_deref())
                .map_err(|fault| fault.at(self.loaded.document.place("/target"))),
        }
    }
}

/// Loads a release and its policy, and says what is wrong with both.
pub(super) fn load(file: &str, inputs: &Inputs) -> Result<Given, Fault> {
    let bytes = files::read(file)?;
    let policy = match &inputs.policy {
        Some(file) => {
            named(file)?;
            Some((file.as_str(), files::read(file)?))
        }
        None => None,
    };
    let policy = policy.as_ref().map(|(file, bytes)| (*file, &**bytes));
    parse((file, &bytes), policy, inputs, folder_of(file))
}

/// Refuses a policy's file without a name: to go on without one would lift what the policy demands.
pub(super) fn named(file: &str) -> Result<(), Diagnostic> {
    if file.is_empty() {
        return Err(
            Diagnostic::new(codes::FILE_UNREADABLE, "the policy's name is empty")
                .expected("a file, by --policy or PHASEGATE_POLICY")
                .found("nothing")
                .hint("unset PHASEGATE_POLICY where no policy is to hold"),
        );
    }
    Ok(())
}

/// The same of what was read before, by the names of the files and their bytes.
pub(super) fn parse(
    (file, bytes): (&str, &[u8]),
    policy: Option<(&str, &[u8])>,
    inputs: &Inputs,
    folder: PathBuf,
) -> Result<Given, Fault> {
    let overrides = Overrides {
        version: inputs.version.clone(),
        environment: inputs.environment.clone(),
    };
    let mut loaded = release::load(file, bytes, &overrides, &builtin::NAMES)?;
    contents::fill(&mut loaded, &folder)?;
    manifests::fill(&mut loaded, &folder)?;
    let policy = match policy {
        Some((file, bytes)) => policy::load(file, bytes)?.policy,
        None => Policy::default(),
    };
    if let Some(environment) = &inputs.environment
        && loaded.release.environments.is_empty()
    {
        known_to(&policy, environment)?;
    }
    Ok(Given {
        loaded,
        policy,
        folder,
    })
}

/// Refuses an environment that neither the release nor the policy has heard of, where the policy's rules are about
/// environments: none of them would hold.
fn known_to(policy: &Policy, environment: &str) -> Result<(), Diagnostic> {
    let known = policy.environments();
    if known.is_empty() || known.contains(environment) {
        return Ok(());
    }
    let expected = listed(known.iter().copied());
    let unknown = Diagnostic::new(
        codes::UNKNOWN_ENVIRONMENT,
        "`--environment` names one that neither the release nor the policy knows",
    )
    .expected(expected)
    .found(format!("`{environment}`"));
    Err(match nearest(environment, known.iter().copied()) {
        Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
        None => unknown.hint(
            "define it under `environments` of the release, or name it in a rule of the policy",
        ),
    })
}

/// Says what is wrong with a release as far as its plugins and its scenario can tell, before a cluster
/// is started for it.
pub(super) async fn check(given: &Given) -> Result<(), Fault> {
    given.cluster()?;
    let wanted = wanted(given)?;
    let components = plugins::of_release(&given.loaded, &given.folder)?;
    let set = compose::offline(host(&given.policy.plugins), components)?;
    compose::prepare(&set).await?;
    planner::validate(&set, &given.loaded).await?;
    if let Some(scenario) = wanted.and_then(|wanted| wanted.scenario) {
        let file = scenario.display().to_string();
        simulate::check(&file, &files::read(&file)?)?;
    }
    Ok(())
}

/// The folder that paths in a file are relative to.
pub(super) fn folder_of(file: &str) -> PathBuf {
    let path = Path::new(file);
    let parent = path.parent().unwrap_or(Path::new("."));
    if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_owned()
    }
}

/// What the release wants of its simulated cluster, if it is for one.
fn wanted(given: &Given) -> Result<Option<Wanted>, Diagnostic> {
    let Target::Simulated(wanted) = &given.loaded.target else {
        return Ok(None);
    };
    let scenario = match &wanted.scenario {
        Some(path) => Some(absolute(&given.folder.join(path))?),
        None => None,
    };
    let otherwise = match &scenario {
        Some(_) => None,
        None => Some(simulate::scenario_for(&given.loaded)?),
    };
    Ok(Some(Wanted {
        scenario,
        speed: wanted.scale,
        otherwise,
    }))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Diagnostic> {
    std::path::absolute(path)
        .map_err(|e| internal(format!("can't tell where {} is", path.display())).caused_by(&e))
}

/// Makes the state directory where it is missing, for this user alone.
pub(super) fn make_folder(state: &Path) -> Result<(), Diagnostic> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|e| {
            if files::is_full(&e) {
                return files::unwritable(state, &e);
            }
            Diagnostic::new(
                codes::JOURNAL_UNREADABLE,
                format!("the state directory `{}` can't be made", state.display()),
            )
            .caused_by(&e)
            .hint("give another one with --state or PHASEGATE_STATE")
        })
}

/// The world of a release. Starts a simulated cluster where the release is for one and none runs.
pub(super) async fn world(given: &Given, state: &Path, console: &Console) -> Result<World, Fault> {
    let Some(wanted) = wanted(given)? else {
        let place = given.loaded.document.place("/target");
        let world = World::kubernetes(&given.cluster()?).await;
        let world = world.map_err(|fault| fault.at(place))?;
        match Seat::of(state)? {
            Some(seat) => seat.same_cluster(&given.cluster()?)?,
            None => make_folder(state)?,
        }
        return Ok(world);
    };
    if let Some(seat) = Seat::of(state)? {
        seat.same_cluster(SIMULATED)?;
    }
    make_folder(state)?;
    let note = simulated::ensure(state, &wanted, |text| console.note(text)).await?;
    Ok(World::simulated_process(&note.url).await?)
}

/// The world of a cluster by its name in targets: it is there, and nothing is started.
pub(super) async fn world_named(cluster: &str, state: &Path) -> Result<World, Fault> {
    if cluster == SIMULATED {
        let note = simulated::running(state).await?;
        return Ok(World::simulated_process(&note.url).await?);
    }
    Ok(World::kubernetes(cluster).await?)
}

/// The world of a run that is in the journal.
pub(super) async fn world_of(run: &Run, state: &Path) -> Result<World, Fault> {
    if let Some(seat) = Seat::of(state)? {
        // The run's cluster is the journal's, however whoever began it calls it.
        return Ok(World::kubernetes(&seat.context).await?);
    }
    let first = run.plan().workloads.first();
    let cluster = first.map_or(SIMULATED, |first| first.target.cluster.as_str());
    world_named(cluster, state).await
}

/// Refuses a plan for whose steps, or whose way back, the user lacks rights in the cluster.
pub(super) async fn allowed(ready: &Ready, world: &World, plan: &Plan) -> Result<(), Fault> {
    may(&ready.parts, world, plan).await
}

/// The same for an engine that goes on with a run.
pub(super) async fn may(parts: &Parts, world: &World, plan: &Plan) -> Result<(), Fault> {
    if !world.guarded {
        return Ok(());
    }
    let failed = |failure: &Failure| -> Fault {
        planner::diagnostic(failure, "the rights that the plan needs can't be looked at").into()
    };
    let mut described = Vec::new();
    for name in plan.plugins.keys() {
        let description = parts.plugins.describe(name).await;
        let (_, mut description) = description.map_err(|e| failed(&e))?;
        // The plan knows it by the release's name.
        description.name.clone_from(name);
        described.push(description);
    }
    let rights = kubernetes::needed(plan, &described);
    let missing = world
        .cluster
        .missing(&rights)
        .await
        .map_err(|e| failed(&e))?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let more = named.len().saturating_sub(MAX_NAMED);
    named.truncate(MAX_NAMED);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    Err(Diagnostic::new(
        codes::RIGHTS_MISSING,
        "the run would need rights that you don't have, so that it could not finish or not go back",
    )
    .expected(format!("the right to {}", named.join(", ")))
    .found("none of these")
    .hint("have them granted; nothing was changed")
    .into())
}

/// Where the compiled cache is: in `PHASEGATE_CACHE`, or the user's cache folder.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match set("PHASEGATE_CACHE") {
        Some(folder) => Some(PathBuf::from(folder).join("compiled")),
        None => default_cache_dir(set("XDG_CACHE_HOME").as_deref(), set("HOME").as_deref()),
    }
}

pub(super) fn cache() -> Option<Arc<dyn CompiledCache>> {
    crate::cache::open(&cache_folder()?)
}

/// How plugins are run under these limits.
pub(super) fn host(limits: &PluginLimits) -> HostConfig {
    // Plugins' randomness is for their own tables and identifiers; no secret comes of it.
    let seed = SystemClock.now().as_millis() ^ u64::from(std::process::id()).rotate_left(32);
    compose::host_config(limits, cache(), seed)
}

/// What is needed to drive a release, besides the world.
pub(super) struct Ready {
    /// The engine.
    pub(super) parts: Parts,
    /// Its plugins' components.
    pub(super) components: Vec<Component>,
    /// What else is to be kept for whoever resumes the run.
    pub(super) kept: Kept,
}

/// The engine for a release, with all of its plugins loaded.
pub(super) async fn engine(
    given: &Given,
    world: &World,
    journal: Arc<dyn Journal>,
) -> Result<Ready, Fault> {
    let components = plugins::of_release(&given.loaded, &given.folder)?;
    let kept = Kept {
        credentials: plugins::rooted(&given.loaded.release.credentials, &given.folder)?,
        limits: given.policy.plugins.clone(),
        templates: BTreeMap::new(),
    };
    let parts = assemble(world, &kept, components.clone(), journal)?;
    parts.prepare().await?;
    Ok(Ready {
        parts,
        components,
        kept,
    })
}

/// The engine for a run that is in the journal, with the plugins that it was planned with.
pub(super) async fn engine_of(state: &State, run: &Run, world: &World) -> Result<Parts, Fault> {
    let components = plugins::of_plan(&state.folder, run.plan())?;
    let kept = state.kept(run.id()).await?;
    let parts = assemble(world, &kept, components, state.journal.clone())?;
    parts.prepare().await?;
    Ok(parts)
}

/// Refuses to drive a run of a cluster's journal from a machine that doesn't have its credentials, or other plugins.
/// `posted` says that a command is in the run's inbox already.
pub(super) async fn able(state: &State, run: &Run, posted: bool) -> Result<(), Fault> {
    let kept = state.kept(run.id()).await?;
    let mut lacks = Diagnostics::new();
    if let Err(lack) = plugins::readable(&kept.credentials) {
        lacks.push(lack);
    }
    if let Err(others) = plugins::of_plan(&state.folder, run.plan()) {
        others.iter().cloned().for_each(|lack| lacks.push(lack));
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let secret = if kept.credentials.is_empty() {
        ""
    } else {
        " --credentials SECRET"
    };
    let (then, done) = if posted {
        ("", "the command is in its inbox for whoever drives it next")
    } else {
        (", and give the command then", "nothing was changed")
    };
    let hint = format!(
        "no engine drives {0}, and this machine can't: have a pod drive it, with `phasegate --state {1} resume {0} --in-cluster --image IMAGE{secret}`{then}; or bring here what is missing. {done}",
        run.id(),
        state.folder.display()
    );
    let mut told = Diagnostics::new();
    for lack in lacks.iter().cloned() {
        told.push(lack.hint(hint.clone()));
    }
    Err(told.into())
}

fn assemble(
    world: &World,
    kept: &Kept,
    components: Vec<Component>,
    journal: Arc<dyn Journal>,
) -> Result<Parts, Diagnostic> {
    let credentials = plugins::credentials(&kept.credentials)?;
    world.cluster.hold(&kept.templates);
    world.engine(
        host(&kept.limits),
        Arc::new(credentials),
        components,
        journal,
    )
}
