//! Who had a say, and what people still owe.

use serde::Serialize;

use super::{Moment, Person};

/// Who had a say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct People {
    /// What people had to agree to.
    pub required: Vec<Required>,
    /// Who agreed.
    pub approvals: Vec<Agreed>,
    /// What people vouched for.
    pub attestations: Vec<Attested>,
    /// What people asked of the run.
    pub commands: Vec<Asked>,
}

/// What people had to agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Required {
    /// Before which phase, or in which step.
    pub place: String,
    /// Its name.
    pub name: String,
    /// The roles of which one is needed.
    pub roles: Vec<String>,
    /// Who holds one of them.
    pub people: Vec<String>,
    /// How many must agree.
    pub count: u32,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreed {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Moment,
    /// To this requirement only; none for all that the person may meet.
    pub requirement: Option<String>,
    /// Whether it is bound to the plan of this run.
    pub to_this_plan: bool,
}

/// An attestation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attested {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Moment,
    /// What, by name.
    pub name: String,
    /// In whose words.
    pub text: String,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Moment,
    /// The command.
    pub command: String,
    /// Why, or for what.
    pub detail: String,
}

/// Something owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// Its number in the run.
    pub number: u32,
    /// What.
    pub task: String,
    /// When.
    pub due: Moment,
    /// Who met it.
    pub met_by: Option<Person>,
    /// When.
    pub met_at: Option<Moment>,
}
