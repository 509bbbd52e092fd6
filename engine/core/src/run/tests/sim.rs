//! A world in which a run takes place: one Deployment, gates, notifiers, a claim, and everything that
//! can go wrong with them. It does what the runtime does, without a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::plans::{NEW, OLD, UID};
use crate::diagnostic::codes;
use crate::effect::*;
use crate::event::{Command, Event, Identity, Record};
use crate::failure::{Failure, Kind};
use crate::plan::Plan;
use crate::run::{End, Illegal, Line, Run, State};
use crate::strategy;
use crate::time::{Span, Timestamp};
use crate::verdict::{Measurement, Status, Verdict};
use crate::workload::{Diagnosis, Marks, Observation, Pod, Settings};

pub(in crate::run) const RUN: &str = "run-1";
/// Enough for every run here; more means that it would never end.
const MOST_STEPS: usize = 20_000;

#[derive(Clone, Debug)]
pub(in crate::run) enum Fault {
    Fails(Failure),
    LostApplied,
    LostUnapplied,
    /// No answer comes, and the request arrives so much later.
    Late(Span),
}

pub(in crate::run) fn failure(kind: Kind) -> Failure {
    Failure::new(kind, codes::CLUSTER_UNREACHABLE, "the API server says no")
}

pub(in crate::run) type Judges = Rc<dyn Fn(&World, &str, u32) -> Result<Status, Kind>>;
pub(in crate::run) type Faults = Rc<dyn Fn(&World, &Effect) -> Option<Fault>>;
pub(in crate::run) type Blind = Rc<dyn Fn(&World, &Effect) -> bool>;

#[derive(Clone)]
pub(in crate::run) struct World {
    pub now: Timestamp,
    pub uid: String,
    pub settings: Settings,
    pub template_digest: String,
    pub marks: Marks,
    pub settled_at: Timestamp,
    pub rollout_time: Span,
    /// The image whose pods never start, with what they wait for.
    pub broken: Option<(String, String)>,
    /// From when on, to when.
    pub broken_until: Option<Timestamp>,
    pub never_ready: Option<String>,
    pub claim: Option<String>,
    pub asked: BTreeMap<String, u32>,
    pub judges: Judges,
    pub faults: Faults,
    /// Whether a probe can't tell.
    pub blind: Blind,
    pub revision: Option<Vec<strategy::Step>>,
    /// Performed requests, for faults that count.
    pub performed: usize,
    /// How often each key changed the world.
    pub applied: BTreeMap<String, u32>,
    pub told: Vec<(String, String)>,
    pub failing_notifiers: BTreeSet<String>,
    /// Requests that are still to arrive, and when.
    pub late: Vec<(Timestamp, Effect)>,
}

impl World {
    fn new(plan: &Plan, now: Timestamp) -> Self {
        Self {
            now,
            uid: UID.to_owned(),
            settings: plan.baseline.settings.clone(),
            template_digest: plan.baseline.template_digest.clone(),
            marks: Marks::default(),
            settled_at: now,
            rollout_time: Span::from_secs(7),
            broken: None,
            broken_until: None,
            never_ready: None,
            claim: None,
            asked: BTreeMap::new(),
            judges: Rc::new(|_, _, _| Ok(Status::Pass)),
            faults: Rc::new(|_, _| None),
            blind: Rc::new(|_, _| false),
            revision: None,
            performed: 0,
            applied: BTreeMap::new(),
            told: Vec::new(),
            failing_notifiers: BTreeSet::new(),
            late: Vec::new(),
        }
    }

    pub(in crate::run) fn deployed(&self) -> bool {
        self.settings.image == NEW
    }

    /// Somebody else does something to the Deployment.
    pub(in crate::run) fn meddle(&mut self, image: Option<&str>, replicas: Option<u32>) {
        if let Some(image) = image {
            self.settings.image = image.to_owned();
        }
        if let Some(replicas) = replicas {
            self.settings.replicas = replicas;
        }
        self.settled_at = self.now.plus(self.rollout_time);
    }

