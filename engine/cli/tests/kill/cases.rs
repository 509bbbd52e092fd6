//! What is released, and where the engine is killed meanwhile.

use serde_json::{Value, json};

/// A write of the engine whose answer is held back: the nth such request, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    method: &'static str,
    kind: &'static str,
    nth: u32,
}

impl Hold {
    const fn of(method: &'static str, kind: &'static str, nth: u32) -> Self {
        Self { method, kind, nth }
    }

    pub(crate) fn fault(self) -> Value {
        let Self { method, kind, nth } = self;
        json!({"method": method, "kind": kind, "skip": nth, "count": 1, "effect": "answerHeld"})
    }
}

const CLAIM: Hold = Hold::of("POST", "ConfigMap", 0);
const RELEASE: Hold = Hold::of("DELETE", "ConfigMap", 0);

/// The nth write to a Deployment.
const fn write(nth: u32) -> Hold {
    Hold::of("PATCH", "Deployment", nth)
}

/// The candidate's pieces come and go.
const MAKE_SERVICE: Hold = Hold::of("POST", "Service", 0);
const MAKE_DEPLOYMENT: Hold = Hold::of("POST", "Deployment", 0);
const REMOVE_DEPLOYMENT: Hold = Hold::of("DELETE", "Deployment", 0);
const REMOVE_SERVICE: Hold = Hold::of("DELETE", "Service", 0);

/// The nth shift of traffic by a route, and by the Service itself.
const fn route(nth: u32) -> Hold {
    Hold::of("PATCH", "HTTPRoute", nth)
}

const fn switch(nth: u32) -> Hold {
    Hold::of("PATCH", "Service", nth)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    strategy: &'static str,
    /// Whether a gate says no to the new version.
    pub(crate) fails: bool,
}

impl Shape {
    const fn good(strategy: &'static str) -> Self {
        let fails = false;
        Self { strategy, fails }
    }

    const fn failing(strategy: &'static str) -> Self {
        let fails = true;
        Self { strategy, fails }
    }

    /// Its release and its scenario.
    pub(crate) fn files(self) -> (String, String) {
        let (workload, gate, scale, phases, labels, more) = match self.strategy {
            "canary" => (ROUTED, "shop-candidate", "20", CANARY, "", GATEWAY),
            "blue-green" => {
                let labels = ", colour: blue";
                (COLOURED, "shop-candidate", "20", BLUE_GREEN, labels, "")
            }
            _ => ("", "shop", "40", IN_PLACE, "", ""),
        };
        let release = HEAD
            .replace("WORKLOAD", workload)
            .replace("SERVICE", gate)
            .replace("SCALE", scale);
        let release = release + &phases.replace("STRATEGY", self.strategy);
        (release, WORLD.replace("LABELS", labels) + more)
    }

    /// The number of the first write of the way back in place; none is on it where all goes well.
    fn first_write_back(self) -> Option<u32> {
        let forward = if self.strategy == "recreate" { 2 } else { 1 };
        self.fails.then_some(forward)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) shape: Shape,
    pub(crate) holds: Vec<Hold>,
    /// Kill the first engine after so many lines of its story.
    pub(crate) after_lines: Option<usize>,
}

impl Case {
    /// Nothing is killed.
    pub(crate) const fn calm(shape: Shape) -> Self {
        Self {
            shape,
            holds: Vec::new(),
            after_lines: None,
        }
    }

    fn held(shape: Shape, holds: &[Hold]) -> Self {
        Self {
            holds: holds.to_vec(),
            ..Self::calm(shape)
        }
    }

    /// How often the engine is killed, if it isn't quicker than the test.
    pub(crate) fn kills(&self) -> usize {
        self.holds.len() + usize::from(self.after_lines.is_some())
    }
}

/// The new version takes the old one's place in its own Deployment.
pub(crate) fn in_place() -> Vec<Case> {
    let rolling = Shape::good("rolling");
    let recreate = Shape::good("recreate");
    let rolling_back = Shape::failing("rolling");
    let recreate_back = Shape::failing("recreate");
    let held = Case::held;
    let mut cases = Vec::new();
    for hold in [CLAIM, write(0), write(1), RELEASE] {
        cases.push(held(rolling, &[hold]));
    }
    cases.push(held(rolling, &[CLAIM, write(0)]));
    cases.push(held(rolling, &[write(0), write(1)]));
    cases.push(held(rolling, &[CLAIM, write(0), write(1), RELEASE]));
    for hold in [CLAIM, write(0), write(1), write(2), RELEASE] {
        cases.push(held(recreate, &[hold]));
    }
    cases.push(held(
        recreate,
        &[CLAIM, write(0), write(1), write(2), RELEASE],
    ));
    for shape in [rolling_back, recreate_back] {
        let back = shape.first_write_back().expect("it goes back");
        let (restore, unmark) = (write(back), write(back + 1));
        for hold in [restore, unmark, RELEASE] {
            cases.push(held(shape, &[hold]));
            // The run was resumed once, on its way forward.
            cases.push(held(shape, &[write(0), hold]));
        }
        cases.push(held(shape, &[restore, unmark, RELEASE]));
        cases.push(held(shape, &[CLAIM, restore, unmark]));
        cases.push(held(shape, &[CLAIM, write(0), restore, unmark, RELEASE]));
    }
    // Any other moment.
    for (shape, from) in [
        (rolling, 3),
        (recreate, 4),
        (rolling_back, 5),
        (recreate_back, 6),
    ] {
        for nth in 0..3 {
            cases.push(Case {
                after_lines: Some(from + 7 * nth),
                ..Case::calm(shape)
            });
        }
    }
    cases
}

