//! DestinationRules: how the mesh talks to a host. They are looked at and never written: a shift of traffic is
//! one write, which is there or isn't.

use phasegate_plugin::{Call, Error, Result, kubernetes};
use serde::Deserialize;
use serde_json::Value;

use super::API_VERSION;
use super::hosts::Sides;
use super::routes;

#[derive(Deserialize)]
struct DestinationRule {
    metadata: Named,
    spec: Policy,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    #[serde(default)]
    host: String,
    #[serde(default)]
    traffic_policy: Option<Value>,
    #[serde(default)]
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset {
    name: String,
    #[serde(default)]
    traffic_policy: Option<Value>,
}

/// Refuses a candidate that would be talked to in another way than stable: without its TLS, its limits, its
/// outlier detection. What gates measure would not be about the version, and requests could fail for it.
pub(crate) fn check(call: &Call, http: &[Value], sides: &Sides<'_>) -> Result<()> {
    let rules: Vec<DestinationRule> =
        kubernetes::find(API_VERSION, "DestinationRule", &call.namespace, "")?;
    let subsets = routes::subsets(http, sides);
    let Some(of_stable) = rules.iter().find(|rule| {
        sides.covers(&rule.spec.host, sides.stable) && rule.spec.says_something(&subsets)
    }) else {
        return Ok(());
    };
    let mut covering = rules.iter().map(|rule| rule.spec.host.as_str());
    if covering.any(|host| sides.covers(host, sides.candidate)) {
        return Ok(());
    }
    Err(Error::permanent(format!(
        "DestinationRule {} says how the mesh talks to Service {}, and none is about {}: add one with the same trafficPolicy for that host, or let a wildcard cover both",
        of_stable.metadata.name, sides.stable, sides.candidate
    )))
}

impl Policy {
    fn says_something(&self, subsets: &[&str]) -> bool {
        let mut used = self
            .subsets
            .iter()
            .filter(|subset| subsets.contains(&subset.name.as_str()));
        self.traffic_policy.is_some() || used.any(|subset| subset.traffic_policy.is_some())
    }
}
