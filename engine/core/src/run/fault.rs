//! What a run makes of a fault of the engine: an event that can't be taken in, since an invariant would break.

use super::state::{BackStage, Cause, Finish, Mode};
use super::{Broken, Illegal, Run};
use crate::event::{Event, Identity};

impl Run {
    /// What happens in place of an event that would break an invariant; none where nothing helps.
    ///
    /// Forward the run turns back, which doesn't depend on what is at fault there. What happened has
    /// happened: the event is taken in after that, if it still matters then. The way back stops and calls
    /// people; once they are called, a command that would break something is left out.
    #[must_use]
    pub fn instead(&self, event: &Event, broken: &Broken) -> Option<Vec<Event>> {
        let reason = broken.to_string();
        let by_engine = matches!(event, Event::Commanded { by, .. } if *by == Identity::engine());
        match &self.mode {
            _ if matches!(event, Event::Faulted { .. }) => None,
            Mode::Forward(_) if !by_engine => Some(vec![Event::abort(reason), event.clone()]),
            Mode::Forward(_) | Mode::Back(_) if self.stuck_now().is_none() => {
                let drives = matches!(event, Event::Driving { .. }).then(|| event.clone());
                let faulted = Event::Faulted { reason };
                Some(std::iter::once(faulted).chain(drives).collect())
            }
            _ => matches!(event, Event::Commanded { .. }).then(Vec::new),
        }
    }

    /// The way back stops where it is. What was under way is found out about before anything else is written.
    pub(super) fn faulted(&mut self, reason: &str) -> Result<(), Illegal> {
        if matches!(self.mode, Mode::Forward(_)) {
            let step = self.here().1;
            self.go_back(Cause {
                by: None,
                reason: reason.to_owned(),
                step,
                superseded_by: None,
            })?;
        }
        let Mode::Back(back) = &self.mode else {
            return Err(self.illegal("a fault of the engine"));
        };
        let action = match &back.stage {
            BackStage::Undoing { effect, .. } => self.outstanding.get(effect),
            _ => None,
        };
        let action = action.and_then(|outstanding| outstanding.effect.step.clone());
        let step = match &back.stage {
            BackStage::Undoing { .. } => action.as_deref().unwrap_or("undo"),
            BackStage::Claiming { .. } | BackStage::Unclaimed => "claim",
            BackStage::Draining => "drain",
            BackStage::Diagnosing { .. }
            | BackStage::Looking { .. }
            | BackStage::Restoring { .. }
            | BackStage::Settling { .. } => "restore",
            BackStage::Checking { .. }
            | BackStage::Unrouting { .. }
            | BackStage::Following { .. } => "traffic",
            BackStage::Removing { .. } => "remove",
            BackStage::Finishing(Finish::Tidying { .. }) => "unmark",
            BackStage::Finishing(_) => "release",
        };
        self.recover();
        self.stuck(step, format!("the engine is at fault: {reason}"), false)
    }
}
