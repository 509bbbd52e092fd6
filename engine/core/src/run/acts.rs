//! Actions of the release: prepared, run, and undone on the way back. Each is a compensation of its own: one that ran
//! after something was deployed is undone before the workloads go back, one that ran before that after them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::limits;
use super::state::{BackStage, Level, Mode, Outstanding, Phase, Stage};
use super::words::describe;
use super::{Illegal, Run};
use crate::effect::{Acted, Deed, Done, Effect, Preparation, Request};
use crate::failure::{Failure, Kind};
use crate::plan::Step;
use crate::time::{Span, Timestamp};

mod late;

/// An action that was prepared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Act {
    /// The step that it is.
    step: String,
    workload: usize,
    /// What `run` needs, and `undo` after it.
    token: Value,
    reversible: bool,
    /// Whether something was deployed when it began: it is undone before that goes back.
    late: bool,
    /// Whether it could not be undone before the workloads: it is tried once more after them.
    put_off: bool,
    /// How many attempts nobody answered and no probe has found, and until when what they sent may still arrive.
    arrives: Option<(u32, Timestamp)>,
    doing: Doing,
}

/// How far an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing was changed.
    Prepared,
    /// It was asked for, and may still be under way.
    Running,
    /// It is done, or has failed or was cancelled: what it did is there, or some of it.
    Over,
    /// It is undone, or stays as it is.
    Settled,
}

impl Act {
    /// Whether something of it may be there that the way back takes away.
    fn touches(&self) -> bool {
        matches!(self.doing, Doing::Running | Doing::Over)
    }
}

impl Run {
    /// Whether an action may have left something on this workload's target.
    pub(super) fn acted_on(&self, workload: usize) -> bool {
        let mut acts = self.acts.iter();
        acts.any(|act| act.workload == workload && act.touches())
    }

    /// Whether an action may have left something anywhere.
    pub(super) fn acted(&self) -> bool {
        self.acts.iter().any(Act::touches)
    }

    /// Asks the action to look, so that what `undo` needs is known before anything is changed.
    pub(super) fn prepare(&mut self, step: &Step, timeout: Span) -> Result<(), Illegal> {
        let deadline = self.now.plus(timeout);
        let deed = Deed::Prepare;
        self.ask_action(
            step.id.clone(),
            format!("{}/prepare", step.id),
            deed,
            deadline,
        )
    }

    fn ask_action(
        &mut self,
        step: String,
        key: String,
        deed: Deed,
        deadline: Timestamp,
    ) -> Result<(), Illegal> {
        let effect = self.request(key, Some(step), Request::Act { deed })?;
        self.set_stage(Stage::Acting { effect, deadline });
        Ok(())
    }

    /// The intent of a deed is journalled: from now on it may have taken place.
    pub(super) fn will_act(&mut self, effect: &Effect, deed: &Deed) {
        if !deed.is_run() {
            self.nothing_arrives_after(effect, deed);
            return;
        }
        let late = self.known.touched() || self.parked.values().any(super::state::Known::touched);
        if let Some(act) = self.act_of(effect) {
            // A later attempt doesn't change when it first began.
            if act.doing == Doing::Prepared {
                act.late = late;
            }
            act.doing = Doing::Running;
        }
    }

    fn act_of(&mut self, effect: &Effect) -> Option<&mut Act> {
        let step = effect.step.as_deref()?;
        let acts = Arc::make_mut(&mut self.acts);
        acts.iter_mut().find(|act| act.step == step)
    }

    /// Leaves an action that was to be undone before the workloads until they are back. Returns whether it is one.
    fn put_off(&mut self, effect: &Effect) -> bool {
        let early = |act: &&mut Act| act.late && act.doing != Doing::Settled;
        let Some(act) = self.act_of(effect).filter(early) else {
            return false;
        };
        act.late = false;
        act.put_off = true;
        true
    }

    fn set_doing(&mut self, effect: &Effect, doing: Doing) {
        if let Some(act) = self.act_of(effect) {
            act.doing = doing;
        }
    }

    /// An action has answered.
    pub(super) fn act_answered(
        &mut self,
        effect: &Effect,
        deed: &Deed,
        done: &Done,
    ) -> Result<(), Illegal> {
        match (deed, done) {
            (Deed::Prepare, Done::Prepared { preparation }) => self.prepared(effect, preparation),
            (Deed::Run { .. }, Done::Acted { acted }) => {
                self.set_doing(effect, Doing::Over);
                self.ran(effect, acted);
                Ok(())
            }
            (Deed::Undo { .. }, Done::Undone) => {
                self.set_doing(effect, Doing::Settled);
                self.undid = true;
                let step = effect.step.as_deref().unwrap_or_default();
                let data = json!({"key": effect.key, "undone": step});
                self.say("undone", Level::Info, format!("{step} is undone"), data);
                self.go_on_undoing()
            }
            (Deed::Cancel { .. }, Done::Cancelled) => {
                self.set_doing(effect, Doing::Over);
                let step = effect.step.as_deref().unwrap_or_default();
                let words = format!("{step} is cancelled");
                self.say("cancelled", Level::Info, words, json!({"key": effect.key}));
                self.go_on_undoing()
            }
            _ => Err(Illegal::Effect {
                event: "an outcome of another kind",
                effect: effect.id,
                actual: effect.request.kind().to_owned(),
            }),
        }
    }

