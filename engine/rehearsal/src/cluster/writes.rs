//! What every change goes through: identity, defaults, validation, generation, ownership, and whom it wakes.

use std::sync::Arc;

use serde_json::Value;

use super::defaults;
use super::json::{at, int, list, members, set, set_default, take, text};
use super::kinds::{Info, Kind};
use super::managers::{self, Writer};
use super::queue::Work;
use super::status::Failure;
use super::store::Key;
use super::watch::is_leaving;
use super::{Cluster, json, selector};

/// How often a generated name is drawn again when it is taken.
const NAME_ATTEMPTS: usize = 8;

/// How the fields of a write get their owner.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ownership {
    /// By comparing before and after.
    Tracked,
    /// They have it already, by server-side apply.
    Settled,
}

/// What came of a write.
pub(super) struct Written {
    pub(super) object: Arc<Value>,
    pub(super) changed: bool,
}

impl Cluster {
    /// Stores an object and wakes the controllers that care.
    pub(super) fn commit(&mut self, kind: Kind, key: &Key, object: Value) -> Arc<Value> {
        self.touch(kind, key);
        let before = self.store.get(kind, key).cloned();
        let object = self.store.put(kind, key, object);
        self.wake(kind, key, before.as_deref(), Some(&object));
        object
    }

    /// Takes an object out for good and wakes the controllers that care.
    pub(super) fn discard(&mut self, kind: Kind, key: &Key) {
        self.touch(kind, key);
        let Some(last) = self.store.remove(kind, key) else {
            return;
        };
        let uid = text(&last, &["metadata", "uid"]).to_owned();
        if kind == Kind::Pod {
            self.count_failure(&last);
            if self.kubelet.forget(key) {
                self.plane_changed();
            }
        }
        if kind == Kind::Deployment {
            self.rollouts.remove(&uid);
        }
        if kind == Kind::HorizontalPodAutoscaler {
            self.recommendations.forget(&uid);
        }
        if kind == Kind::Job {
            self.job_failures.remove(&uid);
        }
        self.wake(kind, key, Some(&last), None);
        if self.store.owned_by(&uid).next().is_some() {
            self.react(Work::Orphans(uid));
        }
        for owner in list(&last, &["metadata", "ownerReferences"]) {
            if let Some(kind) = Kind::of(text(owner, &["apiVersion"]), text(owner, &["kind"])) {
                let owner = Key::new(key.namespace.clone(), text(owner, &["name"]));
                if self
                    .store
                    .get(kind, &owner)
                    .is_some_and(|o| !at(o, &["metadata", "deletionTimestamp"]).is_null())
                {
                    self.react(Work::Foreground(kind, owner));
                }
            }
        }
    }

    /// Gives a new object its identity and stores it, without the checks that clients go through.
    pub(super) fn insert(&mut self, kind: Kind, mut object: Value) -> Arc<Value> {
        self.identify(kind, &mut object);
        defaults::fill(kind, &mut object, &mut self.ids);
        let key = Key::of(&object);
        self.commit(kind, &key, object)
    }

    fn identify(&mut self, kind: Kind, object: &mut Value) {
        let info = kind.info();
        set(object, &["apiVersion"], info.api_version());
        set(object, &["kind"], info.name);
        set(object, &["metadata", "uid"], self.ids.uid());
        set(
            object,
            &["metadata", "creationTimestamp"],
            json::seconds(self.now),
        );
        if info.generation {
            set(object, &["metadata", "generation"], 1);
        }
        for name in [
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ] {
            take(object, &["metadata", name]);
        }
    }

    /// A name that is not taken, from a prefix.
    pub(super) fn free_name(&mut self, kind: Kind, namespace: &str, prefix: &str) -> String {
        let mut name = format!("{prefix}{}", self.ids.suffix());
        for _ in 0..NAME_ATTEMPTS {
            if self
                .store
                .get(kind, &Key::new(namespace, name.clone()))
                .is_none()
            {
                break;
            }
            name = format!("{prefix}{}", self.ids.suffix());
        }
        name
    }

