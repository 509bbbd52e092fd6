//! What is seen of a target while a run goes on.

use phasegate_core::failure::Failure;
use phasegate_core::workload::{Observation, PODS_LISTED, Pod, Target};
use serde_json::Value;

use super::{KubeCluster, autoscaler, count, deployment, items, text};

impl KubeCluster {
    pub(super) async fn read_observation(&self, target: &Target) -> Result<Observation, Failure> {
        let found = self.deployment(target).await?;
        let autoscalers = self.autoscalers(target).await?;
        let mut seen = self.see(target, &found, &autoscalers).await?;
        if let Some((there, found)) = self.candidate(target).await? {
            let candidate = self.see(&there, &found, &autoscalers).await?;
            seen.beside = Some(Box::new(candidate));
        }
        Ok(seen)
    }

    /// What is seen of one Deployment.
    async fn see(
        &self,
        target: &Target,
        found: &Value,
        autoscalers: &[Value],
    ) -> Result<Observation, Failure> {
        let settings = deployment::settings(found, target)?;
        let family = self.family(found, target).await?;
        let mut pods: Vec<Pod> = family.pods.iter().map(|pod| pod.read(target)).collect();
        // Where not all can be named, those that are in trouble matter most.
        pods.sort_by_key(|pod| pod.ready && pod.waiting.is_none());
        pods.truncate(PODS_LISTED);
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let generation = count(found, "/metadata/generation");
        let observed_generation = count(found, "/status/observedGeneration");
        let [total, updated, ready, available] = deployment::counts(found);
        Ok(Observation {
            at: self.transport.clock.now(),
            uid: text(found, "/metadata/uid").to_owned(),
            generation,
            observed_generation,
            settings,
            template_digest: deployment::template_digest(found, target),
            total,
            updated,
            ready,
            available,
            // A controller that hasn't seen the present specification gave up on an earlier one.
            deadline_exceeded: observed_generation >= generation && gave_up(found),
            marks: deployment::marks(found),
            pods,
            autoscaler: autoscaler::of(autoscalers, &target.deployment).map(autoscaler::bounds),
            beside: None,
        })
    }
}

fn gave_up(deployment: &Value) -> bool {
    items(deployment, "/status/conditions").any(|condition| {
        text(condition, "/type") == "Progressing"
            && text(condition, "/reason") == "ProgressDeadlineExceeded"
    })
}
