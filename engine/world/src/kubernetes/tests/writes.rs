use std::io::ErrorKind;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Slot;
use phasegate_core::workload::Rollout;
use phasegate_runtime::ports::{ChangeError, ClaimRecord, Cluster};
use serde_json::json;

use super::*;

fn change() -> Change {
    Change {
        slot: Slot::Stable,
        fields: Fields {
            image: Some("web:1.1".to_owned()),
            replicas: Some(4),
            rollout: Some(Rollout::RollingUpdate {
                surge: "2".to_owned(),
                unavailable: "25%".to_owned(),
            }),
            configs: Vec::new(),
        },
        uid: "u-1".to_owned(),
        expected_image: Some("web:1.0".to_owned()),
        marked: true,
    }
}

async fn write(server: &Server, change: &Change) -> Result<(), ChangeError> {
    server.cluster().change(&target(), change, &stamp()).await
}

#[tokio::test]
async fn a_change_is_applied_with_its_fields_its_marks_and_the_version_that_was_read() {
    let server =
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .ok("PATCH", DEPLOYMENT, json!({}));
    write(&server, &change()).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    let write = &writes[0];
    assert_eq!(
        write.target,
        format!("{DEPLOYMENT}?fieldManager=phasegate&force=true")
    );
    assert_eq!(write.content_type, "application/apply-patch+yaml");
    assert_eq!(
        write.agent,
        "phasegate/test (effect hello-20261118-abcdef/deploy/1)"
    );
    let expected = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "41",
            "annotations": {
                "phasegate.dev/run": "hello-20261118-abcdef",
                "phasegate.dev/epoch": "3",
                "phasegate.dev/effect": "hello-20261118-abcdef/deploy/1",
            },
        },
        "spec": {
            "replicas": 4,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": "25%"}},
            "template": {"spec": {"containers": [{"name": "app", "image": "web:1.1"}]}},
        },
    });
    assert_eq!(write.body, expected);
}

fn recreate(marked: bool) -> Change {
    Change {
        fields: Fields {
            rollout: Some(Rollout::Recreate),
            ..change().fields
        },
        marked,
        ..change()
    }
}

#[tokio::test]
async fn recreate_takes_the_rolling_settings_of_others_away_in_the_same_write() {
    let server =
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .ok("PATCH", DEPLOYMENT, json!({}));
    write(&server, &recreate(true)).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].content_type,
        "application/strategic-merge-patch+json"
    );
    assert_eq!(
        writes[0].target,
        format!("{DEPLOYMENT}?fieldManager=phasegate")
    );
    let expected = json!({
        "metadata": {
            "resourceVersion": "41",
            "annotations": {
                "phasegate.dev/run": "hello-20261118-abcdef",
                "phasegate.dev/epoch": "3",
                "phasegate.dev/effect": "hello-20261118-abcdef/deploy/1",
            },
        },
        "spec": {
            "replicas": 4,
            "strategy": {"type": "Recreate", "rollingUpdate": null},
            "template": {"spec": {"containers": [{"name": "app", "image": "web:1.1"}]}},
        },
    });
    assert_eq!(writes[0].body, expected);
}

#[tokio::test]
async fn the_last_write_takes_the_marks_off_however_they_came_there() {
    let owned = |operation: &str| {
        let mut object = marked(3, "earlier");
        object["spec"]["strategy"] = json!({"type": "Recreate"});
        object["metadata"]["managedFields"] = json!([{
            "manager": "phasegate", "operation": operation,
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:phasegate.dev/run": {}}}},
        }]);
        Server::default()
            .ok("GET", DEPLOYMENT, object)
            .ok("PATCH", DEPLOYMENT, json!({}))
    };
    let applied = owned("Apply");
    write(&applied, &recreate(false)).await.unwrap();
    let body = &applied.writes()[0].body;
    assert_eq!(body["spec"]["strategy"], json!({"type": "Recreate"}));
    assert!(body["metadata"].get("annotations").is_none(), "{body}");

    let patched = owned("Update");
    write(&patched, &recreate(false)).await.unwrap();
    let body = &patched.writes()[0].body;
    let gone = json!({"phasegate.dev/run": null, "phasegate.dev/epoch": null, "phasegate.dev/effect": null});
    assert_eq!(body["metadata"]["annotations"], gone);
}

#[tokio::test]
async fn an_image_that_somebody_else_set_is_not_written_over() {
    let mut drifted = with_image(deployment(), "web:0.9-hotfix");
    drifted["metadata"]["managedFields"] =
        json!([{"manager": "kubectl-edit", "time": "2026-11-18T10:00:00Z"}]);
    let server = Server::default().ok("GET", DEPLOYMENT, drifted);
    let failure = failed(write(&server, &change()).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::CONFLICT)
    );
    for part in ["`web:1.0`", "`web:0.9-hotfix`", "kubectl-edit"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_rollback_writes_over_any_image() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, with_image(deployment(), "web:0.9"))
        .ok("PATCH", DEPLOYMENT, json!({}));
    let back = Change {
        expected_image: None,
        ..change()
    };
    write(&server, &back).await.unwrap();
    assert_eq!(server.writes().len(), 1);
}

