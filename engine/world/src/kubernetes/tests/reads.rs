use phasegate_core::diagnostic::codes;
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Autoscaler;
use phasegate_core::workload::{Rollout, Settings};
use phasegate_runtime::ports::Cluster;
use serde_json::json;

use super::*;

const EVENTS: &str = "/api/v1/namespaces/shop/events";

#[tokio::test]
async fn a_baseline_has_what_a_plan_is_made_of() {
    let other = json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}, "maxReplicas": 99}});
    let ours = json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 2, "maxReplicas": 8}});
    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        AUTOSCALERS,
        json!({"items": [other, ours]}),
    );
    let found = server.cluster().baseline(&target()).await.unwrap();
    assert_eq!(
        (
            found.uid.as_str(),
            found.resource_version.as_str(),
            found.revision,
            found.ready
        ),
        ("u-1", "41", 7, 4)
    );
    let settings = Settings {
        image: "web:1.0".to_owned(),
        replicas: 4,
        rollout: Rollout::RollingUpdate {
            surge: "1".to_owned(),
            unavailable: "25%".to_owned(),
        },
    };
    assert_eq!(found.settings, settings);
    assert_eq!(found.version, "1.0");
    assert_eq!(
        found.autoscaler,
        Some(Autoscaler {
            minimum: 2,
            maximum: 8
        })
    );
    assert_eq!(found.self_healing, None);
    assert_eq!(found.labels.get("app").map(String::as_str), Some("web"));
}

#[tokio::test]
async fn what_is_not_said_is_what_kubernetes_takes_for_it() {
    let mut bare = deployment();
    bare["spec"]["strategy"] = json!({});
    bare["spec"]["replicas"].take();
    bare["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] = "2026.1".into();
    let server = Server::default().ok("GET", DEPLOYMENT, bare);
    let found = server.cluster().baseline(&target()).await.unwrap();
    let rollout = Rollout::RollingUpdate {
        surge: "25%".to_owned(),
        unavailable: "25%".to_owned(),
    };
    assert_eq!(
        (found.settings.replicas, found.settings.rollout),
        (1, rollout)
    );
    assert_eq!((found.version.as_str(), found.autoscaler), ("2026.1", None));
}

#[tokio::test]
async fn what_is_missing_is_named_with_where_it_was_looked_for() {
    let no_deployment = Server::default();
    let failure = no_deployment
        .cluster()
        .baseline(&target())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
    );
    assert!(
        failure.message.contains("`web` in namespace `shop`"),
        "{failure}"
    );

    let server = Server::default().ok("GET", DEPLOYMENT, deployment());
    let named = Target {
        container: "main".to_owned(),
        ..target()
    };
    let failure = server.cluster().baseline(&named).await.unwrap_err();
    assert!(
        failure.message.contains("`proxy`") && failure.message.contains("`app`"),
        "{failure}"
    );

    for wanted in [
        Target {
            service: Some("front".to_owned()),
            ..target()
        },
        Target {
            config_maps: vec!["front".to_owned()],
            ..target()
        },
        Target {
            secrets: vec!["front".to_owned()],
            ..target()
        },
    ] {
        let failure = server.cluster().baseline(&wanted).await.unwrap_err();
        assert_eq!(failure.code, codes::WORKLOAD_NOT_FOUND);
        assert!(failure.message.contains("`front`"), "{failure}");
    }
}

#[tokio::test]
async fn the_content_of_a_secret_is_not_asked_for() {
    let secret = "/api/v1/namespaces/shop/secrets/keys";
    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        secret,
        json!({"kind": "PartialObjectMetadata"}),
    );
    let named = Target {
        secrets: vec!["keys".to_owned()],
        ..target()
    };
    server.cluster().baseline(&named).await.unwrap();
    let asked = server
        .seen()
        .into_iter()
        .find(|seen| seen.target == secret)
        .unwrap();
    assert!(
        asked
            .accept
            .starts_with("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
        "{}",
        asked.accept
    );
}

async fn digest(object: Value) -> String {
    let server = Server::default().ok("GET", DEPLOYMENT, object);
    server
        .cluster()
        .baseline(&target())
        .await
        .unwrap()
        .template_digest
}

