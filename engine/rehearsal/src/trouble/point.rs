//! Where something can go wrong in a rehearsal, and what.

use std::fmt;

use phasegate_core::effect::Direction;

/// What a call through a port is for. Effects have the names that they have in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Where the workload is, asked for the plan.
    Locate,
    /// What it is before the run, asked for the plan.
    Baseline,
    /// What a router can do, asked for the plan.
    Supports,
    /// The strategy's plan.
    Plan,
    /// An effect.
    Claim,
    /// An effect.
    Change,
    /// An effect.
    Create,
    /// An effect.
    Remove,
    /// An effect.
    Bound,
    /// An effect.
    Snapshot,
    /// An effect.
    Route,
    /// An effect; also asked together with a snapshot.
    Reading,
    /// An effect.
    Unroute,
    /// An effect of an action.
    Prepare,
    /// An effect of an action.
    Act,
    /// An effect of an action.
    Undo,
    /// An effect of an action.
    Cancel,
    /// A probe of an action.
    Progress,
    /// An effect.
    Release,
    /// An effect.
    Observe,
    /// An effect.
    Evaluate,
    /// An effect.
    Revise,
    /// An effect.
    Diagnose,
    /// An effect.
    Notify,
    /// What stands in the cluster, looked at to find a missing outcome, or who holds the target.
    Probe,
}

/// Every kind, in the order of a coverage table.
pub const KINDS: [Kind; 25] = [
    Kind::Locate,
    Kind::Baseline,
    Kind::Supports,
    Kind::Plan,
    Kind::Claim,
    Kind::Change,
    Kind::Create,
    Kind::Remove,
    Kind::Bound,
    Kind::Snapshot,
    Kind::Route,
    Kind::Reading,
    Kind::Unroute,
    Kind::Prepare,
    Kind::Act,
    Kind::Undo,
    Kind::Cancel,
    Kind::Progress,
    Kind::Release,
    Kind::Observe,
    Kind::Evaluate,
    Kind::Revise,
    Kind::Diagnose,
    Kind::Notify,
    Kind::Probe,
];

/// What can go wrong with a call follows from who answers it and whether it changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// The cluster is read.
    ClusterRead,
    /// The cluster is written to.
    ClusterWrite,
    /// A plugin is asked.
    PluginRead,
    /// A gate is asked.
    Gate,
    /// A plugin changes something.
    PluginWrite,
    /// People are told.
    Notice,
}

