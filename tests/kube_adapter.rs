//! The Kubernetes adapter against the simulated cluster: what the engine relies on holds for both.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "kube_adapter/holding.rs"]
mod holding;
#[path = "kube_adapter/line.rs"]
mod line;
#[path = "kube_adapter/watches.rs"]
mod watches;
#[path = "kube_adapter/world.rs"]
mod world;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::Change;
use phasegate_core::failure::Kind;
use phasegate_core::time::Span;
use phasegate_core::workload::{Observation, Rollout, Target};
use phasegate_rehearsal::cluster::{Crash, Effect, PodRule};
use phasegate_runtime::ports::{ChangeError, Cluster, ObjectError, ObjectRef, Objects, Writer};
use serde_json::json;

use world::{REPLICAS, World, change, stamp, target, until};

#[tokio::test]
async fn a_rolling_update_is_seen_from_its_baseline_to_its_end() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    assert_eq!(baseline.settings.image, "shop/web:1.0");
    assert_eq!(
        (baseline.version.as_str(), baseline.ready),
        ("1.0", REPLICAS)
    );
    assert_eq!((baseline.revision, baseline.autoscaler), (1, None));
    let rollout = Rollout::RollingUpdate {
        surge: "1".to_owned(),
        unavailable: "0".to_owned(),
    };
    assert_eq!(
        (baseline.settings.replicas, &baseline.settings.rollout),
        (REPLICAS, &rollout)
    );
    let before = kube.observe(&target()).await.unwrap();
    assert!(before.settled(), "{before:?}");
    assert_eq!(
        before.pods.len(),
        3,
        "the stray pod is not counted: {before:?}"
    );
    assert_eq!(before.template_digest, baseline.template_digest);

    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "r-1/deploy/1"))
        .await
        .unwrap();
    let seen = until(&world, &kube, Observation::settled).await;
    let first = seen.first().unwrap();
    assert!(first.observed_generation < first.generation, "{first:?}");
    for observation in &seen {
        assert!(observation.ready >= REPLICAS, "{observation:?}");
        assert!(observation.total <= REPLICAS + 1, "{observation:?}");
        assert_eq!(observation.template_digest, baseline.template_digest);
    }
    let last = seen.last().unwrap();
    assert_eq!(last.settings.image, "shop/web:1.1");
    assert_eq!(last.marks.effect.as_deref(), Some("r-1/deploy/1"));
    let running: Vec<_> = last.pods.iter().filter(|pod| !pod.terminating).collect();
    assert!(
        running
            .iter()
            .all(|pod| pod.image == "shop/web:1.1" && pod.ready),
        "{last:?}"
    );
    let changes = world.changes("deployments");
    assert_eq!(changes.len(), 1);
    assert!(
        changes[0].1.ends_with("(effect r-1/deploy/1)"),
        "{changes:?}"
    );
}

#[tokio::test]
async fn the_last_write_takes_the_marks_off_and_keeps_the_fields() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    let last = Change {
        expected_image: Some("shop/web:1.1".to_owned()),
        marked: false,
        ..new
    };
    kube.change(&target(), &last, &stamp(1, "k2"))
        .await
        .unwrap();
    let stored = world.stored();
    let annotations = stored
        .pointer("/metadata/annotations")
        .cloned()
        .unwrap_or_default();
    assert!(
        !annotations.to_string().contains("phasegate.dev"),
        "{annotations}"
    );
    let (marks, in_place) = kube.changed(&target(), &last).await.unwrap();
    assert_eq!((marks.run, marks.effect, in_place), (None, None, true));
    assert_eq!(stored.pointer("/spec/replicas"), Some(&json!(REPLICAS)));
    let sidecar = stored.pointer("/spec/template/spec/containers/1/image");
    assert_eq!(sidecar, Some(&json!("shop/proxy:1")));
}

