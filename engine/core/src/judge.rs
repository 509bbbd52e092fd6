//! Gate policy: how verdicts over time become a decision.
//!
//! A [`Judge`] is fed every verdict and every error of one gate within one step. Three rules carry it:
//!
//! * **No data is never a pass.** An inconclusive verdict neither resets nor completes a breach, and a
//!   gate that only ever said nothing never passes.
//! * **Only a breach that lasts counts** where `sustained` is set: the time from the first failing
//!   verdict to the last, without a pass in between.
//! * **Only measured time counts**: two conclusive verdicts that lie more than two intervals apart
//!   measured nothing in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::time::{Span, Timestamp};
use crate::verdict::{Status, Verdict};

/// The least time between two evaluations, whatever a file or a strategy asks for.
pub const INTERVAL_LEAST: Span = Span::from_millis(100);
/// The longest that a failing gate can put off its next evaluation.
const RETRY_MOST: Span = Span::from_mins(5);

/// What is done when a figure lies in a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BandAction {
    /// Nothing.
    Continue,
    /// Tell people, and go on.
    Warn,
    /// Stop forward steps and call people.
    Hold,
    /// Count it as a failing verdict.
    RollBack,
}

/// How verdicts over time become a decision. Counts are per step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePolicy {
    /// Time between two evaluations.
    pub interval: Span,
    /// Time before the first.
    pub initial_delay: Span,
    /// How long a breach must last before it counts; zero counts each failing verdict.
    pub sustained: Span,
    /// Failing verdicts that are let pass, where `sustained` is zero.
    pub failure_limit: u32,
    /// Inconclusive verdicts in a row that are let pass.
    pub inconclusive_limit: u32,
    /// Errors in a row that are let pass.
    pub error_limit: u32,
    /// How long one evaluation may take.
    pub timeout: Span,
    /// What is done per band; a band that isn't named goes by the verdict's status.
    pub bands: BTreeMap<String, BandAction>,
    /// How long a gate that can't tell holds the run before it goes back; zero goes back at once.
    pub hold: Span,
}

/// What follows from the verdicts so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// Nothing yet: keep asking.
    Going,
    /// The last conclusive verdict was a pass, and no breach is under way.
    Passing,
    /// People are needed; if none helps by then, the run goes back.
    Hold {
        /// Why.
        reason: String,
        /// When the run goes back.
        until: Timestamp,
    },
    /// The gate has failed.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One gate within one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    started: Timestamp,
    evaluations: u32,
    failures: u32,
    inconclusive: u32,
    errors: u32,
    breach_since: Option<Timestamp>,
    conclusive_at: Option<Timestamp>,
    measured: Span,
    hold_since: Option<Timestamp>,
    due: Timestamp,
    decision: Decision,
    warned: Option<String>,
    /// The band of the last warning, while the figures stay in it.
    warned_of: Option<String>,
    last: Option<Verdict>,
}

impl Judge {
    /// Begins at `now`.
    #[must_use]
    pub fn new(policy: &GatePolicy, now: Timestamp) -> Self {
        Self {
            started: now,
            evaluations: 0,
            failures: 0,
            inconclusive: 0,
            errors: 0,
            breach_since: None,
            conclusive_at: None,
            measured: Span::ZERO,
            hold_since: None,
            due: now.plus(policy.initial_delay),
            decision: Decision::Going,
            warned: None,
            warned_of: None,
            last: None,
        }
    }

    /// When the gate is to be asked next.
    #[must_use]
    pub const fn due(&self) -> Timestamp {
        self.due
    }

    /// How often the gate answered or failed to in this step.
    #[must_use]
    pub const fn evaluations(&self) -> u32 {
        self.evaluations
    }

    /// What follows from the verdicts so far.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Time during which conclusive verdicts followed closely upon each other.
    #[must_use]
    pub const fn measured(&self) -> Span {
        self.measured
    }

    /// The last verdict.
    #[must_use]
    pub const fn last(&self) -> Option<&Verdict> {
        self.last.as_ref()
    }

