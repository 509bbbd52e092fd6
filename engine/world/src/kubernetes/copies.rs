//! Copies of configurations that releases left: taken away where nothing that runs, or could be started again, refers to
//! them.

use std::collections::BTreeSet;

use ::http::Method;
use phasegate_core::config::{ConfigKind, original};
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use serde_json::{Value, json};

use super::configs::{COPY_OF, resource};
use super::fence::{MADE_BY, deleting, version};
use super::path::Resource;
use super::{JSON, KubeCluster, at, call, references, text};

/// What starts pods, and where their specification is in it. Old ReplicaSets are what `kubectl rollout undo` goes back to.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "pods", "/spec"),
    ("", "podtemplates", "/template/spec"),
    ("apps", "deployments", "/spec/template/spec"),
    ("apps", "replicasets", "/spec/template/spec"),
    ("apps", "statefulsets", "/spec/template/spec"),
    ("apps", "daemonsets", "/spec/template/spec"),
    ("batch", "jobs", "/spec/template/spec"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template/spec"),
];
/// Most objects of a kind that are looked through.
const MAX_TEMPLATES: usize = 5000;
/// Most copies that one call takes away.
const MAX_COPIES: usize = 200;
/// What these requests are for, to whoever reads the audit log.
const REMARK: &str = "old copies";

impl KubeCluster {
    /// Takes away those of the copies in a namespace that a release made and nothing refers to, and returns their names.
    ///
    /// # Errors
    /// Where it can't be told what refers to them, or one can't be taken away: nothing is, or those before it are.
    pub async fn remove_copies(
        &self,
        namespace: &str,
        copies: &BTreeSet<(ConfigKind, String)>,
    ) -> Result<Vec<String>, Failure> {
        let mut gone = Vec::new();
        if copies.is_empty() {
            return Ok(gone);
        }
        let used = self.referred_to(namespace).await?;
        for (kind, name) in copies.difference(&used).take(MAX_COPIES) {
            let resource = resource(*kind);
            let found = self.find_one(&resource, namespace, name).await?;
            let Some(found) = found.filter(is_left) else {
                continue;
            };
            let call = call(Method::DELETE, "delete", &resource, namespace, name)?;
            let options = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {
                    "uid": text(&found, "/metadata/uid"),
                    "resourceVersion": version(&found),
                },
            });
            let call = call.body(JSON, options).remark(REMARK.to_owned());
            match self.transport.one(call).await {
                Ok(_) => gone.push(format!("{} {name}", kind.as_str())),
                Err(problem) if problem.fault.is_not_found() => {}
                Err(problem) => return Err(problem.into()),
            }
        }
        Ok(gone)
    }

    /// All that pods of the namespace are, or would be, started with.
    async fn referred_to(
        &self,
        namespace: &str,
    ) -> Result<BTreeSet<(ConfigKind, String)>, Failure> {
        let mut used = BTreeSet::new();
        for (group, plural, pods) in TEMPLATES {
            let resource = Resource::fixed(group, "v1", plural);
            let found: Vec<Value> = self
                .list_of(&resource, Some(namespace), &[], MAX_TEMPLATES)
                .await?;
            if found.len() >= MAX_TEMPLATES {
                return Err(Failure::new(
                    Kind::Permanent,
                    codes::CLUSTER_REFUSED,
                    format!("namespace `{namespace}` has more {plural} than are looked through"),
                ));
            }
            for object in &found {
                used.extend(at(object, pods).into_iter().flat_map(references::all));
            }
        }
        Ok(used)
    }
}

/// Whether it is a copy as a release makes it.
fn is_left(found: &Value) -> bool {
    let annotation = |name: &str| {
        let annotations = found.pointer("/metadata/annotations");
        annotations
            .and_then(|all| all.get(name))
            .and_then(Value::as_str)
    };
    let name = text(found, "/metadata/name");
    !deleting(found)
        && annotation(MADE_BY).is_some()
        && original(name) != name
        && annotation(COPY_OF) == Some(original(name))
}
