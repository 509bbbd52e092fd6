//! Paths of the Kubernetes API.

use std::fmt::Write as _;

/// Longest name of anything in Kubernetes.
const MAX_NAME: usize = 253;

/// A kind of object, as its path has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
}

/// The kinds whose plural isn't the kind in lower case with an `s`.
const PLURALS: [(&str, &str); 10] = [
    ("Ingress", "ingresses"),
    ("IngressClass", "ingressclasses"),
    ("StorageClass", "storageclasses"),
    ("PriorityClass", "priorityclasses"),
    ("RuntimeClass", "runtimeclasses"),
    ("GatewayClass", "gatewayclasses"),
    ("NetworkPolicy", "networkpolicies"),
    ("Endpoints", "endpoints"),
    ("ServiceEntry", "serviceentries"),
    ("AuthorizationPolicy", "authorizationpolicies"),
];

impl Resource {
    pub(super) fn fixed(group: &str, version: &str, plural: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
        }
    }

    pub(super) fn deployments() -> Self {
        Self::fixed("apps", "v1", "deployments")
    }

    pub(super) fn services() -> Self {
        Self::fixed("", "v1", "services")
    }

    pub(super) fn autoscalers() -> Self {
        Self::fixed("autoscaling", "v2", "horizontalpodautoscalers")
    }

    pub(super) fn config_maps() -> Self {
        Self::fixed("", "v1", "configmaps")
    }

    pub(super) fn leases() -> Self {
        Self::fixed("coordination.k8s.io", "v1", "leases")
    }

    /// From what an object says of itself; the error says what is wrong with it.
    pub(super) fn of(api_version: &str, kind: &str) -> Result<Self, String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
                && !text.starts_with('.')
                && text.len() <= MAX_NAME
        };
        if version.is_empty() || !plain(version) || !plain(group) {
            return Err(format!("`{api_version}` is not an apiVersion"));
        }
        let known = !kind.is_empty() && kind.len() <= MAX_NAME;
        if !known || !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("`{kind}` is not a kind"));
        }
        let plural = PLURALS.iter().find(|(name, _)| *name == kind).map_or_else(
            || format!("{}s", kind.to_ascii_lowercase()),
            |(_, plural)| (*plural).to_owned(),
        );
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural,
        })
    }

    /// As RBAC names it: `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The path of the objects of this kind, or of one of them.
    pub(super) fn path(&self, namespace: Option<&str>, name: &str) -> Result<String, String> {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace {
            let _ = write!(path, "/namespaces/{}", segment(namespace)?);
        }
        let _ = write!(path, "/{}", self.plural);
        if !name.is_empty() {
            let _ = write!(path, "/{}", segment(name)?);
        }
        Ok(path)
    }
}

/// A name as a part of a path. What could lead elsewhere is refused, as the API server itself does.
fn segment(name: &str) -> Result<String, String> {
    let leads_elsewhere = matches!(name, "" | "." | "..") || name.contains(['/', '%']);
    if leads_elsewhere || name.len() > MAX_NAME {
        return Err(format!("`{name}` is not a name in Kubernetes"));
    }
    Ok(encode(name))
}

/// Percent-encodes what isn't unreserved (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path with a query.
pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        let _ = write!(out, "{name}={}", encode(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_where_kubernetes_has_them() {
        let path = |version: &str, kind: &str, namespace, name: &str| {
            Resource::of(version, kind)
                .and_then(|r| r.path(namespace, name))
                .unwrap()
        };
        assert_eq!(
            path("apps/v1", "Deployment", Some("shop"), "web"),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(
            path("v1", "ConfigMap", Some("shop"), ""),
            "/api/v1/namespaces/shop/configmaps"
        );
        assert_eq!(
            path("networking.k8s.io/v1", "Ingress", Some("shop"), "a"),
            "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a"
        );
        assert_eq!(path("v1", "Node", None, "n 1"), "/api/v1/nodes/n%201");
    }

    #[test]
    fn no_name_leads_out_of_its_place() {
        let resource = Resource::config_maps();
        for name in ["..", ".", "a/../../secrets/b", "a%2fb", "a/b"] {
            assert!(resource.path(Some("shop"), name).is_err(), "{name}");
            assert!(resource.path(Some(name), "x").is_err(), "{name}");
        }
        for (version, kind) in [
            ("v1/../v2", "Pod"),
            ("v1", "Pod/x"),
            ("", "Pod"),
            ("..", "Pod"),
        ] {
            assert!(Resource::of(version, kind).is_err(), "{version} {kind}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(
            with_query("/p", &[("labelSelector", "a=b,c in (d)"), ("limit", "5")]),
            "/p?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5"
        );
    }
}
