//! The one loop: take what happened, journal it, let the core decide, perform what it decided.

use std::sync::Arc;

use phasegate_core::diagnostic::codes;
use phasegate_core::event::{Event, Identity, Record};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::Plan;
use phasegate_core::run::{Illegal, Run};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::window::{self, Decision};
use phasegate_core::workload::Target;
use tokio::sync::mpsc;

use crate::lease::Keeper;
use crate::perform::{self, World};
use crate::ports::{
    ChangeError, Head, Holder, Journal, JournalError, LeaseError, Leases, RunEntry,
};

mod drive;
mod patience;

use drive::Drive;

/// How often the inbox is looked at.
pub const INBOX_POLL: Span = Span::from_millis(500);
/// How often the lease of a run that is over is asked for, and how long it may outlast its end.
const LEASE_GRACE: Span = Span::from_secs(1);
/// Pages of commands that are looked through for one that has no answer.
const MAX_INBOX_PAGES: usize = 1000;

/// Why an engine could not drive, or stopped driving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another engine drives the target.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Another run holds the target.
    #[error("run {run} holds {target}, started by {started_by}")]
    Busy {
        /// The run.
        run: String,
        /// Who started it.
        started_by: String,
        /// What it holds.
        target: String,
    },
    /// The policy's calendar does not allow the release to begin now.
    #[error("{reason}")]
    Window {
        /// Why.
        reason: String,
        /// When it does, if that is in sight.
        opens_at: Option<Timestamp>,
    },
    /// A later engine has written to the target.
    #[error("a later engine drives this target: {0}")]
    Fenced(String),
    /// The cluster could not be asked who holds the target.
    #[error(transparent)]
    Cluster(#[from] phasegate_core::failure::Failure),
    /// The journal holds what this engine would not have written, or the engine is at fault.
    #[error("the run can't go on: {0}")]
    Illegal(#[from] Illegal),
}

/// How a drive ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The run is at an end, or stuck and in people's hands.
    Resting,
    /// People are awaited, and the caller does not want to wait with them.
    Waiting,
    /// A signal, or a lost lease: the run goes on with `resume`.
    Interrupted,
}

/// What may reach a driving engine from its own process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Leave; the run stays as it is. Names the cause.
    Leave(String),
    /// Abort the run, and go on driving until it is back.
    Abort(Identity, String),
    /// Look into the inbox now.
    Inbox,
}

/// Who watches a drive.
pub trait Observer: Send {
    /// Called after each record: its number, itself, and the run after it.
    fn recorded(&mut self, seq: u64, record: &Record, run: &Run);
    /// Called when nothing is done until what is lacking can be had again. Once each time.
    fn held_up(&mut self, _lack: Lack, _failure: &Failure) {}
}

/// What an engine can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The lease has run out, and asking for it fails.
    Lease,
    /// The journal is elsewhere, and can't be reached.
    Journal,
}

impl Lack {
    /// Until when nothing is done.
    #[must_use]
    pub const fn until(self) -> &'static str {
        match self {
            Self::Lease => "the lease can be had again",
            Self::Journal => "the journal can be reached again",
        }
    }
}

/// Watches nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn recorded(&mut self, _: u64, _: &Record, _: &Run) {}
}

/// How a drive is to go.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this process in leases and journals.
    pub engine: String,
    /// Leave when only people can move the run on.
    pub leave_when_waiting: bool,
    /// How often the inbox is looked at, by the engine's clock.
    pub inbox_poll: Span,
    /// How long giving the lease back may take, by the engine's clock.
    pub give_back: Span,
}

/// How long giving the lease back may take, by the clock on the wall: what can't be told so soon runs out.
pub const GIVE_BACK: Span = Span::from_secs(2);

/// A run that is to begin.
pub struct Start<'a> {
    /// Its id.
    pub run: &'a str,
    /// What it does.
    pub plan: Plan,
    /// Who starts it.
    pub by: &'a Identity,
    /// The run whose place it takes.
    pub after: Option<Predecessor<'a>>,
}

/// A run that went back for another, which its target is kept for.
pub struct Predecessor<'a> {
    /// Its id.
    pub run: &'a str,
    /// The successor's own lock in the journal, which is held since before it asked for the place.
    pub guard: Box<dyn Send + Sync>,
}

/// An engine: the world, the journal and the leases.
#[derive(Clone)]
pub struct Engine {
    /// The outside world.
    pub world: World,
    /// Where runs are recorded.
    pub journal: Arc<dyn Journal>,
    /// Who may drive.
    pub leases: Arc<dyn Leases>,
}

