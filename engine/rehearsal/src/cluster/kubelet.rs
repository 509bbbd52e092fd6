//! Scheduler and kubelet in one: how a pod comes up, fails, and goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::Cluster;
use super::config::{Config, Crash, PodRule, Pull};
use super::json::{at, int, list, seconds, set, text};
use super::kinds::Kind;
use super::queue::Work;
use super::store::Key;
use super::watch::is_leaving;

/// The first wait before a container is started again or an image pulled again; it doubles.
const BACK_OFF: Span = Span::from_secs(10);
/// The longest such wait.
const BACK_OFF_LIMIT: Span = Span::from_mins(5);
/// How long `ErrImagePull` shows before `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Span = Span::from_secs(1);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Creating,
    PullFailed,
    PullBackOff,
    Running,
    BackOff,
    Done { ok: bool },
}

#[derive(Clone, Debug)]
struct Run {
    uid: String,
    rule: Option<Arc<PodRule>>,
    /// The container that the rule is about.
    container: String,
    restart: Restart,
    stage: Stage,
    since: Timestamp,
    created: Timestamp,
    scheduled: Option<Timestamp>,
    attempts: u32,
    restarts: u32,
    /// Exit code, begin and end of the last instance that ended.
    last: Option<(i32, Timestamp, Timestamp)>,
    ready_since: Option<Timestamp>,
    ready_changed: Timestamp,
    ip: String,
    node: u64,
    gone_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Something to tell in an Event.
struct Note {
    warning: bool,
    reason: &'static str,
    message: String,
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

