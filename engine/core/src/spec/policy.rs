//! The policy file: what an operator sets above every release. A release can tighten it, never widen it.
//!
//! Without a policy file [`Policy::default`] holds: no approvals, no windows, the engine's own limits.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, Change};
use crate::time::Span;

mod calendar;
mod grants;
mod load;

pub use calendar::{Day, Freeze, Holiday, Moment, TimeOfDay, Window};
pub use grants::{ObjectRight, PluginGrant, Right, Verb};
pub use load::{Loaded, load};

/// How long an approval holds where the policy says nothing.
pub const DEFAULT_EXPIRES: Span = Span::from_mins(24 * 60);

/// A policy: what an operator sets above every release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The version of this file's format.
    pub api_version: ApiVersion,
    /// What this file is.
    pub kind: PolicyKind,
    /// Who holds which role: identities by the role's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Who must approve what. Every row that matches a release must be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// What people must vouch for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<AttestationRule>,
    /// When forward steps are allowed: in any of the windows that match a release. A release that no
    /// window matches is allowed at any time. Rolling back is always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Days on which every window is closed, each in the window's own zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<Holiday>,
    /// Whether windows are closed on the day before a holiday too.
    #[serde(default)]
    pub deny_day_before_holiday: bool,
    /// Stretches of time in which nothing goes forward, windows or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
    /// Whether a hotfix may go forward outside of windows, on holidays and during freezes.
    #[serde(default)]
    pub except_hotfix: bool,
    /// Whether who started a run may be one of those who approve it, where a row doesn't say so itself.
    #[serde(default)]
    pub starter_may_approve: bool,
    /// What plugins may use.
    #[serde(default)]
    pub plugins: PluginLimits,
    /// What a release's gates and soaks must at least be.
    #[serde(default)]
    pub gates: GateFloors,
    /// What a release's rollback must at least be.
    #[serde(default)]
    pub rollback: RollbackFloors,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: PolicyKind::Policy,
            roles: BTreeMap::new(),
            approvals: Vec::new(),
            attestations: Vec::new(),
            windows: Vec::new(),
            holidays: Vec::new(),
            deny_day_before_holiday: false,
            freezes: Vec::new(),
            except_hotfix: false,
            starter_may_approve: false,
            plugins: PluginLimits::default(),
            gates: GateFloors::default(),
            rollback: RollbackFloors::default(),
        }
    }
}

impl Policy {
    /// Who holds at least one of these roles, each person once, in alphabetical order.
    #[must_use]
    pub fn people(&self, roles: &[String]) -> Vec<String> {
        let held: BTreeSet<&String> = roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten()
            .collect();
        held.into_iter().cloned().collect()
    }

    /// The roles that a person holds.
    #[must_use]
    pub fn roles_of(&self, person: &str) -> Vec<&str> {
        self.roles
            .iter()
            .filter(|(_, people)| people.iter().any(|p| p == person))
            .map(|(role, _)| role.as_str())
            .collect()
    }

    /// What people must vouch for in a release of this kind.
    pub fn attestations_for<'a>(
        &'a self,
        change: Change,
        environment: &'a str,
    ) -> impl Iterator<Item = &'a AttestationRule> {
        self.attestations
            .iter()
            .filter(move |rule| applies(&rule.changes, &rule.environments, change, environment))
    }
}

impl Policy {
    /// The environments that any rule of the policy names.
    #[must_use]
    pub fn environments(&self) -> BTreeSet<&str> {
        let approvals = self.approvals.iter().flat_map(|rule| &rule.environments);
        let attestations = self.attestations.iter().flat_map(|rule| &rule.environments);
        let windows = self.windows.iter().flat_map(|window| &window.environments);
        let freezes = self.freezes.iter().flat_map(|freeze| &freeze.environments);
        let named = approvals.chain(attestations).chain(windows).chain(freezes);
        named.map(String::as_str).collect()
    }
}

/// Whether a row is about a release: a list that is left out matches everything.
pub(crate) fn applies(
    changes: &[Change],
    environments: &[String],
    change: Change,
    environment: &str,
) -> bool {
    (changes.is_empty() || changes.contains(&change))
        && (environments.is_empty() || environments.iter().any(|e| e == environment))
}

/// `kind` of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// A policy.
    #[default]
    Policy,
}

/// A row of the approval table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// The kinds of change that the row is about; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The environments that the row is about; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// Who may approve: anybody who holds one of these roles.
    pub roles: Vec<String>,
    /// How many people must approve.
    #[serde(default = "one")]
    pub count: u32,
    /// Whether who started the run may be one of them. The policy's own answer if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter_may_approve: Option<bool>,
    /// How long an approval holds.
    #[serde(default = "default_expires")]
    pub expires: Span,
}

/// What people must vouch for before a release goes forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttestationRule {
    /// The attestation's name, which `phasegate attest` takes.
    pub name: String,
    /// What must be vouched for.
    pub prompt: String,
    /// The kinds of change that need it; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The environments that need it; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
}

/// What plugins may use and do. The engine's own limit holds for what is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Memory, in MiB.
    #[serde(rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Time in all, with what the plugin waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Time that the plugin may compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<Span>,
    /// Requests to the outside world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u32>,
    /// What plugins may do that don't come with the engine: of what they ask for, what is granted here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<PluginGrant>,
}

/// What a release's gates and soaks must at least be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GateFloors {
    /// No soak may be shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_soak: Option<Span>,
    /// No gate may be asked less often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<Span>,
    /// No breach may last longer before it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sustained: Option<Span>,
    /// No gate may let more failed verdicts pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failure_limit: Option<u32>,
    /// No gate may let more inconclusive verdicts pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_inconclusive_limit: Option<u32>,
    /// No gate may fail to answer more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_limit: Option<u32>,
}

/// What a release's rollback must at least be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollbackFloors {
    /// The way back may not aim at taking longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_target: Option<Span>,
    /// A write that is refused must be tried again at least this often before people are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_retries: Option<u32>,
}

const fn one() -> u32 {
    1
}

const fn default_expires() -> Span {
    DEFAULT_EXPIRES
}

#[cfg(test)]
mod tests;
