//! When steps began and ended, and what filled the time besides them.

use std::collections::BTreeMap;

use phasegate_core::run::Run;
use phasegate_core::time::{Span, Timestamp};

use super::ends::Ends;
use super::marks::Marks;
use super::{Cuts, Seen, name, text};
use crate::limits;
use crate::model::{Filling, Moment, Step, Stretch, Timeline};

#[derive(Default)]
struct Times {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Measured so far, and how much is wanted.
    soak: Option<(Span, Span)>,
}

#[derive(Default)]
pub(crate) struct Steps {
    times: BTreeMap<String, Times>,
    open: Option<String>,
    stretches: Ends<Stretch, { limits::STRETCHES }>,
    /// Stretches that haven't ended, one of a kind.
    going: Vec<Stretch>,
}

impl Steps {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        let at = seen.at;
        for line in seen.lines() {
            match line.kind {
                "awaiting" => {
                    let what = line.message.trim_start_matches("waits: ");
                    self.begin(Filling::Waiting, what, at);
                }
                "step-started" => self.started(line.step.as_deref(), at),
                "step-finished" => self.finished(at),
                "rolling-back" | "stopping" => {
                    self.end(Filling::Waiting, at);
                    self.end(Filling::Rest, at);
                    if let Some(open) = self.open.take() {
                        self.times.entry(open).or_default().ended = Some(at);
                    }
                    self.begin(Filling::Back, &line.message, at);
                }
                "ended" => {
                    self.end(Filling::Back, at);
                    self.begin(Filling::Rest, &line.message, at);
                }
                "interrupted" if !self.rests() => self.begin(Filling::Away, &line.message, at),
                // After its end a run needs no engine until somebody wants it back.
                "resumed" if self.rests() => self.end(Filling::Away, at),
                "resumed" => {
                    // An engine that was killed didn't say when: it was alive at its last record.
                    self.begin(Filling::Away, "the engine was gone", seen.before);
                    self.end(Filling::Away, at);
                }
                _ => {}
            }
        }
        if let (Some(open), Some(soak)) = (&self.open, seen.run.soak()) {
            self.times.entry(open.clone()).or_default().soak = Some(soak);
        }
    }

    fn rests(&self) -> bool {
        let mut going = self.going.iter();
        going.any(|going| going.filling == Filling::Rest)
    }

    fn started(&mut self, step: Option<&str>, at: Timestamp) {
        self.end(Filling::Waiting, at);
        // A write that is forced once more begins its step again.
        if let Some(step) = step {
            let times = self.times.entry(step.to_owned()).or_default();
            times.started.get_or_insert(at);
            self.open = Some(step.to_owned());
        }
    }

    fn finished(&mut self, at: Timestamp) {
        if let Some(open) = self.open.take() {
            let times = self.times.entry(open).or_default();
            times.ended = Some(at);
            if let Some((measured, wanted)) = &mut times.soak {
                // A soak ends when no less was measured than it wants; the record with which it ended
                // measured the rest.
                *measured = (*measured).max(*wanted);
            }
        }
    }

    fn begin(&mut self, filling: Filling, what: &str, at: Timestamp) {
        if !self.going.iter().any(|going| going.filling == filling) {
            self.going.push(Stretch {
                filling,
                what: text(what),
                from: Moment(at),
                to: Moment(at),
            });
        }
    }

    fn end(&mut self, filling: Filling, at: Timestamp) {
        if let Some(index) = self.going.iter().position(|going| going.filling == filling) {
            let mut done = self.going.remove(index);
            done.to = Moment(at);
            if done.to > done.from {
                self.stretches.push(done);
            }
        }
    }

    pub(crate) fn finish(
        mut self,
        run: &Run,
        to: Timestamp,
        marks: Marks,
        cuts: &mut Cuts,
    ) -> Timeline {
        for filling in [Filling::Waiting, Filling::Back, Filling::Away] {
            self.end(filling, to);
        }
        let plan = run.plan();
        let steps = run
            .steps()
            .into_iter()
            .map(|view| {
                let times = self.times.get(&view.id);
                let planned = plan.steps().find(|(_, step)| step.id == view.id);
                let planned = planned.map(|(_, step)| step);
                let soak = times.and_then(|times| times.soak);
                Step {
                    phase: name(&view.phase),
                    id: name(&view.id),
                    what: text(&view.what),
                    progress: view.progress,
                    started_at: times.and_then(|times| times.started).map(Moment),
                    ended_at: times.and_then(|times| times.ended).map(Moment),
                    measured: soak.map(|(measured, _)| measured),
                    wanted: soak.map(|(_, wanted)| wanted),
                    point_of_no_return: planned.is_some_and(|step| step.point_of_no_return),
                    outage: planned.is_some_and(|step| step.outage),
                }
            })
            .collect();
        Timeline {
            from: Moment(run.started_at()),
            to: Moment(to),
            steps: cuts.first("steps", steps, limits::STEPS),
            stretches: self.stretches.finish("stretches of the timeline", cuts),
            marks: marks.finish(cuts),
        }
    }
}
