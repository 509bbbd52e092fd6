//! Scheduler and kubelet in one: how a pod comes up, fails, and goes.

mod run;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::Value;

use self::run::{Note, Restart, Run, Stage};
use self::show::render;
use super::Cluster;
use super::config::PodRule;
use super::json::{at, int, list, set, text};
use super::kinds::Kind;
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;

/// The first wait before a container is started again or an image pulled again; it doubles.
const BACK_OFF: Span = Span::from_secs(10);
/// The longest such wait.
const BACK_OFF_LIMIT: Span = Span::from_mins(5);
/// How many nodes pods are spread over.
const NODES: u64 = 3;
/// How many changes of stage one look at a pod may make.
const STAGES_LIMIT: usize = 64;

/// What happens to each pod. The objects only show it.
#[derive(Debug)]
pub(super) struct Kubelet {
    rules: Vec<(Arc<PodRule>, u32)>,
    runs: BTreeMap<Key, Run>,
}

fn back_off(times: u32) -> Span {
    let factor = 1_u64 << times.min(10);
    BACK_OFF.times(factor).min(BACK_OFF_LIMIT)
}

impl Kubelet {
    pub(super) fn new(rules: &[PodRule]) -> Self {
        Self {
            rules: rules
                .iter()
                .map(|rule| (Arc::new(rule.clone()), 0))
                .collect(),
            runs: BTreeMap::new(),
        }
    }

    pub(super) fn add_rule(&mut self, rule: PodRule) {
        self.rules.insert(0, (Arc::new(rule), 0));
    }

    /// Says whether it was there.
    pub(super) fn forget(&mut self, key: &Key) -> bool {
        self.runs.remove(key).is_some()
    }

    /// Since when a pod is ready, if it is.
    pub(super) fn ready_since(&self, key: &Key) -> Option<Timestamp> {
        self.runs.get(key).and_then(|run| run.ready_since)
    }

    /// When a pod last went from one stage to the next.
    pub(super) fn changed(&self, key: &Key) -> Option<Timestamp> {
        self.runs.get(key).map(|run| run.since)
    }

    pub(super) fn restarts(&self, key: &Key) -> u32 {
        self.runs.get(key).map_or(0, |run| run.restarts)
    }

    pub(super) fn is_scheduled(&self, key: &Key) -> bool {
        self.runs
            .get(key)
            .is_some_and(|run| run.scheduled.is_some())
    }

    pub(super) fn is_running(&self, key: &Key) -> bool {
        self.runs
            .get(key)
            .is_some_and(|run| run.stage == Stage::Running)
    }

    /// Whether a pod answers requests: its container runs and is ready, be it on its way out.
    pub(super) fn serves(&self, key: &Key) -> bool {
        self.runs
            .get(key)
            .is_some_and(|run| run.serving() == (true, true))
    }

    /// What a container printed, or why there is nothing: empty if there was no previous one.
    pub(super) fn log(
        &self,
        key: &Key,
        container: &str,
        previous: bool,
    ) -> Result<Vec<String>, &'static str> {
        let Some(run) = self.runs.get(key) else {
            return Err("ContainerCreating");
        };
        let rule = run.rule.as_ref().filter(|_| run.container == container);
        let printed = |crashed: bool| {
            let mut lines = rule.map(|rule| rule.log.clone()).unwrap_or_default();
            if let (true, Some(crash)) = (crashed, rule.and_then(|rule| rule.crash.as_ref())) {
                lines.extend(crash.log.iter().cloned());
            }
            lines
        };
        let ended = matches!(run.stage, Stage::BackOff | Stage::Done { ok: false });
        match (previous, run.stage) {
            (true, _) if run.restarts > 0 && rule.is_some() => Ok(printed(true)),
            (true, _) => Err(""),
            (false, Stage::Pending | Stage::Creating) => Err("ContainerCreating"),
            (false, Stage::PullFailed) if rule.is_some() => Err("trying and failing to pull image"),
            (false, Stage::PullBackOff) if rule.is_some() => Err("image can't be pulled"),
            (false, _) => Ok(printed(ended)),
        }
    }

    /// Chooses the rule for a new pod and counts it.
    fn choose(&mut self, pod: &Value) -> (Option<Arc<PodRule>>, String) {
        let containers = list(pod, &["spec", "containers"]);
        for (rule, used) in &mut self.rules {
            if rule.times.is_some_and(|times| *used >= times) {
                continue;
            }
            if let Some(container) = containers
                .iter()
                .find(|c| rule.matches(text(c, &["image"])))
            {
                *used = used.saturating_add(1);
                return (
                    Some(Arc::clone(rule)),
                    text(container, &["name"]).to_owned(),
                );
            }
        }
        (
            None,
            containers
                .first()
                .map_or("", |c| text(c, &["name"]))
                .to_owned(),
        )
    }
}

