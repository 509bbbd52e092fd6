use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Service, ServiceExt};

use super::*;
use crate::cluster::{Cluster, Config, Effect, Fault};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    })
}

fn virtual_cluster() -> SharedCluster {
    let config = Config::default();
    let clock = VirtualClock::starting_at(config.start);
    SharedCluster::new(Cluster::new(config), Arc::new(clock))
}

fn request(method: &str, target: &str) -> ::http::Request<Empty<Bytes>> {
    ::http::Request::builder()
        .method(method)
        .uri(target)
        .body(Empty::new())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_follows_a_rollout_in_virtual_time() {
    let shared = virtual_cluster();
    let mut service = ClusterService::new(shared.clone());
    let create = ::http::Request::builder()
        .method("POST")
        .uri("/apis/apps/v1/namespaces/default/deployments")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(deployment().to_string())))
        .unwrap();
    assert_eq!(service.clone().oneshot(create).await.unwrap().status(), 201);
    let began = shared.now();
    let target = "/apis/apps/v1/namespaces/default/deployments?watch=true&timeoutSeconds=60";
    let response =
        Service::<::http::Request<Empty<Bytes>>>::call(&mut service, request("GET", target))
            .await
            .unwrap();
    let mut body = response.into_body();
    let mut available = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        for line in data.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap();
            available.push(
                event["object"]["status"]["availableReplicas"]
                    .as_i64()
                    .unwrap_or(0),
            );
        }
    }
    assert_eq!(available.last(), Some(&2));
    assert_eq!(
        shared.now().since(began).as_millis(),
        60_000,
        "the watch lasts as long as it was asked to"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_an_error_although_it_was_applied() {
    let shared = virtual_cluster();
    shared.with(|cluster| {
        cluster.seed(&[deployment()]).unwrap();
        cluster.add_fault(Fault {
            method: Some("DELETE".into()),
            ..Fault::next(Effect::AnswerLost)
        })
    });
    let mut service = ClusterService::new(shared.clone());
    let target = "/apis/apps/v1/namespaces/default/deployments/web";
    let mut call = |method| {
        Service::<::http::Request<Empty<Bytes>>>::call(&mut service, request(method, target))
    };
    assert!(call("GET").await.is_ok());
    assert!(matches!(call("DELETE").await, Err(ServiceError::Dropped)));
    assert_eq!(call("GET").await.unwrap().status(), 404);
}

/// Speaks HTTP/1.1 by hand: the answer as text, empty if the connection was dropped.
async fn exchange(address: std::net::SocketAddr, head: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).await.unwrap_or_default();
    out
}

#[tokio::test]
async fn other_processes_talk_to_it_over_http_in_scaled_time() {
    let config = Config::default();
    let clock = ScaledClock::starting_at(config.start, 1000.0);
    let shared = SharedCluster::new(Cluster::new(config), Arc::new(clock));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let handler: Handler = Arc::new(|request| {
        Box::pin(async move {
            (request.path == "/simulation/extra").then(|| SimulationReply {
                status: 202,
                content_type: "text/plain".into(),
                body: request.body,
            })
        })
    });
    let options = ServeOptions {
        handler: Some(handler),
        ..ServeOptions::default()
    };
    let server = tokio::spawn(serve(listener, shared.clone(), options, async {
        let _ = stopped.await;
    }));

    let created = exchange(
        address,
        "POST /apis/apps/v1/namespaces/default/deployments",
        &deployment().to_string(),
    )
    .await;
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    // The server keeps the cluster going by itself: no request is needed for the rollout.
    let mut changes = shared.changes();
    tokio::time::timeout(Duration::from_secs(30), async {
        while shared.with(|cluster| cluster.observe().deployments[0].available) < 2 {
            changes.changed().await.unwrap();
        }
    })
    .await
    .expect("a rollout takes a few milliseconds at this scale");
    let clock = exchange(address, "GET /simulation/clock", "").await;
    assert!(clock.contains("\"scale\":1000.0"), "{clock}");
    assert!(
        exchange(address, "GET /simulation/requests", "")
            .await
            .contains("\"method\":\"POST\"")
    );
    assert!(
        exchange(address, "GET /simulation/observations", "")
            .await
            .contains("\"available\":2")
    );
    assert!(
        exchange(address, "POST /simulation/extra", "ping")
            .await
            .ends_with("ping")
    );
    assert!(
        exchange(address, "GET /simulation/none", "")
            .await
            .starts_with("HTTP/1.1 404")
    );

    shared.with(|cluster| cluster.add_fault(Fault::next(Effect::RequestLost)));
    assert_eq!(exchange(address, "GET /api", "").await, "");
    assert!(
        exchange(address, "GET /api", "")
            .await
            .contains("APIVersions")
    );
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
