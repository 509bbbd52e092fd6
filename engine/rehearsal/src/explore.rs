//! Every point of failure of a release in its scenario: which cases there are, what each must come to, and
//! what was tried.
//!
//! Cases are made of what an undisturbed rehearsal passes ([`singles`]), and of what rehearsals pass that
//! turn back ([`turns`], [`pairs`]). A case is played with [`Trouble`](crate::trouble::Trouble), judged by [`judge`], and folded into a [`Findings`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use phasegate_core::effect::{Direction, Request};
use phasegate_core::event::{Event, Record};
use phasegate_core::plan::Action;
use phasegate_core::run::{End, State};
use phasegate_core::time::Span;

use crate::rehearse::Rehearsal;
use crate::scenario::acts::Deed;
use crate::scenario::{Expect, Scenario};
use crate::trouble::{Fault, Kind, Mischief, Point, Seen, Sort, Trouble};

mod findings;

pub use findings::{Broken, Findings, Worst};

/// How many of the points that are alike in a step are tried, besides the last.
pub const ALIKE: usize = 2;
/// How often each gate is asked in a soak that is shortened: as often as [`ALIKE`] and the last ask for, and once more.
pub const ASKED: u32 = 4;
/// Cases that are worth one rehearsal which only looks for more.
pub const PER_TURN: usize = 8;
/// Most cases of one exploration.
pub const MAX_CASES: usize = 200_000;

/// A case: what goes wrong, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case(pub Vec<Fault>);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", then ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// All that can go wrong at a point.
fn faults_at(seen: &Seen) -> Vec<Fault> {
    let all: Vec<Mischief> = match &seen.point {
        Point::Call { kind, .. } => Mischief::OF_CALLS
            .into_iter()
            .filter(|mischief| mischief.impossible(kind.nature()).is_none())
            .collect(),
        Point::Record(_) => vec![Mischief::DeathBefore, Mischief::DeathAfter, Mischief::Abort],
    };
    let fault = |mischief| Fault {
        point: seen.point.clone(),
        direction: seen.direction,
        mischief,
    };
    all.into_iter().map(fault).collect()
}

/// What is alike of points: the call or the routine record, in the same step and the same direction.
type Likeness<'a> = (&'a str, Option<&'a str>, Direction, &'a str);

fn likeness(seen: &Seen) -> Option<Likeness<'_>> {
    let (what, about) = match (&seen.point, seen.record) {
        (Point::Call { kind, subject, .. }, _) if !kind.changes() => {
            (kind.as_str(), subject.as_deref())
        }
        (Point::Record(_), Some(Sort::Routine(what))) => (what, None),
        _ => return None,
    };
    Some((what, about, seen.direction, seen.step.as_str()))
}

/// The points without those that are like others: of what is looked at and asked over and over in a step, the
/// first [`ALIKE`] times and the last are left.
#[must_use]
pub fn distinct(seen: &[Seen]) -> Vec<&Seen> {
    let mut counts: BTreeMap<Likeness<'_>, usize> = BTreeMap::new();
    for like in seen.iter().filter_map(likeness) {
        let count = counts.entry(like).or_default();
        *count = count.saturating_add(1);
    }
    let mut passed: BTreeMap<Likeness<'_>, usize> = BTreeMap::new();
    let mut left = Vec::new();
    for point in seen {
        if let Some(like) = likeness(point) {
            let nth = passed.entry(like).or_default();
            *nth = nth.saturating_add(1);
            if *nth > ALIKE && counts.get(&like) != Some(nth) {
                continue;
            }
        }
        left.push(point);
    }
    left
}

/// What a rehearsal passes, however often: the calls, and the kinds of records, in each step and each direction.
#[must_use]
pub fn passed(seen: &[Seen]) -> BTreeSet<(Direction, String, String)> {
    let what = |seen: &Seen| match (&seen.point, seen.record) {
        (Point::Call { kind, subject, .. }, _) => {
            format!(
                "{} {}",
                kind.as_str(),
                subject.as_deref().unwrap_or_default()
            )
        }
        (Point::Record(_), Some(Sort::Routine(what))) => what.to_owned(),
        (Point::Record(_), sort) => format!("{sort:?}"),
    };
    let passed = seen.iter();
    passed
        .map(|seen| (seen.direction, seen.step.clone(), what(seen)))
        .collect()
}

