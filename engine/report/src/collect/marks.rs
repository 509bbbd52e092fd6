//! Points in time that matter: what people did, what went wrong, the turn back.

use phasegate_core::run::{Level, Line};

use super::ends::Ends;
use super::{Cuts, Seen, name, text};
use crate::limits;
use crate::model::{Mark, Moment};

/// Lines that matter, though nothing is wrong.
const GOOD: [&str; 8] = [
    "approved",
    "attested",
    "continued",
    "discharged",
    "ended",
    "restored",
    "resumed",
    "revised",
];

/// Lines that are told elsewhere in a report.
const ELSEWHERE: [&str; 3] = ["gate", "diagnosis", "workload"];

#[derive(Default)]
pub(crate) struct Marks {
    marks: Ends<Mark, { limits::MARKS }>,
}

impl Marks {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        // A command is the cause of the first line that matters, not of all that follows from it.
        let mut by = seen.by();
        for line in seen.lines().iter().filter(|line| matters(line)) {
            let mark = Mark {
                at: Moment(seen.at),
                kind: line.kind.to_owned(),
                level: line.level,
                message: text(&line.message),
                by: by.take(),
                step: line.step.as_deref().map(name),
                times: 1,
            };
            match self.marks.last_mut() {
                Some(last) if again(last, &mark) => last.times = last.times.saturating_add(1),
                _ => self.marks.push(mark),
            }
        }
    }

    pub(crate) fn finish(self, cuts: &mut Cuts) -> Vec<Mark> {
        self.marks.finish("marks of the timeline", cuts)
    }
}

fn matters(line: &Line) -> bool {
    let graver = line.level >= Level::Warn && !ELSEWHERE.contains(&line.kind);
    graver || GOOD.contains(&line.kind)
}

/// Whether it is the same thing once more: one mark is enough for it.
fn again(last: &Mark, next: &Mark) -> bool {
    next.by.is_none()
        && last.kind == next.kind
        && last.step == next.step
        && (last.message == next.message || next.kind.ends_with("-failed"))
        && next.kind != "step-failed"
}
