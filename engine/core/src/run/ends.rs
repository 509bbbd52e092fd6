//! How a run ends, and what is owed then.

use serde_json::json;

use super::Run;
use super::state::{End, Level, Mode, Obligation};
use crate::plan::DueTask;
use crate::time::{Span, Timestamp};

impl Run {
    /// The end that the run has come to.
    pub(super) fn end_reached(&self) -> End {
        let Mode::Back(back) = &self.mode else {
            return End::Succeeded;
        };
        if back.handed_over {
            End::RollbackStuck
        } else if back.refused {
            End::Succeeded
        } else if back.succession.is_some() {
            End::Superseded
        } else if self.past_point {
            End::StayedForward
        } else if self.changed() {
            End::RolledBack
        } else if back.cause.by.is_some() {
            End::Cancelled
        } else {
            End::Refused
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        let now = self.now;
        let mut words = end.to_string();
        let mut data = json!({"end": end});
        if let Mode::Back(back) = &self.mode {
            let took = self.rollback_took.unwrap_or_else(|| now.since(back.since));
            let target = self.plan.rollback.target;
            if let Some(succession) = &back.succession
                && end == End::Superseded
            {
                words = format!("{words} by {}", succession.to.run);
                data = json!({"end": end, "by": succession.to.run, "rollbackMs": took.as_millis()});
            }
            if end == End::RolledBack {
                self.rollback_took = Some(took);
                let judged = if took <= target { "within" } else { "beyond" };
                words = format!("{words} in {took}, {judged} the target of {target}");
                data = json!({"end": end, "rollbackMs": took.as_millis(), "targetMs": target.as_millis()});
            }
            if !back.skipped.is_empty() {
                words.push_str(&format!("; skipped: {}", back.skipped.join(", ")));
            }
        }
        let level = match end {
            End::Succeeded => Level::Info,
            End::Superseded => Level::Warn,
            _ => Level::Error,
        };
        self.say("ended", level, words, data);
        self.ended_at = Some(now);
        self.owe(end);
        self.mode = Mode::Ended(end);
    }

    fn owe(&mut self, end: End) {
        if !self.owed.insert(end) {
            return;
        }
        let which = match end {
            End::Succeeded => "succeeded",
            End::RolledBack => "rolled-back",
            _ => return,
        };
        let first = self.obligations.len();
        let due = self
            .plan
            .due
            .iter()
            .filter(|task| task.on == which)
            .cloned()
            .collect::<Vec<_>>();
        let kept = self
            .kept()
            .filter(|_| end == End::Succeeded)
            .collect::<Vec<_>>();
        let kept = kept.into_iter().map(|(place, task)| (task, Some(place)));
        let due = due.into_iter().map(|task| (task, None));
        for (index, (task, removes)) in due.chain(kept).enumerate() {
            let number =
                u32::try_from(first.saturating_add(index).saturating_add(1)).unwrap_or(u32::MAX);
            let at: Timestamp = self.now.plus(task.after);
            self.say(
                "due",
                Level::Info,
                format!("due at {at}: {}", task.task),
                json!({"number": number, "due": at}),
            );
            self.obligations.push(Obligation {
                number,
                task: task.task,
                due: at,
                removes,
                discharged: None,
            });
        }
    }

    /// What was taken out of service and is to be removed some time after the run, by its workload.
    fn kept(&self) -> impl Iterator<Item = (usize, DueTask)> + '_ {
        let places = self.plan.workloads.iter().enumerate();
        places.filter_map(|(place, workload)| {
            let known = if place == self.in_hand {
                Some(&self.known)
            } else {
                self.parked.get(&place)
            };
            let after = known?.keep?;
            let baseline = &workload.baseline;
            let task = format!(
                "remove Deployment {} of {}, which is kept with no pods",
                workload.target.deployment, baseline.version
            );
            let on = "succeeded".to_owned();
            Some((place, DueTask { after, task, on }))
        })
    }

    /// How long the way back took, or has taken so far.
    #[must_use]
    pub fn rollback_time(&self) -> Option<Span> {
        match &self.mode {
            Mode::Back(back) if self.rollback_took.is_none() => Some(self.now.since(back.since)),
            _ => self.rollback_took,
        }
    }
}
