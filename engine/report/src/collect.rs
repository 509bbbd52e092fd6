//! Reads a run's records once, from the first to the last, and keeps what a report says of them.
//!
//! The run itself is replayed, so that a report knows nothing but what the engine that wrote the
//! records knew, and so that records which make no sense are noticed.

mod back;
mod ends;
mod figures;
mod gates;
mod marks;
mod people;
mod steps;
mod traffic;

use phasegate_core::event::{Event, Identity, Record};
use phasegate_core::plan::{Plan, Workload};
use phasegate_core::run::{Illegal, Level, Line, Run, State};
use phasegate_core::time::Timestamp;

use crate::limits;
use crate::model::{
    Journal, LeftOut, Moment, Overview, Owed, Person, Plugin, Report, RollbackTime, SCHEMA, Said,
};
use crate::shown::clipped;
use ends::Ends;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The run's id.
    pub run: &'a str,
    /// All of its records, from the first.
    pub records: &'a [Record],
    /// Where they come from.
    pub kept: Kept<'a>,
}

/// Where records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// A journal whose chain was recomputed and held against its anchor when it was read.
    Verified {
        /// The hash at the end of the chain.
        head: &'a str,
    },
    /// A rehearsal's memory.
    Rehearsal,
}

/// A record, and what it brought about.
pub(crate) struct Seen<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    /// The time of the record before it.
    pub(crate) before: Timestamp,
    pub(crate) record: &'a Record,
    pub(crate) run: &'a Run,
}

impl Seen<'_> {
    fn lines(&self) -> &[Line] {
        self.run.said()
    }

    /// Who gave the command, where the record is one.
    fn by(&self) -> Option<Person> {
        match &self.record.event {
            Event::Commanded { by, .. } => Some(person(by)),
            _ => None,
        }
    }
}

/// Makes the report of a run.
///
/// # Errors
/// Where the records are not what this engine would have written.
pub fn report(source: &Source<'_>) -> Result<Report, Illegal> {
    let (first, rest) = source.records.split_first().ok_or(Illegal::NoPlan)?;
    let mut run = Run::begin(source.run, first)?;
    let mut collector = Collector::default();
    let mut before = first.at;
    collector.take(1, first, before, &run);
    for (seq, record) in (2..).zip(rest) {
        run.apply(record)?;
        collector.take(seq, record, before, &run);
        before = record.at;
    }
    Ok(collector.finish(source, &run))
}

#[derive(Default)]
struct Collector {
    steps: steps::Steps,
    marks: marks::Marks,
    traffic: traffic::Shares,
    pods: traffic::Counts,
    gates: gates::Gates,
    people: people::Commands,
    back: back::Backs,
    story: Ends<Said, { limits::STORY }>,
    drives: usize,
}

impl Collector {
    fn take(&mut self, seq: u64, record: &Record, before: Timestamp, run: &Run) {
        let seen = Seen {
            seq,
            at: record.at,
            before,
            record,
            run,
        };
        if matches!(record.event, Event::Driving { .. }) {
            self.drives = self.drives.saturating_add(1);
        }
        self.steps.take(&seen);
        self.marks.take(&seen);
        self.traffic.take(seen.at, seen.lines());
        self.pods.take(&seen);
        self.gates.take(&seen);
        self.people.take(&seen);
        self.back.take(&seen);
        for line in seen.lines() {
            let passes = line.kind == "gate" && line.level == Level::Info;
            if line.level == Level::Debug || passes {
                continue;
            }
            self.story.push(Said {
                seq: seen.seq,
                at: Moment(seen.at),
                kind: line.kind.to_owned(),
                level: line.level,
                step: line.step.as_deref().map(name),
                message: text(&line.message),
            });
        }
    }

    fn finish(self, source: &Source<'_>, run: &Run) -> Report {
        let mut cuts = Cuts::default();
        let overview = overview(source, run, self.drives);
        let to = run.ended_at().unwrap_or_else(|| run.now());
        Report {
            schema: SCHEMA,
            timeline: self.steps.finish(run, to, self.marks, &mut cuts),
            traffic: self.traffic.finish(&mut cuts),
            pods: self.pods.finish(to, &mut cuts),
            gates: self.gates.finish(run, &mut cuts),
            people: self.people.finish(run, &mut cuts),
            back: self.back.finish(run, &mut cuts),
            owed: owed(run, &mut cuts),
            plugins: plugins(run, &mut cuts),
            journal: journal(source),
            story: self.story.finish("lines of the story", &mut cuts),
            left_out: cuts.0,
            overview,
        }
    }
}

/// What was left out so far.
#[derive(Debug, Default)]
pub(crate) struct Cuts(Vec<LeftOut>);

