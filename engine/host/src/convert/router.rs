//! How traffic is shared.

use phasegate_core::effect::Reading;
use phasegate_core::strategy::{RouterFeatures, Split, WHOLE};
use phasegate_runtime::ports::Call;

use super::{pairs_in, pairs_out};
use crate::bindings::exports::phasegate::router::router as wit;
use crate::bindings::phasegate::types::common;

/// Most headers that a split may match.
const MAX_HEADERS: usize = 16;

pub(crate) fn features(features: &wit::Features) -> RouterFeatures {
    RouterFeatures {
        weights: features.weights,
        header_match: features.header_match,
        mirror: features.mirror,
    }
}

pub(crate) fn target(call: &Call) -> wit::Target {
    let beside = call.target.beside.as_ref();
    wit::Target {
        stable_service: call.target.service.clone().unwrap_or_default(),
        candidate_service: beside
            .and_then(|beside| beside.service.clone())
            .unwrap_or_default(),
        port: None,
    }
}

pub(crate) fn split_out(split: &Split) -> common::Split {
    common::Split {
        candidate_weight: split.candidate_weight,
        headers: pairs_out(&split.headers),
        mirror_weight: split.mirror_weight,
    }
}

/// What a router reads, or what is wrong with it.
pub(crate) fn reading(reading: wit::Reading) -> Result<Reading, String> {
    Ok(Reading {
        desired: split(reading.desired)?,
        accepted: reading.accepted.map(split).transpose()?,
        settled: reading.settled,
    })
}

fn split(split: common::Split) -> Result<Split, String> {
    let most = split.candidate_weight.max(split.mirror_weight);
    if most > WHOLE {
        return Err(format!("it reads a weight of {most}, more than {WHOLE}"));
    }
    if split.headers.len() > MAX_HEADERS {
        return Err(format!("it reads more than {MAX_HEADERS} headers"));
    }
    Ok(Split {
        candidate_weight: split.candidate_weight,
        headers: pairs_in(split.headers),
        mirror_weight: split.mirror_weight,
    })
}
