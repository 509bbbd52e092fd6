//! Gate `workload`: every pod of the released Deployment runs the released image, is ready, and
//! doesn't keep restarting.

mod objects;

use phasegate_plugin::{
    Ask, Duration, Gate, Measurement, Problem, Question, Result, Status, Verdict, WorkloadNames,
    clock, kubernetes,
};
use schemars::JsonSchema;
use serde::Deserialize;

use objects::{Deployment, Pod};

/// What is demanded of the pods.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// How often the containers of a pod may have restarted, all of them together.
    #[serde(default)]
    max_restarts: u32,
    /// How many pods must be there and ready. Without it: as many as the Deployment wants, and
    /// every pod that there is.
    #[serde(default)]
    #[schemars(range(min = 1))]
    min_ready: Option<u32>,
    /// How long a pod may take to be ready for the first time. Until then nobody can tell, as when an autoscaler has just
    /// added it.
    #[serde(default = "startup")]
    startup: Duration,
}

const fn startup() -> Duration {
    Duration::from_secs(120)
}

/// What the pods add up to.
struct Count {
    pods: usize,
    ready: usize,
    updated: usize,
    restarts: u32,
}

impl Gate for Workload {
    const NAME: &'static str = "workload";
    const SUMMARY: &'static str =
        "every pod runs the released image, is ready, and doesn't keep restarting";

    fn validate(&self) -> Vec<Problem> {
        match self.min_ready {
            Some(0) => vec![Problem::new(
                "/minReady",
                "with no ready pod nothing serves",
            )],
            _ => Vec::new(),
        }
    }

    fn evaluate(&self, question: &Question) -> Result<Verdict> {
        let namespace = &question.call.namespace;
        let names = question.call.workload()?;
        let name = &names.deployment;
        let deployment: Deployment = match kubernetes::get("apps/v1", "Deployment", namespace, name)
        {
            Err(kubernetes::Error::NotFound) => {
                let reason = format!("Deployment {name} does not exist in {namespace}");
                return Ok(Verdict::fail(reason));
            }
            other => other?,
        };
        if !deployment.observed() {
            let reason = format!("the cluster has not looked at the new {name} yet");
            return Ok(Verdict::inconclusive(reason));
        }
        let Some(selector) = deployment.selector() else {
            let reason = format!("Deployment {name} has a selector that can't be understood");
            return Ok(Verdict::inconclusive(reason));
        };
        let mut pods: Vec<Pod> = kubernetes::find("v1", "Pod", namespace, &selector)?;
        let names_image = |pod: &Pod| pod.image(&names.container) == Some(names.image.as_str());
        let failed = pods.iter().any(|pod| pod.has_failed() && names_image(pod));
        pods.retain(Pod::is_active);
        if pods.is_empty() {
            return Ok(Verdict::inconclusive(format!(
                "Deployment {name} has no pods"
            )));
        }
        Ok(self.judge(&names, deployment.desired(), &pods, failed))
    }
}

impl Workload {
    /// Where pods of this version have `failed`, those that start may be in their place, and nobody waits for them.
    fn judge(&self, names: &WorkloadNames, desired: u32, pods: &[Pod], failed: bool) -> Verdict {
        let image = Some(names.image.as_str());
        let updated = |pod: &&Pod| pod.image(&names.container) == image;
        let count = Count {
            pods: pods.len(),
            ready: pods.iter().filter(|pod| pod.is_ready()).count(),
            updated: pods.iter().filter(updated).count(),
            restarts: pods.iter().map(Pod::restarts).max().unwrap_or_default(),
        };
        let fault = self.fault(names, pods).map(Verdict::fail);
        let verdict = match fault.or_else(|| self.lack(desired, pods, &count, failed)) {
            Some(verdict) => verdict,
            None => Verdict::pass(format!(
                "{} of {desired} pods of {} are ready on {}",
                count.ready, names.deployment, names.image
            )),
        };
        self.measure(verdict, desired, &count)
    }

