//! Jobs that drive runs: made once, by whoever wants a run driven from within the cluster.

use ::http::Method;
use phasegate_core::failure::{Failure, Kind};
use phasegate_runtime::ports::ChangeError;
use serde_json::Value;

use super::path::{Resource, with_query};
use super::{FIELD_MANAGER, JSON, KubeCluster, call, text};

impl KubeCluster {
    /// Makes the Job of a manifest and returns its name; with `only_try` the API server looks at it and keeps nothing.
    ///
    /// # Errors
    /// Where it is refused, or where it isn't known whether it was made: one too many waits for the other to end.
    pub async fn make_job(
        &self,
        namespace: &str,
        job: Value,
        only_try: bool,
    ) -> Result<String, Failure> {
        let jobs = Resource::fixed("batch", "v1", "jobs");
        let mut call = call(Method::POST, "create", &jobs, namespace, "")?;
        let mut query = vec![("fieldManager", FIELD_MANAGER)];
        if only_try {
            query.push(("dryRun", "All"));
        }
        call.target = with_query(&call.target, &query);
        let call = call.body(JSON, job).remark("in-cluster".to_owned());
        match self.transport.one(call).await {
            Ok(made) => Ok(text(&made, "/metadata/name").to_owned()),
            Err(problem) => Err(match problem.change_error() {
                ChangeError::Failed(failure) => failure,
                ChangeError::Unknown(message) => {
                    let code = phasegate_core::diagnostic::codes::CLUSTER_UNREACHABLE;
                    Failure::new(Kind::Retryable, code, message)
                }
            }),
        }
    }
}