    /// The deadline of the action that this effect is waited for by.
    fn acting(&self, effect: &Effect) -> Option<Timestamp> {
        match self.cursor()?.stage {
            Stage::Acting {
                effect: id,
                deadline,
            } if id == effect.id => Some(deadline),
            _ => None,
        }
    }

    fn prepared(&mut self, effect: &Effect, preparation: &Preparation) -> Result<(), Illegal> {
        let (Some(deadline), Some(step)) = (self.acting(effect), effect.step.clone()) else {
            return Ok(());
        };
        let Preparation {
            summary,
            token,
            reversible,
        } = preparation;
        let acts = Arc::make_mut(&mut self.acts);
        acts.retain(|act| act.step != step);
        acts.push(Act {
            step: step.clone(),
            workload: effect.workload,
            token: token.clone(),
            reversible: *reversible,
            late: false,
            put_off: false,
            arrives: None,
            doing: Doing::Prepared,
        });
        let data = json!({"reversible": reversible});
        let (level, words) = match reversible {
            true => (Level::Info, summary.clone()),
            false => (Level::Warn, format!("{summary}; it can't be undone")),
        };
        self.say("prepared", level, words, data);
        let token = token.clone();
        self.ask_action(
            step.clone(),
            format!("{step}/act"),
            Deed::Run { token },
            deadline,
        )
    }

    fn ran(&mut self, effect: &Effect, acted: &Acted) {
        let data = json!({"key": effect.key, "outputs": acted.outputs, "links": acted.links});
        self.say("acted", Level::Info, acted.summary.clone(), data);
        if self.acting(effect).is_some() {
            self.step_done();
        }
    }

    /// An action gave no answer, or isn't finished.
    pub(super) fn act_failed(
        &mut self,
        effect: &Effect,
        deed: &Deed,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let undoes = matches!(deed, Deed::Undo { .. } | Deed::Cancel { .. });
        if deed.is_run() && late::may_arrive(failure.kind) {
            self.act_lost(effect);
        }
        if !undoes && (self.acting(effect).is_none() || matches!(self.mode, Mode::Back(_))) {
            // It had been under way when the run turned back, and is undone next.
            self.forget(effect.id);
            if failure.kind != Kind::Pending {
                self.set_doing(effect, Doing::Over);
            }
            return Ok(());
        }
        if failure.kind == Kind::Pending {
            self.pends(effect, failure);
            return Ok(());
        }
        let attempts = self.again(effect.id, failure);
        let (kind, most) = match undoes {
            true => ("compensation-failed", self.plan.rollback.retries),
            false => ("act-failed", limits::WRITE_ATTEMPTS.saturating_sub(1)),
        };
        let words = format!("{}: {failure}", describe(&effect.request));
        let data = json!({"code": failure.code.to_string()});
        self.say_attempt(kind, Level::Error, Some(attempts), words, data);
        if failure.kind.may_pass() && attempts <= most {
            return Ok(());
        }
        self.forget(effect.id);
        match deed {
            // What serves goes back whatever becomes of an action beside it; people are called after that.
            Deed::Undo { .. } if self.put_off(effect) => self.go_on_undoing(),
            Deed::Undo { .. } => {
                let step = effect.step.clone().unwrap_or_default();
                self.stuck(&step, failure.to_string(), failure.kind == Kind::Conflict)
            }
            // What can't be cancelled is undone as it is.
            Deed::Cancel { .. } => {
                self.set_doing(effect, Doing::Over);
                self.go_on_undoing()
            }
            Deed::Prepare | Deed::Run { .. } => {
                self.set_doing(effect, Doing::Over);
                match self.current() {
                    Some((_, step)) => self.back_from(&step, failure.to_string()),
                    None => Ok(()),
                }
            }
        }
    }

    /// Not finished is no failure: the same is asked again later. The step's time bounds it.
    fn pends(&mut self, effect: &Effect, failure: &Failure) {
        let after = failure.after.unwrap_or(limits::SETTLE_INTERVAL);
        let later = failure
            .clone()
            .again_after(Some(after.max(limits::BACKOFF_FIRST)));
        self.again(effect.id, &later);
        if let Some(outstanding) = self.outstanding.get_mut(&effect.id) {
            outstanding.failures = outstanding.failures.saturating_sub(1);
        }
    }