impl Engine {
    /// Creates a run and drives it.
    ///
    /// # Errors
    /// [`Error::Window`], [`Error::Busy`] and [`LeaseError::Held`] leave nothing behind; otherwise as [`Engine::drive`].
    pub async fn start(
        &self,
        run: &str,
        plan: Plan,
        by: &Identity,
        options: &Options,
        nudges: mpsc::Receiver<Nudge>,
        observer: &mut dyn Observer,
    ) -> Result<(Run, Left), Error> {
        let start = Start {
            run,
            plan,
            by,
            after: None,
        };
        self.begin(start, options, nudges, observer).await
    }

    /// The same for a run that may take another's place.
    ///
    /// # Errors
    /// As [`Engine::start`]. What is kept for the run stays so: see [`Engine::decline`].
    pub async fn begin(
        &self,
        start: Start<'_>,
        options: &Options,
        nudges: mpsc::Receiver<Nudge>,
        observer: &mut dyn Observer,
    ) -> Result<(Run, Left), Error> {
        self.may_begin(&start).await?;
        let Start { run, after, .. } = &start;
        let before = after.as_ref().map(|before| before.run);
        let target = leased(&start.plan)?;
        let keeper = self.lease_after(before, &target, run, options).await?;
        let begun = match self.enter(&start, observer).await {
            Ok(begun) => begun,
            Err(error) => {
                keeper.give_back().await;
                return Err(error);
            }
        };
        let (begun, head) = begun;
        let Start { run, after, .. } = start;
        let guard = match after {
            Some(before) => Ok(before.guard),
            None => self.journal.drive(run).await,
        };
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => {
                keeper.give_back().await;
                return Err(error.into());
            }
        };
        Drive::new(self, begun, head, keeper, options, observer)
            .through(nudges, guard)
            .await
    }

    /// Creates a run for another engine to drive: one that comes by goes on with it.
    ///
    /// # Errors
    /// [`Error::Window`] and [`Error::Busy`] leave nothing behind, nor does a journal that takes nothing.
    pub async fn submit(
        &self,
        start: Start<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Run, Error> {
        self.may_begin(&start).await?;
        let (run, _) = self.enter(&start, observer).await?;
        Ok(run)
    }

    /// Refuses a run that may not begin now, or whose target another run holds.
    async fn may_begin(&self, start: &Start<'_>) -> Result<(), Error> {
        let plan = &start.plan;
        let subject = &plan.subject;
        let now = self.world.clock.now();
        if let Decision::Closed { reason, opens_at } =
            window::evaluate(&plan.calendar, now, &subject.environment, subject.change)
        {
            return Err(Error::Window { reason, opens_at });
        }
        for workload in &plan.workloads {
            let target = &workload.target;
            match self.world.cluster.claimed(target).await? {
                Some(claim) if claim.run != start.run => {
                    return Err(Error::Busy {
                        run: claim.run,
                        started_by: claim.started_by,
                        target: target.to_string(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Records that there is a run.
    async fn enter(
        &self,
        start: &Start<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Run, Head), Error> {
        let Start {
            run,
            plan,
            by,
            after,
        } = start;
        let now = self.world.clock.now();
        let entry = RunEntry {
            run: (*run).to_owned(),
            release: plan.subject.name.clone(),
            target: plan.targets(),
            created: now,
            records: 1,
        };
        let record = Record {
            at: now,
            event: Event::Planned {
                plan: Box::new(plan.clone()),
                started_by: (*by).clone(),
                supersedes: after.as_ref().map(|before| before.run.to_owned()),
            },
        };
        let begun = Run::begin(run, &record)?;
        let head = self.journal.create(&entry, &record).await?;
        observer.recorded(head.seq, &record, &begun);
        Ok((begun, head))
    }

    /// Lets go of targets that are kept for a run which does not begin after all.
    ///
    /// # Errors
    /// [`Error`]; a target may be kept still.
    pub async fn decline(
        &self,
        run: &str,
        before: &str,
        targets: &[Target],
        options: &Options,
    ) -> Result<(), Error> {
        let cluster = &*self.world.cluster;
        for target in targets {
            let kept = cluster.claimed(target).await?;
            if kept.is_none_or(|claim| claim.run != run) {
                continue;
            }
            let keeper = self.lease_after(Some(before), target, run, options).await?;
            let answer = perform::decline(cluster, target, run, keeper.epoch()).await;
            keeper.give_back().await;
            match answer {
                Ok(()) => {}
                Err(ChangeError::Failed(failure)) => return Err(failure.into()),
                Err(ChangeError::Unknown(message)) => {
                    let (kind, code) = (Kind::Retryable, codes::CLUSTER_UNREACHABLE);
                    return Err(Failure::new(kind, code, message).into());
                }
            }
        }
        Ok(())
    }

    /// The lease of a target. The engine of the run before is about to give it back, or is dead.
    async fn lease_after(
        &self,
        before: Option<&str>,
        target: &Target,
        run: &str,
        options: &Options,
    ) -> Result<Keeper, LeaseError> {
        let clock = &*self.world.clock;
        let mut deadline = None;
        loop {
            let (leases, holder) = (self.leases.clone(), self.holder(run, options));
            match Keeper::acquire(leases, clock, target.clone(), holder, 0).await {
                Err(LeaseError::Held { holder, until })
                    if before == Some(holder.run.as_str())
                        && clock.now() < *deadline.get_or_insert(until.plus(LEASE_GRACE)) =>
                {
                    let now = clock.now();
                    clock.sleep_until(now.plus(LEASE_GRACE)).await;
                }
                other => return other,
            }
        }
    }

    /// Drives a run that is in the journal, from wherever it is.
    ///
    /// # Errors
    /// [`Error`]; the run is as the journal says, and can be driven again.
    pub async fn drive(
        &self,
        run: &str,
        options: &Options,
        nudges: mpsc::Receiver<Nudge>,
        observer: &mut dyn Observer,
    ) -> Result<(Run, Left), Error> {
        let guard = self.journal.drive(run).await?;
        let (records, head) = self.journal.read(run).await?;
        let replayed = Run::replay(run, &records)?;
        if replayed.resting() && !self.pending(&replayed).await? {
            return Ok((replayed, Left::Resting));
        }
        let floor = replayed.last_epoch();
        let holder = self.holder(run, options);
        let target = leased(replayed.plan())?;
        let none = Keeper::without(self.leases.clone(), target, holder, floor);
        let mut drive = Drive::new(self, replayed, head, none, options, observer);
        match drive.take_hold().await {
            Ok(()) => drive.through(nudges, guard).await,
            Err(error) => {
                drive.keeper.give_back().await;
                Err(error)
            }
        }
    }

    /// The claims that the run doesn't have any more, though it never let go of them: somebody broke them.
    async fn broken(&self, run: &Run) -> Result<Vec<Event>, Error> {
        let mut broken = Vec::new();
        for place in run.must_hold() {
            let Some(workload) = run.plan().workload(place) else {
                continue;
            };
            let claim = self.world.cluster.claimed(&workload.target).await?;
            let by = claim.map(|claim| claim.run);
            // A successor that has it was given it by the run's last write.
            let ours = by.as_deref() == Some(run.id());
            let given = by.is_some() && by.as_deref() == run.superseded_by();
            if !ours && !given {
                broken.push(Event::Unclaimed {
                    workload: place,
                    by,
                });
            }
        }
        Ok(broken)
    }

    async fn lease(
        &self,
        run: &str,
        plan: &Plan,
        options: &Options,
        floor: u64,
    ) -> Result<Keeper, LeaseError> {
        Keeper::acquire(
            self.leases.clone(),
            &*self.world.clock,
            leased(plan)?,
            self.holder(run, options),
            floor,
        )
        .await
    }

    fn holder(&self, run: &str, options: &Options) -> Holder {
        Holder {
            engine: options.engine.clone(),
            seat: self.journal.seat(),
            run: run.to_owned(),
        }
    }

    /// Whether there are commands that nobody has looked at.
    async fn pending(&self, run: &Run) -> Result<bool, JournalError> {
        let mut after = run.inbox();
        for _ in 0..MAX_INBOX_PAGES {
            let page = self.journal.inbox(run.id(), after).await?;
            let Some(last) = page.last() else {
                return Ok(false);
            };
            after = last.id;
            for command in page {
                if self.journal.answered(run.id(), command.id).await?.is_none() {
                    return Ok(true);
                }
            }
        }
        Err(JournalError::Limit(
            "the run has more commands than an engine looks through".to_owned(),
        ))
    }
}

/// The target whose lease says who drives the run: the first that it claims.
fn leased(plan: &Plan) -> Result<Target, LeaseError> {
    let first = plan
        .claims()
        .first()
        .and_then(|place| plan.workload(*place));
    first
        .map(|workload| workload.target.clone())
        .ok_or_else(|| {
            LeaseError::Failed(Failure::new(
                Kind::Permanent,
                codes::INTERNAL,
                "the plan releases nothing",
            ))
        })
}
