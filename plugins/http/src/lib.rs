//! Gate `http`: what a URL answers, how fast, and what figures it reports.

mod config;
mod figure;
mod template;

use phasegate_plugin::clock::Stopwatch;
use phasegate_plugin::http::{self, Answer};
use phasegate_plugin::{
    Ask, Duration, Gate, Measurement, Problem, Question, Result, Status, Verdict,
};
use serde_json::Value;

pub use config::Http;

use config::WhenSilent;
use template::Variables;

impl Gate for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "what a URL answers: status, latency, figures in its JSON";

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    fn evaluate(&self, question: &Question) -> Result<Verdict> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let variables = Variables {
            namespace: &question.call.namespace,
            service: &question.call.service,
            candidate_service: &question.candidate.service,
            version: &question.candidate.version,
        };
        let url = variables.in_url(&self.url);
        let watch = Stopwatch::start();
        let answer = self.ask(&url);
        let latency = watch.elapsed();
        match answer {
            Ok(answer) => Ok(self.judge(&variables, &answer, latency)),
            Err(error @ (http::Error::Unreachable(_) | http::Error::TimedOut)) => {
                let status = self.unreachable.status();
                Ok(Verdict::new(status, format!("{url}: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The verdict as it comes together: what is wrong, and what can't be told.
struct Findings {
    failed: Vec<String>,
    unclear: Vec<String>,
    /// The figures that pass: a verdict that names none of them shows nothing.
    well: Vec<String>,
    measured: Vec<Measurement>,
}

impl Findings {
    fn add(&mut self, status: Status, reason: String) {
        match status {
            Status::Pass => {}
            Status::Fail => self.failed.push(reason),
            Status::Inconclusive => self.unclear.push(reason),
        }
    }

    /// A failure outweighs what can't be told; that outweighs what is well.
    fn verdict(self, well: String) -> Verdict {
        let verdict = if !self.failed.is_empty() {
            Verdict::fail(self.failed.join("; "))
        } else if !self.unclear.is_empty() {
            Verdict::inconclusive(self.unclear.join("; "))
        } else {
            let told: Vec<String> = self.well.into_iter().chain([well]).collect();
            Verdict::pass(told.join("; "))
        };
        self.measured.into_iter().fold(verdict, Verdict::measured)
    }
}

impl Http {
    fn ask(&self, url: &str) -> std::result::Result<Answer, http::Error> {
        let mut request = http::Request::new(self.method.as_str(), url).timeout(self.timeout);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(credential) = &self.credential {
            request = request.credential(credential);
        }
        request.send()
    }

    fn judge(&self, variables: &Variables<'_>, answer: &Answer, latency: Duration) -> Verdict {
        let mut findings = Findings {
            failed: Vec::new(),
            unclear: Vec::new(),
            well: Vec::new(),
            measured: Vec::new(),
        };
        let code = answer.status();
        let expected = self.expect_status.contains(&code);
        let status = match (expected, self.error_status) {
            (true, _) => Status::Pass,
            (false, WhenSilent::Fail) => Status::Fail,
            (false, WhenSilent::Inconclusive) => Status::Inconclusive,
        };
        let wanted = self.statuses();
        findings.add(status, format!("answered {code} instead of {wanted}"));
        findings
            .measured
            .push(Measurement::new("status", Some(f64::from(code)), status).limit(wanted));
        self.judge_latency(latency, &mut findings);
        if expected && (!self.json.is_empty() || self.require_samples.is_some()) {
            self.judge_json(variables, answer, &mut findings);
        }
        let ms = latency.as_millis();
        findings.verdict(format!("answered {code} within {ms} ms"))
    }

    fn judge_latency(&self, latency: Duration, findings: &mut Findings) {
        let ms = latency.as_millis();
        let (status, limit) = match self.max_latency {
            Some(max) if latency > max => (Status::Fail, format!("<= {} ms", max.as_millis())),
            Some(max) => (Status::Pass, format!("<= {} ms", max.as_millis())),
            None => (Status::Pass, String::new()),
        };
        findings.add(
            status,
            format!("answered after {ms} ms, allowed are {limit}"),
        );
        findings.measured.push(
            Measurement::new("latency", Some(f64::from(ms)), status)
                .unit("ms")
                .limit(limit),
        );
    }

    fn judge_json(&self, variables: &Variables<'_>, answer: &Answer, findings: &mut Findings) {
        let document: Value = match answer.json() {
            Ok(document) => document,
            Err(error) => {
                findings.add(Status::Inconclusive, error.to_string());
                return;
            }
        };
        let mut samples = None;
        if let Some(required) = &self.require_samples {
            let found = document.pointer(&required.pointer).and_then(Value::as_u64);
            samples = found;
            let needed = required.at_least;
            match found {
                Some(count) if count >= needed => {}
                Some(count) => findings.add(
                    Status::Inconclusive,
                    format!("only {count} samples, {needed} needed"),
                ),
                None => findings.add(
                    Status::Inconclusive,
                    format!("no number of samples at {}", required.pointer),
                ),
            }
        }
        for figure in &self.json {
            let judged = figure.judge(variables, &document);
            if judged.status == Status::Pass {
                findings.well.push(judged.reason);
            } else {
                findings.add(judged.status, judged.reason);
            }
            let mut measured = judged.measured;
            measured.samples = samples;
            findings.measured.push(measured);
        }
    }

    fn statuses(&self) -> String {
        let codes: Vec<String> = self.expect_status.iter().map(u16::to_string).collect();
        codes.join(" or ")
    }
}

phasegate_plugin::export! {
    name: "http",
    summary: "Judges what a URL answers",
    gates: [Http],
    asks: [Ask::HttpFromConfig("/url")],
}

#[cfg(test)]
mod tests;
