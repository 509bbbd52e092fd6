//! The ports: what the engine needs of the world. Adapters implement them; the loop alone calls them.
//!
//! Every call is bounded in time by its adapter. An adapter that can't tell whether a write took
//! place says so ([`ChangeError::Unknown`]) instead of guessing.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::config::{ConfigCopy, ConfigKind, Left, Versioned};
use phasegate_core::effect::{Change, Create, Deed, Done, Notice, Piece, Progress, Reading};
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::failure::{Failure, Problem};
use phasegate_core::plan::{Pin, Use};
use phasegate_core::spec::release::Rotate;
use phasegate_core::strategy::{RouterFeatures, Situation, Slot, Split, Step, StepOutcome};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Pair, Question, Verdict};
use phasegate_core::workload::{Baseline, Beside, Colours, Diagnosis, Marks, Observation, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Time. Live it is the machine's, in a rehearsal the simulated world's.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns when it is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
    /// How much of this clock's time a budget is: itself, and more where this clock runs ahead of the one
    /// on the wall. What a plugin computes and what the machine is busy with takes real time, so that a
    /// budget must last at least as long on both.
    fn budget(&self, span: Span) -> Span {
        span
    }
}

/// A request that could not be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChangeError {
    /// It was refused or never sent: nothing changed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It was sent and not answered: it may or may not have changed something.
    #[error("{0}")]
    Unknown(String),
}

/// Who writes, for fencing and for the audit log of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run.
    pub run: String,
    /// The epoch of the engine that drives it. A write is refused where a later epoch has written.
    pub epoch: u64,
    /// The effect's key.
    pub key: String,
}

/// What a claim object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The run that holds the target.
    pub run: String,
    /// Digest of its plan.
    pub plan: String,
    /// Who started it.
    pub started_by: String,
    /// The key of the effect that made it.
    pub key: String,
    /// The run that handed the target over, as long as the one that it is kept for has not taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over_by: Option<String>,
}

/// Where the versions of a workload are.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The Deployment that serves.
    pub deployment: String,
    /// Where a candidate can be brought up beside it, or why it can't.
    pub beside: Result<Beside, Failure>,
}

/// A ConfigMap or Secret that is versioned with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigAsked<'a> {
    /// What it is.
    pub kind: ConfigKind,
    /// The name that the release knows it by.
    pub of: &'a str,
    /// The content that the release brings along; none where what stands in the cluster is meant.
    pub data: Option<&'a BTreeMap<String, String>>,
    /// The keys of a Secret that get new values.
    pub rotate: Option<&'a BTreeMap<String, Rotate>>,
    /// Whether what stands in the cluster is meant, though keys of what the pods refer to were rotated.
    pub afresh: bool,
}

/// The pod template that a release brings along for a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemplateAsked<'a> {
    /// It, as the manifest has it.
    pub template: &'a serde_json::Value,
    /// The image of the released container.
    pub image: &'a str,
    /// Other objects of the manifests, which the release doesn't touch.
    pub others: &'a [String],
}

/// A piece of a slot, as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the marks on it say.
    pub marks: Marks,
    /// The autoscaler's minimum, if it is one.
    pub minimum: Option<u32>,
}

