//! Effects: requests to the outside world, complete enough that whoever performs them has nothing left to choose.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{ConfigCopy, Reference};
use crate::failure::Failure;
use crate::strategy::{Slot, Split, Step, StepOutcome};
use crate::time::Span;
use crate::verdict::{Link, Pair, Question, Verdict};
use crate::workload::{Diagnosis, Observation, Rollout};

/// Names an effect within its run. Counted up from 1 in the order in which effects were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub u64);

/// Which way the run was going when it asked for the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the new version.
    Forward,
    /// Back to the old one.
    Back,
}

/// The fields of a Deployment that a run owns, with their values; none is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// The released container's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The wanted number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// How pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The ConfigMaps and Secrets that the pod template refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Reference>,
}

/// A write to a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whose Deployment.
    #[serde(default, skip_serializing_if = "Slot::is_stable")]
    pub slot: Slot,
    /// Every field that the run owns from now on. Fields it owned before are all named again.
    pub fields: Fields,
    /// The Deployment's uid: another one of the same name is left alone. Empty for the candidate's, which
    /// is known by the run's marks.
    pub uid: String,
    /// The image that must be found there, or the write is refused as drift. None writes in any case: a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_image: Option<String>,
    /// Whether the object keeps the marks of the run. The last write of a run takes them off.
    pub marked: bool,
}

/// One of the objects that a candidate consists of, or that a run makes for the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    /// Its pods.
    Deployment,
    /// What reaches them and no others.
    Service,
    /// A copy of stable's autoscaler.
    Autoscaler,
    /// The copy of a ConfigMap or Secret, by its place among the workload's.
    Config(usize),
    /// A copy that only the version before the release needed, by its place among those that are left.
    Left(usize),
}

impl Piece {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Autoscaler => "autoscaler",
            Self::Config(_) => "configuration",
            Self::Left(_) => "old configuration",
        }
    }
}

/// A piece of the candidate that is to be made from stable's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Which.
    pub piece: Piece,
    /// The image of the Deployment's released container.
    pub image: String,
    /// The Deployment's pods, or the autoscaler's minimum.
    pub replicas: u32,
    /// What the Deployment's pod template refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Reference>,
    /// The copy, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<ConfigCopy>>,
}

/// How grave a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Something good.
    Success,
    /// Something to look at.
    Warning,
    /// Somebody is needed now.
    Critical,
}

/// What a notifier is to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// started, phase-finished, awaiting-people, succeeded, rolling-back, rolled-back, stayed-forward, stuck, warning.
    pub event: String,
    /// How grave it is.
    pub severity: Severity,
    /// A line.
    pub title: String,
    /// The whole.
    pub text: String,
    /// Names and values.
    #[serde(default)]
    pub fields: Vec<Pair>,
    /// Where to look.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What this notifier returned for the first notice of the run.
    #[serde(default)]
    pub thread: Option<Value>,
}

/// What is asked of an action of the release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Deed {
    /// Look, change nothing.
    Prepare,
    /// Do it.
    Run {
        /// What preparing returned.
        token: Value,
    },
    /// Take back what was done.
    Undo {
        /// The same.
        token: Value,
    },
    /// Stop doing it.
    Cancel {
        /// The same.
        token: Value,
    },
}

impl Deed {
    /// Whether it does what the action is for.
    #[must_use]
    pub const fn is_run(&self) -> bool {
        matches!(self, Self::Run { .. })
    }

    /// A word for it, as the journal calls it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Run { .. } => "act",
            Self::Undo { .. } => "undo",
            Self::Cancel { .. } => "cancel",
        }
    }
}

/// What an action found when it looked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// What it is about to do, for people.
    pub summary: String,
    /// What `run` needs, and `undo` after it.
    pub token: Value,
    /// Whether it can be undone.
    pub reversible: bool,
}

/// What an action has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// For people.
    pub summary: String,
    /// For the journal: a backup's id, a job's name.
    #[serde(default)]
    pub outputs: Value,
    /// Where to look.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// The run that comes after one that it supersedes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Successor {
    /// Its id.
    pub run: String,
    /// Who starts it.
    pub started_by: String,
}

/// What is asked of the outside world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Request {
    /// Take hold of the target for this run. Fails with a conflict where another run holds it.
    Claim {
        /// Digest of the plan.
        plan: String,
        /// Who started the run.
        started_by: String,
    },
    /// Write to the Deployment.
    Change {
        /// What.
        change: Change,
    },
    /// Make a piece of the candidate.
    Create {
        /// What.
        create: Create,
    },
    /// Delete a piece of the candidate, or the Deployment of stable once it has been replaced.
    Remove {
        /// Whose.
        slot: Slot,
        /// What.
        piece: Piece,
    },
    /// Set the fewest pods that the autoscaler of a slot may leave.
    Bound {
        /// Whose.
        slot: Slot,
        /// The minimum.
        minimum: u32,
    },
    /// Ask the router for all that is needed to put things back as they are.
    Snapshot,
    /// Share traffic.
    Route {
        /// How.
        split: Split,
    },
    /// Ask the router how traffic is shared.
    Reading,
    /// Put traffic back as it was.
    Unroute {
        /// What the router returned when it was asked for it.
        snapshot: Value,
    },
    /// Let go of the target.
    Release {
        /// The run that holds it from then on; nobody else can take it in between.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Successor>,
    },
    /// Look at the Deployment and its pods.
    Observe {
        /// Whether what a watch has told of them is enough, so that they need not be read.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        watched: bool,
    },
    /// Ask a gate.
    Evaluate {
        /// The gate's name in the plan.
        gate: String,
        /// What it is asked.
        question: Box<Question>,
    },
    /// Ask the strategy for other remaining steps.
    Revise {
        /// The pods that serve everything now: see [`crate::strategy::Amount`].
        replicas: u32,
        /// What was done.
        done: Vec<StepOutcome>,
        /// What is left, in the strategy's own words.
        remaining: Vec<Step>,
    },
    /// Have the action of the step do something.
    Act {
        /// What.
        deed: Deed,
    },
    /// Collect what can tell why pods fail.
    Diagnose,
    /// Tell people.
    Notify {
        /// The notifier's name in the plan.
        notifier: String,
        /// What.
        notice: Box<Notice>,
    },
}

