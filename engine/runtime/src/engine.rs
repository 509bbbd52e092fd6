//! The one loop: take what happened, journal it, let the core decide, perform what it decided.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Action, Effect, Outcome};
use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::Plan;
use phasegate_core::run::{Illegal, Run, State};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::window::{self, Decision};
use phasegate_core::workload::Target;
use tokio::sync::mpsc;

use crate::lease::Keeper;
use crate::perform::{self, Context, World};
use crate::ports::{
    ChangeError, Head, Holder, Inboxed, Journal, JournalError, LeaseError, Leases, RunEntry,
};

/// How often the inbox is looked at.
pub const INBOX_POLL: Span = Span::from_millis(500);
/// How long giving the lease back may take.
const GIVE_BACK: Span = Span::from_secs(2);
/// How often the lease of a run that is over is asked for, and how long it may outlast its end.
const LEASE_GRACE: Span = Span::from_secs(1);
/// Records that one event may bring about before the loop gives up on itself.
const MAX_CHAIN: usize = 10_000;
/// Faults of the engine that one event may bring about: the run turns back, and people are called.
const MAX_FAULTS: u8 = 3;
/// Pages of commands that are looked through for one that has no answer.
const MAX_INBOX_PAGES: usize = 1000;

/// Records after which a run on its way forward turns back. A journal takes a limited number of them,
/// and the way back must find room.
const RECORDS_FORWARD: u64 = 150_000;

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
}

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
        let Start {
            run,
            plan,
            by,
            after,
        } = start;
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
                Some(claim) if claim.run != run => {
                    return Err(Error::Busy {
                        run: claim.run,
                        started_by: claim.started_by,
                        target: target.to_string(),
                    });
                }
                _ => {}
            }
        }
        let before = after.as_ref().map(|before| before.run);
        let target = leased(&plan)?;
        let keeper = self.lease_after(before, &target, run, options).await?;
        let now = self.world.clock.now();
        let entry = RunEntry {
            run: run.to_owned(),
            release: plan.subject.name.clone(),
            target: plan.targets(),
            created: now,
            records: 1,
        };
        let record = Record {
            at: now,
            event: Event::Planned {
                plan: Box::new(plan),
                started_by: by.clone(),
                supersedes: after.as_ref().map(|before| before.run.to_owned()),
            },
        };
        let begun = match Run::begin(run, &record) {
            Ok(begun) => begun,
            Err(illegal) => {
                keeper.give_back().await;
                return Err(illegal.into());
            }
        };
        let head = match self.journal.create(&entry, &record).await {
            Ok(head) => head,
            Err(error) => {
                keeper.give_back().await;
                return Err(error.into());
            }
        };
        observer.recorded(head.seq, &record, &begun);
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

type UnderWay = FuturesUnordered<BoxFuture<'static, Event>>;

struct Drive<'a> {
    engine: &'a Engine,
    options: &'a Options,
    plan: Arc<Plan>,
    run: Run,
    head: Head,
    keeper: Keeper,
    under_way: UnderWay,
    /// Commands up to this number were looked at in this drive.
    looked: u64,
    inbox_due: Timestamp,
    observer: &'a mut dyn Observer,
}

