//! What is asked and done, in words.

use crate::effect::{Change, Request};
use crate::plan::Action;
use crate::strategy::Amount;

/// A step in a few words.
pub(super) fn in_words(action: &Action) -> String {
    match action {
        Action::Deploy {
            replicas, timeout, ..
        } => format!("deploy in place, {}, within {timeout}", amount(*replicas)),
        Action::Scale { replicas, timeout } => {
            format!("scale to {}, within {timeout}", amount(*replicas))
        }
        Action::Check { gates } => format!("check {}", gates.join(", ")),
        Action::Soak {
            duration, gates, ..
        } if gates.is_empty() => format!("soak for {duration}"),
        Action::Soak {
            duration, gates, ..
        } => format!("soak for {duration} under {}", gates.join(", ")),
        Action::Approve { prompt, .. } => format!("approval: {prompt}"),
        Action::Attest { name, prompt } => format!("attestation {name}: {prompt}"),
        Action::Notify {
            notifier, title, ..
        } => format!("notify {notifier}: {title}"),
    }
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(count) => format!("{count} replicas"),
        Amount::Percent(percent) => format!("{percent}% of the replicas"),
    }
}

/// The request in a few words.
pub(super) fn describe(request: &Request) -> String {
    match request {
        Request::Claim { .. } => "claim the target".to_owned(),
        Request::Release => "release the target".to_owned(),
        Request::Observe => "look at the workload".to_owned(),
        Request::Evaluate { gate, .. } => format!("ask gate {gate}"),
        Request::Revise { .. } => "ask the strategy".to_owned(),
        Request::Diagnose => "collect diagnostics".to_owned(),
        Request::Notify { notifier, notice } => format!("notify {notifier}: {}", notice.event),
        Request::Change { change } => format!("write {}", fields(change)),
    }
}

/// A write that took place, in a few words.
pub(super) fn written(change: &Change) -> String {
    format!("has written {}", fields(change))
}

fn fields(change: &Change) -> String {
    let mut parts = Vec::new();
    if let Some(image) = &change.fields.image {
        parts.push(format!("image {image}"));
    }
    if let Some(replicas) = change.fields.replicas {
        parts.push(format!("replicas {replicas}"));
    }
    if parts.is_empty() {
        parts.push("rollout settings".to_owned());
    }
    if !change.marked {
        parts.push("marks off".to_owned());
    }
    parts.join(", ")
}
