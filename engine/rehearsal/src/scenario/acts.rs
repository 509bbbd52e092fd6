//! What people do in a scenario, and what goes wrong with plugins and with the engine itself.

use phasegate_core::effect::Direction;
use phasegate_core::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that a person does: to the run, or to the cluster behind its back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Act {
    /// So long after the beginning. Either this or `when`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// When the run's story first holds a line that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// So long after `when`.
    #[serde(default)]
    pub after: Span,
    /// Who.
    #[serde(default = "somebody")]
    pub by: String,
    /// What.
    #[serde(rename = "do")]
    pub deed: Deed,
}

fn somebody() -> String {
    "operator".to_owned()
}

/// A line of the run's story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// The kind of line: `step-started`, `rolling-back`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The step that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// A part of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Deed {
    /// `phasegate abort`.
    Abort(Option<String>),
    /// `phasegate run --supersede` of another run, by its name. That run itself doesn't take place.
    Supersede(String),
    /// `phasegate pause`.
    Pause(Option<String>),
    /// `phasegate continue`.
    Continue(Option<Drift>),
    /// `phasegate approve`; of one requirement, or of all that the person may meet.
    Approve(Option<String>),
    /// `phasegate attest`.
    Attest {
        /// Which attestation.
        name: String,
        /// In whose words.
        text: String,
    },
    /// `phasegate retry`.
    Retry,
    /// `phasegate skip`.
    Skip(String),
    /// `phasegate hand-over`.
    HandOver(String),
    /// `phasegate rollback`, after the run has ended.
    Rollback(Option<String>),
    /// `phasegate due done`, after the run has ended: the obligation with this number.
    DueDone(u32),
    /// Somebody else changes an object: a JSON merge patch under their own field manager.
    Patch {
        /// `Deployment`, …
        kind: String,
        /// Its namespace; none is that of the release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Its name.
        name: String,
        /// The patch.
        merge: Value,
    },
    /// Somebody else creates an object, as they would write it down.
    Create(Value),
    /// A second run of the same release begins.
    SecondRun,
}

/// What is done about drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Drift {
    /// Go on with what is there.
    Adopt,
    /// Write once more what the plan says.
    Force,
}

impl Act {
    /// Whether it says when it takes place, once.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        match (&self.at, &self.when) {
            (Some(_), None) => Ok(()),
            (None, Some(when)) if *when == When::default() => {
                Err("`when` says nothing: give line, step or message".to_owned())
            }
            (None, Some(_)) => Ok(()),
            (None, None) => Err("an act needs `at` or `when`".to_owned()),
            (Some(_), Some(_)) => Err("an act takes `at` or `when`, not both".to_owned()),
        }
    }
}

/// What a plugin does wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginFault {
    /// The plugin's name in the release.
    pub plugin: String,
    /// The first so many calls go well.
    #[serde(default)]
    pub skip: u32,
    /// How many calls go wrong after that.
    #[serde(default = "once")]
    pub count: u32,
    /// What it does.
    #[serde(rename = "do")]
    pub misdeed: Misdeed,
}

const fn once() -> u32 {
    1
}

/// What a plugin can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Misdeed {
    /// It never answers.
    Hang,
    /// It traps.
    Trap,
    /// It fails and says that asking again may help.
    Fail,
    /// It says that it isn't finished.
    Pending,
}

/// The engine dies: nothing of it runs on, the journal and the cluster stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Death {
    /// Where.
    #[serde(flatten)]
    pub point: DeathPoint,
    /// How long nobody drives after it.
    #[serde(default = "five_seconds")]
    pub resume_after: Span,
}

const fn five_seconds() -> Span {
    Span::from_secs(5)
}

/// Where an engine dies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeathPoint {
    /// Right after this record was written, before anything is done about it. The first record is 1.
    AfterRecord(u64),
    /// So long after the beginning.
    At(Span),
    /// Between a write to the cluster and its outcome: the nth of that direction, from 1. One that changes no object is none.
    AfterWrite {
        /// The way that the run goes.
        #[serde(default)]
        direction: Way,
        /// Which.
        nth: u32,
    },
}

/// Which way a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Towards the new version.
    #[default]
    Forward,
    /// Back to the old one.
    Back,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Forward => Self::Forward,
            Way::Back => Self::Back,
        }
    }
}
