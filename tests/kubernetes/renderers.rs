//! Versions that come from an overlay of Kustomize's and from a chart of Helm's, made by the programs themselves.

use std::path::Path;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::space::Space;
use crate::traffic::{ROLLING, workload, write};

/// The workload as a manifest, with a variable that the overlay and the chart set.
fn manifest(greeting: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{
                    "name": "main", "image": "registry.test/shop:of-the-manifest",
                    "env": [{"name": "GREETING", "value": greeting}],
                }]},
            },
        },
    })
}

fn told(space: &Space) -> Value {
    let deployment = space.get(&["deployment", "shop"]);
    deployment["spec"]["template"]["spec"]["containers"][0]["env"].clone()
}

fn release(desk: &Desk, space: &Space, manifests: &str, soak: &str) {
    let with = format!("service: shop, manifests: {{{manifests}}}}}");
    write(desk, space, &ROLLING.replace("service: shop}", &with), soak);
}

fn kustomize(desk: &Desk) {
    desk.write("base/deployment.yaml", &manifest("of the base").to_string());
    let base = json!({"resources": ["deployment.yaml"]});
    desk.write("base/kustomization.yaml", &base.to_string());
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "beside"}, "spec": {"ports": [{"port": 80}]},
    });
    desk.write("prod/service.yaml", &service.to_string());
    let patch = json!([{
        "op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "of the overlay",
    }]);
    let overlay = json!({
        "resources": ["../base", "service.yaml"],
        "patches": [{"target": {"kind": "Deployment", "name": "shop"}, "patch": patch.to_string()}],
    });
    desk.write("prod/kustomization.yaml", &overlay.to_string());
}

fn helm(desk: &Desk) {
    let chart = json!({"apiVersion": "v2", "name": "shop", "version": "0.1.0"});
    desk.write("chart/Chart.yaml", &chart.to_string());
    desk.write("chart/values.yaml", "greeting: of the chart\n");
    desk.write("prod.yaml", "greeting: of production\n");
    let template = manifest("{{ .Values.greeting }} by {{ .Release.Name }}").to_string();
    desk.write("chart/templates/deployment.yaml", &template);
}

#[test]
fn an_overlay_and_a_chart_are_rendered_released_and_taken_back() {
    let space = Space::new("renderers");
    workload(&space, "shop", None);
    let desk = Desk::admin(&space);
    kustomize(&desk);
    helm(&desk);
    release(&desk, &space, "kustomize: prod", "1s");
    let plan = desk.run(&["plan", "release.yaml"]).expect(0);
    assert!(plan.stdout.contains("beside"), "{}", plan.stdout);
    desk.run(&["run", "release.yaml"]).expect(0);
    assert_eq!(
        told(&space),
        json!([{"name": "GREETING", "value": "of the overlay"}])
    );
    assert_eq!(space.image("shop"), "registry.test/shop:2");

    let chart = "helm: {chart: chart, values: [prod.yaml], release: live}";
    release(&desk, &space, chart, "5m");
    let run = desk.start(&["run", "release.yaml", "--version", "3", "--output", "json"]);
    run.until("soak for 5m");
    let by_chart = json!([{"name": "GREETING", "value": "of production by live"}]);
    assert_eq!(told(&space), by_chart);
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert_eq!(
        told(&space),
        json!([{"name": "GREETING", "value": "of the overlay"}])
    );
    assert_eq!(space.image("shop"), "registry.test/shop:2");
}

#[test]
fn what_the_programs_complain_about_is_told() {
    let space = Space::new("renderers-told");
    workload(&space, "shop", None);
    let desk = Desk::admin(&space);
    helm(&desk);
    desk.write(
        "chart/templates/deployment.yaml",
        "{{ .Values.greeting | nosuch }}",
    );
    for (manifests, complaint) in [
        ("kustomize: nowhere", "nowhere"),
        ("helm: {chart: chart}", "nosuch"),
    ] {
        release(&desk, &space, manifests, "1s");
        let refused = desk.run(&["plan", "release.yaml"]).expect(3);
        let told = &refused.stderr;
        assert!(
            told.contains("PG0423") && told.contains(complaint),
            "{told}"
        );
    }
    assert!(Path::new(&desk.state()).join("runs").read_dir().is_err());
}
