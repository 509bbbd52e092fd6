//! A request that a plugin puts together.

use ::http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use phasegate_core::verdict::Pair;
use phasegate_runtime::ports::HttpError;
use wasmtime::component::Resource;

use super::body::{OutgoingBody, Written};
use super::fields::{CONTENT_LENGTH, Fields};
use super::options::RequestOptions;
use crate::authority::MAX_URL;
use crate::bindings::wasi_http::wasi::http::types::{self, Method, Scheme};
use crate::capability::exchange::{Asked, CREDENTIAL_HEADER};
use crate::state::State;

/// What a plugin has said of a request so far. Each text is at most [`MAX_URL`] bytes long.
pub struct OutgoingRequest {
    method: Method,
    path: Option<String>,
    scheme: Option<Scheme>,
    authority: Option<String>,
    headers: Fields,
    body: Option<Written>,
}

impl OutgoingRequest {
    /// The request as the checks want it, and its body, which need not be finished yet.
    pub(super) fn asked(
        self,
        options: &RequestOptions,
    ) -> Result<(Asked, Option<Written>), HttpError> {
        let invalid = |text: String| HttpError::Invalid(text);
        let scheme = match &self.scheme {
            None | Some(Scheme::Https) => "https",
            Some(Scheme::Http) => "http",
            Some(Scheme::Other(other)) => other,
        };
        let authority = self.authority.as_deref();
        let authority = authority.ok_or_else(|| invalid("the request names no host".into()))?;
        let path = self.path.as_deref().unwrap_or_default();
        let mut credential = None;
        let mut headers = Vec::new();
        for (name, value) in self.headers.entries() {
            if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
                continue;
            }
            let value = str::from_utf8(value)
                .map_err(|_| invalid(format!("the value of header `{name}` can't be sent")))?;
            if !name.eq_ignore_ascii_case(CREDENTIAL_HEADER) {
                headers.push(Pair::new(name, value));
            } else if credential.replace(value.to_owned()).is_some() {
                return Err(invalid("it names more than one credential".into()));
            }
        }
        let asked = Asked {
            method: method(&self.method).to_owned(),
            url: format!("{scheme}://{authority}{path}"),
            headers,
            body: None,
            credential,
            timeout: options.timeout(),
        };
        Ok((asked, self.body))
    }

    /// The length that the plugin has announced. An error where that can't be a length.
    fn length(&self) -> Result<Option<u64>, ()> {
        let mut lengths = self.headers.values(CONTENT_LENGTH);
        let Some(length) = lengths.next() else {
            return Ok(None);
        };
        let plain = length.iter().all(u8::is_ascii_digit) && lengths.next().is_none();
        let length = str::from_utf8(length).ok().filter(|_| plain);
        length.and_then(|n| n.parse().ok()).map(Some).ok_or(())
    }
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => other,
    }
}

/// Whether a text is a path with its query, and no target in another form: `http://host/`, `*`.
fn is_path(text: &str) -> bool {
    let relative = text.starts_with(['/', '?']) && text.parse::<PathAndQuery>().is_ok();
    text.len() <= MAX_URL && (text.is_empty() || relative)
}

fn is_authority(text: &str) -> bool {
    text.len() <= MAX_URL && text.parse::<Authority>().is_ok()
}

fn is_scheme(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Http | Scheme::Https => true,
        Scheme::Other(other) => other.len() <= MAX_URL && other.parse::<UriScheme>().is_ok(),
    }
}

fn is_method(method: &Method) -> bool {
    match method {
        Method::Other(other) => {
            other.len() <= MAX_URL && ::http::Method::from_bytes(other.as_bytes()).is_ok()
        }
        _ => true,
    }
}

impl types::HostOutgoingRequest for State {
    fn new(&mut self, headers: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingRequest>> {
        let headers = self.table.delete(headers)?.fixed();
        Ok(self.table.push(OutgoingRequest {
            method: Method::Get,
            path: None,
            scheme: None,
            authority: None,
            headers,
            body: None,
        })?)
    }

    fn body(
        &mut self,
        this: Resource<OutgoingRequest>,
    ) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        let request = self.table.get_mut(&this)?;
        let Ok(length) = request.length() else {
            return Ok(Err(()));
        };
        if request.body.is_some() {
            return Ok(Err(()));
        }
        let written = Written::default();
        request.body = Some(written.clone());
        let most = self.limits.request_body_bytes;
        let body = OutgoingBody::new(written, length, most, self.meter.outbox());
        Ok(Ok(self.table.push(body)?))
    }

    fn method(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Method> {
        Ok(self.table.get(&this)?.method.clone())
    }

    fn set_method(
        &mut self,
        this: Resource<OutgoingRequest>,
        method: Method,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&this)?;
        let valid = is_method(&method);
        if valid {
            request.method = method;
        }
        Ok(valid.then_some(()).ok_or(()))
    }

    fn path_with_query(
        &mut self,
        this: Resource<OutgoingRequest>,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&this)?.path.clone())
    }

    fn set_path_with_query(
        &mut self,
        this: Resource<OutgoingRequest>,
        path: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&this)?;
        let valid = path.as_deref().is_none_or(is_path);
        if valid {
            request.path = path;
        }
        Ok(valid.then_some(()).ok_or(()))
    }

    fn scheme(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Option<Scheme>> {
        Ok(self.table.get(&this)?.scheme.clone())
    }

    fn set_scheme(
        &mut self,
        this: Resource<OutgoingRequest>,
        scheme: Option<Scheme>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&this)?;
        let valid = scheme.as_ref().is_none_or(is_scheme);
        if valid {
            request.scheme = scheme;
        }
        Ok(valid.then_some(()).ok_or(()))
    }

    fn authority(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&this)?.authority.clone())
    }

    fn set_authority(
        &mut self,
        this: Resource<OutgoingRequest>,
        authority: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let request = self.table.get_mut(&this)?;
        let valid = authority.as_deref().is_none_or(is_authority);
        if valid {
            request.authority = authority;
        }
        Ok(valid.then_some(()).ok_or(()))
    }

    fn headers(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Resource<Fields>> {
        let headers = self.table.get(&this)?.headers.fixed();
        Ok(self.table.push(headers)?)
    }

    fn drop(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_in_another_form_is_no_path() {
        for good in ["", "/", "/a?b=c", "?b", "//a/b"] {
            assert!(is_path(good), "{good}");
        }
        let long = format!("/{}", "x".repeat(MAX_URL));
        for bad in [
            "http://evil.example/",
            "*",
            "x",
            "/a b",
            "/\r\nHost: evil",
            &long,
        ] {
            assert!(!is_path(bad), "{bad}");
        }
        for bad in ["a/b", "a?b", "", "a b", &long] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
