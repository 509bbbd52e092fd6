//! The real adapters: everything by which the engine reaches the world when it isn't a rehearsal.
//!
//! | Module | Implements | By |
//! |---|---|---|
//! | [`kubernetes`] | `Cluster`, `Leases`, `Objects` | requests through a [`kube::Client`] |
//! | [`http`] | `Http` | hyper, or the simulated cluster's own HTTP |
//! | [`clock`] | `Clock` | the machine's clock, or a multiple of its speed |
//! | [`credentials`] | `Credentials` | environment variables and files |
//! | [`identity`], [`entropy`] | who runs the engine; names that nobody else has | the operating system |
//! | [`connect`] | clients for real clusters, and for simulated ones in another process or in this one | `kube` |
//!
//! Start reading at [`kubernetes::KubeCluster`]. The rehearsal uses it too, with a client whose
//! service is the simulated cluster, so that the adapter under rehearsal is the one in production.
//!
//! Nothing here tries anything again by itself, but for a write that met a newer version of its
//! object: whether and when to ask again is the core's decision.

pub mod clock;
pub mod connect;
pub mod credentials;
pub mod entropy;
pub mod http;
pub mod identity;
pub mod kubernetes;
