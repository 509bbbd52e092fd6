//! Which controllers a change wakes.

use serde_json::Value;

use super::Cluster;
use super::gateway::names_parent;
use super::json::{at, int, text};
use super::kinds::Kind;
use super::queue::Work;
use super::store::Key;
use super::writes::{controller_of, selects};

/// Most changes of templates of which the time is kept.
const MAX_TEMPLATE_CHANGES: usize = 10_000;

impl Cluster {
    /// An object was created, changed, or is gone.
    pub(super) fn wake(
        &mut self,
        kind: Kind,
        key: &Key,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let object = after.or(before).unwrap_or(&Value::Null);
        if let (None, Some(new)) = (before, after) {
            self.wake_for_absent_owner(key, new);
        }
        match kind {
            Kind::Deployment => {
                let template = ["spec", "template"];
                let before_it = before.map(|object| at(object, &template));
                let beside = before.is_none() && self.now > self.config.start;
                let other = before_it != after.map(|object| at(object, &template));
                if beside || (before.is_some() && after.is_some() && other) {
                    self.note_template();
                }
                if other_generation(before, after) {
                    self.deployment_changed(object);
                    self.after(
                        self.config.observed_generation_lag,
                        Work::Deployment(key.clone()),
                    );
                } else {
                    self.react(Work::Deployment(key.clone()));
                }
            }
            Kind::ReplicaSet => {
                self.react(Work::ReplicaSet(key.clone()));
                self.wake_owner(key, object);
            }
            Kind::Job => self.react(Work::Job(key.clone())),
            Kind::Pod => {
                if after.is_some() {
                    self.react(Work::Pod(key.clone()));
                } else {
                    self.wake_grandparent(key, object);
                }
                self.wake_owner(key, object);
                self.wake_services(key, object);
            }
            Kind::Service => {
                self.react(Work::Endpoints(key.clone()));
                if before.is_none() || after.is_none() {
                    self.wake_routes_to(key);
                }
            }
            Kind::HttpRoute | Kind::VirtualService if other_generation(before, after) => {
                self.route_changed((kind, key.clone()));
            }
            Kind::Ingress => self.ingress_changed(key, before, after),
            Kind::Gateway if other_generation(before, after) => {
                self.react(Work::Gateway(key.clone()));
                self.wake_http_routes(|route| names_parent(route, &key.name));
            }
            Kind::HorizontalPodAutoscaler => {
                self.after(self.config.autoscaler_sync, Work::Autoscaler(key.clone()));
            }
            _ => {}
        }
    }

    fn note_template(&mut self) {
        if self.template_changes.last() != Some(&self.now)
            && self.template_changes.len() < MAX_TEMPLATE_CHANGES
        {
            self.template_changes.push(self.now);
        }
    }

    fn wake_owner(&mut self, key: &Key, object: &Value) {
        let Some(owner) = controller_of(object) else {
            return;
        };
        let owner_key = Key::new(key.namespace.clone(), text(owner, &["name"]));
        match text(owner, &["kind"]) {
            "Deployment" => self.react(Work::Deployment(owner_key)),
            "ReplicaSet" => self.react(Work::ReplicaSet(owner_key)),
            "Job" => self.react(Work::Job(owner_key)),
            _ => {}
        }
    }

    /// A Deployment that recreates waits for the last old pod to be gone, which no ReplicaSet's status shows.
    fn wake_grandparent(&mut self, key: &Key, pod: &Value) {
        let Some(owner) = controller_of(pod) else {
            return;
        };
        let set = self
            .store
            .get(
                Kind::ReplicaSet,
                &Key::new(key.namespace.clone(), text(owner, &["name"])),
            )
            .cloned();
        if let Some(set) = set {
            self.wake_owner(key, &set);
        }
    }

    fn wake_services(&mut self, key: &Key, pod: &Value) {
        let labels = at(pod, &["metadata", "labels"]);
        let touched: Vec<Key> = self
            .store
            .list(Kind::Service, &key.namespace)
            .filter(|(_, service)| selects(service, labels))
            .map(|(key, _)| key.clone())
            .collect();
        for service in touched {
            self.react(Work::Endpoints(service));
        }
    }
}

/// Whether the spec is another one, the object is new, or it is gone.
fn other_generation(before: Option<&Value>, after: Option<&Value>) -> bool {
    let generation =
        |object: Option<&Value>| object.and_then(|object| int(object, &["metadata", "generation"]));
    generation(before) != generation(after)
}
