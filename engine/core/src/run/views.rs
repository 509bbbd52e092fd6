//! What can be read off a run.

use serde::Serialize;

use super::state::{
    Approval, Attestation, BackStage, Cause, End, Finish, Forward, Mode, Obligation, Stage, State,
    Stuck,
};
use super::{Run, words};
use crate::event::Identity;
use crate::judge::Decision;
use crate::plan::Plan;
use crate::time::{Span, Timestamp};
use crate::verdict::{Measurement, Status};
use crate::workload::{Diagnosis, Observation};

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepProgress {
    /// Not begun.
    Ahead,
    /// Under way.
    Now,
    /// Done.
    Done,
    /// It failed, or the run turned back in it.
    Failed,
}

/// A step, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its phase.
    pub phase: String,
    /// Its id.
    pub id: String,
    /// What it does, in words.
    pub what: String,
    /// How far it is.
    pub progress: StepProgress,
    /// How long it took.
    pub elapsed: Option<Span>,
}

/// A gate that is being asked, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// Its last verdict.
    pub status: Option<Status>,
    /// Why.
    pub reason: String,
    /// What follows from its verdicts so far.
    pub decision: Decision,
    /// Its last figures.
    pub measurements: Vec<Measurement>,
    /// How often it was asked in this step.
    pub evaluations: u32,
    /// Measured time.
    pub measured: Span,
    /// When it is asked next.
    pub due: Timestamp,
}

impl Run {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's digest, which approvals are bound to.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Who started it.
    #[must_use]
    pub const fn started_by(&self) -> &Identity {
        &self.started_by
    }

    /// The run whose place it takes.
    #[must_use]
    pub fn supersedes(&self) -> Option<&str> {
        self.supersedes.as_deref()
    }

    /// The run that takes its place.
    #[must_use]
    pub fn superseded_by(&self) -> Option<&str> {
        self.cause.as_ref()?.superseded_by.as_deref()
    }