    /// A probe found an action under way: it is asked for its end with the same key, as after it had said so itself. On
    /// the way back it is cancelled instead. Returns whether it is one.
    pub(super) fn acts_on(&mut self, effect: &Effect, after: Span) -> bool {
        if !matches!(&effect.request, Request::Act { deed } if deed.is_run()) {
            return false;
        }
        if matches!(self.mode, Mode::Back(_)) {
            self.forget(effect.id);
            return true;
        }
        let after = after.max(limits::BACKOFF_FIRST).min(limits::AFTER_MOST);
        let until = self.now.plus(after);
        self.set_phase(
            effect.id,
            Phase::Waiting {
                until,
                probe: false,
            },
        );
        true
    }

    /// Asks for the next thing that takes an action back. `first` are those that come before the workloads. Returns
    /// whether there is one.
    pub(super) fn undo_next(&mut self, first: bool) -> Result<bool, Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(false);
        };
        // After success nobody knows that the target is as the run left it until the workloads are back.
        let none = first && back.after_success;
        let generation = back.generation;
        loop {
            let mut acts = self.acts.iter().rev();
            let next = acts.find(|act| act.touches() && !none && (act.late || !first));
            let Some(act) = next.cloned() else {
                return Ok(false);
            };
            if act.doing == Doing::Running {
                self.take_back(&act, "cancel", generation)?;
                return Ok(true);
            }
            if act.reversible {
                self.take_back(&act, "undo", generation)?;
                return Ok(true);
            }
            let words = format!("{} can't be undone, it stays as it is", act.step);
            let data = json!({"step": act.step});
            self.say("not-undone", Level::Warn, words, data);
            self.settle_act(&act.step);
            if let Mode::Back(back) = &mut self.mode {
                back.skipped.push(act.step);
            }
        }
    }

    /// Asks for the next action that is still under way to be cancelled: it is not left alone past the point of no
    /// return. Returns whether there is one.
    pub(super) fn cancel_next(&mut self) -> Result<bool, Illegal> {
        let Mode::Back(back) = &self.mode else {
            return Ok(false);
        };
        let generation = back.generation;
        let mut acts = self.acts.iter().rev();
        let Some(act) = acts.find(|act| act.doing == Doing::Running).cloned() else {
            return Ok(false);
        };
        self.take_back(&act, "cancel", generation)?;
        Ok(true)
    }

    fn take_back(&mut self, act: &Act, what: &str, generation: u32) -> Result<(), Illegal> {
        let token = act.token.clone();
        let deed = match what {
            "cancel" => Deed::Cancel { token },
            _ => Deed::Undo { token },
        };
        let again = if act.put_off { "-again" } else { "" };
        let key = format!("rollback/{}/{what}{again}/{generation}", act.step);
        let step = Some(act.step.clone());
        let effect = self.request_of(act.workload, key, step, Request::Act { deed })?;
        let deadline = self.now.plus(self.plan.rollback.step_timeout);
        self.set_back(BackStage::Undoing { effect, deadline });
        Ok(())
    }

    /// What was to be undone is not there by its time. While an attempt is under way its outcome is awaited.
    pub(super) fn undoing_too_long(&mut self, effect: crate::effect::Id) -> Result<bool, Illegal> {
        let waits = |o: &Outstanding| matches!(o.phase, Phase::Waiting { probe: false, .. });
        let Some(outstanding) = self.outstanding.get(&effect).filter(|o| waits(o)) else {
            return Ok(false);
        };
        let undone = outstanding.effect.clone();
        let step = undone.step.clone().unwrap_or_default();
        self.forget(effect);
        // As where it fails: what serves goes back first.
        if self.put_off(&undone) {
            self.go_on_undoing()?;
            return Ok(true);
        }
        let timeout = self.plan.rollback.step_timeout;
        self.stuck(&step, format!("it is not undone in {timeout}"), false)?;
        Ok(true)
    }

    /// The next compensation. Past the point of no return only what is under way is cancelled.
    pub(super) fn go_on_undoing(&mut self) -> Result<(), Illegal> {
        if self.past_point {
            self.set_back(BackStage::Draining);
            return Ok(());
        }
        self.retreat()
    }

    /// People leave an action as it is.
    pub(super) fn settle_act(&mut self, step: &str) {
        self.undid = true;
        let acts = Arc::make_mut(&mut self.acts);
        for act in acts.iter_mut().filter(|act| act.step == step) {
            act.doing = Doing::Settled;
            act.arrives = None;
        }
    }
}
