use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Create, Piece};
use phasegate_core::failure::Kind;
use phasegate_runtime::ports::Cluster;
use serde_json::json;

use super::*;

fn create(piece: Piece) -> Create {
    Create {
        piece,
        image: "web:1.1".to_owned(),
        replicas: 2,
        configs: Vec::new(),
        copy: None,
    }
}

async fn make(server: &Server, piece: Piece) -> Result<(), ChangeError> {
    let cluster = server.cluster();
    cluster.create(&beside(), &create(piece), &stamp()).await
}

/// Stable with all that has no place in a copy.
fn grown() -> Value {
    let mut object = deployment();
    object["metadata"]["labels"] = json!({
        "app": "web", "team": "shop", "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "prod",
        "app.kubernetes.io/version": "1.0", "argocd.argoproj.io/instance": "apps",
    });
    object["metadata"]["annotations"] = json!({
        "deployment.kubernetes.io/revision": "7", "meta.helm.sh/release-name": "web", "note": "kept",
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "phasegate.dev/run": "another",
        "argocd.argoproj.io/tracking-id": "apps:apps/Deployment:shop/web",
    });
    object["metadata"]["ownerReferences"] = json!([{"uid": "o-1"}]);
    object["metadata"]["managedFields"] = json!([{"manager": "helm"}]);
    object["metadata"]["finalizers"] = json!(["keep"]);
    object["spec"]["paused"] = true.into();
    let template = &mut object["spec"]["template"];
    template["metadata"]["labels"]["app.kubernetes.io/version"] = "1.0".into();
    template["spec"]["topologySpreadConstraints"] =
        json!([{"maxSkew": 1, "labelSelector": {"matchLabels": {"app": "web"}}}]);
    template["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "cache"}}},
    ]}});
    object
}

fn marks() -> Value {
    json!({
        "phasegate.dev/run": "hello-20261118-abcdef",
        "phasegate.dev/epoch": "3",
        "phasegate.dev/effect": "hello-20261118-abcdef/deploy/1",
    })
}

#[tokio::test]
async fn a_candidate_is_made_of_stable_without_what_is_stables_alone() {
    let server =
        Server::default()
            .ok("GET", DEPLOYMENT, grown())
            .ok("POST", DEPLOYMENTS, json!({}));
    make(&server, Piece::Deployment).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].target,
        format!("{DEPLOYMENTS}?fieldManager=phasegate")
    );
    assert_eq!(
        writes[0].agent,
        "phasegate/test (effect hello-20261118-abcdef/deploy/1)"
    );
    let mut annotations = marks();
    annotations["note"] = "kept".into();
    annotations["phasegate.dev/made-by"] = "hello-20261118-abcdef".into();
    let expected = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web-candidate", "namespace": "shop",
            "labels": {"app": "web-candidate", "team": "shop", "app.kubernetes.io/managed-by": "phasegate"},
            "annotations": annotations,
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web-candidate"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web-candidate"}},
                "spec": {
                    "containers": [
                        {"name": "proxy", "image": "proxy:9"},
                        {"name": "app", "image": "web:1.1", "env": [{"name": "A", "value": "1"}]},
                    ],
                    "topologySpreadConstraints":
                        [{"maxSkew": 1, "labelSelector": {"matchLabels": {"app": "web-candidate"}}}],
                    "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                        {"labelSelector": {"matchLabels": {"app": "cache"}}},
                    ]}},
                },
            },
        },
    });
    assert_eq!(writes[0].body, expected);
}

#[tokio::test]
async fn a_candidate_that_this_very_effect_made_is_not_made_again() {
    let mut done = candidate();
    done["metadata"]["annotations"]["phasegate.dev/effect"] = stamp().key.into();
    let server = Server::default().ok("GET", CANDIDATE, done.clone());
    make(&server, Piece::Deployment).await.unwrap();
    assert!(server.writes().is_empty());

    // Another image than the effect's is somebody else's, and is written over.
    let changed = Server::default()
        .ok("GET", DEPLOYMENT, deployment())
        .ok("GET", CANDIDATE, with_image(done, "web:other"))
        .ok("PUT", CANDIDATE, json!({}));
    make(&changed, Piece::Deployment).await.unwrap();
    assert_eq!(changed.writes().len(), 1);
}

