//! Copies of configurations go with the journals that know of them, and none that is in use.

use std::collections::BTreeSet;

use serde_json::json;

use crate::desk::Desk;
use crate::space::Space;
use crate::traffic::{workload, write};

const VERSIONED: &str = "\
workload:
  deployment: shop
  container: main
  image: registry.test/shop:{version}
  service: shop
  configs: [{configMap: shop-config, from: greeting}]
phases:
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
";

/// The copies that there are.
fn copies(space: &Space) -> BTreeSet<String> {
    let maps = space.get(&["configmaps", "-l", "app.kubernetes.io/managed-by=phasegate"]);
    let names = maps["items"].as_array().unwrap().iter();
    let names = names.map(|map| map["metadata"]["name"].as_str().unwrap().to_owned());
    names
        .filter(|name| name.starts_with("shop-config-pg"))
        .collect()
}

#[test]
fn copies_that_nothing_refers_to_go_with_the_journals_of_their_runs() {
    let space = Space::new("copies");
    let source = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-config"},
        "data": {"greeting": "good day"},
    });
    space.apply(&source).unwrap();
    workload(&space, "shop", None);
    // Without old ReplicaSets nobody goes back by `kubectl rollout undo`.
    let uses = json!({"spec": {"revisionHistoryLimit": 0, "template": {"spec": {"containers": [
        {"name": "main", "envFrom": [{"configMapRef": {"name": "shop-config"}}]},
    ]}}}});
    space.kubectl(&["patch", "deployment", "shop", "-p", &uses.to_string()]);
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
    let desk = Desk::admin(&space);
    write(&desk, &space, VERSIONED, "1s");
    let state = format!("kubernetes:test/{}", space.name);
    let mut made = Vec::new();
    for version in ["2", "3", "4"] {
        desk.write("greeting", &format!("hello from {version}"));
        let before = copies(&space);
        let run = [
            "--state",
            &state,
            "run",
            "release.yaml",
            "--version",
            version,
        ];
        desk.run(&run).expect(0);
        made.extend(copies(&space).difference(&before).cloned());
    }
    let [oldest, before, newest] = made.as_slice() else {
        panic!("{made:?}");
    };
    space.until("the old pods are gone", || {
        let old = space.get(&["pods,replicasets"]).to_string();
        (!old.contains(oldest) && !old.contains(before)).then_some(())
    });
    let history = |arguments: &[&str]| {
        let forget = ["--state", &state, "history"];
        desk.run(&[&forget[..], arguments].concat()).expect(0)
    };
    // The last run can go back to the copy before its own.
    let told = history(&["forget", "--keep", "1"]).stderr;
    assert!(
        told.contains(&format!("removed ConfigMap {oldest}")),
        "{told}"
    );
    assert_eq!(
        copies(&space),
        BTreeSet::from([before.clone(), newest.clone()])
    );
    // What pods are started with stays, whoever is forgotten.
    let told = history(&["forget", "--keep", "0"]).stderr;
    assert!(
        told.contains(&format!("removed ConfigMap {before}")),
        "{told}"
    );
    assert_eq!(copies(&space), BTreeSet::from([newest.clone()]));
    let template = space.get(&["deployment", "shop"]).to_string();
    assert!(template.contains(newest), "{template}");
}
