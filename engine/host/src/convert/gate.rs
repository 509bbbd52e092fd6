//! A gate's question and verdict.

use phasegate_core::verdict::{Interval, Measurement, Question, Side, Status, Verdict};

use super::{links_in, pairs_out, span};
use crate::bindings::exports::phasegate::gate::gate as wit;
use crate::bindings::phasegate::types::common;
use crate::fault::cut;
use crate::json;

/// Most figures of one verdict.
const MAX_MEASUREMENTS: usize = 100;

pub(crate) fn question(call: common::Call, question: &Question) -> wit::Question {
    wit::Question {
        call,
        window: interval(&question.window),
        baseline: interval(&question.baseline),
        candidate_weight: question.candidate_weight,
        candidate: side(&question.candidate),
        stable: side(&question.stable),
        evaluation: question.evaluation,
        memory: question.memory.as_ref().map(ToString::to_string),
    }
}

/// The verdict, or what is wrong with it.
pub(crate) fn verdict(verdict: wit::Verdict, json_bytes: usize) -> Result<Verdict, String> {
    if verdict.measurements.len() > MAX_MEASUREMENTS {
        return Err(format!(
            "its verdict has more than {MAX_MEASUREMENTS} measurements"
        ));
    }
    let memory = match verdict.memory {
        None => None,
        Some(text) => {
            Some(json::parse(&text, json_bytes).map_err(|e| format!("its memory is {e}"))?)
        }
    };
    Ok(Verdict {
        status: status(verdict.status),
        reason: cut(verdict.reason),
        measurements: verdict.measurements.into_iter().map(measurement).collect(),
        links: links_in(verdict.links),
        needs: verdict.needs_ms.map(span),
        memory,
        extra: json::parse_bag(&verdict.extra, json_bytes)?,
    })
}

fn measurement(measurement: wit::Measurement) -> Measurement {
    // No data is not a number, and what is not a number is no data.
    let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
    Measurement {
        name: cut(measurement.name),
        unit: cut(measurement.unit),
        candidate: finite(measurement.candidate),
        stable: finite(measurement.stable),
        samples: measurement.samples,
        limit: cut(measurement.limit),
        band: cut(measurement.band),
        status: status(measurement.status),
    }
}

fn status(status: wit::Status) -> Status {
    match status {
        wit::Status::Pass => Status::Pass,
        wit::Status::Fail => Status::Fail,
        wit::Status::Inconclusive => Status::Inconclusive,
    }
}

fn interval(interval: &Interval) -> wit::Interval {
    wit::Interval {
        since: interval.since.as_millis(),
        until: interval.until.as_millis(),
    }
}

fn side(side: &Side) -> wit::Side {
    wit::Side {
        version: side.version.clone(),
        service: side.service.clone(),
        labels: pairs_out(&side.labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(candidate: f64, memory: Option<&str>) -> wit::Verdict {
        wit::Verdict {
            status: wit::Status::Fail,
            reason: "because".into(),
            measurements: vec![wit::Measurement {
                name: "errors".into(),
                unit: "%".into(),
                candidate: Some(candidate),
                stable: Some(f64::INFINITY),
                samples: Some(3),
                limit: "< 1 %".into(),
                band: String::new(),
                status: wit::Status::Fail,
            }],
            links: Vec::new(),
            needs_ms: Some(1500),
            memory: memory.map(Into::into),
            extra: "{}".into(),
        }
    }

    #[test]
    fn what_is_not_finite_is_no_data() {
        let read = verdict(answer(f64::NAN, None), 1000).unwrap();
        assert_eq!(read.measurements[0].candidate, None);
        assert_eq!(read.measurements[0].stable, None);
        let read = verdict(answer(0.5, Some("{\"n\":1}")), 1000).unwrap();
        assert_eq!(read.measurements[0].candidate, Some(0.5));
        assert_eq!(read.memory, Some(serde_json::json!({"n": 1})));
        assert_eq!(read.needs, Some(span(1500)));
    }

    #[test]
    fn a_memory_that_is_not_json_is_a_fault_of_the_gate() {
        let fault = verdict(answer(0.5, Some("{")), 1000).unwrap_err();
        assert!(fault.starts_with("its memory is not JSON"), "{fault}");
    }
}
