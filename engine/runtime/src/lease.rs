//! Keeping the lease of a target while a run is driven.

use std::sync::Arc;

use futures::future::BoxFuture;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::Target;

use crate::ports::{Clock, Grant, Holder, LEASE_RENEWAL, LeaseError, Leases};

/// How long to wait after a renewal that got no answer.
const RETRY: Span = Span::from_secs(1);

/// A lease that is held and renewed.
pub struct Keeper {
    leases: Arc<dyn Leases>,
    target: Target,
    holder: Holder,
    grant: Grant,
    next: Timestamp,
    renewing: Option<BoxFuture<'static, Result<Grant, LeaseError>>>,
}

impl Keeper {
    /// Takes the lease.
    ///
    /// # Errors
    /// [`LeaseError::Held`] where another engine drives.
    pub async fn acquire(
        leases: Arc<dyn Leases>,
        clock: &dyn Clock,
        target: Target,
        holder: Holder,
    ) -> Result<Self, LeaseError> {
        let grant = leases.acquire(&target, &holder).await?;
        let next = clock.now().plus(LEASE_RENEWAL);
        Ok(Self {
            leases,
            target,
            holder,
            grant,
            next,
            renewing: None,
        })
    }

    /// The epoch that the lease gave.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.grant.epoch
    }

    /// Whether the lease holds by this engine's own view.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.grant.expires
    }

    /// Waits until there is something to do about the lease, and does it. Cancel-safe: a renewal that
    /// was begun goes on at the next call. Returns when the lease was renewed, or can't be.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] or [`LeaseError::Held`] where another engine has it now. An answer that
    /// did not come is tried again, so it is no error; [`Keeper::holds`] tells whether it matters.
    pub async fn keep(&mut self, clock: &dyn Clock) -> Result<(), LeaseError> {
        if self.renewing.is_none() {
            clock.sleep_until(self.next).await;
            let (leases, target) = (self.leases.clone(), self.target.clone());
            let (holder, grant) = (self.holder.clone(), self.grant.clone());
            self.renewing = Some(Box::pin(async move {
                leases.renew(&target, &holder, &grant).await
            }));
        }
        let Some(renewing) = self.renewing.as_mut() else {
            return Ok(());
        };
        let answer = renewing.await;
        self.renewing = None;
        match answer {
            Ok(grant) => {
                self.grant = grant;
                self.next = clock.now().plus(LEASE_RENEWAL);
                Ok(())
            }
            Err(LeaseError::Failed(_)) => {
                self.next = clock.now().plus(RETRY);
                Ok(())
            }
            Err(taken) => Err(taken),
        }
    }

    /// Takes the lease anew after it ran out, with a new epoch.
    ///
    /// # Errors
    /// As [`Keeper::acquire`].
    pub async fn take_again(&mut self, clock: &dyn Clock) -> Result<(), LeaseError> {
        self.renewing = None;
        self.grant = self.leases.acquire(&self.target, &self.holder).await?;
        self.next = clock.now().plus(LEASE_RENEWAL);
        Ok(())
    }

    /// Gives the lease back. That it could not be is no fault: it runs out.
    pub async fn give_back(self) {
        drop(self.renewing);
        let _ = self
            .leases
            .release(&self.target, &self.holder, &self.grant)
            .await;
    }
}
