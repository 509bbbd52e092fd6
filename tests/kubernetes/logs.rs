//! What pods have said, and what is done in them.

use serde_json::json;

use crate::space::{Space, deployment, first};

#[test]
fn logs_are_the_clusters_or_the_pods_own() {
    let space = Space::new("logs");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.log");
    let lines = "2026-01-01T00:00:00.000000000Z stdout F starting\n\
                 2026-01-01T00:00:01.000000000Z stderr F no database\n";
    std::fs::write(&file, lines).unwrap();
    let annotations = json!({
        "test.phasegate.dev/log.2": file,
        "test.phasegate.dev/fate.2": "crash",
    });
    let shop = deployment("shop", 1, "registry.test/shop:1", &annotations);
    space.apply(&shop).unwrap();
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
    // kwok hears of its own objects a little later than of pods.
    let said = |arguments: &[&str], wanted: &str| {
        space.until(&format!("kubectl {arguments:?} prints {wanted:?}"), || {
            (space.run(arguments, None).ok()? == wanted).then_some(())
        });
    };
    said(&["logs", "deployment/shop"], "ready to serve\n");

    space.ships("2");
    let pod = space.until_waits("CrashLoopBackOff");
    let name = pod["metadata"]["name"].as_str().unwrap();
    assert_eq!(first(&pod)["image"], "registry.test/shop:2");
    said(&["logs", name], "starting\nno database\n");
    said(&["logs", name, "--previous"], "starting\nno database\n");
    said(&["logs", name, "--tail=1"], "no database\n");
}

#[test]
fn what_is_done_in_a_pod_is_done_here_where_a_test_allows_it() {
    let space = Space::new("exec");
    let annotations = json!({});
    let shop = deployment("shop", 1, "registry.test/shop:1", &annotations);
    space.apply(&shop).unwrap();
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
    let echo = ["exec", "deployment/shop", "--", "echo", "hello"];
    space.run(&echo, None).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let allowed = json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterExec",
        "metadata": {"name": space.name},
        "spec": {
            "selector": {"matchNamespaces": [space.name]},
            "execs": [{"local": {"workDir": folder.path()}}],
        },
    });
    space.apply(&allowed).unwrap();
    let said = space.until("it is done", || space.run(&echo, None).ok());
    assert_eq!(said, "hello\n");
    space.kubectl(&["delete", "clusterexec", &space.name]);
}
