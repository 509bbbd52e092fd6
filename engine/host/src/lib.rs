//! The wasmtime host: loads, links, limits and calls plugins.
//!
//! [`Host`] is made once per world; [`Host::load`] takes the components of a release and gives a
//! [`PluginSet`], which is the engine's port `Plugins`. Start reading at `set.rs` (the calls by
//! kind), then `call.rs` (one call from a fresh instance to its end) and `plugin.rs` (loading).
//!
//! What holds here:
//! - **A plugin can't harm the engine.** Whatever it does ends in a result or a `Failure` with a code.
//! - **Every call starts anew**, from code compiled once, on an instance that nobody used before.
//! - **Rights are per call**: what the kind's contract allows, the plugin asks for and the operator
//!   grants. The rest is linked too, and answers with the line that would allow it.
//! - **A strategy is pure**: its clock and its randomness stand still.
//! - **A plugin never sees a secret**: it names a credential, and `capability/exchange.rs` adds it.
//! - **Every request over HTTP goes one way**, whether it is one of `phasegate:host/http` or of
//!   `wasi:http`: through `capability/exchange.rs` to the engine's port. The host opens no socket.
//!
//! Not here yet: a runner and artifacts for plugins, and calls of migrators and actions, which are
//! checked at load and otherwise wait for their port.

mod act;
mod authority;
mod bindings;
mod call;
mod capability;
mod compiled;
mod convert;
mod engine;
mod fault;
mod grants;
mod host;
mod json;
mod kind;
pub mod limits;
mod meter;
mod plugin;
mod rights;
mod route;
mod schema;
mod set;
mod state;
mod surface;
mod ticker;
mod wasi;
mod workshop;

pub use host::{Host, HostConfig};
pub use kind::Kind;
pub use limits::Limits;
pub use set::PluginSet;
pub use state::HostPorts;
pub use workshop::Workshop;