#[tokio::test]
async fn another_deployment_of_the_same_name_is_left_alone() {
    let mut other = deployment();
    other["metadata"]["uid"] = "u-2".into();
    let server = Server::default().ok("GET", DEPLOYMENT, other);
    assert_eq!(failed(write(&server, &change()).await).kind, Kind::Conflict);
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_later_epoch_on_the_object_or_on_the_lease_fences_the_write() {
    let by_mark = Server::default().ok("GET", DEPLOYMENT, marked(4, "x"));
    let by_lease = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        LEASE,
        json!({"spec": {"leaseTransitions": 4}}),
    );
    for server in [by_mark, by_lease] {
        let failure = failed(write(&server, &change()).await);
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Fenced, codes::STALE_EPOCH)
        );
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn a_write_that_took_place_is_not_made_again() {
    let done = with_image(marked(3, &stamp().key), "web:1.1");
    let server = Server::default().ok("GET", DEPLOYMENT, done);
    write(&server, &change()).await.unwrap();
    assert!(server.writes().is_empty());
    let (marks, in_place) = server
        .cluster()
        .changed(&target(), &change())
        .await
        .unwrap();
    assert_eq!(
        marks.effect.as_deref(),
        Some("hello-20261118-abcdef/deploy/1")
    );
    // The strategy of the object isn't that of the change yet.
    assert!(!in_place);
}

#[tokio::test]
async fn a_stale_version_is_read_again_and_judged_again() {
    let conflict = || status(409, "Conflict", "the object has been modified");
    let server = Server::default()
        .on(
            "GET",
            DEPLOYMENT,
            vec![
                Reply::Json(200, deployment()),
                Reply::Json(200, with_image(deployment(), "web:other")),
            ],
        )
        .on("PATCH", DEPLOYMENT, vec![conflict()]);
    let failure = failed(write(&server, &change()).await);
    assert!(failure.message.contains("`web:other`"), "{failure}");
    assert_eq!(server.writes().len(), 1);

    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).on(
        "PATCH",
        DEPLOYMENT,
        vec![conflict()],
    );
    let failure = failed(write(&server, &change()).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Retryable, codes::CONFLICT)
    );
    assert!(
        failure.message.contains("the object has been modified"),
        "{failure}"
    );
    assert_eq!(server.writes().len(), 3);
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_one_that_never_left_is_not() {
    let server = |reply| {
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .on("PATCH", DEPLOYMENT, vec![reply])
    };
    for reply in [
        Reply::Broken(ErrorKind::ConnectionReset),
        Reply::Broken(ErrorKind::UnexpectedEof),
        Reply::Text(200, "<html>"),
        status(504, "Timeout", "did not complete within the allotted time"),
        status(500, "ServerTimeout", "try again"),
        status(500, "InternalError", "etcdserver: request timed out"),
    ] {
        let result = write(&server(reply), &change()).await;
        assert!(matches!(result, Err(ChangeError::Unknown(_))), "{result:?}");
    }
    for reply in [
        Reply::Broken(ErrorKind::ConnectionRefused),
        status(500, "InternalError", "failed calling webhook"),
        status(503, "ServiceUnavailable", "starting"),
    ] {
        let failure = failed(write(&server(reply), &change()).await);
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Retryable, codes::CLUSTER_UNREACHABLE)
        );
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_refused_and_when_to_ask_again() {
    let server = |reply| {
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .on("PATCH", DEPLOYMENT, vec![reply])
    };
    let busy = Reply::RetryAfter(429, status_body(429, "TooManyRequests", "slow down"), "7");
    let failure = failed(write(&server(busy), &change()).await);
    assert_eq!(
        (failure.kind, failure.after),
        (Kind::Retryable, Some(seconds(7)))
    );

    let denied = status(403, "Forbidden", "User \"ci\" cannot patch");
    let failure = failed(write(&server(denied), &change()).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Denied, codes::CLUSTER_REFUSED)
    );
    assert_eq!(
        failure.message,
        "not allowed to patch deployments.apps `web` in namespace `shop`: User \"ci\" cannot patch"
    );

    let invalid = status(422, "Invalid", "spec.replicas: must be greater than 0");
    let failure = failed(write(&server(invalid), &change()).await);
    assert_eq!(failure.kind, Kind::Permanent);
    assert!(failure.message.contains("spec.replicas"), "{failure}");
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_unknown() {
    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).on(
        "PATCH",
        DEPLOYMENT,
        vec![Reply::Never],
    );
    let result = server
        .cluster()
        .change(&target(), &change(), &stamp())
        .await;
    assert!(
        matches!(&result, Err(ChangeError::Unknown(why)) if why.contains("30s")),
        "{result:?}"
    );
}

