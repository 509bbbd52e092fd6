//! A rehearsal put together: the simulated cluster in this process and in virtual time, and on it the
//! same adapter, plugin host and engine that work for people.

use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::plan::Plan;
use phasegate_core::spec::policy::Policy;
use phasegate_core::spec::release::Loaded;
use phasegate_host::{HostConfig, Workshop};
use phasegate_rehearsal::network::Network;
use phasegate_rehearsal::rehearse::{self, Rehearsal, Stage};
use phasegate_rehearsal::scenario::Scenario;
use phasegate_rehearsal::server::{ClusterService, SharedCluster, VirtualClock};
use phasegate_rehearsal::trouble::Trouble;
use phasegate_rehearsal::web::Web;
use phasegate_runtime::engine::Engine;
use phasegate_runtime::plugin_ports::{CompiledCache, Credentials};
use phasegate_runtime::ports::Component;
use phasegate_store::memory::MemoryJournal;
use phasegate_world::connect;

use crate::compose::{World, narrowed};
use crate::show;

/// What a rehearsal is played with.
#[derive(Clone)]
pub struct Inputs<'a> {
    /// The release.
    pub loaded: &'a Loaded,
    /// The policy.
    pub policy: &'a Policy,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The release's plugins.
    pub components: Vec<Component>,
    /// Its credentials.
    pub credentials: Arc<dyn Credentials>,
    /// Where compiled plugins are kept.
    pub cache: Option<Arc<dyn CompiledCache>>,
    /// Everything that is left to chance follows from it.
    pub seed: u64,
}

/// Makes another engine of one: with other ports.
pub type Remake<'a> = &'a (dyn Fn(Engine) -> Engine + Sync);

/// What stands between the engine and the simulated world.
#[derive(Clone, Default)]
pub struct Between<'a> {
    /// What goes wrong at the ports.
    pub trouble: Option<Arc<Trouble>>,
    /// What is made of the engine before: to see that its faults are found.
    pub remake: Option<Remake<'a>>,
    /// How often at most each gate is asked in a soak; none: soaks last as long as is planned.
    pub soaks: Option<u32>,
}

/// Plays a rehearsal, on a runtime of its own whose time is virtual. Must not be called from within another runtime.
///
/// # Errors
/// Where the scenario's cluster can't be made, or this machine can't run plugins.
pub fn play(inputs: Inputs<'_>) -> Result<Rehearsal, Diagnostic> {
    play_in(None, inputs)
}

/// As [`play`], with plugins that are loaded once for all rehearsals that are given the same workshop.
///
/// # Errors
/// As [`play`].
pub fn play_in(workshop: Option<&Workshop>, inputs: Inputs<'_>) -> Result<Rehearsal, Diagnostic> {
    play_with(workshop, inputs, Between::default())
}

/// As [`play_in`], with something between the engine and its world.
///
/// # Errors
/// As [`play`].
pub fn play_with(
    workshop: Option<&Workshop>,
    inputs: Inputs<'_>,
    between: Between<'_>,
) -> Result<Rehearsal, Diagnostic> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| Diagnostic::new(codes::INTERNAL, "no async runtime").caused_by(&error))?;
    runtime.block_on(stage(workshop, inputs, between))
}

/// A plan as `phasegate plan` shows it, made when the scenario began.
#[must_use]
pub fn plan_in_words(plan: &Plan, scenario: &Scenario) -> String {
    show::plan(plan, scenario.start())
}

async fn stage(
    workshop: Option<&Workshop>,
    inputs: Inputs<'_>,
    between: Between<'_>,
) -> Result<Rehearsal, Diagnostic> {
    let clock = Arc::new(VirtualClock::starting_at(inputs.scenario.start()));
    let cluster = SharedCluster::new(inputs.scenario.cluster(inputs.seed)?, clock.clone());
    let network = Network::new(cluster.clone(), Web::new(inputs.scenario));
    let client = connect::client_from_service(
        ClusterService::new(cluster.clone()),
        &inputs.loaded.namespace,
    );
    let world = World::in_process(client, Arc::new(network.clone()), clock);
    // Nothing else runs on this thread, so a plugin that computes must not give way to anything.
    let config = HostConfig {
        limits: narrowed(&inputs.policy.plugins),
        grants: inputs.policy.plugins.grants.clone(),
        cache: inputs.cache,
        seed: inputs.seed,
        yields: false,
        workshop: workshop.cloned(),
    };
    let parts = world.engine(
        config,
        inputs.credentials,
        inputs.components,
        Arc::new(MemoryJournal::new("rehearsal")),
    )?;
    let stage = Stage {
        loaded: inputs.loaded,
        policy: inputs.policy,
        scenario: inputs.scenario,
        cluster,
        network,
        engine: match between.remake {
            Some(remake) => remake(parts.engine),
            None => parts.engine,
        },
        elsewhere: Arc::new(MemoryJournal::new("elsewhere")),
        trouble: between.trouble,
        soaks: between.soaks,
    };
    Ok(rehearse::play(stage).await)
}
