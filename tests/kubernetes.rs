//! The control plane for tests, as everything that is tested on it must find it: what Deployments, Jobs
//! and routes do is Kubernetes' own, what pods do is as `tools/cluster/README.md` says.
//!
//! And the engine on it (`engine`): the program itself, as people start it.
//!
//! `cargo xtask test` starts the cluster and builds the program. By hand: `cargo xtask cluster up`,
//! `cargo build --workspace`, then `cargo test --workspace --features phasegate-tests/kubernetes --test kubernetes`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the suite starts kubectl and phasegate, writes files and waits for a real cluster"
)]

#[path = "kubernetes/acts.rs"]
mod acts;
#[path = "kubernetes/agree/mod.rs"]
mod agree;
#[path = "kubernetes/applying.rs"]
mod applying;
#[path = "kubernetes/away.rs"]
mod away;
#[path = "kubernetes/both/mod.rs"]
mod both;
#[path = "kubernetes/copies.rs"]
mod copies;
#[path = "kubernetes/customers.rs"]
mod customers;
#[path = "../engine/store/tests/support/damage.rs"]
mod damage;
#[path = "kubernetes/definitions.rs"]
mod definitions;
#[path = "kubernetes/desk.rs"]
mod desk;
#[path = "kubernetes/engine.rs"]
mod engine;
#[path = "kubernetes/engines.rs"]
mod engines;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "kubernetes/in_cluster.rs"]
mod in_cluster;
#[path = "kube_adapter/line.rs"]
mod line;
#[path = "kubernetes/logs.rs"]
mod logs;
#[path = "kubernetes/others.rs"]
mod others;
#[path = "kubernetes/plane.rs"]
mod plane;
#[path = "kubernetes/pods.rs"]
mod pods;
#[path = "kubernetes/proxy.rs"]
mod proxy;
#[path = "kubernetes/remains.rs"]
mod remains;
#[path = "kubernetes/renderers.rs"]
mod renderers;
#[path = "kubernetes/rights.rs"]
mod rights;
#[path = "kubernetes/rights_away.rs"]
mod rights_away;
#[path = "kubernetes/rights_later.rs"]
mod rights_later;
#[path = "kubernetes/rotation.rs"]
mod rotation;
#[path = "kubernetes/routers.rs"]
mod routers;
#[path = "../engine/store/tests/contract/rules.rs"]
mod rules;
#[path = "kubernetes/space.rs"]
mod space;
#[path = "kubernetes/tokens.rs"]
mod tokens;
#[path = "kubernetes/traffic.rs"]
mod traffic;
#[path = "kubernetes/watches.rs"]
mod watches;
