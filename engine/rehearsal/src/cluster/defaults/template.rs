//! Defaults of pods and of the templates they are made from.

use serde_json::{Value, json};

use crate::cluster::json::{at, list_mut, set_default, slot, text};

/// The mode of files in volumes, `0644`.
const FILE_MODE: u32 = 420;

pub(super) fn pod_spec(spec: &mut Value, restart: &str) {
    set_default(spec, &["restartPolicy"], restart);
    set_default(spec, &["terminationGracePeriodSeconds"], 30);
    set_default(spec, &["dnsPolicy"], "ClusterFirst");
    set_default(spec, &["schedulerName"], "default-scheduler");
    set_default(spec, &["securityContext"], json!({}));
    for field in ["containers", "initContainers"] {
        each(spec, &[field], container);
    }
    each(spec, &["volumes"], volume);
}

/// Does something with each object of a list, if there is one.
fn each(value: &mut Value, path: &[&str], act: fn(&mut Value)) {
    if !at(value, path).is_array() {
        return;
    }
    for item in list_mut(value, path) {
        if item.is_object() {
            act(item);
        }
    }
}

fn container(container: &mut Value) {
    let image = text(container, &["image"]);
    let last = image.rsplit('/').next().unwrap_or_default();
    let moving = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    let policy = if moving { "Always" } else { "IfNotPresent" };
    set_default(container, &["imagePullPolicy"], policy);
    set_default(
        container,
        &["terminationMessagePath"],
        "/dev/termination-log",
    );
    set_default(container, &["terminationMessagePolicy"], "File");
    set_default(container, &["resources"], json!({}));
    each(container, &["ports"], |port| {
        set_default(port, &["protocol"], "TCP");
    });
    each(container, &["env"], |variable| {
        field_ref(variable, &["valueFrom", "fieldRef"]);
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if at(container, &[name]).is_object() {
            probe(slot(container, &[name]));
        }
    }
    for name in ["postStart", "preStop"] {
        http_get(container, &["lifecycle", name, "httpGet"]);
    }
}

fn probe(probe: &mut Value) {
    for (field, number) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        set_default(probe, &[field], number);
    }
    http_get(probe, &["httpGet"]);
}

fn http_get(value: &mut Value, path: &[&str]) {
    if at(value, path).is_object() {
        let request = slot(value, path);
        set_default(request, &["path"], "/");
        set_default(request, &["scheme"], "HTTP");
    }
}

fn field_ref(value: &mut Value, path: &[&str]) {
    if at(value, path).is_object() {
        set_default(slot(value, path), &["apiVersion"], "v1");
    }
}

fn volume(volume: &mut Value) {
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if at(volume, &[source]).is_object() {
            set_default(volume, &[source, "defaultMode"], FILE_MODE);
        }
    }
    each(volume, &["downwardAPI", "items"], |item| {
        field_ref(item, &["fieldRef"]);
    });
}
