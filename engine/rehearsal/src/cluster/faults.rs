//! Injected answers: what the API server or the network does wrong, and when.

use serde::{Deserialize, Serialize};

use super::Cluster;
use super::api::kind_of;
use super::config::glob;
use super::request::Request;

/// How many faults may wait at once.
const FAULTS_LIMIT: usize = 10_000;

/// One thing that goes wrong with requests that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The HTTP method in capitals; any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The kind of object (`Deployment`); any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The path, exact or with `*`; any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many matching requests pass before it strikes.
    #[serde(default)]
    pub skip: u32,
    /// How many matching requests it strikes.
    #[serde(default = "once")]
    pub count: u32,
    /// What happens.
    pub effect: Effect,
}

const fn once() -> u32 {
    1
}

/// What a fault does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// The API server refuses with this HTTP status (409, 429, 500, 503 …); nothing is applied.
    Status(u16),
    /// It is applied, but the connection drops before the answer.
    AnswerLost,
    /// It is applied, but never answered: the connection stays open until the client goes.
    AnswerHeld,
    /// The connection drops before it is applied.
    RequestLost,
}

/// What faults make of a request.
pub(super) enum Verdict {
    None,
    Refuse(u16),
    Lose,
    LoseAnswer,
    HoldAnswer,
}

impl Fault {
    /// A fault that strikes the next request whatever it is.
    #[must_use]
    pub fn next(effect: Effect) -> Self {
        Self {
            method: None,
            kind: None,
            path: None,
            skip: 0,
            count: 1,
            effect,
        }
    }

    fn matches(&self, request: &Request) -> bool {
        self.method
            .as_deref()
            .is_none_or(|method| method == request.method)
            && self
                .path
                .as_deref()
                .is_none_or(|path| glob(path, &request.path))
            && self
                .kind
                .as_deref()
                .is_none_or(|kind| kind_of(request).is_some_and(|k| k.info().name == kind))
    }
}

impl Cluster {
    /// Adds a fault behind those that wait already. Of several that match, the first strikes.
    /// Returns whether there was room for it.
    pub fn add_fault(&mut self, fault: Fault) -> bool {
        let room = self.faults.len() < FAULTS_LIMIT && fault.count > 0;
        if room {
            self.faults.push(fault);
        }
        room
    }

    /// Takes back the faults that have not struck yet.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The faults that have not struck yet.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn next_fault(&mut self, request: &Request) -> Verdict {
        let mut struck = None;
        for fault in &mut self.faults {
            if !fault.matches(request) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if struck.is_none() {
                fault.count = fault.count.saturating_sub(1);
                struck = Some(fault.effect);
            }
        }
        if struck.is_some() {
            self.faults.retain(|fault| fault.count > 0);
        }
        match struck {
            None => Verdict::None,
            Some(Effect::Status(code)) => Verdict::Refuse(code),
            Some(Effect::AnswerLost) => Verdict::LoseAnswer,
            Some(Effect::AnswerHeld) => Verdict::HoldAnswer,
            Some(Effect::RequestLost) => Verdict::Lose,
        }
    }
}
