//! Where a run can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::effect::{Effect, Fields, Id, Piece, Reading, Successor};
use crate::event::Identity;
use crate::judge::{GatePolicy, Judge};
use crate::plan::Workload;
use crate::strategy::Split;
use crate::time::{Span, Timestamp};
use crate::workload::Settings;

/// Where a run is, for people and for the rules of what may happen next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum State {
    /// Nobody has driven it yet.
    Planned,
    /// On its way forward.
    Running {
        /// The phase.
        phase: String,
        /// The step.
        step: String,
    },
    /// A person stopped forward steps. Gates go on.
    Paused,
    /// It needs an approval, an attestation, or help.
    AwaitingPeople {
        /// For what.
        reason: String,
    },
    /// The engine left; nobody drives it.
    Interrupted,
    /// On its way back.
    RollingBack,
    /// On its way back, and it needs a decision that only people can take.
    RollingBackAwaitingPeople {
        /// For what.
        reason: String,
    },
    /// At an end.
    Ended {
        /// Which.
        end: End,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Refused before anything was changed.
    Refused,
    /// The new version serves.
    Succeeded,
    /// The old version serves again.
    RolledBack,
    /// Stopped past the point of no return: the old version can't come back.
    StayedForward,
    /// A person stopped it before anything was changed.
    Cancelled,
    /// A later run took its place.
    Superseded,
    /// A compensation fails. Takes `retry`, `skip` or `hand-over`.
    RollbackStuck,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled back",
            Self::StayedForward => "stayed forward",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::RollbackStuck => "rollback stuck",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned => f.write_str("planned"),
            Self::Running { phase, step } => write!(f, "running {phase}, {step}"),
            Self::Paused => f.write_str("paused"),
            Self::AwaitingPeople { reason } => write!(f, "awaiting people: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::RollingBack => f.write_str("rolling back"),
            Self::RollingBackAwaitingPeople { reason } => {
                write!(f, "rolling back, awaiting people: {reason}")
            }
            Self::Ended { end } => end.fmt(f),
        }
    }
}

/// Which way the run is going, or how it ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mode {
    Forward(Forward),
    Back(Back),
    Ended(End),
}

/// The way forward.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Forward {
    /// Nobody drives yet.
    Planned,
    /// Taking hold of the targets, one after the other.
    Claiming { effect: Id, deadline: Timestamp },
    /// In a step.
    At(Cursor),
    /// Every step is done: the marks come off, the target is let go, people are told.
    Finishing(Finish),
    /// Long after success: something owed is done.
    Keeping(Keeping),
}

/// An obligation under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keeping {
    pub(super) by: Identity,
    /// The obligation's number.
    pub(super) number: u32,
    pub(super) generation: u32,
    pub(super) deadline: Timestamp,
    pub(super) stage: Keep,
    pub(super) removed: bool,
    /// Until when a removal of a copy that nobody answered may still arrive. A copy is as it was when it is used again, so
    /// that no version of it would fence that.
    pub(super) arrives: Option<Timestamp>,
}

/// How far an obligation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Claiming { effect: Id },
    Looking,
    Removing { effect: Id },
    Releasing { effect: Id },
}

/// The last things, on either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// What the run leaves behind is put in order, one workload after the other.
    Tidying {
        effect: Id,
    },
    Releasing {
        effect: Id,
    },
    /// Waits for the notices only.
    Closing,
}