/// A case for everything that can go wrong in a rehearsal that passed these points.
#[must_use]
pub fn singles(seen: &[&Seen]) -> Vec<Case> {
    let faults = seen.iter().flat_map(|seen| faults_at(seen));
    faults.map(|fault| Case(vec![fault])).collect()
}

/// One way to turn back at each distinct place: an abort in each step and while each write is under way, and a
/// gate of each step saying fail.
#[must_use]
pub fn turns(seen: &[Seen]) -> Vec<Fault> {
    let mut places = BTreeSet::new();
    let mut asking = BTreeSet::new();
    let mut turns = Vec::new();
    for passed in seen {
        if passed.direction == Direction::Back {
            break;
        }
        let mischief = match &passed.point {
            Point::Record(_)
                if places.insert(passed.step.as_str()) || passed.record == Some(Sort::Intent) =>
            {
                Mischief::Abort
            }
            Point::Call {
                kind: Kind::Evaluate,
                nth: 1,
                ..
            } if asking.insert(passed.step.as_str()) => Mischief::SaysFail,
            _ => continue,
        };
        turns.push(Fault {
            point: passed.point.clone(),
            direction: passed.direction,
            mischief,
        });
    }
    turns
}

/// The cases in which something more goes wrong on the way back that `first` leads to.
#[must_use]
pub fn pairs(first: &Fault, seen: &[&Seen]) -> Vec<Case> {
    further(std::slice::from_ref(first), seen, |_| true)
}

/// The cases in which what finds a missing outcome on the way back goes wrong as well.
#[must_use]
pub fn triples(lost: &Case, seen: &[&Seen]) -> Vec<Case> {
    further(
        &lost.0,
        seen,
        |point| matches!(point, Point::Call { kind, .. } if *kind == Kind::Probe),
    )
}

fn further(faults: &[Fault], seen: &[&Seen], fits: impl Fn(&Point) -> bool) -> Vec<Case> {
    let back = seen.iter();
    let back = back.filter(|passed| passed.direction == Direction::Back && fits(&passed.point));
    back.flat_map(|passed| faults_at(passed))
        .map(|next| Case([faults, &[next]].concat()))
        .collect()
}

/// Of the pairs, the first for each kind of write whose answer is lost on the way back.
#[must_use]
pub fn lost(cases: &[Case]) -> Vec<Case> {
    let mut kinds = BTreeSet::new();
    let is_first = |case: &&Case| match case.0.as_slice() {
        [_, second] => match second.point {
            Point::Call { kind, .. } => {
                second.mischief == Mischief::AnswerLost
                    && kind.changes()
                    && kind != Kind::Notify
                    && kinds.insert(kind)
            }
            Point::Record(_) => false,
        },
        _ => false,
    };
    cases.iter().filter(is_first).cloned().collect()
}

/// At most so many, evenly spread.
#[must_use]
pub fn spread(mut turns: Vec<Fault>, most: usize) -> Vec<Fault> {
    let of = turns.len();
    let mut index = 0_usize;
    turns.retain(|_| {
        let upto = |index: usize| index.saturating_mul(most) / of;
        index = index.saturating_add(1);
        of <= most || upto(index) > upto(index.saturating_sub(1))
    });
    turns
}

/// At most so many of the cases, in their order, so that as many cells of the coverage table as can be are among them.
#[must_use]
pub fn limited(cases: Vec<Case>, limit: usize) -> Vec<Case> {
    if cases.len() <= limit {
        return cases;
    }
    let mut rank: BTreeMap<(String, usize), usize> = BTreeMap::new();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let cell = case.0.last().map(findings::cell).unwrap_or_default();
        let count = rank.entry((cell, case.0.len())).or_default();
        order.push((*count, index));
        *count = count.saturating_add(1);
    }
    order.sort_unstable();
    let kept: BTreeSet<usize> = order.iter().take(limit).map(|(_, index)| *index).collect();
    let numbered = cases.into_iter().enumerate();
    numbered
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, case)| case)
        .collect()
}

