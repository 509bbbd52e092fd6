//! Copies of ConfigMaps and Secrets, and what leads pods to them.

use phasegate_core::config::{ConfigCopy, ConfigKind, Content, Reference, copy_of_object};
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Change, Fields};
use phasegate_core::failure::Kind;
use phasegate_core::strategy::Slot;
use phasegate_runtime::ports::{Cluster, ConfigAsked};
use serde_json::json;

use super::*;

const KEYS: &str = "/api/v1/namespaces/shop/secrets/keys";
const COPY: &str = "/api/v1/namespaces/shop/secrets/keys-pg0123456789";
const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

/// Stable, whose pods use the Secret by that name.
fn using(name: &str) -> Value {
    let mut object = deployment();
    object["spec"]["template"]["spec"]["containers"][1]["envFrom"] =
        json!([{"secretRef": {"name": name}}, {"configMapRef": {"name": "other"}}]);
    object
}

fn secret(name: &str, version: &str, value: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": "s-1", "resourceVersion": version},
        "type": "Opaque", "data": {"key": value},
    })
}

fn copy() -> ConfigCopy {
    ConfigCopy {
        kind: ConfigKind::Secret,
        of: "keys".to_owned(),
        name: "keys-pg0123456789".to_owned(),
        content: Content::Cluster {
            uid: "s-1".to_owned(),
            version: "8".to_owned(),
        },
    }
}

fn made(run: &str) -> Value {
    let mut object = secret("keys-pg0123456789", "9", "bmV3");
    object["immutable"] = true.into();
    object["metadata"]["annotations"] =
        json!({"phasegate.dev/run": run, "phasegate.dev/epoch": "3"});
    object
}

#[tokio::test]
async fn a_plan_tells_keys_of_a_secret_and_no_value() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, using("keys-pg0123456789"))
        .ok("GET", COPY, secret("keys-pg0123456789", "3", "b2xk"))
        .ok("GET", KEYS, secret("keys", "8", "bmV3"));
    let cluster = server.cluster();
    let asked = ConfigAsked {
        kind: ConfigKind::Secret,
        of: "keys",
        data: None,
        rotate: None,
        afresh: false,
    };
    let versions = cluster.versions(&target(), &[asked]).await.unwrap();
    let version = &versions[0];
    assert_eq!(version.before, "keys-pg0123456789");
    assert_eq!(version.copy.name, copy_of_object("web", "keys", "s-1", "8"));
    assert!(!version.there);
    assert_eq!(version.changes, ["key changes"]);
    let told = serde_json::to_string(version).unwrap();
    assert!(!told.contains("bmV3") && !told.contains("b2xk"), "{told}");
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn what_the_pods_do_not_use_as_one_is_refused() {
    let mut mixed = using("keys");
    mixed["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "v", "secret": {"secretName": "keys-pg0123456789"}}]);
    for found in [deployment(), mixed] {
        let server = Server::default().ok("GET", DEPLOYMENT, found);
        let cluster = server.cluster();
        let asked = ConfigAsked {
            kind: ConfigKind::Secret,
            of: "keys",
            data: None,
            rotate: None,
            afresh: false,
        };
        let failure = cluster.versions(&target(), &[asked]).await.unwrap_err();
        assert_eq!(failure.code, codes::CONFIG_NOT_USED);
    }
}

#[tokio::test]
async fn a_copy_is_made_immutable_of_the_version_that_was_planned_with() {
    let server = Server::default()
        .ok("GET", KEYS, secret("keys", "8", "bmV3"))
        .ok("POST", SECRETS, json!({}));
    let cluster = server.cluster();
    cluster.copy(&target(), &copy(), &stamp()).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    let body = &writes[0].body;
    assert_eq!(body["immutable"], true);
    assert_eq!(body["data"], json!({"key": "bmV3"}));
    assert_eq!(body["type"], "Opaque");
    assert_eq!(body["metadata"]["name"], "keys-pg0123456789");
    assert_eq!(
        body["metadata"]["annotations"]["phasegate.dev/effect"],
        stamp().key
    );

    let server = Server::default().ok("GET", KEYS, secret("keys", "9", "bmV3"));
    let failure = failed(server.cluster().copy(&target(), &copy(), &stamp()).await);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Permanent, codes::CONFLICT)
    );
    assert!(!failure.message.contains("bmV3"), "{failure}");
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn words_about_a_secret_that_the_cluster_refuses_are_not_kept() {
    let quoting = json!({
        "kind": "Status", "reason": "Forbidden", "message": "denied: {\"key\": \"bmV3\"}",
    });
    let server = Server::default()
        .ok("GET", KEYS, secret("keys", "8", "bmV3"))
        .on("POST", SECRETS, vec![Reply::Json(403, quoting)]);
    let failure = failed(server.cluster().copy(&target(), &copy(), &stamp()).await);
    assert!(!format!("{failure:?}").contains("bmV3"), "{failure:?}");
    assert!(failure.message.contains("Secret"), "{failure}");
}

