//! The world as a run sees it: what is wanted of the Deployments and of the router, and what was read back.

use std::fmt::Write as _;

use phasegate_core::run::Run;
use phasegate_core::workload::Observation;

use super::time_of_day;

/// A line or two for each Deployment, and one for how traffic is shared.
#[must_use]
pub(crate) fn world(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(seen) = run.observation() {
        let (stable, candidate) = run.deployments();
        match (candidate, seen.beside.as_deref()) {
            (Some(name), Some(beside)) => {
                deployment(&format!("stable {stable}"), seen, &mut lines);
                deployment(&format!("candidate {name}"), beside, &mut lines);
            }
            _ => deployment(stable, seen, &mut lines),
        }
    }
    if let Some(traffic) = run.traffic() {
        let read = match traffic.read {
            None => "not read back yet".to_owned(),
            Some(read) => {
                let mut text = format!("read back {}", read.desired);
                if let Some(accepted) = read.accepted.as_ref().filter(|it| **it != read.desired) {
                    let _ = write!(text, ", the data plane has {accepted}");
                } else if !read.settled {
                    text.push_str(", the data plane doesn't follow yet");
                }
                text
            }
        };
        lines.push(format!("traffic: asked {}; {read}", traffic.asked));
    }
    lines
}

fn deployment(name: &str, seen: &Observation, lines: &mut Vec<String>) {
    let wanted = seen.settings.replicas;
    let mut text = format!("{name} wants {wanted} x {}", seen.settings.image);
    if seen.observed_generation < seen.generation {
        text.push_str(", not yet seen by the cluster");
    }
    let _ = write!(
        text,
        "; read back {}/{wanted} updated, {}/{wanted} ready, {}/{wanted} available",
        seen.updated, seen.ready, seen.available
    );
    if seen.total > wanted {
        let _ = write!(text, ", {} in all", seen.total);
    }
    let _ = write!(text, " at {}", time_of_day(seen.at));
    lines.push(text);
    if let Some((pod, reason)) = seen.broken_pod() {
        lines.push(format!("pod {pod}: {reason}"));
    }
}
