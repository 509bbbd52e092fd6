//! Traffic: what is counted of it, and what fails.

use super::gateway::{candidate_service, gateway, route, rules};
use super::*;

fn source(service: Option<&str>, route: Option<&str>) -> Source {
    Source {
        service: service.map(str::to_owned),
        route: route.map(str::to_owned),
        namespace: None,
        per_second: 100.0,
        path: None,
        marked: Vec::new(),
    }
}

fn at_service() -> Source {
    source(Some("web"), None)
}

fn at_route() -> Source {
    source(None, Some("web"))
}

/// Two versions behind a route, and requests that come in at it.
fn beside(config: Config, rules: &Value, source: Source) -> Hand {
    let mut candidate = web(1, "web:2");
    candidate["metadata"]["name"] = json!("web-candidate");
    for path in [
        "/spec/selector/matchLabels",
        "/spec/template/metadata/labels",
    ] {
        *candidate.pointer_mut(path).unwrap() = json!({"app": "web-candidate"});
    }
    let mut hand = Hand::new(config);
    let manifests = [
        web(9, "web:1"),
        candidate,
        service(),
        candidate_service(),
        gateway(),
        route(rules),
    ];
    hand.cluster.seed(&manifests).unwrap();
    hand.cluster.begin_traffic(&[source]).unwrap();
    hand
}

impl Hand {
    fn with_traffic(config: Config, replicas: i64) -> Self {
        let mut hand = Self::with_web(config, replicas);
        hand.cluster.begin_traffic(&[at_service()]).unwrap();
        hand
    }

    fn stream(&self) -> Stream {
        self.cluster.traffic().remove(0)
    }
}

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() < 1e-6
}

fn reasons(stream: &Stream) -> Vec<String> {
    let mut reasons: Vec<String> = stream
        .stretches
        .iter()
        .filter_map(|stretch| stretch.flow.why.clone())
        .collect();
    reasons.dedup();
    reasons
}

#[test]
fn a_rolling_update_answers_every_request() {
    let mut hand = Hand::with_traffic(Config::default(), 4);
    hand.pass(Span::from_secs(60));
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_secs(60));
    let stream = hand.stream();
    assert!(near(stream.requests, 12_000.0), "{}", stream.requests);
    assert!(near(stream.failed, 0.0), "{:?}", reasons(&stream));
    let answered: f64 = stream.versions.values().sum();
    assert!(near(answered, 12_000.0), "{:?}", stream.versions);
    assert!(stream.versions["1"] > 6_000.0 && stream.versions["2"] > 3_000.0);
    let last = &stream.stretches.last().unwrap().flow.versions;
    assert_eq!(last, &BTreeMap::from([("2".to_owned(), 1.0)]));
}

#[test]
fn pods_that_go_before_the_data_plane_knows_take_requests_along() {
    let config = Config {
        termination: Span::from_millis(200),
        ..Config::default()
    };
    let mut hand = Hand::with_traffic(config, 1);
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    hand.patch(STRATEGIC, WEB, &patch);
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    hand.pass(Span::from_secs(60));
    let stream = hand.stream();
    let failing: Vec<&Stretch> = stream
        .stretches
        .iter()
        .filter(|stretch| stretch.flow.failed > 0.0)
        .collect();
    let reasons = reasons(&stream);
    assert!(
        reasons[0].ends_with("gets requests and serves none"),
        "{reasons:?}"
    );
    assert_eq!(reasons[1], "no ready endpoint behind service web");
    assert_eq!(failing.len(), 2);
    // The pod is gone 310 ms before the endpoint is.
    let [gone, nobody] = failing[..] else {
        panic!("{failing:?}")
    };
    assert_eq!(gone.to.since(gone.from), Span::from_millis(310));
    assert_eq!(gone.to, nobody.from);
    let spans = [gone, nobody].map(|stretch| stretch.to.since(stretch.from).as_millis());
    let wanted = spans.iter().sum::<u64>();
    assert!(
        near(stream.failed * 10.0, wanted as f64),
        "{}",
        stream.failed
    );
    assert_eq!(stream.worst().unwrap().flow.failed, 1.0);
}

#[test]
fn a_pod_that_is_not_ready_any_more_fails_its_share_until_the_data_plane_knows() {
    let sick = PodRule {
        unready_after: Some(Span::from_mins(62)),
        times: Some(1),
        ..PodRule::for_image("web:1")
    };
    let config = Config {
        pods: vec![sick],
        ..Config::default()
    };
    let mut hand = Hand::with_traffic(config, 4);
    hand.pass(Span::from_mins(10));
    let stream = hand.stream();
    // A quarter of the requests of 510 ms.
    assert!(near(stream.failed, 0.25 * 51.0), "{}", stream.failed);
}

