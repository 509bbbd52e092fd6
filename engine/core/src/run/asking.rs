//! Gates and soaks: asking, judging, and measuring time. The workload itself is looked at beside them.

use std::sync::Arc;

use serde_json::json;

use super::limits;
use super::state::{Asked, Cursor, Level, Look, Phase, Stage};
use super::{Illegal, Run};
use crate::effect::{Id, Request, Severity};
use crate::failure::Failure;
use crate::judge::{Decision, INTERVAL_LEAST, Judge};
use crate::plan::{Action, Step};
use crate::time::{Span, Timestamp};
use crate::verdict::{Interval, Pair, Question, Side, Status, Verdict};
use crate::workload::{Diagnosis, Observation};

impl Run {
    /// Begins to ask the step's gates.
    pub(super) fn ask(&mut self, step: &Step) {
        let (names, every) = match &step.action {
            Action::Check { gates } => (gates, Span::ZERO),
            Action::Soak {
                gates, interval, ..
            } => (gates, *interval),
            _ => return,
        };
        self.stop_asking();
        let now = self.now;
        let mut gates = super::Gates::new();
        let mut slack = Span::ZERO;
        for name in names {
            let Some(gate) = self.plan.gates.get(name) else {
                continue;
            };
            let mut policy = gate.policy.clone();
            if every > Span::ZERO {
                policy.interval = every;
            }
            slack = slack.max(
                policy
                    .initial_delay
                    .plus(policy.hold)
                    .plus(policy.sustained),
            );
            gates.insert(
                name.clone(),
                Arc::new(Asked {
                    judge: Judge::new(&policy, now),
                    policy,
                    effect: None,
                }),
            );
        }
        self.gates = gates;
        self.look = Look {
            due: now,
            ..Look::default()
        };
        let longest = match &step.action {
            Action::Soak { duration, .. } => duration.times(2).plus(limits::SOAK_SLACK),
            _ => limits::CHECK_SLACK,
        };
        self.set_stage(Stage::Asking {
            deadline: now.plus(longest).plus(slack),
        });
    }

