//! The ports as a test wants them: in memory, on paused time, and at fault where it says so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use phasegate_core::config::{ConfigCopy, Left, Versioned};
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Create, Deed, Done, Notice, Piece, Progress, Reading};
use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::failure::{Failure, Kind, Problem};
use phasegate_core::plan::{Pin, Use};
use phasegate_core::strategy::{RouterFeatures, Situation, Slot, Split, Step, StepOutcome};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Question, Status, Verdict};
use phasegate_core::workload::{
    Baseline, Colours, Diagnosis, Marks, Observation, Settings, Target,
};
use phasegate_runtime::ports::*;
use serde_json::Value;
use tokio::time::Instant;

/// When every test begins.
const BEGIN: Timestamp = Timestamp::from_millis(1_795_000_000_000);
/// Commands on a page of the inbox.
const PAGE: usize = 100;

/// The time of a test, which tokio lets pass as soon as everybody waits.
pub(crate) struct Paused {
    since: Instant,
    /// How many times faster than the clock on the wall it says that it goes.
    scale: AtomicU64,
}

impl Paused {
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
            scale: AtomicU64::new(1),
        }
    }

    pub(crate) fn scaled(&self, scale: u64) {
        self.scale.store(scale, Ordering::SeqCst);
    }

    pub(crate) fn elapsed(&self) -> Span {
        self.now().since(BEGIN)
    }

    pub(crate) async fn second(&self, at: u64) {
        self.sleep_until(BEGIN.plus(Span::from_secs(at))).await;
    }
}

#[async_trait]
impl Clock for Paused {
    fn now(&self) -> Timestamp {
        let elapsed = self.since.elapsed().as_millis();
        BEGIN.plus(Span::from_millis(u64::try_from(elapsed).unwrap()))
    }

    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now()).to_std()).await;
    }

    fn budget(&self, span: Span) -> Span {
        span.times(self.scale.load(Ordering::SeqCst))
    }
}

/// What the outside world is like, and what was asked of it.
pub(crate) struct Outside {
    settings: Settings,
    marks: Marks,
    claim: Option<ClaimRecord>,
    /// Each request: when, what, and whether the lease held then.
    pub(crate) requests: Vec<(Span, String, bool)>,
    /// How often each effect changed the Deployment.
    pub(crate) written: BTreeMap<String, u32>,
    expires: Timestamp,
    epoch: u64,
    /// Who else holds the lease.
    pub(crate) rival: Option<Holder>,
    /// Seconds in which nobody is told about leases: the requests fail, or get no answer.
    pub(crate) no_lease: Range<u64>,
    pub(crate) no_answer: Range<u64>,
    /// The answer to the first write is lost, and the connection stays open.
    pub(crate) lost_answer: bool,
    /// Another engine has written.
    pub(crate) fenced: bool,
    /// Seconds that a gate takes to answer.
    pub(crate) gate_takes: u64,
}

/// The cluster, the leases and the plugins.
pub(crate) struct Fakes {
    pub(crate) clock: Arc<Paused>,
    outside: Mutex<Outside>,
    baseline: Baseline,
}

impl Fakes {
    pub(crate) fn new(baseline: Baseline) -> Self {
        Self {
            clock: Arc::new(Paused::begin()),
            outside: Mutex::new(Outside {
                settings: baseline.settings.clone(),
                marks: Marks::default(),
                claim: None,
                requests: Vec::new(),
                written: BTreeMap::new(),
                expires: Timestamp::ZERO,
                epoch: 0,
                rival: None,
                no_lease: 0..0,
                no_answer: 0..0,
                lost_answer: false,
                fenced: false,
                gate_takes: 0,
            }),
            baseline,
        }
    }

