//! Autoscalers, disruption budgets, gateways and routes as objects.

use super::*;

const NAMESPACE: &str = "/namespaces/default";

fn hpas(rest: &str) -> String {
    format!("/apis/autoscaling/v2{NAMESPACE}/horizontalpodautoscalers{rest}")
}

fn routes(rest: &str) -> String {
    format!("/apis/gateway.networking.k8s.io/v1{NAMESPACE}/httproutes{rest}")
}

fn hpa(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    merge::merge(&mut object, &json!({ "spec": spec }));
    object
}

fn route(rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "public"}], "rules": rules},
    })
}

fn split(stable: i64, candidate: i64) -> Value {
    json!([{"backendRefs": [
        {"name": "web", "port": 80, "weight": stable},
        {"name": "web-candidate", "port": 80, "weight": candidate},
    ]}])
}

#[test]
fn an_autoscaler_gets_its_defaults_and_must_have_bounds_that_make_sense() {
    let mut hand = Hand::new(Config::default());
    let (code, made) = hand.ask("POST", &hpas(""), &hpa(&json!({"maxReplicas": 5})));
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["minReplicas"], 1);
    assert_eq!(
        made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    for (spec, part) in [
        (
            json!({}),
            "spec.maxReplicas: Required value: must be set and greater than 0",
        ),
        (
            json!({"maxReplicas": 2, "minReplicas": 3}),
            "must be greater than or equal to `minReplicas`",
        ),
        (
            json!({"maxReplicas": 2, "minReplicas": 0}),
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
        ),
        (
            json!({"maxReplicas": 2, "scaleTargetRef": {"name": null}}),
            "spec.scaleTargetRef.name: Required value",
        ),
    ] {
        let mut other = hpa(&spec);
        other["metadata"]["name"] = json!("other");
        let (code, refusal) = hand.ask("POST", &hpas(""), &other);
        assert_eq!(code, 422, "{refusal}");
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    let many = json!({"spec": {"maxReplicas": "many"}});
    assert_eq!(hand.patch("merge-patch+json", &hpas("/web"), &many).0, 400);
    let (code, changed) = hand.patch(
        "strategic-merge-patch+json",
        &hpas("/web"),
        &json!({"spec": {"minReplicas": 4}}),
    );
    assert_eq!((code, &changed["spec"]["minReplicas"]), (200, &json!(4)));
    assert_eq!(
        changed["metadata"].get("generation"),
        None,
        "autoscalers count no generations"
    );
    assert_eq!(hand.ask("DELETE", &hpas("/web"), &Value::Null).0, 200);
    assert_eq!(hand.ask("GET", &hpas("/web"), &Value::Null).0, 404);
}

#[test]
fn a_disruption_budget_takes_one_of_its_two_limits() {
    let mut hand = Hand::new(Config::default());
    let budgets = format!("/apis/policy/v1{NAMESPACE}/poddisruptionbudgets");
    let budget = |spec: Value| json!({"metadata": {"name": "web"}, "spec": spec});
    let both = budget(json!({"minAvailable": 1, "maxUnavailable": "50%"}));
    assert_eq!(hand.ask("POST", &budgets, &both).0, 422);
    let one = budget(json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}));
    assert_eq!(hand.ask("POST", &budgets, &one).0, 201);
}