    /// The warning that the last verdict brought up, once: asking again returns none.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warned.take()
    }

    /// When the decision changes by itself: a hold that runs out.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self.decision {
            Decision::Hold { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Lets time pass: a hold that ran out becomes a failure.
    pub fn tick(&mut self, now: Timestamp) {
        if let Decision::Hold { reason, until } = &self.decision
            && now >= *until
        {
            self.decision = Decision::Failed {
                reason: format!("{reason}; nobody helped by {until}"),
            };
        }
    }

    /// A person asks for another try: what counted against the gate without being an answer is forgotten.
    pub fn retry(&mut self, now: Timestamp) {
        self.inconclusive = 0;
        self.errors = 0;
        self.hold_since = None;
        self.due = now;
        if matches!(self.decision, Decision::Hold { .. }) {
            self.decision = Decision::Going;
        }
    }

    /// Takes a verdict in.
    pub fn verdict(&mut self, policy: &GatePolicy, now: Timestamp, verdict: Verdict) {
        self.evaluations = self.evaluations.saturating_add(1);
        self.errors = 0;
        self.due = now.plus(every(policy));
        let verdict = finite(verdict);
        if matches!(self.decision, Decision::Failed { .. }) {
            return;
        }
        let (status, band) = self.banded(policy, &verdict);
        let mut reason = verdict.reason.clone();
        self.last = Some(verdict);
        if let Some(band) = &band {
            reason = format!("in band `{band}`: {reason}");
        }
        if band.is_some() && status == Status::Pass {
            // Not by way of a pass: that would start the hold's time anew at every verdict.
            self.measure(policy, now);
            self.breach_since = None;
            self.inconclusive = 0;
            self.hold(policy, now, reason);
            return;
        }
        match status {
            Status::Pass => self.passed(policy, now),
            Status::Fail => self.failed(policy, now, &reason),
            Status::Inconclusive => {
                self.inconclusive = self.inconclusive.saturating_add(1);
                if self.inconclusive > policy.inconclusive_limit {
                    self.hold(
                        policy,
                        now,
                        format!(
                            "inconclusive {} in a row: {reason}",
                            times(self.inconclusive)
                        ),
                    );
                } else if matches!(self.decision, Decision::Passing) {
                    self.decision = Decision::Going;
                }
            }
        }
    }

    /// Takes in that the gate gave no verdict.
    pub fn error(&mut self, policy: &GatePolicy, now: Timestamp, failure: &Failure) {
        self.evaluations = self.evaluations.saturating_add(1);
        self.errors = self.errors.saturating_add(1);
        let most = RETRY_MOST.max(every(policy));
        let after = failure.after.unwrap_or(policy.interval);
        self.due = now.plus(after.clamp(INTERVAL_LEAST, most));
        if matches!(self.decision, Decision::Failed { .. }) {
            return;
        }
        if matches!(self.decision, Decision::Passing) {
            self.decision = Decision::Going;
        }
        if !failure.kind.may_pass() {
            let reason = format!("can't give a verdict, and asking again won't help: {failure}");
            self.hold(policy, now, reason);
        } else if self.errors > policy.error_limit {
            let reason = format!("gave no verdict {} in a row: {failure}", times(self.errors));
            self.hold(policy, now, reason);
        }
    }

    /// The status that counts once bands have been looked at, and the band that holds the run though the gate
    /// passes, or that makes a failure of what the gate itself doesn't call one.
    fn banded(&mut self, policy: &GatePolicy, verdict: &Verdict) -> (Status, Option<String>) {
        let mut worst: Option<(BandAction, &str)> = None;
        let mut fails_in_band = false;
        let mut fails_besides = false;
        for measurement in &verdict.measurements {
            let fails = measurement.status == Status::Fail;
            let Some(action) = policy.bands.get(&measurement.band) else {
                fails_besides |= fails;
                continue;
            };
            fails_in_band |= fails;
            if worst.is_none_or(|(before, _)| *action > before) {
                worst = Some((*action, &measurement.band));
            }
        }
        // A band speaks for its own figures only: what failed besides them still counts.
        let explained = fails_in_band && !fails_besides;
        let warned_before = self.warned_of.take();
        match worst {
            None => (verdict.status, None),
            Some((BandAction::RollBack, band)) => {
                let own = verdict.status != Status::Fail;
                (Status::Fail, own.then(|| band.to_owned()))
            }
            // A band never turns a missing answer into a pass.
            Some(_) if verdict.status == Status::Inconclusive => (Status::Inconclusive, None),
            Some(_) if verdict.status == Status::Fail && !explained => (Status::Fail, None),
            Some((BandAction::Continue, _)) => (Status::Pass, None),
            Some((BandAction::Warn, band)) => {
                // People are told once for as long as it lasts.
                if warned_before.as_deref() != Some(band) {
                    self.warned = Some(format!("in band `{band}`: {}", verdict.reason));
                }
                self.warned_of = Some(band.to_owned());
                (Status::Pass, None)
            }
            Some((BandAction::Hold, band)) => (Status::Pass, Some(band.to_owned())),
        }
    }

    fn measure(&mut self, policy: &GatePolicy, now: Timestamp) {
        if let Some(before) = self.conclusive_at {
            let gap = now.since(before);
            if gap <= every(policy).times(2) {
                self.measured = self.measured.plus(gap);
            }
        }
        self.conclusive_at = Some(now);
    }

    fn passed(&mut self, policy: &GatePolicy, now: Timestamp) {
        self.measure(policy, now);
        self.breach_since = None;
        self.inconclusive = 0;
        self.hold_since = None;
        self.decision = Decision::Passing;
    }

    fn failed(&mut self, policy: &GatePolicy, now: Timestamp, reason: &str) {
        self.measure(policy, now);
        self.inconclusive = 0;
        self.hold_since = None;
        self.decision = Decision::Going;
        if policy.sustained > Span::ZERO {
            let since = *self.breach_since.get_or_insert(now);
            if now.since(since) >= policy.sustained {
                self.decision = Decision::Failed {
                    reason: format!("{reason}, for {}", now.since(since)),
                };
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            if self.failures > policy.failure_limit {
                self.decision = Decision::Failed {
                    reason: reason.to_owned(),
                };
            }
        }
    }

    fn hold(&mut self, policy: &GatePolicy, now: Timestamp, reason: String) {
        let since = *self.hold_since.get_or_insert(now);
        let until = since.plus(policy.hold);
        self.decision = if now >= until {
            Decision::Failed { reason }
        } else {
            Decision::Hold { reason, until }
        };
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

fn every(policy: &GatePolicy) -> Span {
    policy.interval.max(INTERVAL_LEAST)
}

/// A figure that isn't finite is no data, and a pass that rests on it is none. The host sees to that
/// too; a journal couldn't even hold it.
fn finite(mut verdict: Verdict) -> Verdict {
    for measurement in &mut verdict.measurements {
        for figure in [&mut measurement.candidate, &mut measurement.stable] {
            if figure.is_some_and(|figure| !figure.is_finite()) {
                *figure = None;
                if verdict.status == Status::Pass {
                    verdict.status = Status::Inconclusive;
                }
            }
        }
    }
    verdict.memory = verdict.memory.filter(|memory| !memory.is_null());
    verdict
}

#[cfg(test)]
mod tests;
