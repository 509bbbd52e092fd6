//! Reads, and writes to what is there already, where a candidate is beside stable.

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields, Piece};
use phasegate_core::failure::Kind;
use phasegate_core::strategy::{Autoscaler, Slot};
use phasegate_core::workload::{Idle, Marks};
use phasegate_runtime::ports::{Cluster, Found};
use serde_json::json;

use super::*;

fn scale(marked: bool) -> Change {
    Change {
        slot: Slot::Candidate,
        fields: Fields {
            replicas: Some(4),
            ..Fields::default()
        },
        uid: String::new(),
        expected_image: None,
        marked,
    }
}

async fn write(server: &Server, change: &Change) -> Result<(), ChangeError> {
    server.cluster().change(&beside(), change, &stamp()).await
}

fn holding(found: Value) -> Server {
    Server::default()
        .ok("GET", CANDIDATE, found)
        .ok("PATCH", CANDIDATE, json!({}))
}

#[tokio::test]
async fn what_is_changed_of_a_candidate_leaves_the_rest_of_it() {
    let server = holding(candidate());
    write(&server, &scale(true)).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].content_type,
        "application/strategic-merge-patch+json"
    );
    let expected = json!({
        "metadata": {
            "resourceVersion": "52",
            "annotations": {
                "phasegate.dev/run": "hello-20261118-abcdef",
                "phasegate.dev/epoch": "3",
                "phasegate.dev/effect": "hello-20261118-abcdef/deploy/1",
            },
        },
        "spec": {"replicas": 4},
    });
    assert_eq!(writes[0].body, expected);
}

#[tokio::test]
async fn the_last_write_takes_the_marks_off_a_candidate_and_nothing_else() {
    let last = Change {
        fields: Fields::default(),
        ..scale(false)
    };
    let server = holding(candidate());
    write(&server, &last).await.unwrap();
    let expected = json!({
        "metadata": {
            "resourceVersion": "52",
            "annotations": {"phasegate.dev/run": null, "phasegate.dev/epoch": null, "phasegate.dev/effect": null},
        },
        "spec": {},
    });
    assert_eq!(server.writes()[0].body, expected);
    // After a success there are none any more, and a rollback still has to write.
    let server = holding(foreign(4));
    write(&server, &last).await.unwrap();
    assert_eq!(server.writes().len(), 1);
}

#[tokio::test]
async fn a_candidate_that_somebody_else_made_is_left_alone() {
    let mut other = candidate();
    other["metadata"]["annotations"]["phasegate.dev/run"] = "r-9".into();
    for (found, marked) in [(foreign(2), true), (other.clone(), true), (other, false)] {
        let server = holding(found);
        let failure = failed(write(&server, &scale(marked)).await);
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Conflict, codes::CONFLICT)
        );
        assert!(failure.message.contains("`web-candidate`"), "{failure}");
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn a_probe_looks_at_the_candidate_that_the_change_is_about() {
    let cluster = holding(candidate()).cluster();
    let (marks, in_place) = cluster.changed(&beside(), &scale(true)).await.unwrap();
    assert_eq!(marks.effect.as_deref(), Some("earlier"));
    assert!(!in_place, "it wants 2 pods");
    let gone = Server::default().cluster();
    let (marks, in_place) = gone.changed(&beside(), &scale(true)).await.unwrap();
    assert_eq!((marks, in_place), (Marks::default(), false));

    let there = beside();
    let found = cluster.found(&there, Slot::Candidate, Piece::Deployment);
    let expected = Found {
        marks: Marks {
            run: Some(stamp().run),
            epoch: Some(3),
            effect: Some("earlier".to_owned()),
        },
        minimum: None,
    };
    assert_eq!(found.await.unwrap(), Some(expected));
}

#[tokio::test]
async fn a_target_without_a_place_has_no_candidate() {
    let cluster = Server::default().cluster();
    let result = cluster.change(&target(), &scale(true), &stamp()).await;
    assert_eq!(failed(result).code, codes::INTERNAL);
    let there = target();
    let found = cluster.found(&there, Slot::Candidate, Piece::Deployment);
    assert_eq!(found.await.unwrap_err().code, codes::INTERNAL);
}

#[tokio::test]
async fn a_baseline_knows_what_is_kept_beside_and_refuses_what_runs_there() {
    let server = |found: Value| {
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .ok("GET", SERVICE, json!({}))
            .ok("GET", CANDIDATE, found)
    };
    let kept = server(with_image(foreign(0), "web:0.9")).cluster();
    let kept = kept.baseline(&beside()).await.unwrap();
    let expected = Idle {
        image: "web:0.9".to_owned(),
        replicas: 0,
    };
    assert_eq!(kept.idle, Some(expected));

    let runs = server(foreign(3)).cluster();
    let failure = runs.baseline(&beside()).await.unwrap_err();
    assert_eq!(failure.code, codes::NO_PLACE_BESIDE);
    assert!(failure.message.contains("wants 3"), "{failure}");
}

