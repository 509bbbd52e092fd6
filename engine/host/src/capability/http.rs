//! `phasegate:host/http`: one exchange with a granted authority. The plugin names a credential; the
//! header is added here and taken out of whatever comes back.

use ::http::{HeaderName, HeaderValue, Method};
use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_runtime::plugin_ports::Secret;
use phasegate_runtime::ports::{HttpError, HttpRequest, HttpResponse};

use crate::authority::Authority;
use crate::bindings::phasegate::host::http as wit;
use crate::bindings::phasegate::types::common;
use crate::limits::{HEADER_BYTES, HEADERS};
use crate::state::State;

/// Headers that say how a request travels and where to. They are the engine's to set.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Shorter secrets are not looked for in answers: they would be found everywhere.
const SHORTEST_SECRET: usize = 6;

impl wit::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        self.meter.host_call()?;
        let credential = request.credential.clone();
        let (authority, mut request) = match self.checked(request) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut secret = None;
        if let Some(name) = credential {
            let ports = std::sync::Arc::clone(&self.ports);
            match ports
                .credentials
                .header(&name, &authority.to_string())
                .await
            {
                Ok(header) => {
                    request
                        .headers
                        .retain(|h| !h.name.eq_ignore_ascii_case(&header.name));
                    request
                        .headers
                        .push(Pair::new(header.name, header.value.expose()));
                    secret = Some(header.value);
                }
                Err(error) => {
                    let text = self.deny(error.to_string());
                    return Ok(Err(wit::HttpError::Denied(text)));
                }
            }
        }
        let most = request.max_body;
        let ports = std::sync::Arc::clone(&self.ports);
        let response = match ports.http.send(request).await {
            Ok(response) => bounded(response, most, secret.as_ref()),
            Err(error) => return Ok(Err(self.http_error(error))),
        };
        self.meter.receive(response.body.len())?;
        Ok(Ok(response))
    }
}

impl State {
    /// The request as it is to be sent, if it may be.
    fn checked(
        &mut self,
        request: wit::Request,
    ) -> Result<(Authority, HttpRequest), wit::HttpError> {
        let invalid = wit::HttpError::Invalid;
        let (authority, url) = Authority::of_url(&request.url).map_err(invalid)?;
        if let Err(refusal) = self.rights.http(&authority) {
            return Err(wit::HttpError::Denied(self.deny(refusal)));
        }
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|method| method != Method::CONNECT && method != Method::TRACE)
            .ok_or_else(|| invalid("not a method that can be sent".into()))?;
        if request.headers.len() > HEADERS {
            return Err(invalid(format!("more than {HEADERS} headers")));
        }
        let headers = request
            .headers
            .into_iter()
            .map(header)
            .collect::<Result<_, _>>()
            .map_err(invalid)?;
        let body_bytes = self.limits.request_body_bytes;
        if request.body.as_ref().is_some_and(|b| b.len() > body_bytes) {
            return Err(invalid(format!(
                "the body is larger than {body_bytes} bytes"
            )));
        }
        let asked = Span::from_millis(request.timeout_ms.into());
        let timeout = if asked == Span::ZERO {
            self.limits.wall
        } else {
            asked.min(self.limits.wall)
        };
        let request = HttpRequest {
            method: method.as_str().to_owned(),
            url,
            headers,
            body: request.body,
            timeout,
            max_body: self.limits.response_body_bytes,
        };
        Ok((authority, request))
    }

    fn http_error(&mut self, error: HttpError) -> wit::HttpError {
        match error {
            HttpError::Denied(text) => wit::HttpError::Denied(self.deny(text)),
            HttpError::Unreachable(text) => wit::HttpError::Unreachable(text),
            HttpError::TimedOut => wit::HttpError::TimedOut,
            HttpError::Invalid(text) => wit::HttpError::Invalid(text),
        }
    }
}

/// A header that can't be read as anything else.
fn header(pair: common::Pair) -> Result<Pair, String> {
    if pair.name.len() + pair.value.len() > HEADER_BYTES {
        return Err(format!("a header is larger than {HEADER_BYTES} bytes"));
    }
    let name = HeaderName::from_bytes(pair.name.as_bytes())
        .map_err(|_| "a header's name is not one".to_owned())?;
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
        return Err(format!("the header `{name}` is the engine's to set"));
    }
    HeaderValue::from_str(&pair.value)
        .map_err(|_| format!("the value of header `{name}` can't be sent"))?;
    Ok(Pair::new(name.as_str(), pair.value))
}

/// The answer within the limits, and without the credential should the other side repeat it.
fn bounded(mut response: HttpResponse, most: usize, secret: Option<&Secret>) -> wit::Response {
    let truncated = response.truncated || response.body.len() > most;
    response.body.truncate(most);
    let mut headers: Vec<common::Pair> = response
        .headers
        .into_iter()
        .filter(|h| h.name.len() + h.value.len() <= HEADER_BYTES)
        .take(HEADERS)
        .map(|Pair { name, value }| common::Pair { name, value })
        .collect();
    for text in secret.into_iter().flat_map(|s| hidden(s.expose())) {
        response.body = without(&response.body, text.as_bytes());
        for header in &mut headers {
            header.value = header.value.replace(text, "***");
        }
    }
    wit::Response {
        status: response.status,
        headers,
        body: response.body,
        truncated,
    }
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
        let pair = |name: &str, value: &str| common::Pair {
            name: name.into(),
            value: value.into(),
        };
        assert!(header(pair("Accept", "text/plain")).is_ok());
        for bad in [
            pair("Host", "evil"),
            pair("Transfer-Encoding", "chunked"),
            pair("Proxy-Authorization", "x"),
            pair("a b", "x"),
            pair("x", "a\r\nHost: evil"),
            pair("x", &"y".repeat(HEADER_BYTES)),
        ] {
            assert!(header(bad).is_err());
        }
    }
}
