//! A run in its worlds, one for each workload ([`World`]). It does what the runtime does, without a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::plans::{NEW, OLD};
use crate::effect::*;
use crate::event::{Command, Event, Identity, Record};
use crate::failure::Kind;
use crate::plan::{Plan, Workload};
use crate::run::{End, Illegal, Line, Run, State};
use crate::strategy::{Slot, Split};
use crate::time::{Span, Timestamp};
use crate::verdict::Status;
use crate::workload::Marks;

mod world;

pub(in crate::run) use world::*;

pub(in crate::run) const RUN: &str = "run-1";
/// Enough for every run here; more means that it would never end.
const MOST_STEPS: usize = 20_000;

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
                assert_eq!(world.configs, references_before(workload), "{}", story());
                assert_eq!(world.template_digest, workload.baseline.template_digest);
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
                let refers = match &world.candidate {
                    Some(_) => &world.candidate_configs,
                    None => &world.configs,
                };
                let made = workload.configs.iter().filter(|c| !c.keeps_old());
                for (place, config) in made.enumerate() {
                    let wanted = config.reference(&config.copy.name);
                    assert_eq!(refers.get(place), Some(&wanted), "{}", story());
                    let there = world.pieces.contains(&Piece::Config(place));
                    assert_ne!(there, config.there, "{}", story());
                }
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
