//! What a target is before a run.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{Baseline, Idle, Target};

use super::path::Resource;
use super::{KubeCluster, autoscaler, call, deployment, slot, text};

/// Asks for an object's metadata alone, so that the content of a Secret never leaves the cluster.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.1";

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
        let autoscalers = self.autoscalers(target).await?;
        Ok(Baseline {
            uid: text(&found, "/metadata/uid").to_owned(),
            resource_version: text(&found, "/metadata/resourceVersion").to_owned(),
            revision: deployment::revision(&found),
            version: deployment::version(&found, &settings.image),
            settings,
            ready,
            autoscaler: autoscaler::of(&autoscalers, &target.deployment).map(autoscaler::bounds),
            template_digest: deployment::template_digest(&found, target),
            self_healing: deployment::self_healing(&found),
            labels: deployment::selector_labels(&found),
            idle: self.idle(target).await?,
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

    /// What is kept in the candidate's place. Fails where somebody runs it.
    async fn idle(&self, target: &Target) -> Result<Option<Idle>, Failure> {
        let Some((there, found)) = self.candidate(target).await? else {
            return Ok(None);
        };
        slot::must_be_idle(&found, &there)?;
        let settings = deployment::settings(&found, &there)?;
        Ok(Some(Idle {
            image: settings.image,
            replicas: settings.replicas,
        }))
    }
}
