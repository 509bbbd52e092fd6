//! Kubernetes, as the engine and the plugins reach it.
//!
//! [`KubeCluster`] speaks plain JSON through a [`kube::Client`] instead of typed objects, for two
//! reasons. What it doesn't know must survive: a digest of a pod template has to cover the fields of
//! API versions that came later. And every request that changes something names the effect that it
//! belongs to in its `User-Agent` (`phasegate/0.1.0 (effect <key>)`), which the API server's audit
//! log records: so what the engine did can be matched with its journal from the outside.
//!
//! | File | Does |
//! |---|---|
//! | `transport`, `fault`, `path`, `lean` | one exchange; what went wrong with it; where it goes; what is left out of an answer |
//! | `deployment`, `autoscaler` | read a Deployment: settings, version, digest, marks; and what scales it |
//! | `locate`, `labels` | which Deployment serves; where a candidate can be, and by which labels it is told apart |
//! | `slot` | the objects of stable and candidate |
//! | `baseline`, `observe`, `diagnose` | what is there |
//! | `answers` | what was answered lately to looks, so that it isn't read anew while it stays |
//! | `watch`, `view` | what the API server tells by itself; what that says of a target |
//! | `cluster` | the port `Cluster` |
//! | `change`, `claim` | writes of a run |
//! | `create`, `manifest`, `remove` | the candidate's objects come and go |
//! | `configs`, `references` | copies of ConfigMaps and Secrets, and where pods refer to them |
//! | `templates` | pod templates that a release brings along, and copies of those before them |
//! | `lease`, `fence` | who drives; whose an object is |
//! | `objects` | what plugins read and write |
//! | `shelf`, `job` | where journals are kept in a cluster; what drives runs there |
//! | `rights` | what a plan needs to be allowed, and which of it is missing |
//!
//! **A write whose answer is missing is never reported as failed.** Connections that broke after
//! the request may have left, time-outs, and answers by which the API server says that it doesn't
//! know itself, are [`ChangeError::Unknown`](phasegate_runtime::ports::ChangeError::Unknown).
//!
//! **A write can't overtake a newer engine.** Each reads its object and the Lease first, refuses where
//! either knows of a later epoch, and carries the object's `resourceVersion` as it was read before the
//! Lease: whatever another engine writes in between makes the API server refuse ours.

use std::sync::{Arc, Mutex};

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::Span;
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, Clock, LEASE_DURATION, LeaseError, ObjectError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::fault::{Fault, Subject};
use self::lean::Lean;
use self::path::{Resource, with_query};
use self::transport::{Call, Transport};

mod answers;
mod autoscaler;
mod baseline;
mod change;
mod claim;
mod cluster;
mod configs;
mod copies;
mod create;
mod deployment;
mod diagnose;
mod family;
mod fault;
mod fence;
mod job;
mod labels;
mod lean;
mod lease;
mod locate;
mod manifest;
mod objects;
mod observe;
mod path;
mod references;
mod remove;
mod rights;
mod shelf;
mod slot;
mod templates;
#[cfg(test)]
mod tests;
mod transport;
mod view;
mod watch;

pub use self::rights::{Right, needed};
pub use self::shelf::KubeShelf;
pub use self::transport::MAX_ANSWER;
pub(crate) use self::transport::{chain, printable_long};

/// How long one request may take.
pub const REQUEST_TIMEOUT: Span = Span::from_secs(30);
/// The field manager of what a run owns.
pub const FIELD_MANAGER: &str = "phasegate";
/// How often a write that met a newer version of its object is tried again at once.
pub const WRITE_ATTEMPTS: u32 = 3;
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// How many objects are asked for at a time.
const PAGE: usize = 500;
/// How many pages of objects are read before giving up.
const MAX_PAGES: usize = 20;

/// What can be set about a [`KubeCluster`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long one request may take, by the clock of the cluster's world. For a simulated cluster
    /// in scaled time this is simulated time too, and should be larger by the scale.
    pub request_timeout: Span,
    /// How long a lease holds without being renewed, by the same clock and with the same care.
    pub lease: Span,
    /// What the engine calls itself in the `User-Agent` header.
    pub agent: String,
    /// Whether what a run looks at again and again is watched. It takes a tokio runtime: a watch is a task.
    pub watches: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request_timeout: REQUEST_TIMEOUT,
            lease: LEASE_DURATION,
            agent: concat!("phasegate/", env!("CARGO_PKG_VERSION")).to_owned(),
            watches: false,
        }
    }
}

/// A Kubernetes cluster: the ports `Cluster`, `Leases` and `Objects`.
///
/// Cheap to clone. Every request is bounded in time by the clock it was given, and in size by
/// [`MAX_ANSWER`].
#[derive(Clone)]
pub struct KubeCluster {
    transport: Transport,
    lease: Span,
    written: Arc<lease::Written>,
    watches: bool,
    views: Arc<view::Views>,
    answers: Arc<answers::Answers>,
    descent: Arc<Mutex<family::Descent>>,
    held: Arc<templates::Held>,
}

impl std::fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeCluster")
            .field("timeout", &self.transport.timeout)
            .field("agent", &self.transport.agent)
            .finish_non_exhaustive()
    }
}

impl KubeCluster {
    /// The cluster that the client speaks to. The client must not repeat requests by itself: a
    /// repeated write would be one that the journal knows nothing of.
    #[must_use]
    pub fn new(client: kube::Client, clock: Arc<dyn Clock>, options: Options) -> Self {
        Self {
            lease: options.lease,
            written: Arc::default(),
            watches: options.watches,
            views: Arc::default(),
            answers: Arc::default(),
            descent: Arc::default(),
            held: Arc::default(),
            transport: Transport {
                client,
                clock,
                timeout: options.request_timeout,
                agent: options.agent,
            },
        }
    }

