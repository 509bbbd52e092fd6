use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Piece;
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Slot;
use phasegate_runtime::ports::Cluster;
use serde_json::json;

use super::*;

async fn remove(server: &Server, slot: Slot, piece: Piece) -> Result<(), ChangeError> {
    let cluster = server.cluster();
    Cluster::remove(&cluster, &beside(), slot, piece, &stamp()).await
}

fn holding(found: Value) -> Server {
    Server::default()
        .ok("GET", CANDIDATE, found)
        .ok("DELETE", CANDIDATE, json!({}))
}

#[tokio::test]
async fn the_candidate_is_deleted_in_the_very_version_that_was_read() {
    let server = holding(candidate());
    remove(&server, Slot::Candidate, Piece::Deployment)
        .await
        .unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        (writes[0].method.as_str(), writes[0].target.as_str()),
        ("DELETE", CANDIDATE)
    );
    assert_eq!(
        writes[0].agent,
        "phasegate/test (effect hello-20261118-abcdef/deploy/1)"
    );
    let expected = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u-2", "resourceVersion": "52"},
        "propagationPolicy": "Background",
    });
    assert_eq!(writes[0].body, expected);
}

#[tokio::test]
async fn what_is_gone_or_going_is_not_deleted_again() {
    let mut leaving = candidate();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-18T11:00:00Z".into();
    for server in [Server::default(), holding(leaving)] {
        for piece in [Piece::Deployment, Piece::Service, Piece::Autoscaler] {
            remove(&server, Slot::Candidate, piece).await.unwrap();
        }
        let cluster = server.cluster();
        let there = beside();
        let found = cluster.found(&there, Slot::Candidate, Piece::Deployment);
        assert_eq!(found.await.unwrap(), None);
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn only_what_the_run_made_or_nobody_uses_is_deleted() {
    // The marks come off at the end of a success; that the run made it is still known then.
    let mut promoted = candidate();
    promoted["metadata"]["annotations"] = json!({"phasegate.dev/made-by": stamp().run});
    for found in [promoted.clone(), foreign(0)] {
        let server = holding(found);
        remove(&server, Slot::Candidate, Piece::Deployment)
            .await
            .unwrap();
        assert_eq!(server.writes().len(), 1);
    }
    let mut other_run = promoted.clone();
    other_run["metadata"]["annotations"]["phasegate.dev/run"] = "r-9".into();
    let mut other_made = promoted;
    other_made["metadata"]["annotations"]["phasegate.dev/made-by"] = "r-0".into();
    for found in [foreign(3), other_run, other_made] {
        let server = holding(found);
        let failure = failed(remove(&server, Slot::Candidate, Piece::Deployment).await);
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Conflict, codes::CONFLICT)
        );
        assert!(failure.message.contains("`web-candidate`"), "{failure}");
        assert!(server.writes().is_empty());
    }
    let unmarked = autoscaler("mine", "web-candidate", 1, 2);
    let server = Server::default().ok("GET", AUTOSCALERS, json!({"items": [unmarked]}));
    let failure = failed(remove(&server, Slot::Candidate, Piece::Autoscaler).await);
    assert_eq!(failure.kind, Kind::Conflict);
    let server = Server::default().ok(
        "GET",
        CANDIDATE_SERVICE,
        json!({"metadata": {"name": "web-candidate"}}),
    );
    let failure = failed(remove(&server, Slot::Candidate, Piece::Service).await);
    assert_eq!(failure.kind, Kind::Conflict);
}

#[tokio::test]
async fn each_piece_of_the_candidate_goes_by_itself() {
    let mut scaler = autoscaler("web-candidate", "web-candidate", 2, 8);
    scaler["metadata"]["annotations"] = json!({"phasegate.dev/run": stamp().run});
    let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web-candidate";
    let service = json!({
        "metadata": {"name": "web-candidate", "uid": "s-2", "annotations": {"phasegate.dev/run": stamp().run}},
    });
    let server = Server::default()
        .ok("GET", AUTOSCALERS, json!({"items": [scaler]}))
        .ok("DELETE", path, json!({}))
        .ok("GET", CANDIDATE_SERVICE, service)
        .ok("DELETE", CANDIDATE_SERVICE, json!({}));
    for (piece, path) in [
        (Piece::Autoscaler, path),
        (Piece::Service, CANDIDATE_SERVICE),
    ] {
        remove(&server, Slot::Candidate, piece).await.unwrap();
        let last = server.writes().pop().unwrap();
        assert_eq!(
            (last.method.as_str(), last.target.as_str()),
            ("DELETE", path)
        );
    }
    assert_eq!(server.writes().len(), 2);
}

