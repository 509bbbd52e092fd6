//! Leases that another engine can take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use phasegate_core::time::Timestamp;
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{Grant, Holder, LeaseError, Leases};

/// Leases of which it is known who took one last, so that it can be taken from them.
pub(super) struct WatchedLeases {
    inner: Arc<dyn Leases>,
    last: Mutex<Option<(Target, Holder)>>,
}

impl WatchedLeases {
    pub(super) fn new(inner: Arc<dyn Leases>) -> Self {
        let last = Mutex::default();
        Self { inner, last }
    }
}

impl WatchedLeases {
    fn last(&self) -> MutexGuard<'_, Option<(Target, Holder)>> {
        // A holder that panicked left plain data behind.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An engine of the same seat takes the lease over, as one does whose predecessor is held for dead.
    pub(super) async fn take_over(&self) {
        let last = self.last().clone();
        if let Some((target, holder)) = last {
            let other = Holder {
                engine: "engine-that-took-over".to_owned(),
                ..holder
            };
            // Where it can't be had, the write goes through and nothing was tried: the table of requests tells.
            drop(self.inner.acquire(&target, &other).await);
        }
    }
}

#[async_trait]
impl Leases for WatchedLeases {
    async fn acquire(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError> {
        *self.last() = Some((target.clone(), holder.clone()));
        self.inner.acquire(target, holder).await
    }

    async fn take_again(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError> {
        *self.last() = Some((target.clone(), holder.clone()));
        self.inner.take_again(target, holder).await
    }

    async fn renew(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<Grant, LeaseError> {
        self.inner.renew(target, holder, grant).await
    }

    async fn release(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<(), LeaseError> {
        self.inner.release(target, holder, grant).await
    }

    async fn holder(&self, target: &Target) -> Result<Option<(Holder, Timestamp)>, LeaseError> {
        self.inner.holder(target).await
    }
}
