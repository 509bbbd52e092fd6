//! The requests that came in and weren't answered.

use super::Evidence;
use crate::cluster::Stream;
use crate::scenario::Expect;

/// Counts are sums of fractions: so little more than a whole number of requests is none more.
const SLACK: f64 = 1e-6;

/// What was counted of all traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Requests that came in.
    pub requests: f64,
    /// Those that were not answered.
    pub failed: f64,
    /// Copies that were sent.
    pub mirrored: f64,
}

/// What was counted of all traffic.
#[must_use]
pub fn totals(traffic: &[Stream]) -> Totals {
    let sum = |figure: fn(&Stream) -> f64| traffic.iter().map(figure).sum();
    Totals {
        requests: sum(|stream| stream.requests),
        failed: sum(|stream| stream.failed),
        mirrored: sum(|stream| stream.mirrored),
    }
}

/// Holds the requests that failed against what is expected, and names the worst time.
pub(super) fn judge(expect: &Expect, evidence: &Evidence<'_>) -> Vec<String> {
    let Some(most) = expect.failed_requests_at_most else {
        return Vec::new();
    };
    if evidence.traffic.is_empty() {
        return vec!["no request can fail: the scenario has no traffic".to_owned()];
    }
    let found = totals(evidence.traffic);
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody expects more failures than a float counts"
    )]
    let most = most as f64;
    if found.failed <= most + SLACK {
        return Vec::new();
    }
    let mut fault = format!(
        "{:.0} of {:.0} requests failed, not {most} at most",
        found.failed.ceil(),
        found.requests
    );
    for stream in evidence.traffic {
        if let Some(worst) = stream.worst() {
            fault.push_str(&format!(
                "; at {}, {:.1}% of them failed from {} to {}: {}",
                stream.entry,
                worst.flow.failed * 100.0,
                worst.from,
                worst.to,
                worst.flow.why.as_deref().unwrap_or("for no reason")
            ));
        }
    }
    vec![fault]
}
