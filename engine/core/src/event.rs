//! Events: all that a run is rebuilt from.

use serde::{Deserialize, Serialize};

use crate::effect::{Done, Effect, Id, Outcome, Progress};
use crate::plan::Plan;
use crate::time::Timestamp;

/// Who gave a command, and how the engine knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The name by which the policy's roles list people.
    pub name: String,
    /// What vouches for the name, for example `os-account:1000`.
    pub verified_by: String,
}

impl Identity {
    /// The engine, where it gives a command by itself.
    #[must_use]
    pub fn engine() -> Self {
        Self {
            name: "phasegate".to_owned(),
            verified_by: "engine".to_owned(),
        }
    }
}

/// What a person may ask of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum Command {
    /// Go back, from wherever the run is.
    Abort {
        /// Why.
        reason: Option<String>,
    },
    /// Go back, and leave the target to another run.
    Supersede {
        /// That run's id.
        run: String,
        /// The targets that it wants. Others are let go of.
        targets: Vec<String>,
    },
    /// Take no further forward step; gates go on.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// Go on after a pause, or after drift was looked at.
    Continue {
        /// What to do about drift, where that is what the run waits for.
        drift: Option<DriftAnswer>,
    },
    /// Agree to the plan with this digest.
    Approve {
        /// The plan that was looked at.
        plan: String,
        /// Only this requirement; none for all that the person may meet.
        requirement: Option<String>,
    },
    /// Vouch for something that no machine can check.
    Attest {
        /// The attestation's name.
        name: String,
        /// What the person says.
        text: String,
    },
    /// Try again what failed: a compensation that is stuck, a gate on hold.
    Retry,
    /// Leave out the compensation that is stuck.
    Skip {
        /// Its step, repeated by the person who takes the responsibility.
        step: String,
    },
    /// Let go of the target as it is; people take over.
    HandOver {
        /// Why.
        reason: String,
    },
    /// Go back after the run had succeeded.
    RollBack {
        /// Why.
        reason: Option<String>,
    },
    /// An obligation was met.
    Discharge {
        /// Its number in the run, from 1.
        obligation: u32,
    },
}

impl Command {
    /// The word for it on the command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "abort",
            Self::Supersede { .. } => "run --supersede",
            Self::Pause { .. } => "pause",
            Self::Continue { .. } => "continue",
            Self::Approve { .. } => "approve",
            Self::Attest { .. } => "attest",
            Self::Retry => "retry",
            Self::Skip { .. } => "skip",
            Self::HandOver { .. } => "hand-over",
            Self::RollBack { .. } => "rollback",
            Self::Discharge { .. } => "due done",
        }
    }
}

/// What to do about a target that somebody else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftAnswer {
    /// Go on with what is there now.
    Adopt,
    /// Write once more what the plan says.
    Force,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The run came to be.
    Planned {
        /// What it is to do.
        plan: Box<Plan>,
        /// Who started it.
        started_by: Identity,
        /// The run whose place it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        supersedes: Option<String>,
    },
    /// An engine began to drive.
    Driving {
        /// Which.
        engine: String,
        /// Counts the engines that drove this target.
        epoch: u64,
    },
    /// A time came for which the run was waiting.
    Woke,
    /// What is looked at has changed, as the cluster tells by itself.
    Stirred,
    /// The effect is about to be performed.
    Intended {
        /// In full, so that the journal can be read by itself; on replay it must equal what the run asked for.
        effect: Box<Effect>,
    },
    /// The effect was performed.
    Finished {
        /// Which.
        effect: Id,
        /// What became of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A missing outcome was looked for.
    Probed {
        /// Of which effect.
        effect: Id,
        /// What was found.
        #[serde(flatten)]
        progress: Progress,
    },
    /// A person asked for something.
    Commanded {
        /// Who.
        by: Identity,
        /// What.
        #[serde(flatten)]
        command: Command,
        /// Number in the inbox, so that a command is taken once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inbox: Option<u64>,
    },
    /// The run's claim on a target is gone, or another run has the target: somebody broke it. Nothing is written
    /// until people have decided.
    Unclaimed {
        /// The place of the workload in the plan.
        workload: usize,
        /// The run that has the target now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The way back can't go on, since its next move would break an invariant: people are called.
    Faulted {
        /// Which one, and how.
        reason: String,
    },
    /// The engine that drove is leaving; the run stays as it is.
    Interrupted {
        /// Why: a signal, a lost lease.
        cause: String,
    },
}

impl Event {
    /// Whether nothing follows from the event but questions that can be asked again: the run that lost it does no more
    /// than ask once more. A verdict, an observation, a time that came. What changes the world has an intent,
    /// which can't wait, and neither can anything that was written before it.
    #[must_use]
    pub const fn can_wait(&self) -> bool {
        matches!(
            self,
            Self::Woke
                | Self::Stirred
                | Self::Finished {
                    outcome: Outcome::Done(
                        Done::Observed { .. } | Done::Judged { .. } | Done::Read { .. }
                    ),
                    ..
                }
        )
    }

    /// The engine turns the run back by itself.
    #[must_use]
    pub fn abort(reason: String) -> Self {
        Self::Commanded {
            by: Identity::engine(),
            command: Command::Abort {
                reason: Some(reason),
            },
            inbox: None,
        }
    }
}

/// An event with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When; never before the record that came before it.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}
