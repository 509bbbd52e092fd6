//! What keeps a step from beginning, and when the way forward is to be looked at again.

use serde_json::json;

use super::limits::{self, SETTLE_INTERVAL};
use super::state::{BackStage, Cursor, Forward, Keep, Level, Mode, Stage, Wait};
use super::{Illegal, Run};
use crate::effect::Severity;
use crate::judge::Decision;
use crate::plan::{Action, Step};
use crate::time::{Span, Timestamp};

impl Run {
    pub(super) fn waiting(
        &mut self,
        cursor: &Cursor,
        step: &Step,
        on: Option<&Wait>,
        until: Timestamp,
    ) -> Result<bool, Illegal> {
        let Some(wait) = self.blocked_by(cursor, step) else {
            if self.stopped() || (self.unsure(on) && self.now < until) {
                return Ok(false);
            }
            if self.unsure(on) {
                let reason = format!("the gates of what was done before did not pass by {until}");
                self.back_from(step, reason)?;
                return Ok(true);
            }
            self.begin_step(step, false)?;
            return Ok(true);
        };
        if self.now >= until {
            self.back_from(
                step,
                format!("{}; nobody came by {until}", self.wait_in_words(&wait)),
            )?;
            return Ok(true);
        }
        if Some(&wait) != on {
            let words = self.wait_in_words(&wait);
            self.say(
                "awaiting",
                Level::Warn,
                format!("waits: {words}"),
                json!({"until": until}),
            );
            let title = format!("{} waits: {words}", self.headline());
            self.set_stage(Stage::Waiting {
                on: Some(wait),
                until,
            });
            self.tell("awaiting-people", Severity::Warning, title, words)?;
        }
        Ok(false)
    }

    /// Whether forward steps are stopped: by a person, or by a gate that can't tell.
    pub(super) fn stopped(&self) -> bool {
        self.paused.is_some() || self.held_by().is_some()
    }

    /// Whether people came, or a window opened, while a gate of what was done before can't say that it is well still.
    /// People may agree then, to the plan; what was waited for begins once the gate has told.
    pub(super) fn unsure(&self, on: Option<&Wait>) -> bool {
        let mut gates = self.gates.values();
        on.is_some() && gates.any(|asked| *asked.judge.decision() != Decision::Passing)
    }

    /// Whether the run waits at a step for nobody any more but a gate.
    pub(super) fn waits_for_gates(&self) -> bool {
        self.cursor().is_some_and(|cursor| {
            let Stage::Waiting { on, .. } = &cursor.stage else {
                return false;
            };
            self.unsure(on.as_ref()) && self.may_begin(cursor)
        })
    }

    /// Whether the gates of a step that is done still say so: they go on while the run is paused.
    pub(super) fn still_passing(&self, step: &Step) -> bool {
        let (Action::Check { gates } | Action::Soak { gates, .. }) = &step.action else {
            return true;
        };
        gates.iter().all(|name| {
            self.gates
                .get(name)
                .is_none_or(|asked| *asked.judge.decision() == Decision::Passing)
        })
    }

    /// What keeps a step from beginning.
    pub(super) fn blocked_by(&self, cursor: &Cursor, step: &Step) -> Option<Wait> {
        // An approval holds until the phase changes something: what comes before that may take longer than it lasts.
        let done = self.phases.get(cursor.phase).map(|phase| &phase.steps);
        let mut done = done.into_iter().flatten().take(cursor.step);
        if !done.any(|step| step.action.changes()) {
            // A phase without steps is never come to: what it waits for holds for the next one.
            let due = |name: &str| {
                let mut phases = self.phases.iter().enumerate();
                phases.any(|(index, phase)| {
                    let empty = index < cursor.phase && phase.steps.is_empty();
                    phase.name == name && (index == cursor.phase || empty)
                })
            };
            let unmet = self
                .plan
                .approvals
                .iter()
                .find(|approval| due(&approval.before) && !self.met(&approval.requirement));
            if let Some(approval) = unmet {
                return Some(Wait::Approval {
                    requirement: approval.requirement.name.clone(),
                });
            }
        }
        match &step.action {
            Action::Approve { requirement, .. } if !self.met(requirement) => Some(Wait::Approval {
                requirement: requirement.name.clone(),
            }),
            Action::Attest { name, .. } if !self.attested(name) => {
                Some(Wait::Attestation { name: name.clone() })
            }
            action if action.changes() => self.closed_window(),
            _ => None,
        }
    }

