//! Manifests that a release applies beside its workload: made, changed, refused and taken back.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::space::Space;
use crate::traffic::{desk, workload, write};

const APPLYING: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: before
    steps:
      - act: {plugin: apply, manifests: {path: policies}}
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: after
    steps:
      - soak: {for: SOAK, every: 1s, gates: [pods]}
";

/// Objects whose lists are merged, whose fields have defaults, and whose numbers are written in several ways.
fn written(desk: &Desk, port: u16, quota: &str, extra: &str) {
    let service = format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: api, labels: {{team: shop}}}}
spec:
  selector: {{app: api}}
  ports:
    - {{name: http, port: {port}, targetPort: 8080}}
    - {{name: metrics, port: 9090}}
"
    );
    let quota = format!(
        "\
apiVersion: v1
kind: ResourceQuota
metadata: {{name: shop}}
spec: {{hard: {{requests.storage: {quota}}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: flags}}
data: {{checkout: 'on'{extra}}}
"
    );
    desk.write("policies/10-service.yaml", &service);
    desk.write("policies/20-quota.yaml", &quota);
}

/// Of an object, what people see of it.
fn plain(space: &Space, kind: &str, name: &str) -> Value {
    let mut object = space.get(&[kind, name]);
    let metadata = object["metadata"].as_object_mut().unwrap();
    for history in ["resourceVersion", "managedFields", "generation"] {
        metadata.remove(history);
    }
    object.as_object_mut().unwrap().remove("status");
    object
}

fn is_there(space: &Space, kind: &str, name: &str) -> bool {
    let found = space.get(&[kind, "--field-selector", &format!("metadata.name={name}")]);
    !found["items"].as_array().unwrap().is_empty()
}

#[test]
fn manifests_are_applied_changed_and_taken_back() {
    let space = Space::new("acts-apply");
    workload(&space, "shop", None);
    // Somebody keeps a flag of their own beside.
    space.kubectl(&["create", "configmap", "flags", "--from-literal=search=off"]);
    let desk = desk(&space, APPLYING, "2s");
    written(&desk, 80, "4096Mi", ", trial: 'yes'");
    let plan = desk.run(&["plan", "release.yaml"]).expect(0).stdout;
    assert!(
        plan.contains("Service api, ResourceQuota shop, ConfigMap flags"),
        "{plan}"
    );
    desk.run(&["run", "release.yaml"]).expect(0);
    let kinds = [
        ("service", "api"),
        ("resourcequota", "shop"),
        ("configmap", "flags"),
    ];
    let now = |space: &Space| kinds.map(|(kind, name)| plain(space, kind, name));
    let before = now(&space);
    assert_eq!(
        before[2]["data"],
        json!({"search": "off", "checkout": "on", "trial": "yes"})
    );
    // The same manifests again, by another version: nothing of them is written.
    let again = desk
        .run(&["run", "release.yaml", "--version", "2a"])
        .expect(0);
    let same = "will leave as it is Service api, ResourceQuota shop, ConfigMap flags";
    let told = format!("{}{}", again.stdout, again.stderr);
    assert!(told.contains(same), "{told}");
    assert_eq!(now(&space), before);
    // Another port, another number, and a flag that is no more: and all of it back.
    written(&desk, 8080, "2Gi", "");
    write(&desk, &space, APPLYING, "5m");
    let run = desk.start(&["run", "release.yaml", "--version", "3", "--output", "json"]);
    run.until("soak for 5m");
    let there = now(&space);
    let ports = there[0]["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert!(
        ports.iter().any(|port| port["port"] == 8080),
        "the old one is gone: {ports:?}"
    );
    assert_eq!(there[1]["spec"]["hard"]["requests.storage"], "2Gi");
    assert_eq!(there[2]["data"], json!({"search": "off", "checkout": "on"}));
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert_eq!(space.image("shop"), "registry.test/shop:2a");
    assert_eq!(now(&space), before);
}

#[test]
fn what_others_own_is_not_forced_and_what_they_take_is_left() {
    let space = Space::new("acts-apply-others");
    workload(&space, "shop", None);
    space.kubectl(&[
        "create",
        "configmap",
        "flags",
        "--from-literal=checkout=off",
    ]);
    let desk = desk(&space, APPLYING, "5m");
    written(&desk, 80, "4Gi", "");
    let refused = desk.run(&["run", "release.yaml"]).expect(1);
    let told = format!("{}{}", refused.stdout, refused.stderr);
    for says in [
        "ConfigMap flags isn't applied",
        "kubectl-create",
        ".data.checkout",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let left = |kind: &str, name: &str| is_there(&space, kind, name);
    assert!(!left("service", "api") && !left("resourcequota", "shop"));
    assert_eq!(
        space.get(&["configmap", "flags"])["data"]["checkout"],
        "off"
    );
    // Without that flag all is made; then somebody changes the Service, and it isn't removed.
    space.kubectl(&["delete", "configmap", "flags"]);
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    let patch = r#"{"metadata": {"labels": {"team": "theirs"}}}"#;
    space.kubectl(&["patch", "service", "api", "--type=merge", "-p", patch]);
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.until(".metadata.labels.team of Service api was changed by somebody else");
    // Whoever drives by then tells how the run ends.
    let skipped = desk.run(&["skip", "before/act-1"]).expect(1);
    let told = format!("{}{}", skipped.stdout, skipped.stderr);
    assert!(told.contains("skipped: before/act-1"), "{told}");
    run.end();
    assert!(left("service", "api"));
    assert_eq!(space.image("shop"), "registry.test/shop:1");
}

/// A CronJob, and an object of a definition that isn't Kubernetes' own.
fn of_other_kinds(schedule: &str, weight: u8) -> [Value; 2] {
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {
            "schedule": schedule, "suspend": true,
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "tidy", "image": "registry.test/tools:1", "args": ["tidy"]}],
            }}}},
        },
    });
    let to = |host: &str, weight: u8| json!({"destination": {"host": host}, "weight": weight});
    let rest = 100_u8.checked_sub(weight).unwrap();
    let mirror = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "search"},
        "spec": {"hosts": ["search"], "http": [{"route": [to("search", rest), to("search-new", weight)]}]},
    });
    [nightly, mirror]
}

