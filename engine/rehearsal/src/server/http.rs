//! The cluster over HTTP/1.1, for `kubectl` and for engines in other processes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::service::{ResponseBody, ServiceError, read, respond};
use super::shared::SharedCluster;
use crate::cluster::{Reply, Request};

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections there may be at once; further ones wait.
    pub connections: usize,
    /// How long the headers of a request may take.
    pub headers: Duration,
    /// How long requests under way may take when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            headers: Duration::from_secs(10),
            grace: Duration::from_millis(500),
        }
    }
}

/// A request below `/simulation/` that the server doesn't answer itself.
#[derive(Clone, Debug)]
pub struct SimulationRequest {
    /// The HTTP method.
    pub method: String,
    /// The path with `/simulation/` before it.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The answer to a [`SimulationRequest`].
#[derive(Clone, Debug)]
pub struct SimulationReply {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Answers what lies below `/simulation/`; none for a path it doesn't know.
pub type Handler =
    Arc<dyn Fn(SimulationRequest) -> BoxFuture<'static, Option<SimulationReply>> + Send + Sync>;

/// How to serve.
#[derive(Clone, Default)]
pub struct ServeOptions {
    /// What a client may cost.
    pub limits: Limits,
    /// Answers other paths below `/simulation/`.
    pub handler: Option<Handler>,
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Serves until `stop` is ready, and keeps the cluster going meanwhile.
///
/// # Errors
/// When the listener can't accept connections any more.
pub async fn serve(
    listener: TcpListener,
    shared: SharedCluster,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(options.limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut cluster = std::pin::pin!(shared.run());
    let outcome = loop {
        let accept = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .map_err(std::io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = &mut cluster => {}
            Some(_) = connections.join_next() => {}
            accepted = accept => match accepted {
                Ok((stream, place)) => {
                    let (shared, options, stopped) = (shared.clone(), options.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection(stream, shared, options, stopped).await;
                        drop(place);
                    });
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => break Err(error),
            },
        }
    };
    // Nobody may be left to hear it.
    let _ = stopping.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(options.limits.grace, all)
        .await
        .is_err()
    {
        connections.abort_all();
    }
    outcome
}

/// Whether a failed accept says something about one connection only.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn connection(
    stream: TcpStream,
    shared: SharedCluster,
    options: ServeOptions,
    mut stopped: watch::Receiver<bool>,
) {
    // Without it small answers wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let headers = options.limits.headers;
    let service =
        service_fn(move |request| answer(shared.clone(), options.handler.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // How a connection ends is the client's business; a dropped answer ends here as an error.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(
    shared: SharedCluster,
    handler: Option<Handler>,
    request: http::Request<Incoming>,
) -> Result<http::Response<ResponseBody>, ServiceError> {
    let request = match read(request).await {
        Ok(request) => request,
        Err(ServiceError::Body(_)) => {
            return plain(
                413,
                "application/json",
                b"{\"error\":\"body too large\"}".to_vec(),
            );
        }
        Err(error) => return Err(error),
    };
    if let Some(name) = request.path.strip_prefix("/simulation/") {
        return simulation(&shared, handler, name, &request).await;
    }
    match shared.handle(&request) {
        Reply::Dropped => Err(ServiceError::Dropped),
        Reply::Held => std::future::pending().await,
        Reply::Answer(answer) => respond(shared, answer),
    }
}

async fn simulation(
    shared: &SharedCluster,
    handler: Option<Handler>,
    name: &str,
    request: &Request,
) -> Result<http::Response<ResponseBody>, ServiceError> {
    let own = match (request.method.as_str(), name) {
        ("GET", "clock") => {
            Some(json!({"now_ms": shared.now().as_millis(), "scale": shared.clock().scale()}))
        }
        ("GET", "requests") => Some(shared.with(|cluster| to_json(cluster.requests()))),
        ("GET", "traffic") => Some(shared.with(|cluster| to_json(&cluster.traffic()))),
        ("GET", "observations") => Some(shared.with(|cluster| to_json(&cluster.observe()))),
        _ => None,
    };
    if let Some(document) = own {
        return plain(200, "application/json", document.to_string().into_bytes());
    }
    let asked = SimulationRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        body: request.body.clone(),
    };
    let reply = match handler {
        Some(handler) => handler(asked).await,
        None => None,
    };
    match reply {
        Some(reply) => plain(reply.status, &reply.content_type, reply.body),
        None => plain(
            404,
            "application/json",
            b"{\"error\":\"not found\"}".to_vec(),
        ),
    }
}

fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn plain(
    status: u16,
    content_type: &str,
    body: Vec<u8>,
) -> Result<http::Response<ResponseBody>, ServiceError> {
    let body = Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync();
    Ok(http::Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(body)?)
}
