//! What was told: by the run, by the cluster, by people; and what the run said by its journal.

use std::collections::BTreeMap;

use phasegate_core::event::Record;
use phasegate_core::run::{Line, Run};
use phasegate_core::verdict::{Measurement, Status};
use serde::Deserialize;
use serde_json::Value;

use super::Evidence;
use crate::rehearse::RUN;
use crate::scenario::Expect;
use crate::scenario::expect::Said;
use crate::story::Source;

/// How deep the data of a line is compared.
const MAX_DEPTH: usize = 32;
/// Figures are reckoned in binary fractions: so near is the same.
const NEAR: f64 = 1e-9;

pub(super) fn judge(expect: &Expect, evidence: &Evidence<'_>) -> Vec<String> {
    let story = evidence.story;
    let engine = story.of(Source::Engine);
    let cluster = story.of(Source::Cluster);
    let people = story.of(Source::Person);
    let mut faults = lacking("the story", &engine, &expect.story);
    faults.extend(holding("the story", &engine, &expect.never));
    faults.extend(lacking("what the cluster shows", &cluster, &expect.cluster));
    faults.extend(holding(
        "what the cluster shows",
        &cluster,
        &expect.cluster_never,
    ));
    faults.extend(lacking("what people do", &people, &expect.people));
    if !expect.said.is_empty() {
        faults.extend(unsaid(&expect.said, &lines(evidence.records)));
    }
    faults
}

/// The parts that a story lacks in this order.
fn lacking(whose: &str, lines: &[&str], parts: &[String]) -> Vec<String> {
    let mut rest = lines;
    let mut faults = Vec::new();
    for part in parts {
        match rest.iter().position(|line| line.contains(part.as_str())) {
            Some(at) => rest = rest.get(at..).unwrap_or_default(),
            None => faults.push(format!("{whose} lacks `{part}` (in this order)")),
        }
    }
    faults
}

/// The parts that a story holds and must not.
fn holding(whose: &str, lines: &[&str], parts: &[String]) -> Vec<String> {
    let held = parts
        .iter()
        .filter(|part| lines.iter().any(|line| line.contains(part.as_str())));
    held.map(|part| format!("{whose} holds `{part}`")).collect()
}

/// All that the run said, rebuilt from its journal.
fn lines(records: &[Record]) -> Vec<Line> {
    let mut said: Vec<Line> = Vec::new();
    let Some((first, rest)) = records.split_first() else {
        return said;
    };
    let Ok(mut run) = Run::replay(RUN, std::slice::from_ref(first)) else {
        return said;
    };
    said.extend(run.said().iter().cloned());
    for record in rest {
        // What a journal holds was taken by the run once; if not, the judge of the journal says so.
        let Ok((next, _)) = run.after(record) else {
            break;
        };
        said.extend(next.said().iter().cloned());
        run = next;
    }
    said
}

fn unsaid(wanted: &[Said], lines: &[Line]) -> Vec<String> {
    let mut rest = lines;
    let mut faults = Vec::new();
    for said in wanted {
        match rest.iter().position(|line| fits(said, line)) {
            Some(at) => rest = rest.get(at.saturating_add(1)..).unwrap_or_default(),
            None => faults.push(format!(
                "the run never said, in this order: {} {}",
                said.line, said.data
            )),
        }
    }
    faults
}

fn fits(said: &Said, line: &Line) -> bool {
    let step = said.step.as_ref();
    let part = said.message.as_ref();
    said.line == line.kind
        && step.is_none_or(|step| line.step.as_ref() == Some(step))
        && part.is_none_or(|part| line.message.contains(part.as_str()))
        && (said.data.is_null() || holds(&line.data, &said.data, 0))
}

/// Whether a value has at least what is wanted.
fn holds(found: &Value, wanted: &Value, depth: usize) -> bool {
    let deeper = depth.saturating_add(1);
    match (found, wanted) {
        _ if depth > MAX_DEPTH => false,
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            found
                .get(name)
                .is_some_and(|found| holds(found, wanted, deeper))
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            let mut rest = found.iter();
            wanted
                .iter()
                .all(|wanted| rest.any(|found| holds(found, wanted, deeper)))
        }
        (Value::Number(found), Value::Number(wanted)) => match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => (found - wanted).abs() <= NEAR,
            _ => false,
        },
        (found, wanted) => found == wanted,
    }
}

/// The table of candidate and stable: of every figure that a gate compared in a step, the last, in a line each.
#[must_use]
pub fn compared(records: &[Record]) -> Vec<String> {
    let mut table: BTreeMap<(usize, String, String), String> = BTreeMap::new();
    let mut steps: Vec<String> = Vec::new();
    for line in lines(records).iter().filter(|line| line.kind == "gate") {
        let step = line.step.clone().unwrap_or_default();
        let place = steps.iter().position(|known| *known == step);
        let place = place.unwrap_or_else(|| {
            steps.push(step.clone());
            steps.len().saturating_sub(1)
        });
        let gate = line.data.get("gate").and_then(Value::as_str);
        let gate = gate.unwrap_or_default();
        for measured in figures(line) {
            if let (Some(candidate), Some(stable)) = (measured.candidate, measured.stable) {
                let unit = &measured.unit;
                let status = match measured.status {
                    Status::Pass => "pass",
                    Status::Fail => "fail",
                    Status::Inconclusive => "inconclusive",
                };
                let text = format!(
                    "{step}: {} {} {unit}, stable {} {unit}, {}: {status}",
                    measured.name,
                    short(candidate),
                    short(stable),
                    measured.limit
                );
                table.insert((place, gate.to_owned(), measured.name), text);
            }
        }
    }
    table.into_values().collect()
}

fn figures(line: &Line) -> Vec<Measurement> {
    let measured = line.data.get("measurements");
    measured
        .and_then(|measured| Vec::deserialize(measured).ok())
        .unwrap_or_default()
}

/// A figure with at most six places behind the point, as it is read by people.
fn short(figure: f64) -> String {
    let text = format!("{figure:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
