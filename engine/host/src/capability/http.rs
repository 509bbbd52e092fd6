//! `phasegate:host/http`: one exchange with a granted authority, as plain records.

use phasegate_core::time::Span;
use phasegate_runtime::ports::{HttpError, HttpResponse};

use super::exchange::Asked;
use crate::bindings::phasegate::host::http as wit;
use crate::convert;
use crate::state::State;

impl wit::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        self.meter.host_call()?;
        let timeout = Span::from_millis(request.timeout_ms.into());
        let asked = Asked {
            method: request.method,
            url: request.url,
            headers: convert::pairs_in(request.headers),
            body: request.body,
            credential: request.credential,
            timeout: (timeout != Span::ZERO).then_some(timeout),
        };
        let answer = match self.exchange(asked) {
            Ok(exchange) => exchange.perform().await,
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(answer) => {
                self.received(&answer)?;
                Ok(Ok(response(answer)))
            }
            Err(reason) => Ok(Err(self.http_error(reason))),
        }
    }
}

impl State {
    fn http_error(&mut self, error: HttpError) -> wit::HttpError {
        match error {
            HttpError::Denied(text) => wit::HttpError::Denied(self.deny(text)),
            HttpError::Unreachable(text) => wit::HttpError::Unreachable(text),
            HttpError::TimedOut => wit::HttpError::TimedOut,
            HttpError::Invalid(text) => wit::HttpError::Invalid(text),
        }
    }
}

fn response(response: HttpResponse) -> wit::Response {
    wit::Response {
        status: response.status,
        headers: convert::pairs_out(&response.headers),
        body: response.body,
        truncated: response.truncated,
    }
}
