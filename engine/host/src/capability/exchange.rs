//! One HTTP exchange of a plugin, whichever interface it asks through: the same checks, the same
//! port. The plugin names a credential; the header is added here and taken out of whatever comes back.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, Method};
use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_runtime::plugin_ports::{CredentialError, CredentialHeader, Secret};
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
        let mut secrets = Vec::new();
        if let Some(name) = credential {
            let to = authority.to_string();
            let denied = |error: CredentialError| HttpError::Denied(error.to_string());
            let address = ports.credentials.address(&name, &to).await;
            if let Some(address) = address.map_err(denied)? {
                request.url = addressed(&name, &authority, &request.url, &address)?;
                secrets = hidden_of_address(&request.url);
            } else {
                let header = ports.credentials.header(&name, &to).await.map_err(denied)?;
                request
                    .headers
                    .retain(|h| !h.name.eq_ignore_ascii_case(&header.name));
                secrets = hidden(&header);
                request
                    .headers
                    .push(Pair::new(header.name, header.value.expose()));
            }
        }
        let most = request.max_body;
        match ports.http.send(request).await {
            Ok(response) => Ok(bounded(response, most, &secrets)),
            Err(error) => Err(told(error, &secrets)),
        }
    }
}

/// The address that a credential holds, for a request that named no more than the host. No error shows it.
fn addressed(
    name: &str,
    authority: &Authority,
    asked: &str,
    address: &Secret,
) -> Result<String, HttpError> {
    let denied = |why: String| Err(HttpError::Denied(format!("credential `{name}` {why}")));
    if !asked.ends_with(&format!("://{authority}/")) {
        return denied(format!(
            "is a whole address: the request may name {authority} only, without a path"
        ));
    }
    match Authority::of_url(address.expose()) {
        Ok((holds, url)) if holds == *authority => Ok(url),
        _ => denied(format!("holds no address at {authority}")),
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
fn bounded(mut response: HttpResponse, most: usize, secrets: &[String]) -> HttpResponse {
    response.truncated |= response.body.len() > most;
    response.body.truncate(most);
    response
        .headers
        .retain(|h| h.name.len() + h.value.len() <= HEADER_BYTES);
    response.headers.truncate(HEADERS);
    for text in secrets {
        response.body = without(&response.body, text.as_bytes());
        for header in &mut response.headers {
            header.value = header.value.replace(text, "***");
        }
    }
    if response.truncated {
        cut_short(&mut response.body, secrets);
    }
    response
}

/// Why there was no answer, without the credential.
fn told(error: HttpError, secrets: &[String]) -> HttpError {
    let clean = |text: String| {
        let secrets = secrets.iter();
        secrets.fold(text, |text, secret| text.replace(secret, "***"))
    };
    match error {
        HttpError::Denied(text) => HttpError::Denied(clean(text)),
        HttpError::Unreachable(text) => HttpError::Unreachable(clean(text)),
        HttpError::Invalid(text) => HttpError::Invalid(clean(text)),
        HttpError::TimedOut => HttpError::TimedOut,
    }
}

/// A header's value, the secret in it, and that of a name and a password without the name: `Bearer abc` and `abc`.
fn hidden(header: &CredentialHeader) -> Vec<String> {
    let secret = header.secret.expose();
    let last = secret.rsplit([' ', '=', ':']).next();
    long_enough([header.value.expose(), secret].into_iter().chain(last))
}

/// An address, its path with what follows, and each part of these: a token can stand in any.
fn hidden_of_address(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..));
    let path = path.unwrap_or_default();
    let parts = path.split(['/', '?', '&', '=', '#']);
    long_enough([url, path].into_iter().chain(parts))
}

fn long_enough<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let texts = texts.filter(|text| text.len() >= SHORTEST_SECRET);
    texts.map(str::to_owned).collect()
}