impl<'a> Drive<'a> {
    fn new(
        engine: &'a Engine,
        run: Run,
        head: Head,
        keeper: Keeper,
        options: &'a Options,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            engine,
            options,
            plan: Arc::new(run.plan().clone()),
            run,
            head,
            keeper,
            under_way: FuturesUnordered::new(),
            looked: 0,
            inbox_due: Timestamp::ZERO,
            observer,
        }
    }

    /// Takes the lease of a run that is in the journal, and sees whether the target is the run's still.
    async fn take_hold(&mut self) -> Result<(), Error> {
        self.settle_inbox().await?;
        let (engine, floor) = (self.engine, self.run.last_epoch());
        let (id, plan, options) = (self.run.id().to_owned(), self.plan.clone(), self.options);
        let lease = engine.lease(&id, &plan, options, floor);
        self.keeper = self.listening(lease).await??;
        self.miss_claims().await
    }

    /// A run whose claim was broken must not write any more.
    async fn miss_claims(&mut self) -> Result<(), Error> {
        let (engine, run) = (self.engine, self.run.clone());
        for event in self.listening(engine.broken(&run)).await?? {
            self.take(event).await?;
        }
        Ok(())
    }

    /// Waits for the cluster, and takes commands meanwhile: what they ask for follows once it answers.
    async fn listening<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let clock = self.engine.world.clock.clone();
        let mut answer = std::pin::pin!(answer);
        self.inbox_due = self.now().plus(self.options.inbox_poll);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    self.inbox_due = Timestamp::ZERO;
                    return Ok(answer);
                }
                () = clock.sleep_until(self.inbox_due) => {}
            }
            self.inbox_due = Timestamp::ZERO;
            self.look_into_inbox().await?;
        }
    }

    /// Drives until the run rests or somebody wants the engine to leave, and gives the lease back.
    async fn through(
        mut self,
        nudges: mpsc::Receiver<Nudge>,
        guard: Box<dyn Send + Sync>,
    ) -> Result<(Run, Left), Error> {
        let left = self.round(nudges).await;
        let Self {
            engine,
            run,
            keeper,
            under_way,
            ..
        } = self;
        drop(under_way);
        let clock = &*engine.world.clock;
        // A lease that can't be given back runs out; nobody waits for that.
        tokio::select! {
            () = keeper.give_back() => {}
            () = clock.sleep_until(clock.now().plus(GIVE_BACK)) => {}
        }
        drop(guard);
        left.map(|left| (run, left))
    }

    fn now(&self) -> Timestamp {
        self.engine.world.clock.now()
    }

    async fn round(&mut self, mut nudges: mpsc::Receiver<Nudge>) -> Result<Left, Error> {
        self.settle_inbox().await?;
        self.begin().await?;
        let mut open = true;
        loop {
            self.look_into_inbox().await?;
            if self.run.resting() {
                return Ok(Left::Resting);
            }
            if self.head.seq >= RECORDS_FORWARD && self.turns_back() {
                let reason = format!("the run has {} records and is not done", self.head.seq);
                self.take(Event::abort(reason)).await?;
                continue;
            }
            if self.options.leave_when_waiting && self.only_people_help() {
                self.take(Event::Interrupted {
                    cause: "people are awaited".to_owned(),
                })
                .await?;
                return Ok(Left::Waiting);
            }
            if !self.keeper.holds(self.now()) {
                // What was under way counts as unanswered, and nothing is started until the lease is held again.
                self.under_way.clear();
                let clock = self.engine.world.clock.clone();
                // Whoever wants the engine to leave or the run to go back need not wait for a cluster that
                // doesn't answer. What is journalled is journalled whole: only the asking is left off.
                tokio::select! {
                    biased;
                    nudge = nudges.recv(), if open => {
                        open = nudge.is_some();
                        if let Some(left) = self.nudged(nudge).await? {
                            return Ok(left);
                        }
                    }
                    regained = self.keeper.take_again(&*clock) => match regained {
                        Ok(true) => {
                            self.miss_claims().await?;
                            self.begin().await?;
                        }
                        Ok(false) => {}
                        Err(taken) => return self.leave(&taken.to_string()).await,
                    },
                    () = clock.sleep_until(self.inbox_due) => {}
                }
                continue;
            }
            let wake = self
                .run
                .next_wake()
                .map_or(self.inbox_due, |wake| wake.min(self.inbox_due));
            let clock = self.engine.world.clock.clone();
            tokio::select! {
                biased;
                nudge = nudges.recv(), if open => {
                    open = nudge.is_some();
                    if let Some(left) = self.nudged(nudge).await? {
                        return Ok(left);
                    }
                }
                kept = self.keeper.keep(&*clock) => {
                    if let Err(taken) = kept {
                        return self.leave(&taken.to_string()).await;
                    }
                }
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.came_in(event).await?,
                () = clock.sleep_until(wake) => {
                    if self.run.next_wake().is_some_and(|wake| wake <= self.now()) {
                        self.take(Event::Woke).await?;
                    }
                }
            }
        }
    }

    /// Takes the wheel: everything that had been under way is looked at anew.
    async fn begin(&mut self) -> Result<(), Error> {
        let event = Event::Driving {
            engine: self.options.engine.clone(),
            epoch: self.keeper.epoch(),
        };
        self.take(event).await
    }

    /// The process that the engine is in wants something of it. Returns how the run is left, if it is to be.
    async fn nudged(&mut self, nudge: Option<Nudge>) -> Result<Option<Left>, Error> {
        match nudge {
            Some(Nudge::Leave(cause)) => return self.leave(&cause).await.map(Some),
            Some(Nudge::Abort(by, reason)) => {
                let command = Command::Abort {
                    reason: Some(reason),
                };
                if self.run.may(&by, &command).is_ok() {
                    let inbox = None;
                    self.take(Event::Commanded { by, command, inbox }).await?;
                }
            }
            Some(Nudge::Inbox) => self.inbox_due = Timestamp::ZERO,
            None => {}
        }
        Ok(None)
    }

    async fn leave(&mut self, cause: &str) -> Result<Left, Error> {
        self.take(Event::Interrupted {
            cause: cause.to_owned(),
        })
        .await?;
        Ok(Left::Interrupted)
    }

    fn only_people_help(&self) -> bool {
        self.under_way.is_empty()
            && matches!(
                self.run.state(),
                State::AwaitingPeople { .. } | State::Paused
            )
    }

    /// An effect was performed or probed.
    async fn came_in(&mut self, event: Event) -> Result<(), Error> {
        if let Event::Finished {
            outcome: Outcome::Failed { failure },
            ..
        } = &event
            && failure.kind == Kind::Fenced
        {
            // Its outcome stays missing: whoever drives next probes it.
            return Err(Error::Fenced(failure.to_string()));
        }
        self.take(event).await
    }

    /// Journals an event and does all that follows from it.
    async fn take(&mut self, event: Event) -> Result<(), Error> {
        let mut events = VecDeque::from([event]);
        let mut faults: u8 = 0;
        for _ in 0..MAX_CHAIN {
            let Some(event) = events.pop_front() else {
                return Ok(());
            };
            if self.overtaken(&event, faults > 0) {
                continue;
            }
            let intended = match &event {
                Event::Intended { effect } => Some((**effect).clone()),
                _ => None,
            };
            match self.record(event.clone()).await {
                Ok(actions) => {
                    if let Some(effect) = intended {
                        self.perform(effect);
                    }
                    self.start(actions, &mut events);
                }
                // A broken invariant is a fault of the engine.
                Err(Error::Illegal(Illegal::Broken(broken))) if faults < MAX_FAULTS => {
                    faults = faults.saturating_add(1);
                    let Some(instead) = self.run.instead(&event, &broken) else {
                        return Err(Illegal::Broken(broken).into());
                    };
                    if matches!(instead.first(), Some(Event::Faulted { .. })) {
                        // What was under way counts as unanswered.
                        self.under_way.clear();
                        events.clear();
                    }
                    for event in instead.into_iter().rev() {
                        events.push_front(event);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Illegal::Limit("records of one event").into())
    }

    /// Whether what came before has made the event pointless: late answers, intents that nobody has
    /// any more, and a command at which the engine turned back by itself.
    fn overtaken(&self, event: &Event, at_fault: bool) -> bool {
        match event {
            Event::Intended { effect } => !self.run.wants(effect.id),
            Event::Finished { effect, .. } | Event::Probed { effect, .. } => {
                !self.run.wants(*effect)
            }
            Event::Commanded { by, command, .. } => at_fault && self.run.may(by, command).is_err(),
            _ => false,
        }
    }

    /// Whether an abort would turn the run: it is on its way forward.
    fn turns_back(&self) -> bool {
        match self.run.state() {
            State::Planned
            | State::Running { .. }
            | State::Paused
            | State::AwaitingPeople { .. } => true,
            State::Interrupted => self.run.cause().is_none(),
            _ => false,
        }
    }

    async fn record(&mut self, event: Event) -> Result<Vec<Action>, Error> {
        let record = Record {
            at: self.now().max(self.run.now()),
            event,
        };
        let (next, actions) = self.run.after(&record)?;
        self.head = self
            .engine
            .journal
            .append(self.run.id(), &self.head, std::slice::from_ref(&record))
            .await?;
        self.run = next;
        self.observer.recorded(self.head.seq, &record, &self.run);
        Ok(actions)
    }

    /// Starts what is to be done. A write is started by its intent: the effect itself follows once that is journalled.
    /// Without the lease nothing is: once it is held again the run asks for it anew.
    fn start(&mut self, actions: Vec<Action>, events: &mut VecDeque<Event>) {
        if !self.keeper.holds(self.now()) {
            return;
        }
        for action in actions {
            match action {
                Action::Perform(effect) if effect.request.changes() => {
                    events.push_back(Event::Intended {
                        effect: Box::new(effect),
                    });
                }
                Action::Perform(effect) => self.perform(effect),
                Action::Probe(effect) => self.probe(effect),
            }
        }
    }

    fn context(&self) -> Context {
        Context {
            run: self.run.id().to_owned(),
            plan: self.plan.clone(),
            started_by: self.run.started_by().name.clone(),
            epoch: self.keeper.epoch(),
        }
    }

    fn perform(&mut self, effect: Effect) {
        // Journalling the intent takes its time.
        if !self.keeper.holds(self.now()) {
            return;
        }
        let (world, context) = (self.engine.world.clone(), self.context());
        self.under_way.push(Box::pin(async move {
            let outcome = perform::perform(&world, &context, &effect).await;
            Event::Finished {
                effect: effect.id,
                outcome,
            }
        }));
    }

    fn probe(&mut self, effect: Effect) {
        let (world, context) = (self.engine.world.clone(), self.context());
        self.under_way.push(Box::pin(async move {
            let progress = perform::probe(&world, &context, &effect).await;
            Event::Probed {
                effect: effect.id,
                progress,
            }
        }));
    }

    /// Commands that an earlier engine took without being able to say so are answered.
    async fn settle_inbox(&mut self) -> Result<(), Error> {
        let journal = &self.engine.journal;
        let last = self.run.inbox();
        // They are answered one after the other, so that only the last one can be without an answer.
        for command in journal.inbox(self.run.id(), last.saturating_sub(1)).await? {
            if command.id == last && journal.answered(self.run.id(), last).await?.is_none() {
                journal.answer(self.run.id(), last, None).await?;
            }
        }
        Ok(())
    }

    async fn look_into_inbox(&mut self) -> Result<(), Error> {
        let now = self.now();
        // A run at rest is looked at once more before the engine leaves, so that no command falls between.
        if now < self.inbox_due && !self.run.resting() {
            return Ok(());
        }
        self.inbox_due = now.plus(self.options.inbox_poll);
        let journal = self.engine.journal.clone();
        // A page at a time: refused commands stay, and must not hide the ones behind them.
        for _ in 0..MAX_INBOX_PAGES {
            let after = self.looked.max(self.run.inbox());
            let page = journal.inbox(self.run.id(), after).await?;
            if page.is_empty() {
                break;
            }
            for inboxed in page {
                self.looked = inboxed.id;
                if journal.answered(self.run.id(), inboxed.id).await?.is_none() {
                    self.commanded(inboxed).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes a command or refuses it, and then says which. An engine that dies in between leaves the
    /// answer to the next one.
    async fn commanded(&mut self, inboxed: Inboxed) -> Result<(), Error> {
        let id = inboxed.id;
        let refused = match self.run.may(&inboxed.by, &inboxed.command) {
            Ok(()) => {
                let event = Event::Commanded {
                    by: inboxed.by,
                    command: inboxed.command,
                    inbox: Some(id),
                };
                self.take(event).await?;
                (self.run.inbox() < id).then(|| {
                    format!(
                        "[{}] the engine is at fault and did not take the command; `phasegate status` shows what became of the run",
                        codes::INTERNAL
                    )
                })
            }
            Err(refusal) => Some(format!("[{}] {refusal}; {}", refusal.code, refusal.hint)),
        };
        let journal = &self.engine.journal;
        journal
            .answer(self.run.id(), id, refused.as_deref())
            .await?;
        Ok(())
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
