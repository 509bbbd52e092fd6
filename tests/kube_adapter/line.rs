//! A line to a cluster, simulated or real, on which watches can be cut, silenced and refused, and all else too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Body as HttpBody;
use kube::client::Body;
use tokio::sync::watch;
use tower::{BoxError, Service, ServiceExt};

pub(crate) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// What becomes of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// What the server says doesn't arrive any more, and nothing breaks.
    Silent,
    /// Watches that are opened are answered with this status, and after how many seconds to come again.
    Refused(u16, Option<u64>),
    /// Every request is.
    Busy(u16, Option<u64>),
}

#[derive(Clone)]
pub(crate) struct Line<S> {
    inner: S,
    mode: Arc<Mutex<Mode>>,
    cuts: Arc<watch::Sender<u32>>,
    asked: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

/// Counts an open watch.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<S> Line<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            mode: Arc::new(Mutex::new(Mode::Well)),
            cuts: Arc::new(watch::Sender::new(0)),
            asked: Arc::default(),
            open: Arc::default(),
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Breaks the connections of all open watches.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many watches were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    /// What is answered instead of the cluster.
    fn refusal(&self, watches: bool) -> Option<http::response::Builder> {
        let (status, after) = match self.mode() {
            Mode::Refused(status, after) if watches => (status, after),
            Mode::Busy(status, after) => (status, after),
            _ => return None,
        };
        let response = Response::builder().status(status);
        Some(match after {
            Some(after) => response.header("retry-after", after.to_string()),
            None => response,
        })
    }
}

impl<S: Clone + Send + 'static> Line<S> {
    fn through<B>(&self, body: B) -> Answer
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(self.open.clone());
        let begun = (body, self.mode.clone(), self.cuts.subscribe(), open);
        let frames = stream::unfold(begun, |(mut body, mode, mut cuts, open)| async move {
            loop {
                let frame = tokio::select! {
                    _ = cuts.changed() => {
                        let cut: BoxError = "the connection was cut".into();
                        // What comes after an error is never asked for.
                        return Some((Err(cut), (body, mode, cuts, open)));
                    }
                    frame = body.frame() => frame?.map_err(Into::into),
                };
                if *mode.lock().unwrap() != Mode::Silent {
                    return Some((frame, (body, mode, cuts, open)));
                }
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

impl<S, B> Service<Request<Body>> for Line<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let line = self.clone();
        let query = request.uri().query().unwrap_or_default();
        let watches = query.split('&').any(|pair| pair == "watch=1");
        Box::pin(async move {
            if watches {
                line.asked.fetch_add(1, Ordering::SeqCst);
            }
            if let Some(response) = line.refusal(watches) {
                let body = Full::new(Bytes::from("{\"message\": \"no\"}"));
                let body = body.map_err(|never| match never {}).boxed_unsync();
                return Ok(response.body(body)?);
            }
            let answered = line.inner.clone().oneshot(request).await;
            let (parts, body) = answered.map_err(Into::into)?.into_parts();
            let body = match watches {
                true => line.through(body),
                false => body.map_err(Into::into).boxed_unsync(),
            };
            Ok(Response::from_parts(parts, body))
        })
    }
}
