//! What was done on a way back, and what was found out before.

use phasegate_core::run::{Level, Run};

use super::ends::Ends;
use super::{Cuts, Seen, name, person, text};
use crate::limits;
use crate::model::{Back, Moment, Stage};

/// Lines on the way back that are told elsewhere, or that say nothing about it.
const ELSEWHERE: [&str; 4] = ["diagnosis", "workload", "due", "gate"];

struct Going {
    back: Back,
    stages: Ends<Stage, { limits::STAGES }>,
}

#[derive(Default)]
pub(crate) struct Backs {
    done: Ends<Back, { limits::BACKS }>,
    going: Option<Going>,
    /// Stages that limits left out, of all ways back.
    stages: Cuts,
}

impl Backs {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        let at = Moment(seen.at);
        for line in seen.lines() {
            if matches!(line.kind, "rolling-back" | "stopping") {
                self.close();
                let cause = seen.run.cause();
                self.going = Some(Going {
                    back: Back {
                        at,
                        ended_at: None,
                        message: text(&line.message),
                        reason: text(cause.map_or("", |cause| &cause.reason)),
                        by: cause.and_then(|cause| cause.by.as_ref()).map(person),
                        step: cause.and_then(|cause| cause.step.as_deref()).map(name),
                        stages: Vec::new(),
                        events: Vec::new(),
                        logs: Vec::new(),
                    },
                    stages: Ends::default(),
                });
            }
            let Some(going) = &mut self.going else {
                continue;
            };
            // An intent is detail elsewhere; here it is when a compensation began.
            let tells = line.level != Level::Debug || line.kind == "intent";
            if tells && !ELSEWHERE.contains(&line.kind) && !is_notice(line.kind, &line.message) {
                going.stages.push(Stage {
                    at,
                    took: None,
                    kind: line.kind.to_owned(),
                    level: line.level,
                    message: text(&line.message),
                });
            }
            match (line.kind, seen.run.diagnosis()) {
                ("diagnosis", Some(found)) => {
                    let kept = |lines: &[String]| {
                        let lines = lines.iter().rev().take(limits::DIAGNOSIS).rev();
                        lines.map(|line| text(line)).collect()
                    };
                    going.back.events = kept(&found.events);
                    going.back.logs = kept(&found.logs);
                }
                ("ended", _) => {
                    going.back.ended_at = Some(at);
                    self.close();
                }
                _ => {}
            }
        }
    }

    fn close(&mut self) {
        let Some(Going { mut back, stages }) = self.going.take() else {
            return;
        };
        back.stages = stages.finish("stages of a way back", &mut self.stages);
        let next: Vec<_> = back.stages.iter().skip(1).map(|stage| stage.at).collect();
        for (stage, next) in back.stages.iter_mut().zip(next) {
            stage.took = Some(next.0.since(stage.at.0));
        }
        self.done.push(back);
    }

    pub(crate) fn finish(mut self, run: &Run, cuts: &mut Cuts) -> Vec<Back> {
        self.close();
        if let Some(found) = run.diagnosis() {
            cuts.note(
                "events of the diagnosis",
                found.events.len(),
                limits::DIAGNOSIS,
            );
            cuts.note(
                "log lines of the diagnosis",
                found.logs.len(),
                limits::DIAGNOSIS,
            );
        }
        cuts.0.append(&mut self.stages.0);
        self.done.finish("ways back", cuts)
    }
}

/// Telling people takes place beside the way back and doesn't hold it up.
fn is_notice(kind: &str, message: &str) -> bool {
    kind == "intent" && message.starts_with("notify ")
}
