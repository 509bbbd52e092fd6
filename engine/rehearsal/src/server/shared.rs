//! A cluster that several tasks talk to.

use std::sync::{Arc, Mutex, PoisonError};

use phasegate_core::time::Timestamp;
use tokio::sync::watch;

use super::clock::Now;
use crate::cluster::{Cluster, Reply, Request};

/// A handle on a cluster and its clock; clones share both.
#[derive(Clone)]
pub struct SharedCluster {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Mutex<Cluster>,
    clock: Arc<dyn Now>,
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for SharedCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCluster")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl SharedCluster {
    /// Shares a cluster that lives by a clock.
    #[must_use]
    pub fn new(cluster: Cluster, clock: Arc<dyn Now>) -> Self {
        let (changes, _) = watch::channel(0);
        Self {
            inner: Arc::new(Inner {
                cluster: Mutex::new(cluster),
                clock,
                changes,
            }),
        }
    }

    /// The clock it lives by.
    #[must_use]
    pub fn clock(&self) -> &dyn Now {
        &*self.inner.clock
    }

    /// What time it is in the cluster.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Does something with the cluster as it is now; what was due by now has happened before.
    pub fn with<R>(&self, act: impl FnOnce(&mut Cluster) -> R) -> R {
        // A panic elsewhere can't leave the lock useless: each operation on the cluster is complete in itself.
        let mut cluster = self
            .inner
            .cluster
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = (cluster.version(), cluster.next_due());
        cluster.advance(self.inner.clock.now());
        let out = act(&mut cluster);
        let after = (cluster.version(), cluster.next_due());
        drop(cluster);
        if before != after {
            self.inner
                .changes
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        out
    }

    /// Answers a request as of now.
    #[must_use]
    pub fn handle(&self, request: &Request) -> Reply {
        let now = self.now();
        self.with(|cluster| cluster.handle(now, request))
    }

    /// Tells when something changed, or is due at another time than before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Keeps the cluster going for as long as it is polled. In-process clients don't need it: each
    /// request brings the cluster up to date first.
    pub async fn run(&self) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let due = self.with(|cluster| cluster.next_due());
            self.wait(due, &mut changes).await;
        }
    }

    /// Returns when it is that time, or when something changed.
    pub(super) async fn wait(&self, until: Option<Timestamp>, changes: &mut watch::Receiver<u64>) {
        let sleep = async {
            match until {
                Some(at) => self.inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            // The sender lives as long as this handle.
            _ = changes.changed() => {}
        }
    }
}