/// A step under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor {
    pub(super) phase: usize,
    pub(super) step: usize,
    /// When the phase began, without the time in which it waited for leave to go on.
    pub(super) phase_since: Timestamp,
    /// Since when it waits for that.
    pub(super) waits_since: Option<Timestamp>,
    /// When the step began.
    pub(super) since: Timestamp,
    pub(super) stage: Stage,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// It may not begin yet, or its people haven't answered.
    /// `on` is none until that was looked at.
    Waiting { on: Option<Wait>, until: Timestamp },
    /// A write is under way.
    Changing {
        effect: Id,
        deadline: Timestamp,
        then: Then,
    },
    /// The cluster follows the write.
    Settling { deadline: Timestamp, then: Then },
    /// Both sides are looked at before traffic is shifted: each must be able to carry its share.
    Proving { deadline: Timestamp },
    /// The data plane follows a new split. `taken` is since when it says that it does.
    Following {
        deadline: Timestamp,
        taken: Option<Timestamp>,
        then: Then,
    },
    /// An action is prepared, then run.
    Acting { effect: Id, deadline: Timestamp },
    /// Gates are asked.
    Asking { deadline: Timestamp },
    /// The strategy is asked for other remaining steps.
    Revising { effect: Id },
    /// Somebody else changed the target.
    Drifted {
        what: String,
        until: Timestamp,
        found: Box<Found>,
        /// Whether the last write was in place before; where it wasn't, it is asked for again.
        made: bool,
        then: Then,
    },
    /// The step is done.
    Done,
}

/// What comes once the cluster has followed a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It was the step's own: the step is done.
    Finish,
    /// The step's gates are asked, from the beginning.
    Ask,
    /// The step may begin, if nothing keeps it from that.
    Begin,
}

/// What somebody else made of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) settings: Settings,
    pub(super) template_digest: String,
    /// The candidate's, where it has a Deployment, and the digest of its pod template.
    pub(super) candidate: Option<Settings>,
    pub(super) candidate_template: Option<String>,
    /// How traffic is shared, where that is what somebody else changed.
    pub(super) split: Option<Split>,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The calendar.
    Window {
        reason: String,
        opens: Option<Timestamp>,
    },
    /// Approvals, by requirement.
    Approval { requirement: String },
    /// An attestation.
    Attestation { name: String },
}

/// The way back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Back {
    pub(super) cause: Cause,
    pub(super) since: Timestamp,
    pub(super) stage: BackStage,
    /// Counted up by an operator's `retry`: it makes new keys.
    pub(super) generation: u32,
    pub(super) stuck: Option<Stuck>,
    pub(super) skipped: Vec<String>,
    pub(super) handed_over: bool,
    /// Asked for after the run had succeeded.
    pub(super) after_success: bool,
    /// Whether its claim was broken, so that somebody else may have released since.
    pub(super) unclaimed: bool,
    /// After success: nothing is taken back, since the target isn't the run's any more.
    pub(super) refused: bool,
    /// Who comes after it.
    pub(super) succession: Option<Box<Succession>>,
}

/// Another run that takes the place of one on its way back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Succession {
    pub(super) to: Successor,
    /// The targets that are kept for it.
    pub(super) targets: BTreeSet<String>,
}

/// Why a run goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Who asked for it; none where the engine decided.
    pub by: Option<Identity>,
    /// Why.
    pub reason: String,
    /// The step that was under way.
    pub step: Option<String>,
    /// The run that takes this one's place.
    pub superseded_by: Option<String>,
}

impl Cause {
    /// Who asked for it, in words.
    pub(super) fn who(&self) -> &str {
        self.by.as_ref().map_or("the engine", |by| &by.name)
    }
}

/// How far the way back is. The order is the order in which they come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum BackStage {
    /// Takes hold of the target again, after success.
    Claiming { effect: Id },
    /// The target isn't the run's any more: it is taken hold of again when people say so.
    Unclaimed,
    /// Looks whether traffic is still shared as the run left it, after success.
    Checking { deadline: Timestamp },
    /// A forward write is still under way: it must not arrive after its compensation.
    Draining,
    /// What can tell why pods fail is collected before they are gone.
    Diagnosing { effect: Id, deadline: Timestamp },
    /// Stable's settings are written back.
    Restoring { effect: Id },
    /// Looks whether the image is still what the run left, before it is written over.
    Looking { deadline: Timestamp },
    /// The cluster follows.
    Settling { deadline: Timestamp },
    /// Traffic is put back.
    Unrouting { effect: Id },
    /// The data plane follows. `taken` is since when it says that it does.
    Following {
        deadline: Timestamp,
        taken: Option<Timestamp>,
    },
    /// An action is cancelled or undone.
    Undoing { effect: Id, deadline: Timestamp },
    /// What the run made beside stable goes, and what it held is let go, one thing at a time.
    Removing { effect: Id },
    /// The last things.
    Finishing(Finish),
}

