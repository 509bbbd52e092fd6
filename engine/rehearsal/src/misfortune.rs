//! What goes wrong on this side of the ports: the engine dies, a plugin misbehaves.
//!
//! An engine that dies does nothing more: the port that it dies in never answers, and whoever plays
//! the rehearsal drops it as soon as [`Fate::died`] returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use phasegate_core::config::{ConfigCopy, Left, Versioned};
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Create, Deed, Done, Notice, Piece, Progress, Reading};
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::failure::{Failure, Kind, Problem};
use phasegate_core::plan::{Pin, Use};
use phasegate_core::strategy::{RouterFeatures, Situation, Slot, Split, Step, StepOutcome};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Question, Verdict};
use phasegate_core::workload::{Baseline, Colours, Diagnosis, Marks, Observation, Target};
use phasegate_runtime::ports::{
    Call, ChangeError, ClaimRecord, Cluster, ConfigAsked, Description, Found, Head, Inboxed,
    Journal, JournalError, Located, Plugins, RunEntry, Stamp, TemplateAsked,
};
use serde_json::Value;
use tokio::sync::Notify;

use crate::observer::{Order, changes, effect_key};
use crate::scenario::acts::{DeathPoint, Misdeed, PluginFault, Way};
use crate::server::SharedCluster;

/// How long a plugin that is pending asks to be left alone.
const PENDING: Span = Span::from_secs(5);

/// Most records of a run in one rehearsal: an engine that writes more runs in circles. Enough for a day in which
/// gates are asked every few seconds while people are waited for.
pub const MAX_RECORDS: u64 = 60_000;

/// When the engine is to die, and whether it has.
#[derive(Debug)]
pub struct Fate {
    watched: SharedCluster,
    state: Mutex<FateState>,
    died: Notify,
}

#[derive(Debug, Default)]
struct FateState {
    point: Option<DeathPoint>,
    dead: bool,
    records: u64,
    /// The number of the last request of the cluster's log that was looked at for writes.
    seen: u64,
    forward: u32,
    back: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A holder that panicked left plain data behind, which is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fate {
    /// That of an engine whose writes the log of a cluster tells.
    #[must_use]
    pub fn new(watched: SharedCluster) -> Self {
        Self {
            watched,
            state: Mutex::default(),
            died: Notify::new(),
        }
    }

    /// The next death, and a new life.
    pub fn set(&self, point: Option<DeathPoint>) {
        let mut state = lock(&self.state);
        state.point = point;
        state.dead = false;
    }

    /// Returns when the engine has died.
    pub async fn died(&self) {
        loop {
            let notified = self.died.notified();
            if lock(&self.state).dead {
                return;
            }
            notified.await;
        }
    }

    /// The engine dies now.
    pub fn die(&self) {
        lock(&self.state).dead = true;
        self.died.notify_waiters();
        self.died.notify_one();
    }

    async fn end(&self) {
        self.die();
        std::future::pending::<()>().await;
    }

    fn after_record(&self, seq: u64) -> bool {
        let mut state = lock(&self.state);
        state.records = state.records.max(seq);
        seq >= MAX_RECORDS || state.point == Some(DeathPoint::AfterRecord(seq))
    }

    /// Whether the run has as many records as a rehearsal takes.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        lock(&self.state).records >= MAX_RECORDS
    }

    /// Whether the engine has just made the write that it dies after. A write is a request for an effect that has changed
    /// an object: one that is refused, or leads to what is there already, is none.
    fn after_write(&self) -> bool {
        let mut state = lock(&self.state);
        let before = state.seen;
        let (seen, ways) = self.watched.with(|cluster| {
            let all = cluster.requests();
            let last = all.last().map_or(before, |request| request.seq);
            let new = all.get(all.partition_point(|request| request.seq <= before)..);
            let written = changes(new.unwrap_or_default());
            let keys = written.filter_map(effect_key);
            let ways = keys.map(|key| key.contains("/rollback/"));
            (last, ways.collect::<Vec<_>>())
        });
        state.seen = seen;
        let mut dies = false;
        for back in ways {
            let count = if back {
                &mut state.back
            } else {
                &mut state.forward
            };
            *count = count.saturating_add(1);
            let now = *count;
            dies |= matches!(&state.point, Some(DeathPoint::AfterWrite { direction, nth })
                if *nth == now && (*direction == Way::Back) == back);
        }
        dies
    }
}

/// A journal whose engine may die right after a record is written.
pub struct FatedJournal {
    inner: Arc<dyn Journal>,
    fate: Arc<Fate>,
    watched: SharedCluster,
    order: Arc<Mutex<Order>>,
}

