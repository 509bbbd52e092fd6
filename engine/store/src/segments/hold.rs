//! The slip: which process drives a run, and where its journal ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::JournalError;
use phasegate_runtime::shelf::{HOLD, ShelfError, Slip};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::shelf::{DRIVING_PATIENCE, failed, may_pass};
use super::{Inner, Known, records};

/// How often a slip that others change is read again before it is left to them.
const ATTEMPTS: u32 = 4;
/// How long one that was just let go of may take to be free.
const BRIEFLY: Span = Span::from_millis(300);

/// Slips that are being let go of, and who waits for that.
static LEAVING: AtomicUsize = AtomicUsize::new(0);
static LEFT: Notify = Notify::const_new();

/// Counts a slip that is being let go of, whether that comes to its end or is broken off with its runtime.
struct Leaving;

impl Leaving {
    fn new() -> Self {
        LEAVING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        LEAVING.fetch_sub(1, Ordering::SeqCst);
        LEFT.notify_waiters();
    }
}

/// Waits until every slip that this process let go of is free, so that the next engine need not wait. To be bounded in
/// time by the caller: a slip that can't be let go of runs out.
pub async fn let_go() {
    loop {
        let left = LEFT.notified();
        if LEAVING.load(Ordering::SeqCst) == 0 {
            return;
        }
        left.await;
    }
}

/// How this process holds a run that it drives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tenure {
    /// Nobody else takes the slip before this time.
    until: Timestamp,
    /// Somebody else has taken it: whatever this process knows of the run is worth nothing.
    lost: bool,
}

/// Held while a run is driven: the slip is renewed meanwhile, and let go of in the end.
struct Hold {
    inner: Arc<Inner>,
    run: String,
    renewing: JoinHandle<()>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.renewing.abort();
        self.inner.driven().remove(&self.run);
        let (inner, run) = (Arc::clone(&self.inner), self.run.clone());
        // Outside of a runtime nobody can be told; the slip runs out.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let leaving = Leaving::new();
        runtime.spawn(async move {
            inner.release(&run).await;
            drop(leaving);
        });
    }
}

/// Becomes the process that drives the run.
pub(super) async fn take(
    inner: &Arc<Inner>,
    run: &str,
) -> Result<Box<dyn Send + Sync>, JournalError> {
    let in_use = || JournalError::InUse(run.to_owned());
    {
        let mut driven = inner.driven();
        if driven.contains_key(run) {
            return Err(in_use());
        }
        driven.insert(run.to_owned(), Tenure::default());
    }
    let taken = take_slip(inner, run).await;
    if taken.is_err() {
        inner.driven().remove(run);
    }
    taken
}

