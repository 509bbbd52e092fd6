//! Deletion, and the garbage collector that follows owner references.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Cluster;
use super::api::Target;
use super::changes::read_json;
use super::json::{at, int, list, list_mut, set, take, text};
use super::kinds::{Info, KINDS, Kind};
use super::queue::Work;
use super::request::{Answer, Request};
use super::selector::Selector;
use super::status::Failure;
use super::store::Key;
use super::watch::is_leaving;

const FOREGROUND: &str = "foregroundDeletion";

/// What happens to what an object owns.
#[derive(Clone, Copy, PartialEq)]
enum Propagation {
    Foreground,
    Background,
    Orphan,
}

impl Cluster {
    pub(super) fn delete(
        &mut self,
        request: &Request,
        target: &Target<'_>,
    ) -> Result<Answer, Failure> {
        let options = if request.body.is_empty() {
            json!({})
        } else {
            read_json(request)?
        };
        let key = Key::new(target.namespace, target.name);
        let Some(object) = self.store.get(target.info.kind, &key).cloned() else {
            return Err(Failure::not_found(target.info, target.name));
        };
        for (name, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = text(&options, &["preconditions", name]);
            let found = text(&object, &["metadata", name]);
            if !wanted.is_empty() && wanted != found {
                let (info, name) = (target.info, target.name);
                return Err(Failure::precondition(info, name, what, wanted, found));
            }
        }
        let dry = request.param("dryRun") == "All" || !list(&options, &["dryRun"]).is_empty();
        self.log
            .object_before(text(&object, &["metadata", "resourceVersion"]));
        if !dry {
            self.begin_deletion(target.info, &key, &object, request, &options)?;
            self.log.changed(true);
        }
        match self.store.get(target.info.kind, &key).cloned() {
            Some(rest) if !dry => {
                let version = text(&rest, &["metadata", "resourceVersion"]);
                let changed = version != text(&object, &["metadata", "resourceVersion"]);
                self.log.object_after(version, changed);
                Ok(Answer::json(200, &rest))
            }
            _ if target.info.kind == Kind::Service => Ok(Answer::json(200, &object)),
            _ => Ok(Answer::json(200, &removed(target.info, &object))),
        }
    }

    pub(super) fn delete_collection(
        &mut self,
        request: &Request,
        target: &Target<'_>,
    ) -> Result<Answer, Failure> {
        let selector = Selector::parse(
            request.param("labelSelector"),
            request.param("fieldSelector"),
        )
        .map_err(Failure::bad_request)?;
        let options = if request.body.is_empty() {
            json!({})
        } else {
            read_json(request)?
        };
        let chosen: Vec<(Key, Arc<Value>)> = self
            .store
            .list(target.info.kind, target.namespace)
            .filter(|(_, object)| selector.matches(object))
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        if request.param("dryRun") != "All" {
            for (key, object) in &chosen {
                self.begin_deletion(target.info, key, object, request, &options)?;
            }
            self.log.changed(!chosen.is_empty());
        }
        Ok(Answer::json(
            200,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
        ))
    }

    fn begin_deletion(
        &mut self,
        info: &Info,
        key: &Key,
        object: &Arc<Value>,
        request: &Request,
        options: &Value,
    ) -> Result<(), Failure> {
        let policy = match text(options, &["propagationPolicy"]) {
            "" => request.param("propagationPolicy"),
            policy => policy,
        };
        let legacy = at(options, &["orphanDependents"]);
        let policy = match policy {
            "Foreground" => Propagation::Foreground,
            "Background" => Propagation::Background,
            "Orphan" => Propagation::Orphan,
            "" if legacy == &Value::Bool(true) => Propagation::Orphan,
            // As in Kubernetes, a Job leaves its pods behind unless told otherwise.
            "" if info.kind == Kind::Job && legacy.is_null() => Propagation::Orphan,
            "" => Propagation::Background,
            other => {
                return Err(Failure::bad_request(format!(
                    "invalid propagationPolicy: {other}"
                )));
            }
        };
        match info.kind {
            Kind::Pod => {
                let asked = request.param("gracePeriodSeconds").parse().ok();
                self.delete_pod(key, int(options, &["gracePeriodSeconds"]).or(asked));
            }
            Kind::Namespace => self.end_namespace(key, object)?,
            _ => self.delete_owner(info.kind, key, object, policy),
        }
        Ok(())
    }

    fn delete_owner(&mut self, kind: Kind, key: &Key, object: &Arc<Value>, policy: Propagation) {
        let uid = text(object, &["metadata", "uid"]);
        let dependents: Vec<(Kind, Key)> = self.store.owned_by(uid).cloned().collect();
        if policy == Propagation::Orphan {
            for (kind, dependent) in &dependents {
                self.disown(*kind, dependent, uid);
            }
        }
        let waits = policy == Propagation::Foreground && !dependents.is_empty();
        let held = !list(object, &["metadata", "finalizers"]).is_empty();
        if !waits && !held {
            self.discard(kind, key);
            return;
        }
        let time = super::json::seconds(self.now);
        self.change(kind, key, |object| {
            if !is_leaving(object)
                && let Some(generation) = int(object, &["metadata", "generation"])
            {
                set(object, &["metadata", "generation"], generation + 1);
            }
            super::json::set_default(object, &["metadata", "deletionTimestamp"], time);
            super::json::set_default(object, &["metadata", "deletionGracePeriodSeconds"], 0);
            let finalizers = list_mut(object, &["metadata", "finalizers"]);
            if waits && !finalizers.iter().any(|f| f.as_str() == Some(FOREGROUND)) {
                finalizers.push(FOREGROUND.into());
            }
        });
        if waits {
            self.react(Work::Foreground(kind, key.clone()));
        }
    }

