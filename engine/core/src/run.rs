//! The run: a fold over its events.
//!
//! [`Run::apply`] takes the next [`Record`] and returns the [`Action`]s that follow from it. Nothing
//! else changes a run, and nothing but its records is needed to rebuild one: [`Run::replay`].
//!
//! Where to start reading: [`state`](self::State) for where a run can be, `forward.rs` and
//! `write.rs` for the way to the new version, `drift.rs` for others' changes, `asking.rs` for gates and soaks,
//! `beside.rs` and `traffic.rs` for a candidate and its share, `back.rs` and `retreat.rs` for the way back, `people.rs` for
//! commands, `effects.rs` for what happens to a request between intent and outcome, and
//! `invariants.rs` for what may never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::effect::{Action, Id};
use crate::event::{Event, Identity, Record};
use crate::plan::{Phase as PlanPhase, Plan, Step, Workload};
use crate::strategy::StepOutcome;
use crate::time::{Span, Timestamp};
use crate::workload::{Diagnosis, Observation};

mod acts;
mod answers;
mod approvals;
mod asking;
mod back;
mod beside;
mod claim;
mod configs;
mod drift;
mod effects;
mod ends;
mod fault;
mod finish;
mod forward;
mod invariants;
mod keeping;
mod late;
pub mod limits;
mod notices;
mod people;
mod retreat;
mod state;
mod stirred;
mod stuck;
mod supersede;
mod traffic;
mod views;
mod waiting;
mod words;
mod write;

pub use answers::{Answer, TrafficView};
pub use invariants::{Broken, check_plan};
pub use people::Refusal;
pub use state::{
    Approval, Attestation, Cause, End, Level, Line, Obligation, State, Stuck, TakenOver,
};
pub use views::{GateView, StepProgress, StepView};
pub use words::in_words;

use state::{BackStage, Forward, Gates, Known, Look, Mode, Outstanding, Stage};

/// An event that can't follow what came before it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Illegal {
    /// It is earlier than the one before it.
    #[error("record at {found} comes after one at {last}")]
    Time {
        /// The last record's time.
        last: Timestamp,
        /// This one's.
        found: Timestamp,
    },
    /// It is about an effect that is not in the state for it.
    #[error("{event} for effect {} which is {actual}", effect.0)]
    Effect {
        /// What happened.
        event: &'static str,
        /// The effect.
        effect: Id,
        /// How far it is.
        actual: String,
    },
    /// The intent is not what the run asked for.
    #[error("the intent for effect {} is not what the run asked for", .0.0)]
    Intent(Id),
    /// The run is not in a state for it.
    #[error("{event} while {state}")]
    State {
        /// What happened.
        event: &'static str,
        /// Where the run is.
        state: String,
    },
    /// The command was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It would break an invariant.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A limit was reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The journal doesn't begin with a plan.
    #[error("a run begins with its plan")]
    NoPlan,
}

