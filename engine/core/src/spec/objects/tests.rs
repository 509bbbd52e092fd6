use serde_json::json;

use super::*;
use crate::diagnostic::Code;
use crate::spec::release::{self, Overrides};

const RELEASE: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: '2'
change: minor
target: {simulated: {}}
namespace: shop
workload:
  deployment: shop
  container: app
  image: 'shop:{version}'
  service: shop
  router: {plugin: gateway-api, config: {route: shop}}
  configs: [{configMap: settings}]
phases:
  - name: before
    steps:
      - act: {plugin: apply, manifests: {path: policies}}
  - name: deploy
    strategy: {plugin: canary}
";

fn loaded() -> Loaded {
    let builtin = ["apply", "canary", "gateway-api"];
    release::load(
        "release.yaml",
        RELEASE.as_bytes(),
        &Overrides::default(),
        &builtin,
    )
    .unwrap()
}

fn given(objects: Vec<Value>) -> Result<Vec<Value>, Vec<Diagnostic>> {
    let mut loaded = loaded();
    let faults = fill(&mut loaded, |_| Ok(objects.clone()));
    if !faults.is_empty() {
        return Err(faults);
    }
    let acts = loaded.release.acts();
    Ok(of(&acts.first().unwrap().1.config).to_vec())
}

#[test]
fn an_action_that_a_strategy_may_use_gets_its_own_too() {
    let text = RELEASE.replacen(
        "phases:",
        "actions:\n  allow: {plugin: apply, manifests: {path: more}}\nphases:",
        1,
    );
    let builtin = ["apply", "canary", "gateway-api"];
    let overrides = Overrides::default();
    let loaded = || release::load("release.yaml", text.as_bytes(), &overrides, &builtin).unwrap();
    let mut filled = loaded();
    let faults = fill(&mut filled, |manifests| {
        Ok(vec![policy(manifests.path.as_deref().unwrap())])
    });
    assert!(faults.is_empty(), "{faults:?}");
    let acts = filled.release.acts();
    let names: Vec<_> = acts.iter().map(|(_, act)| named(&act.config)).collect();
    assert_eq!(names, ["NetworkPolicy more", "NetworkPolicy policies"]);

    let faults = fill(&mut loaded(), |_| Ok(Vec::new()));
    let lines: Vec<_> = faults.iter().map(|f| f.place().unwrap().line).collect();
    assert_eq!(lines, [Some(16), Some(20)]);
}

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
        "spec": {"podSelector": {}},
    })
}

fn refused(object: Value) -> (Code, String) {
    let faults = given(vec![object]).unwrap_err();
    let fault = faults.first().unwrap();
    (fault.code(), fault.to_string())
}

#[test]
fn an_action_gets_what_its_manifests_describe_without_what_is_history() {
    let mut live = policy("a");
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["creationTimestamp"] = json!(null);
    live["metadata"]["managedFields"] = json!([{}]);
    live["status"] = json!({});
    live["spec"]["egress"] = json!(null);
    // What is empty would be taken for all that is there; a selector of everything is a wish.
    live["metadata"]["labels"] = json!({});
    live["metadata"]["annotations"] = json!({});
    live["data"] = json!({});
    live["binaryData"] = json!({});
    let objects = given(vec![live, policy("b")]).unwrap();
    let mut wanted = [policy("a"), policy("b")];
    for one in &mut wanted {
        one["metadata"]["namespace"] = json!("shop");
    }
    assert_eq!(objects, wanted);
}

#[test]
fn what_is_not_the_actions_is_refused() {
    let core = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let mut elsewhere = policy("a");
    elsewhere["metadata"]["namespace"] = json!("other");
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}},
    });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "x"},
        "spec": {"rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]},
    });
    for (object, says) in [
        (core("Secret", "keys"), "would stand in the plan"),
        (core("secret", "keys"), "would stand in the plan"),
        (core("configmap", "settings"), "versioned with shop"),
        (core("Service", "shop"), "the Service of shop"),
        (core("ConfigMap", "settings"), "versioned with shop"),
        (core("ConfigMap", "phasegate-claim-shop"), "engine's own"),
        (core("ConfigMap", ""), "metadata.name"),
        (json!({"kind": "ConfigMap"}), "apiVersion"),
        (elsewhere, "another namespace"),
        (scaler, "the autoscaler of shop"),
        (route, "a route to shop"),
    ] {
        let (code, text) = refused(object);
        assert_eq!(code, codes::MANIFEST_NOT_APPLIED, "{text}");
        assert!(text.contains(says), "{says}: {text}");
        assert!(text.contains("release.yaml:18"), "{text}");
    }
    assert!(given(vec![core("Service", "other"), core("ConfigMap", "flags")]).is_ok());
}

