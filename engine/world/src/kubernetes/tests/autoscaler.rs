use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Piece;
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Slot;
use phasegate_runtime::ports::Cluster;
use serde_json::json;

use super::*;

const FRONT: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/front";

fn holding(found: &Value) -> Server {
    Server::default()
        .ok(
            "GET",
            AUTOSCALERS,
            json!({"items": [autoscaler("other", "api", 1, 2), found]}),
        )
        .ok("PATCH", FRONT, json!({}))
}

async fn bound(server: &Server, slot: Slot, minimum: u32) -> Result<(), ChangeError> {
    let cluster = server.cluster();
    cluster.bound(&beside(), slot, minimum, &stamp()).await
}

/// What is patched to come to a minimum.
async fn patched(found: &Value, minimum: u32) -> Value {
    let server = holding(found);
    bound(&server, Slot::Stable, minimum).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    writes[0].body.clone()
}

#[tokio::test]
async fn the_minimum_is_patched_in_the_version_that_was_read() {
    let server = holding(&autoscaler("front", "web", 2, 8));
    bound(&server, Slot::Stable, 4).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].target, format!("{FRONT}?fieldManager=phasegate"));
    assert_eq!(writes[0].content_type, "application/merge-patch+json");
    assert_eq!(
        writes[0].agent,
        "phasegate/test (effect hello-20261118-abcdef/deploy/1)"
    );
    let expected = json!({"metadata": {"resourceVersion": "71"}, "spec": {"minReplicas": 4}});
    assert_eq!(writes[0].body, expected);

    let there = holding(&autoscaler("front", "web", 4, 8));
    bound(&there, Slot::Stable, 4).await.unwrap();
    assert!(there.writes().is_empty());
}

#[tokio::test]
async fn a_maximum_that_is_in_the_way_gives_way_and_comes_back() {
    let mut found = autoscaler("front", "web", 2, 3);
    let raised = json!({
        "metadata": {"resourceVersion": "71", "annotations": {"phasegate.dev/maximum-before": "3"}},
        "spec": {"minReplicas": 6, "maxReplicas": 6},
    });
    assert_eq!(patched(&found, 6).await, raised);

    found["spec"]["minReplicas"] = 6.into();
    found["spec"]["maxReplicas"] = 6.into();
    found["metadata"]["annotations"] = json!({"phasegate.dev/maximum-before": "3"});
    let lower = json!({
        "metadata": {"resourceVersion": "71"},
        "spec": {"minReplicas": 5, "maxReplicas": 5},
    });
    assert_eq!(patched(&found, 5).await, lower);
    let back = json!({
        "metadata": {"resourceVersion": "71", "annotations": {"phasegate.dev/maximum-before": null}},
        "spec": {"minReplicas": 2, "maxReplicas": 3},
    });
    assert_eq!(patched(&found, 2).await, back);

    // Somebody else has set another since: that one stays.
    found["spec"]["maxReplicas"] = 20.into();
    let kept = json!({
        "metadata": {"resourceVersion": "71", "annotations": {"phasegate.dev/maximum-before": null}},
        "spec": {"minReplicas": 2},
    });
    assert_eq!(patched(&found, 2).await, kept);
}

#[tokio::test]
async fn without_an_autoscaler_there_is_nothing_to_bound() {
    let none = Server::default();
    let failure = failed(bound(&none, Slot::Stable, 4).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
    );
    assert!(failure.message.contains("`web`"), "{failure}");
}

#[tokio::test]
async fn the_candidates_autoscaler_must_be_ours() {
    let mut ours = autoscaler("front", "web-candidate", 1, 8);
    let failure = failed(bound(&holding(&ours), Slot::Candidate, 4).await);
    assert_eq!(failure.kind, Kind::Conflict);

    ours["metadata"]["annotations"] =
        json!({"phasegate.dev/run": stamp().run, "phasegate.dev/epoch": "3"});
    let server = holding(&ours);
    bound(&server, Slot::Candidate, 4).await.unwrap();
    assert_eq!(server.writes()[0].body["spec"]["minReplicas"], 4);
    let found = server.cluster();
    let there = beside();
    let found = found.found(&there, Slot::Candidate, Piece::Autoscaler);
    let found = found.await.unwrap().unwrap();
    assert_eq!(
        (found.minimum, found.marks.run),
        (Some(1), Some(stamp().run))
    );

    ours["metadata"]["annotations"]["phasegate.dev/epoch"] = "4".into();
    let failure = failed(bound(&holding(&ours), Slot::Candidate, 4).await);
    assert_eq!(failure.kind, Kind::Fenced);
    let late = holding(&autoscaler("front", "web", 2, 8)).ok(
        "GET",
        LEASE,
        json!({"spec": {"leaseTransitions": 4}}),
    );
    let failure = failed(bound(&late, Slot::Stable, 4).await);
    assert_eq!(failure.kind, Kind::Fenced);
    assert!(late.writes().is_empty());
}
