//! HTTP for plugins: [`LiveHttp`] over the network, [`RemoteHttp`] through the process of a
//! simulated cluster.
//!
//! Neither follows redirects: a redirect would lead past the check of which hosts a plugin may
//! reach. Which hosts those are was decided before a request gets here. Which addresses a name leads to is
//! decided in `reach`, and TLS is spoken with whoever the machine's own authorities vouch for.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, Method, Request, Uri};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_runtime::ports::{Clock, Http, HttpError, HttpRequest, HttpResponse};
use rustls::RootCertStore;

mod local;
mod reach;
#[cfg(test)]
mod tests;

pub(crate) use local::get_local;
pub use local::{LocalError, RemoteHttp};

use crate::kubernetes::chain;

/// Most bytes of an address.
pub const MAX_URL: usize = 8 << 10;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 100;
/// Most bytes of a request's body.
pub const MAX_REQUEST_BODY: usize = 8 << 20;
/// Most bytes of an answer's body, whatever the request says.
pub const MAX_RESPONSE_BODY: usize = 16 << 20;
/// How long an exchange may take, whatever the request says.
pub const MAX_TIMEOUT: Span = Span::from_mins(10);

/// Headers that say how a message is framed, or by which a request would reach another host than
/// the one that was checked.
const RESERVED_HEADERS: [&str; 7] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
];

type Outgoing = Client<reach::Connector, Full<Bytes>>;

fn outgoing(trusted: Arc<RootCertStore>) -> Outgoing {
    Client::builder(TokioExecutor::new()).build(reach::connector(trusted))
}

/// HTTP over the network.
pub struct LiveHttp {
    client: Outgoing,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for LiveHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveHttp").finish_non_exhaustive()
    }
}

impl LiveHttp {
    /// Times exchanges, and how long they may take, by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            client: outgoing(reach::machine()),
            clock,
        }
    }
}

#[async_trait]
impl Http for LiveHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let started = self.clock.now();
        let deadline = started.plus(request.timeout.min(MAX_TIMEOUT));
        let keep = request.max_body.min(MAX_RESPONSE_BODY);
        let request = outgoing_request(request)?;
        let exchanged = tokio::select! {
            biased;
            answer = exchange(&self.client, request, keep) => answer,
            () = self.clock.sleep_until(deadline) => Err(HttpError::TimedOut),
        };
        let mut response = exchanged?;
        response.took = self.clock.now().since(started);
        Ok(response)
    }
}

/// Checks a plugin's request and makes it one that can be sent.
fn outgoing_request(request: HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
    let invalid = |what: String| HttpError::Invalid(what);
    if request.url.len() > MAX_URL {
        return Err(invalid(format!("the URL has more than {MAX_URL} bytes")));
    }
    let uri: Uri = request
        .url
        .parse()
        .map_err(|error| invalid(format!("`{}` is not a URL: {error}", request.url)))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        let what = format!("`{}` is not an http:// or https:// URL", request.url);
        return Err(invalid(what));
    }
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Err(invalid("a URL needs a host, and no user".to_owned()));
    }
    reach::literal(uri.host().unwrap_or_default()).map_err(HttpError::Denied)?;
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| invalid(format!("`{}` is not a method", request.method)))?;
    let body = request.body.unwrap_or_default();
    if body.len() > MAX_REQUEST_BODY {
        return Err(invalid(format!(
            "the body has more than {MAX_REQUEST_BODY} bytes"
        )));
    }
    if request.headers.len() > MAX_HEADERS {
        return Err(invalid(format!("more than {MAX_HEADERS} headers")));
    }
    let mut outgoing = Request::builder().method(method).uri(uri);
    for Pair { name, value } in &request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` is not a header's name")))?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            return Err(invalid(format!("the header `{name}` is not yours to set")));
        }
        // The value may be a credential, so that the message leaves it out.
        let value = HeaderValue::from_str(value)
            .map_err(|_| invalid(format!("the value of header `{name}` can't be sent")))?;
        outgoing = outgoing.header(header, value);
    }
    outgoing
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| invalid(error.to_string()))
}

/// Sends a request; `took` is left to whoever has a clock.
async fn exchange(
    client: &Outgoing,
    request: Request<Full<Bytes>>,
    keep: usize,
) -> Result<HttpResponse, HttpError> {
    let response = client
        .request(request)
        .await
        .map_err(|error| HttpError::Unreachable(chain(&error)))?;
    let (parts, body) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| Pair {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect();
    let (body, truncated) = read_body(body, keep).await?;
    Ok(HttpResponse {
        status: parts.status.as_u16(),
        headers,
        body,
        truncated,
        took: Span::ZERO,
    })
}

/// The first `keep` bytes, and whether there were more. What is beyond is not read.
async fn read_body(mut body: Incoming, keep: usize) -> Result<(Vec<u8>, bool), HttpError> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|e| HttpError::Unreachable(format!("the answer broke off: {}", chain(&e))))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = keep.saturating_sub(kept.len());
        kept.extend(data.iter().take(room));
        if data.len() > room {
            return Ok((kept, true));
        }
    }
    Ok((kept, false))
}
