//! Trouble at one named point of a rehearsal: the nth call of a kind fails, its answer is lost, the engine
//! dies before a record is written, somebody aborts after one.
//!
//! [`Trouble`] counts what passes the ports and strikes where it was told to; the wrappers in
//! [`crate::troubled`] ask it before every call. Without faults it only writes down what passes, which is
//! what [`crate::explore`] makes its cases of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phasegate_core::effect::{Direction, Done, Outcome};
use phasegate_core::event::{Event, Record};
use phasegate_core::run::{Run, State};
use phasegate_core::time::Timestamp;

mod point;

pub use point::{Fault, KINDS, Kind, Mischief, Nature, Point, way};

/// Most calls and records that are written down of one rehearsal.
const MAX_SEEN: usize = 100_000;

/// A point that a rehearsal passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub point: Point,
    /// Which way the run went.
    pub direction: Direction,
    /// Where the run was: its step, or its state where it was in none.
    pub step: String,
    /// What kind of record it is.
    pub record: Option<Sort>,
}

/// Records, by what becomes of a run that is cut off at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A write is about to be made.
    Intent,
    /// Something was looked at or asked, or a time came: while a step lasts there are many of these.
    Routine(&'static str),
    /// Anything else.
    Other,
}

impl Sort {
    fn of(record: &Record) -> Self {
        match &record.event {
            Event::Intended { .. } => Self::Intent,
            Event::Woke => Self::Routine("woke"),
            Event::Stirred => Self::Routine("stirred"),
            Event::Finished {
                outcome: Outcome::Done(done),
                ..
            } => match done {
                Done::Judged { .. } => Self::Routine("judged"),
                Done::Observed { .. } => Self::Routine("observed"),
                Done::Read { .. } => Self::Routine("read"),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
struct Inner {
    faults: Vec<(Fault, bool)>,
    counts: BTreeMap<(Kind, Option<String>, Direction), u32>,
    seen: Vec<Seen>,
    told: BTreeSet<u64>,
    direction: Direction,
    step: String,
    struck_at: Option<Timestamp>,
    killed: bool,
    lifted: bool,
    retried: bool,
    stuck: bool,
}

/// What is to go wrong in a rehearsal, and what has passed so far.
#[derive(Debug)]
pub struct Trouble(Mutex<Inner>);

impl Default for Trouble {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Trouble {
    /// These faults, each once.
    #[must_use]
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(Inner {
            faults: faults.into_iter().map(|fault| (fault, false)).collect(),
            counts: BTreeMap::new(),
            seen: Vec::new(),
            told: BTreeSet::new(),
            direction: Direction::Forward,
            step: "planning".to_owned(),
            struck_at: None,
            killed: false,
            lifted: false,
            retried: false,
            stuck: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A holder that panicked left plain data behind, which is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is to go wrong at all.
    #[must_use]
    pub fn planned(&self) -> bool {
        !self.lock().faults.is_empty()
    }

    /// A call is about to be made: what becomes of it.
    pub fn call(&self, kind: Kind, subject: Option<&str>, now: Timestamp) -> Option<Mischief> {
        let mut inner = self.lock();
        let direction = inner.direction;
        let subject = subject.map(str::to_owned);
        let count = inner
            .counts
            .entry((kind, subject.clone(), direction))
            .or_default();
        *count = count.saturating_add(1);
        let nth = *count;
        let struck = inner.strike(now, |fault| {
            let Point::Call {
                kind: of,
                subject: about,
                nth: at,
            } = &fault.point
            else {
                return false;
            };
            let reached = if fault.mischief.lasts() {
                nth >= *at
            } else {
                nth == *at
            };
            *of == kind && *about == subject && fault.direction == direction && reached
        });
        inner.note(Point::Call { kind, subject, nth }, None);
        struck
    }

    /// A record is about to be written, or was: whether the engine dies of it.
    pub fn append(&self, seq: u64, written: bool, now: Timestamp) -> bool {
        let wanted = if written {
            Mischief::DeathAfter
        } else {
            Mischief::DeathBefore
        };
        let dies = self.lock().strike(now, |fault| {
            fault.point == Point::Record(seq) && fault.mischief == wanted
        });
        dies.is_some()
    }

    /// A record was told. Says whether an operator aborts at it.
    pub fn recorded(&self, seq: u64, record: &Record, run: &Run) -> bool {
        let mut inner = self.lock();
        inner.direction = if run.cause().is_some() {
            Direction::Back
        } else {
            Direction::Forward
        };
        inner.step = match run.state() {
            State::Running { step, .. } => step,
            state => state.to_string(),
        };
        if !inner.told.insert(seq) {
            return false;
        }
        inner.note(Point::Record(seq), Some(Sort::of(record)));
        let aborts = inner.strike(run.now(), |fault| {
            fault.point == Point::Record(seq) && fault.mischief == Mischief::Abort
        });
        aborts.is_some()
    }

    /// The engine dies at the hands of this.
    pub fn kill(&self) {
        self.lock().killed = true;
    }

    /// Whether the last death was of this. Asked once for each death.
    pub fn has_killed(&self) -> bool {
        std::mem::take(&mut self.lock().killed)
    }

    /// Somebody sees to whatever lasts. Says whether there was anything that had not been seen to.
    pub fn lift(&self) -> bool {
        let mut inner = self.lock();
        !std::mem::replace(&mut inner.lifted, true)
    }

    /// Somebody sees to whatever lasts and says `retry`. Only once: what is stuck again then is stuck without any trouble.
    pub fn retry(&self) -> bool {
        let mut inner = self.lock();
        inner.lifted = true;
        !std::mem::replace(&mut inner.retried, true)
    }

    /// Whether somebody had to see to it.
    #[must_use]
    pub fn was_lifted(&self) -> bool {
        self.lock().lifted
    }

    /// The way back is stuck.
    pub fn stuck(&self) {
        self.lock().stuck = true;
    }

    /// Whether the way back was ever stuck.
    #[must_use]
    pub fn was_stuck(&self) -> bool {
        self.lock().stuck
    }

    /// When the first fault struck.
    #[must_use]
    pub fn struck_at(&self) -> Option<Timestamp> {
        self.lock().struck_at
    }

    /// Faults that never struck.
    #[must_use]
    pub fn unstruck(&self) -> Vec<Fault> {
        let inner = self.lock();
        let rest = inner.faults.iter().filter(|(_, struck)| !struck);
        rest.map(|(fault, _)| fault.clone()).collect()
    }

    /// What passed, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }
}

impl Inner {
    fn strike(&mut self, now: Timestamp, fits: impl Fn(&Fault) -> bool) -> Option<Mischief> {
        let lifted = self.lifted;
        let (fault, struck) = self.faults.iter_mut().find(|(fault, struck)| {
            let lasting = fault.mischief.lasts() && !lifted;
            (!*struck || lasting) && fits(fault)
        })?;
        *struck = true;
        let mischief = fault.mischief;
        self.struck_at.get_or_insert(now);
        Some(mischief)
    }

    fn note(&mut self, point: Point, record: Option<Sort>) {
        if self.seen.len() < MAX_SEEN {
            let (direction, step) = (self.direction, self.step.clone());
            self.seen.push(Seen {
                point,
                direction,
                step,
                record,
            });
        }
    }
}

#[cfg(test)]
mod tests;