    fn observe(&self) -> Observation {
        let broken = self.broken.as_ref().filter(|(image, _)| {
            *image == self.settings.image && self.broken_until.is_none_or(|until| self.now < until)
        });
        let never = self.never_ready.as_ref() == Some(&self.settings.image);
        let settled = self.now >= self.settled_at && broken.is_none() && !never;
        let wanted = self.settings.replicas;
        let pod = |waiting: Option<&String>| Pod {
            name: "api-1".to_owned(),
            image: self.settings.image.clone(),
            ready: waiting.is_none(),
            restarts: 0,
            waiting: waiting.cloned(),
            terminating: false,
        };
        Observation {
            at: self.now,
            uid: self.uid.clone(),
            generation: 2,
            observed_generation: 2,
            settings: self.settings.clone(),
            template_digest: self.template_digest.clone(),
            total: if settled { wanted } else { wanted + 1 },
            updated: if settled { wanted } else { 0 },
            ready: if never { 0 } else { wanted },
            available: wanted,
            deadline_exceeded: false,
            marks: self.marks.clone(),
            pods: (wanted > 0)
                .then(|| pod(broken.map(|(_, reason)| reason)))
                .into_iter()
                .collect(),
        }
    }

    fn change(&mut self, effect: &Effect, change: &Change) -> Result<Done, Failure> {
        let conflict = |what: &str| Failure::new(Kind::Conflict, codes::TARGET_BUSY, what);
        if self.uid != change.uid {
            return Err(conflict("another Deployment of this name"));
        }
        if let Some(expected) = &change.expected_image
            && *expected != self.settings.image
        {
            return Err(conflict("the image is another one"));
        }
        let fields = change.fields.clone();
        self.settings = Settings {
            image: fields.image.unwrap_or(self.settings.image.clone()),
            replicas: fields.replicas.unwrap_or(self.settings.replicas),
            rollout: fields.rollout.unwrap_or(self.settings.rollout.clone()),
        };
        self.settled_at = self.now.plus(self.rollout_time);
        self.marks = if change.marked {
            Marks {
                run: Some(RUN.to_owned()),
                epoch: Some(1),
                effect: Some(effect.key.clone()),
            }
        } else {
            Marks::default()
        };
        *self.applied.entry(effect.key.clone()).or_default() += 1;
        Ok(Done::Changed)
    }

    fn answer(&mut self, effect: &Effect) -> Result<Done, Failure> {
        match &effect.request {
            Request::Claim { .. } => match &self.claim {
                Some(run) if run != RUN => Err(Failure::new(
                    Kind::Conflict,
                    codes::TARGET_BUSY,
                    "run other holds the target",
                )),
                _ => {
                    self.claim = Some(RUN.to_owned());
                    *self.applied.entry(effect.key.clone()).or_default() += 1;
                    Ok(Done::Claimed)
                }
            },
            Request::Release => {
                if self.claim.as_deref() == Some(RUN) {
                    self.claim = None;
                }
                *self.applied.entry(effect.key.clone()).or_default() += 1;
                Ok(Done::Released)
            }
            Request::Change { change } => self.change(effect, change),
            Request::Observe => Ok(Done::Observed {
                observation: Box::new(self.observe()),
            }),
            Request::Evaluate { gate, .. } => {
                let nth = self.asked.entry(gate.clone()).or_default();
                *nth += 1;
                let nth = *nth - 1;
                let judges = self.judges.clone();
                judges(self, gate, nth)
                    .map(|status| Done::Judged {
                        verdict: Box::new(verdict(status)),
                    })
                    .map_err(failure)
            }
            Request::Revise { .. } => Ok(Done::Revised {
                steps: self.revision.clone(),
            }),
            Request::Diagnose => Ok(Done::Diagnosed {
                diagnosis: Diagnosis {
                    events: vec!["Back-off restarting failed container".to_owned()],
                    logs: vec!["api-1: panic".to_owned()],
                },
            }),
            Request::Notify { notifier, notice } => {
                if self.failing_notifiers.contains(notifier) {
                    return Err(failure(Kind::Retryable));
                }
                self.told.push((notifier.clone(), notice.event.clone()));
                Ok(Done::Notified {
                    thread: Some(serde_json::json!("thread")),
                })
            }
        }
    }

    fn perform(&mut self, effect: &Effect) -> Outcome {
        let faults = self.faults.clone();
        let fault = faults(self, effect);
        self.performed += 1;
        let lost = || Outcome::Unknown {
            message: "connection reset".to_owned(),
        };
        match fault {
            Some(Fault::Fails(failure)) => Outcome::Failed { failure },
            Some(Fault::LostUnapplied) => lost(),
            Some(Fault::Late(by)) => {
                self.late.push((self.now.plus(by), effect.clone()));
                lost()
            }
            Some(Fault::LostApplied) => match self.answer(effect) {
                Ok(_) => lost(),
                Err(failure) => Outcome::Failed { failure },
            },
            None => match self.answer(effect) {
                Ok(done) => Outcome::Done(done),
                Err(failure) => Outcome::Failed { failure },
            },
        }
    }