#[test]
fn secrets_in_plain_sight_are_refused_wherever_they_stand() {
    for data in [
        json!({"password": "hunter2"}),
        json!({"url": "postgres://shop:hunter2@db/shop"}),
        json!({"DB_PASSWORD": "hunter2"}),
        json!({"db.api-key": "hunter2"}),
        json!({"env": [{"name": "PASSWORD", "value": "hunter2"}]}),
        json!({"env": [{"name": "SHOP_DB-PASSWORD", "value": "hunter2"}]}),
    ] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let (code, text) = refused(map);
        assert_eq!(code, codes::SECRET_IN_CONFIG);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn how_a_secret_is_called_is_none() {
    let external = |key: &str| {
        json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"},
            "spec": {"data": [{(key): "db-password", "remoteRef": {"key": "shop/db"}}]},
        })
    };
    assert!(given(vec![external("secretKey")]).is_ok());
    assert_eq!(refused(external("password")).0, codes::SECRET_IN_CONFIG);
    let mut elsewhere = external("secretKey");
    elsewhere["apiVersion"] = json!("example.com/v1");
    assert_eq!(refused(elsewhere).0, codes::SECRET_IN_CONFIG);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a"},
        "spec": {"env": [
            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            {"name": "PASSWORD_FILE", "value": "/run/db"},
        ]},
    });
    assert!(given(vec![job]).is_ok());
}

#[test]
fn the_autoscalers_of_both_colours_are_the_releases() {
    let coloured = RELEASE
        .replace(
            "  deployment: shop\n",
            "  deployment: shop\n  colours: {label: colour}\n",
        )
        .replace("plugin: canary", "plugin: blue-green");
    let builtin = ["apply", "blue-green", "gateway-api"];
    let mut loaded = release::load(
        "release.yaml",
        coloured.as_bytes(),
        &Overrides::default(),
        &builtin,
    )
    .unwrap();
    let mut faults = |deployment: &str| {
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": deployment}},
        });
        fill(&mut loaded, |_| Ok(vec![scaler.clone()]))
    };
    for deployment in ["shop-blue", "shop-green", "shop"] {
        let faults = faults(deployment);
        let text = faults.first().map(ToString::to_string).unwrap_or_default();
        assert!(
            text.contains("the autoscaler of shop"),
            "{deployment}: {text}"
        );
    }
    assert_eq!(faults("shop-worker"), []);
}

#[test]
fn there_are_bounds() {
    let code = |objects| given(objects).unwrap_err().first().unwrap().code();
    assert_eq!(code(Vec::new()), codes::MANIFEST_NOT_APPLIED);
    assert_eq!(
        code(vec![policy("a"), policy("a")]),
        codes::MANIFEST_NOT_APPLIED
    );
    let many = (0..=MAX_OBJECTS).map(|n| policy(&format!("p{n}")));
    assert_eq!(code(many.collect()), codes::TOO_MANY);
    let big = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        "data": {"text": "x".repeat(MAX_BYTES)},
    });
    assert_eq!(code(vec![big]), codes::FILE_TOO_BIG);
}

#[test]
fn objects_are_not_given_twice() {
    let both = RELEASE.replace(
        "manifests: {path",
        "config: {objects: []}, manifests: {path",
    );
    let names = ["apply", "canary", "gateway-api"];
    let faults = release::load(
        "release.yaml",
        both.as_bytes(),
        &Overrides::default(),
        &names,
    );
    assert!(
        faults
            .unwrap_err()
            .to_string()
            .contains("what the manifests describe")
    );
}
