//! Which engine drives a target: a Lease of `coordination.k8s.io`.
//!
//! The epoch is `leaseTransitions`, which only grows. Whether a lease has expired is judged by its
//! `renewTime` and this machine's clock: clocks that differ by more than the lease's duration make
//! an engine take over early or late. Early does no harm to the target, since the epoch fences the
//! writes of the engine that was taken over from.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::http::Method;
use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{Grant, Holder, LeaseError, Leases};
use serde_json::{Map, Value, json};

use super::path::{Resource, with_query};
use super::{
    FIELD_MANAGER, JSON, KubeCluster, Problem, WRITE_ATTEMPTS, call, count, deployment, text,
};

const REMARK: &str = "lease";

pub(super) fn name(target: &Target) -> String {
    format!("phasegate-{}", target.workload)
}

impl KubeCluster {
    async fn find_lease(&self, target: &Target) -> Result<Option<Value>, Problem> {
        self.find_one(&Resource::leases(), &target.namespace, &name(target))
            .await
    }

    async fn create_lease(&self, target: &Target, spec: Value) -> Result<Value, Problem> {
        let leases = Resource::leases();
        let mut call = call(Method::POST, "create", &leases, &target.namespace, "")?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name(target),
                "namespace": target.namespace,
                "labels": {"app.kubernetes.io/managed-by": "phasegate"},
            },
            "spec": spec,
        });
        self.transport
            .one(call.body(JSON, body).remark(REMARK.to_owned()))
            .await
    }

    /// Writes the lease as it was read with other fields; refused where it was changed since.
    async fn replace_lease(
        &self,
        target: &Target,
        mut lease: Value,
        fields: Value,
    ) -> Result<Value, Problem> {
        if let (Some(object), Value::Object(fields)) = (lease.as_object_mut(), fields) {
            let spec = object
                .entry("spec")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(spec) = spec.as_object_mut() {
                spec.extend(fields);
            }
        }
        let (leases, name) = (Resource::leases(), name(target));
        let mut call = call(Method::PUT, "update", &leases, &target.namespace, &name)?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        self.transport
            .one(call.body(JSON, lease).remark(REMARK.to_owned()))
            .await
    }

    /// The epoch of a lease that is made anew: above what a lost one may have written to the objects.
    async fn first_epoch(&self, target: &Target) -> Result<u64, Failure> {
        let (deployments, namespace) = (Resource::deployments(), &target.namespace);
        let stable = self
            .find_one(&deployments, namespace, &target.deployment)
            .await?;
        let candidate = self.candidate(target).await?.map(|(_, found)| found);
        let marked = [stable, candidate]
            .iter()
            .flatten()
            .filter_map(|found| deployment::marks(found).epoch)
            .max();
        Ok(marked.unwrap_or_default().saturating_add(1))
    }

    async fn take_lease(
        &self,
        target: &Target,
        holder: &Holder,
        before: Before,
    ) -> Result<Grant, LeaseError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            // Read before the request leaves: the grant must not outlast what the cluster knows.
            let now = self.transport.clock.now();
            let (epoch, written) = match self.find_lease(target).await? {
                None => {
                    let epoch = self.first_epoch(target).await?;
                    (
                        epoch,
                        self.create_lease(target, taken(holder, epoch, now, self.lease))
                            .await,
                    )
                }
                Some(lease) => {
                    free(&lease, holder, before, now)?;
                    let epoch = count(&lease, "/spec/leaseTransitions").saturating_add(1);
                    (
                        epoch,
                        self.replace_lease(target, lease, taken(holder, epoch, now, self.lease))
                            .await,
                    )
                }
            };
            match written {
                Ok(lease) => {
                    self.written.keep(target, lease);
                    let expires = now.plus(self.lease);
                    return Ok(Grant { epoch, expires });
                }
                Err(problem) if problem.fault.is_conflict() => newest = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        Err(newest.map_or(LeaseError::Lost, LeaseError::from))
    }

    /// The lease, as long as the grant still stands.
    async fn held(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<Value, LeaseError> {
        let lease = self.find_lease(target).await?.ok_or(LeaseError::Lost)?;
        if is(&lease, holder, grant) {
            Ok(lease)
        } else {
            Err(LeaseError::Lost)
        }
    }
}

/// Whether the grant still stands by this lease.
fn is(lease: &Value, holder: &Holder, grant: &Grant) -> bool {
    read_holder(lease).is_some_and(|found| found == *holder)
        && count(lease, "/spec/leaseTransitions") == grant.epoch
}

/// The lease as this engine wrote it last, and whose it is. An engine keeps one at a time.
#[derive(Default)]
pub(super) struct Written(Mutex<Option<(String, Value)>>);

