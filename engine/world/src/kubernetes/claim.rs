//! A run's hold on its target: a ConfigMap that is created and deleted, and changes hands in one write where
//! a run is superseded.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, ClaimRecord, Stamp};
use serde_json::{Value, json};

use super::path::{Resource, with_query};
use super::{FIELD_MANAGER, JSON, KubeCluster, WRITE_ATTEMPTS, call, effect, text};

pub(super) fn name(target: &Target) -> String {
    format!("phasegate-claim-{}", target.workload)
}

impl KubeCluster {
    pub(super) async fn write_claim(
        &self,
        target: &Target,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        for _ in 0..WRITE_ATTEMPTS {
            let mut call = call(
                Method::POST,
                "create",
                &Resource::config_maps(),
                &target.namespace,
                "",
            )?;
            call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
            let call = call
                .body(JSON, object(target, claim))
                .remark(effect(&stamp.key));
            match self.transport.one(call).await {
                Ok(_) => return Ok(()),
                Err(problem) if problem.fault.is_already_exists() => {}
                Err(problem) => return Err(problem.change_error()),
            }
            match self.find_claim(target).await? {
                Some((found, _)) if found.run == claim.run && found.handed_over_by.is_none() => {
                    return Ok(());
                }
                // What was kept for the run is its own once it says so; nobody else waits for it then. Where it
                // was changed in between it is read again.
                Some((found, object)) if found.run == claim.run => {
                    let taken = self.replace_claim(target, object, claim, stamp).await?;
                    if taken {
                        return Ok(());
                    }
                }
                Some((found, _)) => return Err(ChangeError::Failed(busy(target, &found))),
                // It was released in between.
                None => {}
            }
        }
        Err(ChangeError::Failed(Failure::new(
            Kind::Conflict,
            codes::TARGET_BUSY,
            format!("the claim on `{target}` comes and goes: other runs want the same target"),
        )))
    }

    pub(super) async fn read_claim(&self, target: &Target) -> Result<Option<ClaimRecord>, Failure> {
        Ok(self.find_claim(target).await?.map(|(record, _)| record))
    }

    /// The claim with the object that says it.
    async fn find_claim(&self, target: &Target) -> Result<Option<(ClaimRecord, Value)>, Failure> {
        let found = self
            .find_one(&Resource::config_maps(), &target.namespace, &name(target))
            .await?;
        let Some(object) = found else { return Ok(None) };
        let data = object.get("data").cloned().unwrap_or_default();
        match serde_json::from_value(data) {
            Ok(record) => Ok(Some((record, object))),
            Err(error) => Err(Failure::new(
                Kind::Permanent,
                codes::TARGET_BUSY,
                format!(
                    "the ConfigMap `{}` in namespace `{}` is not a claim that this engine can read ({error}); if no run needs it, delete it",
                    name(target),
                    target.namespace
                ),
            )),
        }
    }

    /// Writes another record into the claim as it was read. Returns whether it was still that one.
    async fn replace_claim(
        &self,
        target: &Target,
        mut found: Value,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<bool, ChangeError> {
        if let Some(fields) = found.as_object_mut() {
            fields.insert("data".to_owned(), json!(claim));
        }
        let (maps, name) = (Resource::config_maps(), name(target));
        let mut call = call(Method::PUT, "update", &maps, &target.namespace, &name)?;
        call.target = with_query(&call.target, &[("fieldManager", FIELD_MANAGER)]);
        let call = call.body(JSON, found).remark(effect(&stamp.key));
        match self.transport.one(call).await {
            Ok(_) => Ok(true),
            Err(problem) if problem.fault.is_conflict() || problem.fault.is_not_found() => {
                Ok(false)
            }
            Err(problem) => Err(problem.change_error()),
        }
    }

    pub(super) async fn keep_claim_for(
        &self,
        target: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        for _ in 0..WRITE_ATTEMPTS {
            let Some((record, object)) = self.find_claim(target).await? else {
                return Ok(());
            };
            // Another's claim means that ours is gone: it was handed over before, or broken.
            if record.run != stamp.run {
                return Ok(());
            }
            self.not_overtaken(target, stamp).await?;
            if self.replace_claim(target, object, to, stamp).await? {
                return Ok(());
            }
        }
        Err(ChangeError::Failed(Failure::new(
            Kind::Retryable,
            codes::CONFLICT,
            format!("the claim on `{target}` was changed by others while it was to be handed over"),
        )))
    }

    pub(super) async fn delete_claim(
        &self,
        target: &Target,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let mut newest = None;
        for _ in 0..WRITE_ATTEMPTS {
            let Some((record, object)) = self.find_claim(target).await? else {
                return Ok(());
            };
            // Another's claim means that ours is gone.
            if record.run != stamp.run {
                return Ok(());
            }
            self.not_overtaken(target, stamp).await?;
            let call = call(
                Method::DELETE,
                "delete",
                &Resource::config_maps(),
                &target.namespace,
                &name(target),
            )?;
            let options = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": text(&object, "/metadata/uid")},
            });
            let call = call.body(JSON, options).remark(effect(&stamp.key));
            match self.transport.one(call).await {
                Ok(_) => return Ok(()),
                Err(problem) if problem.fault.is_not_found() => return Ok(()),
                Err(problem) if problem.fault.is_conflict() => newest = Some(problem),
                Err(problem) => return Err(problem.change_error()),
            }
        }
        match newest {
            Some(problem) => Err(problem.change_error()),
            None => Ok(()),
        }
    }
}

fn busy(target: &Target, found: &ClaimRecord) -> Failure {
    let run = &found.run;
    if let Some(before) = &found.handed_over_by {
        return Failure::new(
            Kind::Conflict,
            codes::TARGET_BUSY,
            format!(
                "`{target}` is kept for run `{run}`, which {} starts in place of {before}; start it with `phasegate resume {run}`, or free the target with `phasegate lock break`",
                found.started_by
            ),
        );
    }
    Failure::new(
        Kind::Conflict,
        codes::TARGET_BUSY,
        format!(
            "run `{run}`, started by {}, holds `{target}`; wait for it, or take it up with `phasegate resume {run}`, or end it with `phasegate abort {run}`",
            found.started_by
        ),
    )
}

fn object(target: &Target, claim: &ClaimRecord) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name(target),
            "namespace": target.namespace,
            "labels": {"app.kubernetes.io/managed-by": "phasegate"},
        },
        "data": claim,
    })
}