#[tokio::test]
async fn a_copy_of_this_run_is_not_made_twice_and_one_of_another_is_a_conflict() {
    let server = Server::default().ok("GET", COPY, made(&stamp().run));
    let cluster = server.cluster();
    cluster.copy(&target(), &copy(), &stamp()).await.unwrap();
    let server_of_others = Server::default().ok("GET", COPY, made("other-run"));
    let cluster = server_of_others.cluster();
    let failure = failed(cluster.copy(&target(), &copy(), &stamp()).await);
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(server.writes().is_empty() && server_of_others.writes().is_empty());
}

#[tokio::test]
async fn a_copy_goes_only_once_no_pod_would_be_started_with_it() {
    let server = Server::default().ok("GET", COPY, made(&stamp().run)).ok(
        "GET",
        DEPLOYMENT,
        using("keys-pg0123456789"),
    );
    let cluster = server.cluster();
    let failure = failed(cluster.remove_copy(&target(), &copy(), &stamp()).await);
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(server.writes().is_empty());

    let server = Server::default()
        .ok("GET", COPY, made(&stamp().run))
        .ok("GET", DEPLOYMENT, using("keys"))
        .ok("DELETE", COPY, json!({}));
    let cluster = server.cluster();
    cluster
        .remove_copy(&target(), &copy(), &stamp())
        .await
        .unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].body["preconditions"],
        json!({"uid": "s-1", "resourceVersion": "9"})
    );
}

/// Stable's pods are led to the copy.
fn led_to_the_copy() -> Change {
    Change {
        slot: Slot::Stable,
        fields: Fields {
            image: Some("web:1.1".to_owned()),
            configs: vec![Reference {
                kind: ConfigKind::Secret,
                of: "keys".to_owned(),
                name: "keys-pg0123456789".to_owned(),
            }],
            ..Fields::default()
        },
        uid: "u-1".to_owned(),
        expected_image: Some("web:1.0".to_owned()),
        marked: true,
    }
}

#[tokio::test]
async fn pods_are_not_led_to_a_copy_that_is_gone() {
    let server = Server::default().ok("GET", DEPLOYMENT, using("keys"));
    let cluster = server.cluster();
    let change = led_to_the_copy();
    let refused = cluster.change(&target(), &change, &stamp()).await;
    let refused = format!("{:?}", refused.unwrap_err());
    assert!(refused.contains("keys-pg0123456789"), "{refused}");
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn pods_are_led_to_a_copy_by_a_patch_of_what_differs() {
    let server = Server::default()
        .ok("GET", DEPLOYMENT, using("keys"))
        .ok("GET", COPY, made("run-1"))
        .ok("PATCH", DEPLOYMENT, json!({}));
    let change = led_to_the_copy();
    let cluster = server.cluster();
    cluster.change(&target(), &change, &stamp()).await.unwrap();
    let (_, equal) = cluster.changed(&target(), &change).await.unwrap();
    assert!(!equal, "it refers to the Secret itself");
    let writes = server.writes();
    assert_eq!(
        writes[0].content_type,
        "application/strategic-merge-patch+json"
    );
    assert_eq!(
        writes[0].body["spec"]["template"]["spec"],
        json!({"containers": [{
            "name": "app", "image": "web:1.1",
            "envFrom": [{"secretRef": {"name": "keys-pg0123456789"}}, {"configMapRef": {"name": "other"}}],
        }]})
    );
}
