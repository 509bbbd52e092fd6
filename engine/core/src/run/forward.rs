//! The way forward: one step after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::state::{Cause, Cursor, Forward, Level, Mode, Stage, Then};
use super::words::in_words;
use super::{Illegal, Run};
use crate::effect::{Fields, Severity};
use crate::plan::{Action, Step};
use crate::strategy::{Judged, Placement, Slot, StepOutcome};

impl Run {
    /// One move forward, if there is one to make now.
    pub(super) fn forward(&mut self) -> Result<bool, Illegal> {
        let Mode::Forward(forward) = &self.mode else {
            return Ok(false);
        };
        match forward {
            Forward::Planned => self.start(),
            Forward::Claiming { deadline, .. } if self.now >= *deadline => {
                let reason = "there is no telling whether the target is held".to_owned();
                self.go_back(Cause {
                    by: None,
                    reason,
                    step: None,
                    superseded_by: None,
                })?;
                Ok(true)
            }
            Forward::Claiming { .. } => Ok(false),
            Forward::At(_) => self.at_step(),
            Forward::Keeping(_) => self.keep_on(),
            Forward::Finishing(finish) => {
                let finish = *finish;
                self.finishing(finish)
            }
        }
    }

    /// Comes to a step, or to the end of them.
    pub(super) fn enter(&mut self, phase: usize, step: usize) -> Result<(), Illegal> {
        let now = self.now;
        if self.step(phase, step).is_none() {
            if self.phases.get(phase).is_some() {
                return self.enter(phase.saturating_add(1), 0);
            }
            return self.finish_forward();
        }
        let until = now.plus(self.plan.people_timeout);
        if let Some(place) = self.step(phase, step).map(|(_, step)| step.workload) {
            self.take_in_hand(place);
        }
        if !self.changed() {
            self.gates.clear();
        }
        self.broken_since = None;
        let phase_since = self
            .cursor()
            .filter(|cursor| cursor.phase == phase)
            .map_or(now, |cursor| cursor.phase_since);
        self.mode = Mode::Forward(Forward::At(Cursor {
            phase,
            step,
            phase_since,
            waits_since: None,
            since: now,
            stage: Stage::Waiting { on: None, until },
        }));
        if step == 0
            && let Some(name) = self.phases.get(phase).map(|phase| phase.name.clone())
        {
            self.say(
                "phase-started",
                Level::Info,
                format!("phase {name}"),
                Value::Null,
            );
        }
        Ok(())
    }

    pub(super) fn cursor(&self) -> Option<&Cursor> {
        match &self.mode {
            Mode::Forward(Forward::At(cursor)) => Some(cursor),
            _ => None,
        }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        let now = self.now;
        if let Mode::Forward(Forward::At(cursor)) = &mut self.mode {
            let waits = matches!(stage, Stage::Waiting { on: Some(_), .. });
            if waits {
                cursor.waits_since.get_or_insert(now);
            } else if let Some(since) = cursor.waits_since.take() {
                cursor.phase_since = cursor.phase_since.plus(now.since(since));
            }
            cursor.stage = stage;
        }
    }

    pub(super) fn current(&self) -> Option<(Cursor, Step)> {
        let cursor = self.cursor()?.clone();
        let (_, step) = self.step(cursor.phase, cursor.step)?;
        Some((cursor.clone(), step.clone()))
    }

