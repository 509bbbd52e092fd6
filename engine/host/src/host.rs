//! The host: one wasmtime engine, one linker, and what all plugins share.

use std::sync::Arc;

use phasegate_core::failure::Failure;
use phasegate_runtime::plugin_ports::{CompiledCache, Grants};
use phasegate_runtime::ports::Component;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::limits::Limits;
use crate::set::PluginSet;
use crate::state::{HostPorts, State};
use crate::ticker::Ticker;
use crate::{capability, engine, fault};

/// How a host is made.
#[derive(Clone)]
pub struct HostConfig {
    /// What one call may use.
    pub limits: Limits,
    /// Where compiled plugins are kept; none compiles them at each start.
    pub cache: Option<Arc<dyn CompiledCache>>,
    /// What plugins' randomness follows from, with the key of the call: the scenario's seed in a
    /// rehearsal, an unpredictable number in production.
    pub seed: u64,
    /// Whether a plugin that computes for long lets other tasks of the executor have their turn. Off
    /// in a rehearsal: when it does so depends on the machine, and a transcript must not.
    pub yields: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache: None,
            seed: 0,
            yields: true,
        }
    }
}

/// Loads plugins. One per process is enough, and cheap to share.
pub struct Host {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) ports: Arc<HostPorts>,
    pub(crate) cache: Option<Arc<dyn CompiledCache>>,
    pub(crate) limits: Limits,
    pub(crate) ticker: Ticker,
    pub(crate) seed: u64,
    pub(crate) yields: bool,
}

impl Host {
    /// A host that reaches the world through these ports. Starts no thread yet.
    ///
    /// # Errors
    /// Where this machine can't run compiled WebAssembly.
    pub fn new(config: HostConfig, ports: HostPorts) -> Result<Arc<Self>, Failure> {
        let broken = |e: wasmtime::Error| {
            fault::internal(format!("no engine for plugins: {}", fault::chain(&e)))
        };
        let engine = engine::engine().map_err(broken)?;
        let linker = capability::linker(&engine).map_err(broken)?;
        let ticker = Ticker::new(&engine);
        Ok(Arc::new(Self {
            engine,
            linker,
            ports: Arc::new(ports),
            cache: config.cache,
            limits: config.limits,
            ticker,
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
        &self.engine
    }
}