#[tokio::test]
async fn what_is_kept_in_the_place_is_replaced_in_the_version_that_was_read() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, deployment())
        .ok("GET", CANDIDATE, with_image(foreign(0), "web:0.9"))
        .ok("PUT", CANDIDATE, json!({}));
    make(&server, Piece::Deployment).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    let body = &writes[0].body;
    assert_eq!(body["metadata"]["uid"], "u-2");
    assert_eq!(body["metadata"]["resourceVersion"], "52");
    let mut annotations = marks();
    annotations["team"] = "shop".into();
    assert_eq!(body["metadata"]["annotations"], annotations);
    assert_eq!(body["spec"]["replicas"], 2);
    let containers = &body["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["image"], "web:1.1");
    assert!(body.get("status").is_none(), "{body}");
}

#[tokio::test]
async fn a_place_that_is_not_ours_or_selects_otherwise_is_left_alone() {
    let mut other_run = candidate();
    other_run["metadata"]["annotations"]["phasegate.dev/run"] = "r-9".into();
    let mut other_selector = candidate();
    other_selector["spec"]["selector"]["matchLabels"]["tier"] = "x".into();
    for (found, part) in [
        (foreign(3), "wants 3"),
        (other_run, "the run `r-9` left it there"),
        (other_selector, "\"tier\":\"x\""),
    ] {
        let server = Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .ok("GET", CANDIDATE, found);
        let failure = failed(make(&server, Piece::Deployment).await);
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Conflict, codes::NO_PLACE_BESIDE)
        );
        assert!(failure.message.contains(part), "{failure}");
        assert!(server.writes().is_empty());
    }
    let mut leaving = candidate();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-18T11:00:00Z".into();
    let server = Server::default().ok("GET", CANDIDATE, leaving);
    let failure = failed(make(&server, Piece::Deployment).await);
    assert_eq!(failure.kind, Kind::Retryable);
}

#[tokio::test]
async fn an_engine_that_was_overtaken_makes_nothing() {
    let mut later = candidate();
    later["metadata"]["annotations"]["phasegate.dev/epoch"] = "4".into();
    let by_mark = Server::default().ok("GET", CANDIDATE, later);
    let by_lease = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        LEASE,
        json!({"spec": {"leaseTransitions": 4}}),
    );
    for server in [by_mark, by_lease] {
        let failure = failed(make(&server, Piece::Deployment).await);
        assert_eq!(failure.code, codes::STALE_EPOCH);
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn one_that_comes_up_in_between_is_judged_and_a_lost_answer_is_unknown() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, deployment())
        .on(
            "GET",
            CANDIDATE,
            vec![
                status(404, "NotFound", "none yet"),
                Reply::Json(200, foreign(3)),
            ],
        )
        .on(
            "POST",
            DEPLOYMENTS,
            vec![status(409, "AlreadyExists", "already exists")],
        );
    let failure = failed(make(&server, Piece::Deployment).await);
    assert_eq!(failure.code, codes::NO_PLACE_BESIDE);
    assert_eq!(server.writes().len(), 1);

    let lost = Reply::Broken(std::io::ErrorKind::ConnectionReset);
    let server =
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .on("POST", DEPLOYMENTS, vec![lost]);
    let result = make(&server, Piece::Deployment).await;
    assert!(matches!(result, Err(ChangeError::Unknown(_))), "{result:?}");
    assert_eq!(server.writes().len(), 1);
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "s-1", "resourceVersion": "9",
            "labels": {"app": "web"}, "annotations": {"external-dns.alpha.kubernetes.io/hostname": "shop.example"},
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"}],
        },
    })
}

