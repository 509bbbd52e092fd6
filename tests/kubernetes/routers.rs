//! Canaries by the routers for Istio and ingress-nginx, under the roles that are published: the cluster checks
//! what they write by the definitions of Istio's own module, and by its own of Ingresses. No mesh and no controller
//! runs, so nothing is asked of the traffic itself.

use std::process::Command;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::space::{Space, deployment};

/// Stops at a quarter of the traffic, which people must let go on. `ROUTER` is a plugin's name.
const RELEASE: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: hello}
version: \"2\"
change: minor
target:
  kubernetes: {context: test, namespace: NAMESPACE}
workload:
  deployment: hello
  container: main
  image: registry.test/hello:{version}
  service: hello
  router: {plugin: ROUTER}
gates:
  pods: {plugin: workload, policy: {interval: 1s, timeout: 10s}}
phases:
  - name: deploy
    strategy:
      plugin: canary
      gates: [pods]
      config:
        timeout: 30s
        settle: 1s
        steps:
          - setHeaderRoute: {name: team, match: [{headerName: X-Team, headerValue: {exact: hello}}]}
          - setWeight: 25
          - pause: {}
          - setWeight: 33
";

/// Whoever runs the tests answers for the people. `WHO` is their account.
const POLICY: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Policy
starterMayApprove: true
roles: {team: [WHO]}
";
const RUN: [&str; 5] = [
    "run",
    "release.yaml",
    "--policy",
    "policy.yaml",
    "--no-wait",
];

/// A workload of two pods at version 1 with its Service, and a desk whose release goes by the router.
fn prepared(space: &Space, router: &str) -> Desk {
    let hello = deployment("hello", 2, "registry.test/hello:1", &json!({}));
    space.apply(&hello).unwrap();
    space.kubectl(&["expose", "deployment", "hello", "--port=80"]);
    space.kubectl(&["rollout", "status", "deployment/hello", "--timeout=120s"]);
    let desk = Desk::of(space, &["in-place", "beside", router]);
    let release = RELEASE.replace("NAMESPACE", &space.name);
    desk.write("release.yaml", &release.replace("ROUTER", router));
    let me = Command::new("id").arg("-un").output().unwrap().stdout;
    let me = String::from_utf8(me).unwrap();
    desk.write("policy.yaml", &POLICY.replace("WHO", me.trim()));
    desk
}

fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "hello"},
        "spec": {
            "hosts": ["hello.test"],
            "http": [
                {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}},
                {"route": [{"destination": {"host": "hello"}}], "timeout": "3s"},
            ],
        },
    })
}

fn policy(host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "hello"},
        "spec": {"host": host, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}},
    })
}

fn ingress() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "hello",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"},
        },
        "spec": {"rules": [{"host": "hello.test", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "hello", "port": {"number": 80}}},
        }]}}]},
    })
}

/// The version that serves, and that nothing of the candidate's is left.
fn ended(space: &Space, image: &str) {
    let hello = space.get(&["deployment", "hello"]);
    assert_eq!(
        hello["spec"]["template"]["spec"]["containers"][0]["image"],
        image
    );
    let left = space.get(&["deployments,services,ingresses,configmaps"]);
    let left = left.to_string();
    for name in ["hello-candidate", "phasegate-claim"] {
        assert!(!left.contains(name), "{name} is left: {left}");
    }
}

#[test]
fn a_virtual_service_is_taken_read_back_and_put_back_on_either_way() {
    let space = Space::new("mesh");
    let desk = prepared(&space, "istio");
    space.apply(&virtual_service()).unwrap();
    let before = space.get(&["virtualservice", "hello"])["spec"].clone();
    for (answer, code, image) in [("abort", 1, "hello:1"), ("approve", 0, "hello:2")] {
        desk.run(&RUN).expect(5);
        let now = space.get(&["virtualservice", "hello"])["spec"].clone();
        assert_eq!(now["http"][0], before["http"][0]);
        let marked = &now["http"][1];
        assert_eq!(
            marked["match"],
            json!([{"headers": {"x-team": {"exact": "hello"}}}])
        );
        assert_eq!(
            now["http"][2],
            json!({
                "route": [
                    {"destination": {"host": "hello"}, "weight": 75},
                    {"destination": {"host": "hello-candidate"}, "weight": 25},
                ],
                "timeout": "3s",
            })
        );
        let status = desk.run(&["status"]).expect(0).stdout;
        assert!(status.contains("read back 25%"), "{status}");
        desk.run(&[answer]).expect(code);
        ended(&space, &format!("registry.test/{image}"));
        assert_eq!(space.get(&["virtualservice", "hello"])["spec"], before);
    }
}

#[test]
fn a_candidate_without_the_policy_of_its_host_is_refused_before_anything_changes() {
    let space = Space::new("mesh-policy");
    let desk = prepared(&space, "istio");
    space.apply(&virtual_service()).unwrap();
    space.apply(&policy("hello")).unwrap();
    let before = space.get(&["virtualservice", "hello"])["metadata"]["generation"].clone();
    let refused = desk.run(&RUN).expect(3);
    let told = refused.stderr;
    assert!(told.contains("DestinationRule hello"), "{told}");
    let after = space.get(&["virtualservice", "hello"])["metadata"]["generation"].clone();
    assert_eq!(before, after);
    ended(&space, "registry.test/hello:1");
    space
        .apply(&policy(&format!("*.{}.svc.cluster.local", space.name)))
        .unwrap();
    desk.run(&RUN).expect(5);
    desk.run(&["abort"]).expect(1);
}

#[test]
fn a_canary_ingress_is_taken_read_back_and_removed_on_either_way() {
    let space = Space::new("ingress");
    let desk = prepared(&space, "nginx");
    space.apply(&ingress()).unwrap();
    let own = |space: &Space| {
        let own = space.get(&["ingress", "hello"]);
        (
            own["metadata"]["resourceVersion"].clone(),
            own["spec"].clone(),
        )
    };
    let before = own(&space);
    for (answer, code, image) in [("abort", 1, "hello:1"), ("approve", 0, "hello:2")] {
        desk.run(&RUN).expect(5);
        let canary = space.get(&["ingress", "hello-candidate"]);
        let side = space.get(&["service", "hello-candidate"]);
        let owner = &canary["metadata"]["ownerReferences"][0]["uid"];
        assert_eq!(owner, &side["metadata"]["uid"]);
        let path = &canary["spec"]["rules"][0]["http"]["paths"][0];
        assert_eq!(path["backend"]["service"]["name"], "hello-candidate");
        let noted = canary["metadata"]["annotations"].as_object().unwrap();
        let noted: Vec<(&str, &str)> = noted
            .iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("nginx.ingress.kubernetes.io/")?;
                Some((name, value.as_str()?))
            })
            .collect();
        let expected = [
            ("canary", "true"),
            ("canary-by-header", "X-Team"),
            ("canary-by-header-value", "hello"),
            ("canary-weight", "25"),
        ];
        assert_eq!(noted, expected);
        let status = desk.run(&["status"]).expect(0).stdout;
        assert!(status.contains("read back 25%"), "{status}");
        desk.run(&[answer]).expect(code);
        ended(&space, &format!("registry.test/{image}"));
        assert_eq!(own(&space), before);
    }
}
