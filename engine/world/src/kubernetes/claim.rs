//! A run's hold on its target: a ConfigMap that is created and deleted, and never updated.

use ::http::Method;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::Target;
use phasegate_runtime::ports::{ChangeError, ClaimRecord, Stamp};
use serde_json::{Value, json};

use super::path::{Resource, with_query};
use super::{FIELD_MANAGER, JSON, KubeCluster, WRITE_ATTEMPTS, call, effect, text};

fn name(target: &Target) -> String {
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
            match self.read_claim(target).await? {
                Some(found) if found.run == claim.run => return Ok(()),
                Some(found) => return Err(ChangeError::Failed(busy(target, &found))),
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