/// Which engine drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Driver {
    pub(crate) engine: String,
    pub(crate) epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pause {
    by: Identity,
    until: Timestamp,
}

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    id: String,
    plan: Arc<Plan>,
    digest: Arc<str>,
    /// The plan's phases, as revised since.
    phases: Arc<Vec<PlanPhase>>,
    started_by: Identity,
    supersedes: Option<String>,
    started_at: Timestamp,
    now: Timestamp,
    driver: Option<Driver>,
    /// The highest so far: an engine with a lower one comes too late.
    epoch: u64,
    drives: u32,
    mode: Mode,
    paused: Option<Pause>,
    outstanding: BTreeMap<Id, Outstanding>,
    next_effect: u64,
    /// Counts what must have a key of its own: forced writes, claims after success, notices.
    generation: u32,
    notices: u32,
    /// The workload in hand, and its place in the plan.
    hand: Arc<Workload>,
    in_hand: usize,
    /// What is known of it.
    known: Known,
    /// What is known of the others, by their places.
    parked: BTreeMap<usize, Known>,
    /// The actions that were prepared, in order.
    acts: Arc<Vec<acts::Act>>,
    /// Whether something that was changed was put back.
    undid: bool,
    /// The workloads whose targets are held.
    claimed: BTreeSet<usize>,
    /// By workload: how many claims nobody answered and no probe has found, and until when they may still arrive.
    claim_arrives: BTreeMap<usize, (u32, Timestamp)>,
    /// The workloads whose targets the run gave up letting go of.
    claims_left: BTreeSet<usize>,
    gates: Gates,
    look: Look,
    reading: Look,
    broken_since: Option<Timestamp>,
    changed_at: Option<Timestamp>,
    approvals: Vec<Approval>,
    attestations: Vec<Attestation>,
    // What grows, or is large and seldom changes, is shared by a run and the one after the next record.
    outcomes: Arc<Vec<StepOutcome>>,
    past_point: bool,
    threads: BTreeMap<String, Value>,
    observation: Option<Arc<Observation>>,
    diagnosis: Option<Diagnosis>,
    cause: Option<Cause>,
    rollback_took: Option<Span>,
    taken_over: Option<TakenOver>,
    ended_at: Option<Timestamp>,
    obligations: Vec<Obligation>,
    /// The number of the last obligation; none is used twice.
    last_obligation: u32,
    /// The ends after which what is owed has been noted.
    owed: BTreeSet<End>,
    inbox: u64,
    /// Keys of writes that took place.
    performed: Arc<BTreeSet<String>>,
    said: Vec<Line>,
}

impl Run {
    /// Begins a run with its first record.
    ///
    /// # Errors
    /// [`Illegal::NoPlan`] if the record is not [`Event::Planned`].
    pub fn begin(id: &str, first: &Record) -> Result<Self, Illegal> {
        let Event::Planned {
            plan,
            started_by,
            supersedes,
        } = &first.event
        else {
            return Err(Illegal::NoPlan);
        };
        let Some(first_workload) = plan.workloads.first() else {
            return Err(Illegal::NoPlan);
        };
        let others = plan.workloads.iter().enumerate().skip(1);
        let mut run = Self {
            id: id.to_owned(),
            digest: plan.digest().into(),
            phases: Arc::new(plan.phases.clone()),
            hand: Arc::new(first_workload.clone()),
            in_hand: 0,
            known: Known::of(first_workload),
            parked: others
                .map(|(place, workload)| (place, Known::of(workload)))
                .collect(),
            acts: Arc::default(),
            undid: false,
            plan: Arc::new((**plan).clone()),
            started_by: started_by.clone(),
            supersedes: supersedes.clone(),
            started_at: first.at,
            now: first.at,
            driver: None,
            epoch: 0,
            drives: 0,
            mode: Mode::Forward(Forward::Planned),
            paused: None,
            outstanding: BTreeMap::new(),
            next_effect: 1,
            generation: 0,
            notices: 0,
            claimed: BTreeSet::new(),
            claim_arrives: BTreeMap::new(),
            claims_left: BTreeSet::new(),
            gates: Gates::new(),
            look: Look::default(),
            reading: Look::default(),
            broken_since: None,
            changed_at: None,
            approvals: Vec::new(),
            attestations: Vec::new(),
            outcomes: Arc::default(),
            past_point: false,
            threads: BTreeMap::new(),
            observation: None,
            diagnosis: None,
            cause: None,
            rollback_took: None,
            taken_over: None,
            ended_at: None,
            obligations: Vec::new(),
            last_obligation: 0,
            owed: BTreeSet::new(),
            inbox: 0,
            performed: Arc::default(),
            said: Vec::new(),
        };
        let subject = &run.plan.subject;
        let mut message = format!(
            "{} {} → {} in {}, started by {}",
            subject.name,
            subject.previous_version,
            subject.version,
            subject.environment,
            started_by.name
        );
        let data = match supersedes {
            None => json!({"plan": &*run.digest, "startedBy": started_by.name}),
            Some(before) => {
                message.push_str(&format!(", in place of {before}"));
                json!({"plan": &*run.digest, "startedBy": started_by.name, "supersedes": before})
            }
        };
        run.say("planned", Level::Info, message, data);
        Ok(run)
    }

