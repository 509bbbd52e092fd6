use phasegate_runtime::ports::{
    ClaimRecord, Cluster, Grant, Holder, LEASE_DURATION, LeaseError, Leases,
};
use serde_json::json;

use super::*;

fn holder(engine: &str, seat: &str) -> Holder {
    Holder {
        engine: engine.to_owned(),
        seat: seat.to_owned(),
        run: "r-1".to_owned(),
    }
}

fn lease(held_by: &Holder, renewed: &str) -> Value {
    json!({
        "metadata": {"name": "phasegate-web", "resourceVersion": "8"},
        "spec": {
            "holderIdentity": json!(held_by).to_string(),
            "leaseDurationSeconds": 15,
            "renewTime": renewed,
            "acquireTime": renewed,
            "leaseTransitions": 4,
        },
    })
}

/// Ten seconds before [`NOW`]: not yet expired.
const FRESH: &str = "2026-11-18T11:06:30.000000Z";
/// A minute before it.
const STALE: &str = "2026-11-18T11:05:40.000000Z";

#[tokio::test]
async fn a_lease_that_is_missing_is_created_above_the_epoch_on_the_object() {
    let server =
        Server::default()
            .ok("GET", DEPLOYMENT, marked(6, "x"))
            .ok("POST", LEASES, json!({}));
    let grant = server
        .cluster()
        .acquire(&target(), &holder("e-1", "s-1"))
        .await
        .unwrap();
    assert_eq!(
        grant,
        Grant {
            epoch: 7,
            expires: NOW.plus(LEASE_DURATION)
        }
    );
    let write = &server.writes()[0];
    assert_eq!(write.agent, "phasegate/test (lease)");
    let spec = json!({
        "holderIdentity": "{\"engine\":\"e-1\",\"run\":\"r-1\",\"seat\":\"s-1\"}",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-18T11:06:40.000000Z",
        "renewTime": "2026-11-18T11:06:40.000000Z",
        "leaseTransitions": 7,
    });
    // The order of names within the holder is of no importance.
    let mut found = write.body["spec"].clone();
    let identity: Value = serde_json::from_str(found["holderIdentity"].as_str().unwrap()).unwrap();
    assert_eq!(identity, json!(holder("e-1", "s-1")));
    found["holderIdentity"] = spec["holderIdentity"].clone();
    assert_eq!(found, spec);
}

