//! What a run did, read off its journal: steps, effects and outcomes, without numbers and times.

use std::collections::BTreeMap;

use phasegate_core::effect::{Direction, Effect, Outcome, Request};
use phasegate_core::event::{Command, Event, Record};
use phasegate_core::failure::Kind;
use phasegate_core::run::Run;
use serde_json::Value;

use super::remains::unversioned;

/// What the story of a run says that doesn't depend on how often somebody looked.
const SAID: [&str; 14] = [
    "phase-started",
    "step-started",
    "step-finished",
    "step-failed",
    "rolling-back",
    "restored",
    "claimed",
    "released",
    "ended",
    "due",
    "discharged",
    "drift",
    "drift-adopted",
    "awaiting",
];

/// The steps, effects and outcomes of a run in their order, and what each gate came to in each step.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub(super) sequence: Vec<String>,
    /// What people were told: that goes on beside everything else.
    pub(super) notices: Vec<String>,
    /// What each gate came to in each step that was finished; in one that was not, it depends on when it was left.
    pub(super) verdicts: BTreeMap<String, String>,
}

impl Moves {
    /// Reads them off a journal. `names` stand for what is called otherwise on each cluster.
    pub(super) fn of(id: &str, records: &[Record], names: &[(&str, &str)]) -> Self {
        let mut moves = Self::default();
        let mut effects: BTreeMap<u64, Effect> = BTreeMap::new();
        let mut run: Option<Run> = None;
        for record in records {
            let next = match run.take() {
                None => Run::begin(id, record),
                Some(run) => run.after(record).map(|(run, _)| run),
            };
            let next = next.unwrap_or_else(|error| panic!("{error}"));
            match &record.event {
                Event::Intended { effect } => {
                    if !matches!(effect.request, Request::Notify { .. }) {
                        moves.push(words(effect), names);
                    }
                    effects.insert(effect.id.0, (**effect).clone());
                }
                Event::Finished { effect, outcome } => {
                    if let Some(effect) = effects.get(&effect.0) {
                        let came = format!("{}: {}", words(effect), outcome_word(outcome));
                        match (&effect.request, outcome) {
                            (Request::Notify { .. }, _) => moves.notices.push(came),
                            // Not finished: how often that is asked again depends on how long things take.
                            (Request::Act { .. }, Outcome::Failed { failure })
                                if failure.kind == Kind::Pending =>
                            {
                                moves.sequence.pop();
                            }
                            _ => moves.push(came, names),
                        }
                    }
                }
                Event::Commanded { command, .. } => {
                    let text = serde_json::to_value(command).unwrap();
                    moves.push(format!("command {}", text["command"]), names);
                }
                _ => {}
            }
            for line in next.said() {
                if SAID.contains(&line.kind) {
                    let step = line.step.as_deref().unwrap_or("-");
                    moves.push(format!("{} {step}", line.kind), names);
                }
                if line.kind == "gate" {
                    let step = line.step.as_deref().unwrap_or("-");
                    let (gate, status) = (&line.data["gate"], &line.data["status"]);
                    let gate = format!("{step} {gate}");
                    moves.verdicts.insert(gate, status.to_string());
                }
            }
            run = Some(next);
        }
        moves.notices.sort();
        let sequence = &moves.sequence;
        moves.verdicts.retain(|gate, _| {
            let (step, _) = gate.split_once(' ').unwrap();
            sequence.contains(&format!("step-finished {step}"))
        });
        moves
    }

    /// The run that takes the place of this one, if one does.
    pub(super) fn successor(records: &[Record]) -> Option<&str> {
        records.iter().find_map(|record| match &record.event {
            Event::Commanded {
                command: Command::Supersede { run, .. },
                ..
            } => Some(run.as_str()),
            _ => None,
        })
    }

    fn push(&mut self, text: String, names: &[(&str, &str)]) {
        let named = names
            .iter()
            .fold(text, |text, (from, to)| text.replace(from, to));
        self.sequence.push(unversioned(&named));
    }
}

/// An effect without what differs from run to run: versions of objects, the router's snapshot, the plan's digest.
fn words(effect: &Effect) -> String {
    let direction = match effect.direction {
        Direction::Forward => "forward",
        Direction::Back => "back",
    };
    let step = effect.step.as_deref().unwrap_or("-");
    let what = match &effect.request {
        Request::Claim { .. }
        | Request::Unroute { .. }
        | Request::Notify { .. }
        | Request::Act { .. } => Value::Null,
        request => serde_json::to_value(request).unwrap(),
    };
    let what = nameless(what);
    let kind = effect.request.kind();
    format!("{direction} {step} {} {kind} {what}", effect.workload)
}

/// Every object has a uid and a version of its own on every cluster, people have other accounts, and pods that were there before are told there how to
/// behave.
fn nameless(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let live = fields.get("from").is_some_and(|from| from == "live");
            fields
                .into_iter()
                .filter(|(name, _)| {
                    let named = ["uid", "version", "startedBy"].contains(&name.as_str());
                    !(named || live && name == "digest")
                })
                .map(|(name, field)| (name, nameless(field)))
                .collect()
        }
        Value::Array(all) => all.into_iter().map(nameless).collect(),
        other => other,
    }
}

fn outcome_word(outcome: &Outcome) -> String {
    let outcome = serde_json::to_value(outcome).unwrap();
    outcome["outcome"].as_str().unwrap_or("?").to_owned()
}
