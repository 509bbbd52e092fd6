//! Shares of traffic and numbers of pods over time, as they were asked for and as they were read back.

use phasegate_core::run::Line;
use phasegate_core::time::Timestamp;
use serde_json::Value;

use super::ends::Ends;
use super::{Cuts, Seen, name, text};
use crate::limits;
use crate::model::{Count, Counted, Moment, Pods, Share, Traffic};

/// The whole of traffic in the engine's own measure.
const WHOLE: f64 = 10_000.0;

type PerWorkload<T> = Vec<(String, Ends<T, { limits::CHANGES }>)>;

/// The list of the workload that a line is about. A line of a run with one workload names none.
fn list_of<'a, T>(
    all: &'a mut PerWorkload<T>,
    line: &Line,
    more: &mut usize,
) -> Option<&'a mut Ends<T, { limits::CHANGES }>> {
    let part = |field| line.data.get(field).and_then(Value::as_str);
    let parts: Vec<&str> = [part("workload"), part("slot")]
        .into_iter()
        .flatten()
        .collect();
    let key = name(&parts.join(", "));
    let index = match all.iter().position(|(known, _)| *known == key) {
        Some(index) => index,
        None if all.len() >= limits::WORKLOADS => {
            *more = more.saturating_add(1);
            return None;
        }
        None => {
            all.push((key, Ends::default()));
            all.len().saturating_sub(1)
        }
    };
    all.get_mut(index).map(|(_, list)| list)
}

/// Shares of traffic.
#[derive(Default)]
pub(crate) struct Shares {
    all: PerWorkload<Share>,
    more: usize,
}

impl Shares {
    pub(crate) fn take(&mut self, at: Timestamp, lines: &[Line]) {
        for line in lines.iter().filter(|line| line.kind == "traffic") {
            let share = |side: &str| {
                let weight = line.data.get(side)?.get("candidateWeight")?.as_f64()?;
                Some((weight * 100.0 / WHOLE).clamp(0.0, 100.0))
            };
            let share = Share {
                at: Moment(at),
                asked: share("asked"),
                read: share("read"),
                message: text(&line.message),
            };
            if let Some(list) = list_of(&mut self.all, line, &mut self.more) {
                list.push(share);
            }
        }
    }

    pub(crate) fn finish(self, cuts: &mut Cuts) -> Vec<Traffic> {
        cuts.note("lines on traffic of further workloads", self.more, 0);
        let each = |(workload, shares): (String, Ends<_, { limits::CHANGES }>)| Traffic {
            shares: shares.finish("changes of traffic", cuts),
            workload,
        };
        self.all.into_iter().map(each).collect()
    }
}

/// Numbers of pods.
#[derive(Default)]
pub(crate) struct Counts {
    all: PerWorkload<Counted>,
    /// What was counted last, per workload, while nobody can tell whether it still holds.
    held: Vec<Option<Counted>>,
    looked: Option<Timestamp>,
    more: usize,
}

impl Counts {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        for line in seen.lines() {
            match line.kind {
                "workload" => self.counted(seen.at, line),
                "look-failed" | "interrupted" => self.lost(seen.at),
                "resumed" => self.lost(seen.before),
                _ => {}
            }
        }
        let looked = seen.run.observation().map(|seen| seen.at);
        if looked > self.looked {
            self.looked = looked;
            self.found(seen.at);
        }
    }

    fn counted(&mut self, at: Timestamp, line: &Line) {
        let number = |field| line.data.get(field).and_then(Value::as_u64).unwrap_or(0);
        let image = line.data.get("image").and_then(Value::as_str);
        let counted = Counted {
            at: Moment(at),
            pods: Some(Count {
                wanted: number("replicas"),
                ready: number("ready"),
                updated: number("updated"),
                total: number("total"),
                image: name(image.unwrap_or_default()),
            }),
        };
        if let Some(list) = list_of(&mut self.all, line, &mut self.more) {
            list.push(counted);
        }
        self.held.clear();
    }

    /// From now on nobody can tell.
    fn lost(&mut self, at: Timestamp) {
        if !self.held.is_empty() {
            return;
        }
        for (_, list) in &mut self.all {
            let last = list.last_mut().map(|last| last.clone());
            list.push(Counted {
                at: Moment(at),
                pods: None,
            });
            self.held.push(last);
        }
    }

    /// Somebody looked again, and found what there was before: no line says so.
    fn found(&mut self, at: Timestamp) {
        let held = std::mem::take(&mut self.held);
        for ((_, list), held) in self.all.iter_mut().zip(held) {
            if let Some(held) = held {
                list.push(Counted {
                    at: Moment(at),
                    ..held
                });
            }
        }
    }

    pub(crate) fn finish(self, to: Timestamp, cuts: &mut Cuts) -> Vec<Pods> {
        cuts.note("lines on pods of further workloads", self.more, 0);
        let each = |(workload, counts): (String, Ends<_, { limits::CHANGES }>)| Pods {
            counts: counts.finish("changes of pods", cuts),
            workload,
            until: Moment(to),
        };
        self.all.into_iter().map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use phasegate_core::run::Level;
    use serde_json::json;

    use super::*;

    fn line(data: Value) -> Line {
        Line {
            kind: "traffic",
            level: Level::Info,
            phase: None,
            step: None,
            attempt: None,
            message: "traffic is shared".to_owned(),
            data,
        }
    }

    #[test]
    fn weights_are_shares_and_what_was_not_read_back_is_none() {
        let mut shares = Shares::default();
        let at = Timestamp::from_millis;
        shares.take(
            at(1),
            &[line(
                json!({"asked": {"candidateWeight": 2500}, "read": null}),
            )],
        );
        let both = json!({"asked": {"candidateWeight": 2500}, "read": {"candidateWeight": 2499}});
        shares.take(at(2), &[line(both)]);
        shares.take(
            at(3),
            &[line(json!({"asked": {"candidateWeight": 99_999_999}}))],
        );
        let mut cuts = Cuts::default();
        let [traffic] = &shares.finish(&mut cuts)[..] else {
            panic!("one workload");
        };
        let found: Vec<_> = traffic.shares.iter().map(|s| (s.asked, s.read)).collect();
        let wanted = [
            (Some(25.0), None),
            (Some(25.0), Some(24.99)),
            (Some(100.0), None),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn workloads_have_a_list_each_and_there_are_only_so_many() {
        let mut shares = Shares::default();
        for number in 0..limits::WORKLOADS + 3 {
            let data = json!({"workload": format!("w{number}"), "asked": {"candidateWeight": 1}});
            shares.take(Timestamp::ZERO, &[line(data)]);
        }
        let mut cuts = Cuts::default();
        assert_eq!(shares.finish(&mut cuts).len(), limits::WORKLOADS);
        assert_eq!((cuts.0[0].of, cuts.0[0].shown), (3, 0));
    }
}
