//! What a step does, for people.

use std::fmt::Write as _;

use phasegate_core::plan::Action;
use phasegate_core::run::in_words;
use phasegate_core::spec::objects;
use phasegate_core::strategy::{Amount, Placement, Slot};
use phasegate_core::time::Span;

use super::plan::requirement;

/// What a step does, in words.
pub(super) fn action(action: &Action) -> String {
    let amount = |amount: &Amount| match amount {
        Amount::Count(count) => format!("{count} replicas"),
        Amount::Percent(percent) => format!("{percent}% of the replicas"),
    };
    match action {
        Action::Deploy {
            placement,
            replicas,
            surge,
            unavailable,
            timeout,
        } => {
            let place = match placement {
                Placement::InPlace => "in place",
                Placement::Beside => "beside stable",
            };
            let mut text = format!("deploy {place}, {}", amount(replicas));
            if let Some(surge) = surge {
                let _ = write!(text, ", surge {surge}");
            }
            if let Some(unavailable) = unavailable {
                let _ = write!(text, ", unavailable {unavailable}");
            }
            let _ = write!(text, ", ready within {timeout}");
            text
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
            format!(
                "scale {whose}to {}, ready within {timeout}",
                amount(replicas)
            )
        }
        Action::Route { split, settle, .. } => {
            let split = if split.spares_candidate() {
                "all to stable".to_owned()
            } else {
                split.to_string()
            };
            format!("traffic: {split}; then {settle} for the data plane")
        }
        Action::Retire {
            slot: Slot::Stable,
            after,
            remove: true,
            ..
        } => format!("scale stable to nothing; its removal is due after {after}"),
        Action::Retire {
            slot: Slot::Stable, ..
        } => "scale stable to nothing".to_owned(),
        Action::Promote | Action::Retire { .. } | Action::Check { .. } => in_words(action),
        Action::Soak {
            duration,
            interval,
            gates,
        } => {
            // Without an interval of its own each gate is asked at its policy's.
            let every = match *interval {
                Span::ZERO => String::new(),
                interval => format!(" every {interval}"),
            };
            match gates.as_slice() {
                [] => format!("soak for {duration}, looking{every}"),
                gates => format!("soak for {duration}, asking {}{every}", gates.join(", ")),
            }
        }
        Action::Approve {
            prompt,
            requirement: asked,
        } => format!("wait for {}: {prompt}", requirement(asked)),
        Action::Attest { name, prompt } => format!("wait for attestation {name}: {prompt}"),
        Action::Act {
            name,
            offer,
            manifests,
            timeout,
        } => {
            let named = name.as_ref().map(|name| format!("{name}: "));
            let named = named.unwrap_or_default();
            let plugin = &offer.plugin;
            let what = match manifests {
                true => format!(" within {timeout}, on {}", objects::named(&offer.config)),
                false => format!(": {} {}, within {timeout}", offer.offer, offer.config),
            };
            format!("{named}have `{plugin}` act{what}; undone on the way back, if it can be")
        }
        Action::Notify {
            notifier, title, ..
        } => format!("tell {notifier}: {title}"),
    }
}
