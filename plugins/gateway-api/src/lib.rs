//! Router `gateway-api`: an HTTPRoute shares traffic between two Services by weight, by headers, and as copies.

mod rules;

use phasegate_plugin::{
    Ask, Call, Error, Reading, Result, Router, RouterFeatures, RouterTarget, Split, kubernetes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use rules::Sides;

const API_VERSION: &str = "gateway.networking.k8s.io/v1";
const KIND: &str = "HTTPRoute";

/// Which route shares the traffic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayApi {
    /// The HTTPRoute; without it the one with the Service's name.
    #[serde(default)]
    route: Option<String>,
}

/// How the route was before.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    rules: Vec<Value>,
}

#[derive(Deserialize)]
struct Route {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: RouteStatus,
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
    rules: Vec<Value>,
}

#[derive(Default, Deserialize)]
struct RouteStatus {
    #[serde(default)]
    parents: Vec<Parent>,
}

#[derive(Deserialize)]
struct Parent {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    observed_generation: u64,
}

impl Router for GatewayApi {
    const NAME: &'static str = "gateway-api";
    const SUMMARY: &'static str =
        "an HTTPRoute shares traffic by weight, by headers, and as copies";

    fn supports(&self, _: &Call) -> Result<RouterFeatures> {
        Ok(RouterFeatures {
            weights: true,
            header_match: true,
            mirror: true,
            extra: "{}".to_owned(),
        })
    }

    fn snapshot(&self, call: &Call, target: &RouterTarget) -> Result<Value> {
        let route = self.route(call, target)?;
        // One that no gateway has taken, and one that doesn't lead to the workload, can't share its traffic; better
        // said before anything changes.
        if route.status.parents.is_empty() {
            return Err(Error::retryable(format!(
                "no gateway has taken HTTPRoute {}: its status names none; is its controller there, and are its parentRefs right?",
                self.name(target)
            )));
        }
        let rules = route.spec.rules;
        rules::read(&rules, &sides(target))?;
        Ok(json!(Snapshot { rules }))
    }

    fn set(&self, call: &Call, target: &RouterTarget, split: &Split) -> Result<()> {
        let route = self.route(call, target)?;
        let rules = rules::share(&route.spec.rules, &sides(target), split)?;
        self.write(call, target, &route, &rules)
    }

    fn read(&self, call: &Call, target: &RouterTarget) -> Result<Reading> {
        let route = self.route(call, target)?;
        let desired = rules::read(&route.spec.rules, &sides(target))?;
        let settled = route.followed();
        Ok(Reading {
            accepted: settled.then(|| desired.clone()),
            desired,
            settled,
        })
    }

    fn restore(&self, call: &Call, target: &RouterTarget, snapshot: &Value) -> Result<()> {
        let snapshot: Snapshot = serde_json::from_value(snapshot.clone())
            .map_err(|error| Error::permanent(format!("the snapshot can't be read: {error}")))?;
        let route = self.route(call, target)?;
        self.write(call, target, &route, &snapshot.rules)
    }
}

impl GatewayApi {
    fn name<'a>(&'a self, target: &'a RouterTarget) -> &'a str {
        self.route.as_deref().unwrap_or(&target.stable_service)
    }

    fn route(&self, call: &Call, target: &RouterTarget) -> Result<Route> {
        let name = self.name(target);
        Ok(kubernetes::get(API_VERSION, KIND, &call.namespace, name)?)
    }

    /// Writes the rules over the version that was read, so that nobody's change in between is lost.
    fn write(
        &self,
        call: &Call,
        target: &RouterTarget,
        route: &Route,
        rules: &[Value],
    ) -> Result<()> {
        if route.spec.rules == rules {
            return Ok(());
        }
        let version = route.metadata.resource_version.as_deref();
        let change = kubernetes::over(json!({"spec": {"rules": rules}}), version);
        let name = self.name(target);
        let _: Value = kubernetes::patch(API_VERSION, KIND, &call.namespace, name, &change)?;
        Ok(())
    }
}

impl Route {
    /// Whether every gateway that the route hangs on says that it took the present generation.
    fn followed(&self) -> bool {
        let took = |parent: &Parent, what: &str| {
            parent.conditions.iter().any(|condition| {
                condition.r#type == what
                    && condition.status == "True"
                    && condition.observed_generation >= self.metadata.generation
            })
        };
        let parents = &self.status.parents;
        let all = |what: &str| parents.iter().all(|parent| took(parent, what));
        !parents.is_empty() && all("Accepted") && all("ResolvedRefs")
    }
}

fn sides(target: &RouterTarget) -> Sides<'_> {
    Sides {
        stable: &target.stable_service,
        candidate: &target.candidate_service,
    }
}

phasegate_plugin::export! {
    name: "gateway-api",
    summary: "Shares traffic between two Services through an HTTPRoute",
    routers: [GatewayApi],
    asks: [
        Ask::Kubernetes {
            group: "gateway.networking.k8s.io",
            kind: "HTTPRoute",
            verbs: &["get", "patch"],
        },
    ],
}

#[cfg(test)]
mod tests;
