//! The names by which the mesh knows a Service.

use serde_json::Value;

/// The two Services, and where they are.
pub(crate) struct Sides<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) stable: &'a str,
    pub(crate) candidate: &'a str,
}

impl Sides<'_> {
    /// Whether a host is the Service: by its bare name, or qualified as far as anybody likes.
    pub(crate) fn names(&self, host: &str, service: &str) -> bool {
        !service.is_empty()
            && host
                .strip_prefix(service)
                .is_some_and(|rest| rest.is_empty() || self.is_domain(rest))
    }

    /// Whether it is `.NAMESPACE`, and `.svc` and the cluster's domain besides.
    fn is_domain(&self, rest: &str) -> bool {
        let beyond = rest
            .strip_prefix('.')
            .and_then(|rest| rest.strip_prefix(self.namespace));
        beyond.is_some_and(|beyond| {
            beyond.is_empty() || beyond == ".svc" || beyond.starts_with(".svc.")
        })
    }

    /// The candidate's host, as far qualified as stable's.
    pub(crate) fn candidate_like(&self, stable_host: &str) -> String {
        let domain = stable_host.strip_prefix(self.stable).unwrap_or_default();
        format!("{}{domain}", self.candidate)
    }

    /// Whether a DestinationRule's host covers a Service: by its name, or by a wildcard.
    pub(crate) fn covers(&self, host: &str, service: &str) -> bool {
        match host.strip_prefix('*') {
            Some(suffix) => {
                let name = format!("{service}.{}.svc.cluster.local", self.namespace);
                name.ends_with(suffix)
            }
            None => self.names(host, service),
        }
    }
}

/// The host that a destination of a route, or of a mirror, leads to.
pub(crate) fn host(destination: &Value) -> &str {
    let host = destination.pointer("/destination/host");
    host.and_then(Value::as_str).unwrap_or_default()
}