fn overlay(desk: &Desk) {
    let [nightly, mirror] = of_other_kinds("0 2 * * *", 5);
    desk.write("base/nightly.yaml", &nightly.to_string());
    desk.write("base/mirror.yaml", &mirror.to_string());
    let base = json!({"resources": ["nightly.yaml", "mirror.yaml"]});
    desk.write("base/kustomization.yaml", &base.to_string());
    let later = json!([{"op": "replace", "path": "/spec/schedule", "value": "0 3 * * *"}]);
    let prod = json!({
        "resources": ["../base"],
        "patches": [{"target": {"kind": "CronJob", "name": "nightly"}, "patch": later.to_string()}],
    });
    desk.write("prod/kustomization.yaml", &prod.to_string());
}

fn chart(desk: &Desk) {
    let chart = json!({"apiVersion": "v2", "name": "beside", "version": "0.1.0"});
    desk.write("chart/Chart.yaml", &chart.to_string());
    desk.write("chart/values.yaml", "schedule: never\n");
    desk.write("prod.yaml", "schedule: '0 4 * * *'\n");
    let [nightly, mirror] = of_other_kinds("{{ .Values.schedule }}", 50);
    desk.write("chart/templates/nightly.yaml", &nightly.to_string());
    desk.write("chart/templates/mirror.yaml", &mirror.to_string());
}

#[test]
fn kinds_of_an_overlay_and_a_chart_are_applied_and_taken_back() {
    let space = Space::new("acts-apply-kinds");
    workload(&space, "shop", None);
    let kustomized = APPLYING.replace("path: policies", "kustomize: prod");
    let desk = desk(&space, &kustomized, "5m");
    overlay(&desk);
    chart(&desk);
    // Made and, after an abort, gone.
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    let schedule = |space: &Space| space.get(&["cronjob", "nightly"])["spec"]["schedule"].clone();
    assert_eq!(schedule(&space), "0 3 * * *");
    assert!(is_there(&space, "virtualservice", "search"));
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert!(!is_there(&space, "cronjob", "nightly"));
    assert!(!is_there(&space, "virtualservice", "search"));
    // Made to stay; then changed by the chart and, after an abort, as they were.
    write(&desk, &space, &kustomized, "1s");
    desk.run(&["run", "release.yaml"]).expect(0);
    let kinds = [("cronjob", "nightly"), ("virtualservice", "search")];
    let now = |space: &Space| kinds.map(|(kind, name)| plain(space, kind, name));
    let before = now(&space);
    let helm = "helm: {chart: chart, values: [prod.yaml], release: live}";
    write(
        &desk,
        &space,
        &APPLYING.replace("path: policies", helm),
        "5m",
    );
    let run = desk.start(&["run", "release.yaml", "--version", "3", "--output", "json"]);
    run.until("soak for 5m");
    assert_eq!(schedule(&space), "0 4 * * *");
    let there = now(&space);
    let weights = there[1]["spec"]["http"][0]["route"].as_array().unwrap();
    assert_eq!(weights.len(), 2, "{weights:?}");
    assert!(weights.iter().all(|to| to["weight"] == 50), "{weights:?}");
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert_eq!(now(&space), before);
}

#[test]
fn a_kind_that_is_not_served_and_one_that_its_definition_refuses_are_told() {
    let space = Space::new("acts-apply-refused");
    workload(&space, "shop", None);
    let desk = desk(&space, APPLYING, "1s");
    let flags = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"a": "b"},
    });
    desk.write("policies/10-flags.yaml", &flags.to_string());
    let unknown = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "one"},
        "spec": {"endpoints": [], "selector": {}},
    });
    let [_, mut mirror] = of_other_kinds("", 5);
    mirror["spec"]["http"][0]["route"][0]["weight"] = json!("all");
    for (object, says) in [(unknown, "ServiceMonitor one"), (mirror, "weight")] {
        desk.write("policies/20-other.yaml", &object.to_string());
        let refused = desk.run(&["run", "release.yaml"]).expect(1);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains(says), "{told}");
        assert_eq!(space.image("shop"), "registry.test/shop:1");
        assert!(!is_there(&space, "configmap", "flags"), "{told}");
    }
}
