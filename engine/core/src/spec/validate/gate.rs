//! Gate policies: numbers and actions that can hold together.

use crate::diagnostic::codes;
use crate::spec::check::Checker;
use crate::spec::release::{BandAction, GatePolicy, InconclusiveAction};
use crate::time::Span;

/// Most failed, inconclusive or failing evaluations that a policy may let pass.
const MAX_LIMIT: u32 = 1000;
/// The bands that have an order, from good to bad.
const ORDERED_BANDS: [&str; 3] = ["normal", "warn", "alert"];

/// Checks the policy of one gate.
pub(super) fn policy(c: &mut Checker<'_>, pointer: &str, policy: &GatePolicy) {
    let at = |field: &str| format!("{pointer}/{field}");
    c.duration(&at("interval"), "the interval", policy.interval);
    c.duration(&at("timeout"), "the timeout", policy.timeout);
    c.at_most(
        &at("initialDelay"),
        "the initial delay",
        policy.initial_delay,
    );
    if let Some(sustained) = policy.sustained {
        c.duration(&at("sustained"), "`sustained`", sustained);
        if sustained > Span::ZERO && sustained < policy.interval {
            c.fault(codes::IMPOSSIBLE_NUMBER, &at("sustained"), |f| f.expected(format!("at least the interval, {}", policy.interval)).found(sustained.to_string()).hint("a breach that is shorter than the interval can't be told from a single verdict"), "`sustained` is shorter than the interval");
        }
        if policy.failure_limit > 0 {
            c.fault(
                codes::CONTRADICTION,
                &at("failureLimit"),
                |f| f.hint("keep `sustained` to count time, or `failureLimit` to count verdicts"),
                "`failureLimit` and `sustained` can't both decide when a breach counts",
            );
        }
    }
    for (field, limit) in [
        ("failureLimit", policy.failure_limit),
        ("inconclusiveLimit", policy.inconclusive_limit),
        ("errorLimit", policy.error_limit),
    ] {
        if limit > MAX_LIMIT {
            c.number(
                &at(field),
                format!("`{field}` is too high to mean anything"),
                &format!("at most {MAX_LIMIT}"),
                &limit.to_string(),
            );
        }
    }
    bands(c, &at("bands"), policy);
    let inconclusive = &policy.on_inconclusive;
    if let Some(after) = inconclusive.rollback_after {
        c.duration(
            &at("onInconclusive/rollbackAfter"),
            "`rollbackAfter`",
            after,
        );
        if inconclusive.action == InconclusiveAction::Rollback {
            c.fault(codes::CONTRADICTION, &at("onInconclusive/rollbackAfter"), |f| f.hint("use `action: hold` to go back after a time, or leave `rollbackAfter` out to go back at once"), "`rollbackAfter` has no meaning with `action: rollback`");
        }
    }
}

/// A worse band must not lead to a milder action.
fn bands(c: &mut Checker<'_>, pointer: &str, policy: &GatePolicy) {
    c.bounded(pointer, "bands", policy.bands.len());
    let mut before: Option<(&str, BandAction)> = None;
    for band in ORDERED_BANDS {
        let Some(action) = policy.bands.get(band).copied() else {
            continue;
        };
        if let Some((milder, stricter)) = before.filter(|(_, stricter)| *stricter > action) {
            c.fault(
                codes::CONTRADICTION,
                &format!("{pointer}/{band}"),
                |f| {
                    f.expected(format!("at least as strict as `{milder}`"))
                        .found(format!("{action:?} after {stricter:?}").to_lowercase())
                },
                format!("the band `{band}` is worse than `{milder}` and leads to a milder action"),
            );
        }
        before = Some((band, action));
    }
}