async fn take_slip(inner: &Arc<Inner>, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
    let in_use = || JournalError::InUse(run.to_owned());
    let mut waited = false;
    for _ in 0..ATTEMPTS {
        let mut runs = inner.known().await;
        let found = inner.asked(|| inner.shelf.slip(run)).await?;
        let now = inner.clock.now();
        let anothers = |slip: &Slip| slip.is_held(now) && slip.holder != inner.process;
        if found.as_ref().is_some_and(anothers) {
            drop(runs);
            if waited {
                return Err(in_use());
            }
            waited = true;
            inner.clock.sleep_until(now.plus(BRIEFLY)).await;
            continue;
        }
        let wanted = Slip {
            run: run.to_owned(),
            holder: inner.process.clone(),
            renewed: now,
            ..found.unwrap_or_default()
        };
        match inner.shelf.write(&wanted).await {
            Ok(slip) => {
                inner.noted(&slip);
                if let Some(known) = runs.get_mut(run) {
                    known.slip = Some(slip);
                }
                return Ok(Box::new(Hold {
                    inner: Arc::clone(inner),
                    run: run.to_owned(),
                    renewing: tokio::spawn(renew(Arc::clone(inner), run.to_owned())),
                }));
            }
            // Who was quicker drives, or one that was sent before and not answered was this process's own.
            Err(ShelfError::Changed | ShelfError::Exists | ShelfError::Unknown(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(in_use())
}

/// Renews the slip for as long as it is this process's.
async fn renew(inner: Arc<Inner>, run: String) {
    loop {
        let third = Span::from_millis(HOLD.as_millis() / 3);
        let now = inner.clock.now();
        inner.clock.sleep_until(now.plus(third)).await;
        let mut runs = inner.known().await;
        let known = runs.get_mut(&run).and_then(|known| known.slip.clone());
        let slip = match known {
            Some(slip) => Some(slip),
            None => inner.shelf.slip(&run).await.ok().flatten(),
        };
        let Some(slip) = slip else { continue };
        if slip.holder != inner.process {
            // An engine that stalled for too long is told so at its next look into the inbox.
            inner.noted(&slip);
            return;
        }
        // An append has renewed it already.
        if slip.renewed.plus(third) > inner.clock.now() {
            continue;
        }
        let renewed = Slip {
            renewed: inner.clock.now(),
            ..slip
        };
        let written = inner.shelf.write(&renewed).await.ok();
        if let Some(slip) = &written {
            inner.noted(slip);
        }
        if let Some(known) = runs.get_mut(&run) {
            // What can't be told is read the next time.
            known.slip = written;
        }
    }
}

impl Inner {
    /// Notes where the journal ends, and that this process still drives it. That it can't is no fault: the next append
    /// brings the slip forward.
    pub(super) async fn anchor(&self, run: &str, known: &mut Known) {
        for _ in 0..ATTEMPTS {
            let read = match known.slip.take() {
                Some(slip) => Some(slip),
                None => match self.shelf.slip(run).await {
                    Ok(read) => read,
                    Err(_) => return,
                },
            };
            let mut slip = read.unwrap_or_default();
            let noted = records::anchored(&slip.note);
            if noted.is_some_and(|noted| noted.seq >= known.head.seq) {
                known.slip = Some(slip);
                return;
            }
            run.clone_into(&mut slip.run);
            slip.note = records::note(&known.head);
            if slip.version.is_empty() && self.drives(run) {
                // Somebody took it away.
                slip.holder.clone_from(&self.process);
            }
            if slip.holder == self.process {
                slip.renewed = self.clock.now();
            }
            match self.shelf.write(&slip).await {
                Ok(written) => {
                    self.noted(&written);
                    known.slip = Some(written);
                    return;
                }
                Err(ShelfError::Changed | ShelfError::Exists) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether this process drives the run, for all that it knows.
    pub(super) fn drives(&self, run: &str) -> bool {
        self.driven().contains_key(run)
    }

    /// Refuses to go on with a run that this process drove and another has taken since. While its slip lasts nobody
    /// can have; after that it is asked for, and renewed before anything is written: an engine that stalled writes
    /// nothing into the way of the one that followed it.
    pub(super) async fn confirm(&self, run: &str) -> Result<(), JournalError> {
        let mut attempts = self.attempts(DRIVING_PATIENCE);
        loop {
            let tenure = self.driven().get(run).copied();
            match tenure {
                None => return Ok(()),
                Some(tenure) if tenure.lost => return Err(JournalError::InUse(run.to_owned())),
                Some(tenure) if self.clock.now() < tenure.until => return Ok(()),
                Some(_) => {}
            }
            let found = self.asked_of(run, || self.shelf.slip(run)).await?;
            if let Some(slip) = found.as_ref().filter(|slip| slip.holder != self.process) {
                self.noted(slip);
                continue;
            }
            let renewed = Slip {
                run: run.to_owned(),
                holder: self.process.clone(),
                renewed: self.clock.now(),
                ..found.unwrap_or_default()
            };
            match self.shelf.write(&renewed).await {
                Ok(written) => self.noted(&written),
                Err(error) => {
                    let again = matches!(error, ShelfError::Changed | ShelfError::Exists);
                    if !(again || may_pass(&error)) || !attempts.again(&error).await {
                        return Err(failed(error));
                    }
                }
            }
        }
    }

    /// Notes what a slip says of a run that this process drives.
    fn noted(&self, slip: &Slip) {
        if let Some(tenure) = self.driven().get_mut(&slip.run) {
            if slip.holder == self.process {
                tenure.until = slip.renewed.plus(HOLD);
            } else {
                tenure.lost = true;
            }
        }
    }

    fn driven(&self) -> MutexGuard<'_, BTreeMap<String, Tenure>> {
        // A map is whole whatever its last user did.
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the slip, if it is this process's.
    async fn release(&self, run: &str) {
        let mut runs = self.known().await;
        if self.drives(run) {
            // It was taken again meanwhile.
            return;
        }
        if let Some(known) = runs.get_mut(run) {
            known.slip = None;
        }
        for _ in 0..ATTEMPTS {
            let Ok(Some(slip)) = self.shelf.slip(run).await else {
                return;
            };
            if slip.holder != self.process {
                return;
            }
            let free = Slip {
                holder: String::new(),
                ..slip
            };
            match self.shelf.write(&free).await {
                Err(ShelfError::Changed) => {}
                _ => return,
            }
        }
    }
}