    /// What was under way for long takes place.
    fn arrives(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.late = later;
        let due: Vec<(Timestamp, Effect)> = due;
        for (_, effect) in due {
            self.answer(&effect).ok();
        }
    }

    fn probe(&self, effect: &Effect) -> Progress {
        let blind = self.blind.clone();
        if blind(self, effect) {
            return Progress::Unknown {
                message: "the API server is silent".to_owned(),
            };
        }
        let done = match &effect.request {
            Request::Claim { .. } => (self.claim.as_deref() == Some(RUN)).then_some(Done::Claimed),
            Request::Release => (self.claim.as_deref() != Some(RUN)).then_some(Done::Released),
            Request::Change { change } => {
                let marked = self.marks.effect.as_ref() == Some(&effect.key);
                let fields = &change.fields;
                let equal = fields
                    .image
                    .as_ref()
                    .is_none_or(|i| *i == self.settings.image)
                    && fields.replicas.is_none_or(|r| r == self.settings.replicas)
                    && fields
                        .rollout
                        .as_ref()
                        .is_none_or(|r| *r == self.settings.rollout);
                let taken_off = !change.marked && self.marks.effect.is_none() && equal;
                (marked || taken_off).then_some(Done::Changed)
            }
            _ => None,
        };
        done.map_or(Progress::NotDone, Progress::Done)
    }
}

pub(in crate::run) fn verdict(status: Status) -> Verdict {
    Verdict {
        status,
        reason: format!("it is {status:?}").to_lowercase(),
        measurements: vec![Measurement {
            name: "ratio".to_owned(),
            unit: "%".to_owned(),
            candidate: Some(0.1 + 0.2),
            stable: None,
            samples: Some(10),
            limit: "< 1".to_owned(),
            band: String::new(),
            status,
        }],
        links: Vec::new(),
        needs: None,
        memory: None,
        extra: serde_json::Value::Null,
    }
}

pub(in crate::run) fn person(name: &str) -> Identity {
    Identity {
        name: name.to_owned(),
        verified_by: "os-account:1000".to_owned(),
    }
}

pub(in crate::run) fn abort() -> Command {
    Command::Abort { reason: None }
}

