//! How Deployments roll out.

use super::*;

#[test]
fn a_rolling_update_keeps_within_surge_and_unavailable() {
    let mut hand = Hand::with_web(Config::default(), 4);
    assert_eq!(hand.cluster.observe().deployments[0].available, 4);
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    let states = hand.roll(Span::from_mins(2));
    assert!(
        states
            .iter()
            .all(|(replicas, _, available)| *replicas <= 5 && *available >= 3),
        "{states:?}"
    );
    assert_eq!(states.last(), Some(&(4, 4, 4)));
    assert_eq!(hand.condition("Progressing").1, "NewReplicaSetAvailable");
    let routed = &hand.cluster.observe().services[0];
    assert_eq!(
        (routed.endpoints.clone(), routed.gone),
        (BTreeMap::from([("web:2".to_owned(), 4)]), 0)
    );
}

#[test]
fn recreate_starts_the_new_only_when_the_old_are_gone() {
    let mut hand = Hand::with_web(Config::default(), 3);
    hand.patch(
        STRATEGIC,
        WEB,
        &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    );
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    let mut together = false;
    while let Some(due) = hand
        .cluster
        .next_due()
        .filter(|due| *due < hand.now.plus(Span::from_mins(1)))
    {
        hand.cluster.advance(due);
        let pods = hand.cluster.list(Kind::Pod, "default");
        let has = |image: &str| {
            pods.iter()
                .any(|pod| pod["spec"]["containers"][0]["image"] == image)
        };
        together |= has("web:1") && has("web:2");
    }
    assert!(!together);
    assert_eq!(hand.cluster.observe().deployments[0].available, 3);
    assert_eq!(
        hand.cluster.ready_endpoints("default", "web")[0].image,
        "web:2"
    );
}

#[test]
fn the_observed_generation_lags() {
    let config = Config {
        observed_generation_lag: Span::from_secs(5),
        ..Config::default()
    };
    let mut hand = Hand::with_web(config, 1);
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_millis(4_900));
    let web = hand.get(WEB);
    assert_eq!(
        (
            &web["metadata"]["generation"],
            &web["status"]["observedGeneration"]
        ),
        (&json!(2), &json!(1))
    );
    hand.pass(Span::from_millis(200));
    assert_eq!(hand.get(WEB)["status"]["observedGeneration"], 2);
}

#[test]
fn rolling_back_reuses_the_replica_set_under_a_new_revision() {
    let mut hand = Hand::with_web(Config::default(), 2);
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_mins(1));
    assert_eq!(
        hand.revisions(),
        [
            ("1".into(), "web:1".into(), 0),
            ("2".into(), "web:2".into(), 2)
        ]
    );
    hand.apply(&format!("{WEB}?force=true"), "engine", &web(2, "web:1"));
    hand.pass(Span::from_mins(1));
    assert_eq!(
        hand.revisions(),
        [
            ("2".into(), "web:2".into(), 0),
            ("3".into(), "web:1".into(), 2)
        ]
    );
    let web = hand.get(WEB);
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    let sets = hand.cluster.list(Kind::ReplicaSet, "default");
    let reused = sets
        .iter()
        .find(|set| set["spec"]["replicas"] == 2)
        .unwrap();
    assert_eq!(
        reused["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"],
        "1"
    );
}

#[test]
fn a_null_in_a_template_makes_no_revision() {
    let mut hand = Hand::with_web(Config::default(), 1);
    let mut template = hand.get(WEB)["spec"]["template"].clone();
    template["metadata"]["creationTimestamp"] = Value::Null;
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    assert_eq!(hand.patch("json-patch+json", WEB, &patch).0, 200);
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.revisions(), [("1".into(), "web:1".into(), 1)]);
}

#[test]
fn the_history_is_no_longer_than_asked() {
    let mut hand = Hand::with_web(Config::default(), 1);
    hand.patch(
        "merge-patch+json",
        WEB,
        &json!({"spec": {"revisionHistoryLimit": 2}}),
    );
    for n in 2..7 {
        hand.patch(STRATEGIC, WEB, &image(&format!("web:{n}")));
        hand.pass(Span::from_mins(1));
    }
    let revisions: Vec<String> = hand
        .revisions()
        .into_iter()
        .map(|(revision, ..)| revision)
        .collect();
    assert_eq!(revisions, ["4", "5", "6"]);
}

#[test]
fn a_rollout_that_does_not_progress_exceeds_its_deadline() {
    let rule = PodRule {
        never_ready: true,
        ..PodRule::for_image("web:2")
    };
    let mut hand = Hand::with_web(
        Config {
            pods: vec![rule],
            ..Config::default()
        },
        3,
    );
    hand.patch(
        "merge-patch+json",
        WEB,
        &json!({"spec": {"progressDeadlineSeconds": 30}}),
    );
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_secs(29));
    assert_eq!(
        hand.condition("Progressing"),
        ("True".into(), "ReplicaSetUpdated".into())
    );
    hand.pass(Span::from_secs(5));
    assert_eq!(
        hand.condition("Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    assert_eq!(hand.condition("Available").0, "True");
    hand.patch(STRATEGIC, WEB, &image("web:1"));
    hand.pass(Span::from_secs(30));
    assert_eq!(
        hand.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
}

#[test]
fn a_pod_counts_as_available_only_after_min_ready_seconds() {
    let mut hand = Hand::new(Config::default());
    let mut manifest = web(1, "web:1");
    manifest["spec"]["minReadySeconds"] = json!(20);
    hand.ask("POST", DEPLOYMENTS, &manifest);
    hand.pass(Span::from_secs(15));
    let observed = hand.cluster.observe().deployments[0].clone();
    assert_eq!(
        (observed.ready, observed.available, observed.unavailable),
        (1, 0, 1)
    );
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.cluster.observe().deployments[0].available, 1);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut hand = Hand::with_web(Config::default(), 2);
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"paused": true}}));
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.patch(
        "merge-patch+json",
        &format!("{WEB}/scale"),
        &json!({"spec": {"replicas": 4}}),
    );
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.revisions(), [("1".into(), "web:1".into(), 4)]);
    assert_eq!(
        hand.condition("Progressing"),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"paused": null}}));
    hand.pass(Span::from_mins(1));
    assert_eq!(
        hand.revisions(),
        [
            ("1".into(), "web:1".into(), 0),
            ("2".into(), "web:2".into(), 4)
        ]
    );
}
