//! What several of the shipped plugins have in common. This crate is no plugin.

pub mod limits;
pub mod tail;
