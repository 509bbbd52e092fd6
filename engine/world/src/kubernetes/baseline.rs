//! What a target is before a run.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::strategy::Autoscaler;
use phasegate_core::workload::{Baseline, Target};
use serde_json::Value;

use super::path::Resource;
use super::{KubeCluster, call, deployment, small, text};

/// Asks for an object's metadata alone, so that the content of a Secret never leaves the cluster.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.1";
/// Most autoscalers of a namespace that are looked through.
const MAX_AUTOSCALERS: usize = 2000;

impl KubeCluster {
    pub(super) async fn read_baseline(&self, target: &Target) -> Result<Baseline, Failure> {
        let found = self.deployment(target).await?;
        let settings = deployment::settings(&found, target)?;
        if let Some(service) = &target.service {
            self.must_exist("Service", "services", target, service)
                .await?;
        }
        for name in &target.config_maps {
            self.must_exist("ConfigMap", "configmaps", target, name)
                .await?;
        }
        for name in &target.secrets {
            self.must_exist("Secret", "secrets", target, name).await?;
        }
        let [_, _, ready, _] = deployment::counts(&found);
        Ok(Baseline {
            uid: text(&found, "/metadata/uid").to_owned(),
            resource_version: text(&found, "/metadata/resourceVersion").to_owned(),
            revision: deployment::revision(&found),
            version: deployment::version(&found, &settings.image),
            settings,
            ready,
            autoscaler: self.autoscaler(target).await?,
            template_digest: deployment::template_digest(&found, target),
            self_healing: deployment::self_healing(&found),
            labels: deployment::selector_labels(&found),
        })
    }

    /// Fails where an object that the target names isn't there. Reads its metadata and nothing else.
    async fn must_exist(
        &self,
        kind: &str,
        plural: &str,
        target: &Target,
        name: &str,
    ) -> Result<(), Failure> {
        let resource = Resource::fixed("", "v1", plural);
        let call = call(Method::GET, "get", &resource, &target.namespace, name)?;
        match self.transport.one(call.accept(METADATA_ONLY)).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.fault.is_not_found() => Err(Failure::new(
                Kind::Permanent,
                codes::WORKLOAD_NOT_FOUND,
                format!(
                    "there is no {kind} `{name}` in namespace `{}`, which the release names",
                    target.namespace
                ),
            )),
            Err(problem) => Err(problem.into()),
        }
    }

    /// The bounds of the autoscaler that acts on the Deployment.
    async fn autoscaler(&self, target: &Target) -> Result<Option<Autoscaler>, Failure> {
        let resource = Resource::fixed("autoscaling", "v2", "horizontalpodautoscalers");
        let listed = self
            .list(&resource, Some(&target.namespace), &[], MAX_AUTOSCALERS)
            .await;
        let found = match listed {
            Ok(found) => found,
            // A cluster without this API has no autoscaler.
            Err(problem) if problem.fault.is_not_found() => return Ok(None),
            Err(problem) => return Err(problem.into()),
        };
        Ok(found
            .iter()
            .find(|autoscaler| acts_on(autoscaler, target))
            .map(|autoscaler| Autoscaler {
                minimum: bound(autoscaler, "/spec/minReplicas"),
                maximum: bound(autoscaler, "/spec/maxReplicas"),
            }))
    }
}

fn acts_on(autoscaler: &Value, target: &Target) -> bool {
    text(autoscaler, "/spec/scaleTargetRef/kind") == "Deployment"
        && text(autoscaler, "/spec/scaleTargetRef/name") == target.deployment
        && text(autoscaler, "/spec/scaleTargetRef/apiVersion").starts_with("apps/")
}

/// Kubernetes takes 1 where nothing is said.
fn bound(autoscaler: &Value, pointer: &str) -> u32 {
    let said = autoscaler.pointer(pointer).and_then(Value::as_u64);
    said.map_or(1, small)
}
