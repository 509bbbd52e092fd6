//! Without a router: traffic by replicas. A Service gives every ready pod the same share, so the
//! candidate's share is that of its pods, and stable gives pods up as the candidate gets them.

use phasegate_plugin::strategy::{Action, Amount, Check, Slot};
use phasegate_plugin::{Problem, Situation, Step, log};
use phasegate_plugins_shared::traffic;

use crate::Canary;
use crate::arithmetic::{Counts, Percent, by_replicas};
use crate::moves::{Move, What};

/// How many points the candidate's share may be off before somebody is told.
const NOTABLE: u64 = 5;

/// Why it can't be done without a router.
pub(crate) fn problems(canary: &Canary, situation: &Situation, moves: &[Move]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if situation.workload.autoscaler.is_some() {
        let message = format!(
            "without a router a canary takes replicas from {}, and its autoscaler would give them back; add `router`, or use the strategy `rolling`",
            situation.workload.name
        );
        problems.push(Problem::new("", message));
    }
    if canary.canary_scale.is_some() {
        problems.push(Problem::new("/canaryScale", BOUND_TO_PODS));
    }
    // An action needs no candidate.
    let first = moves
        .iter()
        .find(|one| !matches!(one.what, What::Act(_)))
        .filter(|one| !matches!(one.what, What::Weight(_)));
    if let Some(Move { at, .. }) = first {
        let message = "without a router the candidate is not there before the first weight; begin with `setWeight`";
        problems.push(Problem::new(at.clone(), message));
    }
    for Move { at, what, .. } in moves {
        let message = match what {
            What::Weight(Percent::NONE) => {
                "without a router the candidate has traffic as soon as it has a pod: weight 0 can't be had"
            }
            What::Scale(_) => BOUND_TO_PODS,
            What::Headers(_) => "only a router can match headers, and the release has none",
            What::Mirror(_) => "only a router can copy requests, and the release has none",
            _ => continue,
        };
        problems.push(Problem::new(at.clone(), message));
    }
    problems
}

const BOUND_TO_PODS: &str =
    "without a router the candidate's replicas are its weight: they can't be set apart";

/// The plan.
pub(crate) fn plan(canary: &Canary, situation: &Situation, moves: Vec<Move>) -> Vec<Step> {
    let replicas = situation.workload.replicas;
    let mut plan = Counted {
        canary,
        situation,
        weight: Percent::NONE,
        has: Counts {
            candidate: 0,
            stable: replicas,
        },
        steps: Vec::new(),
    };
    for Move { label, what, .. } in moves {
        plan.take(&label, what);
    }
    if plan.weight < Percent::ALL {
        // The promotion gives stable its replicas back, so there is no sense in taking the last ones.
        plan.grow("100", Percent::ALL, replicas);
    }
    plan.steps.push(canary.promote());
    plan.steps
}

struct Counted<'a> {
    canary: &'a Canary,
    situation: &'a Situation,
    weight: Percent,
    /// The pods on either side so far.
    has: Counts,
    steps: Vec<Step>,
}

impl Counted<'_> {
    fn take(&mut self, label: &str, what: What) {
        match what {
            What::Weight(weight) => self.reach(label, weight),
            What::Hold(duration) => self.steps.push(self.canary.hold(label, duration)),
            What::Ask(people) => {
                let question = self.canary.question(self.situation, self.weight);
                self.push("approve", label, people.action(question));
            }
            What::Check(gates) => self.push("check", label, Action::Check(Check { gates })),
            What::Act(action) => self.push("act", label, Action::Act(action)),
            // Refused before there is a plan.
            What::Scale(_) | What::Headers(_) | What::Mirror(_) => {}
        }
    }

    /// The candidate grows and is ready before stable gives anything up.
    fn reach(&mut self, label: &str, weight: Percent) {
        let counts = by_replicas(self.situation.workload.replicas, weight);
        tell(self.situation, weight, counts);
        self.weight = weight;
        self.grow(label, weight, counts.candidate);
        if counts.stable != self.has.stable {
            let amount = Amount::Count(counts.stable);
            let scale = traffic::scale(Slot::Stable, amount, self.canary.timeout);
            self.push("stable", label, scale);
            self.has.stable = counts.stable;
        }
    }

    fn grow(&mut self, label: &str, weight: Percent, candidate: u32) {
        let all = weight == Percent::ALL;
        let amount = if all {
            Amount::ALL
        } else {
            Amount::Count(candidate)
        };
        let timeout = self.canary.timeout;
        if self.has.candidate == 0 {
            let deploy = traffic::deploy_beside(amount, timeout);
            self.steps.push(Step::new("deploy", deploy));
        } else if self.has.candidate != candidate {
            let scale = traffic::scale(Slot::Candidate, amount, timeout);
            self.push("scale", label, scale);
        }
        self.has.candidate = candidate;
    }

    fn push(&mut self, kind: &str, label: &str, action: Action) {
        self.steps
            .push(Step::new(format!("{kind}-{label}"), action));
    }
}

/// One pod of one isn't 10%: whoever reads the log learns what share it is.
fn tell(situation: &Situation, weight: Percent, counts: Counts) {
    let share = counts.share();
    if share.abs_diff(u64::from(weight.number())) > NOTABLE {
        log::warn(format!(
            "{}% of the traffic of {} can't be had by replicas: the candidate gets {share}%, {} of {} pods",
            weight.number(),
            situation.workload.name,
            counts.candidate,
            u64::from(counts.candidate) + u64::from(counts.stable),
        ));
    }
}