#[tokio::test]
async fn recreate_and_back_again_leave_a_valid_deployment() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let mut recreate = change(&baseline, "shop/web:1.1");
    recreate.fields.rollout = Some(Rollout::Recreate);
    kube.change(&target(), &recreate, &stamp(1, "k1"))
        .await
        .unwrap();
    let strategy = world.stored().pointer("/spec/strategy").cloned();
    assert_eq!(strategy, Some(json!({"type": "Recreate"})));
    let seen = until(&world, &kube, Observation::settled).await;
    assert!(seen.iter().any(|o| o.ready == 0), "recreate has an outage");

    let (marks, in_place) = kube.changed(&target(), &recreate).await.unwrap();
    assert_eq!((marks.effect.as_deref(), in_place), (Some("k1"), true));

    // The next run of the same kind, whose last write takes the marks off.
    let last = Change {
        expected_image: None,
        marked: false,
        ..recreate
    };
    kube.change(&target(), &last, &stamp(1, "k2"))
        .await
        .unwrap();
    let (marks, in_place) = kube.changed(&target(), &last).await.unwrap();
    assert_eq!(
        (marks.run, marks.epoch, marks.effect, in_place),
        (None, None, None, true)
    );

    let back = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    kube.change(&target(), &back, &stamp(1, "k3"))
        .await
        .unwrap();
    until(&world, &kube, Observation::settled).await;
    let unmarked = Change {
        marked: false,
        ..back
    };
    kube.change(&target(), &unmarked, &stamp(1, "k4"))
        .await
        .unwrap();
    let (marks, in_place) = kube.changed(&target(), &unmarked).await.unwrap();
    assert_eq!(
        (marks.run, marks.epoch, marks.effect, in_place),
        (None, None, None, true)
    );
    assert_eq!(world.changes("deployments").len(), 4);
    let after = kube.baseline(&target()).await.unwrap();
    assert_eq!(after.settings, baseline.settings);
}

#[tokio::test]
async fn a_write_that_meets_a_newer_version_looks_again() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    world.next("PATCH", "Deployment", Effect::Status(409));
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    assert_eq!(world.image(), "shop/web:1.1");
    assert_eq!(world.changes("deployments").len(), 1);
}

#[tokio::test]
async fn an_image_that_another_manager_set_is_drift_and_the_rest_is_in_the_digest() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    world.edit(&json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "shop/web:hotfix", "env": [{"name": "DEBUG", "value": "1"}]},
        {"name": "proxy", "image": "shop/proxy:1"},
    ]}}}}));
    let new = change(&baseline, "shop/web:1.1");
    let refused = kube.change(&target(), &new, &stamp(1, "k1")).await;
    let Err(ChangeError::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::CONFLICT)
    );
    for part in ["`shop/web:1.0`", "`shop/web:hotfix`", "kubectl-edit"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!(world.image(), "shop/web:hotfix");
    let seen = kube.observe(&target()).await.unwrap();
    assert_ne!(seen.template_digest, baseline.template_digest);

    // A rollback takes its own fields by force, whoever owns them now.
    let back = Change {
        expected_image: None,
        ..change(&baseline, "shop/web:1.0")
    };
    kube.change(&target(), &back, &stamp(1, "k2"))
        .await
        .unwrap();
    assert_eq!(world.image(), "shop/web:1.0");
}

#[tokio::test]
async fn a_lost_answer_is_found_out_by_a_probe_and_a_repetition_changes_nothing() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");

    world.next("PATCH", "Deployment", Effect::RequestLost);
    let lost = kube.change(&target(), &new, &stamp(1, "k1")).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    let (marks, in_place) = kube.changed(&target(), &new).await.unwrap();
    assert_eq!((marks.effect, in_place), (None, false));

    world.next("PATCH", "Deployment", Effect::AnswerLost);
    let lost = kube.change(&target(), &new, &stamp(1, "k1")).await;
    assert!(matches!(lost, Err(ChangeError::Unknown(_))), "{lost:?}");
    let (marks, in_place) = kube.changed(&target(), &new).await.unwrap();
    assert_eq!((marks.effect.as_deref(), in_place), (Some("k1"), true));

    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    assert_eq!(world.changes("deployments").len(), 1);
}

