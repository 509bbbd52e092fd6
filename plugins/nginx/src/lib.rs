//! Router `nginx`: a canary Ingress beside the workload's own takes a part of the traffic, by weight or by a header.

mod canary;

use phasegate_plugin::{
    Ask, Call, Error, Reading, Result, Router, RouterFeatures, RouterTarget, Split, kubernetes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use canary::{Ingress, Notes};

const API_VERSION: &str = "networking.k8s.io/v1";
const KIND: &str = "Ingress";

/// Which Ingress the traffic comes in at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nginx {
    /// The Ingress; without it the one with the Service's name.
    #[serde(default)]
    ingress: Option<String>,
    /// The canary Ingress; without it the Ingress's name with `-candidate`.
    #[serde(default)]
    canary: Option<String>,
}

/// How the canary Ingress was before.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    /// Its annotations about the canary; none where there was no such Ingress.
    canary: Option<Notes>,
}

impl Router for Nginx {
    const NAME: &'static str = "nginx";
    const SUMMARY: &'static str = "a canary Ingress takes traffic by weight and by a header";

    fn supports(&self, _: &Call) -> Result<RouterFeatures> {
        Ok(RouterFeatures {
            weights: true,
            header_match: true,
            mirror: false,
            extra: "{}".to_owned(),
        })
    }

    fn snapshot(&self, call: &Call, target: &RouterTarget) -> Result<Value> {
        self.own(call, target)?;
        let canary = self.canary(call, target)?;
        Ok(json!(Snapshot {
            // One that this router made for an earlier run goes with this run's candidate.
            canary: canary.filter(|c| !c.is_ours()).map(|c| c.notes()),
        }))
    }

    fn set(&self, call: &Call, target: &RouterTarget, split: &Split) -> Result<()> {
        let own = self.own(call, target)?;
        let canary = self.canary(call, target)?;
        let notes = Notes::of(split)?;
        match canary {
            Some(canary) if !canary.is_ours() => self.annotate(call, target, &canary, &notes),
            Some(_) if spares_candidate(split) => self.remove(call, target),
            None if spares_candidate(split) => Ok(()),
            found => {
                let side = candidate(call, target)?;
                let wanted = own.beside(&self.canary_name(target), target, &side, &notes);
                let same = |found: &Ingress| found.is_like(&wanted);
                if found.as_ref().is_some_and(same) {
                    return Ok(());
                }
                let version = found.as_ref().and_then(Ingress::version);
                let _: Value = kubernetes::apply(&kubernetes::over(wanted, version))?;
                Ok(())
            }
        }
    }

    fn read(&self, call: &Call, target: &RouterTarget) -> Result<Reading> {
        let canary = self.canary(call, target)?;
        let desired = match canary {
            Some(canary) => canary.notes().split()?,
            None => Notes::default().split()?,
        };
        Ok(Reading {
            desired,
            // The controller says nowhere what it has taken.
            accepted: None,
            settled: true,
        })
    }

    fn restore(&self, call: &Call, target: &RouterTarget, snapshot: &Value) -> Result<()> {
        let snapshot: Snapshot = serde_json::from_value(snapshot.clone())
            .map_err(|error| Error::permanent(format!("the snapshot can't be read: {error}")))?;
        match (self.canary(call, target)?, snapshot.canary) {
            (None, None) => Ok(()),
            (Some(canary), Some(notes)) => self.annotate(call, target, &canary, &notes),
            (Some(canary), None) if canary.is_ours() => self.remove(call, target),
            (Some(_), None) => Err(Error::permanent(format!(
                "somebody else has made Ingress {} since the run began",
                self.canary_name(target)
            ))),
            (None, Some(_)) => Err(Error::permanent(format!(
                "somebody else has removed Ingress {}, which was there when the run began",
                self.canary_name(target)
            ))),
        }
    }
}

/// The candidate's Service, which the canary Ingress belongs to: one that arrives when the candidate is gone
/// already must not take traffic, and goes by itself.
fn candidate(call: &Call, target: &RouterTarget) -> Result<Value> {
    let name = &target.candidate_service;
    if name.is_empty() {
        return Err(Error::permanent(
            "the candidate has no Service that an Ingress could lead to",
        ));
    }
    let service: Value = kubernetes::get("v1", "Service", &call.namespace, name)?;
    let uid = service.pointer("/metadata/uid");
    Ok(json!({"apiVersion": "v1", "kind": "Service", "name": name, "uid": uid}))
}

/// Whether the candidate gets nothing at all.
fn spares_candidate(split: &Split) -> bool {
    split.candidate_weight == 0 && split.headers.is_empty()
}

impl Nginx {
    fn name<'a>(&'a self, target: &'a RouterTarget) -> &'a str {
        self.ingress.as_deref().unwrap_or(&target.stable_service)
    }

    fn canary_name(&self, target: &RouterTarget) -> String {
        let usual = || format!("{}-candidate", self.name(target));
        self.canary.clone().unwrap_or_else(usual)
    }

    /// The workload's own Ingress, which is never written.
    fn own(&self, call: &Call, target: &RouterTarget) -> Result<Ingress> {
        let name = self.name(target);
        let own: Value = kubernetes::get(API_VERSION, KIND, &call.namespace, name)?;
        let own = Ingress::new(own);
        if own.is_canary() {
            return Err(Error::permanent(format!(
                "Ingress {name} is itself a canary of another one"
            )));
        }
        if !own.leads_to(&target.stable_service) {
            return Err(Error::permanent(format!(
                "no path of Ingress {name} leads to Service {}",
                target.stable_service
            )));
        }
        Ok(own)
    }

    /// The canary Ingress, if there is one.
    fn canary(&self, call: &Call, target: &RouterTarget) -> Result<Option<Ingress>> {
        let name = self.canary_name(target);
        let found = match kubernetes::get(API_VERSION, KIND, &call.namespace, &name) {
            Ok(found) => Ingress::new(found),
            Err(kubernetes::Error::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if found.is_canary() && found.leads_to(&target.candidate_service) {
            return Ok(Some(found));
        }
        Err(Error::permanent(format!(
            "Ingress {name} is there already and is no canary that leads to Service {}; remove it, or name another one with `canary`",
            target.candidate_service
        )))
    }

    /// Changes the share of a canary Ingress, and nothing else about it.
    fn annotate(
        &self,
        call: &Call,
        target: &RouterTarget,
        canary: &Ingress,
        notes: &Notes,
    ) -> Result<()> {
        let changes: Map<String, Value> = canary.notes().changes_to(notes);
        if changes.is_empty() {
            return Ok(());
        }
        let change = json!({"metadata": {"annotations": changes}});
        let change = kubernetes::over(change, canary.version());
        let name = self.canary_name(target);
        let _: Value = kubernetes::patch(API_VERSION, KIND, &call.namespace, &name, &change)?;
        Ok(())
    }

    fn remove(&self, call: &Call, target: &RouterTarget) -> Result<()> {
        let name = self.canary_name(target);
        match kubernetes::remove(API_VERSION, KIND, &call.namespace, &name) {
            // Gone is what it is to be.
            Ok(()) | Err(kubernetes::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

phasegate_plugin::export! {
    name: "nginx",
    summary: "Shares traffic between two Services through a canary Ingress of ingress-nginx",
    routers: [Nginx],
    asks: [
        Ask::Kubernetes {
            group: "networking.k8s.io",
            kind: "Ingress",
            verbs: &["get", "apply", "patch", "remove"],
        },
        Ask::Kubernetes { group: "", kind: "Service", verbs: &["get"] },
    ],
}

#[cfg(test)]
mod tests;
