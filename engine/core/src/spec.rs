//! What people write: the release, and the policy that an operator sets above it.
//!
//! [`release::load`] and [`policy::load`] read a file, fill in the overrides, and check all that can
//! be checked without asking a plugin or the world; every fault is reported with its line.
//! [`tighten::tighten`] then holds the release against the policy. Start reading at
//! [`release::Release`].

mod check;
mod name;
pub mod objects;
pub mod policy;
pub mod release;
pub mod schema;
pub mod tighten;
mod validate;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the file formats, and the only one so far.
pub const API_VERSION: &str = "phasegate.dev/v1alpha1";

/// `apiVersion` of every file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only version so far.
    #[default]
    #[serde(rename = "phasegate.dev/v1alpha1")]
    V1Alpha1,
}

/// What kind of change a release is. Policies ask for approvals by it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Only configuration changes; the code stays.
    Configuration,
    /// Fixes without new behaviour.
    Patch,
    /// New behaviour that is compatible.
    Minor,
    /// Behaviour that others must adapt to.
    Major,
    /// An urgent fix that goes a shorter way.
    Hotfix,
}

impl Change {
    /// The word as it stands in files and in what plugins are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Hotfix => "hotfix",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
