//! PG04xx: cluster, target, claim and lease.

codes! {
    TARGET_BUSY = 401,
    title: "Target is busy",
    means: "Another run holds the claim on this target. Two runs on one target would undo each other's work.",
    cause: "A release that is still going on, or one that was interrupted and not resumed.",
    fix: "Wait for it, resume or abort it. Break the claim only if you know that nothing drives it.",
    example: "phasegate status\nphasegate resume RUN\nphasegate lock show";
    WORKLOAD_NOT_FOUND = 402,
    title: "Workload not found",
    means: "The Deployment or its container, or an object that belongs to it, does not exist in the target.",
    cause: "A typing error, the wrong namespace or context, or a first installation.",
    fix: "Check name and namespace; the first version of a workload is installed outside of a release.",
    example: "kubectl get deployments -n NAMESPACE";
    CLUSTER_UNREACHABLE = 403,
    title: "Cluster can't be reached",
    means: "The API server did not answer within the time and number of attempts allowed.",
    cause: "Network, VPN, expired credentials, or a simulated cluster that was stopped.",
    fix: "Make the cluster reachable and resume the run. Nothing is lost: the journal knows what was under way.",
    example: "phasegate doctor\nphasegate resume RUN";
    CONFLICT = 404,
    title: "Changed by somebody else",
    means: "An object that this run changes was changed by another at the same time. The run stops rather than overwrite it.",
    cause: "A manual `kubectl edit`, a GitOps tool or another pipeline.",
    fix: "Find out who changed it, then adopt the change, force the run's own, or abort.",
    example: "kubectl get deployment NAME -o yaml --show-managed-fields";
    LEASE_LOST = 405,
    title: "Lease lost",
    means: "This engine could not renew its lease, so it stopped before another could take over.",
    cause: "The process was suspended, or the cluster was out of reach for too long.",
    fix: "Resume the run.",
    example: "phasegate resume RUN";
    STALE_EPOCH = 406,
    title: "Another engine took over",
    means: "A write was refused because a newer engine drives this run.",
    cause: "The run was resumed elsewhere while this engine was cut off.",
    fix: "Watch the run where it is driven now; nothing needs to be done here.",
    example: "phasegate watch RUN";
    UNSUPPORTED_TARGET = 407,
    title: "Target not supported",
    means: "This version of the engine can't deploy to this kind of target.",
    cause: "A release written for another version.",
    fix: "Use one of the targets named as expected, or update the engine.",
    example: "target:\n  simulated: {}";
    CLUSTER_REFUSED = 408,
    title: "Cluster refused the request",
    means: "The API server answered, and said no.",
    cause: "Missing rights, a quota, an admission rule, or an object that is not valid.",
    fix: "Read the server's message; grant the right or correct the object.",
    example: "kubectl auth can-i patch deployments -n NAMESPACE";
    NO_PLACE_BESIDE = 409,
    title: "No place for a candidate",
    means: "A candidate can't be brought up beside the version that serves: its place is taken, or its pods could not be told from the others.",
    cause: "A Deployment or Service of the candidate's name that is somebody else's or still has pods, or labels by which the two could not be told apart.",
    fix: "Free the place or change the labels as the message says, or use a strategy that deploys in place.",
    example: "kubectl get deployments,services -n NAMESPACE -o wide --show-labels";
}
