//! Engines with a fault each, put between the engine and the world.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::config::{ConfigCopy, Left, Versioned};
use phasegate_core::effect::{Change, Create, Piece};
use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::failure::Failure;
use phasegate_core::strategy::Slot;
use phasegate_core::time::Timestamp;
use phasegate_core::workload::{Baseline, Colours, Diagnosis, Marks, Observation, Target};
use phasegate_runtime::engine::Engine;
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Cluster, ConfigAsked, Found, Head, Inboxed, Journal, JournalError,
    Located, RunEntry, Stamp, TemplateAsked,
};

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    RollbackWritesNothing,
    MarksStay,
    ClaimStays,
}

fn with_cluster(mut engine: Engine, lie: Lie) -> Engine {
    let inner = engine.world.cluster.clone();
    engine.world.cluster = Arc::new(Lying { inner, lie });
    engine
}

/// What is written on the way back is reported as done, and isn't.
pub(crate) fn rollback_writes_nothing(engine: Engine) -> Engine {
    with_cluster(engine, Lie::RollbackWritesNothing)
}

/// The last write of the way back doesn't take the run's marks off.
pub(crate) fn marks_stay(engine: Engine) -> Engine {
    with_cluster(engine, Lie::MarksStay)
}

/// On the way back the claim is reported as let go of, and isn't.
pub(crate) fn claim_stays(engine: Engine) -> Engine {
    with_cluster(engine, Lie::ClaimStays)
}

/// The journal says that an intent is on disk before it is: it gets there with the next record.
pub(crate) fn intents_come_late(mut engine: Engine) -> Engine {
    engine.journal = Arc::new(Late {
        inner: engine.journal.clone(),
        held: Mutex::default(),
    });
    engine
}

struct Lying {
    inner: Arc<dyn Cluster>,
    lie: Lie,
}

impl Lying {
    fn lies(&self, lie: Lie, stamp: &Stamp) -> bool {
        self.lie == lie && stamp.key.contains("/rollback/")
    }
}

#[async_trait]
impl Cluster for Lying {
    async fn locate(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure> {
        self.inner.locate(target, colours, routed).await
    }

    async fn baseline(&self, target: &Target) -> Result<Baseline, Failure> {
        self.inner.baseline(target).await
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
        if self.lies(Lie::RollbackWritesNothing, stamp) {
            return Ok(());
        }
        let mut change = change.clone();
        change.marked |= self.lies(Lie::MarksStay, stamp);
        self.inner.change(target, &change, stamp).await
    }

    async fn template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure> {
        self.inner.template(target, asked).await
    }

    async fn versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        self.inner.versions(target, asked).await
    }

    async fn copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.copy(target, copy, stamp).await
    }

    async fn remove_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.remove_copy(target, copy, stamp).await
    }

    async fn remove_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.remove_left(target, left, stamp).await
    }

    async fn copied(&self, target: &Target, copy: &ConfigCopy) -> Result<Option<Found>, Failure> {
        self.inner.copied(target, copy).await
    }

    async fn create(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.create(target, create, stamp).await
    }

    async fn remove(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.remove(target, slot, piece, stamp).await
    }

    async fn bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.inner.bound(target, slot, minimum, stamp).await
    }

    async fn found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure> {
        self.inner.found(target, slot, piece).await
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
        self.inner.claim(target, claim, stamp).await
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
        self.inner.hand_over(target, to, stamp).await
    }

    async fn release(&self, target: &Target, stamp: &Stamp) -> Result<(), ChangeError> {
        if self.lies(Lie::ClaimStays, stamp) {
            return Ok(());
        }
        self.inner.release(target, stamp).await
    }
}

struct Late {
    inner: Arc<dyn Journal>,
    /// An intent that is not written yet, behind the journal's true end.
    held: Mutex<Option<(Head, Record)>>,
}

#[async_trait]
impl Journal for Late {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        self.inner.create(entry, first).await
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        let held = self.held.lock().unwrap().take();
        let (after, mut all) = match held {
            Some((end, record)) => (end, vec![record]),
            None => (after.clone(), Vec::new()),
        };
        all.extend(records.iter().cloned());
        if let [record] = all.as_slice()
            && matches!(record.event, Event::Intended { .. })
        {
            *self.held.lock().unwrap() = Some((after.clone(), record.clone()));
            return Ok(Head {
                seq: after.seq + 1,
                ..after
            });
        }
        self.inner.append(run, &after, &all).await
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        // Who reads is another process: what the last one had in memory is gone.
        self.held.lock().unwrap().take();
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
