//! What is seen of a target while a run goes on: read, or as far as watches tell it ([`View`]).

use std::sync::Arc;

use phasegate_core::failure::Failure;
use phasegate_core::time::Timestamp;
use phasegate_core::workload::{Observation, PODS_LISTED, Pod, Target};
use serde_json::Value;

use super::family::PodObject;
use super::slot;
use super::view::View;
use super::{KubeCluster, autoscaler, count, deployment, items, text};

impl KubeCluster {
    /// Reads the target. Of its pods and autoscalers watches may tell: what a run takes from a Deployment is decided
    /// by what the Deployment itself says.
    pub(super) async fn read_observation(&self, target: &Target) -> Result<Observation, Failure> {
        let view = self.views.of(target);
        self.look(target, view.as_deref(), true).await
    }

    /// What watches tell of the target. They begin with the first look.
    pub(super) async fn glance_at(&self, target: &Target) -> Result<Observation, Failure> {
        let view = self.watches.then(|| self.views.open(target, &self.descent));
        self.look(target, view.as_deref(), false).await
    }

    async fn look(
        &self,
        target: &Target,
        view: Option<&View>,
        reads: bool,
    ) -> Result<Observation, Failure> {
        let before = view.map(View::ticks);
        let (found, mut watched) = self.deployment_in(view, target, reads).await?;
        let found = found.ok_or_else(|| super::no_deployment(target))?;
        let autoscalers = self.autoscalers_in(view, target, reads).await?;
        let pods = self.pods_in(view, &found, target, reads).await?;
        let at = self.transport.clock.now();
        let mut seen = self.seen(at, target, &found, &pods, &autoscalers)?;
        if let Some(there) = slot::candidate_of(target) {
            let (found, told) = self.deployment_in(view, &there, reads).await?;
            watched |= told;
            if let Some(found) = found {
                let pods = self.pods_in(view, &found, &there, reads).await?;
                let at = self.transport.clock.now();
                let beside = self.seen(at, &there, &found, &pods, &autoscalers)?;
                seen.beside = Some(Box::new(beside));
            }
        }
        seen.watched = watched;
        if let (Some(view), Some(before)) = (view, before) {
            view.shown(before, &seen);
        }
        Ok(seen)
    }

    fn seen(
        &self,
        at: Timestamp,
        target: &Target,
        found: &Arc<Value>,
        pods: &[Arc<PodObject>],
        autoscalers: &[Arc<Value>],
    ) -> Result<Observation, Failure> {
        let see = || see(at, target, found, pods, autoscalers);
        self.answers
            .seen(at, target, found, (pods, autoscalers), see)
    }
}

/// What is seen of one Deployment.
pub(super) fn see(
    at: Timestamp,
    target: &Target,
    found: &Value,
    pods: &[Arc<PodObject>],
    autoscalers: &[Arc<Value>],
) -> Result<Observation, Failure> {
    let settings = deployment::settings(found, target)?;
    let mut pods: Vec<Pod> = pods.iter().map(|pod| pod.read(target)).collect();
    // Where not all can be named, those that are in trouble matter most.
    pods.sort_by_key(|pod| pod.ready && pod.waiting.is_none());
    pods.truncate(PODS_LISTED);
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let generation = count(found, "/metadata/generation");
    let observed_generation = count(found, "/status/observedGeneration");
    let [total, updated, ready, available] = deployment::counts(found);
    Ok(Observation {
        at,
        watched: false,
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
        autoscaler: autoscaler::of(autoscalers.iter().map(AsRef::as_ref), &target.deployment)
            .map(autoscaler::bounds),
        beside: None,
    })
}

fn gave_up(deployment: &Value) -> bool {
    items(deployment, "/status/conditions").any(|condition| {
        text(condition, "/type") == "Progressing"
            && text(condition, "/reason") == "ProgressDeadlineExceeded"
    })
}
