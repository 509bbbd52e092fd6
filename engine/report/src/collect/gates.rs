//! What gates said, over time.

use std::collections::BTreeMap;

use phasegate_core::plan::Action;
use phasegate_core::run::{Line, Run};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Link, Measurement};
use serde::Deserialize;
use serde_json::Value;

use super::ends::Ends;
use super::figures::Figures;
use super::{Cuts, Seen, name, text};
use crate::limits;
use crate::model::{Cell, Gate, Moment, Streak, Tally, Word};

/// So many intervals without a verdict are a break: nothing was measured in it.
const BREAK: u64 = 2;

/// What a gate said so far.
#[derive(Default)]
struct Sayings {
    tally: Tally,
    verdicts: Vec<(Timestamp, Word, bool)>,
    streaks: Ends<Streak, { limits::STREAKS }>,
    figures: Figures,
    links: Vec<Link>,
    asked: Vec<(Moment, Moment)>,
}

#[derive(Default)]
pub(crate) struct Gates {
    gates: BTreeMap<String, Sayings>,
}

impl Gates {
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        for line in seen.lines().iter().filter(|line| line.kind == "gate") {
            if let Some(gate) = line.data.get("gate").and_then(Value::as_str) {
                let every = interval(seen.run, gate, line.step.as_deref());
                let sayings = self.gates.entry(gate.to_owned()).or_default();
                sayings.take(seen.at, line, every);
            }
        }
    }

    pub(crate) fn finish(self, run: &Run, cuts: &mut Cuts) -> Vec<Gate> {
        let gates: Vec<_> = self.gates.into_iter().collect();
        let gates = cuts.first("gates", gates, limits::GATES);
        let each = |(gate, sayings): (String, Sayings)| {
            let offer = run.plan().gates.get(&gate).map(|gate| &gate.offer);
            let plugin = offer.map(|offer| match offer.plugin == offer.offer {
                true => offer.plugin.clone(),
                false => format!("{}, {}", offer.plugin, offer.offer),
            });
            sayings.finish(&gate, &plugin.unwrap_or_default(), cuts)
        };
        gates.into_iter().map(each).collect()
    }
}

/// How often the gate is asked in this step.
fn interval(run: &Run, gate: &str, step: Option<&str>) -> Span {
    let plan = run.plan();
    let soaks = plan.steps().find_map(|(_, planned)| match &planned.action {
        Action::Soak { interval, .. } if Some(planned.id.as_str()) == step => Some(*interval),
        _ => None,
    });
    let policy = plan.gates.get(gate).map(|gate| gate.policy.interval);
    soaks
        .filter(|every| *every > Span::ZERO)
        .or(policy)
        .unwrap_or_default()
}

fn read<T: for<'de> Deserialize<'de>>(line: &Line, field: &str) -> Option<T> {
    T::deserialize(line.data.get(field)?).ok()
}

impl Sayings {
    fn take(&mut self, at: Timestamp, line: &Line, every: Span) {
        let word = match line.data.get("status").and_then(Value::as_str) {
            Some("pass") => Word::Pass,
            Some("fail") => Word::Fail,
            Some("inconclusive") => Word::Inconclusive,
            _ => Word::Error,
        };
        let count = match word {
            Word::Pass => &mut self.tally.pass,
            Word::Fail => &mut self.tally.fail,
            Word::Inconclusive => &mut self.tally.inconclusive,
            Word::Error => &mut self.tally.error,
        };
        *count = count.saturating_add(1);
        let last = self.verdicts.last().map(|(last, ..)| *last);
        let breaks = last.is_none_or(|last| at.since(last) > every.times(BREAK));
        self.verdicts.push((at, word, breaks));
        let full = self.asked.len() >= limits::CELLS;
        match self.asked.last_mut() {
            Some((_, to)) if !breaks || full => *to = Moment(at),
            _ => self.asked.push((Moment(at), Moment(at))),
        }
        self.streak(at, line, word);
        let measured: Vec<Measurement> = read(line, "measurements").unwrap_or_default();
        self.figures.take(at, &measured, breaks);
        if let Some(links) = read::<Vec<Link>>(line, "links") {
            self.links = links;
        }
    }

    fn streak(&mut self, at: Timestamp, line: &Line, word: Word) {
        let step = line.step.as_deref().map(name);
        match self.streaks.last_mut() {
            Some(last) if last.word == word && last.step == step => {
                last.to = Moment(at);
                last.times = last.times.saturating_add(1);
                last.message = text(&line.message);
            }
            _ => self.streaks.push(Streak {
                from: Moment(at),
                to: Moment(at),
                word,
                times: 1,
                step,
                message: text(&line.message),
            }),
        }
    }

    fn finish(mut self, gate: &str, plugin: &str, cuts: &mut Cuts) -> Gate {
        let gate = name(gate);
        let named = self.links.len();
        let safe = |link: &Link| {
            let known = ["https://", "http://"].iter();
            let mut known = known.filter(|scheme| link.url.starts_with(**scheme));
            known.next().is_some() && link.url.chars().count() <= limits::TEXT
        };
        self.links.retain(safe);
        self.links.truncate(limits::LINKS);
        cuts.note(
            &format!("addresses of gate {gate}"),
            named,
            self.links.len(),
        );
        for link in &mut self.links {
            link.title = name(&link.title);
        }
        Gate {
            cells: cells(&self.verdicts),
            streaks: self
                .streaks
                .finish(&format!("stretches of equal verdicts of gate {gate}"), cuts),
            figures: self.figures.finish(&gate, cuts),
            plugin: name(plugin),
            said: self.tally,
            links: self.links,
            asked: self.asked,
            name: gate,
        }
    }
}

/// Verdicts in cells. Of many there are several in a cell, and a cell never reaches over a break
/// while there are few enough of them.
fn cells(verdicts: &[(Timestamp, Word, bool)]) -> Vec<Cell> {
    let each = verdicts.len().div_ceil(limits::CELLS).max(1);
    let mut cells: Vec<Cell> = Vec::new();
    for (at, word, breaks) in verdicts {
        let count = cells.len();
        match cells.last_mut() {
            Some(cell) if cell.times < each && (!breaks || count >= limits::CELLS) => {
                cell.to = Moment(*at);
                cell.word = cell.word.max(*word);
                cell.times = cell.times.saturating_add(1);
            }
            _ => cells.push(Cell {
                from: Moment(*at),
                to: Moment(*at),
                word: *word,
                times: 1,
            }),
        }
    }
    cells
}