#[tokio::test]
async fn the_digest_notices_what_others_change_and_not_what_the_run_does() {
    let before = digest(deployment()).await;
    assert!(
        before.starts_with("sha256:") && before.len() == 71,
        "{before}"
    );
    let mut ours = with_image(deployment(), "web:2");
    ours["spec"]["replicas"] = 9.into();
    ours["spec"]["template"]["metadata"]["annotations"] =
        json!({"phasegate.dev/run": "x", "kubectl.kubernetes.io/restartedAt": "now"});
    assert_eq!(digest(ours).await, before);

    let mut env = deployment();
    env["spec"]["template"]["spec"]["containers"][1]["env"][0]["value"] = "2".into();
    let mut sidecar = deployment();
    sidecar["spec"]["template"]["spec"]["containers"][0]["image"] = "proxy:10".into();
    let mut selector = deployment();
    selector["spec"]["selector"]["matchLabels"]["tier"] = "front".into();
    for changed in [env, sidecar, selector] {
        assert_ne!(digest(changed).await, before);
    }
}

#[tokio::test]
async fn a_gitops_tool_is_named_with_the_setting_to_change() {
    let labelled = |labels: Value, annotations: Value| {
        let mut object = deployment();
        object["metadata"]["labels"] = labels;
        object["metadata"]["annotations"] = annotations;
        object
    };
    let tracked = json!({"argocd.argoproj.io/tracking-id": "shop-app:apps/Deployment:shop/web"});
    let flux = json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    let helm = json!({"helm.toolkit.fluxcd.io/name": "web"});
    for (object, parts) in [
        (
            labelled(
                json!({"argocd.argoproj.io/instance": "shop-app"}),
                json!({}),
            ),
            ["`shop-app`", "selfHeal"],
        ),
        (labelled(json!({}), tracked), ["`shop-app`", "selfHeal"]),
        (
            labelled(flux.clone(), json!({})),
            ["Kustomization `apps` in `flux-system`", "spec.suspend"],
        ),
        (
            labelled(helm, json!({})),
            ["HelmRelease `web`", "spec.suspend"],
        ),
    ] {
        let server = Server::default().ok("GET", DEPLOYMENT, object);
        let found = server
            .cluster()
            .baseline(&target())
            .await
            .unwrap()
            .self_healing
            .unwrap();
        for part in parts {
            assert!(found.contains(part), "{found}");
        }
    }
    let left_alone = labelled(
        flux,
        json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}),
    );
    let server = Server::default().ok("GET", DEPLOYMENT, left_alone);
    assert_eq!(
        server
            .cluster()
            .baseline(&target())
            .await
            .unwrap()
            .self_healing,
        None
    );
}

fn owned(kind: &str, name: &str, uid: &str, owner: &str) -> Value {
    json!({
        "kind": kind,
        "metadata": {"name": name, "uid": uid, "ownerReferences": [{"uid": owner, "controller": true}]},
    })
}

fn pod(name: &str, owner: &str, ready: &str, state: Value) -> Value {
    let mut pod = owned("Pod", name, name, owner);
    pod["spec"] = json!({"containers": [{"name": "app", "image": "web:1.1"}]});
    pod["status"] = json!({
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{"name": "app", "restartCount": 2, "state": state}],
    });
    pod
}

