//! A line to the simulated cluster on which watches can be cut, silenced and refused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use phasegate_rehearsal::server::{BoxError, ClusterService, ResponseBody};
use tokio::sync::watch;

type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// What becomes of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// What the server says doesn't arrive any more, and nothing breaks.
    Silent,
    /// Watches that are opened are answered with this status.
    Refused(u16),
    /// They are to be asked for again after so many seconds.
    Later(u64),
}

#[derive(Clone)]
pub(crate) struct Line {
    inner: ClusterService,
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

impl Line {
    pub(crate) fn new(inner: ClusterService) -> Self {
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

    fn through(&self, body: ResponseBody) -> Answer {
        self.open.fetch_add(1, Ordering::SeqCst);
        let begun = (
            body,
            self.clone(),
            self.cuts.subscribe(),
            Open(self.open.clone()),
        );
        let frames = stream::unfold(begun, |(mut body, line, mut cuts, open)| async move {
            loop {
                let frame = tokio::select! {
                    _ = cuts.changed() => {
                        let cut: BoxError = "the connection was cut".into();
                        // What comes after an error is never asked for.
                        return Some((Err(cut), (body, line, cuts, open)));
                    }
                    frame = body.frame() => frame?.map_err(BoxError::from),
                };
                if line.mode() != Mode::Silent {
                    return Some((frame, (body, line, cuts, open)));
                }
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

impl tower::Service<Request<Body>> for Line {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut line = self.clone();
        let query = request.uri().query().unwrap_or_default();
        let watches = query.split('&').any(|pair| pair == "watch=1");
        Box::pin(async move {
            if watches {
                line.asked.fetch_add(1, Ordering::SeqCst);
                let refused = match line.mode() {
                    Mode::Refused(status) => Some(Response::builder().status(status)),
                    Mode::Later(after) => {
                        let response = Response::builder().status(429);
                        Some(response.header("retry-after", after.to_string()))
                    }
                    Mode::Well | Mode::Silent => None,
                };
                if let Some(response) = refused {
                    let body = Full::new(Bytes::from("{\"message\": \"no\"}"));
                    let body = body.map_err(|never| match never {}).boxed_unsync();
                    return Ok(response.body(body)?);
                }
            }
            let response = line.inner.call(request).await?;
            let (parts, body) = response.into_parts();
            let body = match watches {
                true => line.through(body),
                false => body.map_err(BoxError::from).boxed_unsync(),
            };
            Ok(Response::from_parts(parts, body))
        })
    }
}
