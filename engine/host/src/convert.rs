//! Between the core's types and those generated from the contracts. Generated types never leave this
//! crate: their names are Rust's, not the contract's.

use std::collections::BTreeMap;

pub(crate) mod gate;
pub(crate) mod meta;
pub(crate) mod notifier;
pub(crate) mod router;
pub(crate) mod strategy;

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind, Problem};
use phasegate_core::strategy::Slot;
use phasegate_core::time::Span;
use phasegate_core::verdict::{Link, Pair};
use phasegate_runtime::ports::Call;
use serde_json::{Value, json};

use crate::bindings::phasegate::types::common;
use crate::fault::{self, cut};

/// Most faults of a config that are kept.
pub(crate) const MAX_PROBLEMS: usize = 50;
/// Most links that are kept of an answer.
const MAX_LINKS: usize = 20;

/// Milliseconds as the contract counts them: 49 days at most.
pub(crate) fn duration_ms(span: Span) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn span(ms: u32) -> Span {
    Span::from_millis(ms.into())
}

/// Where in the release the call is made. `config` is the offer's, as JSON text.
pub(crate) fn call(call: &Call, offer: &str, config: String) -> common::Call {
    common::Call {
        release: common::Release {
            run: call.run.clone(),
            name: call.name.clone(),
            version: call.version.clone(),
            previous_version: call.previous_version.clone(),
            environment: call.environment.clone(),
            change: call.change.clone(),
            started_by: call.started_by.clone(),
            extra: "{}".into(),
        },
        offer: offer.to_owned(),
        config,
        key: call.key.clone(),
        namespace: call.target.namespace.clone(),
        service: call.target.service.clone().unwrap_or_default(),
        deadline: call.deadline.as_millis(),
        extra: workload(call).to_string(),
    }
}

fn workload(call: &Call) -> Value {
    let target = &call.target;
    let deployment = match &target.beside {
        Some(beside) if call.slot == Slot::Candidate => &beside.deployment,
        _ => &target.deployment,
    };
    let mut workload = json!({
        "deployment": deployment,
        "container": target.container,
        "image": call.image,
    });
    if let (Some(service), Some(workload)) = (&target.service, workload.as_object_mut()) {
        workload.insert("service".into(), service.as_str().into());
    }
    let side = |deployment: &str, service: Option<&String>, labels: &BTreeMap<String, String>| json!({"deployment": deployment, "service": service, "labels": labels});
    if let (Some(beside), Some(workload)) = (&target.beside, workload.as_object_mut()) {
        let stable = side(
            &target.deployment,
            target.service.as_ref(),
            &beside.stable_selector,
        );
        let candidate = side(
            &beside.deployment,
            beside.service.as_ref(),
            &beside.candidate_selector,
        );
        workload.insert("stable".into(), stable);
        workload.insert("candidate".into(), candidate);
    }
    json!({ "workload": workload })
}

/// A plugin's own failure. Where something was denied to it in the same call, that is the failure:
/// it names what the operator can change.
pub(crate) fn failure(plugin: &str, failure: common::Failure, denial: Option<&str>) -> Failure {
    let of =
        |kind, code, text: &str| Failure::new(kind, code, format!("plugin `{plugin}`: {text}"));
    match (failure, denial) {
        (common::Failure::Pending(ms), _) => {
            let text = "not finished yet";
            of(Kind::Pending, codes::PLUGIN_RETRIES_EXHAUSTED, text).again_after(Some(span(ms)))
        }
        (common::Failure::Retryable(retry), None) => {
            let text = cut(retry.message);
            of(Kind::Retryable, codes::PLUGIN_RETRIES_EXHAUSTED, &text)
                .again_after(retry.after_ms.map(span))
        }
        (common::Failure::Retryable(common::Retry { message, .. }), Some(denial))
        | (common::Failure::Permanent(message), Some(denial)) => {
            fault::denied(plugin, &format!("{denial}; it said: {}", cut(message)))
        }
        (common::Failure::Permanent(message), None) => fault::permanent(plugin, &message),
        (common::Failure::Misconfigured(problems), _) => {
            let mut failure = of(
                Kind::Misconfigured,
                codes::PLUGIN_MISCONFIGURED,
                "its config is at fault",
            );
            failure.problems = self::problems(problems);
            failure
        }
    }
}

pub(crate) fn problems(problems: Vec<common::Problem>) -> Vec<Problem> {
    problems
        .into_iter()
        .take(MAX_PROBLEMS)
        .map(|problem| Problem {
            pointer: cut(problem.pointer),
            message: cut(problem.message),
        })
        .collect()
}

pub(crate) fn pairs_out(pairs: &[Pair]) -> Vec<common::Pair> {
    pairs
        .iter()
        .map(|Pair { name, value }| common::Pair {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

pub(crate) fn pairs_in(pairs: Vec<common::Pair>) -> Vec<Pair> {
    pairs
        .into_iter()
        .map(|common::Pair { name, value }| Pair { name, value })
        .collect()
}

pub(crate) fn links_out(links: &[Link]) -> Vec<common::Link> {
    links
        .iter()
        .map(|Link { title, url }| common::Link {
            title: title.clone(),
            url: url.clone(),
        })
        .collect()
}

pub(crate) fn links_in(links: Vec<common::Link>) -> Vec<Link> {
    links
        .into_iter()
        .take(MAX_LINKS)
        .map(|common::Link { title, url }| Link {
            title: cut(title),
            url: cut(url),
        })
        .collect()
}
