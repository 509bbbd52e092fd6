//! The journal in a cluster, on the simulated one: what every journal must do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use phasegate_core::time::Timestamp;
use phasegate_rehearsal::cluster::{Cluster, Config};
use phasegate_rehearsal::server::{ClusterService, Now, SharedCluster};
use phasegate_runtime::ports::Clock;
use phasegate_runtime::shelf::Shelf;
use phasegate_store::SegmentJournal;
use phasegate_store::chain::Row;
use phasegate_store::segments::MAX_SHEET_BYTES;
use phasegate_world::clock::SystemClock;
use phasegate_world::connect::client_from_service;
use phasegate_world::kubernetes::{KubeCluster, Options};

use rules::Place;

#[path = "../engine/store/tests/support/damage.rs"]
mod damage;
#[path = "../engine/store/tests/contract/rules.rs"]
mod rules;

/// The time on the wall.
struct Wall;

#[async_trait]
impl Now for Wall {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        SystemClock.sleep_until(at).await;
    }
}

/// A simulated cluster, which each process reaches by a client of its own.
struct Simulated {
    cluster: SharedCluster,
    processes: AtomicU64,
}

impl Simulated {
    fn new() -> Self {
        let cluster = Cluster::new(Config::default());
        Self {
            cluster: SharedCluster::new(cluster, Arc::new(Wall)),
            processes: AtomicU64::new(0),
        }
    }

    fn shelf(&self) -> impl Shelf + use<> {
        let service = ClusterService::new(self.cluster.clone());
        let client = client_from_service(service, "default");
        KubeCluster::new(client, Arc::new(SystemClock), Options::default()).shelf("default")
    }
}

impl Place for Simulated {
    type Opened = SegmentJournal;

    fn open(&self) -> SegmentJournal {
        let process = self.processes.fetch_add(1, Ordering::SeqCst);
        let shelf = Arc::new(self.shelf());
        SegmentJournal::new(shelf, Arc::new(SystemClock), format!("process-{process}"))
    }

    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
        damage::damage(&self.shelf(), run, damage).await;
    }

    fn most(&self) -> usize {
        MAX_SHEET_BYTES
    }
}

mod simulated {
    crate::contract!(super::Simulated::new());
}
