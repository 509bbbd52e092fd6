//! Keeping the lease of a target while a run is driven.

use std::sync::Arc;

use futures::future::BoxFuture;
use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::Target;

use crate::ports::{Clock, Grant, Holder, LeaseError, Leases};

/// How long to wait after a renewal that got no answer.
const RETRY: Span = Span::from_secs(1);
/// How long to wait before an expired lease is asked for again.
const TAKE_RETRY: Span = Span::from_secs(2);

type Asking = BoxFuture<'static, Result<Grant, LeaseError>>;

/// A third of the time that is left: two renewals may fail before it matters.
fn renewal(now: Timestamp, grant: &Grant) -> Timestamp {
    now.plus(Span::from_millis(grant.expires.since(now).as_millis() / 3))
}

/// A lease that is held and renewed.
pub struct Keeper {
    leases: Arc<dyn Leases>,
    target: Target,
    holder: Holder,
    grant: Grant,
    /// No epoch up to this one may be used again, even where the cluster has forgotten about it.
    floor: u64,
    next: Timestamp,
    renewing: Option<Asking>,
    /// The lease has run out and is asked for again: at this time at the earliest.
    take_at: Timestamp,
    taking: Option<Asking>,
    /// Why the lease could not be had the last time that it was asked for.
    trouble: Option<Failure>,
}

impl Keeper {
    /// Takes the lease. Its epoch is above `floor`, the last epoch that the journal knows of: a lease
    /// that somebody deleted would count from the beginning.
    ///
    /// # Errors
    /// [`LeaseError::Held`] where another engine drives.
    pub async fn acquire(
        leases: Arc<dyn Leases>,
        clock: &dyn Clock,
        target: Target,
        holder: Holder,
        floor: u64,
    ) -> Result<Self, LeaseError> {
        let grant = leases.acquire(&target, &holder).await?;
        let mut keeper = Self::without(leases, target, holder, floor);
        keeper.next = renewal(clock.now(), &grant);
        keeper.grant = grant;
        Ok(keeper)
    }

    /// No lease yet.
    #[must_use]
    pub fn without(leases: Arc<dyn Leases>, target: Target, holder: Holder, floor: u64) -> Self {
        Self {
            leases,
            target,
            holder,
            grant: Grant {
                epoch: 0,
                expires: Timestamp::ZERO,
            },
            floor,
            next: Timestamp::ZERO,
            renewing: None,
            take_at: Timestamp::ZERO,
            taking: None,
            trouble: None,
        }
    }

    /// Why the lease could not be had, where asking for it failed the last time.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// The epoch that the lease gave.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        let least = self.floor.saturating_add(1);
        if self.grant.epoch > least {
            self.grant.epoch
        } else {
            least
        }
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
                self.next = renewal(clock.now(), &self.grant);
                self.trouble = None;
                Ok(())
            }
            Err(LeaseError::Failed(failure)) => {
                self.trouble = Some(failure);
                self.next = clock.now().plus(RETRY);
                Ok(())
            }
            Err(taken) => Err(taken),
        }
    }

    /// Takes the lease anew after it ran out, with a new epoch. Returns whether it is held again; where the
    /// cluster didn't answer it is asked again later, by the next call. Cancel-safe: a request that was
    /// begun goes on at the next call.
    ///
    /// # Errors
    /// [`LeaseError::Held`] where another engine has it now.
    pub async fn take_again(&mut self, clock: &dyn Clock) -> Result<bool, LeaseError> {
        self.renewing = None;
        if self.taking.is_none() {
            clock.sleep_until(self.take_at).await;
            let (leases, target) = (self.leases.clone(), self.target.clone());
            let holder = self.holder.clone();
            self.taking = Some(Box::pin(async move {
                leases.take_again(&target, &holder).await
            }));
        }
        let Some(taking) = self.taking.as_mut() else {
            return Ok(false);
        };
        let answer = taking.await;
        self.taking = None;
        self.take_at = Timestamp::ZERO;
        match answer {
            Ok(grant) => {
                // Only now: an epoch that ran ahead of the lease's count would not be fenced by it.
                self.floor = self.epoch();
                self.grant = grant;
                self.next = renewal(clock.now(), &self.grant);
                self.trouble = None;
                Ok(true)
            }
            Err(LeaseError::Failed(failure)) => {
                self.trouble = Some(failure);
                self.take_at = clock.now().plus(TAKE_RETRY);
                Ok(false)
            }
            Err(taken) => Err(taken),
        }
    }

    /// Gives the lease back. That it could not be is no fault: it runs out.
    pub async fn give_back(self) {
        drop((self.renewing, self.taking));
        if self.grant.expires == Timestamp::ZERO {
            return;
        }
        let _ = self
            .leases
            .release(&self.target, &self.holder, &self.grant)
            .await;
    }
}