    fn at_step(&mut self) -> Result<bool, Illegal> {
        let Some((cursor, step)) = self.current() else {
            return self.finish_forward().map(|()| true);
        };
        if matches!(cursor.stage, Stage::Drifted { .. }) {
            // People have been asked about somebody else's change, and gates are asked again once they have decided.
            self.look_if_due()?;
            self.read_if_due()?;
        } else if let Some((gate, reason)) = self.tick_gates()? {
            if self.drift_comes_first(&cursor)? {
                return Ok(false);
            }
            self.back_from(&step, format!("gate {gate} failed: {reason}"))?;
            return Ok(true);
        }
        let now = self.now;
        if self.paused.as_ref().is_some_and(|pause| now >= pause.until) {
            self.back_from(&step, "paused for longer than people may take".to_owned())?;
            return Ok(true);
        }
        if let Some((deadline, timeout)) = self.phase_deadline(&cursor)
            && now >= deadline
            && cursor.stage != Stage::Done
        {
            self.back_from(&step, format!("the phase is not finished in {timeout}"))?;
            return Ok(true);
        }
        match &cursor.stage {
            Stage::Waiting { on, until } => self.waiting(&cursor, &step, on.as_ref(), *until),
            Stage::Changing { deadline, .. } if now >= *deadline => {
                let reason = "there is no telling whether the write took place".to_owned();
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Changing { .. } | Stage::Revising { .. } => Ok(false),
            Stage::Settling { deadline, .. } if now >= *deadline => {
                let reason = format!(
                    "not ready in {}: {}",
                    now.since(cursor.since),
                    self.pods_in_words()
                );
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Settling { .. } => Ok(false),
            Stage::Proving { deadline } if now >= *deadline => {
                let lacks = self
                    .observation
                    .as_ref()
                    .and_then(|seen| self.unproven(&step, seen));
                let lacks = lacks.unwrap_or_else(|| self.pods_in_words());
                self.back_from(&step, format!("not safe by {deadline}: {lacks}"))?;
                Ok(true)
            }
            Stage::Proving { .. } => Ok(false),
            Stage::Following { taken, then, .. }
                if self.followed(*taken, self.settle_time(&step)) =>
            {
                self.traffic_follows(&step, *then);
                Ok(true)
            }
            Stage::Following { deadline, .. } if now >= *deadline => {
                let asked = &self.known.traffic.split;
                let reason =
                    format!("the data plane has not followed by {deadline}: asked for {asked}");
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Following { .. } => {
                self.read_if_due()?;
                Ok(false)
            }
            Stage::Acting { deadline, .. } if now >= *deadline => {
                let reason = format!("it is not done in {}", now.since(cursor.since));
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Acting { .. } => Ok(false),
            Stage::Asking { deadline } => self.asking(&step, *deadline),
            Stage::Drifted { what, until, .. } if now >= *until => {
                let reason = format!("{what}; nobody decided by {until}");
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Drifted { .. } => Ok(false),
            Stage::Done if self.stopped() || !self.still_passing(&step) => Ok(false),
            Stage::Done => self.leave(&cursor, &step),
        }
    }

    /// Begins the step, or does its write once more.
    pub(super) fn begin_step(&mut self, step: &Step, force: bool) -> Result<(), Illegal> {
        let now = self.now;
        if let Mode::Forward(Forward::At(cursor)) = &mut self.mode {
            cursor.since = now;
        }
        self.say(
            "step-started",
            Level::Info,
            in_words(&step.action),
            json!({"kind": step.action.kind()}),
        );
        match &step.action {
            _ if self.proves(step) => {
                self.prove(step);
                Ok(())
            }
            Action::Deploy {
                placement: Placement::InPlace,
                ..
            } => self.deploy_in_place(step, force),
            Action::Scale {
                slot: Slot::Stable, ..
            } => self.write_stable(step, force),
            Action::Deploy { .. }
            | Action::Scale { .. }
            | Action::Route { .. }
            | Action::Retire { .. } => self.advance(step),
            Action::Promote => {
                self.known.promoted = true;
                self.step_done();
                Ok(())
            }
            Action::Check { .. } | Action::Soak { .. } => {
                self.ask(step);
                Ok(())
            }
            Action::Act { timeout, .. } => self.prepare(step, *timeout),
            Action::Approve { .. } | Action::Attest { .. } => {
                self.step_done();
                Ok(())
            }
            Action::Notify {
                notifier,
                title,
                text,
            } => {
                self.tell_one(
                    notifier,
                    "step",
                    Severity::Info,
                    title.clone(),
                    text.clone(),
                )?;
                self.step_done();
                Ok(())
            }
        }
    }

    /// Asks for the write to stable's Deployment that the step is about.
    pub(super) fn write_stable(&mut self, step: &Step, force: bool) -> Result<(), Illegal> {
        let (baseline, whole) = (&self.hand.baseline.settings, self.whole());
        let mut fields = Fields::default();
        match &step.action {
            Action::Deploy {
                replicas,
                surge,
                unavailable,
                ..
            } => {
                fields.image = Some(self.hand.image.clone());
                fields.configs = self.references();
                let wanted = replicas.of(whole);
                fields.replicas = (wanted != self.known.replicas).then_some(wanted);
                fields.rollout = super::write::rollout(
                    &baseline.rollout,
                    surge.as_deref(),
                    unavailable.as_deref(),
                );
            }
            Action::Scale { replicas, .. } => {
                fields.replicas = Some(replicas.of(whole));
            }
            Action::Retire { .. } => fields.replicas = Some(0),
            _ => {}
        }
        self.change(step, fields, force, Then::Finish)
    }

    /// Whether the step takes traffic or pods from one side: only once the other one is seen to carry the rest.
    pub(super) fn proves(&self, step: &Step) -> bool {
        match &step.action {
            Action::Route { .. } | Action::Retire { .. } => true,
            Action::Scale { slot, .. } => slot.is_stable() && self.takes_from_stable(step),
            _ => false,
        }
    }

    /// Whether the step leaves stable fewer pods, while a candidate serves beside it.
    pub(super) fn takes_from_stable(&self, step: &Step) -> bool {
        let Action::Scale { replicas, .. } = &step.action else {
            return false;
        };
        let wanted = replicas.of(self.whole());
        wanted < self.known.replicas && self.known.candidate.is_some()
    }

    pub(super) fn step_done(&mut self) {
        if let Some((_, step)) = self.current() {
            self.past_point |= step.point_of_no_return;
            if let Action::Retire {
                slot: Slot::Stable,
                after,
                remove: true,
                ..
            } = step.action
            {
                self.known.keep = Some(after);
            }
        }
        self.set_stage(Stage::Done);
    }

    /// Goes from a finished step to the next one.
    fn leave(&mut self, cursor: &Cursor, step: &Step) -> Result<bool, Illegal> {
        let elapsed = self.now.since(cursor.since);
        let judged = self.judged_so_far(&step.action);
        let recorded = self
            .outcomes
            .last()
            .is_some_and(|last| last.step == step.id);
        if !recorded {
            self.say(
                "step-finished",
                Level::Info,
                format!("done in {elapsed}"),
                json!({"elapsedMs": elapsed.as_millis()}),
            );
            Arc::make_mut(&mut self.outcomes).push(StepOutcome {
                step: step.id.clone(),
                elapsed,
                judged,
            });
            if self.wants_revision(cursor, step) {
                return self.ask_strategy(cursor).map(|()| true);
            }
        }
        let next = cursor.step.saturating_add(1);
        let phase = self.phases.get(cursor.phase);
        let last = phase.is_none_or(|phase| next >= phase.steps.len());
        if last && let Some(name) = phase.map(|phase| phase.name.clone()) {
            let text = format!("Phase {name} of {} is finished.", self.headline());
            self.tell(
                "phase-finished",
                Severity::Info,
                format!("{}: phase {name} finished", self.headline()),
                text,
            )?;
        }
        self.enter(cursor.phase, next)?;
        Ok(true)
    }

    fn judged_so_far(&self, action: &Action) -> Vec<Judged> {
        let (Action::Check { gates } | Action::Soak { gates, .. }) = action else {
            return Vec::new();
        };
        let last = |name: &String| {
            let verdict = self.gates.get(name)?.judge.last()?;
            let values = serde_json::to_value(&verdict.measurements).unwrap_or_default();
            Some(Judged {
                gate: name.clone(),
                status: verdict.status,
                values,
            })
        };
        gates.iter().filter_map(last).collect()
    }

    /// Goes back because the step can't be finished.
    pub(super) fn back_from(&mut self, step: &Step, reason: String) -> Result<(), Illegal> {
        self.say("step-failed", Level::Error, reason.clone(), Value::Null);
        // Whoever is told reads no step's name. The release's own steps are about no one workload.
        let reason = match self.plan.workload(step.workload) {
            Some(workload) if self.plan.workloads.len() > 1 && step.origin.is_some() => {
                format!("{}: {reason}", workload.name)
            }
            _ => reason,
        };
        self.go_back(Cause {
            by: None,
            reason,
            step: Some(step.id.clone()),
            superseded_by: None,
        })
    }
}
