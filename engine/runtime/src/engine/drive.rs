//! One engine driving one run: the loop itself.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Action, Effect, Outcome};
use phasegate_core::event::{Command, Event, Record};
use phasegate_core::failure::Kind;
use phasegate_core::plan::Plan;
use phasegate_core::run::{Illegal, Run, State};
use phasegate_core::time::Timestamp;
use tokio::sync::mpsc;

use super::patience::Held;
use super::{Engine, Error, Lack, Left, MAX_INBOX_PAGES, Nudge, Observer, Options};
use crate::lease::Keeper;
use crate::perform::{self, Context};
use crate::ports::{Head, Inboxed};

/// Records that one event may bring about before the loop gives up on itself.
const MAX_CHAIN: usize = 10_000;
/// Faults of the engine that one event may bring about: the run turns back, and people are called.
const MAX_FAULTS: u8 = 3;
/// Records after which a run on its way forward turns back. A journal takes a limited number of them,
/// and the way back must find room.
const RECORDS_FORWARD: u64 = 150_000;

type UnderWay = FuturesUnordered<BoxFuture<'static, Event>>;

/// What the process that the engine is in wants of it.
struct Nudges(mpsc::Receiver<Nudge>);

impl Nudges {
    /// The next one. Where nobody is left to nudge there is none, ever.
    async fn next(&mut self) -> Nudge {
        match self.0.recv().await {
            Some(nudge) => nudge,
            None => std::future::pending().await,
        }
    }
}

/// A run while this engine drives it.
pub(super) struct Drive<'a> {
    engine: &'a Engine,
    options: &'a Options,
    plan: Arc<Plan>,
    run: Run,
    head: Head,
    pub(super) keeper: Keeper,
    under_way: UnderWay,
    /// Commands up to this number were looked at in this drive.
    looked: u64,
    inbox_due: Timestamp,
    held: Held<'a>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
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
            held: Held {
                observer,
                told: false,
            },
        }
    }

    /// Takes the lease of a run that is in the journal, and sees whether the target is the run's still.
    pub(super) async fn take_hold(&mut self) -> Result<(), Error> {
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
    pub(super) async fn through(
        mut self,
        nudges: mpsc::Receiver<Nudge>,
        guard: Box<dyn Send + Sync>,
    ) -> Result<(Run, Left), Error> {
        let left = self.round(Nudges(nudges)).await;
        let Self {
            engine,
            run,
            keeper,
            under_way,
            options,
            ..
        } = self;
        drop(under_way);
        engine.world.cluster.look_away();
        let clock = &*engine.world.clock;
        // What is lost of it was lost by whatever stopped the engine, which is what is to be told then.
        let left = match (left, engine.journal.flush(run.id()).await) {
            (Ok(_), Err(error)) => Err(error.into()),
            (left, _) => left,
        };
        // A lease that can't be given back runs out; nobody waits for that.
        tokio::select! {
            () = keeper.give_back() => {}
            () = clock.sleep_until(clock.now().plus(options.give_back)) => {}
        }
        drop(guard);
        left.map(|left| (run, left))
    }

    fn now(&self) -> Timestamp {
        self.engine.world.clock.now()
    }

    async fn round(&mut self, mut nudges: Nudges) -> Result<Left, Error> {
        self.settle_inbox().await?;
        self.begin().await?;
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
                if let Some(failure) = self.keeper.trouble().filter(|_| !self.held.told) {
                    self.held.observer.held_up(Lack::Lease, failure);
                    self.held.told = true;
                }
                let clock = self.engine.world.clock.clone();
                // Whoever wants the engine to leave or the run to go back need not wait for a cluster that
                // doesn't answer. What is journalled is journalled whole: only the asking is left off.
                tokio::select! {
                    biased;
                    nudge = nudges.next() => if let Some(left) = self.nudged(nudge).await? {
                        return Ok(left);
                    },
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
            self.held.told = false;
            let wake = self
                .run
                .next_wake()
                .map_or(self.inbox_due, |wake| wake.min(self.inbox_due));
            let clock = self.engine.world.clock.clone();
            let stirred = self.stirred();
            tokio::select! {
                biased;
                nudge = nudges.next() => if let Some(left) = self.nudged(nudge).await? {
                    return Ok(left);
                },
                kept = self.keeper.keep(&*clock) => {
                    if let Err(taken) = kept {
                        return self.leave(&taken.to_string()).await;
                    }
                }
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.came_in(event).await?,
                () = stirred => self.take(Event::Stirred).await?,
                () = clock.sleep_until(wake) => {
                    if self.run.next_wake().is_some_and(|wake| wake <= self.now()) {
                        self.take(Event::Woke).await?;
                    }
                }
            }
        }
    }

    /// Returns when what the run waits for has changed, so that it can look at once. Never where it doesn't wait for that.
    fn stirred(&self) -> impl Future<Output = ()> + use<> {
        let cluster = self.engine.world.cluster.clone();
        let target = self.run.stirred_by().cloned();
        async move {
            match target {
                Some(target) => cluster.stirred(&target).await,
                None => std::future::pending().await,
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
    async fn nudged(&mut self, nudge: Nudge) -> Result<Option<Left>, Error> {
        match nudge {
            Nudge::Leave(cause) => return self.leave(&cause).await.map(Some),
            Nudge::Abort(by, reason) => {
                let command = Command::Abort {
                    reason: Some(reason),
                };
                if self.run.may(&by, &command).is_ok() {
                    let inbox = None;
                    self.take(Event::Commanded { by, command, inbox }).await?;
                }
            }
            Nudge::Inbox => self.inbox_due = Timestamp::ZERO,
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
        let (engine, records) = (self.engine, std::slice::from_ref(&record));
        let appended = engine.journal.append(self.run.id(), &self.head, records);
        self.head = self.held.patiently(engine, appended).await?;
        self.run = next;
        self.held
            .observer
            .recorded(self.head.seq, &record, &self.run);
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
        let commands = journal.inbox(self.run.id(), last.saturating_sub(1));
        for command in self.held.patiently(self.engine, commands).await? {
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
            let page = journal.inbox(self.run.id(), after);
            let page = self.held.patiently(self.engine, page).await?;
            if page.is_empty() {
                break;
            }
            for inboxed in page {
                self.looked = inboxed.id;
                let answered = journal.answered(self.run.id(), inboxed.id);
                let answered = self.held.patiently(self.engine, answered).await?;
                if answered.is_none() {
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
        let answer = self
            .engine
            .journal
            .answer(self.run.id(), id, refused.as_deref());
        self.held.patiently(self.engine, answer).await?;
        Ok(())
    }
}
