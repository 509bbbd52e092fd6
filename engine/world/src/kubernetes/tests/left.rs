//! Copies that only an old version needed.

use phasegate_core::config::{ConfigKind, Left};
use phasegate_core::failure::Kind;
use phasegate_runtime::ports::Cluster;
use serde_json::json;

use super::*;

const COPY: &str = "/api/v1/namespaces/shop/secrets/db-pg0123456789";
const JOBS: &str = "/apis/batch/v1/namespaces/shop/jobs";
const TEMPLATES: &str = "/api/v1/namespaces/shop/podtemplates";

fn left() -> Left {
    Left {
        kind: ConfigKind::Secret,
        of: "db".to_owned(),
        name: "db-pg0123456789".to_owned(),
    }
}

fn copy() -> Value {
    json!({
        "metadata": {
            "name": "db-pg0123456789", "namespace": "shop", "uid": "c-1", "resourceVersion": "20",
            "annotations": {"phasegate.dev/made-by": "earlier", "phasegate.dev/copy-of": "db"},
        },
        "immutable": true, "data": {"key": "b2xk"},
    })
}

fn pods() -> Value {
    json!({"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "db-pg0123456789"}}]}]})
}

/// Something that starts pods with the copy, `pods` of them.
fn starter(name: &str, pods_wanted: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": pods_wanted, "template": {"spec": pods()}},
    })
}

fn server(path: &'static str, object: Value) -> Server {
    Server::default()
        .ok("GET", COPY, copy())
        .ok("DELETE", COPY, json!({}))
        .ok("GET", path, json!({"items": [object]}))
}

#[tokio::test]
async fn what_nothing_refers_to_goes_and_an_old_replica_set_without_pods_keeps_nothing() {
    for server in [
        server(REPLICA_SETS, starter("web-old", 0)),
        server(
            PODS,
            json!({"metadata": {"name": "web-1"}, "spec": pods(), "status": {"phase": "Succeeded"}}),
        ),
        server(
            DEPLOYMENTS,
            json!({"metadata": {"name": "web"}, "spec": {"replicas": 3}}),
        ),
    ] {
        let cluster = server.cluster();
        cluster
            .remove_left(&target(), &left(), &stamp())
            .await
            .unwrap();
        let writes = server.writes();
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].method, "DELETE");
        assert_eq!(
            writes[0].body["preconditions"],
            json!({"uid": "c-1", "resourceVersion": "20"})
        );
    }
}

#[tokio::test]
async fn what_pods_are_or_would_be_started_with_stays() {
    for (path, object) in [
        (REPLICA_SETS, starter("web-new", 1)),
        (
            PODS,
            json!({"metadata": {"name": "web-1"}, "spec": pods(), "status": {"phase": "Running"}}),
        ),
        // The workload's own, kept with no pods: it may come back.
        (DEPLOYMENTS, starter("web", 0)),
        (DEPLOYMENTS, starter("another", 3)),
        (JOBS, starter("once", 0)),
        (
            TEMPLATES,
            json!({"metadata": {"name": "t"}, "template": {"spec": pods()}}),
        ),
    ] {
        let server = server(path, object);
        let cluster = server.cluster();
        let failure = failed(cluster.remove_left(&target(), &left(), &stamp()).await);
        assert_eq!(failure.kind, Kind::Conflict, "{path}");
        assert!(
            failure
                .message
                .contains("refers to the Secret `db-pg0123456789`"),
            "{failure}"
        );
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn what_serves_again_is_no_more_this_runs_to_remove() {
    let server = server(DEPLOYMENTS, starter("web", 3));
    let cluster = server.cluster();
    cluster
        .remove_left(&target(), &left(), &stamp())
        .await
        .unwrap();
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn what_no_engine_made_stays_and_what_is_gone_is_gone() {
    let mut theirs = copy();
    theirs["metadata"]["annotations"] = json!({});
    let servers = [Server::default(), Server::default().ok("GET", COPY, theirs)];
    for server in servers {
        let cluster = server.cluster();
        cluster
            .remove_left(&target(), &left(), &stamp())
            .await
            .unwrap();
        assert!(server.writes().is_empty());
    }
}

#[tokio::test]
async fn where_it_can_not_be_told_what_refers_to_it_nothing_goes() {
    let server = Server::default().ok("GET", COPY, copy()).on(
        "GET",
        JOBS,
        vec![status(403, "Forbidden", "jobs is forbidden")],
    );
    let cluster = server.cluster();
    let failure = failed(cluster.remove_left(&target(), &left(), &stamp()).await);
    assert!(failure.message.contains("jobs"), "{failure}");
    assert!(server.writes().is_empty());
}
