use serde_json::{Value, json};

use super::*;
use crate::cluster::{Config, Request};

fn deployment(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": format!("r/shop:{version}")}]}}},
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

fn route(stable: u32, candidate: u32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [
            {"name": "shop", "port": 80, "weight": stable},
            {"name": "candidate", "port": 80, "weight": candidate}]}]},
    })
}

fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "shop"},
        "spec": {"gatewayClassName": "simulated", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

fn cluster(objects: &[Value]) -> Cluster {
    let mut cluster = Cluster::new(Config::default());
    cluster.seed(objects).unwrap();
    cluster.record_history();
    cluster
}

fn told(witness: &mut Witness, cluster: &mut Cluster, after: Span) -> Vec<String> {
    let now = cluster.now().plus(after);
    cluster.advance(now);
    let lines = witness.look(cluster);
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn the_shares_of_a_route_are_told_when_the_data_plane_changes_them() {
    let mut cluster = cluster(&[
        deployment("shop", "1.0.0"),
        deployment("candidate", "1.1.0"),
        service("shop"),
        service("candidate"),
        gateway(),
        route(1, 0),
    ]);
    let mut witness = Witness::new("shop");
    let pods = "candidate wants 1 of shop:1.1.0, 1 ready; shop wants 1 of shop:1.0.0, 1 ready";
    let after =
        |witness: &mut Witness, cluster: &mut Cluster| told(witness, cluster, Span::from_secs(5));
    assert_eq!(
        after(&mut witness, &mut cluster),
        [format!("{pods}; traffic to 100% of 1.0.0")]
    );
    for (weights, shares) in [
        ((90, 10), "90% of 1.0.0 and 10% of 1.1.0"),
        ((7, 1), "87.5% of 1.0.0 and 12.5% of 1.1.0"),
        ((2, 1), "66.67% of 1.0.0 and 33.33% of 1.1.0"),
    ] {
        let now = cluster.now();
        let changed = route(weights.0, weights.1);
        cluster.apply_manifest(now, &changed).unwrap();
        assert_eq!(
            after(&mut witness, &mut cluster),
            [format!("{pods}; traffic to {shares}")]
        );
    }
    let target = "/apis/apps/v1/namespaces/shop/deployments/candidate";
    let now = cluster.now();
    drop(cluster.handle(now, &Request::new("DELETE", target)));
    let lines = told(&mut witness, &mut cluster, Span::from_secs(30));
    let failing = "shop wants 1 of shop:1.0.0, 1 ready; traffic to 66.67% of 1.0.0, 33.33% fails";
    assert!(lines.contains(&failing.to_owned()), "{lines:?}");
}

#[test]
fn several_entries_are_told_by_name() {
    let mut cluster = cluster(&[
        deployment("shop", "1.0.0"),
        service("shop"),
        service("preview"),
    ]);
    let mut witness = Witness::new("shop");
    assert_eq!(
        told(&mut witness, &mut cluster, Span::ZERO),
        [
            "shop wants 1 of shop:1.0.0, 1 ready; preview: traffic to nothing; shop: traffic to 1 of 1.0.0"
        ]
    );
}

#[test]
fn of_many_deployments_only_what_has_changed_is_told() {
    let names = ["cart", "mail", "users"];
    let mut objects: Vec<Value> = names.iter().map(|name| deployment(name, "1.0.0")).collect();
    objects.extend(names.iter().map(|name| service(name)));
    let mut cluster = cluster(&objects);
    let mut witness = Witness::new("shop");
    let first = told(&mut witness, &mut cluster, Span::ZERO);
    assert_eq!(first.len(), 1);
    assert!(
        names.iter().all(|name| first[0].contains(name)),
        "{first:?}"
    );
    let now = cluster.now();
    cluster
        .apply_manifest(now, &deployment("mail", "1.1.0"))
        .unwrap();
    let lines = told(&mut witness, &mut cluster, Span::from_mins(1));
    assert_eq!(
        lines,
        [
            "mail wants 1 of shop:1.1.0, 1 ready",
            "mail: traffic to 1 of 1.1.0"
        ]
    );
    let target = "/apis/apps/v1/namespaces/shop/deployments/users";
    let now = cluster.now();
    let mut request = Request::new("DELETE", target);
    request.user_agent = "somebody/ada".to_owned();
    drop(cluster.handle(now, &request));
    let lines = told(&mut witness, &mut cluster, Span::from_mins(1));
    assert_eq!(
        lines,
        ["Deployment users is gone", "users: traffic to nothing"]
    );
}
