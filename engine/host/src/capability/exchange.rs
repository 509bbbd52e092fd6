//! One HTTP exchange of a plugin, whichever interface it asks through: the same checks, the same
//! port. The plugin names a credential; the header is added here and taken out of whatever comes back.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, Method};
use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_runtime::plugin_ports::Secret;
use phasegate_runtime::ports::{HttpError, HttpRequest, HttpResponse};

use crate::authority::Authority;
use crate::limits::{HEADER_BYTES, HEADERS};
use crate::meter::Stop;
use crate::state::{HostPorts, State};

/// The header by which a request of `wasi:http`, which has no field for it, names its credential.
pub(super) const CREDENTIAL_HEADER: &str = "phasegate-credential";
/// Headers that say how a request travels and where to. They are the engine's to set.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    CREDENTIAL_HEADER,
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Shorter secrets are not looked for in answers: they would be found everywhere.
const SHORTEST_SECRET: usize = 6;

/// A request as a plugin made it.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<Pair>,
    pub(super) body: Option<Vec<u8>>,
    /// The name of a credential.
    pub(super) credential: Option<String>,
    /// None where the plugin doesn't say; no request takes longer than a call may.
    pub(super) timeout: Option<Span>,
}

/// A request that may be sent.
pub(super) struct Exchange {
    ports: Arc<HostPorts>,
    authority: Authority,
    request: HttpRequest,
    credential: Option<String>,
}

impl State {
    /// The request as it is to be sent, if it may be.
    pub(super) fn exchange(&self, asked: Asked) -> Result<Exchange, HttpError> {
        let invalid = HttpError::Invalid;
        let (authority, url) = Authority::of_url(&asked.url).map_err(invalid)?;
        self.rights.http(&authority).map_err(HttpError::Denied)?;
        let method = Method::from_bytes(asked.method.as_bytes())
            .ok()
            .filter(|method| method != Method::CONNECT && method != Method::TRACE)
            .ok_or_else(|| invalid("not a method that can be sent".into()))?;
        if asked.headers.len() > HEADERS {
            return Err(invalid(format!("more than {HEADERS} headers")));
        }
        let headers = asked
            .headers
            .into_iter()
            .map(header)
            .collect::<Result<_, _>>()
            .map_err(invalid)?;
        let body_bytes = self.limits.request_body_bytes;
        if asked.body.as_ref().is_some_and(|b| b.len() > body_bytes) {
            return Err(invalid(format!(
                "the body is larger than {body_bytes} bytes"
            )));
        }
        let wall = self.limits.wall;
        let request = HttpRequest {
            method: method.as_str().to_owned(),
            url,
            headers,
            body: asked.body,
            timeout: asked.timeout.map_or(wall, |timeout| timeout.min(wall)),
            max_body: self.limits.response_body_bytes,
        };
        Ok(Exchange {
            ports: Arc::clone(&self.ports),
            authority,
            request,
            credential: asked.credential,
        })
    }

    /// Counts an answer that the plugin is about to be given.
    pub(super) fn received(&mut self, response: &HttpResponse) -> Result<(), Stop> {
        let headers = response.headers.iter();
        let headers: usize = headers.map(|h| h.name.len() + h.value.len()).sum();
        self.meter
            .receive(headers.saturating_add(response.body.len()))
    }
}

impl Exchange {
    /// The same request with this body, which the caller has kept within the limit.
    pub(super) fn with_body(mut self, body: Option<Vec<u8>>) -> Self {
        self.request.body = body;
        self
    }

    /// Sends the request, with the header of the credential that it names.
    pub(super) async fn perform(self) -> Result<HttpResponse, HttpError> {
        let Self {
            ports,
            authority,
            mut request,
            credential,
        } = self;
        let mut secret = None;
        if let Some(name) = credential {
            let authority = authority.to_string();
            let header = ports.credentials.header(&name, &authority).await;
            let header = header.map_err(|error| HttpError::Denied(error.to_string()))?;
            request
                .headers
                .retain(|h| !h.name.eq_ignore_ascii_case(&header.name));
            request
                .headers
                .push(Pair::new(header.name, header.value.expose()));
            secret = Some(header.value);
        }
        let most = request.max_body;
        let response = ports.http.send(request).await?;
        Ok(bounded(response, most, secret.as_ref()))
    }
}

/// Whether a plugin may set a header of this name, which is in lower case.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("proxy-")
}

/// A header that can't be read as anything else.
fn header(pair: Pair) -> Result<Pair, String> {
    if pair.name.len() + pair.value.len() > HEADER_BYTES {
        return Err(format!("a header is larger than {HEADER_BYTES} bytes"));
    }
    let name = HeaderName::from_bytes(pair.name.as_bytes())
        .map_err(|_| "a header's name is not one".to_owned())?;
    if is_reserved(name.as_str()) {
        return Err(format!("the header `{name}` is the engine's to set"));
    }
    HeaderValue::from_str(&pair.value)
        .map_err(|_| format!("the value of header `{name}` can't be sent"))?;
    Ok(Pair::new(name.as_str(), pair.value))
}

/// The answer within the limits, and without the credential should the other side repeat it.
fn bounded(mut response: HttpResponse, most: usize, secret: Option<&Secret>) -> HttpResponse {
    response.truncated |= response.body.len() > most;
    response.body.truncate(most);
    response
        .headers
        .retain(|h| h.name.len() + h.value.len() <= HEADER_BYTES);
    response.headers.truncate(HEADERS);
    for text in secret.into_iter().flat_map(|s| hidden(s.expose())) {
        response.body = without(&response.body, text.as_bytes());
        for header in &mut response.headers {
            header.value = header.value.replace(text, "***");
        }
    }
    response
}

/// A header's value, and what follows its scheme: `Bearer abc` and `abc`.
fn hidden(value: &str) -> impl Iterator<Item = &str> {
    let token = value.split_once(' ').map(|(_, token)| token.trim());
    [Some(value), token]
        .into_iter()
        .flatten()
        .filter(|text| text.len() >= SHORTEST_SECRET)
}

fn without(body: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(secret) {
            kept.extend_from_slice(b"***");
            rest = after;
        } else {
            kept.push(first);
            rest = tail;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_credential_is_taken_out() {
        let response = HttpResponse {
            status: 200,
            headers: vec![Pair::new("x-echo", "Bearer hunter2!")],
            body: b"you sent hunter2! and hunter2".to_vec(),
            truncated: false,
            took: Span::ZERO,
        };
        let shown = bounded(response, 1000, Some(&Secret::new("Bearer hunter2!")));
        assert_eq!(shown.headers[0].value, "***");
        assert_eq!(shown.body, b"you sent *** and hunter2");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let response = HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: vec![b'x'; 11],
            truncated: false,
            took: Span::ZERO,
        };
        let shown = bounded(response, 10, None);
        assert_eq!((shown.body.len(), shown.truncated), (10, true));
    }

    #[test]
    fn headers_that_steer_a_request_are_refused() {
        let pair = |name: &str, value: &str| Pair::new(name, value);
        assert!(header(pair("Accept", "text/plain")).is_ok());
        for bad in [
            pair("Host", "evil"),
            pair("Transfer-Encoding", "chunked"),
            pair("Phasegate-Credential", "token"),
            pair("Proxy-Authorization", "x"),
            pair("a b", "x"),
            pair("x", "a\r\nHost: evil"),
            pair("x", &"y".repeat(HEADER_BYTES)),
        ] {
            assert!(header(bad).is_err());
        }
    }
}
