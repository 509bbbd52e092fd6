//! With a router: traffic by weight. Stable keeps all of its replicas until the promotion; the
//! candidate has what its traffic needs, or what the config asks if that is more.

use phasegate_plugin::strategy::{Action, Amount, Check, RouterFeatures, Slot};
use phasegate_plugin::{Problem, Situation, Split, Step};
use phasegate_plugins_shared::{gates, traffic};

use crate::Canary;
use crate::arithmetic::{Percent, needed};
use crate::list::CanaryScale;
use crate::moves::{Move, What};

/// Why a router with these features can't do it.
pub(crate) fn problems(
    situation: &Situation,
    router: &RouterFeatures,
    moves: &[Move],
) -> Vec<Problem> {
    let fault = |one: &Move| {
        let what = match &one.what {
            What::Weight(weight) if weight.is_shared() && !router.weights => {
                "the router can't share traffic by weight; use another, or the strategy `blue-green`"
            }
            What::Headers(headers) if !headers.is_empty() && !router.header_match => {
                "the router can't match headers"
            }
            What::Mirror(share) if *share > Percent::NONE && !router.mirror => {
                "the router can't copy requests"
            }
            What::Scale(scale) => return scale_problem(situation, *scale, &one.at),
            _ => return None,
        };
        Some(Problem::new(one.at.clone(), what))
    };
    moves.iter().filter_map(fault).collect()
}

/// The candidate's autoscaler is a copy of stable's: it can't keep more than that one's maximum.
pub(crate) fn scale_problem(
    situation: &Situation,
    scale: CanaryScale,
    at: &str,
) -> Option<Problem> {
    let maximum = situation.workload.autoscaler?.maximum;
    let CanaryScale::Replicas(replicas) = scale else {
        return None;
    };
    let message =
        format!("{replicas} replicas are more than the autoscaler's maximum of {maximum}");
    (replicas > maximum).then(|| Problem::new(format!("{at}/replicas"), message))
}

/// The plan.
pub(crate) fn plan(canary: &Canary, situation: &Situation, moves: Vec<Move>) -> Vec<Step> {
    let mut plan = Weighted {
        canary,
        situation,
        scale: canary
            .canary_scale
            .unwrap_or(CanaryScale::MatchTrafficWeight(true)),
        weight: Percent::NONE,
        mirror: Percent::NONE,
        split: Split {
            candidate_weight: 0,
            headers: Vec::new(),
            mirror_weight: 0,
        },
        has: None,
        steps: Vec::new(),
    };
    for Move { label, what, .. } in moves {
        plan.take(&label, what);
    }
    if plan.weight < Percent::ALL {
        plan.take("100", What::Weight(Percent::ALL));
    }
    plan.steps.push(canary.promote());
    plan.steps
}

struct Weighted<'a> {
    canary: &'a Canary,
    situation: &'a Situation,
    /// What the config asks for the candidate's replicas.
    scale: CanaryScale,
    weight: Percent,
    mirror: Percent,
    /// How traffic is shared so far.
    split: Split,
    /// What the candidate has so far; none before it is brought up.
    has: Option<Amount>,
    steps: Vec<Step>,
}

impl Weighted<'_> {
    fn take(&mut self, label: &str, what: What) {
        match what {
            What::Weight(weight) => {
                self.weight = weight;
                let mut split = self.split.clone();
                if weight == Percent::ALL {
                    self.mirror = Percent::NONE;
                    split = traffic::everything();
                }
                split.candidate_weight = weight.of_traffic();
                self.reach(label, split);
            }
            What::Headers(headers) => {
                let split = self.split.clone();
                self.reach(label, Split { headers, ..split });
            }
            What::Mirror(share) => {
                self.mirror = share;
                let mirror_weight = share.of_traffic();
                let split = self.split.clone();
                self.reach(
                    label,
                    Split {
                        mirror_weight,
                        ..split
                    },
                );
            }
            What::Scale(scale) => {
                self.scale = scale;
                self.resize(label);
            }
            What::Hold(duration) => {
                self.resize(label);
                self.steps.push(self.canary.hold(label, duration));
            }
            What::Ask(people) => {
                self.resize(label);
                let question = self.canary.question(self.situation, self.weight);
                self.push("approve", label, people.action(question));
            }
            What::Check(gates) => {
                self.resize(label);
                self.push("check", label, Action::Check(Check { gates }));
            }
            // What comes before the candidate is done before it is brought up.
            What::Act(action) => self.push("act", label, Action::Act(action)),
        }
    }

    /// Shares traffic so, with the candidate large enough all the while: it grows before it gets
    /// more, and shrinks after it has less.
    fn reach(&mut self, label: &str, split: Split) {
        let shrinks = self.has.is_some_and(|has| {
            let all = self.situation.workload.replicas;
            count(self.wanted(), all) < count(has, all)
        });
        if !shrinks {
            self.resize(label);
        }
        if split != self.split {
            let route = traffic::route(split.clone(), self.canary.settle);
            self.push("route", label, route);
            self.split = split;
        }
        self.resize(label);
    }

    /// Gives the candidate the replicas that are wanted by now, bringing it up if it isn't there.
    fn resize(&mut self, label: &str) {
        let wanted = self.wanted();
        let timeout = self.canary.timeout;
        match self.has {
            Some(has) if has == wanted => {}
            Some(_) => {
                let scale = traffic::scale(Slot::Candidate, wanted, timeout);
                self.push("scale", label, scale);
            }
            None => {
                let deploy = traffic::deploy_beside(wanted, timeout);
                self.steps.push(Step::new("deploy", deploy));
            }
        }
        self.has = Some(wanted);
    }

    /// The replicas that the candidate is to have: what the config asks, and never fewer than its
    /// requests and copies need.
    fn wanted(&self) -> Amount {
        let share = self.weight.and(self.mirror);
        let all = self.situation.workload.replicas;
        match self.scale {
            CanaryScale::Replicas(replicas) if replicas > needed(all, share) => {
                Amount::Count(replicas)
            }
            CanaryScale::Weight(asked) => Amount::Percent(asked.max(share).number()),
            // It is there to be looked at also while it has no traffic.
            _ if share == Percent::NONE => Amount::Count(1),
            _ => Amount::Percent(share.number()),
        }
    }

    fn push(&mut self, kind: &str, label: &str, action: Action) {
        self.steps
            .push(Step::new(format!("{kind}-{label}"), action));
    }
}

/// What an amount comes to, of `all`.
pub(crate) fn count(amount: Amount, all: u32) -> u32 {
    match amount {
        Amount::Count(count) => count,
        Amount::Percent(percent) => {
            Percent::try_from(percent).map_or(u32::MAX, |share| needed(all, share))
        }
    }
}

/// Faults of the gates that checks name.
pub(crate) fn check_problems(situation: &Situation, moves: &[Move]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Move { at, what, .. } in moves {
        let What::Check(names) = what else {
            continue;
        };
        problems.extend(gates::unknown(situation, at, names));
        if names.is_empty() && situation.gates.is_empty() {
            let message = "the phase has no gate to ask";
            problems.push(Problem::new(at.clone(), message));
        }
    }
    problems
}
