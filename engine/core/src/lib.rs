//! The pure heart of Phasegate: no clock, no I/O, no async.

pub mod approval;
pub mod config;
pub mod diagnostic;
pub mod effect;
pub mod event;
pub mod failure;
pub mod judge;
pub mod plan;
pub mod planning;
pub mod run;
pub mod spec;
pub mod strategy;
pub mod time;
pub mod verdict;
pub mod window;
pub mod workload;
pub mod yaml;