fn crashing() -> Server {
    let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let mut leaving = pod("web-a-3", "rs-a", "False", json!({}));
    leaving["metadata"]["deletionTimestamp"] = "2026-11-18T11:00:00Z".into();
    let pods = json!([
        pod("web-a-2", "rs-a", "False", looping),
        pod("web-a-1", "rs-a", "True", json!({"running": {}})),
        leaving,
        pod("foreign", "rs-x", "True", json!({})),
    ]);
    let sets = json!([
        owned("ReplicaSet", "web-a", "rs-a", "u-1"),
        owned("ReplicaSet", "other", "rs-x", "u-9"),
    ]);
    let mut late = deployment();
    late["metadata"]["generation"] = 6.into();
    late["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let mut seen = late.clone();
    seen["status"]["observedGeneration"] = 6.into();
    Server::default()
        .on(
            "GET",
            DEPLOYMENT,
            vec![Reply::Json(200, late), Reply::Json(200, seen)],
        )
        .ok("GET", REPLICA_SETS, json!({"items": sets}))
        .ok("GET", PODS, json!({"items": pods}))
}

#[tokio::test]
async fn an_observation_counts_own_pods_and_believes_a_deadline_only_when_it_is_current() {
    let server = crashing();
    let cluster = server.cluster();
    let early = cluster.observe(&target()).await.unwrap();
    assert!(
        !early.deadline_exceeded,
        "it was about the generation before"
    );
    assert_eq!((early.generation, early.observed_generation), (6, 5));
    let found = cluster.observe(&target()).await.unwrap();
    assert!(found.deadline_exceeded);
    assert_eq!(found.at, NOW);
    let pods: Vec<_> = found
        .pods
        .iter()
        .map(|p| {
            (
                p.name.as_str(),
                p.ready,
                p.restarts,
                p.waiting.as_deref(),
                p.terminating,
            )
        })
        .collect();
    assert_eq!(
        pods,
        [
            ("web-a-1", true, 2, None, false),
            ("web-a-2", false, 2, Some("CrashLoopBackOff"), false),
            ("web-a-3", false, 2, None, true),
        ]
    );
    assert!(
        server
            .seen()
            .iter()
            .any(|s| s.target == format!("{PODS}?labelSelector=app%3Dweb&limit=500"))
    );
}

/// A Deployment is deleted without what it made, and made anew: the new one adopts the ReplicaSet, and its pods are its own.
#[tokio::test]
async fn pods_of_a_replica_set_that_is_adopted_are_counted() {
    let list = |item: Value| json!({"items": [item]});
    let set = |owner: &str| list(owned("ReplicaSet", "web-1", "rs-1", owner));
    let mut anew = deployment();
    anew["metadata"]["uid"] = "u-9".into();
    let states =
        |first: Value, second: Value| vec![Reply::Json(200, first), Reply::Json(200, second)];
    let server = Server::default()
        .on("GET", DEPLOYMENT, states(deployment(), anew))
        .on("GET", REPLICA_SETS, states(set("u-1"), set("u-9")))
        .ok("GET", PODS, list(pod("web-1-a", "rs-1", "True", json!({}))));
    let cluster = server.cluster();
    for _ in 0..2 {
        let seen = cluster.observe(&target()).await.unwrap();
        assert_eq!(seen.pods.len(), 1, "{:?}", server.seen());
    }
}

#[tokio::test]
async fn a_diagnosis_has_events_in_order_and_the_last_words_of_failing_pods() {
    let event = |kind: &str, name: &str, reason: &str, at: &str, count: u64| {
        json!({
            "involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": "m\u{1b}[31m",
            "lastTimestamp": at, "count": count,
        })
    };
    let events = json!([
        event("Pod", "web-a-2", "BackOff", "2026-11-18T11:03:00Z", 5),
        event("Pod", "web-a-gone", "Failed", "2026-11-18T11:01:00Z", 1),
        event("Pod", "foreign-1", "Noise", "2026-11-18T11:02:00Z", 1),
        event(
            "ReplicaSet",
            "web-a",
            "SuccessfulCreate",
            "2026-11-18T11:00:00Z",
            1
        ),
    ]);
    let server = crashing().ok("GET", EVENTS, json!({"items": events})).on(
        "GET",
        "/api/v1/namespaces/shop/pods/web-a-2/log",
        vec![
            status(400, "BadRequest", "previous terminated container not found"),
            Reply::Text(200, "one\ntwo\n"),
        ],
    );
    let found = server.cluster().diagnose(&target()).await.unwrap();
    assert_eq!(
        found.events,
        [
            "SuccessfulCreate replicaset/web-a: m [31m",
            "Failed pod/web-a-gone: m [31m",
            "BackOff pod/web-a-2: m [31m (x5)",
        ]
    );
    assert_eq!(found.logs, ["web-a-2: one", "web-a-2: two"]);
    let logs: Vec<String> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.target.contains("/log?"))
        .map(|seen| seen.target)
        .collect();
    assert_eq!(logs.len(), 2);
    assert!(
        logs[0].ends_with("container=app&tailLines=20&limitBytes=16384&previous=true"),
        "{logs:?}"
    );
    assert!(!logs[1].contains("previous"), "{logs:?}");
}

#[tokio::test]
async fn a_diagnosis_says_what_it_could_not_read() {
    let server = crashing()
        .on("GET", EVENTS, vec![status(403, "Forbidden", "no")])
        .on(
            "GET",
            "/api/v1/namespaces/shop/pods/web-a-2/log",
            vec![status(403, "Forbidden", "no")],
        );
    let found = server.cluster().diagnose(&target()).await.unwrap();
    assert!(
        found.events[0].contains("not allowed to list events"),
        "{found:?}"
    );
    assert!(
        found.logs[0].contains("not allowed to read the log of pods `web-a-2`"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_read_that_takes_too_long_or_breaks_may_be_made_again() {
    let slow = Server::default().on("GET", DEPLOYMENT, vec![Reply::Never]);
    let failure = slow.cluster().observe(&target()).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Timeout, codes::CLUSTER_UNREACHABLE)
    );
    let broken = Reply::Broken(std::io::ErrorKind::ConnectionReset);
    let broken = Server::default().on("GET", DEPLOYMENT, vec![broken]);
    let failure = broken.cluster().observe(&target()).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Retryable);
}
