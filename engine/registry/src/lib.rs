//! Where plugins come from: built into the engine or a file; and where compiled ones are kept.
//!
//! [`Registry::resolve`] turns what a release says of a plugin into its bytes, checked against the
//! digest that the release gives, and refuses what can't be a component. [`DirCache`] keeps compiled
//! plugins between two starts of the engine. [`Kind`] says what a file is.

mod cache;
mod files;
mod kind;
mod registry;

pub use cache::{CacheError, DirCache, MAX_CACHE_BYTES, default_cache_dir};
pub use kind::Kind;
pub use registry::{BuiltIn, MAX_PLUGIN_BYTES, Registry, digest};
