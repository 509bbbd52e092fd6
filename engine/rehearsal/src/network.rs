//! The simulated network behind the port for HTTP: in this process, and for others through the
//! server's `POST /simulation/http`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use phasegate_runtime::ports::{Http, HttpError, HttpRequest, HttpResponse};

use crate::server::{Handler, SharedCluster, SimulationReply, SimulationRequest};
use crate::web::{Answer, Exchange, Web};

/// The simulated network of one cluster.
#[derive(Clone)]
pub struct Network {
    cluster: SharedCluster,
    web: Arc<Mutex<Web>>,
}

impl Network {
    /// The network around a cluster.
    #[must_use]
    pub fn new(cluster: SharedCluster, web: Web) -> Self {
        Self {
            cluster,
            web: Arc::new(Mutex::new(web)),
        }
    }

    fn web<R>(&self, act: impl FnOnce(&mut Web) -> R) -> R {
        act(&mut self.web.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The requests so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.web(|web| web.exchanges().to_vec())
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = self.cluster.now();
        let answer = self
            .cluster
            .with(|cluster| self.web(|web| web.answer(cluster, request)));
        let gives_up = sent.plus(request.timeout);
        match answer {
            Answer::Error(error) => Err(error),
            Answer::Response(response, after) if after <= request.timeout => {
                self.cluster.clock().sleep_until(sent.plus(after)).await;
                Ok(response)
            }
            Answer::Response(..) | Answer::Hang => {
                self.cluster.clock().sleep_until(gives_up).await;
                Err(HttpError::TimedOut)
            }
        }
    }

    /// Answers `POST /simulation/http`: an [`HttpRequest`] as JSON, answered by a `Result` as JSON.
    #[must_use]
    pub fn handler(&self) -> Handler {
        let network = self.clone();
        Arc::new(move |request| {
            let network = network.clone();
            Box::pin(async move { network.serve(request).await })
        })
    }

    async fn serve(&self, request: SimulationRequest) -> Option<SimulationReply> {
        if request.path.trim_start_matches('/') != "simulation/http"
            && request.path.trim_start_matches('/') != "http"
        {
            return None;
        }
        let reply = |status: u16, body: Vec<u8>| SimulationReply {
            status,
            content_type: "application/json".to_owned(),
            body,
        };
        if request.method != "POST" {
            return Some(reply(
                405,
                br#"{"error":"POST an HTTP request as JSON"}"#.to_vec(),
            ));
        }
        let wanted: HttpRequest = match serde_json::from_slice(&request.body) {
            Ok(wanted) => wanted,
            Err(error) => {
                let body =
                    serde_json::json!({"error": format!("not an HTTP request as JSON: {error}")});
                return Some(reply(400, body.to_string().into_bytes()));
            }
        };
        let answer = self.exchange(&wanted).await;
        Some(match serde_json::to_vec(&answer) {
            Ok(body) => reply(200, body),
            Err(error) => reply(
                500,
                serde_json::json!({"error": error.to_string()})
                    .to_string()
                    .into_bytes(),
            ),
        })
    }
}

#[async_trait]
impl Http for Network {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.exchange(&request).await
    }
}