#[tokio::test]
async fn claim_and_lease_are_named_after_the_workload_whichever_deployment_serves() {
    let swapped = Target {
        deployment: "web-green".to_owned(),
        ..beside()
    };
    let server = Server::default()
        .ok("GET", CANDIDATE, marked(9, "x"))
        .ok("POST", LEASES, json!({}))
        .ok("POST", CONFIG_MAPS, json!({}));
    let cluster = server.cluster();
    let taken = cluster.acquire(&swapped, &holder("e-1", "s-1")).await;
    // The candidate's Deployment is marked too.
    assert_eq!(taken.unwrap().epoch, 10);
    let claim = ClaimRecord {
        run: stamp().run,
        plan: "sha256:aa".to_owned(),
        started_by: "ada".to_owned(),
        key: "k".to_owned(),
        handed_over_by: None,
    };
    cluster.claim(&swapped, &claim, &stamp()).await.unwrap();
    let names: Vec<Value> = server
        .writes()
        .iter()
        .map(|write| write.body["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["phasegate-web", "phasegate-claim-web"]);
}

#[tokio::test]
async fn a_lease_is_taken_over_when_it_expired_was_given_back_or_is_of_the_same_run_and_seat() {
    let mut given_back = lease(&holder("e-0", "s-0"), FRESH);
    given_back["spec"]["holderIdentity"] = "".into();
    for found in [
        lease(&holder("e-0", "s-0"), STALE),
        given_back,
        lease(&holder("e-0", "s-1"), FRESH),
    ] {
        let server = Server::default()
            .ok("GET", LEASE, found)
            .ok("PUT", LEASE, json!({}));
        let taken = server
            .cluster()
            .acquire(&target(), &holder("e-1", "s-1"))
            .await;
        assert_eq!(taken.unwrap().epoch, 5);
        let body = &server.writes()[0].body;
        assert_eq!(body["metadata"]["resourceVersion"], "8");
        assert_eq!(body["spec"]["leaseTransitions"], 5);
    }
}

#[tokio::test]
async fn a_lease_that_another_holds_is_left_alone() {
    let other = holder("e-0", "s-0");
    let server = Server::default().ok("GET", LEASE, lease(&other, FRESH));
    let refused = server
        .cluster()
        .acquire(&target(), &holder("e-1", "s-1"))
        .await;
    let until = FRESH.parse::<Timestamp>().unwrap().plus(seconds(15));
    assert_eq!(
        refused,
        Err(LeaseError::Held {
            holder: other.clone(),
            until
        })
    );
    assert!(server.writes().is_empty());
    let found = server.cluster().holder(&target()).await.unwrap();
    assert_eq!(found, Some((other, until)));
}

#[tokio::test]
async fn a_lease_of_another_run_of_the_same_seat_is_left_alone() {
    // Each run has a lock of its own in a state directory: whoever drives the other may be alive.
    let other = Holder {
        run: "r-0".to_owned(),
        ..holder("e-0", "s-1")
    };
    let server = Server::default().ok("GET", LEASE, lease(&other, FRESH));
    let refused = server
        .cluster()
        .acquire(&target(), &holder("e-1", "s-1"))
        .await;
    assert!(
        matches!(&refused, Err(LeaseError::Held { holder, .. }) if *holder == other),
        "{refused:?}"
    );
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn two_engines_that_reach_for_a_lease_at_once_do_not_both_get_it() {
    let server = Server::default()
        .on(
            "GET",
            LEASE,
            vec![
                Reply::Json(200, lease(&holder("e-0", "s-0"), STALE)),
                Reply::Json(200, lease(&holder("e-2", "s-2"), FRESH)),
            ],
        )
        .on("PUT", LEASE, vec![status(409, "Conflict", "modified")]);
    let refused = server
        .cluster()
        .acquire(&target(), &holder("e-1", "s-1"))
        .await;
    assert!(
        matches!(refused, Err(LeaseError::Held { .. })),
        "{refused:?}"
    );
    assert_eq!(server.writes().len(), 1);
}

#[tokio::test]
async fn a_lease_is_renewed_and_given_back_while_it_is_ours_and_lost_when_it_is_not() {
    let me = holder("e-1", "s-1");
    let grant = |epoch| Grant {
        epoch,
        expires: NOW,
    };
    let ours = Server::default()
        .ok("GET", LEASE, lease(&me, FRESH))
        .ok("PUT", LEASE, json!({}));
    let cluster = ours.cluster();
    let renewed = cluster.renew(&target(), &me, &grant(4)).await.unwrap();
    assert_eq!(
        renewed,
        Grant {
            epoch: 4,
            expires: NOW.plus(LEASE_DURATION)
        }
    );
    Leases::release(&cluster, &target(), &me, &grant(4))
        .await
        .unwrap();
    let writes = ours.writes();
    assert_eq!(
        writes[0].body["spec"]["renewTime"],
        "2026-11-18T11:06:40.000000Z"
    );
    assert_eq!(writes[0].body["spec"]["acquireTime"], FRESH);
    assert_eq!(writes[1].body["spec"]["holderIdentity"], "");
    assert_eq!(writes[1].body["spec"]["leaseTransitions"], 4);

    for (found, epoch) in [
        (lease(&holder("e-2", "s-1"), FRESH), 4),
        (lease(&me, FRESH), 3),
    ] {
        let server = Server::default().ok("GET", LEASE, found);
        let cluster = server.cluster();
        assert_eq!(
            cluster.renew(&target(), &me, &grant(epoch)).await,
            Err(LeaseError::Lost)
        );
        assert_eq!(
            Leases::release(&cluster, &target(), &me, &grant(epoch)).await,
            Err(LeaseError::Lost)
        );
        assert!(server.writes().is_empty());
    }
    let gone = Server::default();
    assert_eq!(
        gone.cluster().renew(&target(), &me, &grant(4)).await,
        Err(LeaseError::Lost)
    );
}
