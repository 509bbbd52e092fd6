//! Calls as the engine would make them, to be changed where a test needs it.

use serde_json::Value;

use crate::gate::{Interval, Question, Side};
use crate::notifier::{Notice, Severity};
use crate::strategy::{Situation, Workload};
use crate::{Call, Pair, Release, RouterTarget, Split};

/// When the fake world's time begins: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

const MINUTE_MS: u64 = 60_000;

/// A call of an offer with a config: release `shop` goes from 1.3.0 to 1.4.0 in `production`,
/// namespace `shop`, Deployment and Service `shop`, container `web`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "`json!` gives values")]
pub fn call(offer: &str, config: Value) -> Call {
    Call {
        release: Release {
            run: "run-1".to_owned(),
            name: "shop".to_owned(),
            version: "1.4.0".to_owned(),
            previous_version: Some("1.3.0".to_owned()),
            environment: "production".to_owned(),
            change: "minor".to_owned(),
            started_by: "ada".to_owned(),
            extra: "{}".to_owned(),
        },
        offer: offer.to_owned(),
        config: config.to_string(),
        key: "run-1/deploy/1".to_owned(),
        namespace: "shop".to_owned(),
        service: "shop".to_owned(),
        deadline: EPOCH_MS + MINUTE_MS,
        extra: serde_json::json!({
            "workload": {
                "deployment": "shop",
                "container": "web",
                "image": "registry.example/shop:1.4.0",
                "service": "shop",
            }
        })
        .to_string(),
    }
}

/// A question to a gate: all traffic on the candidate for the last minute.
#[must_use]
pub fn question(offer: &str, config: Value) -> Question {
    let side = |version: &str| Side {
        version: version.to_owned(),
        service: "shop".to_owned(),
        labels: vec![Pair::new("app", "shop")],
    };
    Question {
        call: call(offer, config),
        window: Interval {
            since: EPOCH_MS - MINUTE_MS,
            until: EPOCH_MS,
        },
        baseline: Interval {
            since: EPOCH_MS - 10 * MINUTE_MS,
            until: EPOCH_MS - 5 * MINUTE_MS,
        },
        candidate_weight: 10_000,
        candidate: side("1.4.0"),
        stable: side("1.3.0"),
        evaluation: 0,
        memory: None,
    }
}

/// A situation for a strategy: four replicas, no autoscaler, no router, gates `health` and
/// `latency`, no actions.
#[must_use]
pub fn situation(offer: &str, config: Value) -> Situation {
    Situation {
        call: call(offer, config),
        workload: Workload {
            name: "shop".to_owned(),
            replicas: 4,
            autoscaler: None,
            live: None,
            extra: "{}".to_owned(),
        },
        router: None,
        gates: vec!["health".to_owned(), "latency".to_owned()],
        actions: Vec::new(),
    }
}

/// A notice of an event.
#[must_use]
pub fn notice(event: &str, severity: Severity, title: &str) -> Notice {
    Notice {
        event: event.to_owned(),
        severity,
        title: title.to_owned(),
        text: String::new(),
        fields: Vec::new(),
        links: Vec::new(),
        thread: None,
    }
}

/// What a router shares traffic of: Services `shop` and `shop-candidate`, by whatever port they have.
#[must_use]
pub fn router_target() -> RouterTarget {
    RouterTarget {
        stable_service: "shop".to_owned(),
        candidate_service: "shop-candidate".to_owned(),
        port: None,
    }
}

/// Traffic shared by weight alone; the weight is of 10,000.
#[must_use]
pub fn split(candidate_weight: u32) -> Split {
    Split {
        candidate_weight,
        headers: Vec::new(),
        mirror_weight: 0,
    }
}