    fn disown(&mut self, kind: Kind, key: &Key, uid: &str) {
        self.change(kind, key, |object| {
            list_mut(object, &["metadata", "ownerReferences"])
                .retain(|owner| text(owner, &["uid"]) != uid);
            if list(object, &["metadata", "ownerReferences"]).is_empty() {
                take(object, &["metadata", "ownerReferences"]);
            }
        });
    }

    /// Deletes what belonged to an object that is gone.
    pub(super) fn collect_orphans(&mut self, uid: &str) {
        let dependents: Vec<(Kind, Key)> = self.store.owned_by(uid).cloned().collect();
        for (kind, key) in dependents {
            let Some(object) = self.store.get(kind, &key).cloned() else {
                continue;
            };
            let shared = list(&object, &["metadata", "ownerReferences"])
                .iter()
                .any(|owner| text(owner, &["uid"]) != uid && self.owner_lives(&key, owner));
            if shared {
                self.disown(kind, &key, uid);
            } else if kind == Kind::Pod {
                self.delete_pod(&key, None);
            } else {
                self.delete_owner(kind, &key, &object, Propagation::Background);
            }
        }
    }

    /// What is made for an owner that is gone already goes as well. An owner of a kind that isn't known here may live.
    pub(super) fn wake_for_absent_owner(&mut self, key: &Key, object: &Value) {
        let owners = list(object, &["metadata", "ownerReferences"]);
        if let Some(first) = owners.first()
            && owners.iter().all(|owner| {
                Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"])).is_some()
                    && !self.owner_lives(key, owner)
            })
        {
            self.react(Work::Orphans(text(first, &["uid"]).to_owned()));
        }
    }

    fn owner_lives(&self, key: &Key, owner: &Value) -> bool {
        Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"]))
            .and_then(|kind| {
                self.store.get(
                    kind,
                    &Key::new(key.namespace.as_str(), text(owner, &["name"])),
                )
            })
            .is_some_and(|found| text(found, &["metadata", "uid"]) == text(owner, &["uid"]))
    }

    /// Deletes what an object owns that waits for it, and then the object.
    pub(super) fn delete_dependents(&mut self, kind: Kind, key: &Key) {
        let Some(object) = self.store.get(kind, key).cloned() else {
            return;
        };
        let foreground = list(&object, &["metadata", "finalizers"])
            .iter()
            .any(|finalizer| finalizer.as_str() == Some(FOREGROUND));
        if !is_leaving(&object) || !foreground {
            return;
        }
        let uid = text(&object, &["metadata", "uid"]);
        let dependents: Vec<(Kind, Key)> = self.store.owned_by(uid).cloned().collect();
        if dependents.is_empty() {
            self.change(kind, key, |object| {
                list_mut(object, &["metadata", "finalizers"])
                    .retain(|f| f.as_str() != Some(FOREGROUND));
            });
            let released = self
                .store
                .get(kind, key)
                .is_some_and(|o| list(o, &["metadata", "finalizers"]).is_empty());
            if released {
                self.discard(kind, key);
            }
            return;
        }
        for (kind, key) in dependents {
            let Some(object) = self.store.get(kind, &key).cloned() else {
                continue;
            };
            if is_leaving(&object) {
                continue;
            }
            if kind == Kind::Pod {
                self.delete_pod(&key, None);
            } else {
                self.delete_owner(kind, &key, &object, Propagation::Foreground);
            }
        }
    }

    fn end_namespace(&mut self, key: &Key, object: &Arc<Value>) -> Result<(), Failure> {
        if matches!(key.name.as_str(), "default" | "kube-system" | "kube-public") {
            let mut failure = Failure::injected(403);
            failure.message = format!(
                "namespaces \"{}\" is forbidden: this namespace may not be deleted",
                key.name
            );
            return Err(failure);
        }
        if !is_leaving(object) {
            let time = super::json::seconds(self.now);
            self.change(Kind::Namespace, key, |namespace| {
                set(namespace, &["metadata", "deletionTimestamp"], time);
                set(namespace, &["status", "phase"], "Terminating");
            });
        }
        self.react(Work::Namespace(key.name.clone()));
        Ok(())
    }

    /// Deletes everything in a namespace, and the namespace once it is empty.
    pub(super) fn empty_namespace(&mut self, name: &str) {
        let mut empty = true;
        for info in KINDS.iter().filter(|info| info.namespaced) {
            let rest: Vec<(Key, Arc<Value>)> = self
                .store
                .list(info.kind, name)
                .map(|(key, object)| (key.clone(), Arc::clone(object)))
                .collect();
            if name.is_empty() {
                return;
            }
            for (key, object) in rest {
                if info.kind == Kind::Pod {
                    self.delete_pod(&key, None);
                } else if !is_leaving(&object) {
                    self.delete_owner(info.kind, &key, &object, Propagation::Background);
                }
            }
            empty &= self.store.list(info.kind, name).next().is_none();
        }
        if empty {
            self.discard(Kind::Namespace, &Key::new("", name));
        } else {
            self.after(
                phasegate_core::time::Span::from_secs(1),
                Work::Namespace(name.to_owned()),
            );
        }
    }
}

/// What is said of an object that is gone.
fn removed(info: &Info, object: &Value) -> Value {
    let mut details = json!({
        "name": text(object, &["metadata", "name"]),
        "kind": info.plural,
        "uid": text(object, &["metadata", "uid"]),
    });
    if !info.group.is_empty() {
        set(&mut details, &["group"], info.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
