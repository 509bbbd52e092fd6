//! What several of the shipped plugins have in common. This crate is no plugin.

pub mod actions;
mod autoscaler;
mod deployment;
pub mod gates;
pub mod job;
pub mod limits;
mod pods;
mod released;
pub mod share;
pub mod tail;
#[cfg(feature = "testing")]
pub mod testing;
pub mod timestamp;
mod token;
pub mod traffic;

pub use autoscaler::{Autoscaler, Bounds};
pub use deployment::Deployment;
pub use released::not_released;
pub use token::token;