fn with_pods(deployment: &Value, name: &str) -> [Value; 2] {
    let set = format!("{name}-a");
    let uid = &deployment["metadata"]["uid"];
    let owner = |uid: &Value| json!([{"uid": uid, "controller": true}]);
    let replica_set = json!({"metadata": {"name": set, "uid": set, "ownerReferences": owner(uid)}});
    let pod = json!({
        "metadata": {"name": format!("{set}-1"), "ownerReferences": owner(&json!(set))},
        "spec": {"containers": [{"name": "app", "image": "web:1.1"}]},
        "status": {"containerStatuses": [
            {"name": "app", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        ]},
    });
    [replica_set, pod]
}

/// Both Deployments with a pod each that can't start.
fn failing() -> Server {
    let [stable_set, stable_pod] = with_pods(&deployment(), "web");
    let [candidate_set, candidate_pod] = with_pods(&candidate(), "web-candidate");
    Server::default()
        .ok("GET", DEPLOYMENT, deployment())
        .ok("GET", CANDIDATE, candidate())
        .ok(
            "GET",
            REPLICA_SETS,
            json!({"items": [stable_set, candidate_set]}),
        )
        .ok("GET", PODS, json!({"items": [stable_pod, candidate_pod]}))
        .ok(
            "GET",
            AUTOSCALERS,
            json!({"items": [autoscaler("front", "web", 2, 8), autoscaler("c", "web-candidate", 1, 8)]}),
        )
}

#[tokio::test]
async fn an_observation_has_both_sides_and_what_scales_them() {
    let server = failing();
    let seen = server.cluster().observe(&beside()).await.unwrap();
    let bounds = |minimum| {
        Some(Autoscaler {
            minimum,
            maximum: 8,
        })
    };
    assert_eq!((seen.uid.as_str(), seen.autoscaler), ("u-1", bounds(2)));
    assert_eq!(seen.pods[0].name, "web-a-1");
    let candidate = seen.beside.unwrap();
    assert_eq!(
        (candidate.uid.as_str(), candidate.autoscaler),
        ("u-2", bounds(1))
    );
    assert_eq!(candidate.settings.replicas, 2);
    assert_eq!(candidate.marks.run, Some(stamp().run));
    let pods: Vec<&str> = candidate.pods.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(pods, ["web-candidate-a-1"]);
    assert_eq!(candidate.beside, None);

    let alone = server.cluster().observe(&target()).await.unwrap();
    assert_eq!(alone.beside, None);
}

#[tokio::test]
async fn a_diagnosis_is_about_both_sides() {
    let event = |kind: &str, name: &str| {
        json!({
            "involvedObject": {"kind": kind, "name": name}, "reason": "Failed", "message": "m",
            "lastTimestamp": "2026-11-18T11:03:00Z",
        })
    };
    let events = json!({"items": [
        event("Deployment", "web-candidate"), event("Pod", "web-candidate-a-1"), event("Pod", "web-a-1"),
        event("Deployment", "other"),
    ]});
    let log = |name: &str| Reply::Text(200, if name == "web-a-1" { "one" } else { "two" });
    let server = failing()
        .ok("GET", "/api/v1/namespaces/shop/events", events)
        .on(
            "GET",
            "/api/v1/namespaces/shop/pods/web-a-1/log",
            vec![log("web-a-1")],
        )
        .on(
            "GET",
            "/api/v1/namespaces/shop/pods/web-candidate-a-1/log",
            vec![log("web-candidate-a-1")],
        );
    let found = server.cluster().diagnose(&beside()).await.unwrap();
    assert_eq!(
        found.events,
        [
            "Failed deployment/web-candidate: m",
            "Failed pod/web-candidate-a-1: m",
            "Failed pod/web-a-1: m",
        ]
    );
    assert_eq!(found.logs, ["web-a-1: one", "web-candidate-a-1: two"]);

    let hidden = Server::default().ok("GET", DEPLOYMENT, deployment()).on(
        "GET",
        CANDIDATE,
        vec![status(403, "Forbidden", "no")],
    );
    let found = hidden.cluster().diagnose(&beside()).await.unwrap();
    assert!(
        found.events[0].contains("the candidate could not be read"),
        "{found:?}"
    );
}
