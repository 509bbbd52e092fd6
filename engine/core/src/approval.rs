//! Who must approve a release, and whether an approval counts. Pure functions over the policy.
//!
//! Every row of the policy's table that matches the change and the environment is required, so a
//! major release to production needs the row of its type and the row of its environment. An approval
//! is bound to a plan's digest, and holds for a time.

use thiserror::Error;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, codes};
use crate::plan::Requirement;
use crate::spec::Change;
use crate::spec::policy::{DEFAULT_EXPIRES, Policy, applies};
use crate::time::{Span, Timestamp};

/// A person's agreement, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who agreed: a verified identity.
    pub person: String,
    /// The digest of the plan that was agreed to.
    pub plan_digest: String,
    /// When.
    pub at: Timestamp,
}

/// Why an approval does not count towards a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The person holds none of the roles.
    #[error("`{person}` holds none of the roles that `{requirement}` asks for")]
    NoRole {
        /// The person.
        person: String,
        /// The requirement's name.
        requirement: String,
    },
    /// The person started the run.
    #[error("`{person}` started the run and so can't approve it")]
    Starter {
        /// The person.
        person: String,
    },
    /// Another plan was approved.
    #[error("the approval is for the plan {approved}, and this is {current}")]
    OtherPlan {
        /// The digest that was approved.
        approved: String,
        /// The digest of the plan at hand.
        current: String,
    },
    /// It was given too long ago, or after now.
    #[error("the approval of {at} held for {held}")]
    Expired {
        /// When it was given.
        at: Timestamp,
        /// How long it held.
        held: Span,
    },
}

impl Refusal {
    /// The code that a user sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NoRole { .. } | Self::Starter { .. } => codes::APPROVER_NOT_ALLOWED,
            Self::OtherPlan { .. } => codes::APPROVAL_STALE,
            Self::Expired { .. } => codes::APPROVAL_EXPIRED,
        }
    }
}

/// What the policy's table asks for, for one kind of change in one environment, in the table's order.
#[must_use]
pub fn required(policy: &Policy, change: Change, environment: &str) -> Vec<Requirement> {
    let matching = policy
        .approvals
        .iter()
        .enumerate()
        .filter(|(_, rule)| applies(&rule.changes, &rule.environments, change, environment));
    matching
        .map(|(row, rule)| {
            let name = format!("policy-{}", row.saturating_add(1));
            Requirement {
                starter_may_approve: rule
                    .starter_may_approve
                    .unwrap_or(policy.starter_may_approve),
                ..requirement(policy, &name, &rule.roles, rule.count, Some(rule.expires))
            }
        })
        .collect()
}

/// A requirement that the release itself states.
#[must_use]
pub fn requirement(
    policy: &Policy,
    name: &str,
    roles: &[String],
    count: u32,
    expires: Option<Span>,
) -> Requirement {
    Requirement {
        name: name.to_owned(),
        roles: roles.to_vec(),
        people: policy.people(roles),
        count,
        starter_may_approve: policy.starter_may_approve,
        expires: expires.unwrap_or(DEFAULT_EXPIRES),
    }
}

/// Who may give an approval of a run that this person starts.
#[must_use]
pub fn approvers<'a>(requirement: &'a Requirement, starter: &str) -> Vec<&'a str> {
    let people = requirement.people.iter().map(String::as_str);
    people
        .filter(|person| requirement.starter_may_approve || *person != starter)
        .collect()
}

/// Whether the approvals that a plan asks for can be given at all if this person starts the run. Otherwise
/// it would be noticed only when the run waits for people who can't come.
///
/// # Errors
/// Every requirement that can't be met, who could meet it, and why that isn't enough.
pub fn can_be_given<'a>(
    requirements: impl IntoIterator<Item = &'a Requirement>,
    starter: &str,
) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::new();
    for asked in requirements {
        let left = approvers(asked, starter);
        let found = u32::try_from(left.len()).unwrap_or(u32::MAX);
        if found >= asked.count {
            continue;
        }
        let why = if asked.people.iter().any(|person| person == starter) {
            format!("{starter} starts the run, and who starts a run can't approve it; ")
        } else {
            String::new()
        };
        let left = if left.is_empty() {
            "nobody else may".to_owned()
        } else {
            format!("only {} may", left.join(", "))
        };
        let fault = Diagnostic::new(
            codes::APPROVAL_IMPOSSIBLE,
            format!("the approval `{}` can't be given", asked.name),
        )
        .expected(format!(
            "{} of {} ({})",
            asked.count,
            asked.roles.join(" or "),
            asked.people.join(", ")
        ))
        .found(format!("{why}{left}"))
        .hint("have somebody else start the run, add people to the role, or say `starterMayApprove: true` in the policy");
        faults.push(fault);
    }
    faults.into_result(())
}

/// Whether one approval counts towards a requirement at `now`.
///
/// # Errors
///
/// Why it doesn't.
pub fn counts(
    requirement: &Requirement,
    approval: &Approval,
    starter: &str,
    plan_digest: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Approval {
        person,
        plan_digest: approved,
        at,
    } = approval;
    if !requirement.people.contains(person) {
        return Err(Refusal::NoRole {
            person: person.clone(),
            requirement: requirement.name.clone(),
        });
    }
    if person == starter && !requirement.starter_may_approve {
        return Err(Refusal::Starter {
            person: person.clone(),
        });
    }
    if approved != plan_digest {
        return Err(Refusal::OtherPlan {
            approved: approved.clone(),
            current: plan_digest.to_owned(),
        });
    }
    // A clock that went back makes no approval newer: one from the future doesn't hold either.
    if *at > now || now.since(*at) > requirement.expires {
        return Err(Refusal::Expired {
            at: *at,
            held: requirement.expires,
        });
    }
    Ok(())
}

/// How many more people must approve. Nobody counts twice.
#[must_use]
pub fn missing(
    requirement: &Requirement,
    approvals: &[Approval],
    starter: &str,
    plan_digest: &str,
    now: Timestamp,
) -> u32 {
    let people: std::collections::BTreeSet<&str> = approvals
        .iter()
        .filter(|approval| counts(requirement, approval, starter, plan_digest, now).is_ok())
        .map(|approval| approval.person.as_str())
        .collect();
    requirement
        .count
        .saturating_sub(u32::try_from(people.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
