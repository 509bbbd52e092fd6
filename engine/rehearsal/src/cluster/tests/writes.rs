//! Writes: ownership, conflicts, and what is refused.

use super::*;

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
    assert_eq!(patch.0, 422, "a manager is required");
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
    // Where there is no object, a uid is a conflict, and a version is none.
    let other = WEB.replace("/web", "/other");
    applied["metadata"]["name"] = json!("other");
    applied["metadata"]["uid"] = old["metadata"]["uid"].clone();
    let (status, refused) = hand.apply(&other, "engine", &applied);
    assert_eq!((status, &refused["reason"]), (409, &json!("Conflict")));
    applied["metadata"].as_object_mut().unwrap().remove("uid");
    assert_eq!(hand.apply(&other, "engine", &applied).0, 201);
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