    /// Rebuilds a run from all of its records.
    ///
    /// # Errors
    /// [`Illegal`] if the records are not what this engine would have written.
    pub fn replay(id: &str, records: &[Record]) -> Result<Self, Illegal> {
        let (first, rest) = records.split_first().ok_or(Illegal::NoPlan)?;
        let mut run = Self::begin(id, first)?;
        for record in rest {
            run.take(record)?;
        }
        Ok(run)
    }

    /// The run as it is after the next record, and what is to be done about it.
    ///
    /// # Errors
    /// [`Illegal`] says why the record can't follow.
    pub fn after(&self, record: &Record) -> Result<(Self, Vec<Action>), Illegal> {
        let mut next = self.clone();
        let actions = next.take(record)?;
        Ok((next, actions))
    }

    /// Takes the next record in and returns what is to be done about it. Where it is illegal the run stays as it was.
    ///
    /// # Errors
    /// [`Illegal`] says why the record can't follow.
    pub fn apply(&mut self, record: &Record) -> Result<Vec<Action>, Illegal> {
        let (next, actions) = self.after(record)?;
        *self = next;
        Ok(actions)
    }

    fn take(&mut self, record: &Record) -> Result<Vec<Action>, Illegal> {
        if record.at < self.now {
            return Err(Illegal::Time {
                last: self.now,
                found: record.at,
            });
        }
        let before = self.summary();
        let last = self.now;
        self.now = record.at;
        self.said.clear();
        match &record.event {
            Event::Planned { .. } => {
                return Err(self.illegal("planned"));
            }
            Event::Driving { engine, epoch } => {
                self.driving(engine, *epoch, record.at.since(last))?;
            }
            Event::Woke => {}
            Event::Stirred => self.stirred(),
            Event::Intended { effect } => self.intended(effect)?,
            Event::Finished { effect, outcome } => self.finished(*effect, outcome)?,
            Event::Probed { effect, progress } => self.probed(*effect, progress)?,
            Event::Commanded { by, command, inbox } => {
                self.may(by, command)?;
                if let Some(number) = inbox {
                    if *number <= self.inbox {
                        return Err(self.illegal("a command that was taken already"));
                    }
                    self.inbox = *number;
                }
                self.commanded(by, command)?;
            }
            Event::Unclaimed { workload, by } => self.unclaimed(*workload, by.as_deref())?,
            Event::Faulted { reason } => self.faulted(reason)?,
            Event::Interrupted { .. } if self.driver.is_none() => {
                return Err(self.illegal("an engine that doesn't drive leaves"));
            }
            Event::Interrupted { cause } => {
                self.driver = None;
                self.say(
                    "interrupted",
                    Level::Warn,
                    format!("the engine leaves: {cause}"),
                    Value::Null,
                );
            }
        }
        let actions = if self.driver.is_some() {
            self.drive()?;
            if self.renew_proof()? {
                self.drive()?;
            }
            self.collect()
        } else {
            Vec::new()
        };
        self.check(&before, &actions)?;
        Ok(actions)
    }

    fn illegal(&self, event: &'static str) -> Illegal {
        Illegal::State {
            event,
            state: self.state().to_string(),
        }
    }

    fn driving(&mut self, engine: &str, epoch: u64, away: Span) -> Result<(), Illegal> {
        if epoch <= self.epoch {
            return Err(self.illegal("an older epoch begins to drive"));
        }
        self.epoch = epoch;
        self.drives = self.drives.saturating_add(1);
        self.driver = Some(Driver {
            engine: engine.to_owned(),
            epoch,
        });
        self.recover();
        // What was seen long ago says nothing about now, and nobody looked meanwhile.
        self.look.due = self.now;
        self.reading.due = self.now;
        // Nor is what was about to be written over still what it was; a way back that is stuck has said what it found.
        if self.stuck_now().is_none() {
            for known in self.parked.values_mut().chain([&mut self.known]) {
                known.looked = false;
            }
        }
        self.extend_deadlines(away);
        let kind = if self.drives == 1 {
            "driving"
        } else {
            "resumed"
        };
        self.say(
            kind,
            Level::Info,
            format!("engine {engine} drives, epoch {epoch}"),
            json!({"engine": engine, "epoch": epoch}),
        );
        Ok(())
    }

