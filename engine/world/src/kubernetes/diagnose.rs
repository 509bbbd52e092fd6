//! What can tell why pods fail: events, and the last lines they wrote.

use std::collections::BTreeSet;

use ::http::Method;
use phasegate_core::failure::Failure;
use phasegate_core::workload::{Diagnosis, Target};
use serde_json::Value;

use super::family::{Family, PodObject};
use super::path::{Resource, with_query};
use super::{KubeCluster, Problem, call, count, printable_long, text};

/// Most events that are kept.
const MAX_EVENTS: usize = 30;
/// Most pods whose log is read.
const MAX_LOGS: usize = 3;
/// Most lines of a pod's log that are kept.
const LOG_LINES: usize = 20;
/// Most bytes of a pod's log that are read.
const LOG_BYTES: usize = 16 << 10;
/// Most events of a namespace that are looked through.
const EVENTS_READ: usize = 5000;

impl KubeCluster {
    /// Fails only where stable's Deployment can't be read; what else is missing is said in its place.
    pub(super) async fn read_diagnosis(&self, target: &Target) -> Result<Diagnosis, Failure> {
        let mut there = vec![(target.clone(), self.deployment(target).await?)];
        let mut told = Diagnosis::default();
        match self.candidate(target).await {
            Ok(candidate) => there.extend(candidate),
            Err(problem) => told
                .events
                .push(unread("the candidate", &Failure::from(problem))),
        }
        let mut names = BTreeSet::new();
        let mut family = Family::default();
        for (target, found) in there {
            match self.family(&found, &target).await {
                Ok(one) => {
                    family.sets.extend(one.sets);
                    family.pods.extend(one.pods);
                    names.insert(target.deployment);
                }
                Err(problem) => told.events.push(unread("pods", &Failure::from(problem))),
            }
        }
        if names.is_empty() {
            return Ok(told);
        }
        match self.events(&family, &names, target).await {
            Ok(events) => told.events.extend(events),
            Err(problem) => told.events.push(unread("events", &Failure::from(problem))),
        }
        for pod in failing(&family.pods, target) {
            told.logs.extend(self.last_lines(pod, target).await);
        }
        Ok(told)
    }

    async fn events(
        &self,
        family: &Family,
        deployments: &BTreeSet<String>,
        target: &Target,
    ) -> Result<Vec<String>, Problem> {
        let resource = Resource::fixed("", "v1", "events");
        let namespace = Some(target.namespace.as_str());
        let mut events = self.list(&resource, namespace, &[], EVENTS_READ).await?;
        let sets: BTreeSet<&str> = family
            .sets
            .iter()
            .map(|set| set.metadata.name.as_str())
            .collect();
        // What went well tells nothing about what failed.
        events.retain(|event| {
            text(event, "/type") != "Normal" && is_about(event, &sets, deployments)
        });
        events.sort_by(|a, b| last_seen(a).cmp(last_seen(b)));
        let surplus = events.len().saturating_sub(MAX_EVENTS);
        Ok(events.iter().skip(surplus).map(event_line).collect())
    }

    async fn last_lines(&self, pod: &PodObject, target: &Target) -> Vec<String> {
        let name = pod.metadata.name.as_str();
        let restarted = pod.restarts(target) > 0;
        let mut log = self.log(name, target, restarted).await;
        // The container that came before may be gone already.
        if restarted && log.as_ref().is_err_and(|p| p.fault.is_bad_request()) {
            log = self.log(name, target, false).await;
        }
        match log {
            Ok(log) => {
                let lines: Vec<&str> = log.lines().collect();
                let surplus = lines.len().saturating_sub(LOG_LINES);
                lines
                    .into_iter()
                    .skip(surplus)
                    .map(|line| format!("{name}: {}", printable_long(line)))
                    .collect()
            }
            Err(problem) => vec![format!(
                "{name}: (log could not be read: {})",
                Failure::from(problem)
            )],
        }
    }

    async fn log(&self, pod: &str, target: &Target, previous: bool) -> Result<String, Problem> {
        let pods = Resource::fixed("", "v1", "pods");
        let mut call = call(
            Method::GET,
            "read the log of",
            &pods,
            &target.namespace,
            pod,
        )?;
        let (lines, bytes) = (LOG_LINES.to_string(), LOG_BYTES.to_string());
        let mut query = vec![
            ("container", target.container.as_str()),
            ("tailLines", lines.as_str()),
            ("limitBytes", bytes.as_str()),
        ];
        if previous {
            query.push(("previous", "true"));
        }
        call.target = with_query(&format!("{}/log", call.target), &query);
        let call = call.accept("text/plain, */*");
        let subject = call.subject.clone();
        let log = self.transport.text(call).await;
        log.map_err(|fault| Problem::new(fault, subject))
    }
}

/// The pods that are in trouble, the worst first.
fn failing<'a>(pods: &'a [PodObject], target: &Target) -> Vec<&'a PodObject> {
    let mut failing: Vec<_> = pods
        .iter()
        .map(|pod| (pod.read(target), pod))
        .filter(|(seen, _)| !seen.ready && !seen.terminating)
        .collect();
    failing.sort_by(|(a, _), (b, _)| {
        (b.restarts, b.waiting.is_some(), &a.name).cmp(&(a.restarts, a.waiting.is_some(), &b.name))
    });
    failing
        .into_iter()
        .map(|(_, pod)| pod)
        .take(MAX_LOGS)
        .collect()
}

fn unread(what: &str, failure: &Failure) -> String {
    format!("({what} could not be read: {failure})")
}

/// Whether an event is about one of the Deployments, one of their ReplicaSets, or a pod of one. Pods are
/// told by their names, since those that failed first may be gone.
fn is_about(event: &Value, sets: &BTreeSet<&str>, deployments: &BTreeSet<String>) -> bool {
    let name = text(event, "/involvedObject/name");
    match text(event, "/involvedObject/kind") {
        "Deployment" => deployments.contains(name),
        "ReplicaSet" => sets.contains(name),
        "Pod" => name
            .rsplit_once('-')
            .is_some_and(|(set, _)| sets.contains(set)),
        _ => false,
    }
}

/// RFC 3339 in UTC, which sorts as text.
fn last_seen(event: &Value) -> &str {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .map(|place| text(event, place))
    .find(|time| !time.is_empty())
    .unwrap_or_default()
}

fn event_line(event: &Value) -> String {
    let times = count(event, "/series/count").max(count(event, "/count"));
    let repeated = if times > 1 {
        format!(" (x{times})")
    } else {
        String::new()
    };
    let line = format!(
        "{} {}/{}: {}",
        text(event, "/reason"),
        text(event, "/involvedObject/kind").to_ascii_lowercase(),
        text(event, "/involvedObject/name"),
        text(event, "/message"),
    );
    format!("{}{repeated}", printable_long(&line))
}
