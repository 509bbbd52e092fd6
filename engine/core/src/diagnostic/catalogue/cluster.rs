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
    means: "This version of the engine can't deploy to a target of this kind or name.",
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
    KUBECONFIG_UNUSABLE = 410,
    title: "No usable kubeconfig",
    means: "The release is for a Kubernetes cluster, and how to reach one is not known here.",
    cause: "No file at `KUBECONFIG` or `~/.kube/config`, one that is damaged, or a certificate or program that it names and that isn't there.",
    fix: "Set `KUBECONFIG`, or correct what the message names. In a pod, use the context `in-cluster`.",
    example: "export KUBECONFIG=$HOME/.kube/config\nkubectl config get-contexts";
    CONTEXT_UNKNOWN = 411,
    title: "Unknown context",
    means: "The kubeconfig has no context of the name that the release gives, or the release gives none.",
    cause: "A typing error, or another kubeconfig than the one that was meant.",
    fix: "Name one of the contexts that are listed, or set `KUBECONFIG` to the file that has it.",
    example: "target:\n  kubernetes: {context: prod}";
    CREDENTIALS_REFUSED = 412,
    title: "Credentials not accepted",
    means: "The API server answered that it doesn't know who is asking.",
    cause: "A token or client certificate that has expired, or a credential program that failed.",
    fix: "Log in again, as you would for kubectl, then give the command again. A run that is driven waits, and goes on by itself.",
    example: "kubectl --context CONTEXT auth whoami";
    CERTIFICATE_UNTRUSTED = 413,
    title: "Certificate not trusted",
    means: "What answers at the cluster's address could not prove that it is the cluster.",
    cause: "An authority that the kubeconfig doesn't name, another name than the certificate has, or a proxy in between.",
    fix: "Correct `certificate-authority` or `tls-server-name` of the cluster in the kubeconfig.",
    example: "kubectl config view --minify --context CONTEXT";
    RIGHTS_MISSING = 414,
    title: "Missing rights",
    means: "The run would need rights in the cluster that the user doesn't have, for its steps or for its way back. It is not begun.",
    cause: "A role that doesn't have everything that the plan needs.",
    fix: "Have the rights that are listed granted, each in the namespace that is named.",
    example: "kubectl auth can-i patch deployments -n NAMESPACE";
    CREDENTIAL_UNAVAILABLE = 415,
    title: "Credential can't be read",
    means: "A credential that the release defines is not there, or is nothing that a request can carry. The run is not begun.",
    cause: "An environment variable that isn't set, a file that is missing or can't be read, or an empty one.",
    fix: "Set the variable, or put the file where the release says; neither its name nor its content belongs on the command line.",
    example: "credentials:
  metrics: {env: METRICS_TOKEN, hosts: ['prometheus.example:443']}";
    CONFIG_NOT_USED = 420,
    title: "Configuration not used as one",
    means: "The release versions a ConfigMap or Secret, and the pods of the workload don't use it, or use several copies of it.",
    cause: "A typing error, a pod template that names it nowhere, or one in which somebody mixed copies.",
    fix: "Name one that the pod template uses in `env`, `envFrom` or `volumes`, or have all its places use the same name.",
    example: "kubectl get deployment NAME -n NAMESPACE -o yaml | grep -A2 -i -e configmap -e secret";
    MANIFEST_UNFIT = 421,
    title: "Manifest doesn't fit the workload",
    means: "The pod template of the release's manifests can't be what the workload becomes: it has another container, its labels are not those that the Deployment or the workload's Service selects, or the cluster refuses it.",
    cause: "A manifest of another workload, a selector that was changed (Kubernetes doesn't allow that), or a field with a typing error.",
    fix: "Correct the manifest; a Deployment whose selector is to change has to be made anew.",
    example: "kubectl diff -f deployment.yaml";
    MANIFEST_GONE = 422,
    title: "Content of the manifest is gone",
    means: "The copy of the release's pod template is to be made, and whoever drives the run was not given its content: it is kept beside the run, and in no record of it.",
    cause: "A state directory from which the file of the run was removed.",
    fix: "Nothing was changed by it: the run goes back. Start the release again.",
    example: "phasegate run release.yaml";
    MANIFEST_PROGRAM = 423,
    title: "Manifests can't be made",
    means: "`kustomize build` or `helm template`, which the release asks for, could not be started, failed, printed too much or took too long.",
    cause: "A program that isn't installed, a folder or chart with a fault, or one whose parts have to be fetched first.",
    fix: "Give the command of the message yourself and mend what it says; fetch a chart's dependencies before.",
    example: "kustomize build overlays/production";
    MANIFEST_NOT_APPLIED = 426,
    title: "Manifest that no action applies",
    means: "The manifests of an action describe something that it can't apply: an object without kind or name, of another namespace, one that the release itself changes, a Secret, or a kind that the plugin doesn't take.",
    cause: "A folder that holds more than what is meant, or a chart that is printed whole.",
    fix: "Give the action the manifests of what it is to apply and no others; what the release deploys is the workload's `manifests`, and Secrets are versioned by `configs`.",
    example: "steps:\n  - act: {plugin: apply, manifests: {path: policies/}}";
}
