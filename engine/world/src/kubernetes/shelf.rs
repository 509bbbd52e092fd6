//! Where the journals of runs are kept in a namespace: ConfigMaps that are made once and marked as immutable, and a
//! Lease for each run that says who drives it.

use std::collections::BTreeMap;

use ::http::Method;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::ChangeError;
use phasegate_runtime::shelf::{HOLD, Part, Sheet, Shelf, ShelfError, Slip};
use serde_json::{Map, Value, json};

use super::lease::{micro_time, whole_seconds};
use super::path::{Resource, with_query};
use super::transport::Call;
use super::{FIELD_MANAGER, JSON, KubeCluster, Lean, Page, Problem, call, subject, text};

/// Labels and notes begin with this.
const PREFIX: &str = "phasegate.dev/";
const RUN: &str = "phasegate.dev/run";
const PART: &str = "phasegate.dev/journal";
/// What the label of a slip's Lease says.
const SLIP: &str = "slip";
const REMARK: &str = "journal";
/// Most characters of a label's value; a run's id may have more, and the object says it in full in any case.
const MAX_LABEL: usize = 63;
/// Sheets of a page, so that the largest ones fit into an answer; and where their text is left out.
const PAGE_WHOLE: &str = "15";
const PAGE_NOTES: &str = "500";
/// Most pages of a list: more than a run has records.
const MAX_PAGES: usize = 14_000;
/// An object's metadata alone. A server that doesn't know it sends the objects as they are.
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// The journals in a namespace.
#[derive(Clone, Debug)]
pub struct KubeShelf {
    cluster: KubeCluster,
    namespace: String,
}

impl KubeCluster {
    /// Where journals are kept in that namespace.
    #[must_use]
    pub fn shelf(&self, namespace: &str) -> KubeShelf {
        KubeShelf {
            cluster: self.clone(),
            namespace: namespace.to_owned(),
        }
    }
}

fn label(run: &str) -> String {
    let cut: String = run.chars().take(MAX_LABEL).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn lease_name(run: &str) -> String {
    format!("phasegate-journal-{run}")
}

/// The failure of a write.
fn written(problem: &Problem) -> ShelfError {
    if problem.fault.is_already_exists() {
        return ShelfError::Exists;
    }
    if problem.fault.is_conflict() {
        return ShelfError::Changed;
    }
    match problem.change_error() {
        ChangeError::Unknown(message) => ShelfError::Unknown(message),
        ChangeError::Failed(failure) => ShelfError::Failed(failure),
    }
}

fn read(problem: Problem) -> ShelfError {
    ShelfError::Failed(problem.into())
}

fn strings(value: &Value, field: &str) -> BTreeMap<String, String> {
    let fields = super::at(value, field).and_then(Value::as_object);
    let strings = fields.into_iter().flatten();
    strings
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn sheet(object: &Value) -> Option<Sheet> {
    let part = strings(object, "/metadata/labels").remove(PART)?;
    let mut notes: BTreeMap<String, String> = strings(object, "/metadata/annotations")
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)))
        .collect();
    Some(Sheet {
        name: text(object, "/metadata/name").to_owned(),
        run: notes.remove("run")?,
        part: Part::ALL.into_iter().find(|known| known.word() == part)?,
        notes,
        text: strings(object, "/data"),
    })
}

fn slip(lease: &Value) -> Option<Slip> {
    let mut notes = strings(lease, "/metadata/annotations");
    Some(Slip {
        run: notes.remove(RUN)?,
        holder: text(lease, "/spec/holderIdentity").to_owned(),
        renewed: text(lease, "/spec/renewTime").parse().unwrap_or_default(),
        note: notes.remove(&format!("{PREFIX}head")).unwrap_or_default(),
        version: text(lease, "/metadata/resourceVersion").to_owned(),
    })
}

/// Objects in the order in which they were made: the version of one that never changes only grows from one to the next.
fn made(object: &Value) -> u64 {
    let version = text(object, "/metadata/resourceVersion");
    version.parse().unwrap_or_default()
}

impl KubeShelf {
    fn metadata(&self, name: &str, run: &str, part: &str, notes: Map<String, Value>) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "phasegate",
                PART: part,
                RUN: label(run),
            },
            "annotations": notes,
        })
    }

    async fn send(
        &self,
        method: Method,
        verb: &'static str,
        resource: &Resource,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem> {
        let mut call = call(method, verb, resource, &self.namespace, name)?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let call = call.body(JSON, body).remark(REMARK.to_owned());
        self.cluster.transport.one(call).await
    }

    async fn delete(&self, resource: &Resource, name: &str) -> Result<(), ShelfError> {
        let call = call(Method::DELETE, "delete", resource, &self.namespace, name).map_err(read)?;
        let call = call.remark(REMARK.to_owned());
        match self.cluster.transport.one(call).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.fault.is_not_found() => Ok(()),
            Err(problem) => Err(written(&problem)),
        }
    }

    /// All objects that have these labels, page after page.
    async fn all(
        &self,
        resource: &Resource,
        selector: &str,
        whole: bool,
    ) -> Result<Vec<Value>, ShelfError> {
        let subject = subject("list", resource, Some(&self.namespace), "");
        let path = resource
            .path(Some(&self.namespace), "")
            .map_err(|why| read(Problem::new(super::Fault::NotSent(why), subject.clone())))?;
        let limit = if whole { PAGE_WHOLE } else { PAGE_NOTES };
        let mut found = Vec::new();
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let mut query = vec![("labelSelector", selector), ("limit", limit)];
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let mut call = Call::new(Method::GET, with_query(&path, &query), subject.clone());
            if !whole {
                call = call.accept(METADATA);
            }
            let page: Page<Lean> = self.cluster.transport.whole(call).await.map_err(read)?;
            found.extend(page.items.into_iter().flatten().map(|Lean(object)| object));
            next = page.metadata.next.unwrap_or_default();
            if next.is_empty() {
                found.sort_by_key(made);
                return Ok(found);
            }
        }
        Err(ShelfError::Failed(Failure::new(
            Kind::Permanent,
            phasegate_core::diagnostic::codes::CLUSTER_REFUSED,
            format!(
                "namespace `{}` has more journals than are read",
                self.namespace
            ),
        )))
    }
}