    async fn read_one(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Problem> {
        self.transport
            .one(call(Method::GET, "get", resource, namespace, name)?)
            .await
    }

    /// The object, or none where there is none of that name.
    async fn find_one(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Problem> {
        found(self.read_one(resource, namespace, name).await)
    }

    /// All objects of a kind that a query chooses, at most `limit` of them.
    async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<Vec<Value>, Problem> {
        let found: Vec<Lean> = self.list_of(resource, namespace, query, limit).await?;
        Ok(found.into_iter().map(|Lean(object)| object).collect())
    }

    async fn list_of<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<Vec<T>, Problem> {
        let listed = self.list_with_version(resource, namespace, query, limit);
        Ok(listed.await?.0)
    }

    /// The same, with the version from which a watch goes on.
    async fn list_with_version<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<(Vec<T>, String), Problem> {
        let subject = subject("list", resource, namespace, "");
        let path = resource
            .path(namespace, "")
            .map_err(|why| Problem::new(Fault::NotSent(why), subject.clone()))?;
        let page_size = PAGE.min(limit).to_string();
        let mut found = Vec::new();
        let mut next = String::new();
        let mut version = String::new();
        for _ in 0..MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("limit", &page_size));
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let call = Call::new(Method::GET, with_query(&path, &query), subject.clone());
            let page: Page<T> = self.transport.whole(call).await?;
            let items = page.items.into_iter().flatten();
            found.extend(items.take(limit.saturating_sub(found.len())));
            next = page.metadata.next.unwrap_or_default();
            version = page.metadata.version.unwrap_or_default();
            if next.is_empty() || found.len() >= limit {
                break;
            }
        }
        Ok((found, version))
    }

    /// The target's Deployment. Where it is missing, says what was looked for and where.
    async fn deployment(&self, target: &Target) -> Result<Value, Failure> {
        let Lean(found) = self.deployment_as(target).await?;
        Ok(found)
    }

    /// The same, with who owns which of its fields.
    async fn deployment_with_owners(&self, target: &Target) -> Result<Value, Failure> {
        self.deployment_as(target).await
    }

    async fn deployment_as<T: DeserializeOwned>(&self, target: &Target) -> Result<T, Failure> {
        let resource = Resource::deployments();
        let (namespace, name) = (&target.namespace, &target.deployment);
        let call = call(Method::GET, "get", &resource, namespace, name)?;
        found(self.transport.whole(call).await)?.ok_or_else(|| no_deployment(target))
    }
}

fn no_deployment(target: &Target) -> Failure {
    let (namespace, name) = (&target.namespace, &target.deployment);
    Failure::new(
        Kind::Permanent,
        codes::WORKLOAD_NOT_FOUND,
        format!(
            "there is no Deployment `{name}` in namespace `{namespace}` of cluster `{}`",
            target.cluster
        ),
    )
}

/// A part of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
    #[serde(default, rename = "resourceVersion")]
    version: Option<String>,
}

/// The object, or none where there is none of that name.
fn found<T>(answer: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(problem) if problem.fault.is_not_found() => Ok(None),
        Err(problem) => Err(problem),
    }
}

impl Transport {
    /// The answer, of which an object's managed fields are left out.
    async fn one(&self, call: Call) -> Result<Value, Problem> {
        let Lean(value) = self.whole(call).await?;
        Ok(value)
    }

    async fn whole<T: DeserializeOwned>(&self, call: Call) -> Result<T, Problem> {
        let subject = call.subject.clone();
        self.read(call)
            .await
            .map_err(|fault| Problem::new(fault, subject))
    }
}

/// A fault with what was asked for.
#[derive(Clone, Debug)]
struct Problem {
    fault: Fault,
    subject: Box<Subject>,
}

impl Problem {
    fn new(fault: Fault, subject: Subject) -> Self {
        Self {
            fault,
            subject: Box::new(subject),
        }
    }

    /// For requests that change something.
    fn change_error(&self) -> ChangeError {
        self.fault.change_error(&self.subject)
    }
}

/// For requests that read.
impl From<Problem> for ChangeError {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem.into())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        problem.fault.failure(&problem.subject)
    }
}

impl From<Problem> for LeaseError {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem.into())
    }
}

impl From<Problem> for ObjectError {
    fn from(problem: Problem) -> Self {
        problem.fault.object_error(&problem.subject)
    }
}

fn subject(
    verb: &'static str,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Subject {
    Subject {
        verb,
        resource: resource.qualified(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

/// A call about one object, or with an empty name about the objects of that kind.
fn call(
    method: Method,
    verb: &'static str,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Call, Problem> {
    let subject = subject(verb, resource, Some(namespace), name);
    match resource.path(Some(namespace), name) {
        Ok(path) => Ok(Call::new(method, path, subject)),
        Err(why) => Err(Problem::new(Fault::NotSent(why), subject)),
    }
}

/// The remark by which a write of a run names its effect.
fn effect(key: &str) -> String {
    format!("effect {key}")
}

/// What is at a JSON pointer that names fields only, none with a `~` or `/` in its name: those that this adapter
/// looks for. [`Value::pointer`] makes a copy of each name.
fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut names = pointer.split('/').skip(1);
    names.try_fold(value, |value, name| value.get(name))
}

/// The text at a JSON pointer, or nothing.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The count at a JSON pointer, or zero.
fn count(value: &Value, pointer: &str) -> u64 {
    at(value, pointer)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// A count that is far below its limit in every cluster there is.
fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The items of the array at a JSON pointer, or none.
fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(value, pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
