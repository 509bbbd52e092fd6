//! A world in which a run takes place: it does what the runtime does, without a clock.

use std::collections::VecDeque;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Action, Done, Effect, Outcome, Request};
use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::Plan;
use phasegate_core::run::Run;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Measurement, Status, Verdict};
use phasegate_core::workload::{Diagnosis, Marks, Observation, Settings};

use crate::model::Report;
use crate::{Kept, Source, report};

const RUN: &str = "shop-1";
/// When runs begin.
pub(super) const START: u64 = 1_790_000_000_000;

/// What a gate answers, at the time since the start.
type Answers = Box<dyn Fn(&str, Span) -> Option<Verdict>>;

pub(super) struct World {
    now: Timestamp,
    pub(super) run: Run,
    pub(super) records: Vec<Record>,
    queue: VecDeque<Effect>,
    settings: Settings,
    settled_at: Timestamp,
    epoch: u64,
    answers: Answers,
    pub(super) diagnosis: Diagnosis,
}

pub(super) fn person(name: &str) -> Identity {
    Identity {
        name: name.to_owned(),
        verified_by: "os-account:1000".to_owned(),
    }
}

/// A verdict on one figure, in percent and below 5.
pub(super) fn verdict(status: Status, candidate: Option<f64>, stable: Option<f64>) -> Verdict {
    Verdict {
        status,
        reason: "errors were counted".to_owned(),
        measurements: vec![Measurement {
            name: "errors".to_owned(),
            unit: "%".to_owned(),
            candidate,
            stable,
            samples: Some(1200),
            limit: "<= 5".to_owned(),
            band: String::new(),
            status,
        }],
        links: Vec::new(),
        needs: None,
        memory: None,
        extra: serde_json::Value::Null,
    }
}

impl World {
    pub(super) fn new(
        plan: Plan,
        answers: impl Fn(&str, Span) -> Option<Verdict> + 'static,
    ) -> Self {
        let now = Timestamp::from_millis(START);
        let settings = plan.workloads[0].baseline.settings.clone();
        let first = Record {
            at: now,
            event: Event::Planned {
                plan: Box::new(plan),
                started_by: person("ann"),
                supersedes: None,
            },
        };
        Self {
            now,
            run: Run::begin(RUN, &first).unwrap(),
            records: vec![first],
            queue: VecDeque::new(),
            settings,
            settled_at: now,
            epoch: 0,
            answers: Box::new(answers),
            diagnosis: Diagnosis::default(),
        }
    }

    fn record(&mut self, event: Event) {
        let record = Record {
            at: self.now,
            event,
        };
        let actions = self.run.apply(&record).unwrap();
        self.records.push(record);
        for action in actions {
            match action {
                Action::Perform(effect) => self.queue.push_back(effect),
                Action::Probe(effect) => panic!("nothing is lost here, but {effect:?}"),
            }
        }
    }

    pub(super) fn command(&mut self, who: &str, command: Command) {
        self.record(Event::Commanded {
            by: person(who),
            command,
            inbox: None,
        });
    }

    pub(super) fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    /// An engine begins to drive.
    pub(super) fn drive(&mut self) {
        self.epoch += 1;
        self.record(Event::Driving {
            engine: format!("engine-{}", self.epoch),
            epoch: self.epoch,
        });
    }

    /// The engine is killed, and another one comes later. What was being read is asked for again.
    pub(super) fn die(&mut self, away: Span) {
        assert!(!self.queue.iter().any(|effect| effect.request.changes()));
        self.queue.clear();
        self.pass(away);
        self.drive();
    }

    fn answer(&mut self, effect: &Effect) -> Outcome {
        let done = match &effect.request {
            Request::Claim { .. } => Done::Claimed,
            Request::Release { .. } => Done::Released,
            Request::Change { change } => {
                let fields = change.fields.clone();
                if let Some(image) = fields.image {
                    self.settings.image = image;
                }
                self.settled_at = self.now.plus(Span::from_secs(8));
                Done::Changed
            }
            Request::Observe { .. } => Done::Observed {
                observation: Box::new(self.observe()),
            },
            Request::Evaluate { gate, .. } => {
                let since = self.now.since(Timestamp::from_millis(START));
                match (self.answers)(gate, since) {
                    Some(verdict) => Done::Judged {
                        verdict: Box::new(verdict),
                    },
                    None => {
                        let message = "the plugin didn't answer";
                        let failure =
                            Failure::new(Kind::Timeout, codes::CLUSTER_UNREACHABLE, message);
                        return Outcome::Failed { failure };
                    }
                }
            }
            Request::Diagnose => Done::Diagnosed {
                diagnosis: self.diagnosis.clone(),
            },
            other => panic!("nobody asks for {}", other.kind()),
        };
        Outcome::Done(done)
    }

    fn observe(&self) -> Observation {
        let settled = self.now >= self.settled_at;
        let wanted = self.settings.replicas;
        Observation {
            watched: false,
            at: self.now,
            uid: "uid-1".to_owned(),
            generation: 2,
            observed_generation: 2,
            settings: self.settings.clone(),
            template_digest: "template".to_owned(),
            total: if settled { wanted } else { wanted + 1 },
            updated: if settled { wanted } else { 1 },
            ready: wanted,
            available: wanted,
            deadline_exceeded: false,
            marks: Marks::default(),
            pods: Vec::new(),
            autoscaler: None,
            beside: None,
        }
    }

    /// Goes on until this holds. Returns whether it came to that.
    pub(super) fn until(&mut self, wanted: impl Fn(&Run) -> bool) -> bool {
        if self.epoch == 0 {
            self.drive();
        }
        while !wanted(&self.run) {
            let Some(effect) = self.queue.pop_front() else {
                let Some(wake) = self.run.next_wake() else {
                    return false;
                };
                self.now = self.now.max(wake);
                self.record(Event::Woke);
                continue;
            };
            if !self.run.wants(effect.id) {
                continue;
            }
            self.now = self.now.plus(Span::from_millis(50));
            if effect.request.changes() {
                self.record(Event::Intended {
                    effect: Box::new(effect.clone()),
                });
            }
            let outcome = self.answer(&effect);
            if self.run.wants(effect.id) {
                let effect = effect.id;
                self.record(Event::Finished { effect, outcome });
            }
        }
        true
    }

    /// Goes on until the run is in this step.
    pub(super) fn until_step(&mut self, id: &str) {
        let now = phasegate_core::run::StepProgress::Now;
        let came = self.until(|run| {
            let mut steps = run.steps().into_iter();
            steps.any(|step| step.id == id && step.progress == now)
        });
        assert!(came, "it never came to {id}");
    }

    pub(super) fn rest(&mut self) {
        self.until(Run::resting);
    }

    pub(super) fn report(&self) -> Report {
        report(&Source {
            run: RUN,
            records: &self.records,
            kept: Kept::Verified { head: "cafe" },
        })
        .unwrap()
    }
}
