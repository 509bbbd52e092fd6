//! What several of the shipped plugins have in common. This crate is no plugin.

mod deployment;
pub mod gates;
pub mod limits;
mod released;
pub mod share;
pub mod tail;
#[cfg(feature = "testing")]
pub mod testing;
pub mod traffic;

pub use deployment::Deployment;
pub use released::not_released;