#[async_trait::async_trait]
impl Shelf for KubeShelf {
    async fn put(&self, sheet: &Sheet) -> Result<(), ShelfError> {
        let mut notes = Map::new();
        for (name, value) in &sheet.notes {
            notes.insert(format!("{PREFIX}{name}"), json!(value));
        }
        notes.insert(RUN.to_owned(), json!(sheet.run));
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(&sheet.name, &sheet.run, sheet.part.word(), notes),
            "immutable": true,
            "data": sheet.text,
        });
        let maps = Resource::config_maps();
        let made = self.send(Method::POST, "create", &maps, "", object).await;
        made.map(|_| ()).map_err(|problem| written(&problem))
    }

    async fn get(&self, name: &str) -> Result<Option<Sheet>, ShelfError> {
        let maps = Resource::config_maps();
        let found = self.cluster.find_one(&maps, &self.namespace, name).await;
        // One that isn't ours holds the name, and none of what is looked for.
        Ok(found.map_err(read)?.as_ref().and_then(sheet))
    }

    async fn list(
        &self,
        run: Option<&str>,
        parts: &[Part],
        whole: bool,
    ) -> Result<Vec<Sheet>, ShelfError> {
        let words: Vec<&str> = parts.iter().map(|part| part.word()).collect();
        let mut selector = format!("{PART} in ({})", words.join(","));
        if let Some(run) = run {
            selector = format!("{selector},{RUN}={}", label(run));
        }
        let found = self.all(&Resource::config_maps(), &selector, whole).await?;
        let sheets = found.iter().filter_map(sheet);
        Ok(sheets
            .filter(|sheet| run.is_none_or(|run| run == sheet.run))
            .collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ShelfError> {
        self.delete(&Resource::config_maps(), name).await
    }

    async fn slip(&self, run: &str) -> Result<Option<Slip>, ShelfError> {
        let (leases, name) = (Resource::leases(), lease_name(run));
        let found = self.cluster.find_one(&leases, &self.namespace, &name).await;
        Ok(found.map_err(read)?.as_ref().and_then(slip))
    }

    async fn slips(&self) -> Result<Vec<Slip>, ShelfError> {
        let selector = format!("{PART}={SLIP}");
        let found = self.all(&Resource::leases(), &selector, true).await?;
        Ok(found.iter().filter_map(slip).collect())
    }

    async fn write(&self, wanted: &Slip) -> Result<Slip, ShelfError> {
        let name = lease_name(&wanted.run);
        let mut notes = Map::new();
        notes.insert(RUN.to_owned(), json!(wanted.run));
        if !wanted.note.is_empty() {
            notes.insert(format!("{PREFIX}head"), json!(wanted.note));
        }
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": self.metadata(&name, &wanted.run, SLIP, notes),
            "spec": {
                "holderIdentity": wanted.holder,
                "leaseDurationSeconds": whole_seconds(HOLD),
                "renewTime": renewed(wanted.renewed),
            },
        });
        let leases = Resource::leases();
        let sent = if wanted.version.is_empty() {
            self.send(Method::POST, "create", &leases, "", object).await
        } else {
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
            if let Some(metadata) = metadata {
                metadata.insert("resourceVersion".to_owned(), json!(wanted.version));
            }
            self.send(Method::PUT, "update", &leases, &name, object)
                .await
        };
        match sent {
            Ok(lease) => slip(&lease).ok_or(ShelfError::Changed),
            // It was taken away since it was read.
            Err(problem) if problem.fault.is_not_found() => Err(ShelfError::Changed),
            Err(problem) => Err(written(&problem)),
        }
    }

    async fn remove_slip(&self, run: &str) -> Result<(), ShelfError> {
        self.delete(&Resource::leases(), &lease_name(run)).await
    }

    /// The namespace alone: two clusters' runs have names of their own, and leases are of one cluster.
    fn place(&self) -> String {
        format!("kubernetes:{}", self.namespace)
    }
}

/// Null for a slip that nobody has held yet.
fn renewed(at: Timestamp) -> Value {
    match at {
        Timestamp::ZERO => Value::Null,
        at => json!(micro_time(at)),
    }
}