/// The cluster of the release, as far as the engine itself needs it.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Finds the Deployment that serves - with colours, the one that the Service selects - and a place for a
    /// candidate. `routed` says whether a router shares traffic, so that the workload's own Service must not
    /// reach the candidate's pods; without one it must.
    async fn locate(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure>;
    /// What the target is before a run. A ConfigMap or Secret that the target names and that isn't there is a failure.
    async fn baseline(&self, target: &Target) -> Result<Baseline, Failure>;
    /// What is seen of the target now.
    async fn observe(&self, target: &Target) -> Result<Observation, Failure>;
    /// The same, where what a watch has told so far is enough; the observation says whether that is what it is.
    async fn glance(&self, target: &Target) -> Result<Observation, Failure> {
        self.observe(target).await
    }
    /// Returns when the target is seen to differ from what was returned of it last, once for each such change. Where
    /// nothing is watched it never does: then the target is looked at from time to time, and no more.
    async fn stirred(&self, _target: &Target) {
        std::future::pending().await
    }
    /// Nobody looks any more: whatever is watched is let go of.
    fn look_away(&self) {}
    /// Writes the change, with the stamp's marks where the change is marked. Reads first, and refuses with
    /// `Conflict` what the change doesn't expect to find, with `Fenced` where a later epoch has written;
    /// the write itself carries the version that was read.
    async fn change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// Makes a piece of the candidate from stable's, with the stamp's marks; one that is there already is made
    /// the same. Refuses with `Conflict` what isn't ours to write over.
    async fn create(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// Deletes a piece; success where there is none.
    async fn remove(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// Sets the minimum of a slot's autoscaler.
    async fn bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// A piece of a slot, if it is there.
    async fn found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure>;
    /// The marks on the target now, and whether the target is as the change would make it.
    async fn changed(&self, target: &Target, change: &Change) -> Result<(Marks, bool), Failure>;
    /// What stable refers to of what is versioned, and which copy the new version would refer to. One that the pods
    /// don't use is a failure.
    async fn versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure>;
    /// What is to be made so that the workload gets a pod template, and its own back; nothing where it has it already.
    /// One that doesn't fit the workload is a failure. Asks the cluster, and changes nothing.
    async fn template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure>;
    /// Makes a copy, immutable, with the stamp's marks. Refuses with `Conflict` one of that name that another run has
    /// made.
    async fn copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// Deletes a copy that the stamp's run has made; success where there is none. Refuses with `Conflict` where pods
    /// of the target would be started with it.
    async fn remove_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// Deletes a copy that an earlier run made, once no pod is or will be started with it; success where it is not there,
    /// is not an engine's, or serves again. Refuses with `Conflict` while something else refers to it.
    async fn remove_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// A copy, if it is there.
    async fn copied(&self, target: &Target, copy: &ConfigCopy) -> Result<Option<Found>, Failure>;
    /// Events and last log lines of the target's failing pods.
    async fn diagnose(&self, target: &Target) -> Result<Diagnosis, Failure>;
    /// Creates the claim. An existing claim of the same run is success, of another run a `Conflict` that names it.
    /// One that was kept for this run becomes its own.
    async fn claim(
        &self,
        target: &Target,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
    /// The claim on the target, if there is one.
    async fn claimed(&self, target: &Target) -> Result<Option<ClaimRecord>, Failure>;
    /// Deletes the claim if the run holds it; success where there is none.
    async fn release(&self, target: &Target, stamp: &Stamp) -> Result<(), ChangeError>;
    /// Makes the stamp's run's claim that of another run, in one write: the target is free at no time. Success
    /// where there is no claim of this run.
    async fn hand_over(
        &self,
        target: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError>;
}

/// A hold on the right to drive a target, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Counts the engines that drove this target. Never goes back.
    pub epoch: u64,
    /// When it ends unless it is renewed, by this engine's own clock.
    pub expires: Timestamp,
}

/// Who holds or wants a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// This process.
    pub engine: String,
    /// Where the journal is. Only one process at a time can drive a run of it, so that a holder of the
    /// same seat and the same run is known to be dead.
    pub seat: String,
    /// The run that it drives.
    pub run: String,
}

/// A lease that could not be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LeaseError {
    /// Another engine drives.
    #[error("{} drives run {} on this target until {until}", holder.engine, holder.run)]
    Held {
        /// Which.
        holder: Holder,
        /// Until when, unless it renews.
        until: Timestamp,
    },
    /// The lease was taken over by another engine.
    #[error("the lease was taken over")]
    Lost,
    /// The cluster did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// How long a lease holds without being renewed. It is renewed after a third of it.
pub const LEASE_DURATION: Span = Span::from_secs(15);

/// Which engine drives a target now.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease where it is free, expired, or held for the same run from the same seat. The epoch
    /// goes up by one.
    async fn acquire(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError>;
    /// Takes it anew for an engine that had it and lost it by its own clock: as [`Leases::acquire`], but never from
    /// another engine of the same seat while that one's lasts, for that one came after it and may be alive.
    async fn take_again(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError>;
    /// Extends it.
    async fn renew(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<Grant, LeaseError>;
    /// Gives it back; the epoch stays.
    async fn release(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<(), LeaseError>;
    /// Who holds it.
    async fn holder(&self, target: &Target) -> Result<Option<(Holder, Timestamp)>, LeaseError>;
}

/// An HTTP request, as plain as the plugins' contract has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequest {
    /// GET, POST, …
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<Pair>,
    /// The body.
    #[serde(default)]
    pub body: Option<Vec<u8>>,
    /// How long the whole exchange may take.
    pub timeout: Span,
    /// Most bytes of the answer's body that are kept.
    pub max_body: usize,
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<Pair>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether more was sent than is kept.
    #[serde(default)]
    pub truncated: bool,
    /// How long the exchange took, by the clock of the world that it took place in.
    pub took: Span,
}

/// An HTTP exchange that did not take place, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "error", content = "detail")]
pub enum HttpError {
    /// Not granted.
    #[error("not allowed: {0}")]
    Denied(String),
    /// No connection, or it broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Not a request that can be sent.
    #[error("not a valid request: {0}")]
    Invalid(String),
}

/// HTTP as the plugins reach it. Follows no redirects.
#[async_trait]
pub trait Http: Send + Sync {
    /// One exchange.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// Names a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// None for objects of the cluster as a whole.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A Kubernetes request of a plugin that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// Somebody else owns a field, or changed the object.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Not granted.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The API server refused the content.
    #[error("invalid: {0}")]
    Invalid(String),
    /// No answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// On whose behalf a plugin writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The field manager.
    pub manager: String,
    /// The target, and the effect of the run that the plugin was called for. With it the write is refused
    /// where a later engine drives the target.
    pub effect: Option<(Target, Stamp)>,
}

/// Which object was read, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its uid: another one of the same name has another.
    pub uid: String,
    /// Its resource version.
    pub version: String,
}

impl Seen {
    /// Of an object as a cluster shows it; none where it says neither.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        Some(Self {
            uid: text("/metadata/uid")?.to_owned(),
            version: text("/metadata/resourceVersion")?.to_owned(),
        })
    }
}

