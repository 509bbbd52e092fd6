//! A world in which a run takes place: one Deployment, gates, notifiers, a claim, and everything that
//! can go wrong with them. It does what the runtime does, without a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::plans::{NEW, OLD, UID};
use crate::diagnostic::codes;
use crate::effect::*;
use crate::event::{Command, Event, Identity, Record};
use crate::failure::{Failure, Kind};
use crate::plan::{Plan, Workload};
use crate::run::{End, Illegal, Line, Run, State};
use crate::strategy::{self, Slot, Split};
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

/// The candidate's Deployment.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::run) struct Candidate {
    pub settings: Settings,
    pub template: String,
    /// Pods that are ready while those that were asked for last are not.
    ready: u32,
    settled_at: Timestamp,
}

impl Candidate {
    /// Its pods are replaced by then, and none is ready meanwhile.
    pub(in crate::run) fn roll_out(&mut self, until: Timestamp) {
        self.ready = 0;
        self.settled_at = until;
    }

    fn resize(&mut self, replicas: u32, settled_at: Timestamp) {
        self.ready = self.settings.replicas.min(replicas);
        self.settings.replicas = replicas;
        self.settled_at = settled_at;
    }
}

#[derive(Clone)]
pub(in crate::run) struct World {
    pub now: Timestamp,
    pub uid: String,
    pub settings: Settings,
    pub template_digest: String,
    pub marks: Marks,
    pub settled_at: Timestamp,
    pub candidate: Option<Candidate>,
    pub pieces: BTreeSet<Piece>,
    pub stable_removed: bool,
    /// The autoscalers' minima, stable's and the candidate's.
    pub minima: BTreeMap<Slot, u32>,
    pub traffic: Split,
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
    fn new(workload: &Workload, now: Timestamp) -> Self {
        Self {
            now,
            uid: UID.to_owned(),
            settings: workload.baseline.settings.clone(),
            template_digest: workload.baseline.template_digest.clone(),
            marks: Marks::default(),
            settled_at: now,
            candidate: None,
            pieces: BTreeSet::new(),
            stable_removed: false,
            minima: workload
                .baseline
                .autoscaler
                .map(|autoscaler| (Slot::Stable, autoscaler.minimum))
                .into_iter()
                .collect(),
            traffic: Split::default(),
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

    pub(in crate::run) fn observe(&self) -> Observation {
        let mut seen = self.observe_side(&self.settings, self.settled_at);
        seen.beside = self.candidate.as_ref().map(|candidate| {
            let mut beside = self.observe_side(&candidate.settings, candidate.settled_at);
            beside.template_digest.clone_from(&candidate.template);
            // There is nothing of an earlier version that could be ready meanwhile.
            if beside.updated == 0 {
                beside.ready = candidate.ready;
                beside.available = candidate.ready;
                beside.updated = candidate.ready;
            }
            Box::new(beside)
        });
        seen
    }

    fn observe_side(&self, settings: &Settings, settled_at: Timestamp) -> Observation {
        let broken = self.broken.as_ref().filter(|(image, _)| {
            *image == settings.image && self.broken_until.is_none_or(|until| self.now < until)
        });
        let never = self.never_ready.as_ref() == Some(&settings.image);
        let settled = self.now >= settled_at && broken.is_none() && !never;
        let wanted = settings.replicas;
        let pod = |waiting: Option<&String>| Pod {
            name: "api-1".to_owned(),
            image: settings.image.clone(),
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
            settings: settings.clone(),
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
            autoscaler: None,
            beside: None,
        }
    }

    /// Nothing that serves may be taken away from traffic, whatever the engine asks.
    fn check_traffic(&self) {
        let share = self.traffic.candidate_weight;
        let seen = self.observe();
        let candidate = seen.beside.map_or(0, |beside| beside.ready);
        assert!(share == 0 || candidate > 0, "{share} of traffic to nobody");
        assert!(share == 10_000 || seen.ready > 0, "traffic to nobody");
    }

    fn beside(&mut self, effect: &Effect) -> Result<Done, Failure> {
        let ready = self.now.plus(self.rollout_time);
        let done = match &effect.request {
            Request::Create { create } => {
                self.pieces.insert(create.piece);
                if create.piece == Piece::Deployment {
                    let settings = Settings {
                        image: create.image.clone(),
                        replicas: create.replicas,
                        rollout: self.settings.rollout.clone(),
                    };
                    // One that is there already is replaced pod by pod.
                    let before = self.candidate.as_ref();
                    self.candidate = Some(Candidate {
                        ready: before
                            .map_or(0, |there| there.settings.replicas.min(create.replicas)),
                        settings,
                        template: "as made".to_owned(),
                        settled_at: ready,
                    });
                } else if create.piece == Piece::Autoscaler {
                    self.minima.insert(Slot::Candidate, create.replicas);
                }
                Done::Created
            }
            Request::Remove { slot, piece } if slot.is_stable() => {
                assert_eq!(
                    self.settings.replicas, 0,
                    "stable is removed while it has pods"
                );
                if *piece == Piece::Deployment {
                    self.stable_removed = true;
                }
                Done::Removed
            }
            Request::Remove { piece, .. } => {
                self.pieces.remove(piece);
                match piece {
                    Piece::Deployment => self.candidate = None,
                    Piece::Autoscaler => {
                        self.minima.remove(&Slot::Candidate);
                    }
                    Piece::Service => {}
                }
                Done::Removed
            }
            Request::Bound { slot, minimum } => {
                self.minima.insert(*slot, *minimum);
                // The autoscaler follows at once.
                if let (Slot::Candidate, Some(candidate)) = (slot, &mut self.candidate)
                    && candidate.settings.replicas < *minimum
                {
                    candidate.resize(*minimum, ready);
                }
                Done::Bounded
            }
            Request::Change { change } => {
                if let (Some(candidate), Some(replicas)) =
                    (&mut self.candidate, change.fields.replicas)
                {
                    candidate.resize(replicas, ready);
                }
                Done::Changed
            }
            Request::Route { split } => {
                self.traffic = split.clone();
                Done::Routed
            }
            _ => {
                self.traffic = Split::default();
                Done::Unrouted
            }
        };
        self.check_traffic();
        *self.applied.entry(effect.key.clone()).or_default() += 1;
        Ok(done)
    }

    fn reading(&self) -> Reading {
        Reading {
            desired: self.traffic.clone(),
            accepted: None,
            settled: true,
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
            Request::Release { to } => {
                if self.claim.as_deref() == Some(RUN) {
                    self.claim = to.as_ref().map(|to| to.run.clone());
                }
                *self.applied.entry(effect.key.clone()).or_default() += 1;
                Ok(Done::Released)
            }
            Request::Change { change } if change.slot.is_stable() => self.change(effect, change),
            Request::Snapshot => Ok(Done::Snapped {
                snapshot: serde_json::json!({"was": self.traffic}),
                reading: self.reading(),
            }),
            Request::Reading => Ok(Done::Read {
                reading: self.reading(),
            }),
            Request::Change { .. }
            | Request::Create { .. }
            | Request::Remove { .. }
            | Request::Bound { .. }
            | Request::Route { .. }
            | Request::Unroute { .. } => self.beside(effect),
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
            // Of one name there is one object.
            if matches!(&effect.request, Request::Create { create } if self.pieces.contains(&create.piece))
            {
                continue;
            }
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
            Request::Release { .. } => {
                (self.claim.as_deref() != Some(RUN)).then_some(Done::Released)
            }
            Request::Create { .. }
            | Request::Remove { .. }
            | Request::Bound { .. }
            | Request::Route { .. }
            | Request::Unroute { .. } => {
                let applied = self.applied.contains_key(&effect.key);
                let done = match &effect.request {
                    Request::Create { .. } => Done::Created,
                    Request::Remove { .. } => Done::Removed,
                    Request::Bound { .. } => Done::Bounded,
                    Request::Route { .. } => Done::Routed,
                    _ => Done::Unrouted,
                };
                applied.then_some(done)
            }
            Request::Change { change } if !change.slot.is_stable() => self
                .applied
                .contains_key(&effect.key)
                .then_some(Done::Changed),
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

/// That run is to take this one's place, and wants these targets.
pub(in crate::run) fn supersede(run: &str, targets: &[String]) -> Command {
    Command::Supersede {
        run: run.to_owned(),
        targets: targets.to_vec(),
    }
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
    /// The first workload's; gates and notifiers are here too.
    pub world: World,
    /// The other workloads'.
    pub others: Vec<World>,
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
    /// How long nobody drives after a death.
    pub away: Span,
    /// Drops events that are illegal, where a test has made up some of its own.
    pub lenient: bool,
}

impl Sim {
    pub(in crate::run) fn new(plan: Plan) -> Self {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let world = World::new(&plan.workloads[0], now);
        let others = plan.workloads.iter().skip(1);
        let others = others.map(|workload| World::new(workload, now)).collect();
        let first = Record {
            at: now,
            event: Event::Planned {
                plan: Box::new(plan),
                started_by: person("ann"),
                supersedes: None,
            },
        };
        Self {
            run: Run::begin(RUN, &first).unwrap(),
            lines: Vec::new(),
            world,
            others,
            records: vec![first],
            queue: VecDeque::new(),
            epoch: 0,
            injected: BTreeMap::new(),
            dies_before: BTreeSet::new(),
            dies_after: BTreeSet::new(),
            away: Span::from_secs(3),
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

    /// The world that an effect is about; gates are asked and people told in the first one.
    fn world_of(&mut self, effect: &Effect) -> &mut World {
        let now = self.world.now;
        let place = match effect.request {
            Request::Evaluate { .. } | Request::Notify { .. } => 0,
            _ => effect.workload,
        };
        let world = match place.checked_sub(1) {
            None => &mut self.world,
            Some(other) => &mut self.others[other],
        };
        world.now = now;
        world
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
        self.world.now = self.world.now.plus(self.away);
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
                let outcome = self.world_of(&effect).perform(&effect);
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
                    progress: self.world_of(&effect).probe(&effect),
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
        let worlds = [&self.world].into_iter().chain(&self.others);
        for (world, workload) in worlds.zip(&self.run.plan().workloads) {
            self.check_world(world, workload);
        }
        self.check_writes();
    }

    fn check_world(&self, world: &World, workload: &Workload) {
        let end = self.end();
        let baseline = &workload.baseline.settings;
        let story = || self.story();
        match end {
            End::Refused | End::Cancelled | End::RolledBack | End::Superseded => {
                assert_eq!(world.settings, *baseline, "{end}\n{}", story());
                assert_eq!(world.settings.image, OLD);
                assert_eq!(world.traffic, Split::default(), "{end}\n{}", story());
                assert_eq!(world.candidate, None, "{end}\n{}", story());
                assert_eq!(world.pieces, BTreeSet::new(), "{end}\n{}", story());
            }
            End::Succeeded => {
                let serves = match &world.candidate {
                    Some(candidate) => {
                        assert_eq!(world.traffic, Split::weight(10_000));
                        assert_eq!(world.settings.replicas, 0);
                        &candidate.settings
                    }
                    None => {
                        assert_eq!(world.traffic, Split::default());
                        &world.settings
                    }
                };
                assert_eq!(serves.image, NEW, "{}", story());
                assert_eq!(serves.replicas, baseline.replicas);
                if !self.said("marks-left") {
                    assert_eq!(serves.rollout, baseline.rollout);
                    assert!(!world.pieces.contains(&Piece::Service), "{}", story());
                }
            }
            End::StayedForward | End::RollbackStuck => {}
        }
        let recorded = workload.baseline.autoscaler;
        if end != End::RollbackStuck && !self.said("marks-left") {
            let minimum = world.minima.get(&Slot::Stable).copied();
            assert_eq!(minimum, recorded.map(|a| a.minimum), "{end}\n{}", story());
        }
        if end != End::RollbackStuck && !self.said("claim-left") {
            assert_ne!(world.claim.as_deref(), Some(RUN), "{end}\n{}", story());
            if !self.said("marks-left") {
                assert_eq!(world.marks, Marks::default(), "{end}\n{}", story());
            }
        }
    }

    /// Each key changed the world at most once, and none did without an intent before.
    pub(in crate::run) fn check_writes(&self) {
        let worlds = [&self.world].into_iter().chain(&self.others);
        for (key, times) in worlds.flat_map(|world| &world.applied) {
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
