use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use serde_json::Value;

use super::*;
use crate::scenario;

mod prometheus;

/// Two versions of `shop` behind a route that sends three of four requests to the first.
const WORLD: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Scenario
cluster:
  objects:
    - apiVersion: gateway.networking.k8s.io/v1
      kind: Gateway
      metadata: {name: public, namespace: shop}
      spec: {gatewayClassName: simulated, listeners: [{name: http, port: 80, protocol: HTTP}]}
    - apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: shop, namespace: shop}
      spec:
        parentRefs: [{name: public}]
        hostnames: [shop.example, '*.shop.example']
        rules:
          - matches: [{path: {value: /shop}}]
            backendRefs: [{name: shop, port: 80, weight: 3}, {name: candidate, port: 80, weight: 1}]
          - matches: [{path: {value: /shop}, headers: [{name: x-canary, value: always}]}]
            backendRefs: [{name: candidate, port: 80}]
          - matches: [{path: {value: /none}}]
            backendRefs: [{name: empty, port: 80}]
          - matches: [{path: {value: /gone}}]
            backendRefs: [{name: nowhere, port: 80}]
          - matches: [{path: {value: /weightless}}]
            backendRefs: [{name: shop, port: 80, weight: 0}]
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: shop, namespace: shop}
      spec:
        selector: {matchLabels: {app: shop}}
        template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: app, image: 'r/shop:1.0.0'}]}}
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: candidate, namespace: shop}
      spec:
        selector: {matchLabels: {app: candidate}}
        template: {metadata: {labels: {app: candidate}}, spec: {containers: [{name: app, image: 'r/shop:1.1.0'}]}}
    - apiVersion: v1
      kind: Service
      metadata: {name: shop, namespace: shop}
      spec: {selector: {app: shop}, ports: [{port: 80}]}
    - apiVersion: v1
      kind: Service
      metadata: {name: candidate, namespace: shop}
      spec: {selector: {app: candidate}, ports: [{port: 80}]}
    - apiVersion: v1
      kind: Service
      metadata: {name: empty, namespace: shop}
      spec: {selector: {app: empty}, ports: [{port: 80}]}
";

struct World {
    cluster: Cluster,
    web: Web,
}

impl World {
    fn new(more: &str) -> Self {
        let text = format!("{WORLD}{more}");
        let loaded = scenario::load("s.yaml", text.as_bytes()).unwrap();
        Self {
            cluster: loaded.scenario.cluster(1).unwrap(),
            web: Web::new(&loaded.scenario),
        }
    }

    fn ask(&mut self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let request = HttpRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: headers.iter().map(|(n, v)| Pair::new(*n, *v)).collect(),
            body: None,
            timeout: Span::from_secs(5),
            max_body: 1 << 20,
        };
        self.web.answer(&self.cluster, &request)
    }

    /// The status, and the version that answered.
    fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
        match self.ask(url, headers) {
            Answer::Response(response, _) => {
                let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
                let version = body["version"].as_str().unwrap_or_default();
                (response.status, version.to_owned())
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[test]
fn a_host_of_a_route_is_answered_by_its_backends_in_turn_and_by_weight() {
    let mut world = World::new("");
    let answers: Vec<String> = (0..8)
        .map(|_| world.get("http://shop.example/shop/version", &[]).1)
        .collect();
    let of = |version: &str| answers.iter().filter(|answer| *answer == version).count();
    assert_eq!((of("1.0.0"), of("1.1.0")), (6, 2), "{answers:?}");
    assert!(
        answers[..4].contains(&"1.1.0".to_owned()),
        "every fourth, not the last two: {answers:?}"
    );
    let canary = [("X-Canary", "always")];
    for _ in 0..3 {
        let (status, version) = world.get("http://eu.shop.example/shop", &canary);
        assert_eq!((status, version.as_str()), (200, "1.1.0"));
    }
}

#[test]
fn a_gateway_says_what_it_can_not_do() {
    let mut world = World::new("");
    for (path, status) in [
        ("/other", 404),
        ("/none", 503),
        ("/gone", 500),
        ("/weightless", 500),
    ] {
        let (found, _) = world.get(&format!("http://shop.example{path}"), &[]);
        assert_eq!(found, status, "{path}");
    }
    assert!(matches!(
        world.ask("http://other.example/shop", &[]),
        Answer::Error(HttpError::Unreachable(_))
    ));
    // A Service by its own name has nobody in front of it who could answer.
    assert!(matches!(
        world.ask("http://empty.shop.svc/", &[]),
        Answer::Error(HttpError::Unreachable(_))
    ));
}

#[test]
fn a_rule_for_a_version_strikes_where_the_route_leads_to_it() {
    let mut world = World::new("http:\n  - {host: shop.example, version: 1.1.0, status: 418}\n");
    let found: Vec<u16> = (0..4)
        .map(|_| world.get("http://shop.example/shop", &[]).0)
        .collect();
    assert_eq!(found.iter().filter(|status| **status == 418).count(), 1);
    assert_eq!(world.get("http://shop.example/none", &[]).0, 503);
}
