//! A proxy between the engine and the API server, on which things can be made to go wrong.

use std::sync::mpsc::channel;

use http::header::HOST;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::net::{TcpListener, TcpStream};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, service_fn};

use crate::desk::{Desk, client};
use crate::line::{Answer, Line, Mode};

/// The API server, from here.
pub(crate) type Upstream = BoxCloneService<http::Request<Body>, http::Response<Body>, BoxError>;

/// It ends with the value. It speaks to the API server as whoever may do everything.
pub(crate) struct Proxy {
    line: Line<Upstream>,
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// Starts it, and leads the desk through it.
    pub(crate) fn before(desk: &Desk) -> Self {
        Self::over(desk, |upstream| upstream)
    }

    /// The same, where something stands between it and the API server.
    pub(crate) fn over(
        desk: &Desk,
        wrap: impl FnOnce(Upstream) -> Upstream + Send + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, receiver) = channel();
        let kubeconfig = desk.kubeconfig().to_owned();
        runtime.spawn(async move {
            let line = Line::new(wrap(upstream(client(&kubeconfig).await)));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            sender.send((line.clone(), port)).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, line.clone()));
            }
        });
        let (line, port) = receiver.recv().unwrap();
        desk.edit_cluster("server", Some(&format!("http://127.0.0.1:{port}")));
        Self {
            line,
            _runtime: runtime,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.line.set(mode);
    }

    pub(crate) fn cut(&self) {
        self.line.cut();
    }

    /// How many watches were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.line.asked()
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.line.open()
    }
}

fn upstream(client: Client) -> Upstream {
    BoxCloneService::new(service_fn(move |request| {
        let client = client.clone();
        async move { Ok(client.send(request).await?) }
    }))
}

async fn serve(stream: TcpStream, line: Line<Upstream>) {
    let answer = hyper::service::service_fn(move |request| answer(request, line.clone()));
    // A client that leaves in the middle is no fault of the proxy's.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    mut line: Line<Upstream>,
) -> Result<hyper::Response<Answer>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    parts.headers.remove(HOST);
    let request = http::Request::from_parts(parts, Body::from(body.to_vec()));
    line.call(request).await
}