    /// Looks whether a check or a soak is complete.
    pub(super) fn asking(&mut self, step: &Step, deadline: Timestamp) -> Result<bool, Illegal> {
        let passing = self
            .gates
            .values()
            .all(|asked| *asked.judge.decision() == Decision::Passing);
        let complete = match &step.action {
            Action::Soak { duration, .. } => passing && self.measured() >= *duration,
            _ => passing,
        };
        if complete {
            self.step_done();
            return Ok(true);
        }
        if self.now >= deadline {
            self.back_from(
                step,
                format!("not decided by {deadline}: measured {}", self.measured()),
            )?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Forgets what the gates have said so far: they are asked anew, from their first evaluation.
    pub(super) fn judge_anew(&mut self) {
        let now = self.now;
        for asked in self.gates.values_mut() {
            let policy = asked.policy.clone();
            *asked = Arc::new(Asked {
                judge: Judge::new(&policy, now),
                policy,
                effect: None,
            });
        }
    }

    /// The time that counts for the present soak: of every gate, the least; of the workload's own looks where there is none.
    pub(super) fn measured(&self) -> Span {
        self.gates
            .values()
            .map(|asked| asked.judge.measured())
            .min()
            .unwrap_or(self.look.measured)
    }

    /// Lets time pass for the gates, asks those that are due, and returns the first that has failed.
    pub(super) fn tick_gates(&mut self) -> Result<Option<(String, String)>, Illegal> {
        let now = self.now;
        let mut due = Vec::new();
        let mut failed = None;
        for (name, asked) in &mut self.gates {
            if asked.judge.deadline().is_some() {
                Arc::make_mut(asked).judge.tick(now);
            }
            if let Decision::Failed { reason } = asked.judge.decision() {
                failed.get_or_insert_with(|| (name.clone(), reason.clone()));
                continue;
            }
            if asked.effect.is_none() && asked.judge.due() <= now {
                due.push((
                    name.clone(),
                    asked.judge.evaluations(),
                    asked.judge.last().and_then(|last| last.memory.clone()),
                ));
            }
        }
        for (name, evaluation, memory) in due {
            let question = Box::new(self.question(evaluation, memory));
            let step = self.here().1;
            let key = format!(
                "{}/gate/{name}/{evaluation}",
                step.as_deref().unwrap_or("run")
            );
            let effect = self.request(
                key,
                step,
                Request::Evaluate {
                    gate: name.clone(),
                    question,
                },
            )?;
            if let Some(asked) = self.gates.get_mut(&name) {
                Arc::make_mut(asked).effect = Some(effect);
            }
        }
        self.look_if_due()?;
        self.read_if_due()?;
        Ok(failed)
    }

    pub(super) fn look_if_due(&mut self) -> Result<(), Illegal> {
        if self.look_interval().is_some() && self.look.effect.is_none() && self.look.due <= self.now
        {
            let step = self.here().1;
            let key = format!("{}/look", step.as_deref().unwrap_or("run"));
            let watched = self.may_be_watched();
            self.look.effect = Some(self.request(key, step, Request::Observe { watched })?);
        }
        Ok(())
    }

    pub(super) fn gates_wake(&self) -> Option<Timestamp> {
        // A gate that has failed is not asked again.
        let failed = |asked: &Asked| matches!(asked.judge.decision(), Decision::Failed { .. });
        let due = self
            .gates
            .values()
            .filter(|asked| asked.effect.is_none() && !failed(asked))
            .map(|asked| asked.judge.due());
        let holds = self
            .gates
            .values()
            .filter_map(|asked| asked.judge.deadline());
        due.chain(holds).min()
    }

    pub(super) fn look_wake(&self) -> Option<Timestamp> {
        (self.look_interval().is_some() && self.look.effect.is_none()).then_some(self.look.due)
    }

    pub(super) fn soak_interval(&self) -> Span {
        match self.current().map(|(_, step)| step.action) {
            Some(Action::Soak { interval, .. }) if interval > Span::ZERO => {
                interval.max(INTERVAL_LEAST)
            }
            _ => limits::WATCH_INTERVAL,
        }
    }

    fn question(&self, evaluation: u32, memory: Option<serde_json::Value>) -> Question {
        let since = self.changed_at.unwrap_or(self.started_at);
        let length = self.now.since(since).as_millis();
        let before = self.started_at.as_millis().saturating_sub(length);
        let pairs = |labels: &std::collections::BTreeMap<String, String>| {
            let pairs = labels.iter().map(|(name, value)| Pair::new(name, value));
            pairs.collect::<Vec<_>>()
        };
        let target = &self.hand.target;
        let service = target.service.clone().unwrap_or_default();
        let beside = target
            .beside
            .as_ref()
            .filter(|_| self.known.candidate.is_some() || self.known.promoted);
        let stable = Side {
            version: self.hand.baseline.version.clone(),
            service: service.clone(),
            labels: pairs(&self.hand.baseline.labels),
        };
        let candidate = Side {
            version: self.plan.subject.version.clone(),
            service: beside
                .and_then(|beside| beside.service.clone())
                .unwrap_or(service),
            labels: beside.map_or_else(
                || stable.labels.clone(),
                |beside| pairs(&beside.candidate_selector),
            ),
        };
        Question {
            window: Interval {
                since,
                until: self.now,
            },
            baseline: Interval {
                since: Timestamp::from_millis(before),
                until: self.started_at,
            },
            candidate_weight: self.candidate_weight(),
            candidate,
            stable,
            evaluation,
            memory,
        }
    }

    /// Takes in what a gate said, or that it said nothing.
    pub(super) fn judged(&mut self, name: &str, effect: Id, answer: Result<&Verdict, &Failure>) {
        let now = self.now;
        let Some(asked) = self.gates.get_mut(name) else {
            return;
        };
        if asked.effect != Some(effect) {
            return;
        }
        let asked = Arc::make_mut(asked);
        asked.effect = None;
        let before = asked.judge.decision().clone();
        let (level, words, data) = match answer {
            Ok(verdict) => {
                asked.judge.verdict(&asked.policy, now, verdict.clone());
                let (level, status) = match verdict.status {
                    Status::Pass => (Level::Info, "pass"),
                    Status::Fail => (Level::Warn, "fail"),
                    Status::Inconclusive => (Level::Warn, "inconclusive"),
                };
                let data = json!({"gate": name, "status": status, "measurements": verdict.measurements, "links": verdict.links});
                (level, format!("{name}: {status}, {}", verdict.reason), data)
            }
            Err(failure) => {
                asked.judge.error(&asked.policy, now, failure);
                let data =
                    json!({"gate": name, "status": "error", "code": failure.code.to_string()});
                (Level::Warn, format!("{name}: no verdict, {failure}"), data)
            }
        };
        let attempt = asked.judge.evaluations();
        let warning = asked.judge.take_warning();
        let after = asked.judge.decision().clone();
        self.say_attempt("gate", level, Some(attempt), words, data);
        if let Some(warning) = warning {
            self.warn_people(&format!("gate {name} is {warning}"));
        }
        if let Decision::Hold { reason, until } = after
            && !matches!(before, Decision::Hold { .. })
        {
            let words = format!(
                "gate {name} holds the run until {until}; then the run goes back: {reason}"
            );
            self.say(
                "hold",
                Level::Warn,
                words.clone(),
                json!({"gate": name, "until": until}),
            );
            self.tell_or_say(
                "awaiting-people",
                Severity::Warning,
                format!("{} waits: gate {name}", self.headline()),
                words,
            );
        } else if matches!(before, Decision::Hold { .. })
            && matches!(
                self.decision_of(name),
                Some(Decision::Going | Decision::Passing)
            )
        {
            let words = format!("gate {name} holds the run no longer");
            self.say("hold-over", Level::Info, words, json!({"gate": name}));
        }
    }

    fn decision_of(&self, gate: &str) -> Option<&Decision> {
        self.gates.get(gate).map(|asked| asked.judge.decision())
    }

    /// Whether this is the answer that the gate is waited for.
    pub(super) fn asks(&self, gate: &str, effect: Id) -> bool {
        self.gates
            .get(gate)
            .is_some_and(|asked| asked.effect == Some(effect))
    }

    /// The gate that holds the run, if one does, with why and until when.
    pub(super) fn held_by(&self) -> Option<(&str, &str, Timestamp)> {
        self.gates
            .iter()
            .find_map(|(name, asked)| match asked.judge.decision() {
                Decision::Hold { reason, until } => Some((name.as_str(), reason.as_str(), *until)),
                _ => None,
            })
    }

    pub(super) fn retry_gates(&mut self) {
        let now = self.now;
        for asked in self.gates.values_mut() {
            if matches!(asked.judge.decision(), Decision::Hold { .. }) {
                Arc::make_mut(asked).judge.retry(now);
            }
        }
    }

    /// Takes in what was seen of the workload.
    pub(super) fn observed(&mut self, effect: Id, seen: &Observation) -> Result<(), Illegal> {
        if self.look.effect != Some(effect) {
            return Ok(());
        }
        if seen.watched && !self.stays(seen) {
            return self.read_instead();
        }
        self.take_in(seen)
    }

    pub(super) fn take_in(&mut self, seen: &Observation) -> Result<(), Illegal> {
        let interval = self.look_interval().unwrap_or(limits::WATCH_INTERVAL);
        if let Some(last) = self.look.last {
            let gap = self.now.since(last);
            if gap <= interval.times(2) {
                self.look.measured = self.look.measured.plus(gap);
            }
        }
        self.look.effect = None;
        self.look.reads = false;
        self.look.last = Some(self.now);
        self.look.due = self.now.plus(interval);
        let moved = self.observation.as_ref().is_none_or(|last| {
            counts(last) != counts(seen)
                || last.beside.as_deref().map(counts) != seen.beside.as_deref().map(counts)
        });
        // Until the cluster has taken the last write in, it tells of the time before.
        if moved && seen.observed_generation >= seen.generation {
            let mut words = format!(
                "{} of {} pods ready, {} updated",
                seen.ready, seen.settings.replicas, seen.updated
            );
            let beside = seen.beside.as_deref();
            if let Some(candidate) = beside {
                let (ready, wanted) = (candidate.ready, candidate.settings.replicas);
                words.push_str(&format!("; candidate: {ready} of {wanted} pods ready"));
            }
            let beside = beside.map(|c| json!({"ready": c.ready, "replicas": c.settings.replicas}));
            let data = json!({"candidate": beside, "ready": seen.ready, "updated": seen.updated, "total": seen.total, "replicas": seen.settings.replicas, "image": seen.settings.image});
            self.say("workload", Level::Info, words, data);
        }
        self.observation = Some(Arc::new(seen.clone()));
        match self.mode {
            super::Mode::Forward(super::state::Forward::Keeping(_)) => self.keep_seen(seen),
            super::Mode::Forward(_) => self.seen_forward(seen),
            super::Mode::Back(_) => self.seen_back(seen),
            super::Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn look_failed(&mut self, effect: Id, failure: &Failure) {
        let attempts = self.again(effect, failure);
        self.not_longer_than(effect, limits::LOOK_BACKOFF_MOST);
        if attempts == limits::READ_WARNING {
            let data = json!({"code": failure.code.to_string()});
            self.say_attempt(
                "look-failed",
                Level::Warn,
                Some(attempts),
                format!("the workload can't be looked at: {failure}"),
                data,
            );
        }
    }

    /// Shortens the wait before something is tried again.
    pub(super) fn not_longer_than(&mut self, effect: Id, wait: Span) {
        let most = self.now.plus(wait);
        if let Some(outstanding) = self.outstanding.get_mut(&effect)
            && let Phase::Waiting { until, .. } = &mut outstanding.phase
        {
            *until = most.min(*until);
        }
    }

    pub(super) fn diagnosed(&mut self, diagnosis: &Diagnosis) {
        for event in &diagnosis.events {
            self.say(
                "diagnosis",
                Level::Warn,
                format!("event: {event}"),
                serde_json::Value::Null,
            );
        }
        for line in &diagnosis.logs {
            self.say(
                "diagnosis",
                Level::Warn,
                format!("log: {line}"),
                serde_json::Value::Null,
            );
        }
        self.diagnosis = Some(diagnosis.clone());
    }

    /// The pods in words, as they were seen last.
    pub(super) fn pods_in_words(&self) -> String {
        let Some(seen) = &self.observation else {
            return "the workload was not seen".to_owned();
        };
        let image = &seen.settings.image;
        let mut pods = seen.pods.iter();
        let other = pods.any(|pod| pod.image != *image && !pod.terminating);
        let (ready, wanted) = (seen.ready, seen.settings.replicas);
        let mut words = if other {
            let fresh = seen
                .pods
                .iter()
                .filter(|pod| pod.ready && pod.image == *image);
            let fresh = fresh.count();
            format!(
                "{fresh} of {wanted} pods of {image} ready; {ready} ready with those of other versions"
            )
        } else {
            format!("{ready} of {wanted} pods ready, {} updated", seen.updated)
        };
        if let Some(candidate) = seen.beside.as_deref() {
            let (ready, wanted) = (candidate.ready, candidate.settings.replicas);
            words.push_str(&format!("; candidate: {ready} of {wanted} pods ready"));
        }
        let blind = self
            .look
            .effect
            .map_or(0, |look| self.attempts_failed(look));
        if blind > 0 {
            words =
                format!("it could not be looked at {blind} times in a row; before that {words}");
        }
        let broken = seen
            .broken_pod()
            .or_else(|| seen.beside.as_deref().and_then(Observation::broken_pod));
        if let Some((pod, reason)) = broken {
            words.push_str(&format!(", pod {pod} is in {reason}"));
        }
        words
    }

    /// Whether the strategy is asked after this step: after a soak, while some of its steps remain.
    pub(super) fn wants_revision(&self, cursor: &Cursor, step: &Step) -> bool {
        let Some(phase) = self.phases.get(cursor.phase) else {
            return false;
        };
        let rest = phase.steps.iter().skip(cursor.step.saturating_add(1));
        let mut rest = rest.filter(|left| left.workload == step.workload);
        step.origin.is_some()
            && matches!(step.action, Action::Soak { .. })
            && rest.any(|left| left.origin.is_some())
    }

    pub(super) fn ask_strategy(&mut self, cursor: &Cursor) -> Result<(), Illegal> {
        let Some(phase) = self.phases.get(cursor.phase) else {
            return Ok(());
        };
        let Some(planned) = phase.strategies.get(self.in_hand) else {
            return Ok(());
        };
        let passed = phase.steps.iter().take(cursor.step.saturating_add(1));
        let passed = passed
            .filter(|step| step.workload == self.in_hand)
            .filter_map(|step| step.origin.as_deref())
            .collect::<std::collections::BTreeSet<_>>();
        let remaining = planned
            .steps
            .iter()
            .filter(|step| !passed.contains(step.id.as_str()))
            .cloned()
            .collect();
        let request = Request::Revise {
            replicas: self.whole(),
            done: self.outcomes.to_vec(),
            remaining,
        };
        let step = self.here().1;
        let key = format!("{}/revise", step.as_deref().unwrap_or("run"));
        let effect = self.request(key, step, request)?;
        self.set_stage(Stage::Revising { effect });
        Ok(())
    }

    /// Takes in the strategy's other remaining steps, if the plan's rules allow them.
    pub(super) fn revised(
        &mut self,
        effect: Id,
        steps: Option<&[crate::strategy::Step]>,
    ) -> Result<(), Illegal> {
        if self.revising(effect)
            && let (Some(steps), Some(cursor)) = (steps, self.cursor().cloned())
        {
            let mut phases = (*self.phases).clone();
            let outcome =
                crate::planning::revise(&self.plan, &mut phases, cursor.phase, cursor.step, steps);
            match outcome {
                Ok(()) => {
                    self.phases = phases.into();
                    let ids = steps
                        .iter()
                        .map(|step| step.id.as_str())
                        .collect::<Vec<_>>()
                        .join(", ");
                    self.say(
                        "revised",
                        Level::Info,
                        format!("the strategy goes on with {ids}"),
                        json!({"steps": steps}),
                    );
                }
                Err(refusal) => {
                    self.say(
                        "revision-refused",
                        Level::Warn,
                        format!("the strategy's revision is refused, its plan stays: {refusal}"),
                        serde_json::Value::Null,
                    );
                }
            }
        }
        self.revision_over(effect);
        Ok(())
    }

    /// Whether the strategy's answer is still waited for: the target may have drifted meanwhile.
    fn revising(&self, effect: Id) -> bool {
        self.cursor()
            .is_some_and(|cursor| cursor.stage == Stage::Revising { effect })
    }

    pub(super) fn revision_over(&mut self, effect: Id) {
        if self.revising(effect) {
            self.step_done();
        }
    }
}

/// What is told of a Deployment when it moves.
fn counts(seen: &Observation) -> (u32, u32, u32, &crate::workload::Settings) {
    (seen.updated, seen.ready, seen.total, &seen.settings)
}
