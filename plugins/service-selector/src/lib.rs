//! Router `service-selector`: a Service selects either stable's pods or the candidate's.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_plugin::{
    Ask, Call, Error, Reading, Result, Router, RouterFeatures, RouterTarget, SideNames, Split,
    kubernetes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// All traffic, in the unit of a split.
const WHOLE: u32 = 10_000;
/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

type Labels = BTreeMap<String, String>;

/// Nothing needs to be said: what each side's pods are labelled is the engine's to know.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSelector {}

/// How the Service was before.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    selector: Labels,
}

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    selector: Labels,
}

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct EndpointSlice {
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    conditions: Conditions,
    target_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
}

impl Router for ServiceSelector {
    const NAME: &'static str = "service-selector";
    const SUMMARY: &'static str = "a Service selects one version's pods or the other's";

    fn supports(&self, _: &Call) -> Result<RouterFeatures> {
        Ok(RouterFeatures {
            weights: false,
            header_match: false,
            mirror: false,
            extra: "{}".to_owned(),
        })
    }

    fn snapshot(&self, call: &Call, target: &RouterTarget) -> Result<Value> {
        let selector = service(call, target)?.spec.selector;
        Ok(json!(Snapshot { selector }))
    }

    fn set(&self, call: &Call, target: &RouterTarget, split: &Split) -> Result<()> {
        let (stable, candidate) = sides(call)?;
        if !split.headers.is_empty() || split.mirror_weight > 0 {
            return Err(Error::permanent(
                "a Service can neither match headers nor mirror; use a router for a gateway or a mesh",
            ));
        }
        let wanted = match split.candidate_weight {
            0 => stable.labels,
            WHOLE => candidate.labels,
            other => {
                return Err(Error::permanent(format!(
                    "a Service gives all traffic to one version, and can't give {other} of {WHOLE} to the candidate"
                )));
            }
        };
        select(call, target, &wanted)
    }

    fn read(&self, call: &Call, target: &RouterTarget) -> Result<Reading> {
        let (stable, candidate) = sides(call)?;
        let selector = service(call, target)?.spec.selector;
        let weight = if selector == candidate.labels {
            WHOLE
        } else if selector == stable.labels {
            0
        } else {
            return Err(Error::retryable(format!(
                "Service {} selects {selector:?}, which is neither version",
                target.stable_service
            )));
        };
        let settled = follows(call, target, &selector)?;
        let split = Split {
            candidate_weight: weight,
            headers: Vec::new(),
            mirror_weight: 0,
        };
        Ok(Reading {
            accepted: settled.then(|| split.clone()),
            desired: split,
            settled,
        })
    }

    fn restore(&self, call: &Call, target: &RouterTarget, snapshot: &Value) -> Result<()> {
        let snapshot: Snapshot = serde_json::from_value(snapshot.clone())
            .map_err(|error| Error::permanent(format!("the snapshot can't be read: {error}")))?;
        select(call, target, &snapshot.selector)
    }
}

fn service(call: &Call, target: &RouterTarget) -> Result<Service> {
    Ok(kubernetes::get(
        "v1",
        "Service",
        &call.namespace,
        &target.stable_service,
    )?)
}

fn sides(call: &Call) -> Result<(SideNames, SideNames)> {
    let names = call.workload()?;
    match (names.stable, names.candidate) {
        (Some(stable), Some(candidate))
            if !stable.labels.is_empty() && !candidate.labels.is_empty() =>
        {
            Ok((stable, candidate))
        }
        _ => Err(Error::permanent(
            "the workload has no candidate beside it that a Service could select",
        )),
    }
}

/// Makes the Service select exactly these labels.
fn select(call: &Call, target: &RouterTarget, wanted: &Labels) -> Result<()> {
    let there = service(call, target)?.spec.selector;
    if there == *wanted {
        return Ok(());
    }
    let mut selector: Map<String, Value> = there
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .map(|name| (name.clone(), Value::Null))
        .collect();
    selector.extend(
        wanted
            .iter()
            .map(|(name, value)| (name.clone(), json!(value))),
    );
    let _: Value = kubernetes::patch(
        "v1",
        "Service",
        &call.namespace,
        &target.stable_service,
        &json!({"spec": {"selector": selector}}),
    )?;
    Ok(())
}

/// Whether the Service's endpoints are ready pods of that selection and no others. What the data plane of
/// each node makes of them is not to be seen from here: that is what the settle time is for.
fn follows(call: &Call, target: &RouterTarget, selector: &Labels) -> Result<bool> {
    let terms = selector
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let terms = terms.collect::<Vec<_>>().join(",");
    let pods: Vec<Named> = kubernetes::find("v1", "Pod", &call.namespace, &terms)?;
    let pods: BTreeSet<String> = pods.into_iter().map(|pod| pod.metadata.name).collect();
    let of_service = format!("{SERVICE_NAME}={}", target.stable_service);
    let slices: Vec<EndpointSlice> = kubernetes::find(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        &call.namespace,
        &of_service,
    )?;
    let serving = slices
        .iter()
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.conditions.ready.unwrap_or(true))
        .map(|endpoint| endpoint.target_ref.as_ref().map(|pod| pod.name.as_str()))
        .collect::<Vec<_>>();
    let ours = |pod: &Option<&str>| pod.is_some_and(|pod| pods.contains(pod));
    Ok(!serving.is_empty() && serving.iter().all(ours))
}

phasegate_plugin::export! {
    name: "service-selector",
    summary: "Switches a Service from one version's pods to the other's",
    routers: [ServiceSelector],
    asks: [
        Ask::Kubernetes { group: "", kind: "Service", verbs: &["get", "patch"] },
        Ask::Kubernetes { group: "", kind: "Pod", verbs: &["find"] },
        Ask::Kubernetes { group: "discovery.k8s.io", kind: "EndpointSlice", verbs: &["find"] },
    ],
}

#[cfg(test)]
mod tests;
