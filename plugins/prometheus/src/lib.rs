//! Gate `prometheus`: a figure that Prometheus has measured, or the candidate's beside stable's.
//!
//! [`config`] is what a release sets, [`check`] its faults. An evaluation fills [`template`]s, asks
//! the [`server`], reads the [`answer`], makes a [`figure`] of it, and then [`judge`]s.

mod answer;
mod check;
mod config;
mod figure;
mod judge;
mod links;
mod server;
mod template;

use phasegate_plugin::gate::{Interval, Side as Asked};
use phasegate_plugin::{
    Ask, Duration, Error, Gate, Problem, Question, Result, Verdict, WorkloadNames, log,
};

use answer::Found;
pub use config::Prometheus;
use config::StableAt;
use figure::{NoData, Steps};
use judge::Side;
use server::{Query, When};
use template::Values;

/// Most characters of Prometheus' warnings in a reason.
const WARNED_CHARS: usize = 300;

/// One evaluation as it goes on.
struct Evaluation<'a> {
    config: &'a Prometheus,
    question: &'a Question,
    /// Empty where the step is about no workload.
    deployment: String,
    /// What was asked, for the link.
    asked: Vec<Query>,
    warnings: Vec<String>,
}

impl Gate for Prometheus {
    const NAME: &'static str = "prometheus";
    const SUMMARY: &'static str =
        "a figure of Prometheus within limits, or the candidate's beside stable's";

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    fn evaluate(&self, question: &Question) -> Result<Verdict> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let workload = question.call.workload().ok();
        let deployment = workload.map(|WorkloadNames { deployment, .. }| deployment);
        let mut evaluation = Evaluation {
            config: self,
            question,
            deployment: deployment.unwrap_or_default(),
            asked: Vec::new(),
            warnings: Vec::new(),
        };
        evaluation.run()
    }
}

impl Evaluation<'_> {
    fn run(&mut self) -> Result<Verdict> {
        let (config, question) = (self.config, self.question);
        let (pointer, query) = match (&config.query, &config.candidate) {
            (Some(query), _) => ("/query", query),
            (None, Some(query)) => ("/candidate", query),
            (None, None) => return Err(Error::misconfigured("", "there is no query")),
        };
        let now = question.window;
        let candidate = self.side(pointer, query, &question.candidate, now, When::Now)?;
        let stable = match &config.stable {
            None => None,
            Some(query) => {
                let (interval, when) = match config.stable_at {
                    StableAt::Now => (now, When::Now),
                    StableAt::Baseline => (question.baseline, When::At(question.baseline.until)),
                };
                Some(self.side("/stable", query, &question.stable, interval, when)?)
            }
        };
        let mut verdict = config.judge(&candidate, stable.as_ref());
        if !self.warnings.is_empty() {
            let warnings = self.warnings.join("; ");
            log::warn(format!("Prometheus warns: {warnings}"));
            let shown: String = warnings.chars().take(WARNED_CHARS).collect();
            verdict
                .reason
                .push_str(&format!(" (Prometheus warns: {shown})"));
        }
        let base = config.external_url.as_ref().unwrap_or(&config.url);
        let queries: Vec<_> = self.asked.iter().collect();
        let url = links::graph(base, &queries, question.window.until);
        Ok(verdict.link(format!("{} in Prometheus", config.name), url))
    }

    /// What can be measured of one side.
    fn side(
        &mut self,
        pointer: &'static str,
        query: &str,
        asked: &Asked,
        interval: Interval,
        when: When,
    ) -> Result<Side> {
        let window = self.window(interval);
        let name = match when {
            When::Now => asked.version.clone(),
            When::At(_) | When::Range { .. } => format!("{} before the run", asked.version),
        };
        // A figure of both versions together says nothing of one.
        let minimum = self.config.minimum_samples.as_ref();
        let told_apart = self.config.stable.is_some()
            || self.is_of_one_side(query, window)
            || minimum.is_some_and(|minimum| self.is_of_one_side(&minimum.query, window));
        let name = told_apart.then_some(name);
        let filled = self.fill(pointer, query, asked, window)?;
        let figure = match &self.config.range {
            None => self.instant(&filled, &when, interval.until)?,
            Some(_) => self.over_time(&filled, window, interval.until)?,
        };
        self.asked.push(filled);
        let samples = match &self.config.minimum_samples {
            None => None,
            Some(minimum) => {
                let pointer = "/minimumSamples/query";
                let filled = self.fill(pointer, &minimum.query, asked, window)?;
                let count = self.instant(&filled, &when, interval.until)?;
                Some(count.map(|count| count.max(0.0).floor() as u64))
            }
        };
        Ok(Side {
            name,
            window,
            figure,
            samples,
        })
    }

    /// Whether a query asks each side for something else.
    fn is_of_one_side(&self, query: &str, window: Duration) -> bool {
        let asked = |side: &Asked| self.fill("", query, side, window).map(|query| query.text);
        let question = self.question;
        asked(&question.candidate).ok() != asked(&question.stable).ok()
    }

    /// The length of the interval, within the bounds of the config.
    fn window(&self, interval: Interval) -> Duration {
        let length = interval.until.saturating_sub(interval.since);
        let length = Duration::from_millis(u32::try_from(length).unwrap_or(u32::MAX));
        let bounds = self.config.window;
        length.max(bounds.min).min(bounds.max)
    }

    fn fill(
        &self,
        pointer: &'static str,
        query: &str,
        side: &Asked,
        window: Duration,
    ) -> Result<Query> {
        let call = &self.question.call;
        let values = Values {
            version: &side.version,
            service: &side.service,
            namespace: &call.namespace,
            environment: &call.release.environment,
            deployment: &self.deployment,
            labels: &side.labels,
            window,
        };
        let text = template::fill(query, &values)
            .map_err(|message| Error::misconfigured(pointer, message))?;
        Ok(Query { pointer, text })
    }

    fn instant(
        &mut self,
        query: &Query,
        when: &When,
        until: u64,
    ) -> Result<std::result::Result<f64, NoData>> {
        let found = self.ask(query, when)?;
        Ok(found.and_then(|points| figure::instant(&points, until)))
    }

    fn over_time(
        &mut self,
        query: &Query,
        window: Duration,
        until: u64,
    ) -> Result<std::result::Result<f64, NoData>> {
        let config = self.config;
        let Some(range) = &config.range else {
            return Err(Error::permanent("no range is asked for"));
        };
        let steps = Steps::back(until, range.over.unwrap_or(window), range.step);
        let when = When::Range {
            start: steps.start,
            end: steps.end,
            step: steps.step,
        };
        let found = self.ask(query, &when)?;
        Ok(found.and_then(|points| {
            figure::reduced(&points, steps, range, config.limits(), config.bands())
        }))
    }

    fn ask(
        &mut self,
        query: &Query,
        when: &When,
    ) -> Result<std::result::Result<Vec<answer::Point>, NoData>> {
        let told = server::ask(self.config, query, when)?;
        self.warnings.extend(told.warnings);
        Ok(match told.found {
            Found::Points(points) => Ok(points),
            Found::NoData(reason) | Found::WrongKind(reason) => Err(NoData::from(reason)),
        })
    }
}

phasegate_plugin::export! {
    name: "prometheus",
    summary: "Judges what Prometheus has measured",
    gates: [Prometheus],
    asks: [Ask::HttpFromConfig("/url")],
}

#[cfg(test)]
mod tests;
