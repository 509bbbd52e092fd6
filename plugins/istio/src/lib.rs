//! Router `istio`: a VirtualService shares traffic between two Services by weight, by headers, and as copies.

mod hosts;
mod policies;
mod routes;

use phasegate_plugin::{
    Ask, Call, Error, Reading, Result, Router, RouterFeatures, RouterTarget, Split, kubernetes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use hosts::Sides;

const API_VERSION: &str = "networking.istio.io/v1";
const KIND: &str = "VirtualService";

/// Which VirtualService shares the traffic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Istio {
    /// The VirtualService; without it the one with the Service's name.
    #[serde(default)]
    virtual_service: Option<String>,
}

/// How the VirtualService was before.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    http: Vec<Value>,
}

#[derive(Deserialize)]
struct VirtualService {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default)]
    generation: u64,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    http: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    observed_generation: Value,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Router for Istio {
    const NAME: &'static str = "istio";
    const SUMMARY: &'static str =
        "a VirtualService shares traffic by weight, by headers, and as copies";

    fn supports(&self, _: &Call) -> Result<RouterFeatures> {
        Ok(RouterFeatures {
            weights: true,
            header_match: true,
            mirror: true,
            extra: "{}".to_owned(),
        })
    }

    fn snapshot(&self, call: &Call, target: &RouterTarget) -> Result<Value> {
        let sides = sides(call, target);
        let http = self.found(call, target)?.spec.http;
        // What can't be shared, or not safely, is better said before anything changes.
        routes::read(&http, &sides)?;
        policies::check(call, &http, &sides)?;
        Ok(json!(Snapshot { http }))
    }

    fn set(&self, call: &Call, target: &RouterTarget, split: &Split) -> Result<()> {
        let found = self.found(call, target)?;
        let http = routes::share(&found.spec.http, &sides(call, target), split)?;
        self.write(call, target, &found, &http)
    }

    fn read(&self, call: &Call, target: &RouterTarget) -> Result<Reading> {
        let found = self.found(call, target)?;
        let desired = routes::read(&found.spec.http, &sides(call, target))?;
        let said = found.said();
        Ok(Reading {
            accepted: (said == Some(true)).then(|| desired.clone()),
            desired,
            settled: said.unwrap_or(true),
        })
    }

    fn restore(&self, call: &Call, target: &RouterTarget, snapshot: &Value) -> Result<()> {
        let snapshot: Snapshot = serde_json::from_value(snapshot.clone())
            .map_err(|error| Error::permanent(format!("the snapshot can't be read: {error}")))?;
        let found = self.found(call, target)?;
        self.write(call, target, &found, &snapshot.http)
    }
}

impl Istio {
    fn name<'a>(&'a self, target: &'a RouterTarget) -> &'a str {
        let name = self.virtual_service.as_deref();
        name.unwrap_or(&target.stable_service)
    }

    fn found(&self, call: &Call, target: &RouterTarget) -> Result<VirtualService> {
        let name = self.name(target);
        Ok(kubernetes::get(API_VERSION, KIND, &call.namespace, name)?)
    }

    /// Writes the routes over the version that was read, so that nobody's change in between is lost.
    fn write(
        &self,
        call: &Call,
        target: &RouterTarget,
        found: &VirtualService,
        http: &[Value],
    ) -> Result<()> {
        if found.spec.http == http {
            return Ok(());
        }
        let version = found.metadata.resource_version.as_deref();
        let change = kubernetes::over(json!({"spec": {"http": http}}), version);
        let name = self.name(target);
        let _: Value = kubernetes::patch(API_VERSION, KIND, &call.namespace, name, &change)?;
        Ok(())
    }
}

impl VirtualService {
    /// Whether the control plane says that every proxy has the present generation; none where it says
    /// nothing, as it does unless it is told to write statuses.
    fn said(&self) -> Option<bool> {
        let mut conditions = self.status.conditions.iter();
        let reconciled = conditions.find(|condition| condition.r#type == "Reconciled")?;
        // A 64-bit number of the mesh is a text in JSON, and a number where something else wrote it.
        let observed = match &self.status.observed_generation {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        Some(reconciled.status == "True" && observed >= Some(self.metadata.generation))
    }
}

fn sides<'a>(call: &'a Call, target: &'a RouterTarget) -> Sides<'a> {
    Sides {
        namespace: &call.namespace,
        stable: &target.stable_service,
        candidate: &target.candidate_service,
    }
}

phasegate_plugin::export! {
    name: "istio",
    summary: "Shares traffic between two Services through a VirtualService",
    routers: [Istio],
    asks: [
        Ask::Kubernetes {
            group: "networking.istio.io",
            kind: "VirtualService",
            verbs: &["get", "patch"],
        },
        Ask::Kubernetes {
            group: "networking.istio.io",
            kind: "DestinationRule",
            verbs: &["find"],
        },
    ],
}

#[cfg(test)]
mod tests;