    pub(crate) fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap()
    }

    pub(crate) fn claim(&self) -> Option<ClaimRecord> {
        self.outside().claim.clone()
    }

    pub(crate) fn keep(&self, claim: ClaimRecord) {
        self.outside().claim = Some(claim);
    }

    pub(crate) fn claim_by(&self, run: &str) {
        self.outside().claim = Some(ClaimRecord {
            run: run.to_owned(),
            plan: "sha256:0".to_owned(),
            started_by: "bob".to_owned(),
            key: "claim".to_owned(),
            handed_over_by: None,
        });
    }

    pub(crate) fn image(&self) -> String {
        self.outside().settings.image.clone()
    }

    fn asked(&self, what: &str) {
        let (at, now) = (self.clock.elapsed(), self.clock.now());
        let mut outside = self.outside();
        let held = now < outside.expires;
        outside.requests.push((at, what.to_owned(), held));
    }

    /// An answer about the lease, if there is one now.
    async fn lease_answers(&self) -> Result<(), LeaseError> {
        let second = self.clock.elapsed().as_millis() / 1000;
        let (fails, hangs, end) = {
            let outside = self.outside();
            let fails = outside.no_lease.contains(&second);
            let no_answer = &outside.no_answer;
            (fails, no_answer.contains(&second), no_answer.end)
        };
        if hangs {
            self.clock.second(end).await;
        }
        if fails || hangs {
            return Err(LeaseError::Failed(failure(Kind::Retryable)));
        }
        Ok(())
    }
}

fn failure(kind: Kind) -> Failure {
    Failure::new(kind, codes::CLUSTER_UNREACHABLE, "the API server says no")
}

#[async_trait]
impl Cluster for Fakes {
    async fn baseline(&self, _: &Target) -> Result<Baseline, Failure> {
        Ok(self.baseline.clone())
    }

    async fn observe(&self, _: &Target) -> Result<Observation, Failure> {
        self.asked("observe");
        let outside = self.outside();
        let wanted = outside.settings.replicas;
        Ok(Observation {
            watched: false,
            at: self.clock.now(),
            uid: self.baseline.uid.clone(),
            generation: 1,
            observed_generation: 1,
            settings: outside.settings.clone(),
            template_digest: self.baseline.template_digest.clone(),
            total: wanted,
            updated: wanted,
            ready: wanted,
            available: wanted,
            deadline_exceeded: false,
            marks: outside.marks.clone(),
            pods: Vec::new(),
            autoscaler: None,
            beside: None,
        })
    }

    async fn locate(
        &self,
        target: &Target,
        _: Option<&Colours>,
        _: bool,
    ) -> Result<Located, Failure> {
        Ok(Located {
            deployment: target.deployment.clone(),
            beside: Err(failure(Kind::Permanent)),
        })
    }

    async fn create(&self, _: &Target, _: &Create, _: &Stamp) -> Result<(), ChangeError> {
        Err(failure(Kind::Permanent).into())
    }

    async fn remove(&self, _: &Target, _: Slot, _: Piece, _: &Stamp) -> Result<(), ChangeError> {
        Err(failure(Kind::Permanent).into())
    }

    async fn bound(&self, _: &Target, _: Slot, _: u32, _: &Stamp) -> Result<(), ChangeError> {
        Err(failure(Kind::Permanent).into())
    }

    async fn versions(
        &self,
        _: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        match asked {
            [] => Ok(Vec::new()),
            _ => Err(failure(Kind::Permanent)),
        }
    }

    async fn template(&self, _: &Target, _: &TemplateAsked<'_>) -> Result<Vec<Versioned>, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn copy(&self, _: &Target, _: &ConfigCopy, _: &Stamp) -> Result<(), ChangeError> {
        Err(failure(Kind::Permanent).into())
    }

    async fn remove_copy(&self, _: &Target, _: &ConfigCopy, _: &Stamp) -> Result<(), ChangeError> {
        Err(failure(Kind::Permanent).into())
    }

    async fn remove_left(&self, _: &Target, _: &Left, _: &Stamp) -> Result<(), ChangeError> {
        Ok(())
    }

    async fn copied(&self, _: &Target, _: &ConfigCopy) -> Result<Option<Found>, Failure> {
        Ok(None)
    }

    async fn found(&self, _: &Target, _: Slot, _: Piece) -> Result<Option<Found>, Failure> {
        Ok(None)
    }