impl Kind {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locate => "locate",
            Self::Baseline => "baseline",
            Self::Supports => "supports",
            Self::Plan => "plan",
            Self::Claim => "claim",
            Self::Change => "change",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Bound => "bound",
            Self::Snapshot => "snapshot",
            Self::Route => "route",
            Self::Reading => "reading",
            Self::Unroute => "unroute",
            Self::Prepare => "prepare",
            Self::Act => "act",
            Self::Undo => "undo",
            Self::Cancel => "cancel",
            Self::Progress => "progress",
            Self::Release => "release",
            Self::Observe => "observe",
            Self::Evaluate => "evaluate",
            Self::Revise => "revise",
            Self::Diagnose => "diagnose",
            Self::Notify => "notify",
            Self::Probe => "probe",
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(
            self.nature(),
            Nature::ClusterWrite | Nature::PluginWrite | Nature::Notice
        )
    }

    /// Who answers it, and whether it changes something.
    #[must_use]
    pub const fn nature(self) -> Nature {
        match self {
            Self::Locate | Self::Baseline | Self::Observe | Self::Diagnose | Self::Probe => {
                Nature::ClusterRead
            }
            Self::Claim
            | Self::Change
            | Self::Create
            | Self::Remove
            | Self::Bound
            | Self::Release => Nature::ClusterWrite,
            Self::Supports
            | Self::Plan
            | Self::Snapshot
            | Self::Reading
            | Self::Prepare
            | Self::Progress
            | Self::Revise => Nature::PluginRead,
            Self::Evaluate => Nature::Gate,
            Self::Route | Self::Unroute | Self::Act | Self::Undo | Self::Cancel => {
                Nature::PluginWrite
            }
            Self::Notify => Nature::Notice,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mischief {
    /// The call fails once and may be tried again: an API server that answers 500.
    Fails,
    /// Somebody else changed the object: a 409.
    Conflict,
    /// This call and all like it in this direction are refused, until a person sees to it.
    Denied,
    /// It was done, and nobody heard.
    AnswerLost,
    /// It was not done, and nobody heard.
    RequestLost,
    /// It was done, and the engine dies before it hears.
    Death,
    /// Another engine takes the lease just before it.
    StaleEpoch,
    /// The plugin never answers.
    Hang,
    /// The plugin traps.
    Trap,
    /// The plugin isn't finished.
    Pending,
    /// This gate says fail from here on.
    SaysFail,
    /// This gate has no data from here on.
    SaysNothing,
    /// The engine dies before the record is written.
    DeathBefore,
    /// The engine dies after the record was written, before anything is done about it.
    DeathAfter,
    /// An operator aborts.
    Abort,
}

impl Mischief {
    /// Those that can befall a call, in the order of a coverage table.
    pub const OF_CALLS: [Self; 12] = [
        Self::Fails,
        Self::Conflict,
        Self::Denied,
        Self::AnswerLost,
        Self::RequestLost,
        Self::Death,
        Self::StaleEpoch,
        Self::Hang,
        Self::Trap,
        Self::Pending,
        Self::SaysFail,
        Self::SaysNothing,
    ];

    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::AnswerLost => "answer-lost",
            Self::RequestLost => "request-lost",
            Self::Death => "death",
            Self::StaleEpoch => "stale-epoch",
            Self::Hang => "hang",
            Self::Trap => "trap",
            Self::Pending => "pending",
            Self::SaysFail => "says-fail",
            Self::SaysNothing => "no-data",
            Self::DeathBefore => "death-before",
            Self::DeathAfter => "death-after",
            Self::Abort => "abort",
        }
    }

    /// Whether it stays so until somebody sees to it.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Denied | Self::SaysFail | Self::SaysNothing)
    }

    /// Why it can't befall a call of this nature; none where it can.
    #[must_use]
    pub const fn impossible(self, nature: Nature) -> Option<&'static str> {
        let plugin = matches!(
            nature,
            Nature::PluginRead | Nature::Gate | Nature::PluginWrite | Nature::Notice
        );
        match (self, nature) {
            (Self::Fails | Self::Denied, _)
            | (Self::SaysFail | Self::SaysNothing, Nature::Gate)
            | (Self::Conflict | Self::StaleEpoch, Nature::ClusterWrite | Nature::PluginWrite)
            | (
                Self::RequestLost | Self::Death,
                Nature::ClusterWrite | Nature::PluginWrite | Nature::Notice,
            )
            | (
                Self::AnswerLost,
                Nature::ClusterRead | Nature::ClusterWrite | Nature::PluginWrite | Nature::Notice,
            ) => None,
            (Self::Hang | Self::Trap | Self::Pending, _) if plugin => None,
            (Self::Hang | Self::Trap | Self::Pending, _) => Some("it is no plugin"),
            (Self::SaysFail | Self::SaysNothing, _) => Some("it is no gate"),
            (Self::Conflict, _) => Some("it writes to no object"),
            (Self::StaleEpoch, _) => Some("only writes to the cluster are fenced"),
            (Self::AnswerLost, _) => Some("a plugin that does not answer hangs"),
            (Self::RequestLost, _) => Some("for a read it is the same as a lost answer"),
            (Self::Death, _) => {
                Some("a read leaves nothing behind: the deaths at the records stand for it")
            }
            (Self::DeathBefore | Self::DeathAfter | Self::Abort, _) => Some("it is no call"),
        }
    }
}

/// Where something goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The nth call of a kind, from 1, counted apart for each direction, and for each gate of each step.
    Call {
        /// Which kind.
        kind: Kind,
        /// The step and the gate, where a gate is asked.
        subject: Option<String>,
        /// Which.
        nth: u32,
    },
    /// The record of this number.
    Record(u64),
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// Which way the run goes there.
    pub direction: Direction,
    /// What.
    pub mischief: Mischief,
}

/// A word for a direction.
#[must_use]
pub const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Back => "back",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.point {
            Point::Call { kind, subject, nth } => {
                f.write_str(kind.as_str())?;
                if let Some(subject) = subject {
                    write!(f, "[{subject}]")?;
                }
                write!(f, "#{nth}")?;
            }
            Point::Record(seq) => write!(f, "record#{seq}")?,
        }
        write!(f, " {} {}", way(self.direction), self.mischief.as_str())
    }
}
