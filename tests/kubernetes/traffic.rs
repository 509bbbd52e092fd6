//! Releases under the eyes of customers: none is turned away, on the way forward and on the way back.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::space::{Space, deployment};

/// What every release here has. `BODY` is the workload and the phases.
const HEAD: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: \"2\"
change: minor
target:
  kubernetes: {context: test, namespace: NAMESPACE}
gates:
  pods: {plugin: workload, policy: {interval: 1s, timeout: 10s}}
";

pub(crate) const ROLLING: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: verify
    steps: [{soak: {for: SOAK, every: 1s, gates: [pods]}}]
";

pub(crate) const BLUE_GREEN: &str = "\
workload:
  deployment: shop
  colours: {label: colour, values: [blue, green]}
  container: main
  image: registry.test/shop:{version}
  service: shop
  router: {plugin: service-selector}
phases:
  - name: deploy
    strategy:
      plugin: blue-green
      gates: [pods]
      config: {previewGates: [pods], settle: 1s, stableFor: SOAK, every: 1s, keep: 1h}
";

pub(crate) const CANARY: &str = "\
workload:
  deployment: shop
  container: main
  image: registry.test/shop:{version}
  service: shop
  router: {plugin: gateway-api}
phases:
  - name: deploy
    strategy:
      plugin: canary
      gates: [pods]
      config:
        settle: 1s
        steps:
          - check: [pods]
          - setWeight: 10
          - pause: {duration: 2s}
          - setWeight: 50
          - pause: {duration: SOAK}
          - setWeight: 100
          - pause: {duration: 2s}
";

/// Pods take a while to be ready and to stop, longer than the data plane takes to follow.
fn annotations() -> Value {
    json!({"test.phasegate.dev/ready-after": "300ms", "test.phasegate.dev/stops-after": "1s"})
}

/// A workload of four pods at version 1, which customers reach through its Service.
pub(crate) fn workload(space: &Space, name: &str, colour: Option<&str>) {
    workload_with(space, name, colour, &json!({}));
}

/// The same, of pods that ask for these resources.
pub(crate) fn workload_with(space: &Space, name: &str, colour: Option<&str>, resources: &Value) {
    let mut shop = deployment(name, 4, "registry.test/shop:1", &annotations());
    let mut labels = json!({"app": "shop"});
    if let Some(colour) = colour {
        labels["colour"] = json!(colour);
    }
    shop["spec"]["selector"]["matchLabels"] = labels.clone();
    shop["spec"]["template"]["metadata"]["labels"] = labels.clone();
    shop["spec"]["template"]["spec"]["containers"][0]["resources"] = resources.clone();
    space.apply(&shop).unwrap();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    space.apply(&service).unwrap();
    let name = format!("deployment/{name}");
    space.kubectl(&["rollout", "status", &name, "--timeout=120s"]);
}

pub(crate) fn route(space: &Space) {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}],
        },
    });
    space.apply(&route).unwrap();
}

pub(crate) fn desk(space: &Space, body: &str, soak: &str) -> Desk {
    let desk = Desk::admin(space);
    write(&desk, space, body, soak);
    desk
}

/// Writes the release.
pub(crate) fn write(desk: &Desk, space: &Space, body: &str, soak: &str) {
    let text = format!("{HEAD}{body}").replace("NAMESPACE", &space.name);
    desk.write("release.yaml", &text.replace("SOAK", soak));
}

/// The release runs to its end.
fn forward(space: &Space, body: &str, door: Door) {
    let desk = desk(space, body, "3s");
    let plane = Plane::new(desk.kubeconfig(), &space.name, door);
    desk.run(&["run", "release.yaml"]).expect(0);
    plane.end().served_by(&["1", "2"]);
}

/// Somebody aborts once the new version serves customers.
fn back(space: &Space, body: &str, door: Door) {
    let desk = desk(space, body, "5m");
    let plane = Plane::new(desk.kubeconfig(), &space.name, door);
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    plane.end().served_by(&["1", "2"]);
}

/// Else the tests below would show nothing.
#[test]
fn customers_notice_when_nobody_serves() {
    let space = Space::new("traffic-none");
    workload(&space, "shop", None);
    let desk = Desk::admin(&space);
    let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Service("shop"));
    space.kubectl(&["scale", "deployment", "shop", "--replicas=0"]);
    space.until("the pods are gone", || {
        space.pods().is_empty().then_some(())
    });
    let tally = plane.end();
    assert!(tally.failures > 0, "{tally:#?}");
    assert!(tally.answers["1"] > 0, "{tally:#?}");
}

#[test]
fn rolling_turns_no_customer_away() {
    let space = Space::new("traffic-rolling");
    workload(&space, "shop", None);
    forward(&space, ROLLING, Door::Service("shop"));
    assert_eq!(space.image("shop"), "registry.test/shop:2");
}

#[test]
fn rolling_back_turns_no_customer_away() {
    let space = Space::new("traffic-rolling-back");
    workload(&space, "shop", None);
    back(&space, ROLLING, Door::Service("shop"));
    assert_eq!(space.image("shop"), "registry.test/shop:1");
}

#[test]
fn blue_green_turns_no_customer_away() {
    let space = Space::new("traffic-green");
    workload(&space, "shop-blue", Some("blue"));
    forward(&space, BLUE_GREEN, Door::Service("shop"));
    assert_eq!(space.image("shop-green"), "registry.test/shop:2");
}

#[test]
fn blue_green_goes_back_and_turns_no_customer_away() {
    let space = Space::new("traffic-blue");
    workload(&space, "shop-blue", Some("blue"));
    back(&space, BLUE_GREEN, Door::Service("shop"));
    space.only(&["shop-blue"]);
}

#[test]
fn a_canary_turns_no_customer_away() {
    let space = Space::new("traffic-canary");
    workload(&space, "shop", None);
    route(&space);
    forward(&space, CANARY, Door::Route("shop"));
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
}

#[test]
fn a_canary_goes_back_and_turns_no_customer_away() {
    let space = Space::new("traffic-canary-back");
    workload(&space, "shop", None);
    route(&space);
    back(&space, CANARY, Door::Route("shop"));
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    space.only(&["shop"]);
}