/// Kubernetes objects as the plugins reach them.
#[async_trait]
pub trait Objects: Send + Sync {
    /// One object.
    async fn get(&self, object: &ObjectRef) -> Result<Value, ObjectError>;
    /// One object, and in its `metadata.managedFields` what this manager has applied of it, where that can be told.
    async fn get_owned(&self, _manager: &str, object: &ObjectRef) -> Result<Value, ObjectError> {
        self.get(object).await
    }
    /// All that match, at most `limit`.
    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>, ObjectError>;
    /// Server-side apply.
    async fn apply(&self, writer: &Writer, object: &Value) -> Result<Value, ObjectError>;
    /// JSON merge patch.
    async fn patch(
        &self,
        writer: &Writer,
        object: &ObjectRef,
        merge: &Value,
    ) -> Result<Value, ObjectError>;
    /// Deletes it; where it was read before, that very object in that version, and else it is a conflict.
    async fn remove(
        &self,
        writer: &Writer,
        object: &ObjectRef,
        seen: Option<&Seen>,
    ) -> Result<(), ObjectError>;
}

/// Where in the release a plugin is called. See `common.call` of the contracts.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What the release is, as `common.release`: run, name, version, previousVersion, environment, change, startedBy.
    pub run: String,
    /// The release's name.
    pub name: String,
    /// The version that is to serve.
    pub version: String,
    /// The version that serves.
    pub previous_version: Option<String>,
    /// The environment.
    pub environment: String,
    /// The type of change.
    pub change: String,
    /// Who started the run.
    pub started_by: String,
    /// The same for every attempt at the same step.
    pub key: String,
    /// The target.
    pub target: Target,
    /// The version that the step is about.
    pub slot: Slot,
    /// The image that is to run.
    pub image: String,
    /// The epoch of the engine that calls; 0 outside a run.
    pub epoch: u64,
    /// When the engine stops waiting.
    pub deadline: Timestamp,
    /// Which attempt with this key it is, from 1.
    pub attempt: u32,
}

