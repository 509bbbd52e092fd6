//! Leases and claims: who may drive a run, and which run has the target.

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Change;
use phasegate_core::failure::Kind;
use phasegate_core::time::Span;
use phasegate_rehearsal::cluster::{Effect, Reply, Request};
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Cluster, Holder, LEASE_DURATION, LeaseError, Leases, Stamp,
};
use phasegate_world::kubernetes::KubeCluster;

use crate::world::{World, change, stamp, target};

fn holder(engine: &str, seat: &str) -> Holder {
    Holder {
        engine: engine.to_owned(),
        seat: seat.to_owned(),
        run: "r-1".to_owned(),
    }
}

#[tokio::test]
async fn a_lease_is_taken_over_when_it_expires_and_fences_who_had_it() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (one, two) = (holder("e-1", "laptop"), holder("e-2", "ci"));
    let first = kube.acquire(&target(), &one).await.unwrap();
    assert_eq!(
        (first.epoch, first.expires),
        (1, world.now().plus(LEASE_DURATION))
    );
    let held = kube.acquire(&target(), &two).await;
    assert!(matches!(held, Err(LeaseError::Held { .. })), "{held:?}");

    world.pass(Span::from_secs(10));
    let renewed = kube.renew(&target(), &one, &first).await.unwrap();
    world.pass(Span::from_secs(10));
    let held = kube.acquire(&target(), &two).await;
    assert!(matches!(held, Err(LeaseError::Held { .. })), "{held:?}");

    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(renewed.epoch, "k1"))
        .await
        .unwrap();
    world.pass(Span::from_secs(6));
    let second = kube.acquire(&target(), &two).await.unwrap();
    assert_eq!(second.epoch, 2);
    assert_eq!(
        kube.renew(&target(), &one, &renewed).await,
        Err(LeaseError::Lost)
    );

    let late = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    let fenced = kube
        .change(&target(), &late, &stamp(renewed.epoch, "k2"))
        .await;
    let Err(ChangeError::Failed(failure)) = fenced else {
        panic!("{fenced:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Fenced, codes::STALE_EPOCH)
    );
    assert_eq!(world.image(), "shop/web:1.1");
    kube.change(&target(), &late, &stamp(second.epoch, "k2"))
        .await
        .unwrap();

    // The same seat needs not wait, and one that was given back is free; the epoch goes on.
    let third = kube.acquire(&target(), &holder("e-3", "ci")).await.unwrap();
    assert_eq!(third.epoch, 3);
    kube_release(&kube, "e-3", &third).await;
    assert_eq!(kube.holder(&target()).await, Ok(None));
    assert_eq!(kube.acquire(&target(), &one).await.unwrap().epoch, 4);

    // Even where the lease was deleted, the mark on the object fences.
    let gone = world.simulated.handle(&Request::new(
        "DELETE",
        "/apis/coordination.k8s.io/v1/namespaces/shop/leases/phasegate-web",
    ));
    assert!(matches!(gone, Reply::Answer(answer) if answer.status == 200));
    let fenced = kube.change(&target(), &late, &stamp(1, "k3")).await;
    assert!(
        matches!(&fenced, Err(ChangeError::Failed(f)) if f.kind == Kind::Fenced),
        "{fenced:?}"
    );
    assert!(kube.acquire(&target(), &two).await.unwrap().epoch > second.epoch);
}

#[tokio::test]
async fn an_engine_that_comes_back_leaves_the_lease_to_the_one_that_followed_it() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (stalled, follower) = (holder("e-1", "cluster"), holder("e-2", "cluster"));
    let first = kube.acquire(&target(), &stalled).await.unwrap();
    // What it had itself it may take at once, as after an answer that was lost.
    let again = kube.take_again(&target(), &stalled).await.unwrap();
    assert_eq!((first.epoch, again.epoch), (1, 2));
    world.pass(LEASE_DURATION);
    let followed = kube.acquire(&target(), &follower).await.unwrap();
    let taken = kube.take_again(&target(), &stalled).await;
    let held = matches!(&taken, Err(LeaseError::Held { holder, .. }) if *holder == follower);
    assert!(held, "{taken:?}");
    kube.renew(&target(), &follower, &followed).await.unwrap();
    // Once that one is silent too, it is anybody's.
    world.pass(LEASE_DURATION);
    kube.take_again(&target(), &stalled).await.unwrap();
}

async fn kube_release(kube: &KubeCluster, engine: &str, grant: &phasegate_runtime::ports::Grant) {
    Leases::release(kube, &target(), &holder(engine, "ci"), grant)
        .await
        .unwrap();
}

fn claim(run: &str) -> (ClaimRecord, Stamp) {
    let claim = ClaimRecord {
        run: run.to_owned(),
        plan: "sha256:0".to_owned(),
        started_by: "ada".to_owned(),
        key: format!("{run}/claim"),
        handed_over_by: None,
    };
    let stamp = Stamp {
        run: run.to_owned(),
        epoch: 1,
        key: format!("{run}/claim"),
    };
    (claim, stamp)
}

#[tokio::test]
async fn of_two_runs_one_has_the_claim_and_the_other_is_told_which() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (ours, our_stamp) = claim("r-1");
    let (theirs, their_stamp) = claim("r-2");
    world.next("POST", "ConfigMap", Effect::AnswerLost);
    let lost = kube.claim(&target(), &ours, &our_stamp).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(ours.clone()));
    kube.claim(&target(), &ours, &our_stamp).await.unwrap();

    let refused = kube.claim(&target(), &theirs, &their_stamp).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::TARGET_BUSY)
    );
    assert!(
        failure.message.contains("`r-1`") && failure.message.contains("ada"),
        "{failure}"
    );

    Cluster::release(&kube, &target(), &their_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(ours));
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), None);
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    kube.claim(&target(), &theirs, &their_stamp).await.unwrap();
    let methods: Vec<String> = world
        .changes("configmaps")
        .into_iter()
        .map(|(m, _)| m)
        .collect();
    assert!(
        !methods.iter().any(|m| m == "PUT" || m == "PATCH"),
        "{methods:?}"
    );
}

#[tokio::test]
async fn a_claim_that_is_handed_over_is_free_at_no_time() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let (ours, our_stamp) = claim("r-1");
    let (next, next_stamp) = claim("r-2");
    let kept = ClaimRecord {
        handed_over_by: Some(ours.run.clone()),
        ..next.clone()
    };
    kube.claim(&target(), &ours, &our_stamp).await.unwrap();
    world.next("PUT", "ConfigMap", Effect::AnswerLost);
    let lost = kube.hand_over(&target(), &kept, &our_stamp).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(kept.clone()));
    // Once more does no harm, and neither does the old run's release.
    kube.hand_over(&target(), &kept, &our_stamp).await.unwrap();
    Cluster::release(&kube, &target(), &our_stamp)
        .await
        .unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(kept));

    let (third, third_stamp) = claim("r-3");
    let refused = kube.claim(&target(), &third, &third_stamp).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(failure.code, codes::TARGET_BUSY);
    assert!(failure.message.contains("kept for run `r-2`"), "{failure}");

    kube.claim(&target(), &next, &next_stamp).await.unwrap();
    assert_eq!(kube.claimed(&target()).await.unwrap(), Some(next));
    let changes = world.changes("configmaps");
    let methods: Vec<&str> = changes.iter().map(|(m, _)| &**m).collect();
    assert!(!methods.contains(&"DELETE"), "{methods:?}");
}