#[tokio::test]
async fn stable_goes_only_once_it_wants_no_pods_and_nobody_has_it_in_hand() {
    let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/front";
    let server = |deployment: Value| {
        let scaler = autoscaler("front", "web", 1, 8);
        Server::default()
            .ok("GET", DEPLOYMENT, deployment)
            .ok("GET", AUTOSCALERS, json!({"items": [scaler]}))
            .ok("DELETE", DEPLOYMENT, json!({}))
            .ok("DELETE", path, json!({}))
    };
    let mut retired = deployment();
    retired["spec"]["replicas"] = 0.into();
    let mut in_hand = retired.clone();
    in_hand["metadata"]["annotations"] = json!({"phasegate.dev/run": "r-9"});
    let over = server(retired);
    for (piece, path) in [(Piece::Autoscaler, path), (Piece::Deployment, DEPLOYMENT)] {
        remove(&over, Slot::Stable, piece).await.unwrap();
        assert_eq!(over.writes().pop().unwrap().target, path);
    }
    for (found, part) in [(deployment(), "wants 4"), (in_hand, "run `r-9`")] {
        let server = server(found);
        for piece in [Piece::Autoscaler, Piece::Deployment] {
            let failure = failed(remove(&server, Slot::Stable, piece).await);
            assert_eq!(failure.kind, Kind::Conflict);
            assert!(failure.message.contains(part), "{failure}");
        }
        assert!(server.writes().is_empty());
    }
    let failure = failed(
        remove(
            &Server::default().ok("GET", SERVICE, json!({"metadata": {"name": "web"}})),
            Slot::Stable,
            Piece::Service,
        )
        .await,
    );
    assert_eq!(failure.kind, Kind::Permanent);
}

#[tokio::test]
async fn an_engine_that_was_overtaken_deletes_nothing() {
    let mut later = candidate();
    later["metadata"]["annotations"]["phasegate.dev/epoch"] = "4".into();
    let by_lease = holding(candidate()).ok("GET", LEASE, json!({"spec": {"leaseTransitions": 4}}));
    for server in [holding(later), by_lease] {
        let failure = failed(remove(&server, Slot::Candidate, Piece::Deployment).await);
        assert_eq!(failure.kind, Kind::Fenced);
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn a_version_that_went_on_is_read_again_and_a_lost_answer_is_unknown() {
    let crossed = Server::default()
        .on(
            "GET",
            CANDIDATE,
            vec![Reply::Json(200, candidate()), Reply::Json(200, foreign(3))],
        )
        .on(
            "DELETE",
            CANDIDATE,
            vec![status(409, "Conflict", "went on")],
        );
    let failure = failed(remove(&crossed, Slot::Candidate, Piece::Deployment).await);
    assert_eq!(failure.kind, Kind::Conflict);
    assert_eq!(crossed.writes().len(), 1);

    let always = Server::default().ok("GET", CANDIDATE, candidate()).on(
        "DELETE",
        CANDIDATE,
        vec![status(409, "Conflict", "went on")],
    );
    let failure = failed(remove(&always, Slot::Candidate, Piece::Deployment).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Retryable, codes::CONFLICT)
    );
    assert_eq!(always.writes().len(), 3);

    let lost = Reply::Broken(std::io::ErrorKind::ConnectionReset);
    let server =
        Server::default()
            .ok("GET", CANDIDATE, candidate())
            .on("DELETE", CANDIDATE, vec![lost]);
    let result = remove(&server, Slot::Candidate, Piece::Deployment).await;
    assert!(matches!(result, Err(ChangeError::Unknown(_))), "{result:?}");
}