#[test]
fn a_route_gets_the_defaults_of_its_definition() {
    let mut hand = Hand::new(Config::default());
    let rules = json!([
        {"backendRefs": [{"name": "web", "port": 80}]},
        {"matches": [{"headers": [{"name": "x-canary", "value": "always"}]}],
         "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}, "fraction": {"numerator": 1}}}]},
    ]);
    let (code, made) = hand.ask("POST", &routes(""), &route(&rules));
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        made["spec"]["parentRefs"][0],
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"})
    );
    let [first, second] = [0, 1].map(|index| made["spec"]["rules"][index].clone());
    assert_eq!(
        first["backendRefs"][0],
        json!({"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1})
    );
    let everything = json!({"type": "PathPrefix", "value": "/"});
    assert_eq!(first["matches"], json!([{ "path": everything }]));
    assert_eq!(second["matches"][0]["headers"][0]["type"], "Exact");
    assert_eq!(second["matches"][0]["path"], everything);
    let mirror = &second["filters"][0]["requestMirror"];
    assert_eq!(mirror["fraction"]["denominator"], 100);
    assert_eq!(mirror["backendRef"]["kind"], "Service");
    assert_eq!(made["metadata"]["generation"], 1);
}

#[test]
fn a_route_that_makes_no_sense_is_refused_with_its_field() {
    let mut hand = Hand::new(Config::default());
    let backend = |more: Value| {
        let mut backend = json!({"name": "web", "port": 80});
        merge::merge(&mut backend, &more);
        json!([{ "backendRefs": [backend] }])
    };
    let filter = |filter: Value| json!([{ "filters": [filter] }]);
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "web", "port": 80}});
        merge::merge(&mut mirror, &more);
        filter(json!({"type": "RequestMirror", "requestMirror": mirror}))
    };
    for (rules, part) in [
        (
            backend(json!({"weight": 1_000_001})),
            "spec.rules[0].backendRefs[0].weight in body should be less than or equal to 1000000",
        ),
        (
            backend(json!({"weight": -1})),
            "should be greater than or equal to 0",
        ),
        (backend(json!({"weight": "all"})), "must be of type integer"),
        (
            backend(json!({"port": null})),
            "Must have port for Service reference",
        ),
        (
            backend(json!({"name": null})),
            "backendRefs[0].name: Required value",
        ),
        (
            json!([{"matches": [{"headers": [{"name": "a", "value": "b", "type": "Loose"}]}]}]),
            "Unsupported value: \"Loose\"",
        ),
        (
            json!([{"matches": [{"path": {"value": "relative"}}]}]),
            "must be an absolute path",
        ),
        (
            filter(json!({"type": "RequestMirror"})),
            "must be specified",
        ),
        (mirror(json!({"percent": 101})), "less than or equal to 100"),
        (
            mirror(json!({"percent": 1, "fraction": {"numerator": 1}})),
            "Only one of percent or fraction",
        ),
        (
            mirror(json!({"fraction": {"numerator": 3, "denominator": 2}})),
            "numerator must be less than or equal to denominator",
        ),
        (json!(vec![json!({}); 17]), "Too many: 17"),
    ] {
        let (code, refusal) = hand.ask("POST", &routes(""), &route(&rules));
        assert_eq!(code, 422, "{rules}: {refusal}");
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
        assert!(
            message.starts_with("HTTPRoute.gateway.networking.k8s.io \"web\" is invalid"),
            "{message}"
        );
    }
    let gateway = json!({"metadata": {"name": "public"}, "spec": {"listeners": [{"name": "http", "port": 80}]}});
    let gateways = format!("/apis/gateway.networking.k8s.io/v1{NAMESPACE}/gateways");
    let (code, refusal) = hand.ask("POST", &gateways, &gateway);
    assert_eq!(code, 422);
    let message = refusal["message"].as_str().unwrap();
    for field in ["spec.gatewayClassName", "spec.listeners[0].protocol"] {
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn a_route_is_applied_as_a_whole_and_takes_no_strategic_patch() {
    let mut hand = Hand::new(Config::default());
    let (code, _) = hand.apply(&routes("/web"), "team", &route(&split(100, 0)));
    assert_eq!(code, 201);
    // Custom resources know no strategic merge patch.
    let patch = json!({"spec": {"rules": split(90, 10)}});
    let strategic = hand.patch("strategic-merge-patch+json", &routes("/web"), &patch);
    assert_eq!(strategic.0, 415);
    // The rules are one field: whoever applies others takes all of them.
    let (code, conflict) = hand.apply(&routes("/web"), "engine", &route(&split(90, 10)));
    assert_eq!(code, 409, "{conflict}");
    // What the definition filled in differs too: it was not part of what was applied.
    let fields: Vec<&Value> = conflict["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| &cause["field"])
        .collect();
    assert_eq!(fields, [".spec.parentRefs", ".spec.rules"]);
    let forced = format!("{}?force=true", routes("/web"));
    let (code, taken) = hand.apply(&forced, "engine", &route(&split(90, 10)));
    assert_eq!(code, 200);
    assert_eq!(taken["metadata"]["generation"], 2);
    let (code, merged) = hand.patch("merge-patch+json", &routes("/web"), &patch);
    assert_eq!(code, 200);
    let weights: Vec<&Value> = merged["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backend| &backend["weight"])
        .collect();
    assert_eq!(weights, [90, 10]);
    assert_eq!(
        merged["metadata"]["generation"], 2,
        "the defaults of a patch make no other route"
    );
}

#[test]
fn kubectl_finds_the_kinds_and_gets_their_tables() {
    let mut hand = Hand::with_web(Config::default(), 2);
    hand.ask("POST", &hpas(""), &hpa(&json!({"maxReplicas": 5})));
    hand.ask("POST", &routes(""), &route(&split(1, 1)));
    let groups = hand.get("/apis");
    let named = |name: &str| {
        let mut groups = groups["groups"].as_array().unwrap().iter();
        groups.any(|group| group["name"] == name)
    };
    assert!(named("gateway.networking.k8s.io") && named("autoscaling") && named("policy"));
    let found = hand.get("/apis/gateway.networking.k8s.io/v1");
    let route = found["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|resource| resource["name"] == "httproutes")
        .unwrap();
    assert_eq!(route["singularName"], "httproute");
    assert_eq!(route["kind"], "HTTPRoute");
    let mut table = |target: &str| {
        let mut request = Request::new("GET", target);
        request.accept = "application/json;as=Table;v=v1;g=meta.k8s.io".to_owned();
        let table = hand.send(request).1;
        (
            table["columnDefinitions"].as_array().unwrap().len(),
            table["rows"][0]["cells"].clone(),
        )
    };
    let (columns, cells) = table(&hpas(""));
    assert_eq!(columns, 7);
    assert_eq!(
        cells,
        json!(["web", "Deployment/web", "<unknown>", "1", "5", "0", "0s"])
    );
    assert_eq!(table(&routes("")), (3, json!(["web", "", "0s"])));
}

#[test]
fn a_watch_tells_of_routes() {
    let mut hand = Hand::new(Config::default());
    let watch = hand.watch(&format!("{}?watch=true", routes("")));
    hand.ask("POST", &routes(""), &route(&split(1, 0)));
    let events = hand.drain(watch);
    assert_eq!(events[0]["type"], "ADDED");
    assert_eq!(events[0]["object"]["kind"], "HTTPRoute");
}

#[test]
fn the_scale_of_a_deployment_is_read_put_patched_and_applied() {
    let mut hand = Hand::with_web(Config::default(), 2);
    let target = format!("{WEB}/scale");
    let scale = hand.get(&target);
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!(2), &json!("app=web"))
    );
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = json!(3);
    assert_eq!(hand.ask("PUT", &target, &wanted).0, 200);
    assert_eq!(
        hand.ask("PUT", &target, &wanted).0,
        409,
        "the version has moved on"
    );
    wanted["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    wanted["spec"]["replicas"] = json!(-1);
    assert_eq!(hand.ask("PUT", &target, &wanted).0, 422);
    let merged = hand.patch(
        "merge-patch+json",
        &target,
        &json!({"spec": {"replicas": 4}}),
    );
    assert_eq!(merged.1["spec"]["replicas"], 4);
    let applied = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 5}});
    assert_eq!(hand.apply(&target, "engine", &applied).0, 409);
    let forced = format!("{target}?force=true");
    assert_eq!(hand.apply(&forced, "engine", &applied).0, 200);
    let web = hand.get(WEB);
    assert_eq!(web["spec"]["replicas"], 5);
    let owners: Vec<&Value> = web["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object())
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(owners, ["engine"]);
}
