//! The answer to a request: first to come, then there.

use futures::future::BoxFuture;
use phasegate_runtime::ports::{HttpError, HttpResponse};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::body::{IncomingBody, Written};
use super::fields::Fields;
use crate::bindings::wasi_http::wasi::http::types::{self, ErrorCode};
use crate::capability::exchange::Exchange;
use crate::meter::Place;
use crate::state::State;

/// An answer to come. Dropping it calls the request off.
pub struct FutureResponse {
    stage: Stage,
    /// Given back when the plugin has taken the answer, or doesn't want it any more.
    place: Option<Place>,
}

enum Stage {
    /// Nothing is sent before the body is finished.
    Waiting(Box<Exchange>, Option<Written>),
    Sent(BoxFuture<'static, Result<HttpResponse, HttpError>>),
    Answered(Result<HttpResponse, HttpError>),
    /// The body will never be finished.
    Broken(ErrorCode),
    Taken,
}

impl FutureResponse {
    pub(super) fn new(exchange: Exchange, body: Option<Written>, place: Place) -> Self {
        Self {
            stage: Stage::Waiting(Box::new(exchange), body),
            place: Some(place),
        }
    }

    /// The exchange may begin, or can't any more, once its body is finished or broken.
    fn begin(&mut self) {
        let Stage::Waiting(_, body) = &self.stage else {
            return;
        };
        let body = match body.as_ref().map(Written::take) {
            // A request without a body need not wait for one.
            None => Ok(None),
            Some(Some(body)) => body.map(Some),
            Some(None) => return,
        };
        self.stage = match (std::mem::replace(&mut self.stage, Stage::Taken), body) {
            (Stage::Waiting(exchange, _), Ok(body)) => {
                Stage::Sent(Box::pin(exchange.with_body(body).perform()))
            }
            (_, Err(code)) => Stage::Broken(code),
            (other, Ok(_)) => other,
        };
    }
}

#[async_trait::async_trait]
impl Pollable for FutureResponse {
    async fn ready(&mut self) {
        self.begin();
        match &mut self.stage {
            // The plugin waits here, so that it can't finish the body: this ends with the call.
            Stage::Waiting(..) => std::future::pending().await,
            Stage::Sent(answer) => self.stage = Stage::Answered(answer.await),
            Stage::Answered(_) | Stage::Broken(_) | Stage::Taken => {}
        }
    }
}

/// An answer.
pub struct IncomingResponse {
    status: u16,
    headers: Fields,
    body: Option<IncomingBody>,
}

/// An answer or why there is none; and an error where that was taken before.
type Answer = Result<Result<Resource<IncomingResponse>, ErrorCode>, ()>;

impl types::HostFutureIncomingResponse for State {
    fn subscribe(
        &mut self,
        this: Resource<FutureResponse>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn get(&mut self, this: Resource<FutureResponse>) -> wasmtime::Result<Option<Answer>> {
        let future = self.table.get_mut(&this)?;
        if matches!(future.stage, Stage::Waiting(..) | Stage::Sent(_)) {
            return Ok(None);
        }
        future.place = None;
        let answer = match std::mem::replace(&mut future.stage, Stage::Taken) {
            Stage::Answered(answer) => answer,
            Stage::Broken(code) => return Ok(Some(Ok(Err(code)))),
            _ => return Ok(Some(Err(()))),
        };
        let response = match answer {
            Ok(response) => response,
            Err(error) => return Ok(Some(Ok(Err(self.refused(error))))),
        };
        self.received(&response)?;
        let most = u64::try_from(response.body.len()).unwrap_or(u64::MAX);
        let cut = ErrorCode::HttpResponseBodySize(Some(most));
        let response = IncomingResponse {
            status: response.status,
            headers: Fields::of_answer(response.headers),
            body: Some(IncomingBody::new(
                response.body,
                response.truncated.then_some(cut),
            )),
        };
        Ok(Some(Ok(Ok(self.table.push(response)?))))
    }

    fn drop(&mut self, this: Resource<FutureResponse>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostIncomingResponse for State {
    fn status(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&this)?.status)
    }

    fn headers(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let headers = self.table.get(&this)?.headers.fixed();
        Ok(self.table.push(headers)?)
    }

    fn consume(
        &mut self,
        this: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        match self.table.get_mut(&this)?.body.take() {
            Some(body) => Ok(Ok(self.table.push(body)?)),
            None => Ok(Err(())),
        }
    }

    fn drop(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
