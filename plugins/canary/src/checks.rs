//! Faults of a config that its schema can't express.

use phasegate_plugin::Problem;
use phasegate_plugins_shared::traffic;

use crate::arithmetic::{self, Percent};
use crate::{Canary, Soaks, USUAL_SOAK, USUAL_STEP, list, moves};

/// Most weights; each becomes up to three steps of a plan, and a plan has at most 200.
const MAX_WEIGHTS: usize = 50;
/// Most entries of `steps`; each becomes up to two steps of a plan.
const MAX_ENTRIES: usize = 60;

impl Canary {
    /// All of them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = traffic::problems(self.timeout, self.every);
        problems.extend(self.form_problems());
        problems.extend(self.limit_problems());
        problems.extend(self.time_problems());
        if self.step_weight == Some(Percent::NONE) {
            let message = "a weight that grows by 0 never grows";
            problems.push(Problem::new("/stepWeight", message));
        }
        if self.max_weight == Some(Percent::NONE) {
            let message = "the candidate would get nothing: at least 1";
            problems.push(Problem::new("/maxWeight", message));
        }
        if let Some(scale) = self.canary_scale {
            problems.extend(scale.problem("/canaryScale"));
        }
        if let Some(steps) = &self.steps {
            problems.extend(list::problems(steps, self.every));
        }
        problems.extend(moves::problems(&self.moves()));
        problems
    }

    /// Faults of settings that don't go together.
    fn form_problems(&self) -> Vec<Problem> {
        let forms = [
            ("weights", self.weights.is_some()),
            ("steps", self.steps.is_some()),
            ("stepWeight", self.step_weight.is_some()),
            ("stepWeights", self.step_weights.is_some()),
        ];
        let set: Vec<&str> = forms.iter().filter(|f| f.1).map(|f| f.0).collect();
        let mut problems = Vec::new();
        match set.as_slice() {
            [] => {
                let message =
                    "how is traffic to move? Say `weights`, `steps`, `stepWeight` or `stepWeights`";
                problems.push(Problem::new("", message));
            }
            [_] => {}
            [first, others @ ..] => {
                for other in others {
                    let message = format!("`{first}` says already how traffic moves");
                    problems.push(Problem::new(format!("/{other}"), message));
                }
            }
        }
        let grows = self.step_weight.is_some() || self.step_weights.is_some();
        for (setting, set, fits, with) in [
            (
                "soak",
                self.soak.is_some(),
                self.weights.is_some(),
                "`weights`",
            ),
            (
                "interval",
                self.interval.is_some(),
                grows,
                "`stepWeight` or `stepWeights`",
            ),
            (
                "maxWeight",
                self.max_weight.is_some(),
                self.step_weight.is_some(),
                "`stepWeight`",
            ),
        ] {
            if set && !fits {
                let message = format!("`{setting}` goes with {with}");
                problems.push(Problem::new(format!("/{setting}"), message));
            }
        }
        problems
    }

    /// Faults of lists that are empty or too long.
    fn limit_problems(&self) -> Vec<Problem> {
        let grown = self.step_weight.map(|step| {
            let most = self.max_weight.unwrap_or(Percent::ALL);
            // A step of 0 is a fault of its own.
            arithmetic::linear(step, most).len().max(1)
        });
        let weights = |list: &Option<Vec<Percent>>| list.as_ref().map(Vec::len);
        let steps = self.steps.as_ref().map(Vec::len);
        let lists = [
            ("weights", "weights", weights(&self.weights), MAX_WEIGHTS),
            ("steps", "steps", steps, MAX_ENTRIES),
            ("stepWeight", "weights", grown, MAX_WEIGHTS),
            (
                "stepWeights",
                "weights",
                weights(&self.step_weights),
                MAX_WEIGHTS,
            ),
        ];
        let fault = |(setting, what, length, most): (&str, &str, Option<usize>, usize)| {
            let message = match length? {
                0 => "nothing is tried out; use the strategy `rolling`".to_owned(),
                length if length > most => format!("{length} {what}, more than {most}"),
                _ => return None,
            };
            Some(Problem::new(format!("/{setting}"), message))
        };
        lists.into_iter().filter_map(fault).collect()
    }

    /// Faults of how long weights are held.
    fn time_problems(&self) -> Vec<Problem> {
        let why = "a soak takes some time; a weight that isn't held shows nothing";
        let fault = |pointer: &str, soak| traffic::soak_problem(pointer, soak, self.every, why);
        let mut problems = Vec::new();
        match &self.soak {
            Some(Soaks::All(soak)) => problems.extend(fault("/soak", *soak)),
            Some(Soaks::Each(soaks)) => {
                for (index, soak) in soaks.iter().enumerate() {
                    problems.extend(fault(&format!("/soak/{index}"), *soak));
                }
                let weights = self.weights.as_ref().map_or(soaks.len(), Vec::len);
                if weights != soaks.len() {
                    let message = format!("{} times for {weights} weights", soaks.len());
                    problems.push(Problem::new("/soak", message));
                }
            }
            None if self.weights.is_some() => problems.extend(fault("/every", USUAL_SOAK)),
            None => {}
        }
        match self.interval {
            Some(interval) => problems.extend(fault("/interval", interval)),
            None if self.step_weight.is_some() || self.step_weights.is_some() => {
                problems.extend(fault("/every", USUAL_STEP));
            }
            None => {}
        }
        problems
    }
}
