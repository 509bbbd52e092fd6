//! A release held against a policy: it may ask for more care, never for less.

use super::check::Checker;
use super::policy::{AttestationRule, PluginLimits, Policy};
use super::release::{Body, Loaded, StepAction};
use crate::approval;
use crate::diagnostic::{Diagnostics, codes};
use crate::plan::PhaseApproval;
use crate::time::Span;
use crate::yaml::escape;

/// What holds for a run, from the policy and the release together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// What must be agreed to before which phase: the policy's rows before the strategy's phase, and
    /// what the release adds.
    pub approvals: Vec<PhaseApproval>,
    /// What the policy wants vouched for, before the strategy's phase.
    pub attestations: Vec<AttestationRule>,
    /// No soak may be shorter; zero where neither says anything.
    pub minimum_soak: Span,
    /// What plugins may use.
    pub plugins: PluginLimits,
}

/// Holds a checked release against a policy.
///
/// # Errors
///
/// Every place where the release is wider than the policy, or asks for people who don't exist.
pub fn tighten(loaded: &Loaded, policy: &Policy) -> Result<Effective, Diagnostics> {
    let mut check = Checker::new(&loaded.document);
    let c = &mut check;
    gates(c, loaded, policy);
    soaks(c, loaded, policy);
    rollback(c, loaded, policy);
    steps(c, loaded, policy);
    let mut approvals = from_policy(loaded, policy);
    approvals.extend(from_release(c, loaded, policy));
    let release = &loaded.release;
    let attestations: Vec<AttestationRule> = policy
        .attestations_for(release.change, &loaded.environment)
        .cloned()
        .collect();
    attested_twice(c, loaded, &attestations);
    let floors = [release.minimum_soak, policy.gates.minimum_soak];
    let minimum_soak = floors.into_iter().flatten().max().unwrap_or(Span::ZERO);
    let mut faults = check.faults;
    faults.sort_by_place();
    faults.into_result(Effective {
        approvals,
        attestations,
        minimum_soak,
        plugins: policy.plugins.clone(),
    })
}

/// The phase that changes things first.
fn strategy_phase(loaded: &Loaded) -> &str {
    loaded
        .release
        .phases
        .iter()
        .find(|phase| phase.strategy().is_some())
        .map_or("", |phase| phase.name.as_str())
}

fn from_policy(loaded: &Loaded, policy: &Policy) -> Vec<PhaseApproval> {
    let before = strategy_phase(loaded);
    approval::required(policy, loaded.release.change, &loaded.environment)
        .into_iter()
        .map(|requirement| PhaseApproval {
            before: before.to_owned(),
            requirement,
        })
        .collect()
}

fn from_release(c: &mut Checker<'_>, loaded: &Loaded, policy: &Policy) -> Vec<PhaseApproval> {
    let mut approvals = Vec::new();
    for (index, asked) in loaded.release.approvals.iter().enumerate() {
        let pointer = format!("/approvals/{index}");
        people(
            c,
            policy,
            &pointer,
            &asked.roles,
            asked.count,
            asked.expires,
        );
        let name = format!("release-{}", index.saturating_add(1));
        let requirement =
            approval::requirement(policy, &name, &asked.roles, asked.count, asked.expires);
        approvals.push(PhaseApproval {
            before: asked.before.clone(),
            requirement,
        });
    }
    approvals
}

fn steps(c: &mut Checker<'_>, loaded: &Loaded, policy: &Policy) {
    for (phase_index, phase) in loaded.release.phases.iter().enumerate() {
        for (index, (_, action)) in phase.steps().into_iter().enumerate() {
            if let StepAction::Approve(approve) = action {
                let pointer = format!("/phases/{phase_index}/steps/{index}/approve");
                people(
                    c,
                    policy,
                    &pointer,
                    &approve.roles,
                    approve.count,
                    approve.expires,
                );
            }
        }
    }
}

/// The roles must exist, enough people hold them, and an approval holds no longer than the policy's.
fn people(
    c: &mut Checker<'_>,
    policy: &Policy,
    pointer: &str,
    roles: &[String],
    count: u32,
    expires: Option<Span>,
) {
    for (index, role) in roles.iter().enumerate() {
        c.refers_as(
            codes::UNKNOWN_ROLE,
            &format!("{pointer}/roles/{index}"),
            "role",
            role,
            policy.roles.keys().map(String::as_str),
        );
    }
    c.enough_people(pointer, policy, roles, count);
    let longest = policy
        .approvals
        .iter()
        .map(|rule| rule.expires)
        .max()
        .unwrap_or(super::policy::DEFAULT_EXPIRES);
    if let Some(expires) = expires {
        at_most(
            c,
            &format!("{pointer}/expires"),
            "an approval holds longer than the policy allows",
            expires,
            Some(longest),
        );
    }
}