/// A compensation that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stuck {
    /// Its name, which `skip` takes.
    pub step: String,
    /// Why it fails.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether somebody else changed the target, so that it is a decision rather than a fault.
    pub decision: bool,
}

/// Who took over a rollback that was stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenOver {
    /// Who.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// The compensation at which the rollback was stuck.
    pub step: String,
    /// In whose words; none where the person skipped what could not be left out.
    pub reason: Option<String>,
}

/// How far an effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be handed out for performing.
    Ready,
    /// Handed out; if it is a read, under way.
    Given,
    /// Its intent is journalled; under way.
    Intended,
    /// Its outcome is missing: to be handed out for probing.
    Missing,
    /// Handed out for probing.
    Probing,
    /// To be performed or probed again later.
    Waiting { until: Timestamp, probe: bool },
}

/// An effect without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outstanding {
    pub(super) effect: Effect,
    pub(super) phase: Phase,
    /// Attempts that failed.
    pub(super) failures: u32,
}

/// A gate that is being asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) judge: Judge,
    pub(super) policy: GatePolicy,
    pub(super) effect: Option<Id>,
}

/// The look at the workload itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    pub(super) due: Timestamp,
    pub(super) effect: Option<Id>,
    pub(super) last: Option<Timestamp>,
    /// Time during which looks followed closely upon each other.
    pub(super) measured: Span,
    /// Whether a look was asked for since a gate failed, to see whether the target had drifted.
    pub(super) confirms: bool,
    /// Whether the next look has to read: what a watch has told would move the run on.
    pub(super) reads: bool,
}

/// What the run owns of a workload and last knew of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Fields that were asked to be written, with the values they were to have.
    pub(super) owned: Fields,
    /// Whether a write was ever asked for.
    pub(super) changed: bool,
    /// The two above as they were before the write that is under way, for when it turns out to have failed.
    pub(super) before: Option<Before>,
    pub(super) image: String,
    pub(super) replicas: u32,
    /// The pods that serve everything, stable's and those that the candidate took over from it, by what was
    /// seen last: what others add to stable or take from it counts, what the run itself moves doesn't.
    pub(super) whole: u32,
    pub(super) template_digest: String,
    /// Pieces of the candidate that were ever asked to be made and are not known to be gone.
    pub(super) pieces: BTreeSet<Piece>,
    /// Of these, those that are there.
    pub(super) made: BTreeSet<Piece>,
    /// Those whose making was not answered, how often, and until when they may still come about: though an attempt
    /// was refused, and though they were removed meanwhile.
    pub(super) doubted: BTreeMap<Piece, (u32, Timestamp)>,
    /// The candidate's image and wanted pods, as they were asked for last.
    pub(super) candidate: Option<(String, u32)>,
    /// The digest of its pod template, as it was first seen after it was made: the cluster fills in what the
    /// run left open, so that only a look can tell.
    pub(super) candidate_template: Option<String>,
    /// The minima that were asked of the autoscalers, stable's and the candidate's.
    pub(super) minimum: Option<u32>,
    pub(super) candidate_minimum: Option<u32>,
    pub(super) traffic: Traffic,
    /// Whether the write that waits for copies to be made goes over what somebody else has changed.
    pub(super) forced: bool,
    /// How often in a row a write to stable's Deployment met somebody else's.
    pub(super) conflicts: u32,
    /// Whether the candidate's Deployment has become stable's.
    pub(super) promoted: bool,
    /// How long stable's objects are kept from the end of the run on, if they are to be removed.
    pub(super) keep: Option<Span>,
    /// Whether stable's objects were removed since, or copies that only it refers to, or may have been.
    pub(super) removed: bool,
    /// Whether the run's marks were taken off stable's Deployment at the end, and off the candidate's.
    pub(super) unmarked: bool,
    pub(super) candidate_unmarked: bool,
    /// On the way back: whether traffic was found as the run left it, stable's settings were written
    /// back, stable was seen ready, and all is done.
    pub(super) checked: bool,
    /// Whether it was looked at, or tried to be, before stable's settings are written back.
    pub(super) looked: bool,
    pub(super) restored: bool,
    pub(super) ready: bool,
    pub(super) back: bool,
}

