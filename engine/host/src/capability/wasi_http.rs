//! `wasi:http` 0.2, for plugins whose own client speaks it. It is the same exchange as that of
//! `phasegate:host/http` in other words: every request becomes an [`exchange`](super::exchange), so
//! that the checks and the port are the same ones.
//!
//! A request is sent whole, once its body is finished and the plugin waits for the answer; an answer
//! comes whole. No task is spawned and no timer started: what waits is polled by the plugin's own
//! call, and ends with it. What is kept for a plugin meanwhile is counted by the call's meter.
#![allow(
    unreachable_pub,
    reason = "generated code exports the types that it is given, and can't export private ones"
)]

mod absent;
mod body;
mod fields;
mod options;
mod request;
mod response;

use phasegate_runtime::ports::HttpError;
use wasmtime::component::{HasSelf, Linker, Resource};

pub use self::absent::{IncomingRequest, OutgoingResponse, ResponseOutparam};
pub use self::body::{FutureTrailers, IncomingBody, OutgoingBody};
pub use self::fields::Fields;
pub use self::options::RequestOptions;
pub use self::request::OutgoingRequest;
pub use self::response::{FutureResponse, IncomingResponse};

use crate::bindings::wasi_http::LinkOptions;
use crate::bindings::wasi_http::wasi::http::outgoing_handler;
use crate::bindings::wasi_http::wasi::http::types::{self, ErrorCode};
use crate::state::State;

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, HasSelf<State>>(linker, &(&options).into(), |state| state)?;
    outgoing_handler::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl outgoing_handler::Host for State {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Resource<FutureResponse>, ErrorCode>> {
        let request = self.table.delete(request)?;
        let options = match options {
            Some(options) => self.table.delete(options)?,
            None => RequestOptions::default(),
        };
        self.meter.host_call()?;
        let Some(place) = self.exchanges.enter() else {
            return Ok(Err(ErrorCode::ConnectionLimitReached));
        };
        let exchange = request
            .asked(&options)
            .and_then(|(asked, body)| Ok((self.exchange(asked)?, body)));
        match exchange {
            Ok((exchange, body)) => {
                let future = FutureResponse::new(exchange, body, place);
                Ok(Ok(self.table.push(future)?))
            }
            Err(refusal) => Ok(Err(self.refused(refusal))),
        }
    }
}

impl State {
    /// What a plugin is told of an exchange that didn't take place. A denial is remembered.
    fn refused(&mut self, error: HttpError) -> ErrorCode {
        match error {
            HttpError::Denied(text) => {
                self.deny(text);
                ErrorCode::HttpRequestDenied
            }
            HttpError::Unreachable(_) => ErrorCode::DestinationUnavailable,
            HttpError::TimedOut => ErrorCode::HttpResponseTimeout,
            HttpError::Invalid(text) => ErrorCode::InternalError(Some(text)),
        }
    }
}

impl types::Host for State {
    fn http_error_code(
        &mut self,
        error: Resource<types::IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().cloned())
    }
}