impl FatedJournal {
    /// Over another journal, beside a cluster whose log tells when records were written.
    #[must_use]
    pub fn new(inner: Arc<dyn Journal>, fate: Arc<Fate>, watched: SharedCluster) -> Self {
        Self {
            inner,
            fate,
            watched,
            order: Arc::default(),
        }
    }

    /// Where in the cluster's log the records were written.
    #[must_use]
    pub fn order(&self) -> Arc<Mutex<Order>> {
        self.order.clone()
    }

    async fn survive(&self, head: Head) -> Head {
        let last = self
            .watched
            .with(|cluster| cluster.requests().last().map_or(0, |request| request.seq));
        lock(&self.order).insert(head.seq, last);
        if self.fate.after_record(head.seq) {
            self.fate.end().await;
        }
        head
    }
}

#[async_trait]
impl Journal for FatedJournal {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        let head = self.inner.create(entry, first).await?;
        Ok(self.survive(head).await)
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        let head = self.inner.append(run, after, records).await?;
        Ok(self.survive(head).await)
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        self.inner.read(run).await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        self.inner.runs(limit).await
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        self.inner.drive(run).await
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        self.inner.post(run, at, by, command).await
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        self.inner.inbox(run, after).await
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        self.inner.answer(run, id, refused).await
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        self.inner.answered(run, id).await
    }

    fn seat(&self) -> String {
        self.inner.seat()
    }
}

/// A cluster whose client may die between a write and its answer.
pub struct FatedCluster {
    inner: Arc<dyn Cluster>,
    fate: Arc<Fate>,
}

impl FatedCluster {
    /// Over another cluster.
    #[must_use]
    pub fn new(inner: Arc<dyn Cluster>, fate: Arc<Fate>) -> Self {
        Self { inner, fate }
    }

    async fn survive<T>(&self, answer: T) -> T {
        if self.fate.after_write() {
            self.fate.end().await;
        }
        answer
    }
}

#[async_trait]
impl Cluster for FatedCluster {
    async fn baseline(&self, target: &Target) -> Result<Baseline, Failure> {
        self.inner.baseline(target).await
    }

    async fn locate(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure> {
        self.inner.locate(target, colours, routed).await
    }

    async fn create(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.create(target, create, stamp).await;
        self.survive(answer).await
    }

    async fn remove(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.remove(target, slot, piece, stamp).await;
        self.survive(answer).await
    }

    async fn bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.bound(target, slot, minimum, stamp).await;
        self.survive(answer).await
    }

    async fn found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure> {
        self.inner.found(target, slot, piece).await
    }

    async fn versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        self.inner.versions(target, asked).await
    }

    async fn template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure> {
        self.inner.template(target, asked).await
    }

    async fn copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.copy(target, copy, stamp).await;
        self.survive(answer).await
    }

    async fn remove_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.remove_copy(target, copy, stamp).await;
        self.survive(answer).await
    }

    async fn remove_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.remove_left(target, left, stamp).await;
        self.survive(answer).await
    }

    async fn copied(&self, target: &Target, copy: &ConfigCopy) -> Result<Option<Found>, Failure> {
        self.inner.copied(target, copy).await
    }

    async fn observe(&self, target: &Target) -> Result<Observation, Failure> {
        self.inner.observe(target).await
    }

    async fn change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.change(target, change, stamp).await;
        self.survive(answer).await
    }

    async fn changed(&self, target: &Target, change: &Change) -> Result<(Marks, bool), Failure> {
        self.inner.changed(target, change).await
    }

    async fn diagnose(&self, target: &Target) -> Result<Diagnosis, Failure> {
        self.inner.diagnose(target).await
    }

    async fn claim(
        &self,
        target: &Target,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.claim(target, claim, stamp).await;
        self.survive(answer).await
    }

    async fn claimed(&self, target: &Target) -> Result<Option<ClaimRecord>, Failure> {
        self.inner.claimed(target).await
    }

    async fn hand_over(
        &self,
        target: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.inner.hand_over(target, to, stamp).await;
        self.survive(answer).await
    }

    async fn release(&self, target: &Target, stamp: &Stamp) -> Result<(), ChangeError> {
        let answer = self.inner.release(target, stamp).await;
        self.survive(answer).await
    }
}

/// Plugins of which some misbehave.
pub struct FaultyPlugins {
    inner: Arc<dyn Plugins>,
    faults: Mutex<Vec<(PluginFault, u32)>>,
    fate: Option<Arc<Fate>>,
}