/// How the run shares a workload's traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Traffic {
    /// What the router needs to put it back.
    pub(super) snapshot: Option<Value>,
    /// How it was shared before the run.
    pub(super) before: Split,
    /// Whether the router was ever asked to share it otherwise, and not to put it back since.
    pub(super) touched: bool,
    /// What it was asked for last.
    pub(super) split: Split,
    /// What it says now, where it was asked.
    pub(super) reading: Option<Reading>,
    /// Attempts at the present shift that failed.
    pub(super) failures: u32,
}

impl Known {
    pub(super) fn of(workload: &Workload) -> Self {
        let baseline = &workload.baseline;
        Self {
            owned: Fields::default(),
            changed: false,
            before: None,
            image: baseline.settings.image.clone(),
            replicas: baseline.settings.replicas,
            whole: baseline.settings.replicas,
            template_digest: baseline.template_digest.clone(),
            pieces: BTreeSet::new(),
            made: BTreeSet::new(),
            doubted: BTreeMap::new(),
            candidate: None,
            candidate_template: None,
            minimum: None,
            candidate_minimum: None,
            traffic: Traffic::default(),
            forced: false,
            conflicts: 0,
            promoted: false,
            keep: None,
            removed: false,
            unmarked: false,
            candidate_unmarked: false,
            checked: false,
            looked: false,
            restored: false,
            ready: false,
            back: false,
        }
    }

    /// Whether anything of the workload may be other than before the run.
    pub(super) fn touched(&self) -> bool {
        self.changed || !self.pieces.is_empty() || self.minimum.is_some() || self.traffic.touched
    }
}

/// What was owned before a write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Before {
    pub(super) effect: Id,
    pub(super) owned: Fields,
    pub(super) changed: bool,
}

/// An approval that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Who agreed.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// To which plan.
    pub plan: String,
    /// Only to this requirement; none for all that the person may meet.
    pub requirement: Option<String>,
}

/// Something that a person vouched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// Who.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// What, by name.
    pub name: String,
    /// In whose words.
    pub text: String,
}

/// Something owed after the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Obligation {
    /// Its number in the run, from 1.
    pub number: u32,
    /// What is owed.
    pub task: String,
    /// When.
    pub due: Timestamp,
    /// The workload, by its place in the plan, whose old Deployment is to be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removes: Option<usize>,
    /// The workload, by its place in the plan, whose copies are to be removed that only its old version refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removes_copies: Option<usize>,
    /// Who met it, and when.
    pub discharged: Option<(Identity, Timestamp)>,
}

impl Obligation {
    /// The workload, by its place in the plan, of which an engine removes something by itself when it is due.
    #[must_use]
    pub fn of_an_engine(&self) -> Option<usize> {
        self.removes.or(self.removes_copies)
    }
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Detail.
    Debug,
    /// What happens.
    Info,
    /// What somebody should look at.
    Warn,
    /// What went wrong.
    Error,
}

/// A line of the run's story: what one record brought about, for people and for machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// A stable word for the kind of line: `step-started`, `gate`, `rolling-back`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How grave it is.
    pub level: Level,
    /// The phase, on the way forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Which attempt, where something is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// A sentence.
    pub message: String,
    /// The same for machines.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// Gates that are being asked, by name.
pub(super) type Gates = BTreeMap<String, Arc<Asked>>;
