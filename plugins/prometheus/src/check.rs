//! Faults of a config that its schema can't express.

use phasegate_plugin::{Duration, Problem};

use crate::config::{Prometheus, RangeQuery, Reduce};
use crate::template;

/// Most points of one query. Prometheus' own limit is 11 000.
pub(crate) const MAX_POINTS: u32 = 2_000;

impl Prometheus {
    /// Faults, each where it stands.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_server(&mut problems);
        self.check_queries(&mut problems);
        self.check_window(&mut problems);
        self.check_range(&mut problems);
        self.check_limits(&mut problems);
        self.check_comparison(&mut problems);
        problems
    }

    fn check_server(&self, problems: &mut Vec<Problem>) {
        let mut address = |pointer: &str, url: &str| {
            let message = if !url.starts_with("http://") && !url.starts_with("https://") {
                format!("`{url}` is neither http:// nor https://")
            } else if url.contains(['?', '#', '{']) {
                format!("`{url}` must be a plain address")
            } else if url.trim_end_matches('/').ends_with("/api/v1") {
                "leave out /api/v1: it is added".to_owned()
            } else {
                return;
            };
            problems.push(Problem::new(pointer, message));
        };
        address("/url", &self.url);
        if let Some(url) = &self.external_url {
            address("/externalUrl", url);
        }
        for name in self.headers.keys() {
            if name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("cookie") {
                let message = "a secret does not belong into a release file; name a `credential`";
                problems.push(Problem::new(format!("/headers/{name}"), message));
            }
        }
        if self.timeout < Duration::from_secs(1) {
            problems.push(Problem::new(
                "/timeout",
                "an answer needs at least a second",
            ));
        }
        if self.name.trim().is_empty() {
            problems.push(Problem::new("/name", "the figure needs a name"));
        }
    }

    fn check_queries(&self, problems: &mut Vec<Problem>) {
        let missing = match (&self.query, &self.candidate, &self.stable) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => None,
            (None, None, None) => Some(("", "give `query`, or `candidate` and `stable`")),
            (None, Some(_), None) => Some(("", "`candidate` needs `stable` to be compared with")),
            (None, None, Some(_)) => Some(("", "`stable` needs a `candidate`")),
            (Some(_), _, _) => Some(("/query", "give either `query`, or `candidate` and `stable`")),
        };
        problems.extend(missing.map(|(pointer, message)| Problem::new(pointer, message)));
        let samples = self.minimum_samples.as_ref().map(|samples| &samples.query);
        for (pointer, query) in [
            ("/query", self.query.as_ref()),
            ("/candidate", self.candidate.as_ref()),
            ("/stable", self.stable.as_ref()),
            ("/minimumSamples/query", samples),
        ] {
            if let Some(Err(message)) = query.map(|query| template::check(query)) {
                problems.push(Problem::new(pointer, message));
            }
        }
        if self
            .minimum_samples
            .as_ref()
            .is_some_and(|s| s.at_least == 0)
        {
            let message = "no observation at all is never enough";
            problems.push(Problem::new("/minimumSamples/atLeast", message));
        }
    }

    fn check_window(&self, problems: &mut Vec<Problem>) {
        if self.window.min < Duration::from_secs(1) {
            problems.push(Problem::new(
                "/window/min",
                "a window needs at least a second",
            ));
        }
        if self.window.max < self.window.min {
            let message = format!(
                "{} is less than the least, {}",
                self.window.max, self.window.min
            );
            problems.push(Problem::new("/window/max", message));
        }
    }

    fn check_range(&self, problems: &mut Vec<Problem>) {
        let Some(range) = &self.range else {
            return;
        };
        let longest = range.over.unwrap_or(self.window.max);
        let shortest = range.over.unwrap_or(self.window.min);
        if range.step < Duration::from_secs(1) {
            problems.push(Problem::new(
                "/range/step",
                "points are at least a second apart",
            ));
        } else if range.step > shortest {
            let message = format!(
                "{} is longer than {shortest}, over which it goes",
                range.step
            );
            problems.push(Problem::new("/range/step", message));
        } else if longest.as_millis() / range.step.as_millis() >= MAX_POINTS {
            let message = format!(
                "{longest} has more than {MAX_POINTS} points of {}",
                range.step
            );
            problems.push(Problem::new("/range/step", message));
        }
        if !(1.0..=100.0).contains(&range.coverage) {
            problems.push(Problem::new(
                "/range/coverage",
                "give a percentage from 1 to 100",
            ));
        }
        self.check_breaches(range, problems);
    }

    fn check_breaches(&self, range: &RangeQuery, problems: &mut Vec<Problem>) {
        if range.reduce != Reduce::Breaches {
            if range.tolerate != 0.0 {
                let message = "only with `reduce: breaches`";
                problems.push(Problem::new("/range/tolerate", message));
            }
            return;
        }
        if !(0.0..100.0).contains(&range.tolerate) {
            let message = "give a percentage from 0 to less than 100";
            problems.push(Problem::new("/range/tolerate", message));
        }
        if self.query.is_none() {
            let message = "breaches are counted of one `query`; PromQL can subtract two";
            problems.push(Problem::new("/range/reduce", message));
        }
        if self.limits().is_empty() && !self.bands().any() {
            let message = "a point breaches `max`, `min` or a band, and none is given";
            problems.push(Problem::new("/range/reduce", message));
        }
    }

    fn check_limits(&self, problems: &mut Vec<Problem>) {
        for name in self.bands().without_limits() {
            problems.push(Problem::new(format!("/{name}"), "a band needs a limit"));
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            let message = format!("no figure is both at least {min} and at most {max}");
            problems.push(Problem::new("/min", message));
        }
        if self.limits().is_empty() && !self.bands().any() && !self.compares() {
            problems.push(Problem::new("", "nothing is demanded of the figure"));
        }
    }

    fn check_comparison(&self, problems: &mut Vec<Problem>) {
        let mut fault = |pointer: &str, message: &str| {
            problems.push(Problem::new(pointer, message));
        };
        let given = [
            ("/deltaMax", self.delta_max, 0.0),
            ("/deltaPercent", self.delta_percent, 0.0),
            ("/ratioMax", self.ratio_max, 1.0),
        ];
        for (pointer, limit, least) in given {
            let Some(limit) = limit else {
                continue;
            };
            if limit < least {
                fault(pointer, &format!("{limit} is less than {least}"));
            }
            if self.stable.is_none() {
                fault(pointer, "there is no `stable` to compare with");
            }
        }
        if self.delta_percent.is_some() && self.ratio_max.is_some() {
            fault("/ratioMax", "`deltaPercent` says the same in other words");
        }
        match (
            self.delta_max.is_some() && self.factor().is_some(),
            self.need,
        ) {
            (true, None) => fault("", "say whether `need` is `any` or `all` of the two limits"),
            (false, Some(_)) => fault("/need", "there is nothing to choose between"),
            _ => {}
        }
        if self.stable.is_some() && !self.compares() {
            fault(
                "/stable",
                "give `deltaMax`, `deltaPercent` or `ratioMax` to compare by",
            );
        }
    }
}
