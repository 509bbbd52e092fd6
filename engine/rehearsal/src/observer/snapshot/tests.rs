use serde_json::json;

use super::*;
use crate::cluster::{Config, Request};

fn colour(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("shop-{name}"), "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop", "colour": name}}, "template": {
            "metadata": {"labels": {"app": "shop", "colour": name}},
            "spec": {"containers": [{"name": "app", "image": format!("r/shop:{version}")}]}}},
    })
}

fn world() -> Cluster {
    let mut cluster = Cluster::new(Config::default());
    let objects = [
        colour("blue", "1.0.0"),
        colour("green", "0.9.0"),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"selector": {"app": "shop", "colour": "blue"}, "ports": [{"port": 80}]},
        }),
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-blue"},
                "minReplicas": 2, "maxReplicas": 6},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]},
        }),
    ];
    cluster.seed(&objects).unwrap();
    cluster
}

fn snapshot(cluster: &Cluster) -> Snapshot {
    Snapshot::of(cluster, "shop", "shop", Some("shop"))
}

fn patch(cluster: &mut Cluster, path: &str, body: &Value) {
    let mut request = Request::new("PATCH", path).json(body);
    request.content_type = "application/merge-patch+json".to_owned();
    let now = cluster.now();
    drop(cluster.handle(now, &request));
}

#[test]
fn whatever_a_run_may_touch_is_compared() {
    for (path, body, told) in [
        (
            "/apis/apps/v1/namespaces/shop/deployments/shop-green",
            json!({"spec": {"replicas": 0}}),
            "Deployment shop-green, spec.replicas: 0, not 2",
        ),
        (
            "/api/v1/namespaces/shop/services/shop",
            json!({"spec": {"selector": {"colour": "green"}}}),
            "Service shop, spec.selector.colour: \"green\", not \"blue\"",
        ),
        (
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/shop",
            json!({"spec": {"minReplicas": 4}}),
            "HorizontalPodAutoscaler shop, spec.minReplicas: 4, not 2",
        ),
        (
            "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/shop",
            json!({"metadata": {"annotations": {"phasegate.dev/run": "r"}}}),
            "HTTPRoute shop, annotations: [phasegate.dev/run=r], not []",
        ),
    ] {
        let mut cluster = world();
        let before = snapshot(&cluster);
        patch(&mut cluster, path, &body);
        assert_eq!(before.differences(&snapshot(&cluster)), [told]);
    }
    let mut cluster = world();
    let before = snapshot(&cluster);
    let now = cluster.now();
    let mut beside = colour("red", "1.1.0");
    cluster.apply_manifest(now, &beside).unwrap();
    let after = snapshot(&cluster);
    assert_eq!(
        before.differences(&after),
        ["Deployment shop-red is left behind"]
    );
    assert_eq!(after.differences(&before), ["Deployment shop-red is gone"]);
    // Another namespace is somebody else's.
    beside["metadata"]["namespace"] = json!("other");
    let mut cluster = world();
    cluster.apply_manifest(now, &beside).unwrap();
    assert_eq!(
        before.differences(&snapshot(&cluster)),
        Vec::<String>::new()
    );
}

#[test]
fn the_size_of_a_deployment_with_an_autoscaler_is_the_autoscalers() {
    let mut cluster = world();
    let before = snapshot(&cluster);
    let path = "/apis/apps/v1/namespaces/shop/deployments/shop-blue";
    patch(&mut cluster, path, &json!({"spec": {"replicas": 5}}));
    let after = snapshot(&cluster);
    assert_eq!(before.differences(&after), Vec::<String>::new());
    assert_eq!(after.replicas(), Some(5), "and yet it can be asked for");
}

#[test]
fn the_deployment_in_question_is_the_named_one_or_the_one_that_serves() {
    let mut cluster = world();
    let image = |cluster: &Cluster, name: &str| {
        let snapshot = Snapshot::of(cluster, "shop", name, Some("shop"));
        snapshot.image().map(str::to_owned)
    };
    assert_eq!(image(&cluster, "shop").as_deref(), Some("r/shop:1.0.0"));
    assert_eq!(
        image(&cluster, "shop-green").as_deref(),
        Some("r/shop:0.9.0")
    );
    let flip = json!({"spec": {"selector": {"colour": "green"}}});
    patch(&mut cluster, "/api/v1/namespaces/shop/services/shop", &flip);
    assert_eq!(image(&cluster, "shop").as_deref(), Some("r/shop:0.9.0"));
    assert_eq!(Snapshot::of(&cluster, "shop", "shop", None).image(), None);
}