    fn may_begin(&self, cursor: &Cursor) -> bool {
        self.step(cursor.phase, cursor.step)
            .is_some_and(|(_, step)| self.blocked_by(cursor, step).is_none())
    }

    pub(super) fn forward_wake(&self) -> Option<Timestamp> {
        if let Mode::Forward(Forward::Claiming { deadline, .. }) = &self.mode {
            return Some(*deadline);
        }
        if let Some(keeping) = self.keeping() {
            let releasing = matches!(keeping.stage, Keep::Releasing { .. });
            let deadline = (!releasing).then_some(keeping.deadline);
            return [deadline, self.look_wake()].into_iter().flatten().min();
        }
        let cursor = self.cursor()?;
        let stage = match &cursor.stage {
            // Stopped by a pause or a gate, which have their own times.
            Stage::Waiting { on: None, .. } => None,
            Stage::Waiting { .. } if self.stopped() && self.may_begin(cursor) => None,
            Stage::Waiting { until, .. } if self.waits_for_gates() => Some(*until),
            Stage::Waiting {
                on: Some(Wait::Window { opens, .. }),
                until,
            } => Some(opens.map_or(*until, |opens| opens.min(*until))),
            Stage::Waiting { until, .. } | Stage::Drifted { until, .. } => Some(*until),
            Stage::Following {
                deadline,
                taken: Some(taken),
                ..
            } => {
                let settle = self
                    .step(cursor.phase, cursor.step)
                    .map_or(Span::ZERO, |(_, step)| self.settle_time(step));
                Some(taken.plus(settle).min(*deadline))
            }
            Stage::Changing { deadline, .. }
            | Stage::Settling { deadline, .. }
            | Stage::Proving { deadline }
            | Stage::Following { deadline, .. }
            | Stage::Acting { deadline, .. }
            | Stage::Asking { deadline } => Some(*deadline),
            Stage::Revising { .. } | Stage::Done => None,
        };
        let pause = self.paused.as_ref().map(|pause| pause.until);
        let phase = self
            .phase_deadline(cursor)
            .filter(|_| cursor.stage != Stage::Done)
            .map(|(deadline, _)| deadline);
        [
            stage,
            pause,
            phase,
            self.gates_wake()
                .filter(|_| !matches!(cursor.stage, Stage::Drifted { .. })),
            self.look_wake(),
            self.reading_wake(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How often the workload is looked at in the present stage; none where it isn't.
    pub(super) fn look_interval(&self) -> Option<Span> {
        match &self.mode {
            Mode::Back(back) => matches!(
                back.stage,
                BackStage::Looking { .. } | BackStage::Settling { .. }
            )
            .then_some(SETTLE_INTERVAL),
            Mode::Forward(Forward::At(cursor)) => match &cursor.stage {
                Stage::Settling { .. } | Stage::Proving { .. } => Some(SETTLE_INTERVAL),
                Stage::Asking { .. } => Some(self.soak_interval()),
                Stage::Drifted { .. } => Some(limits::WATCH_INTERVAL),
                Stage::Waiting { .. } | Stage::Done if self.known.touched() => {
                    Some(limits::WATCH_INTERVAL)
                }
                _ => None,
            },
            Mode::Forward(Forward::Keeping(keeping)) => {
                (keeping.stage == Keep::Looking).then_some(SETTLE_INTERVAL)
            }
            Mode::Forward(_) | Mode::Ended(_) => None,
        }
    }

    /// When the phase's time is over; none while it waits for people or a window, which has a time of its own.
    pub(super) fn phase_deadline(&self, cursor: &Cursor) -> Option<(Timestamp, Span)> {
        if cursor.waits_since.is_some() {
            return None;
        }
        let timeout = self.phases.get(cursor.phase)?.timeout?;
        Some((cursor.phase_since.plus(timeout), timeout))
    }
}
