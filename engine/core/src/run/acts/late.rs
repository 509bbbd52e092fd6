//! Actions whose attempt was not answered: what it sent can arrive after the action was undone. It is undone once more
//! when nothing can arrive any more, before the targets are let go of.

use serde_json::json;

use super::{Act, Doing};
use crate::effect::{Deed, Effect, Request};
use crate::failure::Kind;
use crate::run::limits;
use crate::run::state::{BackStage, Level, Mode};
use crate::run::{Illegal, Run};

/// Whether an attempt that failed so may have sent something that is still on its way.
pub(super) fn may_arrive(failure: Kind) -> bool {
    match failure {
        Kind::Retryable | Kind::Timeout | Kind::Trap | Kind::OutOfMemory => true,
        Kind::Pending
        | Kind::Permanent
        | Kind::Misconfigured
        | Kind::Denied
        | Kind::Incompatible
        | Kind::Conflict
        | Kind::Fenced => false,
    }
}

impl Act {
    /// Whether it was undone, and something that it sent may have arrived since.
    fn may_be_back(&self) -> bool {
        self.doing == Doing::Settled && self.reversible && self.arrives.is_some()
    }
}

impl Run {
    /// An attempt of an action was sent and not answered.
    pub(in crate::run) fn act_lost(&mut self, effect: &Effect) {
        if !matches!(&effect.request, Request::Act { deed } if deed.is_run()) {
            return;
        }
        let until = self.now.plus(limits::ARRIVES);
        if let Some(act) = self.act_of(effect) {
            let lost = act.arrives.map_or(0, |(lost, _)| lost);
            act.arrives = Some((lost.saturating_add(1), until));
        }
    }

    /// A probe has found an attempt that was not answered: it won't arrive once more.
    pub(in crate::run) fn act_found(&mut self, effect: &Effect) {
        if let Some(act) = self.act_of(effect) {
            let left = act
                .arrives
                .map(|(lost, until)| (lost.saturating_sub(1), until));
            act.arrives = left.filter(|(lost, _)| *lost > 0);
        }
    }

    /// The action is undone now: what can't arrive any more needs no further look.
    pub(super) fn nothing_arrives_after(&mut self, effect: &Effect, deed: &Deed) {
        let now = self.now;
        if matches!(deed, Deed::Undo { .. })
            && let Some(act) = self.act_of(effect)
        {
            act.arrives = act.arrives.filter(|(_, until)| *until > now);
        }
    }

    /// Before the targets are let go of on the way back: undoes the next action once more of which something may have
    /// arrived since, once nothing can any more. Returns whether there is one.
    pub(in crate::run) fn undo_late(&mut self) -> Result<bool, Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(false);
        };
        if back.handed_over || back.refused || self.past_point {
            // It is left as it is.
            return Ok(false);
        }
        let generation = back.generation;
        let mut acts = self.acts.iter().rev();
        let late = acts.find(|act| act.may_be_back() && self.claimed.contains(&act.workload));
        let Some((act, until)) = late.and_then(|act| Some((act.clone(), act.arrives?.1))) else {
            return Ok(false);
        };
        let deed = Deed::Undo { token: act.token };
        let key = format!("rollback/{}/undo-late/{generation}", act.step);
        let step = Some(act.step.clone());
        let effect = self.request_of(act.workload, key, step, Request::Act { deed })?;
        if until > self.now {
            self.waits_until(effect, until);
            let words = format!(
                "what {} sent and was not answered may arrive until {until}; it is undone once more then",
                act.step
            );
            let data = json!({"step": act.step, "until": until});
            self.say("undo-waits", Level::Info, words, data);
        }
        let deadline = until.max(self.now).plus(self.plan.rollback.step_timeout);
        self.set_back(BackStage::Undoing { effect, deadline });
        Ok(true)
    }
}
