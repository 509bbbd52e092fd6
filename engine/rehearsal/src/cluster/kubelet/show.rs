//! The status that shows how a pod is.

use phasegate_core::time::Timestamp;
use serde_json::{Value, json};

use super::back_off;
use super::run::{Run, Stage};
use crate::cluster::ids;
use crate::cluster::json::{list, seconds, set, text};

/// The status that shows how a pod is.
pub(super) fn render(pod: &Value, run: &Run) -> Value {
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
        ids::short_hash(&[&run.uid, name, &run.restarts.to_string()])
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
        .map(|n| ids::short_hash(&[image, &n.to_string()]))
        .collect();
    format!("{name}@sha256:{}", parts.concat())
}