    /// Creates an object as a client asks for it.
    pub(super) fn create(
        &mut self,
        info: &Info,
        namespace: &str,
        mut object: Value,
        writer: &Writer<'_>,
        ownership: Ownership,
        dry_run: bool,
    ) -> Result<Written, Failure> {
        if info.namespaced {
            self.usable_namespace(namespace)?;
            set(&mut object, &["metadata", "namespace"], namespace);
        } else {
            take(&mut object, &["metadata", "namespace"]);
        }
        if text(&object, &["metadata", "name"]).is_empty() {
            let prefix = text(&object, &["metadata", "generateName"]).to_owned();
            if !prefix.is_empty() {
                let name = self.free_name(info.kind, namespace, &prefix);
                set(&mut object, &["metadata", "name"], name);
            }
        }
        let key = Key::of(&object);
        if self.store.count() >= self.config.objects {
            return Err(Failure::quota(self.config.objects));
        }
        let managed = take(&mut object, &["metadata", "managedFields"]);
        if info.subresources.contains(&"status") {
            take(&mut object, &["status"]);
        }
        self.identify(info.kind, &mut object);
        defaults::fill(info.kind, &mut object, &mut self.ids);
        defaults::check(info, &Value::Null, &object)?;
        match self.store.get(info.kind, &key) {
            Some(found) if is_leaving(found) => {
                return Err(Failure::still_leaving(info, &key.name));
            }
            Some(_) => return Err(Failure::already_exists(info, &key.name)),
            None => {}
        }
        match (ownership, managed) {
            (Ownership::Settled, Some(managed)) => {
                set(&mut object, &["metadata", "managedFields"], managed)
            }
            _ => managers::track(&Value::Null, &mut object, writer),
        }
        let object = if dry_run {
            Arc::new(object)
        } else {
            self.commit(info.kind, &key, object)
        };
        Ok(Written {
            object,
            changed: !dry_run,
        })
    }

    fn usable_namespace(&self, namespace: &str) -> Result<(), Failure> {
        let Some(found) = self.store.get(Kind::Namespace, &Key::new("", namespace)) else {
            return Err(Failure::not_found(Kind::Namespace.info(), namespace));
        };
        if at(found, &["metadata", "deletionTimestamp"]).is_null() {
            return Ok(());
        }
        let mut failure = Failure::injected(403);
        failure.message = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        Err(failure)
    }

