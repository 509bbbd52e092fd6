//! The one form in which the others are planned: what is wanted, in order, with where it stands in the
//! config.

use std::collections::BTreeMap;

use phasegate_plugin::{Duration, Pair, Problem, Situation};
use phasegate_plugins_shared::actions;
use phasegate_plugins_shared::traffic::People;

use crate::arithmetic::Percent;
use crate::list::{CanaryScale, Entry};

/// Something that the config wants next.
pub(crate) struct Move {
    /// Ends the ids of the steps that it becomes; unique among moves.
    pub(crate) label: String,
    /// The JSON pointer to it.
    pub(crate) at: String,
    pub(crate) what: What,
}

pub(crate) enum What {
    Weight(Percent),
    Hold(Duration),
    Ask(People),
    Check(Vec<String>),
    Act(String),
    Scale(CanaryScale),
    Headers(Vec<Pair>),
    Mirror(Percent),
}

/// A weight and the pointer to it.
pub(crate) type Placed = (Percent, String);

/// Weights, each held for its time.
pub(crate) fn of_weights(weights: Vec<Placed>, soaks: &[Duration]) -> Vec<Move> {
    let mut moves = Vec::new();
    for (index, (weight, at)) in weights.into_iter().enumerate() {
        // One time stands for all.
        let hold = soaks.get(index).or(soaks.first());
        let label = weight.number().to_string();
        moves.push(Move {
            label: label.clone(),
            at: at.clone(),
            what: What::Weight(weight),
        });
        moves.extend(hold.map(|hold| Move {
            label,
            at,
            what: What::Hold(*hold),
        }));
    }
    moves
}

/// A list of steps. What is done at a weight is called by the weight, as it is where weights stand alone.
pub(crate) fn of_list(entries: &[Entry]) -> Vec<Move> {
    let mut weight = Percent::NONE;
    let mut names = BTreeMap::new();
    let name = |(index, entry)| {
        let mut found = of_entry(index, entry);
        if let What::Weight(next) = &found.what {
            weight = *next;
        }
        let kind = match &found.what {
            What::Hold(_) => "hold",
            What::Ask(_) => "ask",
            What::Check(_) => "check",
            What::Act(_) => "act",
            _ => return found,
        };
        let times: &mut u32 = names
            .entry((kind, weight.number().to_string()))
            .or_default();
        *times = times.saturating_add(1);
        found.label = match *times {
            1 => weight.number().to_string(),
            times => format!("{}-{times}", weight.number()),
        };
        found
    };
    entries.iter().enumerate().map(name).collect()
}

fn of_entry(index: usize, entry: &Entry) -> Move {
    let (member, what) = match entry {
        Entry::SetWeight(weight) => ("setWeight", What::Weight(*weight)),
        Entry::Pause(pause) => {
            let ask = || What::Ask(pause.people());
            ("pause", pause.duration.map_or_else(ask, What::Hold))
        }
        Entry::SetCanaryScale(scale) => ("setCanaryScale", What::Scale(*scale)),
        Entry::SetHeaderRoute(route) => ("setHeaderRoute", What::Headers(route.headers())),
        Entry::Mirror(share) => ("mirror", What::Mirror(*share)),
        Entry::Check(gates) => ("check", What::Check(gates.clone())),
        Entry::Act(action) => ("act", What::Act(action.clone())),
    };
    let label = match &what {
        What::Weight(weight) => weight.number().to_string(),
        // People count steps from one.
        _ => format!("step-{}", index.saturating_add(1)),
    };
    Move {
        label,
        at: format!("/steps/{index}/{member}"),
        what,
    }
}

/// Faults of the order: weights only grow, and with all traffic there is nothing left to match or copy.
pub(crate) fn problems(moves: &[Move]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut last: Option<Percent> = None;
    for Move { at, what, .. } in moves {
        let fault = match what {
            What::Weight(weight) => {
                let fault = last.and_then(|last| growth_fault(last, *weight));
                last = Some(*weight);
                fault
            }
            What::Headers(headers) => (last == Some(Percent::ALL) && !headers.is_empty())
                .then(|| "at weight 100 every request goes to the candidate already".to_owned()),
            What::Mirror(share) => (last == Some(Percent::ALL) && *share > Percent::NONE)
                .then(|| "at weight 100 the candidate has every request already".to_owned()),
            What::Hold(_) | What::Ask(_) | What::Check(_) | What::Act(_) | What::Scale(_) => None,
        };
        problems.extend(fault.map(|message| Problem::new(at.clone(), message)));
    }
    problems
}

/// Faults of the actions that they name.
pub(crate) fn action_problems(situation: &Situation, moves: &[Move]) -> Vec<Problem> {
    let named = moves.iter().filter_map(|one| match &one.what {
        What::Act(action) => Some((one.at.as_str(), action.as_str())),
        _ => None,
    });
    actions::problems(situation, named)
}

fn growth_fault(last: Percent, weight: Percent) -> Option<String> {
    let (last, weight) = (last.number(), weight.number());
    if weight == last {
        return Some(format!("weight {weight} comes twice"));
    }
    (weight < last).then(|| {
        format!("weight {weight} comes after {last}: weights only grow; the way back is an abort")
    })
}
