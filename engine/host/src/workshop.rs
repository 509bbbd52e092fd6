//! What hosts can share, whatever world each of them reaches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::failure::Failure;
use phasegate_runtime::ports::{Capability, Component};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::host::Host;
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::state::State;
use crate::ticker::Ticker;
use crate::{capability, engine, fault};

/// Most loaded plugins that are kept for other hosts; those that were loaded first go first.
const MAX_PLUGINS: usize = 64;

/// The engine, the linker and the plugins that were loaded with them.
///
/// A plugin that one host has loaded is there for the others as well: nothing that is kept of it
/// knows of a world. Whoever makes many hosts, as rehearsals do, gives them one workshop; a host
/// that is given none makes one for itself. Cheap to clone; clones are the same workshop.
#[derive(Clone)]
pub struct Workshop(Arc<Tools>);

pub(crate) struct Tools {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) ticker: Ticker,
    // A few plugins at most: looking through them costs less than what a call of one costs.
    loaded: Mutex<Vec<(Key, Arc<Plugin>)>>,
}

/// All that loading depends on. Two plugins are one only if they agree in all of it.
#[derive(PartialEq, Eq)]
struct Key {
    name: String,
    source: String,
    digest: String,
    grants: Vec<Capability>,
    limits: Limits,
}

impl Workshop {
    /// An engine, and no plugins yet. Starts no thread.
    ///
    /// # Errors
    /// Where this machine can't run compiled WebAssembly.
    pub fn new() -> Result<Self, Failure> {
        let broken = |e: wasmtime::Error| {
            fault::internal(format!("no engine for plugins: {}", fault::chain(&e)))
        };
        let engine = engine::engine().map_err(broken)?;
        let linker = capability::linker(&engine).map_err(broken)?;
        let ticker = Ticker::new(&engine);
        Ok(Self(Arc::new(Tools {
            engine,
            linker,
            ticker,
            loaded: Mutex::default(),
        })))
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.0
    }

    /// The component as a plugin: as it was loaded before, or loaded now through `host`. A failure
    /// isn't kept: reading a cache or compiling may succeed the next time.
    pub(crate) async fn plugin(
        &self,
        host: &Host,
        component: &Component,
        grants: &[Capability],
    ) -> Result<Arc<Plugin>, Failure> {
        let key = Key {
            name: component.name.clone(),
            source: component.source.clone(),
            digest: component.digest.clone(),
            grants: grants.to_vec(),
            limits: host.limits,
        };
        if let Some((_, plugin)) = self.loaded().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(plugin));
        }
        // Two hosts that load the same at once do so twice, and neither waits for the other.
        let plugin = Arc::new(Plugin::load(host, component, grants).await?);
        let mut loaded = self.loaded();
        if loaded.len() >= MAX_PLUGINS {
            loaded.remove(0);
        }
        loaded.push((key, Arc::clone(&plugin)));
        Ok(plugin)
    }

    fn loaded(&self) -> MutexGuard<'_, Vec<(Key, Arc<Plugin>)>> {
        // A holder that panicked left whole entries behind.
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