/// What a plugin asks for. It gets this only where the operator grants it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "capability")]
pub enum Capability {
    /// Requests to this authority.
    Http {
        /// `sentry.io:443`, `*.sentry.io:443`.
        authority: String,
    },
    /// Requests to the host in its own config at this JSON pointer.
    HttpFromConfig {
        /// The pointer.
        pointer: String,
    },
    /// Objects of the release's namespace.
    Kubernetes {
        /// API group, empty for the core group.
        group: String,
        /// Kind.
        kind: String,
        /// get, find, apply, patch, remove.
        verbs: Vec<String>,
    },
    /// Running this program through the engine's runner.
    Run {
        /// The program.
        program: String,
    },
    /// Files of the run.
    Artifacts,
}

impl Capability {
    /// Group and kind, where it is to apply objects of one.
    #[must_use]
    pub fn applied(&self) -> Option<(&str, &str)> {
        match self {
            Self::Kubernetes { group, kind, verbs } if verbs.iter().any(|verb| verb == "apply") => {
                Some((group, kind))
            }
            _ => None,
        }
    }
}

/// One thing that a plugin can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// strategy, gate, migrator, router, action or notifier.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A sentence.
    pub summary: String,
    /// JSON Schema, draft 2020-12, of its config.
    pub config_schema: Value,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A sentence.
    pub summary: String,
    /// What it can do.
    pub offers: Vec<Offer>,
    /// What it asks for.
    pub asks: Vec<Capability>,
}

/// The bytes of a plugin and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The plugin's name in the release.
    pub name: String,
    /// `builtin:rolling`, `path:./mine.wasm`.
    pub source: String,
    /// `sha256:` and the digest of the bytes.
    pub digest: String,
    /// The component.
    pub bytes: Arc<[u8]>,
}

/// The plugins of a release, loaded and checked.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// What the plugin of that name says of itself, and its pin.
    async fn describe(&self, plugin: &str) -> Result<(Pin, Description), Failure>;
    /// Faults in a config that its schema can't express, after those that it can.
    async fn validate(&self, kind: &str, offer: &Use) -> Result<Vec<Problem>, Failure>;
    /// Asks a strategy for its plan.
    async fn plan(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
    ) -> Result<Vec<Step>, Failure>;
    /// Asks a strategy for other remaining steps.
    async fn revise(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
        done: &[StepOutcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>, Failure>;
    /// Asks a gate.
    async fn evaluate(
        &self,
        gate: &Use,
        call: &Call,
        question: &Question,
    ) -> Result<Verdict, Failure>;
    /// Asks a router what it can do.
    async fn supports(&self, router: &Use, call: &Call) -> Result<RouterFeatures, Failure>;
    /// Asks a router for all that it needs to put traffic back as it is now.
    async fn snapshot(&self, router: &Use, call: &Call) -> Result<Value, Failure>;
    /// Has a router share traffic.
    async fn route(&self, router: &Use, call: &Call, split: &Split) -> Result<(), Failure>;
    /// Asks a router how traffic is shared.
    async fn reading(&self, router: &Use, call: &Call) -> Result<Reading, Failure>;
    /// Has a router put traffic back.
    async fn unroute(&self, router: &Use, call: &Call, snapshot: &Value) -> Result<(), Failure>;
    /// Has an action do something.
    async fn act(&self, action: &Use, call: &Call, deed: &Deed) -> Result<Done, Failure>;
    /// Asks an action what became of what it was had to do.
    async fn progress(&self, action: &Use, call: &Call, token: &Value)
    -> Result<Progress, Failure>;
    /// Tells people; returns what is to be given back with the next notice.
    async fn notify(
        &self,
        notifier: &Use,
        call: &Call,
        notice: &Notice,
    ) -> Result<Option<Value>, Failure>;
}

/// A command that waits in the inbox of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inboxed {
    /// Its number, ascending.
    pub id: u64,
    /// When it was given.
    pub at: Timestamp,
    /// Who gave it.
    pub by: Identity,
    /// What it asks for.
    pub command: Command,
}

