//! What a simulated cluster is told about its world: delays, limits, and how pods behave.

use phasegate_core::time::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::autoscaler::AutoscalerRule;
use super::{gateway, plane};

/// How a simulated cluster behaves. The same configuration and the same calls give the same bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything that is random in a real cluster (uids, name suffixes, addresses) derives from it.
    pub seed: u64,
    /// When the cluster begins.
    pub start: Timestamp,
    /// How long a controller takes to react to a change.
    pub reaction: Span,
    /// How long after an EndpointSlice changed the data plane routes accordingly.
    pub endpoints_delay: Span,
    /// How long after a change of its spec the deployment controller looks at a Deployment.
    pub observed_generation_lag: Span,
    /// From a pod's creation until it is bound to a node.
    pub scheduling: Span,
    /// From binding until the containers run, the image pull included.
    pub starting: Span,
    /// From running until ready, for pods that no rule matches.
    pub default_ready: Span,
    /// How long a Job's container runs, for pods that no rule matches.
    pub default_completion: Span,
    /// From the deletion of a pod until it is gone.
    pub termination: Span,
    /// How long after a change of its spec the status of an HTTPRoute follows.
    pub route_status_lag: Span,
    /// How long after a change the data plane does what an HTTPRoute, an Ingress or a VirtualService says.
    pub route_delay: Span,
    /// How often an autoscaler looks at its target.
    pub autoscaler_sync: Span,
    /// What the metrics of autoscalers call for; the first rule that fits counts. Where none fits, they
    /// call for what there is.
    pub autoscalers: Vec<AutoscalerRule>,
    /// How many changes of each kind are kept for watches; older watches get 410.
    pub watch_history: usize,
    /// How many Events are kept; the oldest go first.
    pub events: usize,
    /// How many requests the request log keeps.
    pub request_log: usize,
    /// How many objects the cluster holds in all before it refuses to create more.
    pub objects: usize,
    /// How pods behave by image; the first rule that matches wins.
    pub pods: Vec<PodRule>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            start: Timestamp::from_millis(1_767_225_600_000),
            reaction: Span::from_millis(10),
            endpoints_delay: Span::from_millis(500),
            observed_generation_lag: Span::from_millis(50),
            scheduling: Span::from_millis(100),
            starting: Span::from_millis(900),
            default_ready: Span::from_secs(2),
            default_completion: Span::from_secs(2),
            termination: Span::from_secs(3),
            route_status_lag: gateway::STATUS_LAG,
            route_delay: plane::TABLE_DELAY,
            autoscaler_sync: Span::from_secs(15),
            autoscalers: Vec::new(),
            watch_history: 2_000,
            events: 1_000,
            request_log: 50_000,
            objects: 20_000,
            pods: Vec::new(),
        }
    }
}

/// How pods with a certain image behave.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRule {
    /// The image of any container of the pod: exact, or with `*` for any run of characters.
    pub image: String,
    /// Only the first so many pods that match; those after them go by the next rule. All, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// From running until ready. The cluster's default, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<Span>,
    /// Whether the image can be pulled.
    #[serde(default)]
    pub pull: Pull,
    /// The container ends with an error and is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// The readiness probe never succeeds.
    #[serde(default)]
    pub never_ready: bool,
    /// The readiness probe fails again this long after it first succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_after: Option<Span>,
    /// The readiness probe succeeds again this long after it failed. Never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovers_after: Option<Span>,
    /// How long the container of a Job runs before it succeeds. The cluster's default, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes_after: Option<Span>,
    /// From deletion until gone. The cluster's default, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination: Option<Span>,
    /// No node has room: the pod stays pending.
    #[serde(default)]
    pub unschedulable: bool,
    /// What the container prints when it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Whether an image can be pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Pull {
    /// The image is there.
    #[default]
    Ok,
    /// The registry does not have it: `ErrImagePull`, then `ImagePullBackOff`, for ever.
    Fails,
}

/// How a container crashes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crash {
    /// How long it runs before it ends.
    pub after: Span,
    /// What it ends with; 1 if absent.
    #[serde(default = "one")]
    pub exit_code: i32,
    /// After so many restarts it runs on. It always crashes, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_before_ok: Option<u32>,
    /// What it prints before it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

const fn one() -> i32 {
    1
}

impl PodRule {
    /// A rule for an image under which pods start and become ready as by default.
    #[must_use]
    pub fn for_image(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            times: None,
            ready_after: None,
            pull: Pull::Ok,
            crash: None,
            never_ready: false,
            unready_after: None,
            recovers_after: None,
            completes_after: None,
            termination: None,
            unschedulable: false,
            log: Vec::new(),
        }
    }

    /// Whether an image is one of those the rule is about.
    #[must_use]
    pub fn matches(&self, image: &str) -> bool {
        glob(&self.image, image)
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(found) => rest = rest.get(found + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, fits) in [
            ("web:1", "web:1", true),
            ("web:1", "web:10", false),
            ("web:*", "web:10", true),
            ("*:2", "registry/web:2", true),
            ("*:2", "registry/web:22", false),
            ("*web*@*", "r/web:1@sha256:ab", true),
            ("*web*@*", "r/web:1", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
