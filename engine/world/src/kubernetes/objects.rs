//! Objects as plugins reach them. Which kinds, verbs and namespaces a plugin may touch was decided before.

use ::http::Method;
use phasegate_core::failure::{Failure, Kind};
use phasegate_runtime::ports::{ObjectError, ObjectRef, Objects, Seen, Writer};
use serde_json::{Value, json};

use super::fault::Fault;
use super::path::{Resource, with_query};
use super::transport::Call;
use super::watch::Scope;
use super::{APPLY, JSON, KubeCluster, MERGE, effect, subject, text};

fn call(method: Method, verb: &'static str, object: &ObjectRef) -> Result<Call, ObjectError> {
    if object.name.is_empty() {
        return Err(ObjectError::Invalid("the object has no name".to_owned()));
    }
    let resource = Resource::of(&object.api_version, &object.kind).map_err(ObjectError::Invalid)?;
    let namespace = object.namespace.as_deref();
    let path = resource
        .path(namespace, &object.name)
        .map_err(ObjectError::Invalid)?;
    let subject = subject(verb, &resource, namespace, &object.name);
    Ok(Call::new(method, path, subject))
}

/// On whose behalf the request is made: of the run's effect, where it is made for one.
fn remark(writer: &Writer) -> String {
    match &writer.effect {
        Some((_, stamp)) => effect(&stamp.key),
        None => format!("plugin {}", writer.manager),
    }
}

impl KubeCluster {
    /// An object that a plugin has read is watched from then on; Deployments are already.
    fn noted(&self, object: &ObjectRef, found: &Value) {
        let resource = Resource::of(&object.api_version, &object.kind);
        if let (Ok(resource), Some(namespace)) = (resource, &object.namespace)
            && resource.plural != "deployments"
        {
            let scope = Scope::named(resource, namespace, &object.name);
            self.views.noted(&self.transport, scope, found);
        }
    }

    /// Refuses the write of a plugin that was called by an engine which has been overtaken since.
    async fn may_write(&self, writer: &Writer) -> Result<(), ObjectError> {
        let Some((target, stamp)) = &writer.effect else {
            return Ok(());
        };
        let refused = |failure: Failure| match failure.kind {
            Kind::Fenced | Kind::Denied => ObjectError::Denied(failure.message),
            _ => ObjectError::Unavailable(failure.message),
        };
        self.not_overtaken(target, stamp).await.map_err(refused)
    }
}

/// Leaves of an object's managed fields what this manager has applied: nobody else's are a plugin's business.
fn only_applied(object: &mut Value, manager: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let fields = metadata.remove("managedFields");
    let Some(Value::Array(mut entries)) = fields else {
        return;
    };
    entries.retain(|entry| {
        text(entry, "/manager") == manager
            && text(entry, "/operation") == "Apply"
            && text(entry, "/subresource").is_empty()
    });
    if !entries.is_empty() {
        metadata.insert("managedFields".to_owned(), entries.into());
    }
}

#[async_trait::async_trait]
impl Objects for KubeCluster {
    async fn get(&self, object: &ObjectRef) -> Result<Value, ObjectError> {
        let call = call(Method::GET, "get", object)?;
        let found = self.transport.one(call).await?;
        self.noted(object, &found);
        Ok(found)
    }

    async fn get_owned(&self, manager: &str, object: &ObjectRef) -> Result<Value, ObjectError> {
        let call = call(Method::GET, "get", object)?;
        let mut found = self.transport.whole(call).await?;
        // It isn't watched: it may be one of many, each change of which would wake the run for nothing.
        only_applied(&mut found, manager);
        Ok(found)
    }

    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>, ObjectError> {
        let resource = Resource::of(api_version, kind).map_err(ObjectError::Invalid)?;
        let selector = label_selector.map(|selector| ("labelSelector", selector));
        let query: Vec<(&str, &str)> = selector.into_iter().collect();
        if limit == 0 {
            return Ok(Vec::new());
        }
        let listed = self.list(&resource, namespace, &query, limit).await;
        let mut found = listed.map_err(|problem| match problem.fault {
            Fault::NotSent(why) => ObjectError::Invalid(why),
            _ => ObjectError::from(problem),
        })?;
        // A list doesn't repeat in every item what all of them are.
        for object in found.iter_mut().filter_map(Value::as_object_mut) {
            object
                .entry("apiVersion")
                .or_insert_with(|| api_version.into());
            object.entry("kind").or_insert_with(|| kind.into());
        }
        Ok(found)
    }

    async fn apply(&self, writer: &Writer, object: &Value) -> Result<Value, ObjectError> {
        let namespace = text(object, "/metadata/namespace");
        let named = ObjectRef {
            api_version: text(object, "/apiVersion").to_owned(),
            kind: text(object, "/kind").to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: text(object, "/metadata/name").to_owned(),
        };
        let mut call = call(Method::PATCH, "patch", &named)?;
        call.target = with_query(
            &call.target,
            &[("fieldManager", &writer.manager), ("force", "false")],
        );
        let call = call.body(APPLY, object.clone()).remark(remark(writer));
        self.may_write(writer).await?;
        Ok(self.transport.one(call).await?)
    }

    async fn patch(
        &self,
        writer: &Writer,
        object: &ObjectRef,
        merge: &Value,
    ) -> Result<Value, ObjectError> {
        let mut call = call(Method::PATCH, "patch", object)?;
        call.target = with_query(&call.target, &[("fieldManager", &writer.manager)]);
        let call = call.body(MERGE, merge.clone()).remark(remark(writer));
        self.may_write(writer).await?;
        Ok(self.transport.one(call).await?)
    }

    async fn remove(
        &self,
        writer: &Writer,
        object: &ObjectRef,
        seen: Option<&Seen>,
    ) -> Result<(), ObjectError> {
        let mut call = call(Method::DELETE, "delete", object)?.remark(remark(writer));
        if let Some(Seen { uid, version }) = seen {
            let options = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": uid, "resourceVersion": version},
            });
            call = call.body(JSON, options);
        }
        self.may_write(writer).await?;
        self.transport.one(call).await?;
        Ok(())
    }
}