    /// Replaces an object as a client asks for it.
    pub(super) fn replace(
        &mut self,
        info: &Info,
        old: &Arc<Value>,
        mut new: Value,
        writer: &Writer<'_>,
        ownership: Ownership,
        dry_run: bool,
    ) -> Result<Written, Failure> {
        let key = Key::of(old);
        let asked = text(&new, &["metadata", "resourceVersion"]);
        if !asked.is_empty() && asked != text(old, &["metadata", "resourceVersion"]) {
            return Err(Failure::modified(info, &key.name));
        }
        let uid = text(&new, &["metadata", "uid"]);
        if !uid.is_empty() && uid != text(old, &["metadata", "uid"]) {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                info.plural,
                key.namespace,
                key.name,
                text(old, &["metadata", "uid"])
            );
            return Err(Failure::conflict(info, &key.name, &why));
        }
        if writer.subresource == "status" {
            let status = take(&mut new, &["status"]).unwrap_or(Value::Null);
            let managed = take(&mut new, &["metadata", "managedFields"]);
            new = Value::clone(old);
            set(&mut new, &["status"], status);
            if let (Ownership::Settled, Some(managed)) = (ownership, managed) {
                set(&mut new, &["metadata", "managedFields"], managed);
            }
        } else {
            self.keep_server_fields(info, old, &mut new);
        }
        defaults::fill(info.kind, &mut new, &mut self.ids);
        defaults::check(info, old, &new)?;
        let differs = |path: &[&str]| at(old, path) != at(&new, path);
        // The API server counts the annotations of Deployments as well, those of no other kind.
        let annotated = info.kind == Kind::Deployment
            && writer.subresource.is_empty()
            && differs(&["metadata", "annotations"]);
        if info.generation && (annotated || differs(&["spec"])) {
            let generation = int(old, &["metadata", "generation"]).unwrap_or_default();
            set(&mut new, &["metadata", "generation"], generation + 1);
        }
        if ownership == Ownership::Tracked {
            match at(old, &["metadata", "managedFields"]) {
                Value::Null => drop(take(&mut new, &["metadata", "managedFields"])),
                managed => set(&mut new, &["metadata", "managedFields"], managed.clone()),
            }
            managers::track(old, &mut new, writer);
        }
        if **old == new {
            return Ok(Written {
                object: Arc::clone(old),
                changed: false,
            });
        }
        if dry_run {
            return Ok(Written {
                object: Arc::new(new),
                changed: false,
            });
        }
        let released = list(&new, &["metadata", "finalizers"]).is_empty();
        let leaving =
            !at(&new, &["metadata", "deletionTimestamp"]).is_null() && info.kind != Kind::Pod;
        let object = self.commit(info.kind, &key, new);
        if released && leaving && info.kind != Kind::Namespace {
            self.discard(info.kind, &key);
        }
        Ok(Written {
            object,
            changed: true,
        })
    }

    fn keep_server_fields(&self, info: &Info, old: &Value, new: &mut Value) {
        set(new, &["apiVersion"], info.api_version());
        set(new, &["kind"], info.name);
        let fixed = [
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "namespace",
            "name",
            "resourceVersion",
        ];
        for name in fixed {
            match at(old, &["metadata", name]) {
                Value::Null => drop(take(new, &["metadata", name])),
                value => set(new, &["metadata", name], value.clone()),
            }
        }
        if info.subresources.contains(&"status") {
            match at(old, &["status"]) {
                Value::Null => drop(take(new, &["status"])),
                status => set(new, &["status"], status.clone()),
            }
        }
        // What the server assigned and clients leave out stays.
        match info.kind {
            Kind::Service => {
                for field in [
                    "clusterIP",
                    "clusterIPs",
                    "ipFamilies",
                    "ipFamilyPolicy",
                    "internalTrafficPolicy",
                ] {
                    let value = at(old, &["spec", field]);
                    if !value.is_null() {
                        set_default(new, &["spec", field], value.clone());
                    }
                }
            }
            Kind::Job => {
                let value = at(old, &["spec", "selector"]);
                if !value.is_null() {
                    set_default(new, &["spec", "selector"], value.clone());
                }
                for (label, value) in at(old, &["spec", "template", "metadata", "labels"])
                    .as_object()
                    .into_iter()
                    .flatten()
                {
                    if label.contains("controller-uid") || label.contains("job-name") {
                        set_default(
                            new,
                            &["spec", "template", "metadata", "labels", label],
                            value.clone(),
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// Creates or replaces an object for a scene.
    pub(super) fn write_manifest(&mut self, manifest: &Value) -> Result<(), Failure> {
        let (version, name) = (text(manifest, &["apiVersion"]), text(manifest, &["kind"]));
        let kind = Kind::of(version, name).ok_or_else(|| {
            Failure::bad_request(format!(
                "no matches for kind \"{name}\" in version \"{version}\""
            ))
        })?;
        let info = kind.info();
        let mut object = manifest.clone();
        let namespace = match text(manifest, &["metadata", "namespace"]) {
            _ if !info.namespaced => String::new(),
            "" => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        if info.namespaced {
            set(&mut object, &["metadata", "namespace"], namespace.as_str());
            if self
                .store
                .get(Kind::Namespace, &Key::new("", namespace.as_str()))
                .is_none()
            {
                self.insert(
                    Kind::Namespace,
                    serde_json::json!({"metadata": {"name": namespace}}),
                );
            }
        }
        let writer = Writer {
            manager: "scenario",
            subresource: "",
            at: self.now,
        };
        match self.store.get(kind, &Key::of(&object)).cloned() {
            Some(old) => self.replace(info, &old, object, &writer, Ownership::Tracked, false)?,
            None => self.create(info, &namespace, object, &writer, Ownership::Tracked, false)?,
        };
        Ok(())
    }

    /// A controller's write to the status: nothing happens if nothing changes.
    pub(super) fn put_status(&mut self, kind: Kind, key: &Key, status: Value) {
        let Some(old) = self.store.get(kind, key) else {
            return;
        };
        if at(old, &["status"]) == &status {
            return;
        }
        let mut new = Value::clone(old);
        set(&mut new, &["status"], status);
        self.commit(kind, key, new);
    }

    /// A controller's change of an object; one of the spec counts as a generation.
    pub(super) fn change(&mut self, kind: Kind, key: &Key, edit: impl FnOnce(&mut Value)) {
        let Some(old) = self.store.get(kind, key).cloned() else {
            return;
        };
        let mut new = Value::clone(&old);
        edit(&mut new);
        if *old == new {
            return;
        }
        if kind.info().generation && at(&old, &["spec"]) != at(&new, &["spec"]) {
            let generation = int(&old, &["metadata", "generation"]).unwrap_or_default();
            members(&mut new);
            set(&mut new, &["metadata", "generation"], generation + 1);
        }
        self.commit(kind, key, new);
    }
}

/// The owner that controls an object.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| at(owner, &["controller"]) == &Value::Bool(true))
}

/// Whether a Service sends traffic to pods with these labels.
pub(super) fn selects(service: &Value, labels: &Value) -> bool {
    at(service, &["spec", "selector"])
        .as_object()
        .is_some_and(|wanted| {
            !wanted.is_empty()
                && wanted
                    .iter()
                    .all(|(name, value)| at(labels, &[name]) == value)
        })
}

/// Whether labels fit the selector of a workload.
pub(super) fn controls(workload: &Value, labels: &Value) -> bool {
    selector::fits(at(workload, &["spec", "selector"]), labels)
}
