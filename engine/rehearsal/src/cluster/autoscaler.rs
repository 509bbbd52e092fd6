//! The horizontal pod autoscaler: looks every sync period, keeps its target within bounds, and within
//! them follows what the scenario says that the metrics call for.

mod rule;

use std::collections::BTreeMap;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use self::rule::part_of;
pub use self::rule::{AutoscalerRule, Count};
use super::Cluster;
use super::conditions::{self, Said};
use super::config::glob;
use super::json::{at, int, list, seconds, set, text};
use super::kinds::Kind;
use super::managers::{self, Writer};
use super::pods::label_text;
use super::queue::Work;
use super::selector::fits;
use super::store::Key;
use super::watch::is_leaving;

/// How long a lower recommendation must have held before pods are taken away, as in Kubernetes.
const DOWN_AFTER: i64 = 300;
/// Growth in one look: twice as many, or so many more if that is more.
const GROWTH: i64 = 4;
/// Most recommendations that are kept of one autoscaler.
const MAX_RECOMMENDATIONS: usize = 4_096;

/// What the autoscalers remember, by their uid: what they recommended, and when.
#[derive(Debug, Default)]
pub(super) struct Recommendations(BTreeMap<String, Vec<(Timestamp, i64)>>);

impl Recommendations {
    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// The largest of the last so many seconds, this one among them.
    fn stabilised(&mut self, uid: &str, now: Timestamp, wanted: i64, window: i64) -> i64 {
        let known = self.0.entry(uid.to_owned()).or_default();
        let window = Span::from_secs(u64::try_from(window).unwrap_or_default());
        known.retain(|(at, _)| now.since(*at) < window);
        if known.len() < MAX_RECOMMENDATIONS {
            known.push((now, wanted));
        }
        known
            .iter()
            .map(|(_, count)| *count)
            .max()
            .unwrap_or(wanted)
    }
}

/// A condition: its type, whether it holds, the reason in a word, and a sentence.
type Told = (&'static str, (bool, &'static str, String));

/// What one look comes to.
struct Decision {
    /// The size to bring the target to; none leaves it alone.
    size: Option<i64>,
    /// Why.
    reason: &'static str,
    active: Result<(), (&'static str, String)>,
    /// Why not as many as the metrics call for.
    limited: Option<&'static str>,
}

impl Decision {
    /// The conditions that say so.
    fn told(&self, resized: Option<i64>) -> [Told; 3] {
        let able = match resized {
            Some(size) => (
                true,
                "SucceededRescale",
                format!("the HPA controller was able to update the target scale to {size}"),
            ),
            None => (
                true,
                "ReadyForNewScale",
                "recommended size matches current size".to_owned(),
            ),
        };
        let active = match &self.active {
            Ok(()) => (
                true,
                "ValidMetricFound",
                "the HPA was able to successfully calculate a replica count".to_owned(),
            ),
            Err((reason, message)) => (false, *reason, message.clone()),
        };
        let limited = match self.limited {
            Some(reason) => (
                true,
                reason,
                "the desired replica count is more than the bounds or the speed of scaling allow, or less"
                    .to_owned(),
            ),
            None => (
                false,
                "DesiredWithinRange",
                "the desired count is within the acceptable range".to_owned(),
            ),
        };
        [
            ("AbleToScale", able),
            ("ScalingActive", active),
            ("ScalingLimited", limited),
        ]
    }
}

impl Cluster {
    pub(super) fn sync_autoscaler(&mut self, key: &Key) {
        let Some(hpa) = self.store.get(Kind::HorizontalPodAutoscaler, key).cloned() else {
            return;
        };
        self.after(self.config.autoscaler_sync, Work::Autoscaler(key.clone()));
        if is_leaving(&hpa) {
            return;
        }
        let target = at(&hpa, &["spec", "scaleTargetRef"]);
        let deployment = Key::new(key.namespace.as_str(), text(target, &["name"]));
        let known = text(target, &["kind"]) == "Deployment";
        let found = self.store.get(Kind::Deployment, &deployment).cloned();
        let Some(found) = found.filter(|_| known) else {
            let message = format!(
                "the HPA controller was unable to get the target's current scale: {} \"{}\" not found",
                text(target, &["kind"]),
                deployment.name
            );
            let said = [("AbleToScale", (false, "FailedGetScale", message))];
            self.autoscaler_status(key, &hpa, &said, |_| {});
            return;
        };
        let current = int(&found, &["spec", "replicas"]).unwrap_or(1);
        let decision = self.decide(&hpa, &found, current);
        let resized = decision.size.filter(|size| *size != current);
        if let Some(size) = resized {
            self.rescale(&deployment, size);
            let message = format!("New size: {size}; reason: {}", decision.reason);
            self.tell(&hpa, false, "SuccessfulRescale", &message);
        }
        let said = decision.told(resized);
        let replicas = int(&found, &["status", "replicas"]).unwrap_or_default();
        let now = self.now;
        self.autoscaler_status(key, &hpa, &said, |status| {
            set(status, &["currentReplicas"], replicas);
            set(
                status,
                &["desiredReplicas"],
                decision.size.unwrap_or(current),
            );
            if resized.is_some() {
                set(status, &["lastScaleTime"], seconds(now));
            }
        });
    }