/// The new version comes beside the old one: a canary by weight, and blue-green.
pub(crate) fn beside() -> Vec<Case> {
    let canary = Shape::good("canary");
    let canary_back = Shape::failing("canary");
    let blue_green = Shape::good("blue-green");
    let blue_green_back = Shape::failing("blue-green");
    let held = Case::held;
    // Half of the traffic, all of it, and none once stable has the new version; writes to Deployments are
    // the candidate's growth, stable's new version, and the marks that come off.
    let mut cases = vec![
        held(canary, &[MAKE_DEPLOYMENT]),
        held(canary, &[route(0)]),
        held(canary, &[write(1), REMOVE_DEPLOYMENT]),
        held(canary, &[route(1), route(2)]),
        held(
            canary,
            &[
                CLAIM,
                MAKE_SERVICE,
                MAKE_DEPLOYMENT,
                route(0),
                write(0),
                route(1),
                write(1),
                route(2),
                REMOVE_DEPLOYMENT,
                REMOVE_SERVICE,
                write(2),
                RELEASE,
            ],
        ),
    ];
    // Back from half of the traffic: the second shift is the way back's.
    for holds in [
        &[route(1)][..],
        &[REMOVE_DEPLOYMENT],
        &[REMOVE_SERVICE, RELEASE],
        &[route(0), route(1)],
        &[MAKE_DEPLOYMENT, REMOVE_DEPLOYMENT],
        &[
            CLAIM,
            route(0),
            route(1),
            REMOVE_DEPLOYMENT,
            REMOVE_SERVICE,
            RELEASE,
        ],
    ] {
        cases.push(held(canary_back, holds));
    }
    cases.push(held(
        blue_green,
        &[
            CLAIM,
            MAKE_DEPLOYMENT,
            switch(0),
            write(0),
            write(1),
            write(2),
            RELEASE,
        ],
    ));
    cases.push(held(
        blue_green_back,
        &[switch(0), switch(1), REMOVE_DEPLOYMENT, RELEASE],
    ));
    cases
}

/// Times that an engine is held to are long: they pass twenty and forty times as fast as the machine's own.
const HEAD: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: "2.0.0"
change: patch
target: {simulated: {scenario: scenario.yaml, scale: SCALE}}
namespace: shop
workload: {deployment: shop, container: app, image: "registry.example/shop:{version}", service: shopWORKLOAD}
gates:
  pods: {plugin: workload, policy: {interval: 5s, timeout: 1m, errorLimit: 50}}
  database:
    plugin: http
    config: {url: "http://SERVICE.shop.svc/health/db", timeout: 30s}
    policy: {interval: 5s, timeout: 1m, errorLimit: 50}
rollback: {stepTimeout: 1h}
phases:
"#;

const IN_PLACE: &str = r#"  - {name: deploy, strategy: {plugin: STRATEGY, gates: [pods]}}
  - name: verify
    steps:
      - check: [database]
      - soak: {for: 10s, every: 5s, gates: [pods]}
"#;

const CANARY: &str = r#"  - name: deploy
    strategy:
      plugin: canary
      gates: [pods, database]
      config: {weights: [50, 100], soak: 5s, every: 5s, settle: 2s, timeout: 1h}
"#;
const ROUTED: &str = ", router: {plugin: gateway-api}";

const BLUE_GREEN: &str = r#"  - name: deploy
    strategy:
      plugin: blue-green
      gates: [pods, database]
      config: {previewGates: [pods], stableFor: 10s, every: 5s, settle: 2s, timeout: 1h}
"#;
const COLOURED: &str = ", colours: {label: colour}, router: {plugin: service-selector}";

const WORLD: &str = r#"apiVersion: phasegate.dev/v1alpha1
kind: Scenario
cluster:
  objects:
    - apiVersion: v1
      kind: Namespace
      metadata: {name: shop}
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: shop, namespace: shop}
      spec:
        replicas: 3
        selector: {matchLabels: {app: shopLABELS}}
        template:
          metadata: {labels: {app: shopLABELS}}
          spec:
            containers:
              - {name: app, image: "registry.example/shop:1.0.0", ports: [{containerPort: 8080}]}
    - apiVersion: v1
      kind: Service
      metadata: {name: shop, namespace: shop}
      spec: {selector: {app: shopLABELS}, ports: [{port: 80, targetPort: 8080}]}
"#;

const GATEWAY: &str = r#"    - apiVersion: gateway.networking.k8s.io/v1
      kind: Gateway
      metadata: {name: edge, namespace: shop}
      spec:
        gatewayClassName: simulated
        listeners: [{name: http, port: 80, protocol: HTTP}]
    - apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: shop, namespace: shop}
      spec:
        parentRefs: [{name: edge}]
        rules: [{backendRefs: [{name: shop, port: 80}]}]
"#;
