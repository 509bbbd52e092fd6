//! What clients asked, for whoever counts effects from outside.

use phasegate_core::time::Timestamp;
use serde::Serialize;

use super::request::Request;

/// One request as the cluster saw it.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    /// Counts from 1 and never repeats.
    pub seq: u64,
    /// When it came, in milliseconds since the epoch.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query as name and value, without the field manager.
    pub query: Vec<(String, String)>,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Who would own what it wrote.
    pub field_manager: String,
    /// The HTTP status; none if the connection was dropped.
    pub status: Option<u16>,
    /// Whether a fault decided the answer.
    pub injected: bool,
    /// The cluster's newest version before the request.
    pub version_before: u64,
    /// The cluster's newest version after the request.
    pub version_after: u64,
    /// The version of the object it was about, before.
    pub object_before: Option<String>,
    /// The version of the object it was about, after.
    pub object_after: Option<String>,
    /// Whether it changed anything.
    pub changed: bool,
}

/// How a request ended.
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) injected: bool,
    pub(super) version_before: u64,
    pub(super) version_after: u64,
}

/// The requests, oldest first, bounded.
#[derive(Debug)]
pub(super) struct RequestLog {
    entries: Vec<LoggedRequest>,
    keep: usize,
    seq: u64,
    // What the handler under way noted about its object.
    before: Option<String>,
    after: Option<String>,
    changed: bool,
}

impl RequestLog {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            entries: Vec::new(),
            keep: keep.max(1),
            seq: 0,
            before: None,
            after: None,
            changed: false,
        }
    }

    pub(super) fn entries(&self) -> &[LoggedRequest] {
        let from = self.entries.len().saturating_sub(self.keep);
        self.entries.get(from..).unwrap_or_default()
    }

    pub(super) fn object_before(&mut self, version: &str) {
        self.before = Some(version.to_owned());
    }

    pub(super) fn object_after(&mut self, version: &str, changed: bool) {
        self.after = Some(version.to_owned());
        self.changed = changed;
    }

    pub(super) fn changed(&mut self, changed: bool) {
        self.changed = changed;
    }

    /// Returns the number of the request.
    pub(super) fn record(&mut self, at: Timestamp, request: &Request, outcome: &Outcome) -> u64 {
        self.seq += 1;
        let query = request
            .query
            .iter()
            .filter(|(name, _)| name != "fieldManager")
            .cloned()
            .collect();
        self.entries.push(LoggedRequest {
            seq: self.seq,
            at,
            method: request.method.clone(),
            path: request.path.clone(),
            query,
            user_agent: request.user_agent.clone(),
            field_manager: request.manager().to_owned(),
            status: outcome.status,
            injected: outcome.injected,
            version_before: outcome.version_before,
            version_after: outcome.version_after,
            object_before: self.before.take(),
            object_after: self.after.take(),
            changed: std::mem::take(&mut self.changed),
        });
        // Twice the limit is let stand, so that forgetting costs little on average.
        if self.entries.len() >= self.keep.saturating_mul(2) {
            let surplus = self.entries.len() - self.keep;
            self.entries.drain(..surplus);
        }
        self.seq
    }
}
