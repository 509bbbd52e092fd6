//! Objects as plugins reach them. Which kinds, verbs and namespaces a plugin may touch was decided before.

use ::http::Method;
use phasegate_runtime::ports::{ObjectError, ObjectRef, Objects};
use serde_json::Value;

use super::fault::Fault;
use super::path::{Resource, with_query};
use super::transport::Call;
use super::{KubeCluster, subject, text};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

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

fn remark(manager: &str) -> String {
    format!("plugin {manager}")
}

#[async_trait::async_trait]
impl Objects for KubeCluster {
    async fn get(&self, object: &ObjectRef) -> Result<Value, ObjectError> {
        let call = call(Method::GET, "get", object)?;
        Ok(self.transport.one(call).await?)
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

    async fn apply(&self, manager: &str, object: &Value) -> Result<Value, ObjectError> {
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
            &[("fieldManager", manager), ("force", "false")],
        );
        let call = call.body(APPLY, object.clone()).remark(remark(manager));
        Ok(self.transport.one(call).await?)
    }

    async fn patch(
        &self,
        manager: &str,
        object: &ObjectRef,
        merge: &Value,
    ) -> Result<Value, ObjectError> {
        let mut call = call(Method::PATCH, "patch", object)?;
        call.target = with_query(&call.target, &[("fieldManager", manager)]);
        let call = call.body(MERGE, merge.clone()).remark(remark(manager));
        Ok(self.transport.one(call).await?)
    }

    async fn remove(&self, object: &ObjectRef) -> Result<(), ObjectError> {
        let call = call(Method::DELETE, "delete", object)?.remark("plugin".to_owned());
        self.transport.one(call).await?;
        Ok(())
    }
}