#[tokio::test]
async fn refusals_that_pass_are_told_from_those_that_do_not() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    for (status, kind) in [
        (429, Kind::Retryable),
        (503, Kind::Retryable),
        (403, Kind::Denied),
    ] {
        world.next("PATCH", "Deployment", Effect::Status(status));
        let refused = kube.change(&target(), &new, &stamp(1, "k1")).await;
        let Err(ChangeError::Failed(failure)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(failure.kind, kind, "{failure}");
        let after = (status == 429).then(|| Span::from_secs(1));
        assert_eq!(failure.after, after);
    }
    let mut impossible = new;
    impossible.fields.rollout = Some(Rollout::RollingUpdate {
        surge: "0".to_owned(),
        unavailable: "0".to_owned(),
    });
    let refused = kube.change(&target(), &impossible, &stamp(1, "k1")).await;
    assert!(
        matches!(&refused, Err(ChangeError::Failed(f)) if f.kind == Kind::Permanent),
        "{refused:?}"
    );
    assert!(world.changes("deployments").is_empty());
}

#[tokio::test]
async fn a_pod_that_crashes_again_and_again_is_seen_and_its_last_words_are_kept() {
    let rule = PodRule {
        crash: Some(Crash {
            after: Span::from_millis(200),
            exit_code: 3,
            restarts_before_ok: None,
            log: vec!["cannot open the database".to_owned()],
        }),
        ..PodRule::for_image("shop/web:1.1")
    };
    let world = World::new(vec![rule]);
    let kube = world.kube();
    let baseline = kube.baseline(&target()).await.unwrap();
    let new = change(&baseline, "shop/web:1.1");
    kube.change(&target(), &new, &stamp(1, "k1")).await.unwrap();
    let seen = until(&world, &kube, |o| o.broken_pod().is_some()).await;
    let last = seen.last().unwrap();
    let (pod, reason) = last.broken_pod().unwrap();
    assert_eq!(reason, "CrashLoopBackOff");
    assert!(last.ready >= REPLICAS, "the old pods still serve");
    let found = kube.diagnose(&target()).await.unwrap();
    let line = format!("{pod}: cannot open the database");
    assert!(found.logs.contains(&line), "{found:?}");
    assert!(
        found
            .events
            .iter()
            .any(|e| e.starts_with("BackOff") && e.contains(pod)),
        "{found:?}"
    );
    assert!(found.events.len() <= 30 && found.logs.len() <= 60);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    for (missing, name) in [
        (
            Target {
                deployment: "wbe".to_owned(),
                ..target()
            },
            "`wbe`",
        ),
        (
            Target {
                container: "main".to_owned(),
                ..target()
            },
            "`main`",
        ),
        (
            Target {
                service: Some("front".to_owned()),
                ..target()
            },
            "`front`",
        ),
        (
            Target {
                secrets: vec!["kyes".to_owned()],
                ..target()
            },
            "`kyes`",
        ),
    ] {
        let failure = kube.baseline(&missing).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
        );
        assert!(failure.message.contains(name), "{failure}");
    }
}

#[tokio::test]
async fn plugins_reach_objects_and_meet_the_owners_of_fields() {
    let world = World::new(Vec::new());
    let kube = world.kube();
    let flags = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "flags", "namespace": "shop", "labels": {"kind": "flags"}},
        "data": {"new-checkout": "off"},
    });
    let named = ObjectRef {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "flags".to_owned(),
    };
    assert_eq!(kube.get(&named).await, Err(ObjectError::NotFound));
    kube.apply(&writer("plugin-a"), &flags).await.unwrap();
    let mut other = flags;
    other["data"]["new-checkout"] = "on".into();
    let refused = kube.apply(&writer("plugin-b"), &other).await;
    assert!(
        matches!(&refused, Err(ObjectError::Conflict(why)) if why.contains("plugin-a")),
        "{refused:?}"
    );
    let merge = json!({"data": {"new-checkout": "on"}});
    kube.patch(&writer("plugin-b"), &named, &merge)
        .await
        .unwrap();
    let selector = Some("kind=flags");
    let found = kube
        .find("v1", "ConfigMap", Some("shop"), selector, 10)
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["data"]["new-checkout"], "on");
    let anybody = writer("plugin-b");
    Objects::remove(&kube, &anybody, &named, None)
        .await
        .unwrap();
    let again = Objects::remove(&kube, &anybody, &named, None).await;
    assert_eq!(again, Err(ObjectError::NotFound));
}

/// A plugin outside a run.
fn writer(manager: &str) -> Writer {
    Writer {
        manager: manager.to_owned(),
        effect: None,
    }
}