#[tokio::test]
async fn the_candidates_service_has_stables_ports_and_its_own_selector() {
    let server = Server::default()
        .ok("GET", SERVICE, service())
        .ok("POST", SERVICES, json!({}));
    make(&server, Piece::Service).await.unwrap();
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web-candidate", "namespace": "shop",
            "labels": {"app": "web", "app.kubernetes.io/managed-by": "phasegate"},
            "annotations": marks(),
        },
        "spec": {
            "type": "ClusterIP",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "selector": {"app": "web-candidate"},
        },
    });
    assert_eq!(server.writes()[0].body, expected);

    // One that an earlier run left keeps its address.
    let mut left = service();
    left["metadata"]["annotations"] = json!({"phasegate.dev/run": "r-0"});
    let server = Server::default()
        .ok("GET", SERVICE, service())
        .ok("GET", CANDIDATE_SERVICE, left)
        .ok("PUT", "/api/v1/namespaces/shop/services/web", json!({}));
    make(&server, Piece::Service).await.unwrap();
    let body = &server.writes()[0].body;
    assert_eq!(body["spec"]["clusterIP"], "10.0.0.1");
    assert_eq!(body["spec"]["selector"], json!({"app": "web-candidate"}));
    assert_eq!(body["metadata"]["annotations"], marks());

    let foreign = Server::default().ok("GET", CANDIDATE_SERVICE, service());
    let failure = failed(make(&foreign, Piece::Service).await);
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.message.contains("found none"), "{failure}");
    assert!(foreign.writes().is_empty());
}

#[tokio::test]
async fn the_candidates_autoscaler_is_a_copy_with_the_minimum_that_was_asked_for() {
    let listed = |items: Vec<Value>| json!({"items": items});
    let server = Server::default()
        .ok(
            "GET",
            AUTOSCALERS,
            listed(vec![autoscaler("front", "web", 1, 8)]),
        )
        .ok("POST", AUTOSCALERS, json!({}));
    make(&server, Piece::Autoscaler).await.unwrap();
    let expected = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "web-candidate", "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "phasegate"}, "annotations": marks(),
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-candidate"},
            "minReplicas": 2, "maxReplicas": 8, "metrics": [{"type": "Resource"}],
        },
    });
    assert_eq!(server.writes()[0].body, expected);

    // A maximum below the minimum gives way, and is noted.
    let server = Server::default()
        .ok(
            "GET",
            AUTOSCALERS,
            listed(vec![autoscaler("front", "web", 1, 1)]),
        )
        .ok("POST", AUTOSCALERS, json!({}));
    make(&server, Piece::Autoscaler).await.unwrap();
    let body = &server.writes()[0].body;
    assert_eq!(body["spec"]["maxReplicas"], 2);
    assert_eq!(
        body["metadata"]["annotations"]["phasegate.dev/maximum-before"],
        "1"
    );
}

#[tokio::test]
async fn an_autoscaler_that_was_kept_with_the_candidates_deployment_is_made_the_same() {
    let kept = autoscaler("idle", "web-candidate", 1, 3);
    let server = Server::default()
        .ok(
            "GET",
            AUTOSCALERS,
            json!({"items": [autoscaler("front", "web", 1, 8), kept]}),
        )
        .ok(
            "PUT",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/idle",
            json!({}),
        );
    make(&server, Piece::Autoscaler).await.unwrap();
    let body = &server.writes()[0].body;
    assert_eq!(body["kind"], "HorizontalPodAutoscaler");
    assert_eq!(body["metadata"]["resourceVersion"], "71");
    assert_eq!(
        (&body["spec"]["minReplicas"], &body["spec"]["maxReplicas"]),
        (&json!(2), &json!(8))
    );

    // The name is another Deployment's.
    let server = Server::default()
        .ok(
            "GET",
            AUTOSCALERS,
            json!({"items": [autoscaler("front", "web", 1, 8)]}),
        )
        .ok(
            "GET",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web-candidate",
            autoscaler("web-candidate", "other", 1, 8),
        );
    let failure = failed(make(&server, Piece::Autoscaler).await);
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(server.writes().is_empty());

    let none = Server::default().ok("GET", AUTOSCALERS, json!({"items": []}));
    let failure = failed(make(&none, Piece::Autoscaler).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
    );
}