#[test]
fn a_route_shares_requests_by_weight_once_the_data_plane_follows() {
    let mut hand = beside(Config::default(), &rules(100, 0), at_route());
    hand.pass(Span::from_secs(9));
    hand.reroute(&rules(90, 10));
    hand.pass(Span::from_secs(101));
    let stream = hand.stream();
    assert!(near(stream.requests, 11_000.0));
    assert!(near(stream.failed, 0.0), "{:?}", reasons(&stream));
    assert!(near(stream.versions["1"], 1_000.0 + 9_000.0));
    assert!(near(stream.versions["2"], 1_000.0));
    let backends = &stream.stretches.last().unwrap().flow.backends;
    assert!(near(backends["web"], 0.9) && near(backends["web-candidate"], 0.1));
}

#[test]
fn a_share_for_a_backend_without_ready_pods_fails() {
    let never = PodRule {
        never_ready: true,
        ..PodRule::for_image("web:2")
    };
    let config = Config {
        pods: vec![never],
        ..Config::default()
    };
    let mut hand = beside(config, &rules(80, 20), at_route());
    hand.pass(Span::from_secs(10));
    let stream = hand.stream();
    assert!(near(stream.failed, 200.0), "{}", stream.failed);
    assert_eq!(
        reasons(&stream),
        ["no ready endpoint behind service web-candidate"]
    );
    hand.reroute(&json!([{"backendRefs": [
        {"name": "web", "port": 80, "weight": 1}, {"name": "gone", "port": 80, "weight": 1}]}]));
    hand.pass(Span::from_secs(11));
    assert_eq!(reasons(&hand.stream())[1], "there is no service gone");
    hand.reroute(&json!([{"backendRefs": [{"name": "web", "port": 80, "weight": 0}]}]));
    hand.pass(Span::from_secs(11));
    assert_eq!(reasons(&hand.stream())[2], "no backend has any weight");
    hand.reroute(&json!([{"matches": [{"path": {"value": "/only"}}], "backendRefs": []}]));
    hand.pass(Span::from_secs(11));
    assert_eq!(reasons(&hand.stream())[3], "no rule of route web fits");
}

#[test]
fn requests_with_a_header_go_where_their_rule_says() {
    let mut both = rules(100, 0);
    both.as_array_mut().unwrap().push(json!({
        "matches": [{"headers": [{"name": "x-canary", "value": "always"}]}],
        "backendRefs": [{"name": "web-candidate", "port": 80}],
    }));
    let mut source = at_route();
    source.marked = vec![Marked {
        percent: 5.0,
        headers: BTreeMap::from([("X-Canary".to_owned(), "always".to_owned())]),
    }];
    let mut hand = beside(Config::default(), &both, source);
    hand.pass(Span::from_secs(10));
    let stream = hand.stream();
    assert!(near(stream.versions["1"], 950.0), "{:?}", stream.versions);
    assert!(near(stream.versions["2"], 50.0), "{:?}", stream.versions);
}

#[test]
fn mirrored_requests_are_counted_apart_and_never_fail() {
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "web-candidate", "port": 80}});
        merge::merge(&mut mirror, &more);
        let mut rules = rules(100, 0);
        rules[0]["filters"] = json!([{"type": "RequestMirror", "requestMirror": mirror}]);
        rules
    };
    let never = PodRule {
        never_ready: true,
        ..PodRule::for_image("web:2")
    };
    let config = Config {
        pods: vec![never],
        ..Config::default()
    };
    let mut hand = beside(config, &mirror(json!({"percent": 20})), at_route());
    hand.pass(Span::from_secs(10));
    let stream = hand.stream();
    assert!(near(stream.mirrored, 200.0), "{}", stream.mirrored);
    assert!(near(stream.failed, 0.0) && near(stream.requests, 1_000.0));
    assert!(near(stream.versions["1"], 1_000.0), "{:?}", stream.versions);
    hand.reroute(&mirror(
        json!({"fraction": {"numerator": 1, "denominator": 4}}),
    ));
    hand.pass(Span::from_secs(1));
    hand.reroute(&mirror(json!({})));
    hand.pass(Span::from_secs(1));
    let shares: Vec<f64> = hand
        .stream()
        .stretches
        .iter()
        .map(|stretch| stretch.flow.mirrored["web-candidate"])
        .collect();
    assert_eq!(shares, [0.2, 0.25, 1.0]);
}