    /// What the cluster and gates have time for is time in which somebody looks.
    fn extend_deadlines(&mut self, away: Span) {
        match &mut self.mode {
            Mode::Forward(Forward::Claiming { deadline, .. }) => *deadline = deadline.plus(away),
            Mode::Forward(Forward::At(cursor)) => {
                if let Stage::Changing { deadline, .. }
                | Stage::Settling { deadline, .. }
                | Stage::Proving { deadline }
                | Stage::Following { deadline, .. }
                | Stage::Acting { deadline, .. }
                | Stage::Asking { deadline } = &mut cursor.stage
                {
                    *deadline = deadline.plus(away);
                }
            }
            Mode::Back(back) => {
                if let BackStage::Diagnosing { deadline, .. }
                | BackStage::Looking { deadline }
                | BackStage::Checking { deadline }
                | BackStage::Settling { deadline }
                | BackStage::Undoing { deadline, .. }
                | BackStage::Following { deadline, .. } = &mut back.stage
                {
                    *deadline = deadline.plus(away);
                }
            }
            Mode::Forward(_) | Mode::Ended(_) => {}
        }
    }

    /// Goes on as far as it is possible without the outside world.
    fn drive(&mut self) -> Result<(), Illegal> {
        for _ in 0..limits::ROUNDS {
            let progress = match &self.mode {
                Mode::Forward(_) => self.forward()?,
                Mode::Back(_) => self.back()?,
                Mode::Ended(_) => false,
            };
            if !progress {
                return Ok(());
            }
        }
        Err(Illegal::Limit("rounds of one event"))
    }

    /// When the run wants to be woken if nothing happens before. None while nobody drives it.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.driver.as_ref()?;
        let timers = [self.effects_wake(), self.mode_wake()];
        timers
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(self.now))
    }

    fn mode_wake(&self) -> Option<Timestamp> {
        match &self.mode {
            Mode::Forward(_) => self.forward_wake(),
            Mode::Back(back) => back.wake(self),
            Mode::Ended(_) => None,
        }
    }

    /// Whether there is nothing left that an engine could do by itself.
    #[must_use]
    pub fn resting(&self) -> bool {
        let notices = self.outstanding.values().any(Outstanding::is_notice);
        match &self.mode {
            Mode::Ended(_) => true,
            Mode::Back(back) => back.stuck.is_some() && !notices,
            Mode::Forward(_) => false,
        }
    }

    /// Whether the run still waits for the outcome of this effect. Late answers to others are dropped.
    #[must_use]
    pub fn wants(&self, effect: Id) -> bool {
        self.outstanding.contains_key(&effect)
    }

    /// What the last record brought about.
    #[must_use]
    pub fn said(&self) -> &[Line] {
        &self.said
    }

    fn step(&self, phase: usize, step: usize) -> Option<(&PlanPhase, &Step)> {
        let phase = self.phases.get(phase)?;
        Some((phase, phase.steps.get(step)?))
    }

    fn say(&mut self, kind: &'static str, level: Level, message: impl Into<String>, data: Value) {
        self.say_attempt(kind, level, None, message, data);
    }

    fn say_attempt(
        &mut self,
        kind: &'static str,
        level: Level,
        attempt: Option<u32>,
        message: impl Into<String>,
        data: Value,
    ) {
        let (phase, step) = self.here();
        self.said.push(Line {
            kind,
            level,
            phase,
            step,
            attempt,
            message: message.into(),
            data,
        });
    }

    /// The phase and the step that the run is in, on the way forward.
    fn here(&self) -> (Option<String>, Option<String>) {
        let Mode::Forward(Forward::At(cursor)) = &self.mode else {
            return (None, None);
        };
        match self.step(cursor.phase, cursor.step) {
            Some((phase, step)) => (Some(phase.name.clone()), Some(step.id.clone())),
            None => (None, None),
        }
    }

    fn new_generation(&mut self) -> Result<u32, Illegal> {
        if self.generation >= limits::GENERATIONS {
            return Err(Illegal::Limit("generations of a run"));
        }
        self.generation = self.generation.saturating_add(1);
        Ok(self.generation)
    }
}

#[cfg(test)]
mod tests;