impl FaultyPlugins {
    /// Over other plugins.
    #[must_use]
    pub fn new(inner: Arc<dyn Plugins>, faults: &[PluginFault]) -> Self {
        Self {
            inner,
            fate: None,
            faults: Mutex::new(faults.iter().map(|fault| (fault.clone(), 0)).collect()),
        }
    }

    /// Those of an engine that may die between a plugin's write and its answer.
    #[must_use]
    pub fn fated(self, fate: Arc<Fate>) -> Self {
        Self {
            fate: Some(fate),
            ..self
        }
    }

    fn misdeed(&self, plugin: &str) -> Option<Misdeed> {
        for (fault, calls) in lock(&self.faults).iter_mut() {
            if fault.plugin != plugin {
                continue;
            }
            *calls = calls.saturating_add(1);
            if *calls > fault.skip && *calls <= fault.skip.saturating_add(fault.count) {
                return Some(fault.misdeed);
            }
        }
        None
    }

    async fn survive<T>(&self, answer: T) -> T {
        if let Some(fate) = self.fate.as_ref().filter(|fate| fate.after_write()) {
            fate.end().await;
        }
        answer
    }

    async fn behave(&self, plugin: &str) -> Result<(), Failure> {
        match self.misdeed(plugin) {
            None => Ok(()),
            Some(Misdeed::Hang) => std::future::pending().await,
            Some(Misdeed::Trap) => Err(Failure::new(
                Kind::Trap,
                codes::PLUGIN_TRAPPED,
                format!("plugin `{plugin}` trapped: unreachable"),
            )),
            Some(Misdeed::Fail) => Err(Failure::new(
                Kind::Retryable,
                codes::PLUGIN_FAILED,
                format!("plugin `{plugin}` is not ready"),
            )),
            Some(Misdeed::Pending) => {
                let failure = Failure::new(
                    Kind::Pending,
                    codes::PLUGIN_FAILED,
                    format!("plugin `{plugin}` is not finished"),
                );
                Err(failure.again_after(Some(PENDING)))
            }
        }
    }
}

#[async_trait]
impl Plugins for FaultyPlugins {
    async fn describe(&self, plugin: &str) -> Result<(Pin, Description), Failure> {
        self.inner.describe(plugin).await
    }

    async fn validate(&self, kind: &str, offer: &Use) -> Result<Vec<Problem>, Failure> {
        self.inner.validate(kind, offer).await
    }

    async fn plan(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
    ) -> Result<Vec<Step>, Failure> {
        self.behave(&strategy.plugin).await?;
        self.inner.plan(strategy, call, situation).await
    }

    async fn revise(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
        done: &[StepOutcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>, Failure> {
        self.behave(&strategy.plugin).await?;
        self.inner
            .revise(strategy, call, situation, done, remaining)
            .await
    }

    async fn evaluate(
        &self,
        gate: &Use,
        call: &Call,
        question: &Question,
    ) -> Result<Verdict, Failure> {
        self.behave(&gate.plugin).await?;
        self.inner.evaluate(gate, call, question).await
    }

    async fn supports(&self, router: &Use, call: &Call) -> Result<RouterFeatures, Failure> {
        self.inner.supports(router, call).await
    }

    async fn snapshot(&self, router: &Use, call: &Call) -> Result<Value, Failure> {
        self.behave(&router.plugin).await?;
        self.inner.snapshot(router, call).await
    }

    async fn route(&self, router: &Use, call: &Call, split: &Split) -> Result<(), Failure> {
        self.behave(&router.plugin).await?;
        let answer = self.inner.route(router, call, split).await;
        self.survive(answer).await
    }

    async fn reading(&self, router: &Use, call: &Call) -> Result<Reading, Failure> {
        self.behave(&router.plugin).await?;
        self.inner.reading(router, call).await
    }

    async fn unroute(&self, router: &Use, call: &Call, snapshot: &Value) -> Result<(), Failure> {
        self.behave(&router.plugin).await?;
        let answer = self.inner.unroute(router, call, snapshot).await;
        self.survive(answer).await
    }

    async fn act(&self, action: &Use, call: &Call, deed: &Deed) -> Result<Done, Failure> {
        self.behave(&action.plugin).await?;
        let answer = self.inner.act(action, call, deed).await;
        self.survive(answer).await
    }

    async fn progress(
        &self,
        action: &Use,
        call: &Call,
        token: &Value,
    ) -> Result<Progress, Failure> {
        self.behave(&action.plugin).await?;
        self.inner.progress(action, call, token).await
    }

    async fn notify(
        &self,
        notifier: &Use,
        call: &Call,
        notice: &Notice,
    ) -> Result<Option<Value>, Failure> {
        self.behave(&notifier.plugin).await?;
        self.inner.notify(notifier, call, notice).await
    }
}
