use phasegate_runtime::ports::{ObjectError, ObjectRef, Objects, Seen, Writer};
use serde_json::json;

use super::super::text;
use super::*;

fn config_map(name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

fn writer(effect: bool) -> Writer {
    Writer {
        manager: "phasegate-flags".to_owned(),
        effect: effect.then(|| (target(), stamp())),
    }
}

const FLAGS: &str = "/api/v1/namespaces/shop/configmaps/flags";

#[tokio::test]
async fn a_plugin_applies_without_force_under_its_own_name() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags", "namespace": "shop"}, "data": {"a": "1"}});
    let server = Server::default().ok("PATCH", FLAGS, object.clone());
    let applied = server.cluster().apply(&writer(false), &object).await;
    assert_eq!(applied, Ok(object.clone()));
    let write = &server.writes()[0];
    assert_eq!(
        write.target,
        format!("{FLAGS}?fieldManager=phasegate-flags&force=false")
    );
    assert_eq!(write.content_type, "application/apply-patch+yaml");
    assert_eq!(write.agent, "phasegate/test (plugin phasegate-flags)");
    assert_eq!(write.body, object);
}

#[tokio::test]
async fn a_plugin_patches_and_removes() {
    let server = Server::default()
        .ok("PATCH", FLAGS, json!({"patched": true}))
        .ok("DELETE", FLAGS, json!({}));
    let cluster = server.cluster();
    let merge = json!({"data": {"a": null}});
    let patched = cluster
        .patch(&writer(false), &config_map("flags"), &merge)
        .await;
    assert_eq!(patched, Ok(json!({"patched": true})));
    cluster
        .remove(&writer(false), &config_map("flags"), None)
        .await
        .unwrap();
    let writes = server.writes();
    assert_eq!(writes[0].content_type, "application/merge-patch+json");
    assert_eq!(writes[0].body, merge);
    assert_eq!(
        (writes[1].method.as_str(), writes[1].target.as_str()),
        ("DELETE", FLAGS)
    );
    assert_eq!(writes[1].agent, "phasegate/test (plugin phasegate-flags)");
}

