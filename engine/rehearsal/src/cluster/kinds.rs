//! The kinds of object the cluster knows.

/// The group of the Gateway API.
pub(super) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The group of Istio's traffic.
const MESH_GROUP: &str = "networking.istio.io";

/// The kinds that say where requests go.
pub(super) const ROUTES: [Kind; 3] = [Kind::HttpRoute, Kind::Ingress, Kind::VirtualService];

/// One kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the variants are the names Kubernetes gives its kinds"
)]
pub enum Kind {
    Namespace,
    Pod,
    ConfigMap,
    Secret,
    PodTemplate,
    Service,
    ServiceAccount,
    Event,
    Deployment,
    ReplicaSet,
    Job,
    Lease,
    EndpointSlice,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    Gateway,
    HttpRoute,
    Ingress,
    NetworkPolicy,
    VirtualService,
    DestinationRule,
}

/// What the API says about a kind.
#[derive(Debug)]
pub struct Info {
    /// Which kind.
    pub kind: Kind,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version in that group.
    pub version: &'static str,
    /// The plural that stands in paths.
    pub plural: &'static str,
    /// The `kind` that stands in objects.
    pub name: &'static str,
    /// What `kubectl` accepts for short.
    pub short: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// The subresources besides the object itself.
    pub subresources: &'static [&'static str],
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether it is defined by a CustomResourceDefinition, which takes fewer kinds of patch.
    pub custom: bool,
}

const fn info(
    kind: Kind,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    name: &'static str,
) -> Info {
    Info {
        kind,
        group,
        version,
        plural,
        name,
        short: &[],
        namespaced: true,
        subresources: &[],
        generation: false,
        custom: false,
    }
}

/// Every kind, one entry for each group and version it is served under.
pub const KINDS: &[Info] = &[
    Info {
        namespaced: false,
        short: &["ns"],
        subresources: &["status"],
        ..info(Kind::Namespace, "", "v1", "namespaces", "Namespace")
    },
    Info {
        short: &["po"],
        subresources: &["status", "log"],
        ..info(Kind::Pod, "", "v1", "pods", "Pod")
    },
    Info {
        short: &["cm"],
        ..info(Kind::ConfigMap, "", "v1", "configmaps", "ConfigMap")
    },
    info(Kind::Secret, "", "v1", "secrets", "Secret"),
    Info {
        generation: true,
        ..info(Kind::PodTemplate, "", "v1", "podtemplates", "PodTemplate")
    },
    Info {
        short: &["svc"],
        subresources: &["status"],
        ..info(Kind::Service, "", "v1", "services", "Service")
    },
    Info {
        short: &["sa"],
        ..info(
            Kind::ServiceAccount,
            "",
            "v1",
            "serviceaccounts",
            "ServiceAccount",
        )
    },
    Info {
        short: &["ev"],
        ..info(Kind::Event, "", "v1", "events", "Event")
    },
    Info {
        short: &["deploy"],
        subresources: &["status", "scale"],
        generation: true,
        ..info(Kind::Deployment, "apps", "v1", "deployments", "Deployment")
    },
    Info {
        short: &["rs"],
        subresources: &["status", "scale"],
        generation: true,
        ..info(Kind::ReplicaSet, "apps", "v1", "replicasets", "ReplicaSet")
    },
    Info {
        subresources: &["status"],
        generation: true,
        ..info(Kind::Job, "batch", "v1", "jobs", "Job")
    },
    info(Kind::Lease, "coordination.k8s.io", "v1", "leases", "Lease"),
    Info {
        generation: true,
        ..info(
            Kind::EndpointSlice,
            "discovery.k8s.io",
            "v1",
            "endpointslices",
            "EndpointSlice",
        )
    },
    Info {
        short: &["ev"],
        ..info(Kind::Event, "events.k8s.io", "v1", "events", "Event")
    },
    Info {
        short: &["hpa"],
        subresources: &["status"],
        ..info(
            Kind::HorizontalPodAutoscaler,
            "autoscaling",
            "v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
        )
    },
    Info {
        short: &["pdb"],
        subresources: &["status"],
        generation: true,
        ..info(
            Kind::PodDisruptionBudget,
            "policy",
            "v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
        )
    },
    Info {
        short: &["gtw"],
        subresources: &["status"],
        generation: true,
        custom: true,
        ..info(Kind::Gateway, GATEWAY_GROUP, "v1", "gateways", "Gateway")
    },
    Info {
        subresources: &["status"],
        generation: true,
        custom: true,
        ..info(
            Kind::HttpRoute,
            GATEWAY_GROUP,
            "v1",
            "httproutes",
            "HTTPRoute",
        )
    },
    Info {
        short: &["ing"],
        subresources: &["status"],
        generation: true,
        ..info(
            Kind::Ingress,
            "networking.k8s.io",
            "v1",
            "ingresses",
            "Ingress",
        )
    },
    Info {
        short: &["netpol"],
        generation: true,
        ..info(
            Kind::NetworkPolicy,
            "networking.k8s.io",
            "v1",
            "networkpolicies",
            "NetworkPolicy",
        )
    },
    Info {
        short: &["vs"],
        subresources: &["status"],
        generation: true,
        custom: true,
        ..info(
            Kind::VirtualService,
            MESH_GROUP,
            "v1",
            "virtualservices",
            "VirtualService",
        )
    },
    Info {
        short: &["dr"],
        subresources: &["status"],
        generation: true,
        custom: true,
        ..info(
            Kind::DestinationRule,
            MESH_GROUP,
            "v1",
            "destinationrules",
            "DestinationRule",
        )
    },
];

impl Info {
    /// As it stands in `apiVersion`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// As error messages name the resource: `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// As error messages name the kind: `Deployment.apps`.
    pub(super) fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.name, self.group)
        }
    }
}

impl Kind {
    /// Its entry under the group and version it is stored as.
    #[must_use]
    pub fn info(self) -> &'static Info {
        // Every kind has an entry; the first one is there so that no path can fail.
        KINDS
            .iter()
            .find(|info| info.kind == self)
            .unwrap_or(&FALLBACK)
    }

    /// By the `apiVersion` and `kind` of an object.
    #[must_use]
    pub fn of(api_version: &str, name: &str) -> Option<Self> {
        KINDS
            .iter()
            .find(|info| info.name == name && info.api_version() == api_version)
            .map(|info| info.kind)
    }
}

static FALLBACK: Info = info(Kind::ConfigMap, "", "v1", "configmaps", "ConfigMap");

/// By the group, version and plural that stand in a path.
pub(super) fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Info> {
    KINDS
        .iter()
        .find(|info| info.group == group && info.version == version && info.plural == plural)
}
