//! Requests to the process of a simulated cluster: its clock, and the world behind its HTTP.

use std::sync::Arc;

use ::http::{Method, Request};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use phasegate_core::time::Span;
use phasegate_runtime::ports::{Clock, Http, HttpError, HttpRequest, HttpResponse};

use super::{MAX_RESPONSE_BODY, MAX_TIMEOUT, Outgoing, exchange, outgoing, reach};
use crate::clock::SystemClock;
use crate::connect::{self, loopback};

/// How long a simulated cluster may take to answer about itself, in real time.
const LOCAL_TIMEOUT: Span = Span::from_secs(10);
/// Most bytes of an answer of a simulated cluster about itself.
const MAX_LOCAL_ANSWER: usize = 64 << 10;
/// JSON writes a body as a list of numbers: four characters a byte.
const MAX_ENCODED: usize = 4 * MAX_RESPONSE_BODY + (1 << 20);

/// A simulated cluster that did not answer about itself.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The endpoint is not one of this machine.
    #[error("not the endpoint of a simulated cluster")]
    Endpoint(#[source] connect::Error),
    /// No exchange took place.
    #[error("`{url}` did not answer")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        #[source]
        source: HttpError,
    },
    /// It answered something else.
    #[error("`{url}` answered status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
}

/// Reads something small from a simulated cluster.
pub(crate) async fn get_local(endpoint: &str, path: &str) -> Result<Vec<u8>, LocalError> {
    loopback(endpoint).map_err(LocalError::Endpoint)?;
    let url = format!("{}{path}", endpoint.trim_end_matches('/'));
    let fail = |source| LocalError::Unreachable {
        url: url.clone(),
        source,
    };
    let request = Request::builder()
        .uri(&url)
        .body(Full::new(Bytes::new()))
        .map_err(|error| fail(HttpError::Invalid(error.to_string())))?;
    let client = outgoing(reach::nobody());
    let deadline = SystemClock.now().plus(LOCAL_TIMEOUT);
    let answer = tokio::select! {
        biased;
        answer = exchange(&client, request, MAX_LOCAL_ANSWER) => answer,
        () = SystemClock.sleep_until(deadline) => Err(HttpError::TimedOut),
    };
    let answer = answer.map_err(fail)?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(LocalError::Status {
            url,
            status: answer.status,
        })
    }
}

/// HTTP through the process of a simulated cluster: in its world every request of a plugin is
/// answered by the scenario, and never reaches the network.
pub struct RemoteHttp {
    client: Outgoing,
    url: String,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for RemoteHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteHttp")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl RemoteHttp {
    /// The world of the simulated cluster at `endpoint`, for example `http://127.0.0.1:8001`. The
    /// clock is that world's.
    ///
    /// # Errors
    /// Where the endpoint isn't one of this machine.
    pub fn new(endpoint: &str, clock: Arc<dyn Clock>) -> Result<Self, connect::Error> {
        loopback(endpoint)?;
        Ok(Self {
            client: outgoing(reach::nobody()),
            url: format!("{}/simulation/http", endpoint.trim_end_matches('/')),
            clock,
        })
    }

    fn request(&self, request: &HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
        let body =
            serde_json::to_vec(request).map_err(|error| HttpError::Invalid(error.to_string()))?;
        Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| HttpError::Invalid(error.to_string()))
    }
}

#[async_trait]
impl Http for RemoteHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The simulated world counts the request's own time; beyond it, something is broken.
        let allowed = request.timeout.min(MAX_TIMEOUT);
        let deadline = self.clock.now().plus(allowed);
        let patience = SystemClock.now().plus(LOCAL_TIMEOUT);
        let outgoing = self.request(&request)?;
        let answer = tokio::select! {
            biased;
            answer = exchange(&self.client, outgoing, MAX_ENCODED) => answer?,
            // In scaled time the request's own may be over before the answer has travelled.
            () = async {
                self.clock.sleep_until(deadline).await;
                SystemClock.sleep_until(patience).await;
            } => return Err(HttpError::TimedOut),
        };
        if answer.status != 200 {
            return Err(HttpError::Unreachable(format!(
                "the simulated cluster answered status {} at {}",
                answer.status, self.url
            )));
        }
        let decoded: Result<Result<HttpResponse, HttpError>, _> =
            serde_json::from_slice(&answer.body);
        let mut response = decoded.map_err(|error| {
            HttpError::Unreachable(format!("the simulated cluster answered nonsense: {error}"))
        })??;
        if response.body.len() > request.max_body {
            response.body.truncate(request.max_body);
            response.truncated = true;
        }
        Ok(response)
    }
}