/// What is kept of a run beside its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEntry {
    /// The run's id.
    pub run: String,
    /// The release's name.
    pub release: String,
    /// Its target, as text.
    pub target: String,
    /// When it was created.
    pub created: Timestamp,
    /// How many records it has.
    pub records: u64,
}

/// The head of a journal: where it ends, so that a cut-off tail is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last record's number, from 1; 0 for none.
    pub seq: u64,
    /// The last record's hash, in hex.
    pub hash: String,
}

/// A journal that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no such run.
    #[error("no run {0}")]
    NotFound(String),
    /// Records are missing at the end: the anchor knows of a later one.
    #[error("the journal of {run} ends at record {found}, but record {expected} was written")]
    Cut {
        /// The run.
        run: String,
        /// The last record that was written.
        expected: u64,
        /// The last record that is there.
        found: u64,
    },
    /// A record is not what was written.
    #[error("record {seq} of {run} was altered: {detail}")]
    Altered {
        /// The run.
        run: String,
        /// The first record whose hash doesn't fit.
        seq: u64,
        /// What doesn't fit.
        detail: String,
    },
    /// Written by a later engine.
    #[error("the journal has format {found}, this engine reads up to {supported}")]
    Newer {
        /// The format that was found.
        found: u32,
        /// The newest format that is understood.
        supported: u32,
    },
    /// Another process drives with this journal.
    #[error("another process is driving {0}")]
    InUse(String),
    /// Nothing more can be written.
    #[error("the disk is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else that went wrong with the storage.
    #[error("{0}")]
    Storage(
        String,
        #[source] Option<Box<dyn std::error::Error + Send + Sync>>,
    ),
    /// A limit was reached.
    #[error("{0}")]
    Limit(String),
}

/// The append-only record of runs. What `append` returns for is kept for good, but for the last records of which
/// [`Event::can_wait`](phasegate_core::event::Event::can_wait) says that they may be lost: a journal may keep these back for a bounded time.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Opens a new run with its first record.
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError>;
    /// Appends after `after`; refused where the journal ends elsewhere: somebody else wrote.
    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError>;
    /// Keeps for good what was kept back.
    async fn flush(&self, _run: &str) -> Result<(), JournalError> {
        Ok(())
    }
    /// All records of a run, checked against their hashes and the anchored head.
    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError>;
    /// The runs, newest first, at most `limit`.
    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError>;
    /// Becomes the one process that drives this run, until the guard is dropped. Other processes are told `InUse`.
    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError>;
    /// Leaves a command for whoever drives; returns its number.
    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError>;
    /// Commands of a run with numbers above `after`, at most a bounded number.
    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError>;
    /// Notes what became of a command: none for taken, or why it was refused.
    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError>;
    /// What became of a command: none while nobody looked at it.
    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError>;
    /// Where this journal is, to tell seats apart.
    fn seat(&self) -> String;
    /// Why it can't be reached, while a call waits until it can.
    fn trouble(&self) -> Option<Failure> {
        None
    }
}
