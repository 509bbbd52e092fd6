//! Copies of configurations go with the journals that know of them, and none that is in use.

use std::collections::BTreeSet;

use serde_json::json;

use crate::desk::Desk;
use crate::rights_away::{bind, each_is_needed, publish};
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
rollback: {keep: 1s}
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
    let (space, journal) = (Space::new("copies"), Space::new("copies-journal"));
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
    let state = format!("kubernetes:test/{}", journal.name);
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
        if version == "2" {
            // Somebody leads the pods back by hand: no later run owes the removal of that copy.
            let plain = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/envFrom", "value": [
                {"configMapRef": {"name": "shop-config"}},
            ]}]);
            let plain = plain.to_string();
            space.kubectl(&["patch", "deployment", "shop", "--type=json", "-p", &plain]);
            space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
        }
    }
    let [oldest, before, newest] = made.as_slice() else {
        panic!("{made:?}");
    };
    space.until("the old pods are gone", || {
        let old = space.get(&["pods,replicasets"]).to_string();
        (!old.contains(oldest) && !old.contains(before)).then_some(())
    });
    // Whoever forgets has the roles for it and nothing else.
    let forgets = Desk::of(&space, &[]);
    let account = format!("{}:deployer", space.name);
    publish(&journal);
    bind(&journal, "forget", &account);
    publish(&space);
    bind(&space, "old-copies", &account);
    let forget = |keep| ["--state", &state, "history", "forget", "--keep", keep];
    each_is_needed(&space, "old-copies", &forgets, &forget("1"));
    assert_eq!(copies(&space).len(), 3);
    // The last run can go back to the copy before its own.
    let told = forgets.run(&forget("1")).expect(0).stderr;
    let removed = format!("removed ConfigMap {oldest}");
    assert!(told.contains(&removed), "{told}");
    let left = BTreeSet::from([before.clone(), newest.clone()]);
    assert_eq!(copies(&space), left);
    // A run that owes the removal of its old copy isn't forgotten before that is done.
    let told = forgets.run(&forget("0")).expect(0).stderr;
    assert!(told.contains("owes something, and stays"), "{told}");
    assert_eq!(copies(&space), left);
    desk.run(&["--state", &state, "due", "meet"]).expect(0);
    assert_eq!(copies(&space), BTreeSet::from([newest.clone()]));
    // What pods are started with stays, whoever is forgotten.
    forgets.run(&forget("0")).expect(0);
    assert_eq!(copies(&space), BTreeSet::from([newest.clone()]));
    let template = space.get(&["deployment", "shop"]).to_string();
    assert!(template.contains(newest), "{template}");
}