    /// The first thing that is wrong with a pod that may be ready, the most telling ones first.
    fn fault(&self, names: &WorkloadNames, pods: &[Pod]) -> Option<String> {
        let of_pods = pods.iter().find_map(|pod| {
            let stuck = pod.stuck()?;
            Some(format!("pod {} can't run: {stuck}", pod.name()))
        });
        let of_images = pods
            .iter()
            .find_map(|pod| match pod.image(&names.container) {
                Some(image) if image == names.image => None,
                Some(image) => Some(format!(
                    "pod {} runs {image} instead of {}",
                    pod.name(),
                    names.image
                )),
                None => Some(format!(
                    "pod {} has no container {}",
                    pod.name(),
                    names.container
                )),
            });
        let of_restarts = pods.iter().find_map(|pod| {
            let restarts = pod.restarts();
            (restarts > self.max_restarts).then(|| {
                let allowed = self.max_restarts;
                format!(
                    "pod {} restarted {restarts} times, {allowed} allowed",
                    pod.name()
                )
            })
        });
        of_pods.or(of_images).or(of_restarts)
    }

    /// What is to be said where pods aren't ready, or aren't there.
    fn lack(&self, desired: u32, pods: &[Pod], count: &Count, failed: bool) -> Option<Verdict> {
        let now = clock::now_ms();
        let starts = |pod: &&Pod| {
            let starting = pod.starting_for(now).filter(|_| !failed);
            starting.is_some_and(|ms| ms < u64::from(self.startup.as_millis()))
        };
        let starting: Vec<&Pod> = pods.iter().filter(starts).collect();
        let may_come = count.ready + starting.len();
        if let Some(needed) = self.min_ready {
            if count.ready >= whole(needed) {
                return None;
            }
            if may_come < whole(needed) {
                let reason = format!("{} pods are ready, {needed} needed", count.ready);
                return Some(Verdict::fail(reason));
            }
        } else {
            let unready = |pod: &&Pod| !pod.is_ready() && !starts(pod);
            if let Some(pod) = pods.iter().find(unready) {
                let reason = format!("pod {} is not ready{}", pod.name(), pod.why_unready());
                return Some(Verdict::fail(reason));
            }
            if count.pods < whole(desired) {
                let reason = format!("{} of {desired} pods are there", count.pods);
                return Some(Verdict::fail(reason));
            }
        }
        let first = starting.first()?.name();
        let reason = match starting.len() {
            1 => format!("pod {first} is starting"),
            several => format!("{several} pods are starting, {first} among them"),
        };
        Some(Verdict::inconclusive(reason))
    }

    fn measure(&self, verdict: Verdict, desired: u32, count: &Count) -> Verdict {
        let needed = self.min_ready.unwrap_or(desired);
        let all_ready = self.min_ready.is_some() || count.ready == count.pods;
        let ready = match verdict.status {
            Status::Inconclusive => Status::Inconclusive,
            _ => status(count.ready >= whole(needed) && all_ready),
        };
        let updated = status(count.updated == count.pods);
        let restarts = status(count.restarts <= self.max_restarts);
        verdict
            .measured(
                Measurement::new("ready", number(count.ready), ready)
                    .unit("pods")
                    .limit(format!(">= {needed}")),
            )
            .measured(
                Measurement::new("updated", number(count.updated), updated)
                    .unit("pods")
                    .limit(format!("= {}", count.pods)),
            )
            .measured(
                Measurement::new("restarts", Some(f64::from(count.restarts)), restarts)
                    .limit(format!("<= {}", self.max_restarts)),
            )
    }
}

fn status(good: bool) -> Status {
    if good { Status::Pass } else { Status::Fail }
}

fn whole(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn number(count: usize) -> Option<f64> {
    u32::try_from(count).ok().map(f64::from)
}

phasegate_plugin::export! {
    name: "workload",
    summary: "Judges the pods of the released Deployment",
    gates: [Workload],
    asks: [
        Ask::Kubernetes { group: "apps", kind: "Deployment", verbs: &["get"] },
        Ask::Kubernetes { group: "", kind: "Pod", verbs: &["find"] },
    ],
}

#[cfg(test)]
mod tests;