    async fn change(&self, _: &Target, change: &Change, stamp: &Stamp) -> Result<(), ChangeError> {
        self.asked("change");
        let lost = {
            let mut outside = self.outside();
            if outside.fenced {
                return Err(failure(Kind::Fenced).into());
            }
            *outside.written.entry(stamp.key.clone()).or_default() += 1;
            let fields = change.fields.clone();
            let settings = &mut outside.settings;
            settings.image = fields.image.unwrap_or(settings.image.clone());
            settings.replicas = fields.replicas.unwrap_or(settings.replicas);
            settings.rollout = fields.rollout.unwrap_or(settings.rollout.clone());
            outside.marks = Marks::default();
            if change.marked {
                outside.marks.run = Some(stamp.run.clone());
                outside.marks.epoch = Some(stamp.epoch);
                outside.marks.effect = Some(stamp.key.clone());
            }
            std::mem::take(&mut outside.lost_answer)
        };
        if lost {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn changed(&self, _: &Target, change: &Change) -> Result<(Marks, bool), Failure> {
        self.asked("probe");
        let outside = self.outside();
        let image = change.fields.image.as_ref();
        let equal = image.is_none_or(|image| *image == outside.settings.image);
        Ok((outside.marks.clone(), equal))
    }

    async fn diagnose(&self, _: &Target) -> Result<Diagnosis, Failure> {
        self.asked("diagnose");
        Ok(Diagnosis::default())
    }

    async fn claim(&self, _: &Target, claim: &ClaimRecord, _: &Stamp) -> Result<(), ChangeError> {
        self.asked("claim");
        self.outside().claim = Some(claim.clone());
        Ok(())
    }

    async fn claimed(&self, _: &Target) -> Result<Option<ClaimRecord>, Failure> {
        Ok(self.outside().claim.clone())
    }

    async fn release(&self, _: &Target, stamp: &Stamp) -> Result<(), ChangeError> {
        self.asked("release");
        let claim = &mut self.outside().claim;
        claim.take_if(|claim| claim.run == stamp.run);
        Ok(())
    }

    async fn hand_over(
        &self,
        _: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.asked("hand-over");
        let mut outside = self.outside();
        if let Some(claim) = outside
            .claim
            .as_mut()
            .filter(|claim| claim.run == stamp.run)
        {
            *claim = to.clone();
        }
        Ok(())
    }
}

#[async_trait]
impl Leases for Fakes {
    async fn acquire(&self, _: &Target, _: &Holder) -> Result<Grant, LeaseError> {
        self.lease_answers().await?;
        let now = self.clock.now();
        let mut outside = self.outside();
        if let Some(rival) = &outside.rival {
            return Err(LeaseError::Held {
                holder: rival.clone(),
                until: now.plus(LEASE_DURATION),
            });
        }
        outside.epoch += 1;
        outside.expires = now.plus(LEASE_DURATION);
        Ok(Grant {
            epoch: outside.epoch,
            expires: outside.expires,
        })
    }

    async fn take_again(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError> {
        self.acquire(target, holder).await
    }

    async fn renew(&self, _: &Target, _: &Holder, grant: &Grant) -> Result<Grant, LeaseError> {
        self.lease_answers().await?;
        let mut outside = self.outside();
        outside.expires = self.clock.now().plus(LEASE_DURATION);
        Ok(Grant {
            epoch: grant.epoch,
            expires: outside.expires,
        })
    }

    async fn release(&self, _: &Target, _: &Holder, _: &Grant) -> Result<(), LeaseError> {
        self.lease_answers().await
    }

    async fn holder(&self, _: &Target) -> Result<Option<(Holder, Timestamp)>, LeaseError> {
        Ok(None)
    }
}

#[async_trait]
impl Plugins for Fakes {
    async fn describe(&self, _: &str) -> Result<(Pin, Description), Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn validate(&self, _: &str, _: &Use) -> Result<Vec<Problem>, Failure> {
        Ok(Vec::new())
    }

    async fn plan(&self, _: &Use, _: &Call, _: &Situation) -> Result<Vec<Step>, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn supports(&self, _: &Use, _: &Call) -> Result<RouterFeatures, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn snapshot(&self, _: &Use, _: &Call) -> Result<Value, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn route(&self, _: &Use, _: &Call, _: &Split) -> Result<(), Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn reading(&self, _: &Use, _: &Call) -> Result<Reading, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn unroute(&self, _: &Use, _: &Call, _: &Value) -> Result<(), Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn act(&self, _: &Use, _: &Call, _: &Deed) -> Result<Done, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn progress(&self, _: &Use, _: &Call, _: &Value) -> Result<Progress, Failure> {
        Err(failure(Kind::Permanent))
    }

    async fn revise(
        &self,
        _: &Use,
        _: &Call,
        _: &Situation,
        _: &[StepOutcome],
        _: &[Step],
    ) -> Result<Option<Vec<Step>>, Failure> {
        Ok(None)
    }

    async fn evaluate(&self, _: &Use, _: &Call, _: &Question) -> Result<Verdict, Failure> {
        self.asked("evaluate");
        let takes = Span::from_secs(self.outside().gate_takes);
        self.clock.sleep_until(self.clock.now().plus(takes)).await;
        Ok(Verdict {
            status: Status::Pass,
            reason: "all is well".to_owned(),
            measurements: Vec::new(),
            links: Vec::new(),
            needs: None,
            memory: None,
            extra: Value::Null,
        })
    }

    async fn notify(&self, _: &Use, _: &Call, _: &Notice) -> Result<Option<Value>, Failure> {
        Ok(None)
    }
}

#[derive(Default)]
struct Book {
    runs: Vec<String>,
    records: Vec<Record>,
    inbox: Vec<Inboxed>,
    answers: BTreeMap<u64, Result<(), String>>,
    full: Option<&'static str>,
    /// Records that are not looked at.
    before: u64,
    /// Whether it doesn't answer.
    away: bool,
}

/// A journal of one run.
#[derive(Default)]
pub(crate) struct Fake {
    book: Mutex<Book>,
}

impl Fake {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// From now on the disk is full as soon as a request of this kind is to be noted.
    pub(crate) fn full_at(&self, request: Option<&'static str>) {
        self.book().full = request;
    }

    /// From now on nothing is answered, until it is back.
    pub(crate) fn be_away(&self, away: bool) {
        self.book().away = away;
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a place that nobody reaches has no clock"
    )]
    async fn reached(&self) {
        while self.book().away {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// As if so many records had been written before.
    pub(crate) fn long(&self, records: u64) {
        self.book().before = records;
    }

    pub(crate) fn runs(&self) -> usize {
        self.book().runs.len()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let book = self.book();
        book.records.iter().map(|r| r.event.clone()).collect()
    }

    pub(crate) fn answer_to(&self, id: u64) -> Option<Result<(), String>> {
        self.book().answers.get(&id).cloned()
    }

    pub(crate) fn put(&self, command: Command) -> u64 {
        let mut book = self.book();
        let id = u64::try_from(book.inbox.len()).unwrap() + 1;
        book.inbox.push(Inboxed {
            id,
            at: BEGIN,
            by: super::ada(),
            command,
        });
        id
    }
}

fn head(book: &Book) -> Head {
    Head {
        seq: book.before + u64::try_from(book.records.len()).unwrap(),
        hash: String::new(),
    }
}

#[async_trait]
impl Journal for Fake {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        let mut book = self.book();
        book.runs.push(entry.run.clone());
        book.records.push(first.clone());
        Ok(head(&book))
    }

    async fn append(&self, _: &str, after: &Head, new: &[Record]) -> Result<Head, JournalError> {
        // Others get their turn while it is written, as with a real disk.
        tokio::task::yield_now().await;
        self.reached().await;
        let mut book = self.book();
        assert_eq!(*after, head(&book), "somebody wrote in between");
        let full = new.iter().any(|record| match &record.event {
            Event::Intended { effect } => book.full == Some(effect.request.kind()),
            _ => false,
        });
        if full {
            return Err(JournalError::Full("no space left on device".into()));
        }
        book.records.extend_from_slice(new);
        Ok(head(&book))
    }

    async fn read(&self, _: &str) -> Result<(Vec<Record>, Head), JournalError> {
        let book = self.book();
        Ok((book.records.clone(), head(&book)))
    }

    async fn runs(&self, _: usize) -> Result<Vec<RunEntry>, JournalError> {
        Ok(Vec::new())
    }

    async fn drive(&self, _: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        Ok(Box::new(()))
    }

    async fn post(
        &self,
        _: &str,
        _: Timestamp,
        _: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        Ok(self.put(command.clone()))
    }

    async fn inbox(&self, _: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        self.reached().await;
        let book = self.book();
        let later = book.inbox.iter().filter(|inboxed| inboxed.id > after);
        Ok(later.take(PAGE).cloned().collect())
    }

    async fn answer(&self, _: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        let answer = refused.map_or(Ok(()), |why| Err(why.to_owned()));
        self.book().answers.insert(id, answer);
        Ok(())
    }

    async fn answered(&self, _: &str, id: u64) -> Result<Option<Result<(), String>>, JournalError> {
        Ok(self.answer_to(id))
    }

    fn seat(&self) -> String {
        "seat".to_owned()
    }

    fn trouble(&self) -> Option<Failure> {
        let (kind, code) = (Kind::Retryable, codes::CLUSTER_UNREACHABLE);
        let words = "the API server is away";
        self.book().away.then(|| Failure::new(kind, code, words))
    }
}