fn gates(c: &mut Checker<'_>, loaded: &Loaded, policy: &Policy) {
    let floors = &policy.gates;
    for (name, gate) in &loaded.release.gates {
        let at = |field: &str| format!("/gates/{}/policy/{field}", escape(name));
        let set = &gate.policy;
        at_most(
            c,
            &at("failureLimit"),
            "the gate lets more failed verdicts pass than the policy",
            set.failure_limit,
            floors.max_failure_limit,
        );
        at_most(
            c,
            &at("inconclusiveLimit"),
            "the gate lets more inconclusive verdicts pass than the policy",
            set.inconclusive_limit,
            floors.max_inconclusive_limit,
        );
        at_most(
            c,
            &at("errorLimit"),
            "the gate may fail to answer more often than the policy allows",
            set.error_limit,
            floors.max_error_limit,
        );
        at_most(
            c,
            &at("interval"),
            "the gate is asked less often than the policy demands",
            set.interval,
            floors.max_interval,
        );
        if let Some(sustained) = set.sustained {
            at_most(
                c,
                &at("sustained"),
                "a breach must last longer than the policy allows",
                sustained,
                floors.max_sustained,
            );
        }
    }
}

fn soaks(c: &mut Checker<'_>, loaded: &Loaded, policy: &Policy) {
    let Some(minimum) = policy.gates.minimum_soak else {
        return;
    };
    if let Some(own) = loaded.release.minimum_soak {
        at_least(
            c,
            "/minimumSoak",
            "the minimum soak is shorter than the policy's",
            own,
            Some(minimum),
        );
    }
    for (phase_index, phase) in loaded.release.phases.iter().enumerate() {
        let Body::Steps(steps) = &phase.body else {
            continue;
        };
        for (index, step) in steps.iter().enumerate() {
            if let StepAction::Soak(soak) = &step.action {
                at_least(
                    c,
                    &format!("/phases/{phase_index}/steps/{index}/soak/for"),
                    "the soak is shorter than the policy's minimum",
                    soak.duration,
                    Some(minimum),
                );
            }
        }
    }
}

fn rollback(c: &mut Checker<'_>, loaded: &Loaded, policy: &Policy) {
    let set = &loaded.release.rollback;
    at_most(
        c,
        "/rollback/target",
        "the way back aims at taking longer than the policy allows",
        set.target,
        policy.rollback.max_target,
    );
    at_least(
        c,
        "/rollback/retries",
        "a step back is tried again less often than the policy demands",
        set.retries,
        policy.rollback.min_retries,
    );
}

fn attested_twice(c: &mut Checker<'_>, loaded: &Loaded, rules: &[AttestationRule]) {
    for (phase_index, phase) in loaded.release.phases.iter().enumerate() {
        for (index, (_, action)) in phase.steps().into_iter().enumerate() {
            let StepAction::Attest(attest) = action else {
                continue;
            };
            if rules.iter().any(|rule| rule.name == attest.name) {
                c.fault(
                    codes::DUPLICATE_NAME,
                    &format!("/phases/{phase_index}/steps/{index}/attest/name"),
                    |f| {
                        f.found(format!("`{}`", attest.name))
                            .hint("remove the step, or give it another name")
                    },
                    "the policy asks for an attestation of this name already",
                );
            }
        }
    }
}

fn at_most<T: PartialOrd + std::fmt::Display>(
    c: &mut Checker<'_>,
    pointer: &str,
    message: &str,
    set: T,
    limit: Option<T>,
) {
    if let Some(limit) = limit.filter(|limit| set > *limit) {
        widened(
            c,
            pointer,
            message,
            format!("at most {limit}"),
            set.to_string(),
        );
    }
}

fn at_least<T: PartialOrd + std::fmt::Display>(
    c: &mut Checker<'_>,
    pointer: &str,
    message: &str,
    set: T,
    limit: Option<T>,
) {
    if let Some(limit) = limit.filter(|limit| set < *limit) {
        widened(
            c,
            pointer,
            message,
            format!("at least {limit}"),
            set.to_string(),
        );
    }
}

fn widened(c: &mut Checker<'_>, pointer: &str, message: &str, expected: String, found: String) {
    c.fault(
        codes::POLICY_WIDENED,
        pointer,
        |f| f.expected(expected).found(found).hint("a release can tighten the policy, never widen it; change the release, or ask the policy's owner"),
        message,
    );
}

#[cfg(test)]
mod tests;
