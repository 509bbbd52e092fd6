//! The way forward: one step after the other.

use serde_json::{Value, json};

use super::effects::describe;
use super::limits::{self, SETTLE_INTERVAL};
use super::state::{Cause, Cursor, End, Finish, Forward, Found, Level, Mode, Stage, Wait};
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Change, Effect, Fields, Request, Severity};
use crate::event::DriftAnswer;
use crate::failure::{Failure, Kind};
use crate::plan::{Action, Step};
use crate::strategy::{Judged, StepOutcome};
use crate::time::{Span, Timestamp};
use crate::workload::{Observation, Rollout};

/// How long a pod may be seen unable to start before the step counts as failed: an image pull that
/// hits a hiccup of the registry recovers by itself.
const BROKEN_TOLERANCE: Span = Span::from_secs(10);

impl Run {
    /// One move forward, if there is one to make now.
    pub(super) fn forward(&mut self) -> Result<bool, Illegal> {
        let Mode::Forward(forward) = &self.mode else {
            return Ok(false);
        };
        match forward {
            Forward::Planned => self.start(),
            Forward::Claiming { .. } => Ok(false),
            Forward::At(_) => self.at_step(),
            Forward::Finishing(finish) => {
                let finish = *finish;
                self.finishing(finish)
            }
        }
    }

    fn start(&mut self) -> Result<bool, Illegal> {
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request("claim".to_owned(), None, request)?;
        self.mode = Mode::Forward(Forward::Claiming { effect });
        Ok(true)
    }