fn claim(run: &str) -> ClaimRecord {
    ClaimRecord {
        run: run.to_owned(),
        plan: "sha256:aa".to_owned(),
        started_by: "ada".to_owned(),
        key: "k".to_owned(),
        handed_over_by: None,
    }
}

#[tokio::test]
async fn a_claim_is_created() {
    let server = Server::default().ok("POST", CONFIG_MAPS, json!({}));
    let ours = claim(&stamp().run);
    server
        .cluster()
        .claim(&target(), &ours, &stamp())
        .await
        .unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].target,
        format!("{CONFIG_MAPS}?fieldManager=phasegate")
    );
    assert!(writes[0].agent.contains("(effect "), "{}", writes[0].agent);
    let expected = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "phasegate-claim-web", "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "phasegate"},
        },
        "data": {"run": "hello-20261118-abcdef", "plan": "sha256:aa", "started_by": "ada", "key": "k"},
    });
    assert_eq!(writes[0].body, expected);
}

#[tokio::test]
async fn a_claim_of_the_same_run_is_ours_and_another_is_named() {
    let server = |holder: &str| {
        Server::default()
            .on(
                "POST",
                CONFIG_MAPS,
                vec![status(409, "AlreadyExists", "already exists")],
            )
            .ok(
                "GET",
                CLAIM,
                json!({"metadata": {"uid": "c-1"}, "data": claim(holder)}),
            )
    };
    let ours = claim("r-1");
    let held = server("r-1")
        .cluster()
        .claim(&target(), &ours, &stamp())
        .await;
    assert_eq!(held, Ok(()));
    let refused = server("r-2")
        .cluster()
        .claim(&target(), &ours, &stamp())
        .await;
    let failure = failed(refused);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::TARGET_BUSY)
    );
    for part in [
        "`r-2`",
        "ada",
        "phasegate resume r-2",
        "phasegate abort r-2",
    ] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn only_the_own_claim_is_deleted_and_only_the_very_one_that_was_read() {
    let server = |holder: &str| {
        Server::default()
            .ok(
                "GET",
                CLAIM,
                json!({"metadata": {"uid": "c-1"}, "data": claim(holder)}),
            )
            .ok("DELETE", CLAIM, json!({}))
    };
    let ours = server(&stamp().run);
    ours.cluster().release(&target(), &stamp()).await.unwrap();
    assert_eq!(
        ours.writes()[0].body["preconditions"],
        json!({"uid": "c-1"})
    );

    let other = server("r-2");
    other.cluster().release(&target(), &stamp()).await.unwrap();
    assert!(other.writes().is_empty());

    let none = Server::default();
    none.cluster().release(&target(), &stamp()).await.unwrap();
    assert!(none.writes().is_empty());

    let fenced = server(&stamp().run).ok("GET", LEASE, json!({"spec": {"leaseTransitions": 9}}));
    let failure = failed(fenced.cluster().release(&target(), &stamp()).await);
    assert_eq!(failure.kind, Kind::Fenced);
    assert!(fenced.writes().is_empty());
}

#[tokio::test]
async fn a_claim_changes_hands_in_one_write_that_carries_the_version_that_was_read() {
    let found = |record: &ClaimRecord| json!({"metadata": {"uid": "c-1", "resourceVersion": "7"}, "data": record});
    let ours = claim(&stamp().run);
    let kept = ClaimRecord {
        handed_over_by: Some(stamp().run),
        ..claim("r-2")
    };
    let server = Server::default()
        .ok("GET", CLAIM, found(&ours))
        .ok("PUT", CLAIM, json!({}));
    let cluster = server.cluster();
    cluster.hand_over(&target(), &kept, &stamp()).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].body, found(&kept));
    assert!(writes[0].agent.contains("(effect "), "{}", writes[0].agent);

    let other = Server::default().ok("GET", CLAIM, found(&claim("r-9")));
    other
        .cluster()
        .hand_over(&target(), &kept, &stamp())
        .await
        .unwrap();
    assert!(other.writes().is_empty(), "it isn't ours any more");

    let fenced = Server::default().ok("GET", CLAIM, found(&ours)).ok(
        "GET",
        LEASE,
        json!({"spec": {"leaseTransitions": 9}}),
    );
    let failure = failed(fenced.cluster().hand_over(&target(), &kept, &stamp()).await);
    assert_eq!(failure.kind, Kind::Fenced);
    assert!(fenced.writes().is_empty());
}
