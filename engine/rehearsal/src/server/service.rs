//! The cluster as a tower service, which a Kubernetes client takes in place of a connection.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body, Frame};
use phasegate_core::time::Span;

use super::shared::SharedCluster;
use crate::cluster::{self, Answer, Reply, Request, WatchId};

/// The largest body that is read from a request.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// An error of any kind, as tower passes them on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response: a document, or a stream of changes.
pub type ResponseBody = UnsyncBoxBody<Bytes, ServiceError>;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A fault dropped the connection. Whether the request was applied is for the client to find out.
    #[error("connection closed before the response was complete")]
    Dropped,
    /// The body of the request could not be read, or is too large.
    #[error("the body of the request can't be read")]
    Body(#[source] BoxError),
    /// The response could not be made.
    #[error("the response can't be made")]
    Response(#[from] http::Error),
}

/// The cluster as a service: the same requests and responses as over HTTP, without a connection.
#[derive(Clone, Debug)]
pub struct ClusterService {
    shared: SharedCluster,
    latency: Span,
}

impl ClusterService {
    /// A service that answers at once.
    #[must_use]
    pub fn new(shared: SharedCluster) -> Self {
        Self {
            shared,
            latency: Span::ZERO,
        }
    }

    /// A service to which every request takes this long to arrive.
    #[must_use]
    pub fn with_latency(self, latency: Span) -> Self {
        Self { latency, ..self }
    }

    async fn answer<B>(
        self,
        request: http::Request<B>,
    ) -> Result<http::Response<ResponseBody>, ServiceError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let request = read(request).await?;
        if self.latency > Span::ZERO {
            let arrival = self.shared.now().plus(self.latency);
            self.shared.clock().sleep_until(arrival).await;
        }
        match self.shared.handle(&request) {
            Reply::Dropped => Err(ServiceError::Dropped),
            Reply::Held => std::future::pending().await,
            Reply::Answer(answer) => respond(self.shared, answer),
        }
    }
}

/// Reads a request as far as the cluster needs it.
pub(super) async fn read<B>(request: http::Request<B>) -> Result<Request, ServiceError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(ServiceError::Body)?
        .to_bytes();
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let header = |name: http::HeaderName| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let mut out = Request::new(parts.method.as_str(), target);
    out.content_type = header(http::header::CONTENT_TYPE);
    out.accept = header(http::header::ACCEPT);
    out.user_agent = header(http::header::USER_AGENT);
    out.body = body.to_vec();
    Ok(out)
}

/// Makes an HTTP response of an answer; a watch becomes a stream.
pub(super) fn respond(
    shared: SharedCluster,
    answer: Answer,
) -> Result<http::Response<ResponseBody>, ServiceError> {
    let mut response = http::Response::builder()
        .status(answer.status)
        .header(http::header::CONTENT_TYPE, answer.content_type)
        .header(http::header::CACHE_CONTROL, "no-cache, private");
    if let Some(seconds) = answer.retry_after_s {
        response = response.header(http::header::RETRY_AFTER, seconds.to_string());
    }
    let body = match answer.body {
        cluster::Body::Full(bytes) => Full::new(Bytes::from(bytes))
            .map_err(|never| match never {})
            .boxed_unsync(),
        cluster::Body::Watch(id) => stream_of(shared, id),
    };
    Ok(response.body(body)?)
}

/// An open watch, closed when the client goes.
struct Watching {
    shared: SharedCluster,
    id: WatchId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.shared.with(|cluster| cluster.close_watch(self.id));
    }
}

fn stream_of(shared: SharedCluster, id: WatchId) -> ResponseBody {
    let watching = Watching { shared, id };
    let frames = stream::unfold(watching, |watching| async move {
        let frame = next_frame(&watching).await?;
        Some((Ok(Frame::data(frame)), watching))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The next changes, or none when the watch is over.
async fn next_frame(watching: &Watching) -> Option<Bytes> {
    let mut changes = watching.shared.changes();
    loop {
        changes.borrow_and_update();
        let (lines, ends, due, now) = watching.shared.with(|cluster| {
            let lines = cluster.drain_watch(watching.id);
            (
                lines,
                cluster.watch_ends(watching.id),
                cluster.next_due(),
                cluster.now(),
            )
        });
        if !lines.is_empty() {
            return Some(Bytes::from(lines.concat()));
        }
        let ends = ends?;
        if ends <= now {
            return None;
        }
        let until = due.map_or(ends, |due| due.min(ends));
        watching.shared.wait(Some(until), &mut changes).await;
    }
}

impl<B> tower::Service<http::Request<B>> for ClusterService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<ResponseBody>;
    type Error = ServiceError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