impl Cuts {
    /// Notes that of so many only some are shown.
    fn note(&mut self, what: &str, of: usize, shown: usize) {
        if shown < of {
            self.0.push(LeftOut {
                what: what.to_owned(),
                of,
                shown,
            });
        }
    }

    /// The first so many.
    fn first<T>(&mut self, what: &str, mut list: Vec<T>, most: usize) -> Vec<T> {
        let of = list.len();
        list.truncate(most);
        self.note(what, of, list.len());
        list
    }
}

fn text(text: &str) -> String {
    clipped(text, limits::TEXT)
}

fn name(text: &str) -> String {
    clipped(text, limits::NAME)
}

fn person(identity: &Identity) -> Person {
    Person {
        name: name(&identity.name),
        verified_by: name(&identity.verified_by),
    }
}

/// Something of every workload, each once.
fn each(plan: &Plan, of: impl Fn(&Workload) -> String) -> String {
    let mut all: Vec<String> = Vec::new();
    for found in plan.workloads.iter().map(of) {
        if !found.is_empty() && !all.contains(&found) {
            all.push(found);
        }
    }
    all.join(", ")
}

fn overview(source: &Source<'_>, run: &Run, drives: usize) -> Overview {
    let plan = run.plan();
    let subject = &plan.subject;
    let ended = run.ended_at();
    let target = plan.rollback.target;
    let state = run.state();
    Overview {
        run: name(run.id()),
        rehearsal: source.kept == Kept::Rehearsal,
        name: name(&subject.name),
        change: subject.change.as_str().to_owned(),
        version: name(&subject.version),
        previous_version: name(&subject.previous_version),
        environment: name(&subject.environment),
        target: text(&plan.targets()),
        container: text(&each(plan, |workload| workload.target.container.clone())),
        service: Some(each(plan, |workload| {
            workload.target.service.clone().unwrap_or_default()
        }))
        .filter(|services| !services.is_empty())
        .map(|services| text(&services)),
        image: text(&each(plan, |workload| workload.image.clone())),
        previous_image: text(&each(plan, |workload| {
            workload.baseline.settings.image.clone()
        })),
        plan: run.digest().to_owned(),
        started_by: person(run.started_by()),
        started_at: Moment(run.started_at()),
        ended_at: ended.map(Moment),
        as_of: Moment(run.now()),
        took: ended.unwrap_or_else(|| run.now()).since(run.started_at()),
        end: match state {
            State::Ended { end } => Some(end),
            _ => None,
        },
        state: text(&state.to_string()),
        because: run.cause().map(|cause| text(&cause.reason)),
        rollback: run.rollback_time().map(|took| RollbackTime {
            took,
            target,
            within: took <= target,
        }),
        drives,
    }
}

fn owed(run: &Run, cuts: &mut Cuts) -> Vec<Owed> {
    let owed = run
        .obligations()
        .iter()
        .map(|owed| Owed {
            number: owed.number,
            task: text(&owed.task),
            due: Moment(owed.due),
            met_by: owed.discharged.as_ref().map(|(by, _)| person(by)),
            met_at: owed.discharged.as_ref().map(|(_, at)| Moment(*at)),
        })
        .collect();
    cuts.first("things owed", owed, limits::OWED)
}

fn plugins(run: &Run, cuts: &mut Cuts) -> Vec<Plugin> {
    let plan = run.plan();
    let used_for = |plugin: &str| {
        let gates = plan.gates.iter();
        let gates = gates.filter(|(_, gate)| gate.offer.plugin == plugin);
        let notifiers = plan.notifiers.iter();
        let notifiers = notifiers.filter(|(_, notifier)| notifier.offer.plugin == plugin);
        let strategies = plan.phases.iter().filter(|phase| {
            let planned = phase.strategies.first();
            planned.is_some_and(|planned| planned.offer.plugin == plugin)
        });
        gates
            .map(|(gate, _)| format!("gate {gate}"))
            .chain(notifiers.map(|(notifier, _)| format!("notifier {notifier}")))
            .chain(strategies.map(|phase| format!("strategy of phase {}", phase.name)))
            .take(limits::GATES)
            .map(|used| name(&used))
            .collect()
    };
    let plugins = plan
        .plugins
        .iter()
        .map(|(plugin, pin)| Plugin {
            name: name(plugin),
            version: name(&pin.version),
            source: name(&pin.source),
            digest: name(&pin.digest),
            used_for: used_for(plugin),
        })
        .collect();
    cuts.first("plugins", plugins, limits::PLUGINS)
}

fn journal(source: &Source<'_>) -> Journal {
    let head = match source.kept {
        Kept::Verified { head } => Some(name(head)),
        Kept::Rehearsal => None,
    };
    Journal {
        records: source.records.len(),
        verified: head.is_some(),
        head,
    }
}
