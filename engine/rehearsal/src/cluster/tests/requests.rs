//! Watches, deletions, Jobs, injected faults, tables.

use super::*;

#[test]
fn a_watch_tells_of_changes_by_selector_and_expires_with_the_history() {
    let mut hand = Hand::new(Config {
        watch_history: 5,
        ..Config::default()
    });
    let maps = "/api/v1/namespaces/default/configmaps";
    let labelled =
        |name: &str, app: &str| json!({"metadata": {"name": name, "labels": {"app": app}}});
    let (_, first) = hand.ask("POST", maps, &labelled("a", "web"));
    let version = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let watch = hand.watch(&format!(
        "{maps}?watch=1&labelSelector=app%3Dweb&resourceVersion={version}"
    ));
    assert!(hand.drain(watch).is_empty());
    hand.ask("POST", maps, &labelled("b", "web"));
    hand.ask("POST", maps, &labelled("c", "other"));
    hand.patch(
        "merge-patch+json",
        &format!("{maps}/a"),
        &json!({"metadata": {"labels": {"app": "other"}}}),
    );
    hand.patch(
        "merge-patch+json",
        &format!("{maps}/c"),
        &json!({"metadata": {"labels": {"app": "web"}}}),
    );
    let told: Vec<String> = hand
        .drain(watch)
        .iter()
        .map(|e| format!("{} {}", e["type"], e["object"]["metadata"]["name"]))
        .collect();
    assert_eq!(
        told,
        [r#""ADDED" "b""#, r#""DELETED" "a""#, r#""ADDED" "c""#]
    );
    for n in 0..9 {
        hand.ask("POST", maps, &labelled(&format!("n{n}"), "web"));
    }
    let events = hand.drain(watch);
    assert_eq!(
        (&events[0]["type"], &events[0]["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(hand.cluster.watch_ends(watch), Some(hand.now));
    // One that begins too late is told in the same way.
    let late = hand.watch(&format!("{maps}?watch=1&resourceVersion={version}"));
    assert_eq!(hand.drain(late)[0]["object"]["reason"], "Expired");
}

#[test]
fn deleting_a_deployment_takes_what_it_owns_along() {
    let mut hand = Hand::with_web(Config::default(), 2);
    let (status, leaving) = hand.ask("DELETE", WEB, &json!({"propagationPolicy": "Foreground"}));
    assert_eq!(
        (status, leaving["metadata"]["finalizers"][0].as_str()),
        (200, Some("foregroundDeletion"))
    );
    hand.pass(Span::from_secs(1));
    assert_eq!(
        hand.ask("GET", WEB, &Value::Null).0,
        200,
        "it waits for its pods"
    );
    hand.pass(Span::from_secs(10));
    assert_eq!(hand.ask("GET", WEB, &Value::Null).0, 404);
    assert!(hand.cluster.list(Kind::Pod, "").is_empty());
    assert!(hand.cluster.list(Kind::ReplicaSet, "").is_empty());

    let mut hand = Hand::with_web(Config::default(), 2);
    hand.ask(
        "DELETE",
        &format!("{WEB}?propagationPolicy=Orphan"),
        &Value::Null,
    );
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.cluster.list(Kind::Pod, "").len(), 2);
    hand.ask("POST", DEPLOYMENTS, &web(2, "web:1"));
    hand.pass(Span::from_mins(1));
    assert_eq!(
        hand.cluster.list(Kind::ReplicaSet, "").len(),
        1,
        "the orphan is adopted"
    );
    hand.ask("DELETE", WEB, &Value::Null);
    hand.pass(Span::from_mins(1));
    assert!(hand.cluster.list(Kind::Pod, "").is_empty());
}

#[test]
fn jobs_succeed_or_run_out_of_attempts() {
    let crash = Crash {
        after: Span::from_secs(1),
        exit_code: 2,
        restarts_before_ok: None,
        log: vec!["boom".into()],
    };
    let rule = PodRule {
        crash: Some(crash),
        ..PodRule::for_image("task:bad")
    };
    let mut hand = Hand::new(Config {
        pods: vec![rule],
        ..Config::default()
    });
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    for (name, image) in [("good", "task:ok"), ("bad", "task:bad")] {
        let spec = json!({"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "t", "image": image}]}}});
        assert_eq!(
            hand.ask(
                "POST",
                jobs,
                &json!({"metadata": {"name": name}, "spec": spec})
            )
            .0,
            201
        );
    }
    hand.pass(Span::from_mins(1));
    let end = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array().unwrap();
        conditions.last().unwrap()["type"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (good, bad) = (
        hand.get(&format!("{jobs}/good")),
        hand.get(&format!("{jobs}/bad")),
    );
    assert_eq!(
        (end(&good).as_str(), &good["status"]["succeeded"]),
        ("Complete", &json!(1))
    );
    assert_eq!(
        (end(&bad).as_str(), &bad["status"]["failed"]),
        ("Failed", &json!(2))
    );
    let pods = hand.get("/api/v1/namespaces/default/pods?labelSelector=job-name%3Dbad");
    let log = format!(
        "/api/v1/namespaces/default/pods/{}/log",
        pods["items"][0]["metadata"]["name"].as_str().unwrap()
    );
    assert_eq!(hand.get(&log), "boom\n");
}

#[test]
fn injected_faults_strike_the_requests_they_are_meant_for() {
    let mut hand = Hand::with_web(Config::default(), 1);
    let fault = |effect, skip| Fault {
        method: Some("PATCH".into()),
        kind: Some("Deployment".into()),
        skip,
        ..Fault::next(effect)
    };
    hand.cluster.add_fault(fault(Effect::Status(503), 1));
    hand.cluster.add_fault(fault(Effect::RequestLost, 2));
    hand.cluster.add_fault(fault(Effect::AnswerLost, 3));
    let label = |n: i64| json!({"metadata": {"labels": {"n": n.to_string()}}});
    assert_eq!(hand.patch("merge-patch+json", WEB, &label(1)).0, 200);
    assert_eq!(hand.get(WEB)["metadata"]["labels"]["n"], "1");
    assert_eq!(hand.patch("merge-patch+json", WEB, &label(2)).0, 503);
    for (n, expected) in [(3, "1"), (4, "4")] {
        let mut request = Request::new("PATCH", WEB);
        request.content_type = "application/merge-patch+json".into();
        assert!(matches!(
            hand.cluster.handle(hand.now, &request.json(&label(n))),
            Reply::Dropped
        ));
        assert_eq!(hand.get(WEB)["metadata"]["labels"]["n"], expected);
    }
    let log: Vec<_> = hand
        .cluster
        .requests()
        .iter()
        .filter(|r| r.method == "PATCH")
        .map(|r| (r.status, r.injected, r.changed))
        .collect();
    assert_eq!(
        log,
        [
            (Some(200), false, true),
            (Some(503), true, false),
            (None, true, false),
            (None, true, true)
        ]
    );
}

#[test]
fn a_watch_whose_answer_is_lost_is_not_left_open() {
    let mut hand = Hand::new(Config::default());
    for _ in 0..2_000 {
        hand.cluster.add_fault(Fault::next(Effect::AnswerLost));
        let request = Request::new("GET", "/api/v1/pods?watch=true");
        assert!(matches!(
            hand.cluster.handle(hand.now, &request),
            Reply::Dropped
        ));
    }
    let watch = hand.watch("/api/v1/pods?watch=true");
    assert!(hand.cluster.watch_ends(watch).is_some());
}

#[test]
fn kubectl_gets_tables() {
    let mut hand = Hand::with_web(Config::default(), 2);
    let mut request = Request::new("GET", DEPLOYMENTS);
    request.accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json".into();
    let (_, table) = hand.send(request);
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers",
            "Images",
            "Selector"
        ]
    );
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["web", "2/2", "2", "2", "60m", "web", "web:1", "app=web"])
    );
}

#[test]
fn the_same_seed_and_calls_give_the_same_bytes() {
    let run = |seed| {
        let crash = Crash {
            after: Span::from_secs(1),
            exit_code: 1,
            restarts_before_ok: Some(1),
            log: Vec::new(),
        };
        let rule = PodRule {
            crash: Some(crash),
            times: Some(2),
            ..PodRule::for_image("web:2")
        };
        let mut hand = Hand::with_web(
            Config {
                seed,
                pods: vec![rule],
                ..Config::default()
            },
            5,
        );
        let watch = hand.watch("/api/v1/pods?watch=1&resourceVersion=0");
        hand.apply(&format!("{WEB}?force=true"), "engine", &web(5, "web:2"));
        let mut out = Vec::new();
        for _ in 0..60 {
            hand.pass(Span::from_secs(1));
            out.extend(hand.cluster.drain_watch(watch).concat());
        }
        for kind in KINDS {
            out.extend(
                hand.cluster
                    .list(kind.kind, "")
                    .iter()
                    .flat_map(|object| object.to_string().into_bytes()),
            );
        }
        out.extend(serde_json::to_vec(hand.cluster.requests()).unwrap());
        out
    };
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}