/// What happens from outside once so many records have been written.
#[derive(Clone)]
pub(in crate::run) enum Inject {
    /// Given if the run takes it then.
    Command(&'static str, Command),
    Meddle(Option<&'static str>, Option<u32>),
    Template(&'static str),
    /// Another Deployment of the same name.
    Replaced,
    Leaves,
}

#[derive(Clone, Debug)]
enum Job {
    Intend(Effect),
    Perform(Effect),
    Probe(Effect),
}

#[derive(Clone)]
pub(in crate::run) struct Sim {
    pub world: World,
    pub run: Run,
    pub records: Vec<Record>,
    pub lines: Vec<Line>,
    queue: VecDeque<Job>,
    epoch: u64,
    pub injected: BTreeMap<usize, Vec<Inject>>,
    /// The engine dies instead of writing the record of this number.
    pub dies_before: BTreeSet<usize>,
    /// The engine dies as soon as the record of this number is written.
    pub dies_after: BTreeSet<usize>,
    /// Drops events that are illegal, where a test has made up some of its own.
    pub lenient: bool,
}

impl Sim {
    pub(in crate::run) fn new(plan: Plan) -> Self {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let world = World::new(&plan, now);
        let first = Record {
            at: now,
            event: Event::Planned {
                plan: Box::new(plan),
                started_by: person("ann"),
            },
        };
        Self {
            run: Run::begin(RUN, &first).unwrap(),
            lines: Vec::new(),
            world,
            records: vec![first],
            queue: VecDeque::new(),
            epoch: 0,
            injected: BTreeMap::new(),
            dies_before: BTreeSet::new(),
            dies_after: BTreeSet::new(),
            lenient: false,
        }
    }

    pub(in crate::run) fn inject(mut self, at: usize, what: Inject) -> Self {
        self.injected.entry(at).or_default().push(what);
        self
    }

    pub(in crate::run) fn judged(
        mut self,
        judges: impl Fn(&World, &str, u32) -> Result<Status, Kind> + 'static,
    ) -> Self {
        self.world.judges = Rc::new(judges);
        self
    }

    pub(in crate::run) fn faulty(
        mut self,
        faults: impl Fn(&World, &Effect) -> Option<Fault> + 'static,
    ) -> Self {
        self.world.faults = Rc::new(faults);
        self
    }

    /// A new engine takes over.
    pub(in crate::run) fn drive(&mut self) {
        self.epoch += 1;
        let event = Event::Driving {
            engine: format!("engine-{}", self.epoch),
            epoch: self.epoch,
        };
        self.record(event);
    }

    /// Nothing that is under way is answered any more.
    pub(in crate::run) fn unanswered(&mut self) {
        self.queue.clear();
    }

    fn die(&mut self) {
        let replayed = Run::replay(RUN, &self.records).unwrap();
        assert_eq!(replayed, self.run, "a replayed run is the run");
        self.run = replayed;
        self.queue.clear();
        self.world.now = self.world.now.plus(Span::from_secs(3));
        self.drive();
    }

    /// Writes a record and queues what follows from it.
    pub(in crate::run) fn record(&mut self, event: Event) {
        let number = self.records.len();
        if self.dies_before.remove(&number) {
            self.die();
            return;
        }
        let intent = match &event {
            Event::Intended { effect } => Some((**effect).clone()),
            _ => None,
        };
        if let Err(illegal) = self.try_record(event) {
            if self.lenient {
                return;
            }
            let last = self.records.last();
            panic!("{illegal} after {last:?} at {}", self.run.state());
        }
        if let Some(effect) = intent {
            self.queue.push_front(Job::Perform(effect));
        }
        if self.dies_after.remove(&number) {
            self.die();
        }
        for what in self.injected.remove(&number).unwrap_or_default() {
            self.happens(what);
        }
    }

    pub(in crate::run) fn try_record(&mut self, event: Event) -> Result<(), Illegal> {
        let record = Record {
            at: self.world.now,
            event,
        };
        let (next, actions) = self.run.after(&record)?;
        self.run = next;
        self.records.push(record);
        self.lines.extend_from_slice(self.run.said());
        for action in actions {
            self.queue.push_back(match action {
                Action::Perform(effect) if effect.request.changes() => Job::Intend(effect),
                Action::Perform(effect) => Job::Perform(effect),
                Action::Probe(effect) => Job::Probe(effect),
            });
        }
        Ok(())
    }

    pub(in crate::run) fn happens(&mut self, what: Inject) {
        match what {
            Inject::Command(who, command) => {
                self.command(who, command).ok();
            }
            Inject::Meddle(image, replicas) => self.world.meddle(image, replicas),
            Inject::Template(digest) => self.world.template_digest = digest.to_owned(),
            Inject::Replaced => self.world.uid = "uid-2".to_owned(),
            Inject::Leaves => {
                if self.run.epoch().is_some() {
                    self.record(Event::Interrupted {
                        cause: "SIGTERM".to_owned(),
                    });
                    self.queue.clear();
                    self.drive();
                }
            }
        }
    }

    pub(in crate::run) fn command(&mut self, who: &str, command: Command) -> Result<(), Illegal> {
        let by = person(who);
        self.run.may(&by, &command)?;
        self.record(Event::Commanded {
            by,
            command,
            inbox: None,
        });
        Ok(())
    }

    /// One thing happens. Returns whether there is anything left to happen.
    pub(in crate::run) fn step(&mut self) -> bool {
        self.world.now = self.world.now.plus(Span::from_millis(200));
        if self.queue.is_empty()
            && let Some(wake) = self.run.next_wake()
        {
            self.world.now = self.world.now.max(wake);
        }
        self.world.arrives();
        let event = match self.queue.pop_front() {
            Some(Job::Intend(effect)) => {
                if !self.run.wants(effect.id) {
                    return true;
                }
                Event::Intended {
                    effect: Box::new(effect),
                }
            }
            Some(Job::Perform(effect)) => {
                let outcome = self.world.perform(&effect);
                if !self.run.wants(effect.id) {
                    return true;
                }
                Event::Finished {
                    effect: effect.id,
                    outcome,
                }
            }
            Some(Job::Probe(effect)) => {
                if !self.run.wants(effect.id) {
                    return true;
                }
                Event::Probed {
                    effect: effect.id,
                    progress: self.world.probe(&effect),
                }
            }
            None => {
                if self.run.next_wake().is_none() {
                    return false;
                }
                let before = self.records.len();
                self.record(Event::Woke);
                // No busy loop: having been woken the run has asked for something, or waits for later.
                let idle = self.queue.is_empty() && self.records.len() == before + 1;
                if idle && let Some(next) = self.run.next_wake() {
                    assert!(
                        next > self.run.now(),
                        "woken at {} for nothing, {}",
                        self.run.now(),
                        self.run.state()
                    );
                }
                return true;
            }
        };
        self.record(event);
        true
    }

    pub(in crate::run) fn ended(&self) -> bool {
        matches!(self.run.state(), State::Ended { .. }) && self.run.resting()
    }

    /// Goes on until nothing is left to happen by itself.
    pub(in crate::run) fn rest(&mut self) {
        if self.records.len() == 1 {
            self.drive();
        }
        for _ in 0..MOST_STEPS {
            if self.run.resting() && self.queue.is_empty() {
                return;
            }
            if !self.step() {
                return;
            }
        }
        panic!("it never ends: {}", self.run.state());
    }

    /// Goes on until the run says so.
    pub(in crate::run) fn until(&mut self, wanted: impl Fn(&Self) -> bool) {
        if self.records.len() == 1 {
            self.drive();
        }
        for _ in 0..MOST_STEPS {
            if wanted(self) {
                return;
            }
            assert!(
                !self.ended() && self.step(),
                "it never came to that: {}",
                self.run.state()
            );
        }
        panic!("it never came to that: {}", self.run.state());
    }

    pub(in crate::run) fn until_said(&mut self, kind: &str) {
        let kind = kind.to_owned();
        self.until(move |sim| sim.said(&kind));
    }

    pub(in crate::run) fn until_step(&mut self, id: &str) {
        let id = id.to_owned();
        self.until(move |sim| sim.run.here().1.as_ref() == Some(&id));
    }

    /// Lets time pass with the run awake.
    pub(in crate::run) fn pass(&mut self, span: Span) {
        let end = self.world.now.plus(span);
        for _ in 0..MOST_STEPS {
            let next = if self.queue.is_empty() {
                self.run.next_wake()
            } else {
                Some(self.world.now)
            };
            match next {
                Some(at) if at < end => {
                    self.step();
                }
                _ => break,
            }
        }
        self.world.now = self.world.now.max(end);
    }

    pub(in crate::run) fn said(&self, kind: &str) -> bool {
        self.lines.iter().any(|line| line.kind == kind)
    }

    pub(in crate::run) fn count_said(&self, kind: &str) -> usize {
        self.lines.iter().filter(|line| line.kind == kind).count()
    }

    pub(in crate::run) fn story(&self) -> String {
        let lines = self.lines.iter();
        lines
            .map(|line| format!("{}: {}\n", line.kind, line.message))
            .collect()
    }

    pub(in crate::run) fn end(&self) -> End {
        match self.run.state() {
            State::Ended { end } => end,
            other => panic!("not at an end: {other}\n{}", self.story()),
        }
    }

    pub(in crate::run) fn told(&self, event: &str) -> usize {
        let told = self.world.told.iter();
        told.filter(|(_, told)| told == event).count()
    }

    /// What holds at every end.
    pub(in crate::run) fn check_end(&self) {
        let end = self.end();
        let baseline = &self.run.plan().baseline.settings;
        let story = || self.story();
        match end {
            End::Refused | End::Cancelled | End::RolledBack => {
                assert_eq!(self.world.settings, *baseline, "{end}\n{}", story());
                assert_eq!(self.world.settings.image, OLD);
            }
            End::Succeeded => {
                assert_eq!(self.world.settings.image, NEW, "{}", story());
                assert_eq!(self.world.settings.replicas, baseline.replicas);
                if !self.said("marks-left") {
                    assert_eq!(self.world.settings.rollout, baseline.rollout);
                }
            }
            End::StayedForward | End::Superseded | End::RollbackStuck => {}
        }
        if end != End::RollbackStuck && !self.said("claim-left") {
            assert_ne!(self.world.claim.as_deref(), Some(RUN), "{end}\n{}", story());
            if !self.said("marks-left") {
                assert_eq!(self.world.marks, Marks::default(), "{end}\n{}", story());
            }
        }
        self.check_writes();
    }

    /// Each key changed the world at most once, and none did without an intent before.
    pub(in crate::run) fn check_writes(&self) {
        for (key, times) in &self.world.applied {
            assert_eq!(*times, 1, "{key}\n{}", self.story());
            let intended = self.records.iter().any(
                |record| matches!(&record.event, Event::Intended { effect } if effect.key == *key),
            );
            assert!(intended, "{key} was not intended");
        }
    }

    /// Answers that a journal gives: replaying the records leads to the same run.
    pub(in crate::run) fn check_replay(&self) {
        let text = self
            .records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap())
            .collect::<Vec<_>>();
        let read = text
            .iter()
            .map(|line| serde_json::from_str::<Record>(line).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(read, self.records);
        assert_eq!(Run::replay(RUN, &read).unwrap(), self.run);
    }
}
