//! The simulated world: a Kubernetes cluster as a state machine, and ways to talk to it.
//!
//! Start reading at [`cluster::Cluster`], which decides everything, then [`server`], which lets
//! clients in this process and in others talk to it.

pub mod cluster;
pub mod explore;
pub mod misfortune;
pub mod network;
pub mod observer;
pub mod rehearse;
pub mod scenario;
pub mod server;
pub mod story;
pub mod trouble;
pub mod troubled;
pub mod web;
pub mod witness;