impl Request {
    /// Whether it changes something outside. Such an effect has an intent in the journal before
    /// it is performed, and is probed when its outcome is missing.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Claim { .. }
                | Self::Change { .. }
                | Self::Create { .. }
                | Self::Remove { .. }
                | Self::Bound { .. }
                | Self::Route { .. }
                | Self::Unroute { .. }
                | Self::Release { .. }
                | Self::Notify { .. }
                | Self::Act {
                    deed: Deed::Run { .. } | Deed::Undo { .. } | Deed::Cancel { .. }
                }
        )
    }

    /// A word for it, as the journal and the coverage table call it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Change { .. } => "change",
            Self::Create { .. } => "create",
            Self::Remove { .. } => "remove",
            Self::Bound { .. } => "bound",
            Self::Snapshot => "snapshot",
            Self::Route { .. } => "route",
            Self::Reading => "reading",
            Self::Unroute { .. } => "unroute",
            Self::Release { .. } => "release",
            Self::Observe { .. } => "observe",
            Self::Evaluate { .. } => "evaluate",
            Self::Revise { .. } => "revise",
            Self::Act { deed } => deed.kind(),
            Self::Diagnose => "diagnose",
            Self::Notify { .. } => "notify",
        }
    }
}

/// A request with its identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Names it within the run.
    pub id: Id,
    /// The same for every attempt: run, step, what, generation. Only an operator's `retry` makes a new one.
    pub key: String,
    /// Which way the run was going.
    pub direction: Direction,
    /// The step it belongs to; none for the run as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The workload it is about, by its place in the plan.
    #[serde(default, skip_serializing_if = "is_first")]
    pub workload: usize,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to its predicates"
)]
const fn is_first(workload: &usize) -> bool {
    *workload == 0
}

/// How traffic is shared, as the router reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// What is asked of the data plane.
    pub desired: Split,
    /// What the data plane says that it took; none where it says nothing.
    #[serde(default)]
    pub accepted: Option<Split>,
    /// Whether the data plane follows what is asked.
    pub settled: bool,
}

/// What a request that succeeded returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "done")]
pub enum Done {
    /// The target is held.
    Claimed,
    /// The write is in place.
    Changed,
    /// The piece is there.
    Created,
    /// The piece is gone.
    Removed,
    /// The bound is set.
    Bounded,
    /// How traffic is put back.
    Snapped {
        /// The router's own words.
        snapshot: Value,
        /// How traffic is shared now.
        reading: Reading,
    },
    /// Traffic is asked to be shared so.
    Routed,
    /// How traffic is shared.
    Read {
        /// It.
        reading: Reading,
    },
    /// Traffic is asked to be as before.
    Unrouted,
    /// The target is free.
    Released,
    /// What was seen.
    Observed {
        /// It.
        observation: Box<Observation>,
    },
    /// What the gate said.
    Judged {
        /// It.
        verdict: Box<Verdict>,
    },
    /// Other remaining steps, or none to keep them.
    Revised {
        /// They.
        steps: Option<Vec<Step>>,
    },
    /// What the action found.
    Prepared {
        /// It.
        preparation: Preparation,
    },
    /// The action is done.
    Acted {
        /// With what.
        acted: Acted,
    },
    /// The action is undone.
    Undone,
    /// The action is stopped, or was not under way.
    Cancelled,
    /// What was found.
    Diagnosed {
        /// It.
        diagnosis: Diagnosis,
    },
    /// The notice went out.
    Notified {
        /// To be given back with the next one.
        thread: Option<Value>,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It succeeded.
    Done(Done),
    /// It failed, and changed nothing.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It was sent, and no answer came: it may or may not have changed something.
    Unknown {
        /// What happened.
        message: String,
    },
}

/// What a probe found out about an effect whose outcome is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "progress")]
pub enum Progress {
    /// It took place.
    Done(Done),
    /// It did not, and will not any more.
    NotDone,
    /// It is taking place; ask again.
    Running {
        /// When.
        after: Span,
    },
    /// There is no telling now.
    Unknown {
        /// Why.
        message: String,
    },
}

/// What the loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Journal the intent if the request changes something, perform it, journal the outcome.
    Perform(Effect),
    /// Find out what became of it, journal that.
    Probe(Effect),
}