/// Takes the beginning of a secret off the end of a body that was cut within it: of several that fit, the longest.
fn cut_short(body: &mut Vec<u8>, secrets: &[String]) {
    let longest = secrets.iter().filter_map(|secret| {
        let secret = secret.as_bytes();
        let fits = |length: &usize| {
            secret
                .get(..*length)
                .is_some_and(|part| body.ends_with(part))
        };
        (1..=secret.len().min(body.len())).rev().find(fits)
    });
    if let Some(length) = longest.max() {
        body.truncate(body.len() - length);
        body.extend_from_slice(b"***");
    }
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

    fn carried(prefix: &str, secret: &str) -> CredentialHeader {
        CredentialHeader {
            name: "authorization".to_owned(),
            value: Secret::new(format!("{prefix}{secret}")),
            secret: Secret::new(secret),
        }
    }

    fn answer(body: &str) -> HttpResponse {
        HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            truncated: false,
            took: Span::ZERO,
        }
    }

    #[test]
    fn a_credential_is_found_without_what_stands_before_it_in_the_header() {
        for (prefix, secret) in [
            ("Bearer ", "hunter2!"),
            ("key=", "hunter2!"),
            ("", "user:hunter2!"),
            ("", "Token hunter2!"),
        ] {
            let secrets = hidden(&carried(prefix, secret));
            let shown = bounded(answer("bad token hunter2!"), 1000, &secrets);
            assert_eq!(shown.body, b"bad token ***", "{prefix}{secret}");
        }
    }

    #[test]
    fn of_a_credential_that_the_limit_cuts_nothing_is_left() {
        let secrets = hidden(&carried("Bearer ", "hunter2!"));
        for most in 11..18 {
            let shown = bounded(answer("bad token hunter2!"), most, &secrets);
            assert_eq!(shown.body, b"bad token ***", "{most}");
        }
        let short = bounded(answer("hello"), 3, &secrets);
        assert_eq!(short.body, b"hel");
        // Cut behind a letter with which the header's value begins as well.
        let secrets = hidden(&carried("Bearer ", "abcdefBghijk"));
        let shown = bounded(answer("no abcdefBghijk"), 10, &secrets);
        assert_eq!(shown.body, b"no ***");
    }

    #[test]
    fn an_echoed_credential_is_taken_out() {
        let response = HttpResponse {
            status: 200,
            headers: vec![Pair::new("x-echo", "Bearer hunter2!")],
            body: b"you sent hunter2! and hunter2".to_vec(),
            truncated: false,
            took: Span::ZERO,
        };
        let shown = bounded(response, 1000, &hidden(&carried("Bearer ", "hunter2!")));
        assert_eq!(shown.headers[0].value, "***");
        assert_eq!(shown.body, b"you sent *** and hunter2");
    }

    const HOOK: &str = "https://hooks.slack.com:443/services/T0000/B0000/planted-secret";

    #[test]
    fn an_address_that_is_a_secret_is_taken_out_of_answers_and_errors() {
        let secrets = hidden_of_address(HOOK);
        let response = HttpResponse {
            status: 302,
            headers: vec![Pair::new("location", HOOK.replace(":443", ""))],
            body: format!("no such hook: {HOOK}, /services/T0000/B0000/planted-secret").into(),
            truncated: false,
            took: Span::ZERO,
        };
        let shown = bounded(response, 1000, &secrets);
        assert_eq!(shown.headers[0].value, "https://hooks.slack.com***");
        assert_eq!(shown.body, b"no such hook: ***, ***");
        let error = HttpError::Unreachable(format!("can't connect to {HOOK}"));
        assert_eq!(
            told(error, &secrets),
            HttpError::Unreachable("can't connect to ***".to_owned())
        );
    }

    #[test]
    fn an_address_goes_to_its_host_only_and_replaces_no_path() {
        let (authority, asked) = Authority::of_url("https://hooks.slack.com").unwrap();
        let secret = Secret::new(HOOK);
        assert_eq!(
            addressed("hook", &authority, &asked, &secret).unwrap(),
            HOOK
        );
        for (asked, holds) in [
            ("https://hooks.slack.com/mine", HOOK),
            (
                "https://hooks.slack.com/",
                "https://evil.example/planted-secret",
            ),
            (
                "https://hooks.slack.com/",
                "http://hooks.slack.com/planted-secret",
            ),
            ("https://hooks.slack.com/", "planted-secret"),
        ] {
            let (authority, asked) = Authority::of_url(asked).unwrap();
            let refused = addressed("hook", &authority, &asked, &Secret::new(holds)).unwrap_err();
            let text = format!("{refused:?}");
            assert!(
                text.contains("`hook`") && !text.contains("planted"),
                "{text}"
            );
        }
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
        let shown = bounded(response, 10, &[]);
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
