//! The host: a workshop, where plugins are loaded, and the world that they reach.

use std::sync::Arc;

use phasegate_core::failure::Failure;
use phasegate_core::spec::policy::PluginGrant;
use phasegate_runtime::plugin_ports::{CompiledCache, Grants};
use phasegate_runtime::ports::Component;
use wasmtime::Engine;

use crate::limits::Limits;
use crate::set::PluginSet;
use crate::state::HostPorts;
use crate::workshop::Workshop;

/// How a host is made.
#[derive(Clone)]
pub struct HostConfig {
    /// What one call may use.
    pub limits: Limits,
    /// What the policy grants to plugins that don't come with the engine.
    pub grants: Vec<PluginGrant>,
    /// Where compiled plugins are kept; none compiles them at each start.
    pub cache: Option<Arc<dyn CompiledCache>>,
    /// What plugins' randomness follows from, with the key of the call: the scenario's seed in a
    /// rehearsal, an unpredictable number in production.
    pub seed: u64,
    /// Whether a plugin that computes for long lets other tasks of the executor have their turn. Off
    /// in a rehearsal: when it does so depends on the machine, and a transcript must not.
    pub yields: bool,
    /// What it shares with other hosts; none makes a workshop of its own.
    pub workshop: Option<Workshop>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            grants: Vec::new(),
            cache: None,
            seed: 0,
            yields: true,
            workshop: None,
        }
    }
}

/// Loads plugins. One per world is enough, and cheap to share.
pub struct Host {
    pub(crate) workshop: Workshop,
    pub(crate) ports: Arc<HostPorts>,
    pub(crate) cache: Option<Arc<dyn CompiledCache>>,
    pub(crate) limits: Limits,
    pub(crate) grants: Vec<PluginGrant>,
    pub(crate) seed: u64,
    pub(crate) yields: bool,
}

impl Host {
    /// A host that reaches the world through these ports. Starts no thread yet.
    ///
    /// # Errors
    /// Where this machine can't run compiled WebAssembly.
    pub fn new(config: HostConfig, ports: HostPorts) -> Result<Arc<Self>, Failure> {
        let workshop = match config.workshop {
            Some(workshop) => workshop,
            None => Workshop::new()?,
        };
        Ok(Arc::new(Self {
            workshop,
            ports: Arc::new(ports),
            cache: config.cache,
            limits: config.limits,
            grants: config.grants,
            seed: config.seed,
            yields: config.yields,
        }))
    }

    /// The plugins of a release. Each is compiled and checked when it is first used, or all at once
    /// by [`PluginSet::prepare`]. Of two components of one name the later counts.
    #[must_use]
    pub fn load(self: &Arc<Self>, components: Vec<Component>, grants: Grants) -> PluginSet {
        PluginSet::new(Arc::clone(self), components, grants)
    }

    /// The engine with the settings under which plugins run, for whoever compares the host with
    /// wasmtime alone. Its epoch goes up only while plugins are called through the host.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.workshop.tools().engine
    }
}
