//! `phasegate:host/kubernetes`: objects of the release's namespace, as far as asked for and granted.

use std::sync::Arc;

use phasegate_runtime::ports::{ObjectError, ObjectRef, Seen, Writer};
use serde_json::Value;

use crate::bindings::phasegate::host::kubernetes as wit;
use crate::json;
use crate::limits::OBJECTS;
use crate::state::State;

type Answer<T> = wasmtime::Result<Result<T, wit::KubernetesError>>;

impl wit::Host for State {
    async fn get(&mut self, object: wit::ObjectRef) -> Answer<String> {
        self.meter.host_call()?;
        if let Err(refusal) = self.allowed("get", &object) {
            return Ok(Err(refusal));
        }
        let objects = Arc::clone(&self.ports);
        let object = reference(object);
        let found = match self.rights.is_action() {
            // What it applies again and takes back has to be told from what others set.
            true => {
                let manager = self.writer().manager;
                objects.objects.get_owned(&manager, &object).await
            }
            false => objects.objects.get(&object).await,
        };
        match found.as_ref().ok().and_then(Seen::of) {
            // As many as a call may make calls of the host.
            Some(seen) => drop(self.seen.insert(object, seen)),
            None => drop(self.seen.remove(&object)),
        }
        self.answer(found)
    }

    async fn find(
        &mut self,
        api_version: String,
        kind: String,
        namespace: Option<String>,
        label_selector: Option<String>,
    ) -> Answer<Vec<String>> {
        self.meter.host_call()?;
        let namespace = namespace.as_deref();
        if let Err(refusal) = self
            .rights
            .objects("find", group(&api_version), &kind, namespace)
        {
            return Ok(Err(wit::KubernetesError::Denied(self.deny(refusal))));
        }
        let selector = label_selector.as_deref();
        let found = Arc::clone(&self.ports)
            .objects
            .find(&api_version, &kind, namespace, selector, OBJECTS)
            .await;
        let objects = match found {
            Ok(objects) => objects,
            Err(error) => return Ok(Err(self.object_error(error))),
        };
        let mut texts = Vec::with_capacity(objects.len());
        for object in objects.into_iter().take(OBJECTS) {
            let text = object.to_string();
            self.meter.receive(text.len())?;
            texts.push(text);
        }
        Ok(Ok(texts))
    }

    async fn apply(&mut self, object: String) -> Answer<String> {
        self.meter.host_call()?;
        let (object, named) = match self.parsed(&object).and_then(|value| {
            let named = identity(&value).map_err(wit::KubernetesError::Invalid)?;
            Ok((value, named))
        }) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = self.allowed("apply", &named) {
            return Ok(Err(refusal));
        }
        let writer = self.writer();
        let applied = Arc::clone(&self.ports)
            .objects
            .apply(&writer, &object)
            .await;
        self.written(&reference(named), &applied);
        self.answer(applied)
    }

    async fn patch(&mut self, object: wit::ObjectRef, merge: String) -> Answer<String> {
        self.meter.host_call()?;
        let merge = match self
            .allowed("patch", &object)
            .and_then(|()| self.parsed(&merge))
        {
            Ok(merge) => merge,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let writer = self.writer();
        let object = reference(object);
        let patched = Arc::clone(&self.ports)
            .objects
            .patch(&writer, &object, &merge)
            .await;
        self.written(&object, &patched);
        self.answer(patched)
    }

    async fn remove(&mut self, object: wit::ObjectRef) -> Answer<()> {
        self.meter.host_call()?;
        if let Err(refusal) = self.allowed("remove", &object) {
            return Ok(Err(refusal));
        }
        let writer = self.writer();
        let object = reference(object);
        // What the plugin decided by what it read holds for that only.
        let seen = self.seen.remove(&object);
        let removed = Arc::clone(&self.ports)
            .objects
            .remove(&writer, &object, seen.as_ref())
            .await;
        Ok(removed.map_err(|error| self.object_error(error)))
    }
}

impl State {
    fn allowed(&mut self, verb: &str, object: &wit::ObjectRef) -> Result<(), wit::KubernetesError> {
        let namespace = object.namespace.as_deref();
        self.rights
            .objects(verb, group(&object.api_version), &object.kind, namespace)
            .map_err(|refusal| wit::KubernetesError::Denied(self.deny(refusal)))
    }

    /// An object that was read, and that this call has written since, is in another version.
    fn written(&mut self, object: &ObjectRef, answer: &Result<Value, ObjectError>) {
        if let Ok(now) = answer
            && let Some(seen) = self.seen.get_mut(object)
            && let Some(newer) = Seen::of(now)
        {
            *seen = newer;
        }
    }

    fn parsed(&self, text: &str) -> Result<Value, wit::KubernetesError> {
        json::parse(text, self.limits.json_bytes).map_err(wit::KubernetesError::Invalid)
    }

    /// The field manager is the plugin's name, told apart from the engine's own.
    fn writer(&self) -> Writer {
        Writer {
            manager: format!("phasegate-plugin-{}", self.scope.plugin),
            effect: self.scope.effect.clone(),
        }
    }

    fn answer(&mut self, object: Result<Value, ObjectError>) -> Answer<String> {
        match object {
            Ok(object) => {
                let text = object.to_string();
                self.meter.receive(text.len())?;
                Ok(Ok(text))
            }
            Err(error) => Ok(Err(self.object_error(error))),
        }
    }

    fn object_error(&mut self, error: ObjectError) -> wit::KubernetesError {
        match error {
            ObjectError::NotFound => wit::KubernetesError::NotFound,
            ObjectError::Conflict(text) => wit::KubernetesError::Conflict(text),
            ObjectError::Denied(text) => wit::KubernetesError::Denied(self.deny(text)),
            ObjectError::Invalid(text) => wit::KubernetesError::Invalid(text),
            ObjectError::Unavailable(text) => wit::KubernetesError::Unavailable(text),
        }
    }
}

/// The API group of an `apiVersion`; empty for the core group.
fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn reference(object: wit::ObjectRef) -> ObjectRef {
    ObjectRef {
        api_version: object.api_version,
        kind: object.kind,
        namespace: object.namespace,
        name: object.name,
    }
}

/// Which object a manifest is about.
fn identity(object: &Value) -> Result<wit::ObjectRef, String> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let missing = |pointer: &str| format!("the object has no {pointer}");
    Ok(wit::ObjectRef {
        api_version: text("/apiVersion").ok_or_else(|| missing("apiVersion"))?,
        kind: text("/kind").ok_or_else(|| missing("kind"))?,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").ok_or_else(|| missing("metadata.name"))?,
    })
}
