//! What tells clients which kinds there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kinds::{Info, KINDS};
use super::request::{Answer, Request};

/// The Kubernetes version that the cluster claims to be.
const MINOR: &str = "35";
/// What its OpenAPI documents are called.
const OPENAPI_TITLE: &str = "Simulated Kubernetes";
/// As protobuf: the version of the format, what the document is about, and no paths (fields 1, 2 and 8).
const OPENAPI_V2: &[u8] = b"\x0a\x032.0\x12\x1c\x0a\x14Simulated Kubernetes\x12\x04v1.0\x42\x00";

/// Answers a path outside the resource API, if there is something there.
pub(super) fn answer(request: &Request) -> Option<Answer> {
    if request.method != "GET" {
        return None;
    }
    let path = request.path.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let document = match parts.as_slice() {
        ["healthz" | "readyz" | "livez"] => return Some(Answer::text("ok".to_owned())),
        ["version"] => json!({
            "major": "1",
            "minor": MINOR,
            "gitVersion": format!("v1.{MINOR}.0+phasegate"),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": "none",
            "compiler": "none",
            "platform": "simulated",
        }),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => {
            let groups: Vec<Value> = group_names().into_iter().filter_map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", version] => resources("", version)?,
        ["apis", name] => {
            let mut group = group(name)?;
            super::json::set(&mut group, &["kind"], "APIGroup");
            super::json::set(&mut group, &["apiVersion"], "v1");
            group
        }
        ["apis", group, version] => resources(group, version)?,
        ["openapi", "v2"] => return Some(openapi_v2(request)),
        ["openapi", "v3"] => openapi_root(),
        ["openapi", "v3", "api", version] => openapi("", version)?,
        ["openapi", "v3", "apis", group, version] => openapi(group, version)?,
        _ => return None,
    };
    Some(Answer::json(200, &document))
}

fn group_names() -> BTreeSet<&'static str> {
    KINDS
        .iter()
        .map(|info| info.group)
        .filter(|group| !group.is_empty())
        .collect()
}

fn group(name: &str) -> Option<Value> {
    let versions: BTreeSet<&str> = KINDS
        .iter()
        .filter(|info| info.group == name)
        .map(|info| info.version)
        .collect();
    let shown =
        |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let preferred = versions.last().map(shown).filter(|_| !name.is_empty())?;
    let versions: Vec<Value> = versions.iter().map(shown).collect();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

/// The older document, without which a `kubectl` that knows no other applies nothing. It describes nothing, so
/// that the server validates. It is asked for as protobuf.
fn openapi_v2(request: &Request) -> Answer {
    if !request.accept.contains("proto-openapi") {
        let info = json!({"title": OPENAPI_TITLE, "version": format!("v1.{MINOR}.0")});
        return Answer::json(200, &json!({"swagger": "2.0", "info": info, "paths": {}}));
    }
    Answer {
        content_type: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        ..Answer::raw(200, OPENAPI_V2.to_vec())
    }
}

/// Which groups have an OpenAPI document.
fn openapi_root() -> Value {
    let mut paths = json!({});
    for info in KINDS {
        let path = if info.group.is_empty() {
            format!("api/{}", info.version)
        } else {
            format!("apis/{}/{}", info.group, info.version)
        };
        let url = format!("/openapi/v3/{path}?hash=1");
        super::json::set(&mut paths, &[&path], json!({"serverRelativeURL": url}));
    }
    json!({ "paths": paths })
}

/// As much of an OpenAPI document as makes `kubectl apply` leave validation and dry runs to the server.
fn openapi(group: &str, version: &str) -> Option<Value> {
    let mut paths = json!({});
    let mut known = false;
    for info in KINDS
        .iter()
        .filter(|info| info.group == group && info.version == version)
    {
        known = true;
        let base = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let scope = if info.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let path = format!("{base}{scope}/{}/{{name}}", info.plural);
        let parameter =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let operation = json!({
            "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "kind": info.name, "version": version},
        });
        super::json::set(&mut paths, &[&path, "patch"], operation);
    }
    known.then(|| {
        json!({
            "openapi": "3.0.0",
            "info": {"title": OPENAPI_TITLE, "version": format!("v1.{MINOR}.0")},
            "paths": paths,
            "components": {"schemas": {}},
        })
    })
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut out = Vec::new();
    let mut name = String::new();
    for info in KINDS
        .iter()
        .filter(|info| info.group == group && info.version == version)
    {
        name = info.api_version();
        out.push(resource(info));
        for sub in info.subresources {
            let (kind, verbs) = match *sub {
                "scale" => ("Scale", json!(["get", "patch", "update"])),
                "log" => (info.name, json!(["get"])),
                _ => (info.name, json!(["get", "patch", "update"])),
            };
            let mut entry = json!({
                "name": format!("{}/{sub}", info.plural),
                "singularName": "",
                "namespaced": info.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            if *sub == "scale" {
                super::json::set(&mut entry, &["group"], "autoscaling");
                super::json::set(&mut entry, &["version"], "v1");
            }
            out.push(entry);
        }
    }
    if out.is_empty() {
        return None;
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": out}),
    )
}

fn resource(info: &Info) -> Value {
    let verbs = if info.group == "events.k8s.io" {
        json!(["get", "list", "watch"])
    } else {
        json!([
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch"
        ])
    };
    let mut entry = json!({
        "name": info.plural,
        "singularName": info.name.to_lowercase(),
        "namespaced": info.namespaced,
        "kind": info.name,
        "verbs": verbs,
        "shortNames": info.short,
    });
    if matches!(
        info.name,
        "Pod" | "Service" | "Deployment" | "ReplicaSet" | "Job" | "HorizontalPodAutoscaler"
    ) {
        super::json::set(&mut entry, &["categories"], json!(["all"]));
    }
    entry
}
