use super::*;

mod autoscaler;
mod gateway;
mod objects;
mod picture;
mod traffic;

/// A cluster and a hand that asks it things at a moment that moves on.
struct Hand {
    cluster: Cluster,
    now: Timestamp,
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

impl Hand {
    fn new(config: Config) -> Self {
        Self {
            now: config.start,
            cluster: Cluster::new(config),
        }
    }

    fn with_web(config: Config, replicas: i64) -> Self {
        let mut hand = Self::new(config);
        hand.cluster
            .seed(&[web(replicas, "web:1"), service()])
            .unwrap();
        hand
    }

    fn send(&mut self, request: Request) -> (u16, Value) {
        match self.cluster.handle(self.now, &request) {
            Reply::Answer(Answer {
                status,
                body: Body::Full(bytes),
                ..
            }) => (
                status,
                serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| String::from_utf8(bytes).unwrap().into()),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let request = Request::new(method, target);
        self.send(if body.is_null() {
            request
        } else {
            request.json(body)
        })
    }

    fn patch(&mut self, kind: &str, target: &str, body: &Value) -> (u16, Value) {
        let mut request = Request::new("PATCH", target);
        request.content_type = format!("application/{kind}");
        self.send(request.json(body))
    }

    fn apply(&mut self, target: &str, manager: &str, body: &Value) -> (u16, Value) {
        let sign = if target.contains('?') { '&' } else { '?' };
        self.patch(
            "apply-patch+yaml",
            &format!("{target}{sign}fieldManager={manager}"),
            body,
        )
    }

    fn get(&mut self, target: &str) -> Value {
        self.ask("GET", target, &Value::Null).1
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
        self.cluster.advance(self.now);
    }

    /// Runs until a time is over and returns every state of `web` on the way: (replicas, updated, available).
    fn roll(&mut self, span: Span) -> Vec<(i64, i64, i64)> {
        let until = self.now.plus(span);
        let mut seen = Vec::new();
        while let Some(due) = self.cluster.next_due().filter(|due| *due <= until) {
            self.cluster.advance(due);
            let observation = self.cluster.observe();
            let web = &observation.deployments[0];
            let state = (web.replicas, web.updated, web.available);
            if seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        self.now = until;
        self.cluster.advance(until);
        seen
    }

    fn condition(&mut self, kind: &str) -> (String, String) {
        let web = self.get(WEB);
        let conditions = web["status"]["conditions"].as_array().unwrap().clone();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        (
            found["status"].as_str().unwrap().to_owned(),
            found["reason"].as_str().unwrap().to_owned(),
        )
    }

    fn watch(&mut self, target: &str) -> WatchId {
        match self.cluster.handle(self.now, &Request::new("GET", target)) {
            Reply::Answer(Answer {
                body: Body::Watch(id),
                ..
            }) => id,
            other => panic!("{other:?}"),
        }
    }

    fn drain(&mut self, id: WatchId) -> Vec<Value> {
        self.cluster
            .drain_watch(id)
            .iter()
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn revisions(&self) -> Vec<(String, String, i64)> {
        let sets = self.cluster.list(Kind::ReplicaSet, "default");
        let mut out: Vec<_> = sets
            .iter()
            .map(|set| {
                (
                    set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                    set["spec"]["template"]["spec"]["containers"][0]["image"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                    set["spec"]["replicas"].as_i64().unwrap(),
                )
            })
            .collect();
        out.sort();
        out
    }
}

fn web(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080, "name": "http"}]}]},
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

const STRATEGIC: &str = "strategic-merge-patch+json";

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

#[test]
fn apply_owns_fields_and_refuses_to_take_those_of_others() {
    let mut hand = Hand::new(Config::default());
    let (status, made) = hand.apply(WEB, "engine", &web(3, "web:1"));
    assert_eq!(
        (status, &made["metadata"]["managedFields"][0]["operation"]),
        (201, &json!("Apply"))
    );
    let version = made["metadata"]["resourceVersion"].clone();
    let (status, again) = hand.apply(WEB, "engine", &web(3, "web:1"));
    assert_eq!(
        (status, &again["metadata"]["resourceVersion"]),
        (200, &version),
        "applying the same changes nothing"
    );

    hand.patch(
        "merge-patch+json",
        &format!("{WEB}?fieldManager=hand"),
        &json!({"spec": {"replicas": 5}}),
    );
    let (status, refused) = hand.apply(WEB, "engine", &web(3, "web:2"));
    assert_eq!((status, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"hand\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        refused["details"]["causes"][0]["reason"],
        "FieldManagerConflict"
    );
    assert_eq!(refused["details"]["causes"][0]["field"], ".spec.replicas");
    assert_eq!(hand.get(WEB)["spec"]["replicas"], 5);

    // Giving the field up leaves it to its other owner; the image is the engine's alone.
    let mut less = web(0, "web:2");
    less["spec"].as_object_mut().unwrap().remove("replicas");
    let (status, after) = hand.apply(WEB, "engine", &less);
    assert_eq!((status, &after["spec"]["replicas"]), (200, &json!(5)));
    assert_eq!(
        after["spec"]["template"]["spec"]["containers"][0]["image"],
        "web:2"
    );

    let (status, forced) = hand.apply(&format!("{WEB}?force=true"), "engine", &web(3, "web:2"));
    assert_eq!((status, &forced["spec"]["replicas"]), (200, &json!(3)));
    let owners: Vec<&str> = forced["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["manager"].as_str().unwrap())
        .collect();
    assert_eq!(owners, ["engine"]);
}

#[test]
fn what_is_no_longer_applied_goes_unless_another_owns_it() {
    let mut hand = Hand::new(Config::default());
    let map = "/api/v1/namespaces/default/configmaps/settings";
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data});
    hand.apply(
        map,
        "a",
        &config(json!({"one": "1", "two": "2", "three": "3"})),
    );
    assert_eq!(hand.apply(map, "b", &config(json!({"two": "2"}))).0, 200);
    let (_, after) = hand.apply(map, "a", &config(json!({"three": "3"})));
    assert_eq!(after["data"], json!({"two": "2", "three": "3"}));
    let (status, conflict) = hand.apply(map, "b", &config(json!({"two": "2", "three": "9"})));
    assert_eq!(status, 409);
    assert!(
        conflict["message"]
            .as_str()
            .unwrap()
            .contains("conflict with \"a\": .data.three")
    );

    let mut sidecar = web(1, "web:1");
    sidecar["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "side", "image": "side:1"}));
    hand.apply(WEB, "a", &sidecar);
    let (_, after) = hand.apply(WEB, "a", &web(1, "web:1"));
    assert_eq!(
        after["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let patch = hand.patch("apply-patch+yaml", WEB, &web(1, "web:1"));
    assert_eq!(patch.0, 400, "a manager is required");
}

#[test]
fn stale_writes_conflict() {
    let mut hand = Hand::with_web(Config::default(), 1);
    let mut old = hand.get(WEB);
    hand.patch(
        "merge-patch+json",
        WEB,
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    old["spec"]["replicas"] = json!(2);
    let (status, refused) = hand.ask("PUT", WEB, &old);
    assert_eq!((status, &refused["reason"]), (409, &json!("Conflict")));
    let mut applied = web(2, "web:1");
    applied["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    assert_eq!(
        hand.apply(&format!("{WEB}?force=true"), "engine", &applied)
            .0,
        409
    );
    let uid = json!({"preconditions": {"uid": "other"}});
    assert_eq!(hand.ask("DELETE", WEB, &uid).0, 409);
    let (status, exists) = hand.ask("POST", DEPLOYMENTS, &web(1, "web:1"));
    assert_eq!((status, &exists["reason"]), (409, &json!("AlreadyExists")));
}

#[test]
fn what_is_wrong_is_refused_with_its_field() {
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut manifest = web(1, "web:1");
        manifest["metadata"]["name"] = json!("other");
        change(&mut manifest);
        manifest
    };
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Edit<'_>, u16, &str); 8] = [
        (
            &|m| m["spec"]["template"]["spec"]["containers"][0]["image"] = json!(""),
            422,
            "spec.template.spec.containers[0].image",
        ),
        (
            &|m| m["spec"]["selector"] = json!({"matchLabels": {"app": "x"}}),
            422,
            "spec.template.metadata.labels",
        ),
        (
            &|m| m["spec"]["selector"] = Value::Null,
            422,
            "spec.selector",
        ),
        (&|m| m["spec"]["replicas"] = json!(-1), 422, "spec.replicas"),
        (
            &|m| m["metadata"]["name"] = json!("Web_1"),
            422,
            "metadata.name",
        ),
        (
            &|m| {
                m["spec"]["strategy"] =
                    json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})
            },
            422,
            "spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            &|m| m["spec"]["template"]["spec"]["containers"] = json!([]),
            422,
            "spec.template.spec.containers",
        ),
        (&|m| m["spec"]["replicas"] = json!("three"), 400, ""),
    ];
    let mut hand = Hand::with_web(Config::default(), 1);
    for (change, expected, field) in cases {
        let (status, refused) = hand.ask("POST", DEPLOYMENTS, &edit(change));
        assert_eq!(status, expected, "{refused}");
        if expected == 422 {
            assert_eq!(refused["details"]["causes"][0]["field"], field, "{refused}");
        }
    }
    let patch = json!({"spec": {"selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}}}});
    let (status, refused) = hand.patch("merge-patch+json", WEB, &patch);
    assert_eq!(status, 422);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("field is immutable"),
        "{refused}"
    );
    assert_eq!(hand.patch("xml", WEB, &json!({})).0, 415);
    assert_eq!(
        hand.get("/apis/apps/v1/namespaces/default/deployments/none")["message"],
        "deployments.apps \"none\" not found"
    );
    assert_eq!(
        hand.ask(
            "POST",
            "/apis/apps/v1/namespaces/none/deployments",
            &json!({"metadata": {"name": "a"}})
        )
        .1["message"],
        "namespaces \"none\" not found"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut hand = Hand::with_web(Config::default(), 1);
    let before = hand.cluster.version();
    let (status, shown) = hand.apply(
        &format!("{WEB}?dryRun=All&force=true"),
        "engine",
        &web(9, "web:9"),
    );
    assert_eq!((status, &shown["spec"]["replicas"]), (200, &json!(9)));
    assert_eq!(
        hand.ask(
            "POST",
            &format!("{DEPLOYMENTS}?dryRun=All"),
            &json!({"metadata": {"name": "x"}})
        )
        .0,
        422
    );
    assert_eq!(
        hand.ask("DELETE", &format!("{WEB}?dryRun=All"), &Value::Null)
            .0,
        200
    );
    assert_eq!(hand.cluster.version(), before);
}

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
    let (status, expired) = hand.ask(
        "GET",
        &format!("{maps}?watch=1&resourceVersion={version}"),
        &Value::Null,
    );
    assert_eq!((status, &expired["reason"]), (410, &json!("Expired")));
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
        job["status"]["conditions"][0]["type"]
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