/// What a scenario still demands where something more goes wrong than it says: the end may be another one,
/// and so may everything that hangs on the end.
#[must_use]
pub fn demands(scenario: &Scenario, end: &str) -> Expect {
    let expect = &scenario.expect;
    let mut left = Expect {
        ready_endpoints_at_least: expect.ready_endpoints_at_least,
        failed_requests_at_most: expect.failed_requests_at_most,
        ..Expect::default()
    };
    if expect.end.as_deref() == Some("succeeded") && end == "succeeded" {
        left.image.clone_from(&expect.image);
        left.replicas = expect.replicas;
    }
    let back = ["rolled-back", "cancelled", "refused", "not-started"].contains(&end);
    // Whoever meddles with the target, or leaves out a part of the way back, answers for how it is left.
    let meddled = scenario.acts.iter().any(|act| {
        matches!(
            act.deed,
            Deed::Patch { .. } | Deed::Skip(_) | Deed::HandOver(_)
        )
    });
    if back && !meddled {
        left.as_before = Some(true);
    }
    left
}

/// Judges a rehearsal with trouble in it, beyond what its observer found. Empty: everything was as it must be.
#[must_use]
pub fn judge(case: &Case, trouble: &Trouble, played: &Rehearsal, undisturbed: &str) -> Vec<String> {
    let mut faults = played.faults.clone();
    if leaves_a_claim(played) && !(release_refused(case) && played.end == "succeeded") {
        faults.push("the run gave its claim up, and could have let go of it".to_owned());
    }
    for fault in trouble.unstruck() {
        faults.push(format!(
            "the same seed took another way: {fault} never came"
        ));
    }
    let state = played.run.as_ref().map(phasegate_core::run::Run::state);
    match &state {
        Some(State::Ended {
            end: End::RollbackStuck,
        }) if undisturbed != "rollback-stuck" => {
            faults
                .push("the way back is stuck, and a retry without trouble did not help".to_owned());
        }
        None | Some(State::Ended { .. }) => {}
        // The scenario itself leaves the run with people.
        Some(_) if undisturbed == "interrupted" => {}
        Some(state) => faults.push(format!("the run came to no end: {state}")),
    }
    if trouble.was_stuck() && !called_people(played) {
        faults.push("the way back was stuck, and nobody was called".to_owned());
    }
    let never_passed = case.0.iter().find(|fault| {
        matches!(fault.mischief, Mischief::SaysFail | Mischief::SaysNothing)
            && matches!(fault.point, Point::Call { nth: 1, .. })
            && fault.direction == Direction::Forward
            && !is_beside_an_action(fault, played)
    });
    if let Some(fault) = never_passed
        && played.end == "succeeded"
    {
        faults.push(format!("{fault}: it never passed, and the run succeeded"));
    }
    faults
}

/// Whether the gate is one of a step before, which is asked on while an action takes its time: the action isn't done by it.
fn is_beside_an_action(fault: &Fault, played: &Rehearsal) -> bool {
    let Point::Call {
        subject: Some(subject),
        ..
    } = &fault.point
    else {
        return false;
    };
    let step = subject.split(' ').next();
    let acts = |record: &Record| match &record.event {
        Event::Planned { plan, .. } => plan.steps().any(|(_, planned)| {
            Some(planned.id.as_str()) == step && matches!(planned.action, Action::Act { .. })
        }),
        _ => false,
    };
    played.records.iter().any(acts)
}

/// The API server refuses for good that the claim is let go of. A run that succeeded ends all the same, and says
/// what it left; one on its way back calls people.
fn release_refused(case: &Case) -> bool {
    case.0.iter().any(|fault| {
        let release = Kind::Release;
        matches!(fault.point, Point::Call { kind, .. } if kind == release)
            && fault.mischief == Mischief::Denied
    })
}

fn leaves_a_claim(played: &Rehearsal) -> bool {
    let run = played.run.as_ref();
    run.is_some_and(|run| run.claims_left().next().is_some())
}

/// Where a release tells anybody at all, it tells of this.
fn called_people(played: &Rehearsal) -> bool {
    let nobody = played
        .run
        .as_ref()
        .is_none_or(|run| run.plan().notifiers.is_empty());
    nobody
        || played.records.iter().any(|record| {
            matches!(&record.event, Event::Intended { effect }
                if matches!(&effect.request, Request::Notify { notice, .. } if notice.event == "stuck"))
        })
}

/// How long it took from the first fault until the old version served again, where it did so by itself.
#[must_use]
pub fn to_safety(trouble: &Trouble, played: &Rehearsal) -> Option<Span> {
    if trouble.was_lifted() || played.end != "rolled-back" {
        return None;
    }
    let ended = played.run.as_ref()?.ended_at()?;
    Some(ended.since(trouble.struck_at()?))
}

#[cfg(test)]
mod tests;