#[test]
fn an_autoscaler_can_follow_the_part_of_the_traffic_that_its_pods_answer() {
    let config = Config {
        autoscalers: vec![AutoscalerRule {
            hpa: "*".to_owned(),
            wants: None,
            needs: Some(Count::Always(10)),
        }],
        ..Config::default()
    };
    let mut hand = beside(config, &rules(100, 0), at_route());
    let hpa = |target: &str| {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": target, "namespace": "default"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
                "minReplicas": 1, "maxReplicas": 20,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
        })
    };
    for target in ["web", "web-candidate"] {
        hand.cluster.apply_manifest(hand.now, &hpa(target)).unwrap();
    }
    let sizes = |hand: &Hand| -> Vec<i64> {
        let seen = hand.cluster.observe();
        seen.deployments.iter().map(|d| d.wanted).collect()
    };
    hand.pass(Span::from_mins(1));
    assert_eq!(sizes(&hand), [10, 1]);
    hand.reroute(&rules(70, 30));
    hand.pass(Span::from_mins(1));
    assert_eq!(sizes(&hand), [7, 3]);
}

#[test]
fn whatever_changes_where_requests_go_is_noticed() {
    let crash = Crash {
        after: Span::from_secs(2),
        exit_code: 1,
        restarts_before_ok: Some(3),
        log: Vec::new(),
    };
    let rules = [
        PodRule {
            crash: Some(crash),
            ready_after: Some(Span::from_secs(1)),
            times: Some(2),
            ..PodRule::for_image("web:2")
        },
        PodRule {
            unready_after: Some(Span::from_secs(5)),
            recovers_after: Some(Span::from_secs(5)),
            termination: Some(Span::from_millis(100)),
            ..PodRule::for_image("web:2")
        },
    ];
    let config = Config {
        pods: rules.to_vec(),
        ..Config::default()
    };
    let mut hand = Hand::with_traffic(config, 3);
    let step = |hand: &mut Hand| {
        let until = hand.now.plus(Span::from_mins(2));
        while let Some(due) = hand.cluster.next_due().filter(|due| *due <= until) {
            hand.cluster.advance(due);
            assert!(hand.cluster.traffic_is_current(), "at {due}");
        }
        hand.now = until;
        hand.cluster.advance(until);
    };
    hand.patch(STRATEGIC, WEB, &image("web:2"));
    step(&mut hand);
    let pods = hand.get("/api/v1/namespaces/default/pods");
    for pod in pods["items"].as_array().unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let target = format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0");
        hand.ask("DELETE", &target, &Value::Null);
        assert!(hand.cluster.traffic_is_current(), "{name} is gone");
    }
    step(&mut hand);
    hand.ask(
        "DELETE",
        "/api/v1/namespaces/default/services/web",
        &Value::Null,
    );
    step(&mut hand);
    let stream = hand.stream();
    assert!(stream.failed > 0.0 && stream.stretches.len() > 10);
    assert_eq!(stream.stretches.last().unwrap().flow.failed, 1.0);
}

#[test]
fn traffic_needs_something_to_come_in_at() {
    let mut hand = Hand::with_web(Config::default(), 1);
    let mut begin = |source: Source| hand.cluster.begin_traffic(&[source]).unwrap_err();
    assert!(begin(source(Some("shop"), None)).contains("there is no such object"));
    assert!(begin(source(None, None)).contains("at a `service` or at a `route`"));
    assert!(begin(source(Some("web"), Some("web"))).contains("at a `service` or at a `route`"));
    let mut none = at_service();
    none.per_second = 0.0;
    assert!(begin(none).contains("perSecond"));
    let mut many = at_service();
    many.marked = vec![
        Marked {
            percent: 60.0,
            headers: BTreeMap::new(),
        };
        2
    ];
    assert!(begin(many).contains("100 at most"));
    let mut elsewhere = service();
    elsewhere["metadata"]["namespace"] = json!("other");
    hand.cluster.apply_manifest(hand.now, &elsewhere).unwrap();
    let unclear = hand.cluster.begin_traffic(&[at_service()]).unwrap_err();
    assert!(unclear.contains("more than one"), "{unclear}");
    let mut named = at_service();
    named.namespace = Some("default".to_owned());
    hand.cluster.begin_traffic(&[named]).unwrap();
}