    /// As in Kubernetes: what is out of bounds is brought back whatever the metrics say, and a target
    /// that was scaled to nothing is left alone.
    fn decide(&mut self, hpa: &Value, deployment: &Value, current: i64) -> Decision {
        let least = int(hpa, &["spec", "minReplicas"]).unwrap_or(1);
        let most = int(hpa, &["spec", "maxReplicas"]).unwrap_or(least);
        let forced = |size, reason| Decision {
            size: Some(size),
            reason,
            active: Ok(()),
            limited: None,
        };
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            return Decision {
                size: None,
                reason: "",
                active: Err(("ScalingDisabled", message.to_owned())),
                limited: None,
            };
        }
        if current > most {
            return forced(most, "Current number of replicas above Spec.MaxReplicas");
        }
        if current < least {
            return forced(least, "Current number of replicas below Spec.MinReplicas");
        }
        if let Some(message) = self.ambiguous(hpa, deployment) {
            return Decision {
                size: None,
                reason: "",
                active: Err(("AmbiguousSelector", message)),
                limited: None,
            };
        }
        let wanted = self.recommended(hpa, deployment).unwrap_or(current);
        let window = int(
            hpa,
            &[
                "spec",
                "behavior",
                "scaleDown",
                "stabilizationWindowSeconds",
            ],
        );
        let uid = text(hpa, &["metadata", "uid"]);
        let steady =
            self.recommendations
                .stabilised(uid, self.now, wanted, window.unwrap_or(DOWN_AFTER));
        let fastest = (current.saturating_mul(2)).max(current.saturating_add(GROWTH));
        let size = steady.clamp(least, most).min(fastest);
        let limited = match size {
            _ if size == steady => None,
            _ if steady < least => Some("TooFewReplicas"),
            _ if steady > most => Some("TooManyReplicas"),
            _ => Some("ScaleUpLimit"),
        };
        let reason = if size > current {
            "cpu resource utilization (percentage of request) above target"
        } else {
            "All metrics below target"
        };
        Decision {
            size: Some(size),
            reason,
            active: Ok(()),
            limited,
        }
    }

    /// What the scenario says that the metrics call for; none where it says nothing.
    fn recommended(&self, hpa: &Value, deployment: &Value) -> Option<i64> {
        let name = text(hpa, &["metadata", "name"]);
        let rule = self
            .config
            .autoscalers
            .iter()
            .find(|rule| glob(&rule.hpa, name))?;
        let since = self.now.since(self.config.start);
        if let Some(wants) = &rule.wants {
            return Some(i64::from(wants.at(since)));
        }
        let needs = rule.needs.as_ref()?.at(since);
        let selector = at(deployment, &["spec", "selector"]);
        let share = self.share_of_pods(|key| {
            let pod = self.store.get(Kind::Pod, key);
            pod.is_some_and(|pod| fits(selector, at(pod, &["metadata", "labels"])))
        });
        share.map(|share| part_of(needs, share))
    }

    /// Kubernetes doesn't scale by pods that several autoscalers count: their selectors overlap.
    fn ambiguous(&self, hpa: &Value, deployment: &Value) -> Option<String> {
        let namespace = text(hpa, &["metadata", "namespace"]);
        let hpas = || self.store.list(Kind::HorizontalPodAutoscaler, namespace);
        // The usual case: nobody else could count anything.
        hpas().nth(1)?;
        let mine = at(deployment, &["spec", "selector"]);
        let pods: Vec<&Value> = self
            .store
            .list(Kind::Pod, namespace)
            .map(|(_, pod)| at(pod, &["metadata", "labels"]))
            .filter(|labels| fits(mine, labels))
            .collect();
        let counting: Vec<String> = hpas()
            .filter(|(key, hpa)| {
                let target = text(hpa, &["spec", "scaleTargetRef", "name"]);
                let target = Key::new(key.namespace.as_str(), target);
                self.store
                    .get(Kind::Deployment, &target)
                    .is_some_and(|target| {
                        let selector = at(target, &["spec", "selector"]);
                        pods.iter().any(|labels| fits(selector, labels))
                    })
            })
            .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
            .collect();
        (counting.len() > 1).then(|| {
            format!(
                "pods by selector {} are controlled by multiple HPAs: [{}]",
                label_text(mine),
                counting.join(" ")
            )
        })
    }

    /// Writes the size as the controller does: through the Scale, whose field it owns from then on.
    fn rescale(&mut self, key: &Key, size: i64) {
        let Some(old) = self.store.get(Kind::Deployment, key).cloned() else {
            return;
        };
        let writer = Writer {
            manager: "kube-controller-manager",
            subresource: "scale",
            at: self.now,
        };
        self.change(Kind::Deployment, key, |deployment| {
            set(deployment, &["spec", "replicas"], size);
            managers::track(&old, deployment, &writer);
        });
    }

    fn autoscaler_status(
        &mut self,
        key: &Key,
        hpa: &Value,
        said: &[Told],
        more: impl FnOnce(&mut Value),
    ) {
        let mut status = at(hpa, &["status"]).clone();
        let mut conditions = list(&status, &["conditions"]).to_vec();
        for (kind, (holds, reason, message)) in said {
            let said = Said {
                kind,
                holds: *holds,
                reason,
                message,
                generation: None,
            };
            conditions::put(&mut conditions, &said, self.now);
        }
        set(&mut status, &["conditions"], json!(conditions));
        more(&mut status);
        self.put_status(Kind::HorizontalPodAutoscaler, key, status);
    }
}