    pub(super) fn forget(&mut self, key: &Key) {
        self.runs.remove(key);
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

impl Run {
    fn crash(&self) -> Option<&Crash> {
        let crash = self.rule.as_ref()?.crash.as_ref()?;
        crash
            .restarts_before_ok
            .is_none_or(|ok| self.restarts < ok)
            .then_some(crash)
    }

    /// When the present stage ends, if it does by itself.
    fn stage_ends(&self, config: &Config) -> Option<Timestamp> {
        let rule = self.rule.as_deref();
        let span = match self.stage {
            Stage::Pending if rule.is_some_and(|rule| rule.unschedulable) => return None,
            Stage::Pending => config.scheduling,
            Stage::Creating => config.starting,
            Stage::PullFailed => PULL_ERROR_SHOWN,
            Stage::PullBackOff => back_off(self.attempts.saturating_sub(1)),
            Stage::BackOff => back_off(self.restarts.saturating_sub(1)),
            Stage::Running => match (self.crash(), self.restart) {
                (Some(crash), _) => crash.after,
                (None, Restart::Always) => return None,
                (None, _) => rule
                    .and_then(|rule| rule.completes_after)
                    .unwrap_or(config.default_completion),
            },
            Stage::Done { .. } => return None,
        };
        Some(self.since.plus(span))
    }

    /// Goes on to the next stage at a moment.
    fn step(&mut self, at: Timestamp, image: &str, notes: &mut Vec<Note>) {
        let container = &self.container;
        let mut note = |warning, reason, message: String| {
            notes.push(Note {
                warning,
                reason,
                message,
            })
        };
        let next = match self.stage {
            Stage::Pending => {
                self.scheduled = Some(at);
                Stage::Creating
            }
            Stage::Creating | Stage::PullBackOff
                if self
                    .rule
                    .as_ref()
                    .is_some_and(|rule| rule.pull == Pull::Fails) =>
            {
                self.attempts = self.attempts.saturating_add(1);
                note(
                    true,
                    "Failed",
                    format!("Failed to pull image \"{image}\": manifest unknown"),
                );
                note(true, "Failed", "Error: ErrImagePull".to_owned());
                Stage::PullFailed
            }
            Stage::PullFailed => {
                note(
                    false,
                    "BackOff",
                    format!("Back-off pulling image \"{image}\""),
                );
                note(true, "Failed", "Error: ImagePullBackOff".to_owned());
                Stage::PullBackOff
            }
            Stage::Creating | Stage::PullBackOff => {
                note(
                    false,
                    "Pulled",
                    format!("Container image \"{image}\" already present on machine"),
                );
                note(false, "Created", format!("Created container: {container}"));
                note(false, "Started", format!("Started container {container}"));
                Stage::Running
            }
            Stage::BackOff => {
                self.restarts = self.restarts.saturating_add(1);
                note(false, "Started", format!("Started container {container}"));
                Stage::Running
            }
            Stage::Running => match self.crash().map(|crash| crash.exit_code) {
                None => Stage::Done { ok: true },
                Some(code) => {
                    self.last = Some((code, self.since, at));
                    match self.restart {
                        Restart::Never if code != 0 => Stage::Done { ok: false },
                        Restart::Never => Stage::Done { ok: true },
                        Restart::OnFailure if code == 0 => Stage::Done { ok: true },
                        // The first restart is immediate.
                        _ if self.restarts == 0 => {
                            self.restarts = 1;
                            note(false, "Started", format!("Started container {container}"));
                            Stage::Running
                        }
                        _ => {
                            note(
                                true,
                                "BackOff",
                                format!("Back-off restarting failed container {container}"),
                            );
                            Stage::BackOff
                        }
                    }
                }
            },
            Stage::Done { ok } => Stage::Done { ok },
        };
        self.stage = next;
        self.since = at;
    }

    /// Whether the readiness probe succeeds at a moment, and when that changes next.
    fn readiness(&self, now: Timestamp, config: &Config) -> (bool, Option<Timestamp>) {
        if self.stage != Stage::Running {
            return (false, None);
        }
        let rule = self.rule.as_deref();
        if rule.is_some_and(|rule| rule.never_ready) {
            return (false, None);
        }
        let first = self.since.plus(
            rule.and_then(|rule| rule.ready_after)
                .unwrap_or(config.default_ready),
        );
        if now < first {
            return (false, Some(first));
        }
        let Some(lost) = rule
            .and_then(|rule| rule.unready_after)
            .map(|span| first.plus(span))
        else {
            return (true, None);
        };
        if now < lost {
            return (true, Some(lost));
        }
        match rule
            .and_then(|rule| rule.recovers_after)
            .map(|span| lost.plus(span))
        {
            Some(again) if now < again => (false, Some(again)),
            Some(_) => (true, None),
            None => (false, None),
        }
    }
}

impl Cluster {
    pub(super) fn sync_pod(&mut self, key: &Key) {
        let Some(pod) = self.store.get(Kind::Pod, key).cloned() else {
            self.kubelet.forget(key);
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
        let mut notes = Vec::new();
        let image = list(&pod, &["spec", "containers"])
            .iter()
            .find(|c| text(c, &["name"]) == run.container)
            .map_or("", |c| text(c, &["image"]));
        for _ in 0..STAGES_LIMIT {
            let Some(due) = run.stage_ends(&self.config).filter(|due| *due <= self.now) else {
                break;
            };
            let before = run.stage;
            run.step(due, image, &mut notes);
            if before == Stage::Pending {
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
            self.discard(Kind::Pod, key);
        }
    }
}

/// The status that shows how a pod is.
fn render(pod: &Value, run: &Run) -> Value {
    let ready = run.ready_since.is_some();
    let finished = matches!(run.stage, Stage::Done { .. });
    let phase = match run.stage {
        Stage::Done { ok: true } => "Succeeded",
        Stage::Done { ok: false } => "Failed",
        Stage::Running | Stage::BackOff => "Running",
        _ => "Pending",
    };
    let mut conditions = Vec::new();
    let mut condition = |kind: &str, fine: bool, since: Timestamp, reason: &str, message: &str| {
        let mut out = json!({
            "type": kind,
            "status": if fine { "True" } else { "False" },
            "lastProbeTime": null,
            "lastTransitionTime": seconds(since),
        });
        if !reason.is_empty() {
            set(&mut out, &["reason"], reason);
            set(&mut out, &["message"], message);
        }
        conditions.push(out);
    };
    if let Some(scheduled) = run.scheduled {
        let (reason, message) = if ready {
            ("", String::new())
        } else if finished {
            ("PodCompleted", String::new())
        } else {
            (
                "ContainersNotReady",
                format!("containers with unready status: [{}]", run.container),
            )
        };
        condition("Initialized", true, scheduled, "", "");
        condition("Ready", ready, run.ready_changed, reason, &message);
        condition(
            "ContainersReady",
            ready,
            run.ready_changed,
            reason,
            &message,
        );
        condition("PodScheduled", true, scheduled, "", "");
    } else if run.rule.as_ref().is_some_and(|rule| rule.unschedulable) {
        condition(
            "PodScheduled",
            false,
            run.created,
            "Unschedulable",
            "0/3 nodes are available: 3 Insufficient cpu.",
        );
    }
    let mut status = json!({
        "phase": phase,
        "qosClass": text(pod, &["status", "qosClass"]),
        "conditions": conditions,
    });
    if let Some(scheduled) = run.scheduled {
        let containers: Vec<Value> = list(pod, &["spec", "containers"])
            .iter()
            .map(|container| container_status(container, run))
            .collect();
        set(&mut status, &["containerStatuses"], containers);
        set(&mut status, &["startTime"], seconds(scheduled));
        set(
            &mut status,
            &["hostIP"],
            format!("192.168.0.{}", run.node + 1),
        );
        if !matches!(run.stage, Stage::Creating) {
            set(&mut status, &["podIP"], run.ip.as_str());
            set(&mut status, &["podIPs"], json!([{"ip": run.ip}]));
        }
    }
    status
}

fn container_status(container: &Value, run: &Run) -> Value {
    let name = text(container, &["name"]);
    let image = text(container, &["image"]);
    let affected = name == run.container;
    let id = format!(
        "containerd://{}",
        super::ids::short_hash(&[&run.uid, name, &run.restarts.to_string()])
    );
    let started = !matches!(run.stage, Stage::Pending | Stage::Creating);
    let ended = |code: i32, from: Timestamp, to: Timestamp| {
        json!({"terminated": {
            "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": seconds(from), "finishedAt": seconds(to), "containerID": id,
        }})
    };
    let waiting = |reason: &str, message: String| {
        let mut out = json!({"waiting": {"reason": reason}});
        if !message.is_empty() {
            set(&mut out, &["waiting", "message"], message);
        }
        out
    };
    let running = json!({"running": {"startedAt": seconds(run.since)}});
    let state = match run.stage {
        Stage::Pending | Stage::Creating => waiting("ContainerCreating", String::new()),
        Stage::PullFailed if affected => waiting(
            "ErrImagePull",
            format!("failed to pull image \"{image}\": manifest unknown"),
        ),
        Stage::PullBackOff if affected => waiting(
            "ImagePullBackOff",
            format!("Back-off pulling image \"{image}\""),
        ),
        Stage::BackOff if affected => {
            let wait = back_off(run.restarts.saturating_sub(1)).as_millis() / 1000;
            waiting(
                "CrashLoopBackOff",
                format!("back-off {wait}s restarting failed container={name}"),
            )
        }
        Stage::Done { ok } => match run.last {
            Some((code, from, to)) if !ok && affected => ended(code, from, to),
            _ => ended(0, run.scheduled.unwrap_or(run.since), run.since),
        },
        _ => running,
    };
    let serves = match run.stage {
        Stage::Running => !affected || run.ready_since.is_some(),
        Stage::PullFailed | Stage::PullBackOff | Stage::BackOff => !affected,
        _ => false,
    };
    let last = match run.last {
        Some((code, from, to)) if affected && run.restarts > 0 => ended(code, from, to),
        _ => json!({}),
    };
    json!({
        "name": name,
        "image": image,
        "imageID": if started { image_id(image) } else { String::new() },
        "containerID": if started { id.as_str() } else { "" },
        "ready": serves,
        "started": started && run.stage == Stage::Running,
        "restartCount": if affected { run.restarts } else { 0 },
        "state": state,
        "lastState": last,
    })
}

/// What a registry would say an image is: its digest, made up from its name where it has none.
fn image_id(image: &str) -> String {
    if image.contains('@') {
        return image.to_owned();
    }
    let name = image
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .map_or(image, |(name, _)| name);
    let parts: Vec<String> = (0..4)
        .map(|n| super::ids::short_hash(&[image, &n.to_string()]))
        .collect();
    format!("{name}@sha256:{}", parts.concat())
}