    pub(super) fn claim_taken(&mut self) -> Result<(), Illegal> {
        self.claimed = true;
        let target = self.plan.target.to_string();
        self.say(
            "claimed",
            Level::Info,
            format!("holds {target}"),
            json!({"target": target}),
        );
        match &mut self.mode {
            Mode::Forward(_) => {
                let text = format!(
                    "{} started the release of {}.",
                    self.started_by.name,
                    self.headline()
                );
                self.tell(
                    "started",
                    Severity::Info,
                    format!("Release started: {}", self.headline()),
                    text,
                )?;
                self.enter(0, 0)
            }
            Mode::Back(_) => self.claim_taken_back(),
            Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn claim_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let attempts = if failure.kind.may_pass() && failure.code != codes::TARGET_BUSY {
            self.again(effect.id, failure)
        } else {
            limits::WRITE_ATTEMPTS
        };
        if attempts < limits::WRITE_ATTEMPTS {
            self.say_attempt(
                "claim-failed",
                Level::Warn,
                Some(attempts),
                failure.to_string(),
                json!({"code": failure.code.to_string()}),
            );
            return Ok(());
        }
        self.forget(effect.id);
        match &self.mode {
            Mode::Back(back) if back.after_success => {
                self.say(
                    "rollback-refused",
                    Level::Error,
                    format!("the target can't be held again: {failure}"),
                    json!({"code": failure.code.to_string()}),
                );
                self.mode = Mode::Ended(End::Succeeded);
                Ok(())
            }
            Mode::Back(_) => Ok(()),
            Mode::Forward(_) | Mode::Ended(_) => {
                self.say(
                    "claim-failed",
                    Level::Error,
                    failure.to_string(),
                    json!({"code": failure.code.to_string()}),
                );
                self.go_back(Cause {
                    by: None,
                    reason: failure.to_string(),
                    step: None,
                    superseded_by: None,
                })
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
        if !self.known.changed {
            self.gates.clear();
        }
        self.broken_since = None;
        // Blocked until shown otherwise: `at_step` looks at once.
        let wait = Wait::Window {
            reason: String::new(),
            opens: Some(now),
        };
        let phase_since = self
            .cursor()
            .filter(|cursor| cursor.phase == phase)
            .map_or(now, |cursor| cursor.phase_since);
        self.mode = Mode::Forward(Forward::At(Cursor {
            phase,
            step,
            phase_since,
            since: now,
            stage: Stage::Waiting { on: wait, until },
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
        if let Mode::Forward(Forward::At(cursor)) = &mut self.mode {
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
        if let Some((gate, reason)) = self.tick_gates()? {
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
            Stage::Waiting { on, until } => self.waiting(&cursor, &step, on, *until),
            Stage::Changing { .. } | Stage::Revising { .. } => Ok(false),
            Stage::Settling { deadline } if now >= *deadline => {
                let reason = format!(
                    "not ready in {}: {}",
                    now.since(cursor.since),
                    self.pods_in_words()
                );
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Settling { .. } => Ok(false),
            Stage::Asking { deadline } => self.asking(&step, *deadline),
            Stage::Drifted { what, until, .. } if now >= *until => {
                let reason = format!("{what}; nobody decided by {until}");
                self.back_from(&step, reason)?;
                Ok(true)
            }
            Stage::Drifted { .. } => Ok(false),
            Stage::Done if self.paused.is_some() => Ok(false),
            Stage::Done => self.leave(&cursor, &step),
        }
    }

    fn phase_deadline(&self, cursor: &Cursor) -> Option<(Timestamp, Span)> {
        let timeout = self.phases.get(cursor.phase)?.timeout?;
        Some((cursor.phase_since.plus(timeout), timeout))
    }

    fn waiting(
        &mut self,
        cursor: &Cursor,
        step: &Step,
        on: &Wait,
        until: Timestamp,
    ) -> Result<bool, Illegal> {
        let Some(wait) = self.blocked_by(cursor, step) else {
            if self.paused.is_some() {
                return Ok(false);
            }
            self.begin_step(cursor, step, false)?;
            return Ok(true);
        };
        if self.now >= until {
            self.back_from(
                step,
                format!("{}; nobody came by {until}", self.wait_in_words(&wait)),
            )?;
            return Ok(true);
        }
        if wait != *on {
            let words = self.wait_in_words(&wait);
            self.say(
                "awaiting",
                Level::Warn,
                words.clone(),
                json!({"until": until}),
            );
            let title = format!("{} waits: {words}", self.headline());
            self.set_stage(Stage::Waiting { on: wait, until });
            self.tell("awaiting-people", Severity::Warning, title, words)?;
        }
        Ok(false)
    }

    /// What keeps a step from beginning.
    pub(super) fn blocked_by(&self, cursor: &Cursor, step: &Step) -> Option<Wait> {
        if cursor.step == 0
            && let Some(phase) = self.phases.get(cursor.phase)
        {
            let unmet =
                self.plan.approvals.iter().find(|approval| {
                    approval.before == phase.name && !self.met(&approval.requirement)
                });
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

    fn begin_step(&mut self, cursor: &Cursor, step: &Step, force: bool) -> Result<(), Illegal> {
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
        let baseline = &self.plan.baseline.settings;
        let mut fields = Fields::default();
        match &step.action {
            Action::Deploy {
                replicas,
                surge,
                unavailable,
                ..
            } => {
                fields.image = Some(self.plan.subject.image.clone());
                let wanted = replicas.of(baseline.replicas);
                fields.replicas = (wanted != self.known.replicas).then_some(wanted);
                fields.rollout =
                    rollout(&baseline.rollout, surge.as_deref(), unavailable.as_deref());
                self.change(step, fields, force)
            }
            Action::Scale { replicas, .. } => {
                fields.replicas = Some(replicas.of(baseline.replicas));
                self.change(step, fields, force)
            }
            Action::Check { .. } | Action::Soak { .. } => {
                self.ask(cursor, step);
                Ok(())
            }
            Action::Approve { .. } | Action::Attest { .. } => {
                self.set_stage(Stage::Done);
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
                self.set_stage(Stage::Done);
                Ok(())
            }
        }
    }

    /// Asks for a write of the way forward: the fields that the step sets, and those that the run owned before.
    fn change(&mut self, step: &Step, fields: Fields, force: bool) -> Result<(), Illegal> {
        self.gates.clear();
        self.look = super::state::Look::default();
        let owned = &self.known.owned;
        let fields = Fields {
            image: fields.image.or_else(|| owned.image.clone()),
            replicas: fields.replicas.or(owned.replicas),
            rollout: fields.rollout.or_else(|| owned.rollout.clone()),
        };
        let expected_image = (!force).then(|| self.known.image.clone());
        let change = Change {
            fields,
            uid: self.plan.baseline.uid.clone(),
            expected_image,
            marked: true,
        };
        // A write that people asked for again is another one than the first, which must not be found in its place.
        let key = format!("{}/change/{}", step.id, self.new_generation()?);
        let effect = self.request(key, Some(step.id.clone()), Request::Change { change })?;
        self.set_stage(Stage::Changing { effect });
        Ok(())
    }

    pub(super) fn change_made(&mut self, effect: &Effect, change: &Change) -> Result<(), Illegal> {
        let known = &mut self.known;
        if let Some(image) = &change.fields.image {
            known.image.clone_from(image);
        }
        if let Some(replicas) = change.fields.replicas {
            known.replicas = replicas;
        }
        self.changed_at = Some(self.now);
        self.look = super::state::Look {
            due: self.now,
            ..super::state::Look::default()
        };
        let words = describe(&effect.request);
        self.say("changed", Level::Info, words, json!({"key": effect.key}));
        match &self.mode {
            Mode::Back(_) => self.change_made_back(effect),
            Mode::Forward(Forward::Finishing(Finish::Unmarking { .. })) => self.release_target(),
            Mode::Forward(_) => {
                let timeout = match self.current().map(|(_, step)| step.action) {
                    Some(Action::Deploy { timeout, .. } | Action::Scale { timeout, .. }) => timeout,
                    _ => self.plan.rollback.step_timeout,
                };
                self.set_stage(Stage::Settling {
                    deadline: self.now.plus(timeout),
                });
                Ok(())
            }
            Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn change_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        if matches!(self.mode, Mode::Back(_)) {
            return self.change_failed_back(effect, failure);
        }
        let drift = failure.kind == Kind::Conflict;
        if !drift && failure.kind.may_pass() {
            let attempts = self.again(effect.id, failure);
            if attempts < limits::WRITE_ATTEMPTS {
                self.say_attempt(
                    "change-failed",
                    Level::Warn,
                    Some(attempts),
                    failure.to_string(),
                    json!({"code": failure.code.to_string()}),
                );
                return Ok(());
            }
        }
        self.forget(effect.id);
        self.say(
            "change-failed",
            Level::Error,
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        if matches!(self.mode, Mode::Forward(Forward::Finishing(_))) {
            self.say(
                "marks-left",
                Level::Warn,
                "the new version serves, but the run's marks stay on the Deployment",
                Value::Null,
            );
            return self.release_target();
        }
        let Some((_, step)) = self.current() else {
            return Ok(());
        };
        if drift {
            // What is there now is looked at before people are asked.
            self.look.due = self.now;
            return self.drifted(failure.to_string(), None, false);
        }
        self.back_from(&step, failure.to_string())
    }

    /// Takes in what was seen while a step waits for the cluster or for its gates.
    pub(super) fn seen_forward(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let Some((cursor, step)) = self.current() else {
            return Ok(());
        };
        if let Stage::Drifted { found, .. } = &cursor.stage {
            let mut stage = cursor.stage.clone();
            if let Stage::Drifted { found: slot, .. } = &mut stage {
                **slot = Found {
                    settings: seen.settings.clone(),
                    template_digest: seen.template_digest.clone(),
                };
            }
            if found.settings != seen.settings {
                self.set_stage(stage);
            }
            return Ok(());
        }
        if matches!(cursor.stage, Stage::Changing { .. }) {
            return Ok(());
        }
        if let Some(what) = self.drift(seen) {
            let found = Found {
                settings: seen.settings.clone(),
                template_digest: seen.template_digest.clone(),
            };
            return self.drifted(what, Some(found), true);
        }
        if seen.settings.replicas != self.known.replicas {
            self.say(
                "drift-adopted",
                Level::Warn,
                format!(
                    "replicas are {} now, somebody else changed them from {}",
                    seen.settings.replicas, self.known.replicas
                ),
                json!({"replicas": seen.settings.replicas}),
            );
            self.known.replicas = seen.settings.replicas;
        }
        if !matches!(cursor.stage, Stage::Settling { .. }) {
            return Ok(());
        }
        if seen.settled() {
            let ready = format!("{} of {} pods ready", seen.ready, seen.settings.replicas);
            self.say("settled", Level::Info, ready, Value::Null);
            if step.action.changes() {
                self.step_done();
            } else {
                self.ask(&cursor, &step);
            }
            return Ok(());
        }
        if seen.deadline_exceeded && seen.observed_generation >= seen.generation {
            return self.back_from(
                &step,
                format!(
                    "the Deployment stopped making progress: {}",
                    self.pods_in_words()
                ),
            );
        }
        match seen.broken_pod() {
            Some((pod, reason)) => {
                let since = *self.broken_since.get_or_insert(self.now);
                if self.now.since(since) >= BROKEN_TOLERANCE {
                    return self.back_from(&step, format!("pod {pod} is in {reason}"));
                }
            }
            None => self.broken_since = None,
        }
        Ok(())
    }

    fn drift(&self, seen: &Observation) -> Option<String> {
        if seen.uid != self.plan.baseline.uid {
            Some("the Deployment was deleted and made anew by somebody else".to_owned())
        } else if seen.settings.image != self.known.image {
            Some(format!(
                "the image is {}, this run left it at {}; somebody else changed it",
                seen.settings.image, self.known.image
            ))
        } else if seen.template_digest != self.known.template_digest {
            Some("the pod template was changed by somebody else".to_owned())
        } else {
            None
        }
    }

    fn drifted(&mut self, what: String, found: Option<Found>, made: bool) -> Result<(), Illegal> {
        let until = self.now.plus(self.plan.people_timeout);
        let found = Box::new(found.unwrap_or_else(|| Found {
            settings: self.plan.baseline.settings.clone(),
            template_digest: self.known.template_digest.clone(),
        }));
        self.say("drift", Level::Error, what.clone(), json!({"until": until}));
        self.set_stage(Stage::Drifted {
            what: what.clone(),
            until,
            found,
            made,
        });
        let text = format!(
            "{what}. Decide: `continue --drift adopt`, `continue --drift force`, or `abort`."
        );
        self.tell(
            "awaiting-people",
            Severity::Critical,
            format!("{} stopped: the target drifted", self.headline()),
            text,
        )
    }

    pub(super) fn answer_drift(&mut self, answer: DriftAnswer) -> Result<(), Illegal> {
        let Some((cursor, step)) = self.current() else {
            return Ok(());
        };
        let Stage::Drifted { found, made, .. } = &cursor.stage else {
            return Ok(());
        };
        match answer {
            DriftAnswer::Adopt => {
                self.known.image.clone_from(&found.settings.image);
                self.known.replicas = found.settings.replicas;
                self.known
                    .template_digest
                    .clone_from(&found.template_digest);
                if !made {
                    return self.begin_step(&cursor, &step, false);
                }
                if self.known.owned.image.is_some() {
                    self.known.owned.image = Some(found.settings.image.clone());
                }
                self.look = super::state::Look {
                    due: self.now,
                    ..super::state::Look::default()
                };
                self.set_stage(Stage::Settling {
                    deadline: self.now.plus(self.plan.rollback.step_timeout),
                });
                Ok(())
            }
            DriftAnswer::Force if step.action.changes() => self.begin_step(&cursor, &step, true),
            DriftAnswer::Force => self.change(&step, Fields::default(), true),
        }
    }

    pub(super) fn step_done(&mut self) {
        self.set_stage(Stage::Done);
    }

    /// Goes from a finished step to the next one.
    fn leave(&mut self, cursor: &Cursor, step: &Step) -> Result<bool, Illegal> {
        let elapsed = self.now.since(cursor.since);
        let judged = self.judged_so_far(&step.action);
        self.say(
            "step-finished",
            Level::Info,
            format!("{} done in {elapsed}", step.id),
            json!({"elapsedMs": elapsed.as_millis()}),
        );
        self.past_point |= step.point_of_no_return;
        let recorded = self
            .outcomes
            .last()
            .is_some_and(|last| last.step == step.id);
        if !recorded {
            self.outcomes.push(StepOutcome {
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
        self.go_back(Cause {
            by: None,
            reason,
            step: Some(step.id.clone()),
            superseded_by: None,
        })
    }

    fn finish_forward(&mut self) -> Result<(), Illegal> {
        self.gates.clear();
        self.look = super::state::Look::default();
        if !self.known.changed {
            return self.release_target();
        }
        let mut fields = self.known.owned.clone();
        if fields.rollout.is_some() {
            fields.rollout = Some(self.plan.baseline.settings.rollout.clone());
        }
        let change = Change {
            fields,
            uid: self.plan.baseline.uid.clone(),
            expected_image: Some(self.known.image.clone()),
            marked: false,
        };
        let effect = self.request("finish/unmark".to_owned(), None, Request::Change { change })?;
        self.mode = Mode::Forward(Forward::Finishing(Finish::Unmarking { effect }));
        Ok(())
    }

    /// Lets go of the target, on either way.
    pub(super) fn release_target(&mut self) -> Result<(), Illegal> {
        let finish = if self.claimed {
            let key = match &self.mode {
                Mode::Back(back) => format!("rollback/release/{}", back.generation),
                Mode::Forward(_) | Mode::Ended(_) => "finish/release".to_owned(),
            };
            Finish::Releasing {
                effect: self.request(key, None, Request::Release)?,
            }
        } else {
            self.closing_notice()?;
            Finish::Closing
        };
        self.set_finish(finish);
        Ok(())
    }

    pub(super) fn set_finish(&mut self, finish: Finish) {
        match &mut self.mode {
            Mode::Forward(forward) => *forward = Forward::Finishing(finish),
            Mode::Back(back) => back.stage = super::state::BackStage::Finishing(finish),
            Mode::Ended(_) => {}
        }
    }

    pub(super) fn released(&mut self) -> Result<(), Illegal> {
        self.claimed = false;
        self.say("released", Level::Info, "let go of the target", Value::Null);
        self.closing_notice()?;
        self.set_finish(Finish::Closing);
        Ok(())
    }

    pub(super) fn release_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let attempts = self.again(effect.id, failure);
        self.say_attempt(
            "release-failed",
            Level::Warn,
            Some(attempts),
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        if attempts
            > self
                .plan
                .rollback
                .retries
                .saturating_add(limits::WRITE_ATTEMPTS)
        {
            self.forget(effect.id);
            self.say(
                "claim-left",
                Level::Error,
                "the target is still claimed by this run; `phasegate lock break` frees it",
                Value::Null,
            );
            self.closing_notice()?;
            self.set_finish(Finish::Closing);
        }
        Ok(())
    }

    /// One move in the last part, on either way.
    pub(super) fn finishing(&mut self, finish: Finish) -> Result<bool, Illegal> {
        if finish != Finish::Closing || !self.outstanding.is_empty() {
            return Ok(false);
        }
        let end = self.end_reached();
        self.ended(end);
        Ok(true)
    }

    pub(super) fn forward_wake(&self) -> Option<Timestamp> {
        let cursor = self.cursor()?;
        let stage = match &cursor.stage {
            Stage::Waiting {
                on: Wait::Window { opens, .. },
                until,
            } => Some(opens.map_or(*until, |opens| opens.min(*until))),
            Stage::Waiting { until, .. } | Stage::Drifted { until, .. } => Some(*until),
            Stage::Settling { deadline } | Stage::Asking { deadline } => Some(*deadline),
            Stage::Changing { .. } | Stage::Revising { .. } | Stage::Done => None,
        };
        let pause = self.paused.as_ref().map(|pause| pause.until);
        let phase = self
            .phase_deadline(cursor)
            .filter(|_| cursor.stage != Stage::Done)
            .map(|(deadline, _)| deadline);
        [stage, pause, phase, self.gates_wake(), self.look_wake()]
            .into_iter()
            .flatten()
            .min()
    }

    /// How often the workload is looked at in the present stage; none where it isn't.
    pub(super) fn look_interval(&self) -> Option<Span> {
        match &self.mode {
            Mode::Back(back) => matches!(back.stage, super::state::BackStage::Settling { .. })
                .then_some(SETTLE_INTERVAL),
            Mode::Forward(Forward::At(cursor)) => match &cursor.stage {
                Stage::Settling { .. } => Some(SETTLE_INTERVAL),
                Stage::Asking { .. } => Some(self.soak_interval()),
                Stage::Drifted { .. } => Some(limits::WATCH_INTERVAL),
                Stage::Waiting { .. } | Stage::Done if self.known.changed => {
                    Some(limits::WATCH_INTERVAL)
                }
                _ => None,
            },
            Mode::Forward(_) | Mode::Ended(_) => None,
        }
    }
}

/// The rollout settings that a step asks for; none where it keeps the workload's own.
fn rollout(own: &Rollout, surge: Option<&str>, unavailable: Option<&str>) -> Option<Rollout> {
    if surge.is_none() && unavailable.is_none() {
        return None;
    }
    let (own_surge, own_unavailable) = match own {
        Rollout::RollingUpdate { surge, unavailable } => (surge.as_str(), unavailable.as_str()),
        // What Kubernetes takes where nothing is said.
        Rollout::Recreate => ("25%", "25%"),
    };
    Some(Rollout::RollingUpdate {
        surge: surge.unwrap_or(own_surge).to_owned(),
        unavailable: unavailable.unwrap_or(own_unavailable).to_owned(),
    })
}

/// A step in a few words.
pub(super) fn in_words(action: &Action) -> String {
    match action {
        Action::Deploy {
            replicas, timeout, ..
        } => format!("deploy in place, {}, within {timeout}", amount(*replicas)),
        Action::Scale { replicas, timeout } => {
            format!("scale to {}, within {timeout}", amount(*replicas))
        }
        Action::Check { gates } => format!("check {}", gates.join(", ")),
        Action::Soak {
            duration, gates, ..
        } if gates.is_empty() => format!("soak for {duration}"),
        Action::Soak {
            duration, gates, ..
        } => format!("soak for {duration} under {}", gates.join(", ")),
        Action::Approve { prompt, .. } => format!("approval: {prompt}"),
        Action::Attest { name, prompt } => format!("attestation {name}: {prompt}"),
        Action::Notify {
            notifier, title, ..
        } => format!("notify {notifier}: {title}"),
    }
}

fn amount(amount: crate::strategy::Amount) -> String {
    match amount {
        crate::strategy::Amount::Count(count) => format!("{count} replicas"),
        crate::strategy::Amount::Percent(percent) => format!("{percent}% of the replicas"),
    }
}
