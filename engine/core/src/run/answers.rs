//! What people can answer a run that waits for them, and who took one over.

use serde::Serialize;

use super::Run;
use super::state::{Cursor, Stage, TakenOver, Wait};
use crate::effect::Reading;
use crate::strategy::Split;

/// What moves a run on that waits for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    tag = "answer"
)]
pub enum Answer {
    /// An approval.
    Approve {
        /// Of which requirement.
        requirement: String,
    },
    /// An attestation.
    Attest {
        /// Which.
        name: String,
    },
    /// A decision about what somebody else changed.
    Drift {
        /// Whether the run can go on with what is there.
        adopt: bool,
        /// Whether writing once more what the plan says can help.
        force: bool,
    },
    /// A gate that can't tell is asked again.
    Retry {
        /// Which.
        gate: String,
    },
    /// Nothing but the calendar: the run goes on by itself.
    Nothing,
}

/// How a workload's traffic is shared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView<'a> {
    /// As the run asked for it last; before that, as it was found.
    pub asked: &'a Split,
    /// As the router read it last.
    pub read: Option<&'a Reading>,
}

impl Run {
    /// What it waits for from people; none where it doesn't wait for any on its way forward.
    #[must_use]
    pub fn answer_awaited(&self) -> Option<Answer> {
        if let Some((gate, ..)) = self.held_by() {
            return Some(Answer::Retry {
                gate: gate.to_owned(),
            });
        }
        self.waits_for_people()?;
        let Cursor { stage, .. } = self.cursor()?;
        Some(match stage {
            Stage::Waiting { on: Some(on), .. } => match on {
                Wait::Window { .. } => Answer::Nothing,
                Wait::Approval { requirement } => Answer::Approve {
                    requirement: requirement.clone(),
                },
                Wait::Attestation { name } => Answer::Attest { name: name.clone() },
            },
            Stage::Drifted { .. } => Answer::Drift {
                adopt: self.can_adopt(),
                force: self.can_force(),
            },
            _ => return None,
        })
    }

    /// How traffic to the workload in hand is shared; none where the run has no router, or hasn't asked it yet.
    #[must_use]
    pub fn traffic(&self) -> Option<TrafficView<'_>> {
        self.hand.router.as_ref()?;
        let traffic = &self.known.traffic;
        traffic.snapshot.as_ref()?;
        Some(TrafficView {
            asked: &traffic.split,
            read: traffic.reading.as_ref(),
        })
    }

    /// The Deployment of the workload in hand: stable's, and the candidate's where it has one of its own.
    #[must_use]
    pub fn deployments(&self) -> (&str, Option<&str>) {
        let target = &self.hand.target;
        let beside = target.beside.as_ref();
        (
            &target.deployment,
            beside.map(|beside| beside.deployment.as_str()),
        )
    }

    /// Who took a rollback over that was stuck, so that the run ended where it was.
    #[must_use]
    pub const fn taken_over(&self) -> Option<&TakenOver> {
        self.taken_over.as_ref()
    }
}