impl Written {
    fn last(&self) -> MutexGuard<'_, Option<(String, Value)>> {
        // A holder that panicked left one whole lease or none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, target: &Target, lease: Value) {
        *self.last() = Some((target.to_string(), lease));
    }

    /// It is not there again unless it is written again.
    fn take(&self, target: &Target) -> Option<Value> {
        let (of, lease) = self.last().take()?;
        (of == target.to_string()).then_some(lease)
    }
}

#[async_trait::async_trait]
impl Leases for KubeCluster {
    async fn acquire(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError> {
        self.take_lease(target, holder, Before::Dead).await
    }

    async fn take_again(&self, target: &Target, holder: &Holder) -> Result<Grant, LeaseError> {
        self.take_lease(target, holder, Before::Later).await
    }

    async fn renew(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<Grant, LeaseError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let now = self.transport.clock.now();
            // As this engine wrote it last it needn't be read: whatever happened to it since, the write is refused.
            let lease = match self.written.take(target).filter(|it| is(it, holder, grant)) {
                Some(lease) => lease,
                None => self.held(target, holder, grant).await?,
            };
            let fields = json!({
                "renewTime": micro_time(now),
                "leaseDurationSeconds": whole_seconds(self.lease),
            });
            match self.replace_lease(target, lease, fields).await {
                Ok(lease) => {
                    self.written.keep(target, lease);
                    return Ok(Grant {
                        epoch: grant.epoch,
                        expires: now.plus(self.lease),
                    });
                }
                Err(problem) if problem.fault.is_conflict() => newest = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        Err(newest.map_or(LeaseError::Lost, LeaseError::from))
    }

    async fn release(
        &self,
        target: &Target,
        holder: &Holder,
        grant: &Grant,
    ) -> Result<(), LeaseError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let lease = self.held(target, holder, grant).await?;
            let fields = json!({"holderIdentity": ""});
            match self.replace_lease(target, lease, fields).await {
                Ok(_) => return Ok(()),
                Err(problem) if problem.fault.is_conflict() => newest = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        Err(newest.map_or(LeaseError::Lost, LeaseError::from))
    }

    async fn holder(&self, target: &Target) -> Result<Option<(Holder, Timestamp)>, LeaseError> {
        let found = self.find_lease(target).await?;
        Ok(found.and_then(|lease| Some((read_holder(&lease)?, expiry(&lease)))))
    }
}

/// What another engine of the same run and seat is that has the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Dead: whoever wants to drive a run is the only one in its seat. The engine of another run of the seat may be alive.
    Dead,
    /// One that came after this engine, which had the lease before: it took the seat from this one.
    Later,
}

/// Whether the lease may be taken now.
fn free(lease: &Value, holder: &Holder, before: Before, now: Timestamp) -> Result<(), LeaseError> {
    let Some(found) = read_holder(lease) else {
        return Ok(());
    };
    let until = expiry(lease);
    let same_seat = !found.seat.is_empty() && found.seat == holder.seat && found.run == holder.run;
    let own = before == Before::Dead || found.engine == holder.engine;
    if (same_seat && own) || until <= now {
        return Ok(());
    }
    Err(LeaseError::Held {
        holder: found,
        until,
    })
}

fn taken(holder: &Holder, epoch: u64, now: Timestamp, lease: Span) -> Value {
    let now = micro_time(now);
    json!({
        "holderIdentity": json!(holder).to_string(),
        "leaseDurationSeconds": whole_seconds(lease),
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": epoch,
    })
}

/// Who holds the lease; none where it was given back. A holder that isn't one of ours is named as it
/// names itself.
fn read_holder(lease: &Value) -> Option<Holder> {
    let identity = text(lease, "/spec/holderIdentity");
    if identity.is_empty() {
        return None;
    }
    Some(serde_json::from_str(identity).unwrap_or_else(|_| Holder {
        engine: identity.to_owned(),
        seat: String::new(),
        run: String::new(),
    }))
}

/// When the lease ends unless it is renewed. One whose times can't be read has ended.
fn expiry(lease: &Value) -> Timestamp {
    let renewed: Timestamp = text(lease, "/spec/renewTime").parse().unwrap_or_default();
    let seconds = count(lease, "/spec/leaseDurationSeconds");
    renewed.plus(Span::from_secs(seconds))
}

pub(super) fn whole_seconds(span: Span) -> u64 {
    span.as_millis().div_ceil(1000)
}

/// Kubernetes' `MicroTime`, which wants exactly six digits behind the point.
pub(super) fn micro_time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix('Z') {
        Some(millis) => format!("{millis}000Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_read_back() {
        let at = Timestamp::from_millis(1_795_000_000_007);
        assert_eq!(micro_time(at), "2026-11-18T11:06:40.007000Z");
        assert_eq!(micro_time(at).parse::<Timestamp>().unwrap(), at);
    }
}
