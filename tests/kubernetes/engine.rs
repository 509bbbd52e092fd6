//! Releases on the cluster, by the program as people start it.

use serde_json::{Value, json};

use crate::desk::{Desk, IN_PLACE};
use crate::space::{Space, deployment};

/// A release in place. `SERVER` is the API server, which a gate asks through TLS.
const RELEASE: &str = "\
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: hello}
version: \"2\"
change: minor
target:
  kubernetes: {context: CONTEXT, namespace: NAMESPACE}
workload:
  deployment: hello
  container: main
  image: registry.test/hello:{version}
  service: hello
gates:
  pods: {plugin: workload, policy: {interval: 1s, timeout: 10s}}
  api: {plugin: http, config: {url: SERVER/readyz}, policy: {interval: 1s, timeout: 10s}}
phases:
  - name: deploy
    strategy: {plugin: rolling, config: {timeout: 20s}, gates: [pods]}
  - name: verify
    steps:
      - check: [pods, api]
      - soak: {for: 3s, every: 1s, gates: [pods]}
";

/// A workload of two pods at version 1, whose pods are told how to behave.
fn workload(space: &Space, annotations: &Value) {
    let hello = deployment("hello", 2, "registry.test/hello:1", annotations);
    space.apply(&hello).unwrap();
    space.kubectl(&["expose", "deployment", "hello", "--port=80"]);
    space.kubectl(&["rollout", "status", "deployment/hello", "--timeout=120s"]);
}

fn release(space: &Space, desk: &Desk, context: &str) {
    let text = RELEASE.replace("NAMESPACE", &space.name);
    let text = text.replace("CONTEXT", context);
    desk.write("release.yaml", &text.replace("SERVER", &desk.server()));
}

/// The image that is wanted, and that every pod has which isn't on its way out.
fn settled(space: &Space, image: &str) {
    let hello = space.get(&["deployment", "hello"]);
    let of = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
    assert_eq!(of(&hello["spec"]["template"]), image);
    let pods = space.pods();
    let there: Vec<&Value> = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    assert_eq!(there.len(), 2, "{pods:?}");
    assert!(there.iter().all(|pod| of(pod) == image), "{pods:?}");
    assert_eq!(hello["status"]["readyReplicas"], 2);
    // Nothing of the run's stays on the target, nor holds it.
    let marks = hello["metadata"]["annotations"].to_string();
    assert!(!marks.contains("phasegate.dev/"), "{marks}");
    let claims = space.get(&["configmaps"]).to_string();
    assert!(!claims.contains("phasegate-claim"), "{claims}");
}

#[test]
fn a_release_succeeds_with_the_rights_that_are_documented_and_no_others() {
    let space = Space::new("engine");
    workload(&space, &json!({}));
    let desk = Desk::of(&space, IN_PLACE);
    release(&space, &desk, "test");
    desk.run(&["validate", "release.yaml"]).expect(0);
    let well = desk.run(&["doctor", "release.yaml"]).expect(0).stdout;
    assert!(well.contains(&desk.server()), "{well}");
    desk.run(&["plan", "release.yaml"]).expect(0);
    desk.run(&["run", "release.yaml"]).expect(0);
    settled(&space, "registry.test/hello:2");

    let target = format!("test/{}/hello", space.name);
    let free = desk.run(&["lock", "show", &target]).expect(0).stdout;
    assert!(free.contains("free"), "{free}");
    let runs = desk.run(&["--output", "json", "history"]).expect(0).stdout;
    assert!(runs.contains("hello-"), "{runs}");
    desk.run(&["due"]).expect(0);
}

#[test]
fn a_version_that_can_not_be_pulled_is_taken_back() {
    let space = Space::new("unpullable");
    workload(&space, &json!({"test.phasegate.dev/fate.2": "image-pull"}));
    let desk = Desk::of(&space, IN_PLACE);
    release(&space, &desk, "test");
    let back = desk.run(&["run", "release.yaml"]).expect(1);
    assert!(
        back.stdout.contains("ImagePullBackOff") || back.stdout.contains("ErrImagePull"),
        "{}",
        back.stdout
    );
    settled(&space, "registry.test/hello:1");
}

#[test]
fn who_may_not_patch_deployments_is_told_so_before_anything_is_changed() {
    let space = Space::new("needed-rights");
    workload(&space, &json!({}));
    let desk = Desk::of(&space, IN_PLACE);
    let less = r#"[{"op": "replace", "path": "/rules/0/verbs", "value": ["get"]}]"#;
    space.kubectl(&[
        "patch",
        "role",
        "phasegate-in-place",
        "--type=json",
        "-p",
        less,
    ]);
    release(&space, &desk, "test");
    let before = space.get(&["deployment", "hello"])["metadata"].clone();
    for command in ["plan", "run"] {
        let refused = desk.run(&[command, "release.yaml"]).expect(3).stderr;
        let missing = format!(
            "patch deployments.apps `hello` in namespace `{}`",
            space.name
        );
        assert!(refused.contains("PG0414"), "{refused}");
        assert!(refused.contains(&missing), "{refused}");
        assert!(!refused.contains("get deployments.apps"), "{refused}");
    }
    let after = space.get(&["deployment", "hello"])["metadata"].clone();
    assert_eq!(before["generation"], after["generation"]);
    assert_eq!(before["annotations"], after["annotations"]);
    let left = space.get(&["configmaps,leases"]).to_string();
    assert!(!left.contains("phasegate"), "{left}");
}

#[test]
fn what_is_in_the_way_of_a_cluster_is_told_with_a_code() {
    let space = Space::new("connect");
    let desk = Desk::with_token(&space, "planted-and-expired");
    release(&space, &desk, "test");
    let refused = desk.run(&["plan", "release.yaml"]).expect(3).stderr;
    assert!(refused.contains("PG0412"), "{refused}");
    assert!(!refused.contains("planted"), "{refused}");

    release(&space, &desk, "tset");
    let unknown = desk.run(&["plan", "release.yaml"]).expect(2).stderr;
    assert!(unknown.contains("PG0411"), "{unknown}");
    assert!(unknown.contains("did you mean `test`?"), "{unknown}");

    release(&space, &desk, "test");
    desk.edit_cluster("tls-server-name", Some("elsewhere.test"));
    let untrusted = desk.run(&["plan", "release.yaml"]).expect(3).stderr;
    assert!(untrusted.contains("PG0413"), "{untrusted}");

    desk.edit_cluster("tls-server-name", None);
    desk.edit_cluster("server", Some("https://127.0.0.1:1"));
    let gone = desk.run(&["plan", "release.yaml"]).expect(3).stderr;
    assert!(gone.contains("PG0403"), "{gone}");
}
