//! What is asked and done, in words.

use crate::effect::{Change, Deed, Piece, Request};
use crate::plan::Action;
use crate::strategy::{Amount, Placement, Slot};

/// A step in a few words.
#[must_use]
pub fn in_words(action: &Action) -> String {
    match action {
        Action::Deploy {
            placement,
            replicas,
            timeout,
            ..
        } => {
            let place = match placement {
                Placement::InPlace => "in place",
                Placement::Beside => "beside stable",
            };
            format!("deploy {place}, {}, within {timeout}", amount(*replicas))
        }
        Action::Scale {
            slot,
            replicas,
            timeout,
        } => {
            let whose = match slot {
                Slot::Stable => "",
                Slot::Candidate => "the candidate ",
            };
            format!("scale {whose}to {}, within {timeout}", amount(*replicas))
        }
        Action::Route { split, .. } if split.spares_candidate() => {
            "all traffic to stable".to_owned()
        }
        Action::Route { split, .. } => format!("traffic: {split}"),
        Action::Promote => "the candidate becomes stable".to_owned(),
        Action::Retire {
            slot: Slot::Candidate,
            ..
        } => "take the candidate away".to_owned(),
        Action::Retire {
            after,
            remove: true,
            ..
        } => format!("take stable out of service, keep it for {after}"),
        Action::Retire { .. } => "take stable out of service".to_owned(),
        Action::Check { gates } => format!("check {}", gates.join(", ")),
        Action::Soak {
            duration, gates, ..
        } if gates.is_empty() => format!("soak for {duration}"),
        Action::Soak {
            duration, gates, ..
        } => format!("soak for {duration} under {}", gates.join(", ")),
        Action::Approve { prompt, .. } => format!("approval: {prompt}"),
        Action::Attest { name, prompt } => format!("attestation {name}: {prompt}"),
        Action::Act {
            name: Some(name),
            offer,
            timeout,
            ..
        } => format!("act {name} ({}), within {timeout}", offer.offer),
        Action::Act { offer, timeout, .. } => format!("act {}, within {timeout}", offer.offer),
        Action::Notify {
            notifier, title, ..
        } => format!("notify {notifier}: {title}"),
    }
}

fn pods(count: u32) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(1) => "1 replica".to_owned(),
        Amount::Count(count) => format!("{count} replicas"),
        Amount::Percent(percent) => format!("{percent}% of the replicas"),
    }
}

/// The request in a few words.
pub(super) fn describe(request: &Request) -> String {
    match request {
        Request::Claim { .. } => "claim the target".to_owned(),
        Request::Release { to: None } => "release the target".to_owned(),
        Request::Release { to: Some(to) } => format!("hand the target over to {}", to.run),
        Request::Observe { .. } => "look at the workload".to_owned(),
        Request::Evaluate { gate, .. } => format!("ask gate {gate}"),
        Request::Revise { .. } => "ask the strategy".to_owned(),
        Request::Act { deed } => match deed {
            Deed::Prepare => "prepare the action".to_owned(),
            Deed::Run { .. } => "run the action".to_owned(),
            Deed::Undo { .. } => "undo the action".to_owned(),
            Deed::Cancel { .. } => "cancel the action".to_owned(),
        },
        Request::Diagnose => "collect diagnostics".to_owned(),
        Request::Notify { notifier, notice } => format!("notify {notifier}: {}", notice.event),
        Request::Change { change } if change.slot.is_stable() => {
            format!("write {}", fields(change))
        }
        Request::Change { change } => format!("write {} to the candidate", fields(change)),
        Request::Create { create } if create.piece == Piece::Deployment => format!(
            "make the candidate's Deployment: {} of {}",
            pods(create.replicas),
            create.image
        ),
        Request::Create { create } if create.copy.is_some() => {
            let copy = create.copy.as_deref();
            copy.map_or_else(String::new, |copy| {
                format!("make {} {}", copy.kind.as_str(), copy.name)
            })
        }
        Request::Create { create } => format!("make the candidate's {}", create.piece.as_str()),
        Request::Remove {
            piece: Piece::Config(place),
            ..
        } => format!(
            "remove the copy of configuration {}",
            place.saturating_add(1)
        ),
        Request::Remove {
            piece: Piece::Left(place),
            ..
        } => format!(
            "remove the old copy of configuration {}",
            place.saturating_add(1)
        ),
        Request::Remove { slot, piece } => format!("remove {}'s {}", whose(*slot), piece.as_str()),
        Request::Bound { slot, minimum } => {
            format!(
                "set the minimum of {}'s autoscaler to {minimum}",
                whose(*slot)
            )
        }
        Request::Snapshot => "keep how traffic is shared".to_owned(),
        Request::Route { split } => format!("share traffic: {split}"),
        Request::Reading => "read how traffic is shared".to_owned(),
        Request::Unroute { .. } => "put traffic back".to_owned(),
    }
}

const fn whose(slot: Slot) -> &'static str {
    match slot {
        Slot::Stable => "stable",
        Slot::Candidate => "the candidate",
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
    for config in &change.fields.configs {
        parts.push(format!("{} {}", config.kind.as_str(), config.name));
    }
    if parts.is_empty() {
        parts.push("rollout settings".to_owned());
    }
    if !change.marked {
        parts.push("marks off".to_owned());
    }
    parts.join(", ")
}