impl Cluster {
    pub(super) fn sync_pod(&mut self, key: &Key) {
        let Some(pod) = self.store.get(Kind::Pod, key).cloned() else {
            if self.kubelet.forget(key) {
                self.plane_changed();
            }
            return;
        };
        let uid = text(&pod, &["metadata", "uid"]);
        let mut run = match self.kubelet.runs.remove(key) {
            Some(run) if run.uid == uid => run,
            _ => self.new_run(&pod, uid),
        };
        if is_leaving(&pod) {
            self.terminate(key, &pod, run);
            return;
        }
        let before = run.serving();
        let mut notes = Vec::new();
        let image = list(&pod, &["spec", "containers"])
            .iter()
            .find(|c| text(c, &["name"]) == run.container)
            .map_or("", |c| text(c, &["image"]));
        for _ in 0..STAGES_LIMIT {
            let Some(due) = run.stage_ends(&self.config).filter(|due| *due <= self.now) else {
                break;
            };
            let pending = run.stage == Stage::Pending;
            run.step(due, image, &mut notes);
            if pending {
                let message = format!(
                    "Successfully assigned {}/{} to node-{}",
                    key.namespace, key.name, run.node
                );
                notes.push(Note {
                    warning: false,
                    reason: "Scheduled",
                    message,
                });
            }
        }
        if run.stage == Stage::Pending && run.rule.as_ref().is_some_and(|rule| rule.unschedulable) {
            let message = "0/3 nodes are available: 3 Insufficient cpu.".to_owned();
            notes.push(Note {
                warning: true,
                reason: "FailedScheduling",
                message,
            });
        }
        let (ready, flips) = run.readiness(self.now, &self.config);
        if ready != run.ready_since.is_some() {
            run.ready_since = ready.then_some(self.now);
            run.ready_changed = self.now;
            if !ready && run.stage == Stage::Running {
                let message =
                    "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned();
                notes.push(Note {
                    warning: true,
                    reason: "Unhealthy",
                    message,
                });
            }
        }
        let next = [run.stage_ends(&self.config), flips]
            .into_iter()
            .flatten()
            .min();
        let status = render(&pod, &run);
        let node = run.scheduled.map(|_| format!("node-{}", run.node));
        if run.serving() != before {
            self.plane_changed();
        }
        self.kubelet.runs.insert(key.clone(), run);
        let bind = node.filter(|_| text(&pod, &["spec", "nodeName"]).is_empty());
        if bind.is_some() || at(&pod, &["status"]) != &status {
            let mut new = Value::clone(&pod);
            set(&mut new, &["status"], status);
            if let Some(node) = bind {
                set(&mut new, &["spec", "nodeName"], node);
            }
            self.commit(Kind::Pod, key, new);
        }
        for note in notes {
            self.tell(&pod, note.warning, note.reason, &note.message);
        }
        if let Some(next) = next {
            self.queue.schedule(next, Work::Pod(key.clone()));
        }
    }

    fn new_run(&mut self, pod: &Value, uid: &str) -> Run {
        let (rule, container) = self.kubelet.choose(pod);
        let restart = match text(pod, &["spec", "restartPolicy"]) {
            "Never" => Restart::Never,
            "OnFailure" => Restart::OnFailure,
            _ => Restart::Always,
        };
        Run {
            uid: uid.to_owned(),
            rule,
            container,
            restart,
            stage: Stage::Pending,
            since: self.now,
            created: self.now,
            scheduled: None,
            attempts: 0,
            restarts: 0,
            last: None,
            ready_since: None,
            ready_changed: self.now,
            ip: self.ids.pod_ip(),
            node: self.ids.node(NODES),
            gone_at: None,
        }
    }

    /// A pod that is being deleted keeps its state until its time is over.
    fn terminate(&mut self, key: &Key, pod: &Value, mut run: Run) {
        let due = *run.gone_at.get_or_insert_with(|| {
            let grace = int(pod, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(30);
            let grace = Span::from_secs(u64::try_from(grace).unwrap_or_default());
            let wanted = run
                .rule
                .as_ref()
                .and_then(|rule| rule.termination)
                .unwrap_or(self.config.termination);
            let idle = run.scheduled.is_none() || matches!(run.stage, Stage::Done { .. });
            self.now
                .plus(if idle { Span::ZERO } else { wanted.min(grace) })
        });
        let held = !list(pod, &["metadata", "finalizers"]).is_empty();
        if due > self.now {
            self.kubelet.runs.insert(key.clone(), run);
            self.queue.schedule(due, Work::Pod(key.clone()));
        } else if held {
            self.kubelet.runs.insert(key.clone(), run);
        } else {
            self.plane_changed();
            self.discard(Kind::Pod, key);
        }
    }
}
