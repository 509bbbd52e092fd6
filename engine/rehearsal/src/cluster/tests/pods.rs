//! How pods start, fail, and get traffic.

use super::*;

#[test]
fn a_crashing_container_backs_off_and_keeps_its_log() {
    let crash = Crash {
        after: Span::from_secs(1),
        exit_code: 3,
        restarts_before_ok: None,
        log: vec!["no database".into()],
    };
    let rule = PodRule {
        crash: Some(crash),
        log: vec!["starting".into()],
        ..PodRule::for_image("web:2")
    };
    let mut hand = Hand::with_web(
        Config {
            pods: vec![rule],
            ..Config::default()
        },
        1,
    );
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_secs(8));
    let pods = hand.get("/api/v1/namespaces/default/pods?labelSelector=app%3Dweb");
    let pod = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["spec"]["containers"][0]["image"] == "web:2")
        .unwrap();
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    let log = format!(
        "/api/v1/namespaces/default/pods/{}/log?previous=true",
        pod["metadata"]["name"].as_str().unwrap()
    );
    assert_eq!(hand.get(&log), "starting\nno database\n");
    hand.pass(Span::from_mins(3));
    let name = format!(
        "/api/v1/namespaces/default/pods/{}",
        pod["metadata"]["name"].as_str().unwrap()
    );
    let restarts = hand.get(&name)["status"]["containerStatuses"][0]["restartCount"]
        .as_i64()
        .unwrap();
    assert!((4..=6).contains(&restarts), "the wait doubles: {restarts}");
    let events = hand.get("/api/v1/namespaces/default/events?fieldSelector=reason%3DBackOff");
    assert!(events["items"][0]["count"].as_i64().unwrap() > 1);
    assert_eq!(
        hand.cluster.observe().deployments[0].available,
        1,
        "the old pod still serves"
    );
}

#[test]
fn a_container_that_recovers_becomes_ready() {
    let crash = Crash {
        after: Span::from_secs(1),
        exit_code: 1,
        restarts_before_ok: Some(2),
        log: Vec::new(),
    };
    let rule = PodRule {
        crash: Some(crash),
        ..PodRule::for_image("web:2")
    };
    let mut hand = Hand::with_web(
        Config {
            pods: vec![rule],
            ..Config::default()
        },
        1,
    );
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn an_image_that_cannot_be_pulled_shows_so_for_the_first_pods_of_a_rule() {
    let rule = PodRule {
        pull: Pull::Fails,
        times: Some(1),
        ..PodRule::for_image("web:*-bad")
    };
    let mut hand = Hand::with_web(
        Config {
            pods: vec![rule],
            ..Config::default()
        },
        2,
    );
    hand.patch(STRATEGIC, WEB, &image("web:2-bad"));
    hand.pass(Span::from_secs(5));
    let waiting = |hand: &Hand| -> Vec<String> {
        hand.cluster
            .list(Kind::Pod, "default")
            .iter()
            .filter_map(|pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect()
    };
    assert_eq!(waiting(&hand), ["ImagePullBackOff"]);
    let stuck = hand
        .cluster
        .list(Kind::Pod, "default")
        .iter()
        .find(|p| p["status"]["phase"] == "Pending")
        .unwrap()["metadata"]["name"]
        .clone();
    hand.ask(
        "DELETE",
        &format!(
            "/api/v1/namespaces/default/pods/{}",
            stuck.as_str().unwrap()
        ),
        &Value::Null,
    );
    hand.pass(Span::from_mins(1));
    assert!(waiting(&hand).is_empty());
    assert_eq!(hand.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn endpoints_terminate_before_they_go_and_the_data_plane_follows_later() {
    let config = Config {
        endpoints_delay: Span::from_secs(1),
        termination: Span::from_secs(5),
        ..Config::default()
    };
    let mut hand = Hand::with_web(config, 2);
    assert_eq!(hand.cluster.ready_endpoints("default", "web").len(), 2);
    hand.patch(
        "merge-patch+json",
        &format!("{WEB}/scale"),
        &json!({"spec": {"replicas": 1}}),
    );
    hand.pass(Span::from_millis(500));
    let slices = hand.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
    let mut conditions: Vec<String> = slices["items"][0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["conditions"].to_string())
        .collect();
    conditions.sort();
    assert_eq!(
        conditions,
        [
            r#"{"ready":false,"serving":true,"terminating":true}"#,
            r#"{"ready":true,"serving":true,"terminating":false}"#
        ]
    );
    assert_eq!(slices["items"][0]["ports"][0]["port"], 8080);
    assert_eq!(
        hand.cluster.ready_endpoints("default", "web").len(),
        2,
        "not heard of it yet"
    );
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.cluster.ready_endpoints("default", "web").len(), 1);
    hand.pass(Span::from_secs(10));
    assert_eq!(hand.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")["items"][0]["endpoints"].as_array().unwrap().len(), 1);
}
