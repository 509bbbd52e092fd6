//! How a run ends, and what is owed then.

use serde_json::json;

use super::Run;
use super::state::{End, Level, Mode, Obligation};
use crate::config;
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
                self.rollback_took = Some(took);
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
        let mut level = match end {
            End::Superseded => Level::Warn,
            _ => Level::Error,
        };
        if end == End::Succeeded {
            level = Level::Info;
            let serves = self.serves_otherwise();
            if matches!(&self.mode, Mode::Back(back) if back.refused) {
                words.push_str(" as before; it was not rolled back");
            } else if !serves.is_empty() {
                level = Level::Warn;
                words = format!(
                    "{words}, but not with what was planned: {}",
                    serves.join(", ")
                );
            }
        }
        let set = self.set_by_others(end);
        if !set.is_empty() {
            words = format!(
                "{words}, but for what somebody else set: {}",
                set.join(", ")
            );
        }
        if let Some(left) = self.left_in_words() {
            level = Level::Error;
            words = format!("{words}; {left}");
        }
        self.say("ended", level, words, data);
        self.ended_at = Some(now);
        if matches!(end, End::RolledBack | End::RollbackStuck) {
            self.keep_what_came_back();
        }
        self.owe(end);
        self.mode = Mode::Ended(end);
    }

    fn owe(&mut self, end: End) {
        if !self.owed.insert(end) {
            return;
        }
        let which = match end {
            End::Succeeded => Some("succeeded"),
            End::RolledBack => Some("rolled-back"),
            End::StayedForward => None,
            _ => return,
        };
        let due = self
            .plan
            .due
            .iter()
            .filter(|task| which == Some(task.on.as_str()))
            .cloned()
            .collect::<Vec<_>>();
        let kept = self
            .kept()
            .filter(|_| end != End::RolledBack)
            .collect::<Vec<_>>();
        // Where a run stayed forward people are at work on the target: the engine removes nothing by itself.
        let own = |place| (end == End::Succeeded).then_some(place);
        let kept = kept
            .into_iter()
            .map(|(place, task)| (task, own(place), None));
        let due = due.into_iter().map(|task| (task, None, None));
        let copies = match end {
            End::Succeeded => self.copies_left(),
            _ => Vec::new(),
        };
        let copies = copies.into_iter();
        let copies = copies.map(|(place, task)| (task, None, Some(place)));
        for (task, removes, removes_copies) in due.chain(kept).chain(copies) {
            let number = self.last_obligation.saturating_add(1);
            self.last_obligation = number;
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
                removes_copies,
                discharged: None,
            });
        }
    }

    /// The workloads that end with another image than the plan's, since people adopted what somebody else had
    /// set: each with its image.
    #[must_use]
    pub fn serves_otherwise(&self) -> Vec<String> {
        let places = self.plan.workloads.iter().enumerate();
        let other = places.filter_map(|(place, workload)| {
            let known = self.known_of(place)?;
            (known.changed && !known.promoted && known.image != workload.image).then(|| {
                let name = &workload.target.deployment;
                format!("{name} runs {}", known.image)
            })
        });
        other.collect()
    }

    /// The workloads that serve another image than before the run, after it went back: somebody else set it, and it
    /// was not the run's to take away.
    pub(super) fn set_by_others(&self, end: End) -> Vec<String> {
        if !matches!(end, End::RolledBack | End::Superseded) {
            return Vec::new();
        }
        let places = self.plan.workloads.iter().enumerate();
        let other = places.filter_map(|(place, workload)| {
            let known = self.known_of(place)?;
            (known.image != workload.baseline.settings.image)
                .then(|| format!("{} runs {}", workload.target.deployment, known.image))
        });
        other.collect()
    }

    /// What was to be removed later serves again, or may: it is not owed any more.
    fn keep_what_came_back(&mut self) {
        let back = |owed: &Obligation| owed.of_an_engine().is_some() && owed.discharged.is_none();
        let (kept, owed) = std::mem::take(&mut self.obligations)
            .into_iter()
            .partition::<Vec<_>, _>(back);
        self.obligations = owed;
        for kept in kept {
            let words = format!("no longer due, since it came back: {}", kept.task);
            self.say(
                "withdrawn",
                Level::Info,
                words,
                json!({"number": kept.number}),
            );
        }
    }

    /// What was taken out of service and is to be removed some time after the run, by its workload.
    fn kept(&self) -> impl Iterator<Item = (usize, DueTask)> + '_ {
        let places = self.plan.workloads.iter().enumerate();
        places.filter_map(|(place, workload)| {
            let after = self.known_of(place)?.keep?;
            let baseline = &workload.baseline;
            let task = format!(
                "remove Deployment {} of {}, which is kept with no pods",
                workload.target.deployment, baseline.version
            );
            let on = "succeeded".to_owned();
            Some((place, DueTask { after, task, on }))
        })
    }

    /// The copies that are to be removed some time after the run, by their workload: no sooner than the old Deployment
    /// that refers to them.
    fn copies_left(&self) -> Vec<(usize, DueTask)> {
        let Some(keep) = self.plan.rollback.keep else {
            return Vec::new();
        };
        let places = self.plan.workloads.iter().enumerate();
        let left = places.filter_map(|(place, workload)| {
            let known = self.known_of(place)?;
            let copies = config::left(&workload.configs);
            if copies.is_empty() || !known.touched() {
                return None;
            }
            let names = copies
                .iter()
                .map(|left| format!("{} {}", left.kind.as_str(), left.name));
            let names = names.collect::<Vec<_>>().join(", ");
            let version = &workload.baseline.version;
            let task = DueTask {
                after: known.keep.map_or(keep, |kept| kept.max(keep)),
                task: format!("remove what the way back to {version} would need: {names}"),
                on: "succeeded".to_owned(),
            };
            Some((place, task))
        });
        left.collect()
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