    /// When it came to be.
    #[must_use]
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The time of its last record.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The same run some time after its last record, for asking what it would take then.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        self.now = self.now.max(now);
        self
    }

    /// When it ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// The last epoch in which an engine drove it; 0 before any. The next one must be later.
    #[must_use]
    pub const fn last_epoch(&self) -> u64 {
        self.epoch
    }

    /// The epoch of the engine that drives it.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.driver.as_ref().map(|driver| driver.epoch)
    }

    /// Number of the last command that was taken from the inbox.
    #[must_use]
    pub const fn inbox(&self) -> u64 {
        self.inbox
    }

    /// Whether the run holds its target.
    #[must_use]
    pub fn holds_target(&self) -> bool {
        !self.claimed.is_empty()
    }

    /// The places in the plan of the workloads whose targets it holds.
    pub fn held(&self) -> impl Iterator<Item = usize> + '_ {
        self.claimed.iter().copied()
    }

    /// The places in the plan of the workloads whose targets it gave up letting go of: its claim may be there still.
    pub fn claims_left(&self) -> impl Iterator<Item = usize> + '_ {
        self.claims_left.iter().copied()
    }

    /// Whether a write to the target was ever intended.
    #[must_use]
    pub fn changed_anything(&self) -> bool {
        self.changed()
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.mode {
            Mode::Ended(end) => return State::Ended { end: *end },
            Mode::Forward(Forward::Planned) => return State::Planned,
            Mode::Back(back) => {
                if let Some(stuck) = &back.stuck {
                    return if stuck.decision {
                        State::RollingBackAwaitingPeople {
                            reason: format!("{}: {}", stuck.step, stuck.reason),
                        }
                    } else {
                        State::Ended {
                            end: End::RollbackStuck,
                        }
                    };
                }
            }
            Mode::Forward(_) => {}
        }
        if self.driver.is_none() {
            return State::Interrupted;
        }
        if matches!(self.mode, Mode::Back(_)) {
            return State::RollingBack;
        }
        if self.paused.is_some() {
            return State::Paused;
        }
        if let Some(reason) = self.waits_for_people() {
            return State::AwaitingPeople { reason };
        }
        match self.here() {
            (Some(phase), Some(step)) => State::Running { phase, step },
            _ => {
                let claiming = matches!(self.mode, Mode::Forward(Forward::Claiming { .. }));
                let step = if claiming { "claim" } else { "finish" };
                State::Running {
                    phase: step.to_owned(),
                    step: step.to_owned(),
                }
            }
        }
    }

    /// The compensation that is stuck.
    #[must_use]
    pub fn stuck_now(&self) -> Option<&Stuck> {
        match &self.mode {
            Mode::Back(back) => back.stuck.as_ref(),
            Mode::Forward(_) | Mode::Ended(_) => None,
        }
    }

    /// Why the run turned back.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// What was found out about a failure.
    #[must_use]
    pub const fn diagnosis(&self) -> Option<&Diagnosis> {
        self.diagnosis.as_ref()
    }

    /// The workload as it was seen last.
    #[must_use]
    pub fn observation(&self) -> Option<&Observation> {
        self.observation.as_deref()
    }

    /// Approvals that were given.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// What people vouched for.
    #[must_use]
    pub fn attestations(&self) -> &[Attestation] {
        &self.attestations
    }

    /// What is owed after the end.
    #[must_use]
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// Every step, with how far it is.
    #[must_use]
    pub fn steps(&self) -> Vec<StepView> {
        let cursor = self.cursor().map(|cursor| (cursor.phase, cursor.step));
        let failed_in = self.cause.as_ref().and_then(|cause| cause.step.clone());
        let mut views = Vec::new();
        for (p, phase) in self.phases.iter().enumerate() {
            for (s, step) in phase.steps.iter().enumerate() {
                let outcome = self.outcomes.iter().find(|outcome| outcome.step == step.id);
                let progress = if failed_in.as_ref() == Some(&step.id) {
                    StepProgress::Failed
                } else if cursor == Some((p, s)) {
                    StepProgress::Now
                } else if outcome.is_some() {
                    StepProgress::Done
                } else {
                    StepProgress::Ahead
                };
                views.push(StepView {
                    phase: phase.name.clone(),
                    id: step.id.clone(),
                    what: words::in_words(&step.action),
                    progress,
                    elapsed: outcome.map(|outcome| outcome.elapsed),
                });
            }
        }
        views
    }

    /// The gates that are being asked.
    #[must_use]
    pub fn gates(&self) -> Vec<GateView> {
        let view = |(name, asked): (&String, &std::sync::Arc<super::state::Asked>)| GateView {
            name: name.clone(),
            status: asked.judge.last().map(|last| last.status),
            reason: asked
                .judge
                .last()
                .map(|last| last.reason.clone())
                .unwrap_or_default(),
            decision: asked.judge.decision().clone(),
            measurements: asked
                .judge
                .last()
                .map(|last| last.measurements.clone())
                .unwrap_or_default(),
            evaluations: asked.judge.evaluations(),
            measured: asked.judge.measured(),
            due: asked.judge.due(),
        };
        self.gates.iter().map(view).collect()
    }

    /// How far the present soak is: measured time, and how much it needs.
    #[must_use]
    pub fn soak(&self) -> Option<(Span, Span)> {
        let (cursor, step) = self.current()?;
        match (&cursor.stage, &step.action) {
            (Stage::Asking { .. }, crate::plan::Action::Soak { duration, .. }) => {
                Some((self.measured(), *duration))
            }
            _ => None,
        }
    }

    /// What `abort` would do now, in a sentence.
    #[must_use]
    pub fn abort_would(&self) -> String {
        let subject = &self.plan.subject;
        match &self.mode {
            Mode::Ended(End::Succeeded) => format!(
                "nothing: the run is over; `rollback` would bring {} back",
                subject.previous_version
            ),
            Mode::Ended(_) => "nothing: the run is over".to_owned(),
            Mode::Back(back) => match (&back.stuck, &back.stage) {
                (Some(stuck), _) => format!(
                    "nothing: the rollback is stuck at {} and takes retry, skip or hand-over",
                    stuck.step
                ),
                (None, BackStage::Finishing(Finish::Closing)) => {
                    "nothing: the run is nearly back".to_owned()
                }
                (None, _) => "nothing more: the run is on its way back".to_owned(),
            },
            Mode::Forward(_) if self.past_point => {
                "stop here and stay forward: the point of no return is passed".to_owned()
            }
            Mode::Forward(_) if self.touches() => self.way_back_in_words(),
            Mode::Forward(_) => "stop; nothing has been changed".to_owned(),
        }
    }

    /// What the way back would do with each workload, the last one first.
    fn way_back_in_words(&self) -> String {
        let mut parts = Vec::new();
        for (place, workload) in self.plan.workloads.iter().enumerate().rev() {
            let Some(known) = self.known_of(place).filter(|known| known.touched()) else {
                continue;
            };
            let settings = &workload.baseline.settings;
            let version = &workload.baseline.version;
            let mut doing = Vec::new();
            if known.changed {
                // The way back writes the run's own fields only: a number of pods that isn't one stays as it is.
                let replicas = match known.owned.replicas {
                    None if known.replicas != settings.replicas => {
                        format!("the {} replicas that it has now", known.replicas)
                    }
                    _ => format!("{} replicas", settings.replicas),
                };
                doing.push(format!(
                    "bring {version} ({}) back with {replicas}, wait until it is ready",
                    settings.image
                ));
            }
            if known.traffic.touched {
                doing.push(format!("put traffic back to {version}"));
            }
            if known.pieces.len() > known.copies().count() {
                let candidate = &self.plan.subject.version;
                doing.push(format!("take the candidate {candidate} away"));
            }
            if known.copies().next().is_some() {
                doing.push("remove the copies of its configuration".to_owned());
            }
            if doing.is_empty() {
                doing.push("put the autoscaler back".to_owned());
            }
            let doing = doing.join(", ");
            parts.push(if self.plan.workloads.len() > 1 {
                format!("{}: {doing}", workload.name)
            } else {
                doing
            });
        }
        format!("{}, and let go of the target", parts.join("; "))
    }
}