#[tokio::test]
async fn what_was_read_is_removed_in_that_version_and_no_other() {
    let server = Server::default().on(
        "DELETE",
        FLAGS,
        vec![
            Reply::Json(200, json!({})),
            status(409, "Conflict", "the UID in the precondition"),
        ],
    );
    let cluster = server.cluster();
    let read = json!({"metadata": {"name": "flags", "uid": "u", "resourceVersion": "7"}});
    let seen = Seen::of(&read);
    let flags = config_map("flags");
    let (writer, seen) = (writer(false), seen.as_ref());
    cluster.remove(&writer, &flags, seen).await.unwrap();
    assert_eq!(
        server.writes()[0].body["preconditions"],
        json!({"uid": "u", "resourceVersion": "7"})
    );
    let refused = cluster.remove(&writer, &flags, seen).await;
    assert!(
        matches!(refused, Err(ObjectError::Conflict(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_plugin_that_is_called_for_an_effect_writes_in_its_name_and_not_after_a_later_engine() {
    let answers = |epoch: u64| {
        Server::default()
            .ok("GET", LEASE, json!({"spec": {"leaseTransitions": epoch}}))
            .ok("PATCH", FLAGS, json!({}))
            .ok("DELETE", FLAGS, json!({}))
    };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags", "namespace": "shop"}});
    let (writer, flags) = (writer(true), config_map("flags"));
    let driving = answers(3);
    let cluster = driving.cluster();
    cluster.apply(&writer, &object).await.unwrap();
    cluster.patch(&writer, &flags, &json!({})).await.unwrap();
    cluster.remove(&writer, &flags, None).await.unwrap();
    let writes = driving.writes();
    assert_eq!(writes.len(), 3);
    for write in &writes {
        assert_eq!(
            write.agent,
            "phasegate/test (effect hello-20261118-abcdef/deploy/1)"
        );
    }
    assert!(
        writes[1].target.contains("fieldManager=phasegate-flags"),
        "{}",
        writes[1].target
    );

    let overtaken = answers(4);
    let cluster = overtaken.cluster();
    let refused = [
        cluster.apply(&writer, &object).await.map(drop),
        cluster.patch(&writer, &flags, &json!({})).await.map(drop),
        cluster.remove(&writer, &flags, None).await,
    ];
    for result in refused {
        assert!(
            matches!(&result, Err(ObjectError::Denied(why)) if why.contains("its epoch is 4, this one's 3")),
            "{result:?}"
        );
    }
    assert!(overtaken.writes().is_empty());

    let no_lease = Server::default().on("GET", LEASE, vec![status(503, "Unavailable", "no")]);
    let result = no_lease.cluster().remove(&writer, &flags, None).await;
    assert!(
        matches!(result, Err(ObjectError::Unavailable(_))),
        "{result:?}"
    );
    assert!(no_lease.writes().is_empty());
}

#[tokio::test]
async fn finding_follows_the_pages_up_to_the_limit() {
    let page = |names: &[&str], next: &str| {
        let items: Vec<Value> = names
            .iter()
            .map(|n| json!({"metadata": {"name": n}}))
            .collect();
        Reply::Json(200, json!({"metadata": {"continue": next}, "items": items}))
    };
    let server = Server::default().on(
        "GET",
        CONFIG_MAPS,
        vec![page(&["a", "b"], "t/1"), page(&["c", "d"], "t2")],
    );
    let found = server
        .cluster()
        .find("v1", "ConfigMap", Some("shop"), Some("a=b"), 3)
        .await
        .unwrap();
    let names: Vec<&str> = found.iter().map(|o| text(o, "/metadata/name")).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(found[0]["kind"], "ConfigMap");
    let targets: Vec<String> = server.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(
        targets,
        [
            format!("{CONFIG_MAPS}?labelSelector=a%3Db&limit=3"),
            format!("{CONFIG_MAPS}?labelSelector=a%3Db&limit=3&continue=t%2F1"),
        ]
    );
}

#[tokio::test]
async fn what_goes_wrong_keeps_its_meaning() {
    for (reply, expected) in [
        (status(404, "NotFound", "no"), "not found"),
        (
            status(409, "Conflict", "conflict with \"kubectl\""),
            "conflict: conflict with \"kubectl\"",
        ),
        (status(422, "Invalid", "bad"), "invalid: bad"),
        (
            status(403, "Forbidden", "no"),
            "not allowed: not allowed to get configmaps `flags` in namespace `shop`: no",
        ),
    ] {
        let server = Server::default().on("GET", FLAGS, vec![reply]);
        let error = server
            .cluster()
            .get(&config_map("flags"))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let server = Server::default().on("GET", FLAGS, vec![Reply::Never]);
    let error = server.cluster().get(&config_map("flags")).await;
    assert!(
        matches!(error, Err(ObjectError::Unavailable(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_object_outside_of_its_place_is_never_asked_for() {
    let server = Server::default();
    for name in ["", "..", "a/../../secrets/x"] {
        let error = server.cluster().get(&config_map(name)).await;
        assert!(
            matches!(error, Err(ObjectError::Invalid(_))),
            "{name}: {error:?}"
        );
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_plugin_that_asks_is_shown_what_it_has_applied_and_nobody_elses_fields() {
    let entry = |manager: &str, operation: &str| json!({"manager": manager, "operation": operation, "fieldsV1": {"f:data": {}}});
    let ours = entry("phasegate-flags", "Apply");
    let mut object = json!({"metadata": {"name": "flags", "managedFields": [
        entry("kubectl", "Apply"), entry("phasegate-flags", "Update"), ours,
    ]}, "data": {"a": "1"}});
    let server = Server::default().ok("GET", FLAGS, object.clone());
    let cluster = server.cluster();
    let found = cluster
        .get_owned("phasegate-flags", &config_map("flags"))
        .await
        .unwrap();
    object["metadata"]["managedFields"] = json!([ours]);
    assert_eq!(found, object);
    let plain = cluster.get(&config_map("flags")).await.unwrap();
    assert_eq!(text(&plain, "/metadata/managedFields"), "");
    assert!(plain.pointer("/metadata/managedFields").is_none());
}

#[tokio::test]
async fn what_an_action_reads_is_not_watched() {
    let read = |name: &str| json!({"metadata": {"name": name, "uid": "u", "resourceVersion": "7"}});
    let server = Server::default()
        .ok(
            "GET",
            "/api/v1/namespaces/shop/configmaps/applied",
            read("applied"),
        )
        .ok("GET", FLAGS, read("flags"));
    let cluster = server.cluster();
    let _view = cluster.views.open(&target(), &cluster.descent);
    let applied = config_map("applied");
    cluster.get_owned("phasegate-x", &applied).await.unwrap();
    cluster.get(&config_map("flags")).await.unwrap();
    let watches = || {
        let seen = server.seen().into_iter().map(|seen| seen.target);
        seen.filter(|target| target.starts_with(CONFIG_MAPS) && target.contains("metadata.name"))
            .collect::<Vec<_>>()
    };
    while watches().is_empty() {
        tokio::task::yield_now().await;
    }
    let watches = watches();
    assert!(
        watches.iter().all(|target| target.contains("flags")),
        "{watches:?}"
    );
}
