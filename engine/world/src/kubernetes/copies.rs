//! Copies of configurations that releases left: taken away where nothing that runs, or could be started again, refers to
//! them; by a run whose way back is over, also where only old ReplicaSets without pods do.

use std::collections::BTreeSet;

use ::http::Method;
use phasegate_core::config::{ConfigKind, Left, original};
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, Stamp};
use serde_json::{Value, json};

use super::configs::{COPY_OF, resource};
use super::fence::{MADE_BY, crowded, deleting, version};
use super::path::Resource;
use super::{JSON, KubeCluster, WRITE_ATTEMPTS, at, call, count, references, text};

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
pub const MAX_COPIES: usize = 200;
/// What these requests are for, to whoever reads the audit log.
const REMARK: &str = "old copies";

impl KubeCluster {
    /// Those of the copies in a namespace that are there as a release made them, and to which nothing refers.
    ///
    /// # Errors
    /// Where it can't be told.
    pub async fn unused_copies(
        &self,
        namespace: &str,
        copies: &BTreeSet<(ConfigKind, String)>,
    ) -> Result<BTreeSet<(ConfigKind, String)>, Failure> {
        let mut unused = BTreeSet::new();
        if copies.is_empty() {
            return Ok(unused);
        }
        let used = self.referred_to(namespace).await?;
        for (kind, name) in copies.difference(&used) {
            let found = self.find_one(&resource(*kind), namespace, name).await?;
            if found.is_some_and(|found| is_left(&found)) {
                unused.insert((*kind, name.clone()));
            }
        }
        Ok(unused)
    }

    /// Takes away those of the copies in a namespace that a release made and nothing refers to, [`MAX_COPIES`] at most,
    /// and returns their names.
    ///
    /// # Errors
    /// Where it can't be told what refers to them, or one can't be taken away: nothing is, or those before it are.
    pub async fn remove_copies(
        &self,
        namespace: &str,
        copies: &BTreeSet<(ConfigKind, String)>,
    ) -> Result<Vec<String>, Failure> {
        let mut gone = Vec::new();
        let unused = self.unused_copies(namespace, copies).await?;
        for (kind, name) in unused.iter().take(MAX_COPIES) {
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
            for object in &self.templates_of(namespace, group, plural).await? {
                used.extend(at(object, pods).into_iter().flat_map(references::all));
            }
        }
        Ok(used)
    }

    /// All objects of such a kind.
    async fn templates_of(
        &self,
        namespace: &str,
        group: &'static str,
        plural: &'static str,
    ) -> Result<Vec<Value>, Failure> {
        let resource = Resource::fixed(group, "v1", plural);
        let found = self
            .list_of(&resource, Some(namespace), &[], MAX_TEMPLATES)
            .await;
        let found: Vec<Value> = match found {
            // Where there is no such kind there is none of it.
            Err(problem) if problem.fault.is_not_found() => Vec::new(),
            found => found?,
        };
        if found.len() >= MAX_TEMPLATES {
            return Err(Failure::new(
                Kind::Permanent,
                codes::CLUSTER_REFUSED,
                format!("namespace `{namespace}` has more {plural} than are looked through"),
            ));
        }
        Ok(found)
    }
}

/// What refers to a copy.
enum Holder {
    /// Pods that serve for the workload are started with it.
    Serves,
    /// Something else.
    Other(String),
}

impl KubeCluster {
    pub(super) async fn delete_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let what = left.kind.as_str();
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.config(target, left.kind, &left.name).await?;
            let Some(found) = found.filter(is_left) else {
                return Ok(());
            };
            match self.holder(target, left).await? {
                None => {}
                // A later release has led the workload to it again: it is that one's to see to.
                Some(Holder::Serves) => return Ok(()),
                Some(Holder::Other(by)) => {
                    let message = format!("{by} refers to the {what} `{}` still", left.name);
                    let failure = Failure::new(Kind::Conflict, codes::CONFLICT, message);
                    return Err(failure.into());
                }
            }
            self.not_overtaken(target, stamp).await?;
            newest = self
                .delete_found(&resource(left.kind), &found, target, stamp)
                .await?;
            if newest.is_none() {
                return Ok(());
            }
        }
        Err(crowded(what, &left.name, newest))
    }

    /// What refers to a copy and keeps it from going; whatever serves comes first.
    async fn holder(&self, target: &Target, left: &Left) -> Result<Option<Holder>, Failure> {
        // To a kept pod template nothing refers but the way back, which is over.
        if left.kind == ConfigKind::Template {
            return Ok(None);
        }
        let wanted = (left.kind, left.name.clone());
        let beside = target.beside.as_ref().map(|beside| &beside.deployment);
        let mut holder = None;
        for (group, plural, pods) in TEMPLATES {
            for object in self.templates_of(&target.namespace, group, plural).await? {
                let refers =
                    at(&object, pods).is_some_and(|pods| references::all(pods).contains(&wanted));
                if !refers || is_over(plural, &object) {
                    continue;
                }
                let name = text(&object, "/metadata/name");
                let workload = name == target.deployment || beside.is_some_and(|it| it == name);
                if plural == "deployments" && workload && count(&object, "/spec/replicas") > 0 {
                    return Ok(Some(Holder::Serves));
                }
                let other = || Holder::Other(format!("one of the {plural}, `{name}`,"));
                holder.get_or_insert_with(other);
            }
        }
        Ok(holder)
    }
}

/// Whether it starts no pod any more, and has none. An old ReplicaSet is what `kubectl rollout undo` goes back to, which
/// is promised for no longer than a run's own way back.
fn is_over(plural: &str, object: &Value) -> bool {
    match plural {
        "pods" => matches!(text(object, "/status/phase"), "Succeeded" | "Failed"),
        "replicasets" => {
            count(object, "/spec/replicas") == 0 && count(object, "/status/replicas") == 0
        }
        "jobs" => !text(object, "/status/completionTime").is_empty(),
        _ => false,
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
